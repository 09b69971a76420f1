//! From what is on disk to a machine that is as it was.

use std::path::Path;
use std::sync::Arc;

use coordinator_wire::coordinatorpb::Entry;
use disk::Disk;
use prost::Message;
use raft::log::{Log, LogError, Options};

use super::node::ENTRY_KIND;
use super::redb_disk::Space;
use super::store_file::{Identity, StoreFile};
use crate::lease::Leases;
use crate::machine::{Alarms, Machine};
use crate::store::{Archive, ArchiveError, Revision, Store};

pub(super) const STORE_FILE: &str = "store.redb";
const LOG_DIRECTORY: &str = "log";

/// Why the state on disk cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum RecoveryError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Operator: files were removed or mixed up.
    #[error("the log begins at entry {first}, but {STORE_FILE} ends at entry {applied}: restore both from one copy")]
    Gap { first: u64, applied: u64 },
    /// Operator: files were removed or mixed up.
    #[error("{STORE_FILE} holds entry {applied}, but the log ends before entry {next}: restore both from one copy")]
    LogTooShort { applied: u64, next: u64 },
    /// Operator: use a newer program.
    #[error("entry {0} of the log cannot be read by this program: use a newer one")]
    UnknownEntry(u64),
}

/// What recovery found and made.
pub(super) struct Recovered {
    pub(super) machine: Machine,
    pub(super) file: StoreFile,
    pub(super) log: Log,
    pub(super) identity: Identity,
    /// The last entry that the store file holds.
    pub(super) archived: u64,
}

/// Opens store file and log in `directory`, and replays what the file does not have.
pub(super) fn recover(
    disk: &Arc<dyn Disk>,
    log_disk: Arc<dyn Disk>,
    directory: &Path,
    space: Arc<Space>,
    identity: Identity,
    options: Options,
) -> Result<Recovered, RecoveryError> {
    let (file, numbers) = StoreFile::open(disk, &directory.join(STORE_FILE), space, identity)?;
    let mut leases = Leases::default();
    for (id, ttl_seconds) in file.leases()? {
        leases.restore(id, ttl_seconds);
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
    let alarms = Alarms::restore(file.alarms()?);
    let machine = Machine::restore(store, leases, numbers.applied);
    let mut machine = machine.with_alarms(alarms).with_auth(file.auth()?);
    let options = Options {
        first_index: numbers.applied + 1,
        ..options
    };
    let (log, found) = Log::open(log_disk, directory.join(LOG_DIRECTORY), options)?;
    if let Some(cut) = &found.cut {
        tracing::warn!(file = %cut.file.display(), bytes = cut.bytes, "cut an unfinished write off the log");
    }
    replay(&mut machine, &log)?;
    Ok(Recovered {
        machine,
        file,
        log,
        identity: numbers.identity,
        archived: numbers.applied,
    })
}

fn replay(machine: &mut Machine, log: &Log) -> Result<(), RecoveryError> {
    let applied = machine.applied();
    if log.first_index() > applied + 1 {
        return Err(RecoveryError::Gap {
            first: log.first_index(),
            applied,
        });
    }
    if log.next_index() < applied + 1 {
        return Err(RecoveryError::LogTooShort {
            applied,
            next: log.next_index(),
        });
    }
    for record in log.read(applied + 1)? {
        let record = record?;
        let unknown = || RecoveryError::UnknownEntry(record.index);
        if record.kind != ENTRY_KIND {
            return Err(unknown());
        }
        let entry = Entry::decode(record.payload.clone()).map_err(|_| unknown())?;
        let caller = entry.caller.unwrap_or_default();
        let request = entry.request.ok_or_else(unknown)?;
        // What was refused then is refused again, in the same way.
        machine.apply(record.index, &caller, &request)?;
    }
    let replayed = machine.applied() - applied;
    tracing::info!(
        revision = machine.store().revision(),
        applied = machine.applied(),
        replayed,
        "recovered"
    );
    Ok(())
}
