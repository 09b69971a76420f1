//! `store.redb`: the machine as of some entry of the log.
//!
//! One table of versions by revision, one of leases, one of alarms, one with the users and roles, one with the members, one
//! of numbers. Each hand-over is one durable transaction that also says up to which entry of the log it goes; so whatever a
//! crash leaves is the machine as it was after that entry.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use coordinator_wire::coordinatorpb::StoredMembers;
use coordinator_wire::mvccpb::KeyValue;
use disk::Disk;
use prost::Message;
use redb::{
    Database, Durability, ReadOnlyTable, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition,
};

use crate::auth::{Auth, StoredAuth};
use crate::lease::LeaseChange;
use crate::machine::MachineHandOver;
use crate::members::Members;
use crate::server::storage::redb_disk::{RedbDisk, Space};
use crate::store::{Archive, ArchiveError, NEVER_COMPACTED, Revision, Version};

/// By (main, sub) revision: one byte that is 1 for a tombstone, then the pair as protobuf.
const VERSIONS: TableDefinition<(i64, u32), &[u8]> = TableDefinition::new("versions");
/// By id: the seconds granted, and those left at the last checkpoint.
const LEASES: TableDefinition<i64, (i64, i64)> = TableDefinition::new("leases");
/// All members in one piece, under [`MEMBERS_KEY`].
const MEMBERS: TableDefinition<&str, &[u8]> = TableDefinition::new("members");
/// Users and roles in one piece, under [`AUTH_KEY`]; none until there is one.
const AUTH: TableDefinition<&str, &[u8]> = TableDefinition::new("auth");
/// Alarms that stand, by member and kind.
const ALARMS: TableDefinition<(u64, i32), ()> = TableDefinition::new("alarms");
const NUMBERS: TableDefinition<&str, u64> = TableDefinition::new("numbers");

const AUTH_KEY: &str = "state";
const MEMBERS_KEY: &str = "all";
const APPLIED: &str = "applied";
/// The term of the entry APPLIED.
const ENTRY_TERM: &str = "term";
const REVISION: &str = "revision";
const COMPACTED: &str = "compacted";
const CLUSTER: &str = "cluster";
const MEMBER: &str = "member";
/// What the versions take, in bytes; absent in a file of a time when it was not counted.
const STORED: &str = "stored";
/// What a version takes beside its bytes.
const STORED_OVERHEAD_BYTES: u64 = 16;
/// Versions that are copied in one transaction when the file is rewritten.
const REWRITTEN_MAX: usize = 10_000;

/// Pages that redb keeps in memory, in bytes.
const CACHE_BYTES: usize = 16 << 20;

/// Who this member is; chosen once and kept for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server) struct Identity {
    pub(in crate::server) cluster: u64,
    pub(in crate::server) member: u64,
}

/// The numbers that go with the versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server) struct Numbers {
    pub(in crate::server) applied: u64,
    /// Of the entry `applied`.
    pub(in crate::server) term: u64,
    pub(in crate::server) revision: i64,
    pub(in crate::server) compacted: i64,
    pub(in crate::server) identity: Identity,
}

/// What a new file begins with.
#[derive(Debug, Clone)]
pub(in crate::server) struct InitialState {
    pub(in crate::server) identity: Identity,
    pub(in crate::server) members: Members,
    /// 1 for those that founds the cluster: what they begin with counts as entry 1 of term 1. 0 for those that joins, and has
    /// nothing yet.
    pub(in crate::server) applied: u64,
}

/// The file, open for its one writer.
#[derive(Debug)]
pub(in crate::server) struct StoreFile {
    database: Arc<Database>,
    disk: Arc<dyn Disk>,
    path: PathBuf,
    space: Arc<Space>,
    stored_bytes: u64,
}

fn failed(error: impl Into<redb::Error>) -> ArchiveError {
    ArchiveError(error.into().to_string())
}

