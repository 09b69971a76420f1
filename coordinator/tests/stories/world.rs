//! What a story happens to: a machine, one watch stream, a clock, an archive.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use coordinator::Error;
use coordinator::auth::{self, Access, Auth, AuthRequest, Caller, StoredAuth};
use coordinator::lease::{Deadlines, LeaseChange, Leases};
use coordinator::machine::{Alarms, Applied, Machine, Outcome, Request, validate};
use coordinator::store::{Archive, ArchiveError, RangePlan, Revision, Store, Version};
use coordinator::watch::{Answer, Feed, Watchers};
use coordinator_wire::etcdserverpb as pb;

use crate::command::{self, Words};
use crate::print;

/// Small, so that a stream falls behind soon.
const FEED_BYTES_MAX: usize = 700;
const OPERATIONS_MAX: usize = 5;

#[derive(Debug, Default, Clone)]
struct MemoryArchive(BTreeMap<Revision, Version>);

impl Archive for MemoryArchive {
    fn get(&self, revision: Revision) -> Result<Option<Version>, ArchiveError> {
        Ok(self.0.get(&revision).cloned())
    }

    fn scan(&self, from: Revision, to: Revision, visit: &mut dyn FnMut(Version) -> bool) -> Result<(), ArchiveError> {
        let _ended = self.0.range(from..=to).all(|(_, version)| visit(version.clone()));
        Ok(())
    }
}

pub struct World {
    machine: Machine,
    archive: MemoryArchive,
    archived_leases: BTreeMap<i64, LeaseChange>,
    archived_alarms: Vec<(u64, i32)>,
    deadlines: Deadlines,
    feed: Feed,
    watchers: Watchers,
    now_ms: u64,
    index: u64,
    /// Who the commands come from; no one in particular until `as` says.
    caller: Caller,
    archived_auth: Option<StoredAuth>,
}

impl World {
    pub fn new() -> Self {
        let archive = MemoryArchive::default();
        let store = Store::new(Arc::new(archive.clone()));
        let revision = store.revision();
        Self {
            machine: Machine::restore(store, Leases::default(), 0),
            archive,
            archived_leases: BTreeMap::new(),
            archived_alarms: Vec::new(),
            deadlines: leading([], 0),
            feed: Feed::new(revision, FEED_BYTES_MAX),
            watchers: Watchers::new(revision),
            now_ms: 0,
            index: 0,
            caller: Caller::default(),
            archived_auth: None,
        }
    }

    /// Carries out one command and returns what it prints.
    pub fn run(&mut self, line: &str) -> String {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let words = Words::new(rest.split_whitespace());
        let number = |at: usize| -> i64 {
            rest.split_whitespace()
                .nth(at)
                .and_then(|word| word.parse().ok())
                .expect("a number")
        };
        match verb {
            "put" => {
                let request = command::put(&words);
                self.checked(validate::put(&request), Request::Put(request))
            }
            "get" => self.get(&command::range(&words)),
            "del" => {
                let request = command::delete(&words);
                self.checked(validate::delete_range(&request), Request::DeleteRange(request))
            }
            "txn" => self.txn(command::txn(rest)),
            "compact" => self.apply(Request::Compaction(pb::CompactionRequest {
                revision: number(0),
                physical: false,
            })),
            "grant" => self.apply(Request::LeaseGrant(pb::LeaseGrantRequest {
                id: number(0),
                ttl: number(1),
            })),
            "revoke" => self.apply(Request::LeaseRevoke(pb::LeaseRevokeRequest { id: number(0) })),
            "alarm" => self.apply(Request::Alarm(command::alarm(rest))),
            "renew" => self.renew(number(0)),
            "leases" => self.leases(),
            "wait" => self.wait(number(0)),
            "watch" => self.watch(&words),
            "cancel" => self.answers(|world| world.watchers.cancel(number(0)).into_iter().collect()),
            "progress" => {
                self.watchers.want_progress();
                self.answers(|world| world.watchers.progress().into_iter().collect())
            }
            "period" => self.answers(|world| world.watchers.periodic_progress()),
            "pull" => self.pull(),
            "catch_up" => self.catch_up(number(0)),
            "archive" => self.archive(),
            "restart" => self.restart(),
            "as" => self.become_user(&words.word(0)),
            "auth" | "user" | "role" => match command::change(verb, &words) {
                Some(change) => self.apply(Request::Auth(AuthRequest { request: Some(change) })),
                None => panic!("{line:?} is no command"),
            },
            other => panic!("{other:?} is no command"),
        }
    }

