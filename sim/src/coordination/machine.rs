//! The coordinator's own machine under the log, with an archive in memory.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use coordinator::Error;
use coordinator::auth::{Auth, AuthRequest, Caller, SimpleTokens, StoredAuth};
use coordinator::lease::{LeaseChange, Leases};
use coordinator::machine::{Alarms, Applied, Machine as Coordinator, Outcome, Request};
use coordinator::store::{Archive, ArchiveError, Bounds, Revision, Store, Version};
use coordinator::watch::Feed;
pub use coordinator_wire::coordinatorpb::Entry;
use prost::Message;
use raft::consensus::Index;

use super::alarms_stand::Standing;
use crate::cluster::{Machine, digest_of_bytes};
use crate::world::split_mix;

/// Small, so that streams fall behind.
const FEED_BYTES_MAX: usize = 2_000;
/// Tokens do not age here: their time is a matter of one member, and tested by itself.
const TOKENS_TTL_MS: u64 = u64::MAX;
pub const NOW_MS: u64 = 0;
/// States are compared after every this many commands.
const DIGEST_EVERY: u64 = 8;

/// Versions that left the memory.
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

/// What survives: everything that was handed over.
#[derive(Debug, Default, Clone)]
pub struct Archived {
    versions: MemoryArchive,
    leases: BTreeMap<i64, LeaseChange>,
    revision: i64,
    compacted: i64,
    auth: StoredAuth,
    alarms: Standing,
    /// The last entry applied.
    applied: u64,
    /// What the versions take.
    bytes: u64,
}

/// What a command is answered with.
#[derive(Debug)]
pub struct Answered {
    pub outcome: Result<Outcome, Error>,
    pub revision: i64,
}

/// What a member made of an entry, as far as all must make the same of it.
#[derive(Debug, Clone)]
pub struct Verdict {
    pub index: Index,
    /// Keys deleted, or 1 for a condition that held; or why it was refused.
    pub number: Result<i64, Error>,
    /// The store's revision after it.
    pub revision: i64,
    pub auth_revision: u64,
    pub alarms: Standing,
}

/// A member's machine, with the feed that its watchers pull from.
#[derive(Debug)]
pub struct Replicated {
    pub machine: Coordinator,
    pub feed: Feed,
    /// What the server has of tokens: in memory only, in step with what is applied.
    pub tokens: SimpleTokens,
    /// Of entries that no one has looked at yet.
    verdicts: VecDeque<Verdict>,
    archived: Archived,
}

/// The log's bytes of a request.
pub fn command(caller: Caller, request: Request) -> Bytes {
    let entry = Entry {
        request: Some(request),
        caller: Some(caller).filter(|caller| *caller != Caller::default()),
        ..Entry::default()
    };
    entry.encode_to_vec().into()
}

/// What is in a command.
pub fn entry(command: &Bytes) -> Option<Entry> {
    Entry::decode(command.clone()).ok()
}

pub fn everything() -> Bounds {
    Bounds::new(&Bytes::from_static(b"\0"), &Bytes::from_static(b"\0"))
}

impl Replicated {
    /// What it made of an entry that it has just applied. Entries are asked for in order.
    pub fn verdict(&mut self, index: Index) -> Option<Verdict> {
        while self.verdicts.front().is_some_and(|verdict| verdict.index < index) {
            self.verdicts.pop_front();
        }
        self.verdicts.pop_front_if(|verdict| verdict.index == index)
    }

    /// What the store takes, as the server counts it.
    pub fn bytes(&self) -> u64 {
        self.archived.bytes + self.machine.store().tail_bytes() as u64
    }
}

impl Machine for Replicated {
    type Answer = Answered;
    type State = Archived;

    fn new() -> Self {
        Self::restore(&Archived {
            revision: 1,
            ..Archived::default()
        })
    }

    fn apply(&mut self, index: Index, command: &Bytes) -> Answered {
        let Some(Entry {
            request: Some(request),
            caller,
            ..
        }) = entry(command)
        else {
            panic!("entry {index} is a request of ours");
        };
        let applied = self.machine.apply(index, &caller.unwrap_or_default(), &request);
        let Applied { outcome, changes } = applied.unwrap_or_else(|error| panic!("entry {index}: {error}"));
        self.feed.push(changes);
        if let (Request::Auth(AuthRequest { request: Some(change) }), Ok(Outcome::Auth(done))) = (&request, &outcome) {
            self.tokens.follow(change, done, NOW_MS);
        }
        let revision = self.machine.store().revision();
        self.verdicts.push_back(Verdict {
            index,
            number: match &outcome {
                Ok(Outcome::DeleteRange(response)) => Ok(response.deleted),
                Ok(Outcome::Txn(response)) => Ok(i64::from(response.succeeded)),
                Ok(_) => Ok(0),
                Err(error) => Err(error.clone()),
            },
            revision,
            auth_revision: self.machine.auth().revision(),
            alarms: self.machine.alarms().iter().collect(),
        });
        Answered { outcome, revision }
    }

