//! The replicated state machine: store, leases and users, changed by nothing but the entries of the log.
//!
//! # How it moves
//! A request from outside is first checked for what can be told without any state ([`validate`]), then written to the
//! log, and once it is committed given to [`Machine::apply`] in the log's order.
//! What it answers goes back to the client, what it changed goes to the watchers. Reads do not come this way: they look at
//! the machine as it is, which is linearizable on one member, since nothing is acknowledged before it is applied, and on
//! several once the leader has confirmed that it still leads.
//!
//! An entry also says on whose behalf it is; whether he may is decided here first ([`crate::auth`]).
//!
//! # Where it stops
//! [`Machine::apply`] is deterministic: no clock, no chance, no order of a hash map. A refusal ([`Error`]) is an answer and
//! the same on every member. The one exception is an archive that cannot be read: then the result is unknown, nothing may
//! be answered, and the process must end ([`ArchiveError`]).

mod alarms;
mod apply;
pub mod quota;
mod txn;
pub mod validate;

use std::sync::Arc;

use coordinator_wire::etcdserverpb as pb;

pub use alarms::Alarms;
pub use coordinator_wire::coordinatorpb::entry::Request;
use coordinator_wire::coordinatorpb::{MemberChange, StoredMembers};

use crate::Error;
use crate::auth::{Access, Auth, AuthOutcome, Caller, StoredAuth};
use crate::lease::{LeaseChange, Leases};
use crate::members::Members;
use crate::store::{ArchiveError, HandOver, Store, Version};

/// What a request is answered with when it was carried out.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Put(pb::PutResponse),
    DeleteRange(pb::DeleteRangeResponse),
    Txn(pb::TxnResponse),
    Compaction(pb::CompactionResponse),
    LeaseGrant(pb::LeaseGrantResponse),
    LeaseRevoke(pb::LeaseRevokeResponse),
    Alarm(pb::AlarmResponse),
    /// Of what a member wanted by itself.
    Done,
    Auth(AuthOutcome),
}

/// One entry's effects.
#[derive(Debug)]
pub struct Applied {
    pub outcome: Result<Outcome, Error>,
    /// All of one revision; empty where nothing changed.
    pub changes: Vec<Arc<Version>>,
}

/// What has to become durable for the log to be purged.
#[derive(Debug)]
pub struct MachineHandOver {
    pub store: HandOver,
    /// Leases that changed since the last one; none for those that are gone.
    pub leases: Vec<(i64, Option<LeaseChange>)>,
    /// All alarms that stand, by member and kind, if that has changed.
    pub alarms: Option<Vec<(u64, i32)>>,
    /// Users and roles, all of them, if something about them changed since the last one.
    pub auth: Option<StoredAuth>,
    /// All members, if something about them changed since the last one.
    pub members: Option<StoredMembers>,
    /// The last entry that is in it, and its term.
    pub applied: u64,
    pub term: u64,
}

/// Store, leases, users, and how far the log has been applied.
#[derive(Debug)]
pub struct Machine {
    store: Store,
    leases: Leases,
    alarms: Alarms,
    auth: Auth,
    members: Members,
    applied: u64,
    /// The term of the last entry applied.
    term: u64,
}

impl Machine {
    /// A machine as it was after entry `applied`, its keys attached to their leases.
    pub fn restore(store: Store, leases: Leases, applied: u64) -> Self {
        Self {
            store,
            leases,
            alarms: Alarms::default(),
            auth: Auth::default(),
            members: Members::default(),
            applied,
            term: 0,
        }
    }

    /// The same with the members that there were, as of an entry of this term.
    pub fn with_members(self, members: Members, term: u64) -> Self {
        Self { members, term, ..self }
    }

    /// The same with the alarms that stood.
    pub fn with_alarms(self, alarms: Alarms) -> Self {
        Self { alarms, ..self }
    }

