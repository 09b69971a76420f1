//! Consumer groups, the classic protocol: who is in a group, in which generation, and who reads what.
//!
//! The coordinator's part is small: members *join* with the protocols they can speak; when all are there the coordinator
//! counts a new generation, names one member the leader and gives it everybody's metadata; all *sync*, the leader with
//! an assignment for each, and everybody gets its own. From then on they *heartbeat*. Whoever joins, leaves or falls
//! silent begins this anew (a rebalance).
//!
//! ```text
//!              join                 all joined, or too late            leader synced
//!   Empty ------------> Preparing ------------------------> Completing --------------> Stable
//!     ^                     ^  |                                 |                        |
//!     |  nobody left        |  +--- still nobody there --> Empty |  join, leave, silence  |
//!     +---------------------+------------------------------------+------------------------+
//! ```
//!
//! This room is pure: every call takes the time, ids that have to be unique come from the caller, and a call that has to
//! wait carries a [`Ticket`] that a later step answers by an [`Effect`]. Each generation is stored before its members learn
//! of their assignments: [`Effect::Store`] says which record to append to `__consumer_offsets`, and what to answer then.
//! After a restart the log's records ([`Replay`]) bring every group back, so that members go on without a rebalance.
//! Committed [`Offsets`] are the state of the same log.
//!
//! Time: every group has one entry in a heap of deadlines, and each of its members one in the group's own. Being heard
//! moves a member's deadline without touching either; a deadline that comes up too early is put back. So a heartbeat costs
//! the same in a group of any size, and [`Groups::tick`] looks only at groups that are due.
//!
//! Deliberately missing: the newer `consumer` protocol (KIP-848), share groups.

mod describe;
mod offsets;
mod rebalance;
mod stored;
#[cfg(test)]
mod stories;
mod subscription;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use bytes::Bytes;
use log_broker_wire::ErrorCode;

pub use describe::{DescribedGroup, DescribedMember};
pub use offsets::{Committed, Expiry, Offsets, tombstone};
pub use stored::{Replay, Store, StoredGroup, StoredMember, group_tombstone};

/// Names a call that waits for its answer.
pub type Ticket = u64;

/// How groups behave: Kafka's broker properties of the same names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    pub initial_rebalance_delay_ms: i64,
    pub session_timeout_ms_min: i32,
    pub session_timeout_ms_max: i32,
    pub members_max: usize,
}

/// A member that wants to join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    pub group: String,
    /// Empty for a new member.
    pub member_id: String,
    /// The name of a static member (KIP-345).
    pub instance_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub session_timeout_ms: i32,
    pub rebalance_timeout_ms: i32,
    pub protocol_type: String,
    /// By preference.
    pub protocols: Vec<(String, Bytes)>,
    /// The caller can be told its id first (version 4 and later, KIP-394).
    pub takes_member_id: bool,
    /// The caller understands that a leader need not assign (version 9 and later, KIP-814).
    pub can_skip_assignment: bool,
}

/// The answer to a join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    pub error: ErrorCode,
    pub generation: i32,
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    pub leader: String,
    pub skip_assignment: bool,
    pub member_id: String,
    /// For the leader only: id, static name and metadata of each.
    pub members: Vec<(String, Option<String>, Bytes)>,
}

/// A member that asks for its assignment, or brings everybody's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sync {
    pub group: String,
    pub member: Identity,
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    pub assignments: Vec<(String, Bytes)>,
}

/// The answer to a sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synced {
    pub error: ErrorCode,
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    pub assignment: Bytes,
}

/// Who says so: a member in a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub member_id: String,
    pub instance_id: Option<String>,
    pub generation: i32,
}

/// What a step answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    Joined(Ticket, Joined),
    Synced(Ticket, Synced),
    /// To be made durable; then [`Groups::stored`] is due.
    Store(Box<Store>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Empty,
    /// Waits for members to join until the deadline. `initial` for the first generation of an empty group, which waits
    /// for company; `begun` bounds how long.
    Preparing {
        deadline_ms: i64,
        begun_ms: i64,
        initial: bool,
    },
    /// Waits for the leader's assignment; members that have not synced by the deadline are removed. Once the assignment is
    /// there it is being stored.
    Completing {
        deadline_ms: i64,
        storing: bool,
    },
    Stable,
}

