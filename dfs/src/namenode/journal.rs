//! What of the name node is on disk: the image, and the edits since.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use disk::{Disk, Mode};
use prost::Message;
use raft::log::{GroupCommit, Log, LogError, Options};

use super::retry::RetryCache;
use crate::Error;
use crate::namespace::Namespace;
use crate::namespace::edit::Transaction;
use crate::namespace::image::Header;

const IMAGE: &str = "image";
const EDITS: &str = "edits";
/// The one kind of record there is.
const KIND_TRANSACTION: u8 = 1;

/// Why the name node cannot start from what is on disk.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("cannot read or write {}: {source}", .path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{} cannot be used: {reason}; restore the directory from a copy", .path.display())]
    Image { path: PathBuf, reason: String },
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("the edit log cannot be used: {0}; restore the directory from a copy")]
    Edits(String),
}

/// What was found on disk.
#[derive(Debug)]
pub struct Recovered {
    pub namespace: Namespace,
    pub retries: RetryCache,
    pub pool_id: String,
    /// The last transaction that was applied.
    pub transaction: u64,
    /// Edits applied on top of the image.
    pub replayed: u64,
}

/// The edit log's writer and the image beside it.
#[derive(Debug)]
pub struct Journal {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    commit: GroupCommit,
    /// The last record that is durable.
    durable: Arc<AtomicU64>,
}

impl Recovered {
    /// Applies the edits of the log from a record on.
    fn replay(&mut self, log: &Log, from: u64, now: u64) -> Result<(), JournalError> {
        for record in log.read(from)? {
            let record = record?;
            let edits = Transaction::decode(record.payload).map_err(|error| JournalError::Edits(error.to_string()))?;
            if edits.number != self.transaction + 1 {
                tracing::warn!(number = edits.number, "skipped an edit that was never acknowledged");
                continue;
            }
            for edit in edits.edits.iter().filter_map(|boxed| boxed.edit.as_ref()) {
                self.namespace
                    .apply(edit, now)
                    .map_err(|error| JournalError::Edits(error.to_string()))?;
                self.replayed += 1;
            }
            self.transaction = edits.number;
            self.retries
                .insert(&edits.client_id, edits.call_id, edits.response, now);
        }
        Ok(())
    }
}

impl Journal {
    /// Reads image and edits; formats an empty directory with a new pool `pool_id`.
    pub fn open(
        disk: Arc<dyn Disk>,
        directory: &Path,
        fresh: impl FnOnce() -> (Namespace, String),
        now: u64,
    ) -> Result<(Self, Recovered), JournalError> {
        let path = directory.join(IMAGE);
        let io = |source| JournalError::Io {
            path: path.clone(),
            source,
        };
        if !disk.exists(&path).map_err(io)? {
            let edits = directory.join(EDITS);
            if disk.exists(&edits).map_err(io)? && !disk.list(&edits).map_err(io)?.is_empty() {
                return Err(JournalError::Image {
                    path,
                    reason: "there are edits, but no image".to_owned(),
                });
            }
            let (namespace, pool_id) = fresh();
            let header = Header {
                pool_id,
                ..Default::default()
            };
            disk.replace(&directory.join(IMAGE), &namespace.to_image(header)).map_err(io)?;
        }
        let bytes = read_file(&disk, &path).map_err(io)?;
        let (namespace, header) = Namespace::from_image(&bytes, now).map_err(|error| JournalError::Image {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        let options = Options {
            first_index: header.log_index + 1,
            ..Options::default()
        };
        let (log, recovery) = Log::open(Arc::clone(&disk), directory.join(EDITS), options)?;
        if let Some(cut) = &recovery.cut {
            tracing::warn!(file = %cut.file.display(), bytes = cut.bytes, "cut a torn tail off the edit log");
        }
        if recovery.first_index > header.log_index + 1 && recovery.first_index < recovery.next_index
            || recovery.next_index < header.log_index + 1
        {
            return Err(JournalError::Edits(format!(
                "the image ends with record {}, the log holds records {} up to {}",
                header.log_index, recovery.first_index, recovery.next_index
            )));
        }
        let from = recovery.first_index.max(header.log_index + 1);
        let mut recovered = Recovered {
            namespace,
            retries: RetryCache::default(),
            pool_id: header.pool_id,
            transaction: header.transaction,
            replayed: 0,
        };
        recovered.replay(&log, from, now)?;
        let durable = Arc::new(AtomicU64::new(recovery.next_index.saturating_sub(1)));
        let commit = GroupCommit::start(log).map_err(|source| JournalError::Io {
            path: directory.join(EDITS),
            source,
        })?;
        let journal = Self {
            disk,
            directory: directory.to_owned(),
            commit,
            durable,
        };
        Ok((journal, recovered))
    }

    /// Queues a transaction; `done` is called once it is durable or refused, in the order of submission.
    pub fn submit(&self, transaction: &Transaction, done: impl FnOnce(Result<u64, LogError>) + Send + 'static) {
        let durable = Arc::clone(&self.durable);
        let payload = Bytes::from(transaction.encode_to_vec());
        self.commit.submit(KIND_TRANSACTION, payload, move |outcome| {
            if let Ok(index) = outcome {
                durable.fetch_max(index, Ordering::SeqCst);
            }
            done(outcome);
        });
    }

    pub fn stats(&self) -> raft::log::Stats {
        self.commit.stats()
    }

    pub fn failure(&self) -> Option<LogError> {
        self.commit.failure()
    }

    /// The last durable record. An image of a state in which all that was submitted is durable ends with it.
    pub fn durable_index(&self) -> u64 {
        self.durable.load(Ordering::SeqCst)
    }

    /// Replaces the image, then cuts the log. Blocks.
    pub fn checkpoint(&self, image: &[u8], log_index: u64) -> Result<(), Error> {
        self.disk.replace(&self.directory.join(IMAGE), image)?;
        self.commit.purge(log_index);
        Ok(())
    }
}

fn read_file(disk: &Arc<dyn Disk>, path: &Path) -> std::io::Result<Vec<u8>> {
    let file = disk.open(path, Mode::Read)?;
    let mut bytes = vec![0; usize::try_from(file.len()?).map_err(std::io::Error::other)?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}