impl StoreFile {
    /// Opens the file. A new one is given to the one that `founds` it: by them it is known who is a member.
    pub(in crate::server) fn open(
        disk: &Arc<dyn Disk>,
        path: &Path,
        space: Arc<Space>,
        founding: &InitialState,
    ) -> Result<(Self, Numbers), ArchiveError> {
        let mut file = Self {
            database: Arc::new(open_database(disk, path, Arc::clone(&space))?),
            disk: Arc::clone(disk),
            path: path.to_owned(),
            space,
            stored_bytes: 0,
        };
        let numbers = match file.numbers()? {
            Some(numbers) => numbers,
            None => file.found(founding)?,
        };
        file.stored_bytes = file.count_stored()?;
        file.drop_unfinished(numbers.revision)?;
        Ok((file, numbers))
    }

    /// What the versions take, in bytes.
    pub(in crate::server) fn stored_bytes(&self) -> u64 {
        self.stored_bytes
    }

    fn count_stored(&self) -> Result<u64, ArchiveError> {
        let transaction = self.database.begin_read().map_err(failed)?;
        let numbers = transaction.open_table(NUMBERS).map_err(failed)?;
        if let Some(stored) = numbers.get(STORED).map_err(failed)? {
            return Ok(stored.value());
        }
        let versions = transaction.open_table(VERSIONS).map_err(failed)?;
        let count = versions.len().map_err(failed)?;
        let stats = versions.stats().map_err(failed)?;
        Ok(stats.stored_bytes() + count * STORED_OVERHEAD_BYTES)
    }