#[derive(Debug, Clone)]
struct Member {
    instance_id: Option<String>,
    client_id: String,
    client_host: String,
    session_timeout_ms: i32,
    rebalance_timeout_ms: i32,
    protocols: Vec<(String, Bytes)>,
    assignment: Bytes,
    joining: Option<Ticket>,
    syncing: Option<Ticket>,
    /// Silent beyond this, it is put out; not looked at while it waits for an answer.
    expires_ms: i64,
    /// Where its entry stands in the group's heap of session timeouts: not behind `expires_ms`.
    timer_ms: i64,
}

/// * `leader` names a member unless the group is empty.
/// * A member waits for at most one answer; only in `Preparing` for a join, only in `Completing` for a sync.
#[derive(Debug)]
struct Group {
    name: String,
    state: State,
    generation: i32,
    protocol_type: String,
    protocol: Option<String>,
    leader: Option<String>,
    members: BTreeMap<String, Member>,
    /// Ids that were given out and not yet used, with the time when they are void.
    pending: BTreeMap<String, i64>,
    /// When the last member left, or the generation began.
    state_since_ms: Option<i64>,
    /// Session timeouts, one entry for each member; those with another time than the member's `timer_ms` are void.
    sessions: BinaryHeap<Reverse<(i64, String)>>,
    /// Where the group's entry stands in the heap of all groups.
    timer_ms: Option<i64>,
}

/// All groups of a coordinator.
#[derive(Debug)]
pub struct Groups {
    settings: Settings,
    groups: BTreeMap<String, Group>,
    /// Deadlines of groups; those with another time than the group's `timer_ms` are void.
    timers: BinaryHeap<Reverse<(i64, String)>>,
}

