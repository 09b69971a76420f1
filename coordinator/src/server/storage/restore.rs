//! `coordinator restore SNAPSHOT --data-dir DIR`: a data directory made of a snapshot, ours or a real etcd's.
//!
//! As with etcd, the cluster that begins with it is a new one: the members are those that the flags name, each of which
//! is restored from the same snapshot. Keys, revisions, leases, alarms, users and roles are taken over. The store file
//! gets its name when it is whole, so what is left behind by a restore that was interrupted starts nothing.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use bytes::Bytes;
use clap::Parser;
use disk::{Disk, DiskFile, Mode, RealDisk};
use host::DataDir;
use sha2::{Digest, Sha256};

use crate::lease::LeaseChange;
use crate::machine::MachineHandOver;
use crate::server::settings::data_directory::FORMAT_VERSION;
use crate::server::settings::data_directory::STORE_FILE;
use crate::server::settings::flags::{Arguments, Settings};
use crate::server::storage::redb_disk::Space;
use crate::server::storage::store_file::{InitialState, StoreFile};
use crate::snapshot::content::{Found, pending_compaction, read, revision_mark};
use crate::snapshot::{Reader, SnapshotError, split_checksum};
use crate::store::{ArchiveError, HandOver, Revision, Version};

/// Versions that are written in one transaction.
const VERSIONS_MAX: usize = 10_000;
/// And their bytes.
const BYTES_MAX: usize = 8 << 20;
/// What is read at a time for the checksum, in bytes.
const CHECKED_BYTES: usize = 1 << 20;
/// What was restored counts as the first entry: anyone who joins later gets it as a snapshot, not from the log.
pub(in crate::server) const FIRST_APPLIED: u64 = 1;

/// Restore a snapshot to a new data directory, like `etcdutl snapshot restore`.
#[derive(Debug, Parser)]
#[command(name = "coordinator restore", disable_version_flag = true)]
struct RestoreArguments {
    /// Path to the snapshot file: from `etcdctl snapshot save`, or etcd's `db` file.
    snapshot: PathBuf,
    /// Path to the output data directory; it must hold no data.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Human-readable name of the member.
    #[arg(long, default_value = "default")]
    name: String,
    /// Initial cluster configuration: comma-separated NAME=URL pairs.
    #[arg(long, value_name = "NAME=URL")]
    initial_cluster: Option<String>,
    /// Initial cluster token.
    #[arg(long, value_name = "TOKEN")]
    initial_cluster_token: Option<String>,
    /// Comma-separated list of this member's peer URLs to advertise to the cluster.
    #[arg(long, value_name = "URLS")]
    initial_advertise_peer_urls: Option<String>,
    /// How much to increase the latest revision after restore; requires --mark-compacted.
    #[arg(long, value_name = "N", default_value_t = 0)]
    bump_revision: u64,
    /// Mark the latest revision after restore as compacted; requires --bump-revision.
    #[arg(long)]
    mark_compacted: bool,
    /// Ignore the snapshot's integrity hash (required for a file copied from a data directory).
    #[arg(long)]
    skip_hash_check: bool,
}

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub(in crate::server) enum RestoreError {
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error("{0}")]
    Io(#[from] io::Error),
}

pub(in crate::server) fn is_asked(argv: &[OsString]) -> bool {
    argv.get(1).is_some_and(|word| word == "restore")
}

