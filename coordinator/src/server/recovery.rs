//! From what is on disk to a machine that is as it was.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use disk::Disk;
use raft::consensus;
use raft::log::{Found, LogError, Options, Position, StableStorage};

use super::catch_up::membership_of;
use super::redb_disk::Space;
use super::store_file::{Founding, Identity, StoreFile};
use crate::lease::Leases;
use crate::machine::{Alarms, Machine};
use crate::store::{Archive, ArchiveError, Revision, Store};

pub(super) const STORE_FILE: &str = "store.redb";

/// Why the state on disk cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum RecoveryError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

/// What recovery found and made.
pub(super) struct Recovered {
    /// As of the last entry that the store file holds; consensus gives it those behind that are agreed upon.
    pub(super) machine: Machine,
    pub(super) file: StoreFile,
    pub(super) storage: StableStorage,
    pub(super) found: Found,
    pub(super) identity: Identity,
    /// What the store file holds.
    pub(super) snapshot: consensus::Snapshot,
}

/// Whether a member has been here before.
pub(super) fn has_state(disk: &dyn Disk, directory: &Path) -> bool {
    disk.exists(&directory.join(STORE_FILE)).unwrap_or(true)
}

/// Where a member keeps what.
pub(super) struct Directories {
    /// The store file, and what is received.
    pub(super) store: PathBuf,
    /// The log and the hard state.
    pub(super) log: PathBuf,
}

impl Directories {
    /// Both in one.
    #[cfg(test)]
    pub(super) fn both(directory: &Path) -> Self {
        Self {
            store: directory.to_owned(),
            log: directory.to_owned(),
        }
    }
}

/// Opens store file and log.
pub(super) fn recover(
    disk: &Arc<dyn Disk>,
    log_disk: Arc<dyn Disk>,
    directories: &Directories,
    space: Arc<Space>,
    founding: &Founding,
    options: &Options,
) -> Result<Recovered, RecoveryError> {
    let (file, numbers) = StoreFile::open(disk, &directories.store.join(STORE_FILE), space, founding)?;
    let machine = machine_of(&file)?;
    let position = Position {
        index: numbers.applied,
        term: numbers.term,
    };
    let (storage, found) = StableStorage::open(log_disk, &directories.log, options, position)?;
    if let Some(cut) = &found.cut {
        tracing::warn!(file = %cut.file.display(), bytes = cut.bytes, "cut an unfinished write off the log");
    }
    if found.installed {
        tracing::info!(index = position.index, "finished the installation of a snapshot");
    }
    tracing::info!(
        revision = machine.store().revision(),
        applied = numbers.applied,
        entries = found.entries.len(),
        commit = found.hard_state.commit,
        term = found.hard_state.term,
        "recovered"
    );
    let snapshot = consensus::Snapshot {
        last: consensus::Position {
            index: numbers.applied,
            term: numbers.term,
        },
        membership: membership_of(machine.members()),
    };
    Ok(Recovered {
        machine,
        file,
        storage,
        found,
        identity: numbers.identity,
        snapshot,
    })
}

/// The machine that a store file holds.
pub(super) fn machine_of(file: &StoreFile) -> Result<Machine, ArchiveError> {
    let numbers = file.present_numbers()?;
    let mut leases = Leases::default();
    for (id, lease) in file.leases()? {
        leases.restore(id, lease);
    }
    let archive = Arc::new(file.snapshot()?);
    let readable: Arc<dyn Archive> = archive.clone();
    let store = Store::restore(readable, numbers.revision, numbers.compacted, |restore| {
        let all = (Revision::default(), Revision::end_of(i64::MAX));
        archive.scan(all.0, all.1, &mut |version| {
            restore(&version);
            // The last version of a key decides, which comes last.
            if version.deleted {
                leases.detach(&version.kv.key)
            } else {
                leases.attach(&version.kv.key, version.kv.lease)
            }
            true
        })
    })?;
    let machine = Machine::restore(store, leases, numbers.applied)
        .with_alarms(Alarms::restore(file.alarms()?))
        .with_auth(file.auth()?)
        .with_members(file.members()?, numbers.term);
    Ok(machine)
}