    fn skip(&mut self, index: Index) {
        self.machine.pass(index);
    }

    fn state(&mut self) -> Arc<Archived> {
        let hand_over = self.machine.hand_over();
        let archived = &mut self.archived;
        for version in &hand_over.store.versions {
            archived.bytes += version.bytes() as u64;
            archived.versions.0.insert(version.revision, version.as_ref().clone());
        }
        for removed in &hand_over.store.removed {
            let removed = archived.versions.0.remove(removed);
            archived.bytes -= removed.map_or(0, |version| version.bytes() as u64);
        }
        for (id, granted) in hand_over.leases {
            match granted {
                Some(lease) => archived.leases.insert(id, lease),
                None => archived.leases.remove(&id),
            };
        }
        archived.revision = hand_over.store.revision;
        archived.compacted = hand_over.store.compacted;
        archived.applied = hand_over.applied;
        archived.auth = hand_over.auth.unwrap_or_else(|| std::mem::take(&mut archived.auth));
        archived.alarms = hand_over.alarms.unwrap_or_else(|| std::mem::take(&mut archived.alarms));
        let archive = Arc::new(archived.versions.clone());
        self.machine.store_mut().archived(hand_over.store.up_to, archive);
        Arc::new(self.archived.clone())
    }

    fn restore(state: &Archived) -> Self {
        let mut leases = Leases::default();
        for (id, lease) in &state.leases {
            leases.restore(*id, *lease);
        }
        let archive = Arc::new(state.versions.clone());
        let store = Store::restore(archive, state.revision, state.compacted, |restore| {
            for version in state.versions.0.values() {
                restore(version);
                if version.deleted {
                    leases.detach(&version.kv.key);
                } else {
                    leases.attach(&version.kv.key, version.kv.lease);
                }
            }
            Ok::<(), Infallible>(())
        });
        let store = store.unwrap_or_else(|never| match never {});
        let machine = Coordinator::restore(store, leases, state.applied)
            .with_auth(Auth::restore(state.auth.clone()))
            .with_alarms(Alarms::restore(state.alarms.iter().copied()));
        Self {
            feed: Feed::new(machine.store().revision(), FEED_BYTES_MAX),
            machine,
            tokens: SimpleTokens::new(TOKENS_TTL_MS),
            verdicts: VecDeque::new(),
            archived: state.clone(),
        }
    }

    /// As the server does it: its tokens are its own, and not in the snapshot.
    fn install(&mut self, state: &Archived) {
        let mut installed = Self::restore(state);
        std::mem::swap(&mut installed.tokens, &mut self.tokens);
        installed.tokens.skip(self.machine.auth(), installed.machine.auth());
        *self = installed;
    }

    /// Of everything that a client could see: revision, compaction, pairs, leases and their keys, users, roles, alarms.
    fn digest(&self, index: Index) -> Option<u64> {
        if !index.is_multiple_of(DIGEST_EVERY) {
            return None;
        }
        let store = self.machine.store();
        let mut digest = (store.revision() as u64) << 32 ^ store.compacted() as u64;
        digest ^= digest_of_bytes(&self.machine.auth().stored().encode_to_vec());
        for (member, kind) in self.machine.alarms().iter() {
            digest ^= member << 8 ^ kind as u64;
            digest = split_mix(&mut digest);
        }
        let pairs = store.select(&everything(), 0, 0).load().unwrap_or_default();
        for version in pairs {
            digest ^= digest_of_bytes(&version.kv.encode_to_vec());
            digest = split_mix(&mut digest);
        }
        for (id, lease) in self.machine.leases().iter() {
            digest ^= id as u64 ^ (lease.ttl_seconds as u64) << 40;
            digest = split_mix(&mut digest);
            for key in &lease.keys {
                digest ^= digest_of_bytes(key);
                digest = split_mix(&mut digest);
            }
        }
        Some(digest)
    }
}