    fn checked(&mut self, check: Result<(), Error>, request: Request) -> String {
        match check {
            Ok(()) => self.apply(request),
            Err(error) => format!("refused: {error}\n"),
        }
    }

    fn apply(&mut self, request: Request) -> String {
        self.apply_for(self.caller.clone(), request)
    }

    fn apply_for(&mut self, caller: Caller, request: Request) -> String {
        self.index += 1;
        let Applied { outcome, changes } = self
            .machine
            .apply(self.index, &caller, &request)
            .expect("the archive works");
        self.feed.push(changes);
        match (&outcome, &request) {
            (Ok(Outcome::LeaseGrant(granted)), _) => self.deadlines.start(granted.id, granted.ttl, self.now_ms),
            (Ok(Outcome::LeaseRevoke(_)), Request::LeaseRevoke(revoke)) => self.deadlines.remove(revoke.id),
            _ => {}
        }
        outcome.map_or_else(
            |error| format!("refused: {error}\n"),
            |outcome| print::outcome(&outcome),
        )
    }

    fn get(&self, request: &pb::RangeRequest) -> String {
        let store = self.machine.store();
        let response = validate::range(request)
            .and_then(|()| self.machine.check(&self.caller, Access::Range(request)))
            .and_then(|()| RangePlan::new(store, request, store.revision()))
            .and_then(|plan| Ok(plan.answer(request)?));
        response.map_or_else(
            |error| format!("refused: {error}\n"),
            |response| print::range(&response),
        )
    }

    fn txn(&mut self, request: pb::TxnRequest) -> String {
        let check = validate::txn(&request, OPERATIONS_MAX);
        if check.is_ok() && validate::is_read_only(&request) {
            let permitted = self.machine.check(&self.caller, Access::Txn(&request));
            let response = permitted.and_then(|()| self.machine.read(&request));
            return response.map_or_else(|error| format!("refused: {error}\n"), |response| print::txn(&response));
        }
        self.checked(check, Request::Txn(request))
    }

    fn renew(&mut self, id: i64) -> String {
        if let Err(refusal) = self.machine.check(&self.caller, Access::LeaseWrite(id)) {
            return format!("refused: {refusal}\n");
        }
        let ttl = self.machine.leases().get(id).map(|lease| lease.ttl_seconds);
        match ttl.filter(|ttl| self.deadlines.renew(id, *ttl, self.now_ms)) {
            Some(ttl) => format!("lease {id} renewed for {ttl} s\n"),
            None => format!("lease {id} is over\n"),
        }
    }

    fn leases(&self) -> String {
        if let Err(refusal) = self.machine.check(&self.caller, Access::Leases) {
            return format!("refused: {refusal}\n");
        }
        let mut lines = String::new();
        for (id, lease) in self.machine.leases().iter() {
            let keys: Vec<_> = lease.keys.iter().map(|key| String::from_utf8_lossy(key)).collect();
            let left = self
                .deadlines
                .remaining_ms(id, self.now_ms)
                .expect("every lease has a deadline");
            lines.push_str(&format!(
                "lease {id}: {left} ms of {} s left, keys [{}]\n",
                lease.ttl_seconds,
                keys.join(" ")
            ));
        }
        if lines.is_empty() {
            "no leases\n".to_owned()
        } else {
            lines
        }
    }

    /// The commands that follow come from this user, established now; `nobody` is no one.
    fn become_user(&mut self, name: &str) -> String {
        self.caller = match name {
            "nobody" => Caller::default(),
            name => self.machine.auth().caller(name),
        };
        format!("r{} of users and roles\n", self.machine.auth().revision())
    }

    /// Moves the clock; what is over then is revoked, as the expirer does.
    fn wait(&mut self, milliseconds: i64) -> String {
        self.now_ms += milliseconds.unsigned_abs();
        let mut lines = String::new();
        for id in self.deadlines.due(self.now_ms, 10) {
            lines.push_str(&format!("lease {id} expired: "));
            let revocation = Request::LeaseRevoke(pb::LeaseRevokeRequest { id });
            lines.push_str(&self.apply_for(auth::root(), revocation));
        }
        lines
    }