    fn numbers(&self) -> Result<Option<Numbers>, ArchiveError> {
        let transaction = self.database.begin_read().map_err(failed)?;
        let table = match transaction.open_table(NUMBERS) {
            Ok(table) => table,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let number = |name: &str| -> Result<u64, ArchiveError> {
            let found = table.get(name).map_err(failed)?.map(|value| value.value());
            found.ok_or_else(|| ArchiveError(format!(
                    "the number {name} is missing: an earlier version wrote this directory, which this one cannot read; give a new one"
                )))
        };
        Ok(Some(Numbers {
            applied: number(APPLIED)?,
            term: number(ENTRY_TERM)?,
            revision: number(REVISION)?.cast_signed(),
            compacted: number(COMPACTED)?.cast_signed(),
            identity: Identity {
                cluster: number(CLUSTER)?,
                member: number(MEMBER)?,
            },
        }))
    }

    /// Makes the tables of a new file.
    fn found(&self, founding: &InitialState) -> Result<Numbers, ArchiveError> {
        let identity = founding.identity;
        let numbers = Numbers {
            applied: founding.applied,
            term: founding.applied,
            revision: 1,
            compacted: NEVER_COMPACTED,
            identity,
        };
        let transaction = self.begin()?;
        {
            transaction.open_table(VERSIONS).map_err(failed)?;
            transaction.open_table(LEASES).map_err(failed)?;
            transaction.open_table(AUTH).map_err(failed)?;
            transaction.open_table(ALARMS).map_err(failed)?;
            let mut members = transaction.open_table(MEMBERS).map_err(failed)?;
            let bytes = founding.members.to_stored().encode_to_vec();
            members.insert(MEMBERS_KEY, bytes.as_slice()).map_err(failed)?;
            let mut table = transaction.open_table(NUMBERS).map_err(failed)?;
            table.insert(CLUSTER, identity.cluster).map_err(failed)?;
            table.insert(MEMBER, identity.member).map_err(failed)?;
            table.insert(APPLIED, numbers.applied).map_err(failed)?;
            table.insert(ENTRY_TERM, numbers.term).map_err(failed)?;
            table
                .insert(REVISION, numbers.revision.cast_unsigned())
                .map_err(failed)?;
            table
                .insert(COMPACTED, numbers.compacted.cast_unsigned())
                .map_err(failed)?;
        }
        transaction.commit().map_err(failed)?;
        Ok(numbers)
    }

    fn begin(&self) -> Result<redb::WriteTransaction, ArchiveError> {
        let mut transaction = self.database.begin_write().map_err(failed)?;
        transaction
            .set_durability(Durability::Immediate)
            .map_err(|error| ArchiveError(error.to_string()))?;
        // Opening after a kill then takes no walk through the whole file.
        transaction.set_quick_repair(true);
        Ok(transaction)
    }

    /// Makes the first versions of a hand-over durable. The file's numbers stay, so after a crash these versions are of a
    /// time to come: [`StoreFile::open`] drops them, and the log brings them again.
    pub(in crate::server) fn take_versions(&mut self, versions: &[Arc<Version>]) -> Result<(), ArchiveError> {
        let transaction = self.begin()?;
        let stored_bytes = {
            let mut table = transaction.open_table(VERSIONS).map_err(failed)?;
            let stored_bytes = insert(&mut table, versions, self.stored_bytes)?;
            let mut numbers = transaction.open_table(NUMBERS).map_err(failed)?;
            numbers.insert(STORED, stored_bytes).map_err(failed)?;
            stored_bytes
        };
        transaction.commit().map_err(failed)?;
        self.stored_bytes = stored_bytes;
        Ok(())
    }

    /// Removes versions that a hand-over left which was not finished.
    fn drop_unfinished(&mut self, revision: i64) -> Result<(), ArchiveError> {
        let beyond = (revision + 1, 0)..;
        {
            let transaction = self.database.begin_read().map_err(failed)?;
            let versions = transaction.open_table(VERSIONS).map_err(failed)?;
            if versions.range(beyond.clone()).map_err(failed)?.next().is_none() {
                return Ok(());
            }
        }
        let transaction = self.begin()?;
        let mut stored_bytes = self.stored_bytes;
        {
            let mut versions = transaction.open_table(VERSIONS).map_err(failed)?;
            let dropped = |_, bytes: &[u8]| {
                stored_bytes = stored_bytes.saturating_sub(stored(bytes));
                false
            };
            versions.retain_in(beyond, dropped).map_err(failed)?;
            let mut numbers = transaction.open_table(NUMBERS).map_err(failed)?;
            numbers.insert(STORED, stored_bytes).map_err(failed)?;
        }
        transaction.commit().map_err(failed)?;
        self.stored_bytes = stored_bytes;
        Ok(())
    }

    /// Removes versions that no reader can see after a compaction. The hand-over with the compaction's revision must be durable
    /// before, so that a crash between two of these steps is noticed: a start finds what is left by the file's numbers.
    pub(in crate::server) fn remove_versions(&mut self, removed: &[Revision]) -> Result<(), ArchiveError> {
        let transaction = self.begin()?;
        let mut stored_bytes = self.stored_bytes;
        {
            let mut versions = transaction.open_table(VERSIONS).map_err(failed)?;
            for revision in removed {
                let before = versions.remove((revision.main, revision.sub)).map_err(failed)?;
                let before = before.map_or(0, |before| stored(before.value()));
                stored_bytes = stored_bytes.saturating_sub(before);
            }
            let mut numbers = transaction.open_table(NUMBERS).map_err(failed)?;
            numbers.insert(STORED, stored_bytes).map_err(failed)?;
        }
        transaction.commit().map_err(failed)?;
        self.stored_bytes = stored_bytes;
        Ok(())
    }

    /// Makes a hand-over durable, but for the removal of versions ([`StoreFile::remove_versions`]); what there is then is
    /// [`StoreFile::snapshot`].
    pub(in crate::server) fn take_over(&mut self, hand_over: &MachineHandOver) -> Result<(), ArchiveError> {
        let transaction = self.begin()?;
        let mut stored_bytes = self.stored_bytes;
        {
            let mut versions = transaction.open_table(VERSIONS).map_err(failed)?;
            stored_bytes = insert(&mut versions, &hand_over.store.versions, stored_bytes)?;
            let mut leases = transaction.open_table(LEASES).map_err(failed)?;
            for (id, lease) in &hand_over.leases {
                match lease {
                    Some(lease) => leases.insert(id, (lease.ttl_seconds, lease.remaining_seconds)),
                    None => leases.remove(id),
                }
                .map_err(failed)?;
            }
            if let Some(members) = &hand_over.members {
                let mut table = transaction.open_table(MEMBERS).map_err(failed)?;
                table
                    .insert(MEMBERS_KEY, members.encode_to_vec().as_slice())
                    .map_err(failed)?;
            }
            if let Some(auth) = &hand_over.auth {
                let mut table = transaction.open_table(AUTH).map_err(failed)?;
                table
                    .insert(AUTH_KEY, auth.encode_to_vec().as_slice())
                    .map_err(failed)?;
            }
            if let Some(standing) = &hand_over.alarms {
                let mut alarms = transaction.open_table(ALARMS).map_err(failed)?;
                alarms.retain(|_, ()| false).map_err(failed)?;
                for alarm in standing {
                    alarms.insert(alarm, ()).map_err(failed)?;
                }
            }
            let mut numbers = transaction.open_table(NUMBERS).map_err(failed)?;
            numbers.insert(APPLIED, hand_over.applied).map_err(failed)?;
            numbers.insert(ENTRY_TERM, hand_over.term).map_err(failed)?;
            numbers.insert(STORED, stored_bytes).map_err(failed)?;
            numbers
                .insert(REVISION, hand_over.store.revision.cast_unsigned())
                .map_err(failed)?;
            numbers
                .insert(COMPACTED, hand_over.store.compacted.cast_unsigned())
                .map_err(failed)?;
        }
        transaction.commit().map_err(failed)?;
        self.stored_bytes = stored_bytes;
        Ok(())
    }

    /// Everything as it is now, for readers.
    pub(in crate::server) fn snapshot(&self) -> Result<Snapshot, ArchiveError> {
        let transaction = self.database.begin_read().map_err(failed)?;
        Ok(Snapshot {
            versions: transaction.open_table(VERSIONS).map_err(failed)?,
            _database: Arc::clone(&self.database),
        })
    }

    /// Writes the file again without the room that removed versions have left in it; what there is then is
    /// [`StoreFile::snapshot`]. Where that fails, for lack of space say, the file stays as it was.
    pub(in crate::server) fn rewrite(&mut self) -> Result<(), ArchiveError> {
        let anew = self.path.with_extension("new");
        let io_failed =
            |error: std::io::Error| ArchiveError(format!("cannot rewrite {}: {error}", self.path.display()));
        if self.disk.exists(&anew).map_err(io_failed)? {
            self.disk.remove_file(&anew).map_err(io_failed)?;
        }
        let copied = open_database(&self.disk, &anew, Arc::new(Space::impatient())).and_then(|copy| self.copy(&copy));
        if let Err(error) = copied {
            self.disk.remove_file(&anew).map_err(io_failed)?;
            return Err(error);
        }
        self.disk.rename(&anew, &self.path).map_err(io_failed)?;
        if let Some(parent) = self.path.parent() {
            self.disk.sync_dir(parent).map_err(io_failed)?;
        }
        self.database = Arc::new(open_database(&self.disk, &self.path, Arc::clone(&self.space))?);
        Ok(())
    }

    /// Writes all that is in the file now into another one.
    pub(in crate::server) fn copy_to(&self, path: &Path) -> Result<(), ArchiveError> {
        let io_failed = |error: std::io::Error| ArchiveError(format!("cannot write {}: {error}", path.display()));
        if self.disk.exists(path).map_err(io_failed)? {
            self.disk.remove_file(path).map_err(io_failed)?;
        }
        let copied = open_database(&self.disk, path, Arc::new(Space::impatient())).and_then(|copy| self.copy(&copy));
        if copied.is_err() {
            self.disk.remove_file(path).map_err(io_failed)?;
        }
        copied
    }

    /// Puts a file of another member in the place of this one; who this member is stays.
    pub(in crate::server) fn adopt(&mut self, path: &Path, identity: Identity) -> Result<(), ArchiveError> {
        let io_failed = |error: std::io::Error| ArchiveError(format!("cannot adopt {}: {error}", path.display()));
        {
            let database = open_database(&self.disk, path, Arc::new(Space::impatient()))?;
            let mut transaction = database.begin_write().map_err(failed)?;
            transaction.set_quick_repair(true);
            {
                let mut numbers = transaction.open_table(NUMBERS).map_err(failed)?;
                let cluster = numbers.get(CLUSTER).map_err(failed)?.map(|cluster| cluster.value());
                if cluster != Some(identity.cluster) {
                    return Err(ArchiveError(format!("{} is of another cluster", path.display())));
                }
                numbers.insert(MEMBER, identity.member).map_err(failed)?;
            }
            transaction.commit().map_err(failed)?;
        }
        self.disk.rename(path, &self.path).map_err(io_failed)?;
        if let Some(parent) = self.path.parent() {
            self.disk.sync_dir(parent).map_err(io_failed)?;
        }
        self.database = Arc::new(open_database(&self.disk, &self.path, Arc::clone(&self.space))?);
        self.stored_bytes = self.count_stored()?;
        Ok(())
    }

    /// The numbers as they are now.
    pub(in crate::server) fn present_numbers(&self) -> Result<Numbers, ArchiveError> {
        self.numbers()?
            .ok_or_else(|| ArchiveError("the file has no numbers".to_owned()))
    }

    /// All members.
    pub(in crate::server) fn members(&self) -> Result<Members, ArchiveError> {
        let transaction = self.database.begin_read().map_err(failed)?;
        let table = transaction.open_table(MEMBERS).map_err(failed)?;
        let bytes = table.get(MEMBERS_KEY).map_err(failed)?;
        let bytes = bytes.ok_or_else(|| ArchiveError("the members are missing".to_owned()))?;
        let stored = StoredMembers::decode(bytes.value())
            .map_err(|error| ArchiveError(format!("the members are unreadable: {error}")))?;
        Ok(Members::restore(stored))
    }

    /// Copies all tables.
    fn copy(&self, copy: &Database) -> Result<(), ArchiveError> {
        let from = self.database.begin_read().map_err(failed)?;
        let versions = from.open_table(VERSIONS).map_err(failed)?;
        let mut entries = versions.iter().map_err(failed)?.peekable();
        while entries.peek().is_some() {
            let to = copy.begin_write().map_err(failed)?;
            {
                let mut versions = to.open_table(VERSIONS).map_err(failed)?;
                for entry in entries.by_ref().take(REWRITTEN_MAX) {
                    let (revision, bytes) = entry.map_err(failed)?;
                    versions.insert(revision.value(), bytes.value()).map_err(failed)?;
                }
            }
            to.commit().map_err(failed)?;
        }
        let mut to = copy.begin_write().map_err(failed)?;
        to.set_quick_repair(true);
        to.open_table(VERSIONS).map_err(failed)?;
        copy_table(&from, &to, LEASES)?;
        copy_table(&from, &to, MEMBERS)?;
        copy_table(&from, &to, ALARMS)?;
        copy_table(&from, &to, AUTH)?;
        copy_table(&from, &to, NUMBERS)?;
        to.commit().map_err(failed)
    }

    /// Users and roles. A file made before there were any has no table of them.
    pub(in crate::server) fn auth(&self) -> Result<Auth, ArchiveError> {
        let transaction = self.database.begin_read().map_err(failed)?;
        let table = match transaction.open_table(AUTH) {
            Ok(table) => table,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Auth::default()),
            Err(error) => return Err(failed(error)),
        };
        let Some(bytes) = table.get(AUTH_KEY).map_err(failed)? else {
            return Ok(Auth::default());
        };
        let stored = StoredAuth::decode(bytes.value())
            .map_err(|error| ArchiveError(format!("users and roles are unreadable: {error}")))?;
        Ok(Auth::restore(stored))
    }

