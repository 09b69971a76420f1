//! Replicas on disk.
//!
//! A replica is two files in one directory: `blk_ID` with the data, and a meta file with the checksums, whose name says
//! what the replica is: `blk_ID_STAMP.meta` finalized, `.rbw` being written, `.tmp` being copied here. Finalizing a replica
//! and raising its stamp are one rename each, so that no crash leaves half of it.
//!
//! # What survives
//! A replica is finalized only after its data, checksums and name are on disk. After a crash, one that was being written is
//! cut to what its checksums vouch for: everything that was synced, and maybe more. Copies that were under way are removed.
//! Data whose checksums are gone is kept, as corrupt: only the name node knows whether there are other replicas.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use dfs_wire::checksum::{CRC_BYTES, Checksum, META_HEADER_BYTES};
use disk::{Disk, DiskFile, Mode};

use super::live::Live;
use crate::Error;
use crate::pipeline::crc_offset;

/// Directories that replicas are spread over.
const DIRECTORIES: u64 = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Finalized,
    /// Being written by a client.
    Rbw,
    /// Was being written when the data node ended.
    Rwr,
    /// Being copied here from another data node.
    Temporary,
    /// Its checksums are gone or unreadable: kept as it is, and reported corrupt.
    Corrupt,
}

impl State {
    fn suffix(self) -> &'static str {
        match self {
            Self::Finalized | Self::Corrupt => "meta",
            Self::Rbw | Self::Rwr => "rbw",
            Self::Temporary => "tmp",
        }
    }
}

/// What is known of a replica without opening it.
#[derive(Debug, Clone)]
pub struct Replica {
    pub stamp: u64,
    pub length: u64,
    pub state: State,
    /// Its writer, while there is one.
    pub live: Option<Arc<Live>>,
}

/// Both files of a replica.
#[derive(Debug, Clone)]
pub struct Files {
    pub data: Arc<dyn DiskFile>,
    pub meta: Arc<dyn DiskFile>,
    pub checksum: Checksum,
}

impl Files {
    /// Makes data and checksums durable: both at once, so that the file system's journal is written once.
    pub fn sync(&self) -> io::Result<()> {
        std::thread::scope(|scope| {
            let meta = std::thread::Builder::new()
                .stack_size(super::STACK_BYTES)
                .spawn_scoped(scope, || self.meta.sync_data())?;
            let data = self.data.sync_data();
            let meta = meta
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("a thread that syncs died")));
            data.and(meta)
        })
    }
}

/// All replicas of a data node.
#[derive(Debug)]
pub struct Store {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    replicas: Mutex<HashMap<u64, Replica>>,
    used: AtomicU64,
    pub reserved: u64,
}

fn not_found(block: u64, stamp: u64) -> Error {
    Error::ReplicaNotFound(format!("Replica not found for blk_{block}_{stamp}"))
}

impl Store {
    /// Lists what is on disk, and mends what a crash left.
    pub fn open(disk: Arc<dyn Disk>, directory: PathBuf, reserved: u64) -> io::Result<Self> {
        disk.create_dir_all(&directory)?;
        let store = Self {
            disk,
            directory,
            replicas: Mutex::default(),
            used: AtomicU64::new(0),
            reserved,
        };
        for entry in store.disk.list(&store.directory)? {
            if entry.is_dir {
                store.scan(&store.directory.join(entry.name))?;
            }
        }
        Ok(store)
    }