    fn watch(&mut self, words: &Words<'_>) -> String {
        let filters = [("no_put", 0), ("no_delete", 1)];
        let request = pb::WatchCreateRequest {
            key: words.bytes(0),
            range_end: words.bytes(1),
            start_revision: words.number("from"),
            watch_id: words.number("id"),
            progress_notify: words.flag("progress"),
            filters: filters
                .iter()
                .filter(|(name, _)| words.flag(name))
                .map(|(_, filter)| *filter)
                .collect(),
            ..Default::default()
        };
        let (key, range_end) = (&request.key, &request.range_end);
        if let Err(refusal) = self.machine.check(&self.caller, Access::Watch { key, range_end }) {
            return format!("refused: {refusal}\n");
        }
        self.answers(|world| {
            let store = world.machine.store();
            world.watchers.create(&request, store.revision(), store.compacted())
        })
    }

    /// Prints what the stream says, with what that led to.
    fn answers(&mut self, act: impl FnOnce(&mut Self) -> Vec<Answer>) -> String {
        let answers = act(self);
        answers.iter().map(print::answer).collect()
    }

    fn pull(&mut self) -> String {
        match self.feed.after(self.watchers.cursor(), 100) {
            Some(revisions) => self.answers(|world| world.watchers.advance(revisions.iter().map(AsRef::as_ref))),
            None => {
                self.watchers.fall_behind(self.feed.last());
                format!("  the feed has moved on: {} behind\n", self.watchers.behind())
            }
        }
    }

    /// One step of catching up, of about `limit` versions.
    fn catch_up(&mut self, limit: i64) -> String {
        let Some((from, to)) = self.watchers.missing() else {
            return "  nobody is behind\n".to_owned();
        };
        match self.machine.store().history(from) {
            Ok(history) => {
                let (changes, to) = history
                    .read(to, limit.unsigned_abs() as usize)
                    .expect("the archive works");
                self.answers(|world| world.watchers.catch_up(&changes, to))
            }
            Err(error) => {
                assert_eq!(error, Error::Compacted);
                let compacted = self.machine.store().compacted();
                self.answers(|world| world.watchers.compacted(compacted))
            }
        }
    }

    fn archive(&mut self) -> String {
        let hand_over = self.machine.hand_over();
        for version in &hand_over.store.versions {
            self.archive.0.insert(version.revision, version.as_ref().clone());
        }
        for removed in &hand_over.store.removed {
            self.archive
                .0
                .remove(removed)
                .expect("only what is archived is removed");
        }
        if let Some(auth) = hand_over.auth {
            self.archived_auth = Some(auth);
        }
        for (id, granted) in hand_over.leases {
            match granted {
                Some(lease) => self.archived_leases.insert(id, lease),
                None => self.archived_leases.remove(&id),
            };
        }
        if let Some(alarms) = hand_over.alarms {
            self.archived_alarms = alarms;
        }
        self.machine
            .store_mut()
            .archived(hand_over.store.up_to, Arc::new(self.archive.clone()));
        format!(
            "{} versions archived, {} bytes in memory\n",
            self.archive.0.len(),
            self.machine.store().tail_bytes()
        )
    }

    /// Archives, forgets everything else, and reads the archive back.
    fn restart(&mut self) -> String {
        let line = self.archive();
        let (revision, compacted) = (self.machine.store().revision(), self.machine.store().compacted());
        let mut leases = Leases::default();
        for (id, lease) in &self.archived_leases {
            leases.restore(*id, *lease);
        }
        let archive = self.archive.clone();
        let store = Store::restore(Arc::new(archive.clone()), revision, compacted, |restore| {
            for version in archive.0.values() {
                restore(version);
                if version.deleted {
                    leases.detach(&version.kv.key);
                } else {
                    leases.attach(&version.kv.key, version.kv.lease);
                }
            }
            Ok::<(), Infallible>(())
        });
        let alarms = Alarms::restore(self.archived_alarms.iter().copied());
        let auth = self.archived_auth.clone().map_or_else(Auth::default, Auth::restore);
        let machine = Machine::restore(store.expect("infallible"), leases, self.index);
        self.machine = machine.with_alarms(alarms).with_auth(auth);
        let leases = self.machine.leases().iter();
        self.deadlines = leading(leases.map(|(id, lease)| (id, lease.remaining_seconds)), self.now_ms);
        self.feed = Feed::new(revision, FEED_BYTES_MAX);
        self.watchers = Watchers::new(revision);
        line
    }
}

/// The deadlines of a member that leads.
fn leading(leases: impl IntoIterator<Item = (i64, i64)>, now_ms: u64) -> Deadlines {
    let mut deadlines = Deadlines::default();
    deadlines.promote(leases, 0, now_ms);
    deadlines
}