pub(in crate::server) fn main(argv: Vec<OsString>) -> ExitCode {
    let without_the_word = argv.into_iter().enumerate().filter(|(at, _)| *at != 1);
    let arguments = match RestoreArguments::try_parse_from(without_the_word.map(|(_, argument)| argument)) {
        Ok(arguments) => arguments,
        Err(error) => {
            let _closed = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match restore(&arguments) {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(error) => host::fail(&error),
    }
}

fn restore(arguments: &RestoreArguments) -> Result<String, RestoreError> {
    if (arguments.bump_revision > 0) != arguments.mark_compacted {
        return Err(RestoreError::Refused(
            "--bump-revision and --mark-compacted go together: give both, or none".to_owned(),
        ));
    }
    let settings = settings(arguments).map_err(RestoreError::Refused)?;
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let snapshot = disk.open(&arguments.snapshot, Mode::Read).map_err(|error| {
        let path = arguments.snapshot.display();
        RestoreError::Refused(format!("cannot open {path}: {error}"))
    })?;
    check(snapshot.as_ref(), arguments.skip_hash_check)?;
    let reader = Reader::open(snapshot.as_ref())?;
    let directory = DataDir::open(&settings.data_dir, "coordinator", FORMAT_VERSION)
        .map_err(|error| RestoreError::Refused(error.to_string()))?;
    let path = directory.path().join(STORE_FILE);
    if disk.exists(&path)? {
        let refusal = format!("{} is not empty: use another --data-dir", directory.path().display());
        return Err(RestoreError::Refused(refusal));
    }
    let (identity, members) = settings.bootstrap.found();
    let founding = InitialState {
        identity,
        members,
        applied: FIRST_APPLIED,
    };
    let restored = fill(&disk, &path, &reader, &founding, arguments.bump_revision)?;
    Ok(format!(
        "restored {} at revision {}: {} versions, {} leases",
        directory.path().display(),
        restored.revision,
        restored.versions,
        restored.leases
    ))
}

/// Who the member will be is said by the same flags as when it is started.
fn settings(arguments: &RestoreArguments) -> Result<Settings, String> {
    let mut flags: Vec<OsString> = vec!["coordinator".into(), "--name".into(), arguments.name.clone().into()];
    let mut flag = |name: &str, value: Option<OsString>| {
        if let Some(value) = value {
            flags.extend([name.into(), value]);
        }
    };
    flag("--data-dir", arguments.data_dir.clone().map(Into::into));
    flag("--initial-cluster", arguments.initial_cluster.clone().map(Into::into));
    flag(
        "--initial-cluster-token",
        arguments.initial_cluster_token.clone().map(Into::into),
    );
    let advertised = arguments.initial_advertise_peer_urls.clone();
    flag("--initial-advertise-peer-urls", advertised.map(Into::into));
    let parsed = Arguments::try_parse_from(flags).map_err(|error| error.to_string())?;
    Settings::from_arguments(parsed)
}

/// Compares the file with the checksum behind it.
fn check(file: &dyn DiskFile, skip: bool) -> Result<(), RestoreError> {
    let (bytes, has_checksum) = split_checksum(file.len()?);
    if skip {
        return Ok(());
    }
    if !has_checksum {
        return Err(RestoreError::Refused(
            "the snapshot has no integrity hash: if it was copied from a data directory, use --skip-hash-check"
                .to_owned(),
        ));
    }
    let mut hash = Sha256::new();
    let (mut buffer, mut at) = (vec![0; CHECKED_BYTES], 0);
    while at < bytes {
        let wanted = usize::try_from(bytes - at).unwrap_or(CHECKED_BYTES).min(CHECKED_BYTES);
        file.read_exact_at(&mut buffer[..wanted], at)?;
        hash.update(&buffer[..wanted]);
        at += wanted as u64;
    }
    let mut expected = [0; 32];
    file.read_exact_at(&mut expected, bytes)?;
    if hash.finalize().as_slice() == expected {
        Ok(())
    } else {
        Err(RestoreError::Refused(
            "the snapshot does not match its integrity hash: it is damaged, use another one".to_owned(),
        ))
    }
}

/// What a restore has taken over.
pub(in crate::server) struct Restored {
    pub(in crate::server) revision: i64,
    pub(in crate::server) versions: usize,
    pub(in crate::server) leases: usize,
}

/// Which versions a compaction up to some revision leaves.
struct Compaction {
    to: i64,
    /// The last version of each key that is not younger, by its key.
    last: HashMap<Bytes, Revision>,
}

impl Compaction {
    fn plan(reader: &Reader<'_>, to: i64) -> Result<Self, SnapshotError> {
        let mut last = HashMap::new();
        read(reader, &mut |version| {
            if version.revision.main <= to {
                last.insert(version.kv.key, version.revision);
            }
            Ok(())
        })?;
        Ok(Self { to, last })
    }

    /// As etcd decides it: of a key that is deleted nothing is left, but for a deletion at that very revision.
    fn leaves(&self, version: &Version) -> bool {
        let main = version.revision.main;
        main > self.to
            || (self.last.get(&version.kv.key) == Some(&version.revision) && (!version.deleted || main == self.to))
    }
}

/// Makes the store file at `path`. With `bump_revision` the store goes on at a later revision, compacted up to there.
pub(in crate::server) fn fill(
    disk: &Arc<dyn Disk>,
    path: &Path,
    reader: &Reader<'_>,
    founding: &InitialState,
    bump_revision: u64,
) -> Result<Restored, RestoreError> {
    let compaction = match (bump_revision, pending_compaction(reader)?) {
        (0, None) => None,
        (0, Some(to)) => Some(Compaction::plan(reader, to)?),
        _ => Some(Compaction::plan(reader, i64::MAX)?),
    };
    let unfinished = path.with_extension("restoring");
    if disk.exists(&unfinished)? {
        disk.remove_file(&unfinished)?;
    }
    let (mut file, _) = StoreFile::open(disk, &unfinished, Arc::new(Space::impatient()), founding)?;
    let (mut waiting, mut waiting_bytes, mut versions) = (Vec::new(), 0, 0);
    let mut last = None;
    let mut found = read(reader, &mut |version| {
        last = Some(version.revision);
        if compaction
            .as_ref()
            .is_some_and(|compaction| !compaction.leaves(&version))
        {
            return Ok(());
        }
        versions += 1;
        waiting_bytes += version.bytes();
        waiting.push(Arc::new(version));
        if waiting.len() >= VERSIONS_MAX || waiting_bytes >= BYTES_MAX {
            waiting_bytes = 0;
            file.take_over(&hand_over(std::mem::take(&mut waiting), &Found::default()))?;
        }
        Ok(())
    })?;
    if bump_revision > 0 {
        let bumped = i64::try_from(bump_revision)
            .ok()
            .and_then(|by| found.revision.max(1).checked_add(by));
        found.revision = bumped.ok_or_else(|| {
            RestoreError::Refused(format!(
                "--bump-revision={bump_revision} goes beyond the last revision there can be"
            ))
        })?;
        found.frame.compacted = found.revision;
        if let Some(at) = last {
            // Never a tombstone, even where the last change was one.
            let mark = revision_mark(Revision::new(found.revision, at.sub), false);
            waiting.push(Arc::new(mark));
        }
    }
    file.take_over(&hand_over(waiting, &found))?;
    drop(file);
    disk.rename(&unfinished, path)?;
    if let Some(parent) = path.parent() {
        disk.sync_dir(parent)?;
    }
    Ok(Restored {
        revision: found.revision,
        versions,
        leases: found.frame.leases.len(),
    })
}

fn hand_over(versions: Vec<Arc<Version>>, found: &Found) -> MachineHandOver {
    MachineHandOver {
        store: HandOver {
            versions,
            removed: Vec::new(),
            up_to: Revision::default(),
            revision: found.revision.max(1),
            compacted: found.frame.compacted,
        },
        leases: found
            .frame
            .leases
            .iter()
            .map(|(id, ttl)| (*id, Some(lease(*ttl))))
            .collect(),
        alarms: Some(found.frame.alarms.clone()),
        auth: Some(found.frame.accounts.clone()),
        // They are those that the flags name, and in the file already.
        members: None,
        applied: FIRST_APPLIED,
        term: FIRST_APPLIED,
    }
}

fn lease(ttl_seconds: i64) -> LeaseChange {
    LeaseChange {
        ttl_seconds,
        remaining_seconds: ttl_seconds,
    }
}

#[cfg(test)]
mod tests {
    use disk::faulty::MemoryDisk;

    use super::*;

    fn file(bytes: &[u8]) -> Arc<dyn DiskFile> {
        let disk = MemoryDisk::default();
        disk.create_dir_all(Path::new("/data")).expect("memory");
        let file = disk.open(Path::new("/data/snapshot"), Mode::Write).expect("memory");
        file.write_at(bytes, 0).expect("memory");
        file
    }

    #[test]
    fn a_checksum_is_wanted_and_believed() {
        let mut bytes = vec![7; 512 * 5];
        assert!(check(file(&bytes).as_ref(), false).is_err(), "there is none");
        assert!(check(file(&bytes).as_ref(), true).is_ok());
        let checksum = Sha256::digest(&bytes);
        bytes.extend_from_slice(&checksum);
        assert!(check(file(&bytes).as_ref(), false).is_ok());
        bytes[100] ^= 1;
        assert!(check(file(&bytes).as_ref(), false).is_err());
    }
}