impl Groups {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            groups: BTreeMap::new(),
            timers: BinaryHeap::new(),
        }
    }

    /// A member joins; `fresh_id` is for it if it has none yet. The answer comes as an effect, now or later.
    pub fn join(&mut self, ticket: Ticket, join: Join, fresh_id: String, now_ms: i64) -> Vec<Effect> {
        let mut effects = Vec::new();
        let group = join.group.clone();
        if let Err((error, member_id)) = self.try_join(ticket, join, fresh_id, now_ms, &mut effects) {
            effects.push(Effect::Joined(ticket, Joined::refused(error, member_id)));
        }
        self.schedule(&group);
        effects
    }

    fn try_join(
        &mut self,
        ticket: Ticket,
        join: Join,
        fresh_id: String,
        now_ms: i64,
        effects: &mut Vec<Effect>,
    ) -> Result<(), (ErrorCode, String)> {
        let refuse = |error: ErrorCode| Err((error, join.member_id.clone()));
        if join.group.is_empty() {
            return refuse(ErrorCode::INVALID_GROUP_ID);
        }
        let Settings {
            session_timeout_ms_min: min,
            session_timeout_ms_max: max,
            ..
        } = self.settings;
        if !(min..=max).contains(&join.session_timeout_ms) {
            return refuse(ErrorCode::INVALID_SESSION_TIMEOUT);
        }
        if !self.groups.contains_key(&join.group) {
            if !join.member_id.is_empty() {
                return refuse(ErrorCode::UNKNOWN_MEMBER_ID);
            }
            self.groups.insert(join.group.clone(), Group::new(join.group.clone()));
        }
        let settings = self.settings;
        let group = self.groups.get_mut(&join.group).expect("it was just inserted");
        if !group.speaks(&join) {
            return refuse(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        let is_new = join.member_id.is_empty() || group.pending.contains_key(&join.member_id);
        if is_new && group.members.len() + group.pending.len() >= settings.members_max {
            return refuse(ErrorCode::GROUP_MAX_SIZE_REACHED);
        }
        let same_name = join
            .instance_id
            .as_ref()
            .and_then(|instance| group.member_of_instance(instance));
        match same_name {
            Some(known) if join.member_id.is_empty() => {
                group.replace_static(&known, ticket, join, fresh_id, now_ms, effects);
            }
            Some(known) if known != join.member_id => return refuse(ErrorCode::FENCED_INSTANCE_ID),
            _ if join.member_id.is_empty() => {
                if join.takes_member_id && join.instance_id.is_none() {
                    group
                        .pending
                        .insert(fresh_id.clone(), now_ms + i64::from(join.session_timeout_ms));
                    return Err((ErrorCode::MEMBER_ID_REQUIRED, fresh_id));
                }
                group.add(fresh_id, ticket, join, &settings, now_ms, effects);
            }
            _ if group.pending.remove(&join.member_id).is_some() => {
                group.add(join.member_id.clone(), ticket, join, &settings, now_ms, effects);
            }
            _ if !group.members.contains_key(&join.member_id) => return refuse(ErrorCode::UNKNOWN_MEMBER_ID),
            _ => group.rejoin(ticket, join, now_ms, effects),
        }
        Ok(())
    }

    /// A member syncs. The answer comes as an effect, now or later.
    pub fn sync(&mut self, ticket: Ticket, sync: Sync, now_ms: i64) -> Vec<Effect> {
        let mut effects = Vec::new();
        let group = sync.group.clone();
        let outcome = match self.member(&sync.group, &sync.member) {
            Err(error) => Err(error),
            Ok(group) if !group.agrees(&sync) => Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL),
            Ok(group) => group.sync(ticket, sync, now_ms, &mut effects),
        };
        if let Err(error) = outcome {
            effects.push(Effect::Synced(ticket, Synced::refused(error)));
        }
        self.schedule(&group);
        effects
    }

    /// A member is alive.
    pub fn heartbeat(&mut self, group: &str, member: &Identity, now_ms: i64) -> ErrorCode {
        match self.member(group, member) {
            Err(error) => error,
            Ok(group) => {
                group.touch(&member.member_id, now_ms);
                match group.state {
                    State::Preparing { .. } => ErrorCode::REBALANCE_IN_PROGRESS,
                    State::Empty => ErrorCode::UNKNOWN_MEMBER_ID,
                    State::Completing { .. } | State::Stable => ErrorCode::NONE,
                }
            }
        }
    }

    /// A member goes. A static one may be named by its instance alone.
    pub fn leave(
        &mut self,
        group: &str,
        member_id: &str,
        instance_id: Option<&str>,
        now_ms: i64,
    ) -> (ErrorCode, Vec<Effect>) {
        let mut effects = Vec::new();
        let error = self.try_leave(group, member_id, instance_id, now_ms, &mut effects);
        self.schedule(group);
        (error, effects)
    }

    fn try_leave(
        &mut self,
        group: &str,
        member_id: &str,
        instance_id: Option<&str>,
        now_ms: i64,
        effects: &mut Vec<Effect>,
    ) -> ErrorCode {
        let Some(group) = self.groups.get_mut(group) else {
            return ErrorCode::UNKNOWN_MEMBER_ID;
        };
        let mut leaving = member_id.to_owned();
        if let Some(instance) = instance_id {
            match group.member_of_instance(instance) {
                None => return ErrorCode::UNKNOWN_MEMBER_ID,
                Some(known) if !member_id.is_empty() && known != member_id => {
                    return ErrorCode::FENCED_INSTANCE_ID;
                }
                Some(known) => leaving = known,
            }
        }
        if group.pending.remove(&leaving).is_some() {
            group.try_complete(now_ms, effects);
            return ErrorCode::NONE;
        }
        if !group.members.contains_key(&leaving) {
            return ErrorCode::UNKNOWN_MEMBER_ID;
        }
        group.remove(&leaving, now_ms, effects);
        ErrorCode::NONE
    }

    /// Whether the caller may commit offsets now. Without a member id and generation only for a group without members, or
    /// in a transaction, where clients before KIP-447 name no member.
    pub fn may_commit(&mut self, group: &str, member: &Identity, is_transactional: bool, now_ms: i64) -> ErrorCode {
        let is_member = member.generation >= 0 || !member.member_id.is_empty() || member.instance_id.is_some();
        let Some(found) = self.groups.get(group) else {
            return if member.generation < 0 {
                ErrorCode::NONE
            } else {
                ErrorCode::ILLEGAL_GENERATION
            };
        };
        if !is_member {
            return if found.members.is_empty() || is_transactional {
                ErrorCode::NONE
            } else {
                ErrorCode::UNKNOWN_MEMBER_ID
            };
        }
        match self.member(group, member) {
            Err(error) => error,
            Ok(group) => {
                group.touch(&member.member_id, now_ms);
                match group.state {
                    State::Completing { .. } => ErrorCode::REBALANCE_IN_PROGRESS,
                    _ => ErrorCode::NONE,
                }
            }
        }
    }

    /// Lets time pass: puts silent members out, ends waiting that took too long.
    pub fn tick(&mut self, now_ms: i64) -> Vec<Effect> {
        let mut effects = Vec::new();
        while self.timers.peek().is_some_and(|Reverse((due_ms, _))| *due_ms <= now_ms) {
            let Some(Reverse((due_ms, name))) = self.timers.pop() else {
                break;
            };
            let Some(group) = self
                .groups
                .get_mut(&name)
                .filter(|group| group.timer_ms == Some(due_ms))
            else {
                continue;
            };
            group.timer_ms = None;
            group.tick(now_ms, &mut effects);
            self.schedule(&name);
        }
        effects
    }

    /// Puts a group's next deadline into the heap, where it is earlier than what stands there. A group that came to
    /// nothing is forgotten.
    fn schedule(&mut self, name: &str) {
        let Some(group) = self.groups.get_mut(name) else { return };
        if group.was_never_stored() {
            self.groups.remove(name);
            return;
        }
        let Some(deadline_ms) = group.next_deadline() else {
            return;
        };
        if group.timer_ms.is_none_or(|timer_ms| deadline_ms < timer_ms) {
            group.timer_ms = Some(deadline_ms);
            self.timers.push(Reverse((deadline_ms, name.to_owned())));
        }
    }

    pub fn contains(&self, group: &str) -> bool {
        self.groups.contains_key(group)
    }

    /// Groups without members.
    pub fn idle(&self) -> impl Iterator<Item = &str> {
        let idle = self
            .groups
            .iter()
            .filter(|(_, group)| group.state == State::Empty && group.pending.is_empty());
        idle.map(|(name, _)| name.as_str())
    }

    /// Forgets a group without members at once, and says whether there was one.
    pub fn forget(&mut self, group: &str) -> bool {
        let empty = self.groups.get(group).is_some_and(|group| group.members.is_empty());
        empty && self.groups.remove(group).is_some()
    }

    /// When [`Groups::tick`] has to be called next, at the latest.
    pub fn next_deadline(&self) -> Option<i64> {
        self.timers.peek().map(|Reverse((due_ms, _))| *due_ms)
    }

    /// The group, if the caller is a member of its current generation.
    fn member(&mut self, group: &str, member: &Identity) -> Result<&mut Group, ErrorCode> {
        if group.is_empty() {
            return Err(ErrorCode::INVALID_GROUP_ID);
        }
        let group = self.groups.get_mut(group).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        let known = group.members.get(&member.member_id);
        if let Some(instance) = &member.instance_id
            && known.is_none_or(|known| known.instance_id.as_ref() != Some(instance))
        {
            match group.member_of_instance(instance) {
                None => return Err(ErrorCode::UNKNOWN_MEMBER_ID),
                Some(known) if known != member.member_id => return Err(ErrorCode::FENCED_INSTANCE_ID),
                Some(_) => {}
            }
        }
        if !group.members.contains_key(&member.member_id) {
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        if member.generation != group.generation {
            return Err(ErrorCode::ILLEGAL_GENERATION);
        }
        Ok(group)
    }
}

impl Joined {
    pub(crate) fn refused(error: ErrorCode, member_id: String) -> Self {
        Self {
            error,
            generation: -1,
            protocol_type: None,
            protocol: None,
            leader: String::new(),
            skip_assignment: false,
            member_id,
            members: Vec::new(),
        }
    }
}

impl Synced {
    pub(crate) fn refused(error: ErrorCode) -> Self {
        Self {
            error,
            protocol_type: None,
            protocol: None,
            assignment: Bytes::new(),
        }
    }
}