    fn scan(&self, directory: &Path) -> io::Result<()> {
        let mut data: HashMap<u64, u64> = HashMap::new();
        let mut metas = Vec::new();
        for entry in self.disk.list(directory)? {
            let Some(rest) = entry.name.strip_prefix("blk_") else {
                continue;
            };
            match rest.split_once('_') {
                None => {
                    if let Ok(id) = rest.parse() {
                        data.insert(id, entry.len);
                    }
                }
                Some((id, rest)) => {
                    let Some((stamp, suffix)) = rest.split_once('.') else {
                        continue;
                    };
                    if let (Ok(id), Ok(stamp)) = (id.parse::<u64>(), stamp.parse::<u64>()) {
                        metas.push((id, stamp, suffix.to_owned(), entry.name));
                    }
                }
            }
        }
        // The newest last. Where there are several, an operator has put an older one beside it.
        metas.sort();
        let mut found: HashMap<u64, (u64, String, String)> = HashMap::new();
        for (id, stamp, suffix, name) in metas {
            if suffix == "tmp" {
                if !found.contains_key(&id) {
                    let _ = self.disk.remove_file(&directory.join(format!("blk_{id}")));
                    data.remove(&id);
                }
                self.disk.remove_file(&directory.join(&name))?;
            } else if !data.contains_key(&id) {
                tracing::warn!(block = id, meta = name, "there are checksums of a replica, but no data");
            } else {
                found.insert(id, (stamp, suffix, name));
            }
        }
        for (id, length) in data {
            let replica = match found.remove(&id) {
                Some((stamp, suffix, name)) => self.found(id, (stamp, &suffix), directory, &name, length)?,
                None => None,
            };
            let replica = replica.unwrap_or_else(|| {
                tracing::error!(
                    block = id,
                    length,
                    "a replica has no readable checksums: it is kept as corrupt"
                );
                Replica {
                    stamp: 0,
                    length,
                    state: State::Corrupt,
                    live: None,
                }
            });
            self.used.fetch_add(replica.length, Ordering::Relaxed);
            self.lock().insert(id, replica);
        }
        Ok(())
    }

    /// A replica with a meta file; `None` if that one is damaged.
    fn found(
        &self,
        id: u64,
        (stamp, suffix): (u64, &str),
        directory: &Path,
        meta: &str,
        length: u64,
    ) -> io::Result<Option<Replica>> {
        let (state, length) = match suffix {
            "meta" => (State::Finalized, length),
            "rbw" => {
                let data = directory.join(format!("blk_{id}"));
                let Some(length) = self.vouched(&data, &directory.join(meta))? else {
                    return Ok(None);
                };
                tracing::info!(block = id, length, "found a replica that was being written");
                (State::Rwr, length)
            }
            _ => return Ok(None),
        };
        Ok(Some(Replica {
            stamp,
            length,
            state,
            live: None,
        }))
    }