    /// The same with the users and roles that there were.
    pub fn with_auth(self, auth: Auth) -> Self {
        Self { auth, ..self }
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    pub fn store_mut(&mut self) -> &mut Store {
        &mut self.store
    }

    pub fn leases(&self) -> &Leases {
        &self.leases
    }

    pub fn alarms(&self) -> &Alarms {
        &self.alarms
    }

    pub fn auth(&self) -> &Auth {
        &self.auth
    }

    pub fn members(&self) -> &Members {
        &self.members
    }

    /// Whether `caller` may do what he is about to; for what does not become an entry.
    ///
    /// # Errors
    /// As [`Auth::check`].
    pub fn check(&self, caller: &Caller, access: Access<'_>) -> Result<(), Error> {
        self.auth.check(&self.leases, caller, access)
    }

    /// The index of the last entry applied.
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// The term of the last entry applied.
    pub fn term(&self) -> u64 {
        self.term
    }

    /// The entries from here on are of this term.
    pub fn enter_term(&mut self, term: u64) {
        self.term = term;
    }

    /// Entry `index`, the one after the last, changes nothing here.
    pub fn pass(&mut self, index: u64) {
        debug_assert_eq!(index, self.applied + 1, "entries are applied in order, each once");
        self.applied = index;
    }

    /// Entry `index`, the one after the last, changes the members.
    pub fn change_members(&mut self, index: u64, change: &MemberChange) {
        self.pass(index);
        self.members.apply(change);
    }

    /// What is new since the last hand-over. Call it again only after the store was told that it is archived.
    pub fn hand_over(&mut self) -> MachineHandOver {
        MachineHandOver {
            store: self.store.hand_over(),
            leases: self.leases.take_changed(),
            alarms: self.alarms.take_changed(),
            auth: self.auth.take_changed(),
            members: self.members.take_changed(),
            applied: self.applied,
            term: self.term,
        }
    }

    /// Carries out entry `index`, the one after the last, on behalf of `caller`.
    ///
    /// # Errors
    /// Only where the archive cannot be read; the machine must not be used any more then.
    pub fn apply(&mut self, index: u64, caller: &Caller, request: &Request) -> Result<Applied, ArchiveError> {
        debug_assert_eq!(index, self.applied + 1, "entries are applied in order, each once");
        self.applied = index;
        // As in etcd, an alarm is told even to someone who may not.
        let outcome = match self.alarms.refusal(request) {
            Some(refusal) => Err(refusal),
            None => self
                .permit(caller, request)
                .and_then(|()| apply::apply(self, caller, request)),
        };
        match outcome {
            Ok((outcome, changes)) => Ok(Applied {
                outcome: Ok(outcome),
                changes,
            }),
            Err(Error::Archive(error)) => Err(error),
            Err(refusal) => Ok(Applied {
                outcome: Err(refusal),
                changes: Vec::new(),
            }),
        }
    }

    fn permit(&self, caller: &Caller, request: &Request) -> Result<(), Error> {
        let access = match request {
            Request::Put(request) => Access::Put(request),
            Request::DeleteRange(request) => Access::DeleteRange(request),
            Request::Txn(request) => Access::Txn(request),
            Request::LeaseGrant(_) => Access::Somebody,
            Request::LeaseRevoke(request) => Access::LeaseWrite(request.id),
            Request::Alarm(request) if request.action() == pb::alarm_request::AlarmAction::Get => Access::Somebody,
            Request::Compaction(_) | Request::Alarm(_) | Request::Downgrade(_) => Access::Root,
            // Members themselves want these.
            Request::LeaseCheckpoints(_) | Request::MemberAttributes(_) => return Ok(()),
            // It has rules of its own.
            Request::Auth(_) => return Ok(()),
        };
        self.check(caller, access)
    }

    /// Carries out a transaction that changes nothing ([`validate::is_read_only`]).
    pub fn read(&self, request: &pb::TxnRequest) -> Result<pb::TxnResponse, Error> {
        txn::read(&self.store, &self.leases, request)
    }
}