    /// All leases by their ids.
    pub(in crate::server) fn leases(&self) -> Result<Vec<(i64, LeaseChange)>, ArchiveError> {
        let transaction = self.database.begin_read().map_err(failed)?;
        let table = transaction.open_table(LEASES).map_err(failed)?;
        let mut leases = Vec::new();
        for entry in table.iter().map_err(failed)? {
            let (id, lease) = entry.map_err(failed)?;
            let (ttl_seconds, remaining_seconds) = lease.value();
            let lease = LeaseChange {
                ttl_seconds,
                remaining_seconds,
            };
            leases.push((id.value(), lease));
        }
        Ok(leases)
    }

    /// All alarms that stand, by member and kind.
    pub(in crate::server) fn alarms(&self) -> Result<Vec<(u64, i32)>, ArchiveError> {
        let transaction = self.database.begin_read().map_err(failed)?;
        let table = match transaction.open_table(ALARMS) {
            Ok(table) => table,
            // A file of a time without alarms.
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut alarms = Vec::new();
        for entry in table.iter().map_err(failed)? {
            let (alarm, ()) = entry
                .map(|(alarm, unit)| (alarm.value(), unit.value()))
                .map_err(failed)?;
            alarms.push(alarm);
        }
        Ok(alarms)
    }
}

fn open_database(disk: &Arc<dyn Disk>, path: &Path, space: Arc<Space>) -> Result<Database, ArchiveError> {
    let io_failed = |error: std::io::Error| ArchiveError(format!("cannot open {}: {error}", path.display()));
    let fresh = !disk.exists(path).map_err(io_failed)?;
    let backend = RedbDisk::open(disk.as_ref(), path, space).map_err(io_failed)?;
    if fresh && let Some(parent) = path.parent() {
        disk.sync_dir(parent).map_err(io_failed)?;
    }
    Database::builder()
        .set_cache_size(CACHE_BYTES)
        .create_with_backend(backend)
        .map_err(|error| ArchiveError(format!("cannot open {}: {error}", path.display())))
}

/// Inserts versions; returns what all versions take then, where they took `stored_bytes` before.
fn insert(
    table: &mut redb::Table<'_, (i64, u32), &'static [u8]>,
    versions: &[Arc<Version>],
    mut stored_bytes: u64,
) -> Result<u64, ArchiveError> {
    let mut bytes = Vec::new();
    for version in versions {
        encode(version, &mut bytes);
        let key = (version.revision.main, version.revision.sub);
        let before = table.insert(key, bytes.as_slice()).map_err(failed)?;
        let before = before.map_or(0, |before| stored(before.value()));
        stored_bytes = (stored_bytes + stored(&bytes)).saturating_sub(before);
    }
    Ok(stored_bytes)
}

fn copy_table<K: redb::Key + 'static, V: redb::Value + 'static>(
    from: &redb::ReadTransaction,
    to: &redb::WriteTransaction,
    definition: TableDefinition<'_, K, V>,
) -> Result<(), ArchiveError> {
    let mut copy = to.open_table(definition).map_err(failed)?;
    let table = match from.open_table(definition) {
        Ok(table) => table,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    for entry in table.iter().map_err(failed)? {
        let (key, value) = entry.map_err(failed)?;
        copy.insert(key.value(), value.value()).map_err(failed)?;
    }
    Ok(())
}

fn stored(bytes: &[u8]) -> u64 {
    bytes.len() as u64 + STORED_OVERHEAD_BYTES
}

/// The versions as they were at one moment. Readers share it; redb keeps its pages until the last one is gone.
pub(in crate::server) struct Snapshot {
    versions: ReadOnlyTable<(i64, u32), &'static [u8]>,
    /// A database that is dropped closes its file, anyone who still reads; so a file that was replaced stays until then.
    _database: Arc<Database>,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Snapshot").finish_non_exhaustive()
    }
}

impl Archive for Snapshot {
    fn get(&self, revision: Revision) -> Result<Option<Version>, ArchiveError> {
        match self.versions.get((revision.main, revision.sub)).map_err(failed)? {
            Some(bytes) => decode(revision, bytes.value()).map(Some),
            None => Ok(None),
        }
    }

    fn scan(&self, from: Revision, to: Revision, visit: &mut dyn FnMut(Version) -> bool) -> Result<(), ArchiveError> {
        if from > to {
            return Ok(());
        }
        for entry in self
            .versions
            .range((from.main, from.sub)..=(to.main, to.sub))
            .map_err(failed)?
        {
            let (key, bytes) = entry.map_err(failed)?;
            let (main, sub) = key.value();
            if !visit(decode(Revision::new(main, sub), bytes.value())?) {
                break;
            }
        }
        Ok(())
    }
}

fn encode(version: &Version, bytes: &mut Vec<u8>) {
    bytes.clear();
    bytes.push(u8::from(version.deleted));
    version.kv.encode(bytes).expect("a vector grows");
}

fn decode(revision: Revision, bytes: &[u8]) -> Result<Version, ArchiveError> {
    let unreadable = || ArchiveError(format!("revision {}.{} is unreadable", revision.main, revision.sub));
    let (deleted, pair) = bytes.split_first().ok_or_else(unreadable)?;
    let kv = KeyValue::decode(pair).map_err(|_| unreadable())?;
    Ok(Version {
        revision,
        deleted: *deleted == 1,
        kv,
    })
}
