//! From what is on disk to a machine that is as it was.

use std::sync::Arc;

use disk::Disk;
use raft::consensus;
use raft::log::{Found, LogError, Options, Position, StableStorage};

use crate::lease::Leases;
use crate::machine::{Alarms, Machine};
use crate::server::settings::data_directory::{Directories, STORE_FILE};
use crate::server::storage::redb_disk::Space;
use crate::server::storage::store_file::{Identity, InitialState, StoreFile};
use crate::store::{Archive, ArchiveError, Revision, Store};

/// Why the state on disk cannot be used.
#[derive(Debug, thiserror::Error)]
pub(in crate::server) enum RecoveryError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

/// What recovery found and made.
pub(in crate::server) struct Recovered {
    /// As of the last entry that the store file holds; consensus gives it those behind that are committed.
    pub(in crate::server) machine: Machine,
    pub(in crate::server) file: StoreFile,
    pub(in crate::server) storage: StableStorage,
    pub(in crate::server) found: Found,
    pub(in crate::server) identity: Identity,
    /// What the store file holds.
    pub(in crate::server) snapshot: consensus::Snapshot,
}

/// Opens store file and log.
pub(in crate::server) fn recover(
    disk: &Arc<dyn Disk>,
    log_disk: Arc<dyn Disk>,
    directories: &Directories,
    space: Arc<Space>,
    founding: &InitialState,
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
        tracing::warn!(file = %cut.file.display(), bytes = cut.bytes, "truncated a torn write at the end of the log");
    }
    if found.installed {
        tracing::info!(index = position.index, "finished installing a snapshot");
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
        membership: machine.members().membership(),
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
pub(in crate::server) fn machine_of(file: &StoreFile) -> Result<Machine, ArchiveError> {
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