    /// Cuts a replica to what its checksums vouch for, and returns that length; `None` if they say nothing at all.
    fn vouched(&self, data: &Path, meta: &Path) -> io::Result<Option<u64>> {
        let data = self.disk.open(data, Mode::Write)?;
        let meta = self.disk.open(meta, Mode::Write)?;
        let checksum = match read_checksum(&*meta) {
            Ok(checksum) => checksum,
            // The header is written before any data; without data there is nothing to keep.
            Err(_) if data.is_empty()? => return Ok(Some(0)),
            Err(_) => return Ok(None),
        };
        let chunk = u64::from(checksum.chunk);
        let (total, width) = (data.len()?, checksum.crc_bytes() as u64);
        let chunks = match width {
            0 => checksum.chunks(total),
            width => ((meta.len()? - META_HEADER_BYTES as u64) / width).min(checksum.chunks(total)),
        };
        let mut buffer = vec![0; chunk as usize];
        let mut vouched = 0;
        for index in 0..chunks {
            let bytes = (total - index * chunk).min(chunk) as usize;
            data.read_exact_at(&mut buffer[..bytes], index * chunk)?;
            if width > 0 {
                let mut crc = [0; CRC_BYTES];
                meta.read_exact_at(&mut crc, crc_offset(checksum, index))?;
                // The checksum may be of the chunk as it was before its last bytes came.
                let good = (1..=bytes)
                    .rev()
                    .find(|n| checksum.crc(&buffer[..*n]).to_be_bytes() == crc);
                let Some(good) = good else { break };
                vouched = index * chunk + good as u64;
                if good < bytes {
                    break;
                }
            } else {
                vouched = index * chunk + bytes as u64;
            }
        }
        data.set_len(vouched)?;
        meta.set_len(crc_offset(checksum, checksum.chunks(vouched)))?;
        Ok(Some(vouched))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Replica>> {
        self.replicas.lock().expect("no holder of the replicas' lock panics")
    }

    fn folder(&self, block: u64) -> PathBuf {
        self.directory
            .join(format!("{:02x}", block / DIRECTORIES % DIRECTORIES))
    }

    pub fn data_path(&self, block: u64) -> PathBuf {
        self.folder(block).join(format!("blk_{block}"))
    }

    pub fn meta_path(&self, block: u64, stamp: u64, state: State) -> PathBuf {
        self.folder(block)
            .join(format!("blk_{block}_{stamp}.{}", state.suffix()))
    }

    pub fn get(&self, block: u64) -> Option<Replica> {
        self.lock().get(&block).cloned()
    }

    /// All replicas but those that are being copied here.
    pub fn list(&self) -> Vec<(u64, Replica)> {
        let replicas = self.lock();
        let mut list: Vec<(u64, Replica)> = replicas
            .iter()
            .filter(|(_, replica)| replica.state != State::Temporary)
            .map(|(id, replica)| (*id, replica.clone()))
            .collect();
        list.sort_by_key(|(id, _)| *id);
        list
    }

    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    pub fn len(&self) -> usize {
        self.lock().len()
    }

    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Capacity and what is left of it, in bytes.
    pub fn space(&self) -> (u64, u64) {
        match rustix::fs::statvfs(&self.directory) {
            Ok(stat) => {
                let left = (stat.f_bavail * stat.f_frsize).saturating_sub(self.reserved);
                (stat.f_blocks * stat.f_frsize, left)
            }
            Err(_) => (0, 0),
        }
    }

    /// A new replica to be written, by a client or, `temporary`, by another data node.
    pub fn create(
        &self,
        block: u64,
        stamp: u64,
        checksum: Checksum,
        temporary: bool,
        live: &Arc<Live>,
    ) -> Result<Files, Error> {
        let state = if temporary { State::Temporary } else { State::Rbw };
        {
            let mut replicas = self.lock();
            match replicas.get(&block) {
                Some(old)
                    if old.live.is_none()
                        && !matches!(old.state, State::Finalized | State::Corrupt)
                        && old.stamp < stamp => {}
                Some(old) => {
                    return Err(Error::AlreadyExists(format!(
                        "blk_{block}_{stamp} already exists in state {:?} with stamp {} and thus cannot be created.",
                        old.state, old.stamp
                    )));
                }
                None => {}
            }
            if self.space().1 == 0 {
                return Err(Error::Io("no space left on this data node".to_owned()));
            }
            replicas.insert(
                block,
                Replica {
                    stamp,
                    length: 0,
                    state,
                    live: Some(Arc::clone(live)),
                },
            );
        }
        let files = self.create_files(block, stamp, checksum, state);
        if files.is_err() {
            self.lock().remove(&block);
        }
        files
    }

    fn create_files(&self, block: u64, stamp: u64, checksum: Checksum, state: State) -> Result<Files, Error> {
        let folder = self.folder(block);
        if !self.disk.exists(&folder)? {
            self.disk.create_dir_all(&folder)?;
            self.disk.sync_dir(&self.directory)?;
        }
        let data = self.disk.open(&self.data_path(block), Mode::Write)?;
        data.set_len(0)?;
        let meta = self.disk.open(&self.meta_path(block, stamp, state), Mode::Write)?;
        meta.set_len(0)?;
        meta.write_at(&checksum.meta_header(), 0)?;
        Ok(Files { data, meta, checksum })
    }

    /// Opens a replica that was there before for more writing, under a stamp that is not lower.
    pub fn reopen(&self, block: u64, stamp: u64, live: &Arc<Live>) -> Result<(Files, u64), Error> {
        let mut replicas = self.lock();
        let replica = replicas.get_mut(&block).ok_or_else(|| not_found(block, stamp))?;
        let closed = matches!(replica.state, State::Temporary | State::Corrupt);
        if stamp < replica.stamp || closed || replica.live.is_some() {
            return Err(Error::Io(format!(
                "blk_{block} cannot be written under stamp {stamp}: it is {:?} with stamp {}",
                replica.state, replica.stamp
            )));
        }
        let from = self.meta_path(block, replica.stamp, replica.state);
        let to = self.meta_path(block, stamp, State::Rbw);
        if from != to {
            self.disk.rename(&from, &to)?;
        }
        replica.stamp = stamp;
        replica.state = State::Rbw;
        replica.live = Some(Arc::clone(live));
        let length = replica.length;
        drop(replicas);
        let files = self.files(&to, block, Mode::Write);
        if files.is_err()
            && let Some(replica) = self.lock().get_mut(&block)
        {
            replica.live = None;
        }
        Ok((files?, length))
    }

    fn files(&self, meta: &Path, block: u64, mode: Mode) -> Result<Files, Error> {
        let data = self.disk.open(&self.data_path(block), mode)?;
        let meta = self.disk.open(meta, mode)?;
        let checksum = read_checksum(&*meta)?;
        Ok(Files { data, meta, checksum })
    }

    /// Opens a replica for reading; its stamp must not be lower than the one asked for.
    pub fn read(&self, block: u64, stamp: u64) -> Result<(Files, Replica), Error> {
        // A rename in between (finalize, new stamp) makes the first path stale: look again.
        for _ in 0..3 {
            let replica = self
                .get(block)
                .filter(|replica| replica.stamp >= stamp)
                .filter(|replica| !matches!(replica.state, State::Temporary | State::Corrupt));
            let replica = replica.ok_or_else(|| not_found(block, stamp))?;
            match self.files(&self.meta_path(block, replica.stamp, replica.state), block, Mode::Read) {
                Ok(files) => return Ok((files, replica)),
                Err(_) => std::thread::yield_now(),
            }
        }
        Err(not_found(block, stamp))
    }

    /// Makes a replica durable and final.
    pub fn finalize(&self, block: u64, files: &Files, length: u64) -> Result<(), Error> {
        files.sync()?;
        let mut replicas = self.lock();
        let Some(replica) = replicas.get_mut(&block) else {
            return Err(Error::Io(format!("blk_{block} was removed while it was written")));
        };
        let from = self.meta_path(block, replica.stamp, replica.state);
        self.disk
            .rename(&from, &self.meta_path(block, replica.stamp, State::Finalized))?;
        self.used
            .fetch_add(length.saturating_sub(replica.length), Ordering::Relaxed);
        replica.length = length;
        replica.state = State::Finalized;
        replica.live = None;
        drop(replicas);
        Ok(self.disk.sync_dir(&self.folder(block))?)
    }

    /// Makes what was written of an open replica durable, its name included.
    pub fn sync(&self, block: u64, files: &Files) -> io::Result<()> {
        files.sync()?;
        self.disk.sync_dir(&self.folder(block))
    }

    /// The writer of a replica is gone; what it wrote stays. A copy that was under way is removed.
    pub fn release(&self, block: u64, live: &Arc<Live>, length: u64) {
        let mut replicas = self.lock();
        let Some(replica) = replicas.get_mut(&block) else {
            return;
        };
        if !replica.live.as_ref().is_some_and(|current| Arc::ptr_eq(current, live)) {
            return;
        }
        replica.live = None;
        if replica.state == State::Temporary {
            let (stamp, state) = (replica.stamp, replica.state);
            replicas.remove(&block);
            self.remove_files(block, stamp, state);
        } else if replica.state != State::Finalized {
            self.used
                .fetch_add(length.saturating_sub(replica.length), Ordering::Relaxed);
            replica.length = length;
        }
    }

    /// Removes a replica if its stamp is not higher than `stamp`. True if there was one.
    pub fn remove(&self, block: u64, stamp: u64) -> bool {
        let removed = {
            let mut replicas = self.lock();
            match replicas.get(&block) {
                Some(replica) if replica.stamp <= stamp || stamp == 0 => replicas.remove(&block),
                _ => None,
            }
        };
        let Some(replica) = removed else { return false };
        if let Some(live) = &replica.live {
            live.stop();
        }
        self.used.fetch_sub(replica.length.min(self.used()), Ordering::Relaxed);
        self.remove_files(block, replica.stamp, replica.state);
        true
    }

    fn remove_files(&self, block: u64, stamp: u64, state: State) {
        // The meta file first: the name node asks again for the removal of data without one.
        for path in [self.meta_path(block, stamp, state), self.data_path(block)] {
            if state == State::Corrupt && !matches!(self.disk.exists(&path), Ok(true)) {
                continue;
            }
            if let Err(error) = self.disk.remove_file(&path) {
                tracing::warn!(path = %path.display(), %error, "could not remove a file");
            }
        }
    }

    /// Cuts a replica to `length`, gives it `stamp` and finalizes it. Its writer must be gone.
    pub fn recover(&self, block: u64, stamp: u64, length: u64) -> Result<(), Error> {
        let live = Arc::new(Live::new(length));
        let (files, had) = self.reopen(block, stamp, &live)?;
        if had < length {
            self.release(block, &live, had);
            return Err(Error::Io(format!("blk_{block} has {had} bytes here, not {length}")));
        }
        truncate(&files, length)?;
        let kept = length.min(had);
        if let Some(replica) = self.lock().get_mut(&block) {
            self.used.fetch_sub((had - kept).min(self.used()), Ordering::Relaxed);
            replica.length = kept;
        }
        self.finalize(block, &files, length)
    }

    /// Compares a finalized replica with its checksums. False if it is corrupt, or a file of it is gone.
    pub fn verify(&self, block: u64) -> bool {
        let Some(replica) = self.get(block).filter(|replica| replica.state == State::Finalized) else {
            return true;
        };
        let changed = || {
            // It may have been reopened or removed meanwhile; then it is not for us to judge.
            self.get(block)
                .is_none_or(|now| now.state != State::Finalized || now.stamp != replica.stamp)
        };
        let meta = self.meta_path(block, replica.stamp, State::Finalized);
        let gone = |path: &Path| matches!(self.disk.exists(path), Ok(false));
        if gone(&meta) || gone(&self.data_path(block)) {
            return changed();
        }
        let Ok(meta_file) = self.disk.open(&meta, Mode::Read) else {
            return true;
        };
        if read_checksum(&*meta_file).is_err() {
            return changed();
        }
        let Ok(files) = self.files(&meta, block, Mode::Read) else {
            return true;
        };
        let step = files.checksum.chunk as usize * 256;
        let (mut data, mut crcs) = (vec![0; step], vec![0; 256 * files.checksum.crc_bytes()]);
        let mut offset = 0;
        while offset < replica.length {
            let bytes = ((replica.length - offset) as usize).min(step);
            let width = files.checksum.chunks(bytes as u64) as usize * files.checksum.crc_bytes();
            let at = crc_offset(files.checksum, offset / u64::from(files.checksum.chunk));
            let read = files
                .data
                .read_exact_at(&mut data[..bytes], offset)
                .and_then(|()| files.meta.read_exact_at(&mut crcs[..width], at));
            if read.is_err() || !files.checksum.verify(&data[..bytes], &crcs[..width]) {
                return changed();
            }
            offset += bytes as u64;
        }
        true
    }
}

/// Reads a meta file's header.
fn read_checksum(meta: &dyn DiskFile) -> Result<Checksum, Error> {
    let mut header = [0; META_HEADER_BYTES];
    meta.read_exact_at(&mut header, 0)?;
    Ok(Checksum::parse_meta_header(&header)?)
}

/// Cuts data and checksums, and computes the checksum of a last chunk that is not whole any more.
fn truncate(files: &Files, length: u64) -> Result<(), Error> {
    let checksum = files.checksum;
    let chunk = u64::from(checksum.chunk);
    files.data.set_len(length)?;
    files.meta.set_len(crc_offset(checksum, checksum.chunks(length)))?;
    let within = (length % chunk) as usize;
    if within > 0 && checksum.crc_bytes() > 0 {
        let mut last = vec![0; within];
        files.data.read_exact_at(&mut last, length - within as u64)?;
        files
            .meta
            .write_at(&checksum.crc(&last).to_be_bytes(), crc_offset(checksum, length / chunk))?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
