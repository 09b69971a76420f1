//! The coordinator's own machine under the log, with an archive in memory.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use coordinator::Error;
use coordinator::auth::Caller;
use coordinator::lease::{LeaseChange, Leases};
use coordinator::machine::{Applied, Machine as Coordinator, Outcome, Request};
use coordinator::store::{Archive, ArchiveError, Bounds, Revision, Store, Version};
use coordinator::watch::Feed;
use coordinator_wire::coordinatorpb::Entry;
use prost::Message;
use raft::consensus::Index;

use crate::cluster::{Machine, digest_of_bytes};
use crate::world::split_mix;

/// Small, so that streams fall behind.
const FEED_BYTES_MAX: usize = 2_000;
/// States are compared after every so many commands.
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
    /// Commands applied.
    commands: u64,
}

/// What a command is answered with, and what it changed.
#[derive(Debug)]
pub struct Answered {
    pub outcome: Result<Outcome, Error>,
    /// The store's revision after it.
    pub revision: i64,
}

/// A member's machine, with the feed that its watchers pull from.
#[derive(Debug)]
pub struct Replicated {
    pub machine: Coordinator,
    pub feed: Feed,
    archived: Archived,
}

/// The log's bytes of a request.
pub fn command(request: Request) -> Bytes {
    let entry = Entry {
        request: Some(request),
        ..Entry::default()
    };
    entry.encode_to_vec().into()
}

/// The request in a command.
pub fn request(command: &Bytes) -> Option<Request> {
    Entry::decode(command.clone()).ok()?.request
}

pub fn everything() -> Bounds {
    Bounds::new(&Bytes::from_static(b"\0"), &Bytes::from_static(b"\0"))
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
        let request = request(command).unwrap_or_else(|| panic!("entry {index} is a request of ours"));
        let next = self.machine.applied() + 1;
        let applied = self.machine.apply(next, &Caller::default(), &request);
        let Applied { outcome, changes } = applied.unwrap_or_else(|error| panic!("entry {index}: {error}"));
        self.feed.push(changes);
        Answered {
            outcome,
            revision: self.machine.store().revision(),
        }
    }

    fn skip(&mut self, _index: Index) {}

    fn state(&mut self) -> Arc<Archived> {
        let hand_over = self.machine.hand_over();
        let archived = &mut self.archived;
        for version in &hand_over.store.versions {
            archived.versions.0.insert(version.revision, version.as_ref().clone());
        }
        for removed in &hand_over.store.removed {
            archived.versions.0.remove(removed);
        }
        for (id, granted) in hand_over.leases {
            match granted {
                Some(lease) => archived.leases.insert(id, lease),
                None => archived.leases.remove(&id),
            };
        }
        archived.revision = hand_over.store.revision;
        archived.compacted = hand_over.store.compacted;
        archived.commands = hand_over.applied;
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
        Self {
            feed: Feed::new(store.revision(), FEED_BYTES_MAX),
            machine: Coordinator::restore(store, leases, state.commands),
            archived: state.clone(),
        }
    }

    /// Of everything that a client could see: revision, compaction, pairs, leases and their keys.
    fn digest(&self, index: Index) -> Option<u64> {
        if !index.is_multiple_of(DIGEST_EVERY) {
            return None;
        }
        let store = self.machine.store();
        let mut digest = (store.revision() as u64) << 32 ^ store.compacted() as u64;
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
