//! What of the name node is on disk: the image, and the edits since.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf, Bytes};
use disk::{Disk, DiskFile, Mode};
use prost::Message;
use raft::log::{GroupCommit, Log, LogError, Options};

use super::command::Command;
use super::execute::Replicated;
use super::image::{ImageAnswer, ImageFile};
use super::retry::RetryCache;
use crate::namespace::edit::Transaction;
use crate::namespace::image::Header;
use crate::namespace::{BlockChange, Namespace};

const IMAGE: &str = "image";
const EDITS: &str = "edits";
/// The newest durable record, so that a log that lost its end is told from one that ends there.
const SEEN: &str = "seen_txid";
/// While more records wait, only one in this many writes it.
const SEEN_INTERVAL: u64 = 64;
/// Records of format 1: edits.
const KIND_EDITS: u8 = 1;
/// Records of format 2: commands.
const KIND_COMMAND: u8 = 2;

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
    #[error(
        "edits are missing in {}: {reason}. Put the newest copy of the directory back. With --recover the name node starts \
         from what is there: changes after it are lost, and replicas of blocks that it does not know hold safe mode", .path.display()
    )]
    Lost { path: PathBuf, reason: String },
}

/// What to do when edits are missing that were once durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LostEdits {
    Refuse,
    /// An operator accepts the loss.
    Accept,
}

/// What was found on disk.
#[derive(Debug)]
pub struct Recovered {
    pub replicated: Replicated,
    /// What all of it means for the block map.
    pub changes: Vec<BlockChange>,
    /// Records applied on top of the image.
    pub replayed: u64,
}

/// The edit log's writer and the image beside it.
#[derive(Debug)]
pub struct Journal {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    commit: GroupCommit,
    seen: Arc<Seen>,
}

/// The file beside the log that names the newest durable record. It is written after the log and never synced: it may be
/// older than the log, not newer.
#[derive(Debug)]
struct Seen {
    file: Arc<dyn DiskFile>,
    /// Records that are queued and not durable yet.
    waiting: AtomicU64,
}

impl Seen {
    fn open(disk: &Arc<dyn Disk>, path: &Path, newest: u64) -> std::io::Result<Self> {
        let seen = Self {
            file: disk.open(path, Mode::Write)?,
            waiting: AtomicU64::new(0),
        };
        seen.write(newest)?;
        seen.file.sync_data()?;
        Ok(seen)
    }

    /// Always as many bytes, within one sector: it is there as a whole or as it was.
    fn write(&self, newest: u64) -> std::io::Result<()> {
        self.file.write_at(format!("{newest:020}\n").as_bytes(), 0)
    }

    fn read(disk: &Arc<dyn Disk>, path: &Path) -> std::io::Result<Option<u64>> {
        if !disk.exists(path)? {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&read_file(disk, path)?).into_owned();
        let newest = text.lines().next().and_then(|line| line.parse().ok());
        if newest.is_none() {
            tracing::warn!(file = %path.display(), "unreadable: it is not known whether the edit log is complete");
        }
        Ok(newest)
    }

    fn durable(&self, index: u64) {
        let waiting = self.waiting.fetch_sub(1, Ordering::SeqCst) - 1;
        if (waiting == 0 || index.is_multiple_of(SEEN_INTERVAL))
            && let Err(error) = self.write(index)
        {
            tracing::warn!(%error, "cannot write the number of the newest edit");
        }
    }
}

impl Recovered {
    /// Executes the commands of the log from a record on.
    fn replay(&mut self, log: &Log, from: u64, now: u64) -> Result<(), JournalError> {
        for record in log.read(from)? {
            let record = record?;
            match record.kind {
                KIND_COMMAND => {
                    let command = Command::decode(record.payload).map_err(unreadable)?;
                    // A refusal was the answer then, too.
                    let outcome = self.replicated.execute(record.index, &command, now);
                    self.changes.extend(outcome.changes);
                    self.replayed += 1;
                }
                KIND_EDITS => self.replay_edits(record.index, record.payload, now)?,
                _ => return Err(newer()),
            }
        }
        Ok(())
    }

    /// A record of format 1: the edits themselves.
    fn replay_edits(&mut self, index: u64, payload: Bytes, now: u64) -> Result<(), JournalError> {
        let edits = Transaction::decode(payload).map_err(unreadable)?;
        let replicated = &mut self.replicated;
        replicated.log_index = index;
        if edits.number != replicated.transaction + 1 {
            tracing::warn!(number = edits.number, "skipped an edit that was never acknowledged");
            return Ok(());
        }
        for boxed in &edits.edits {
            let edit = boxed.edit.as_ref().ok_or_else(newer)?;
            replicated
                .names
                .apply(edit, now)
                .map_err(|error| JournalError::Edits(error.to_string()))?;
        }
        self.changes.extend(replicated.names.take_changes());
        replicated.transaction = edits.number;
        replicated
            .retries
            .insert(&edits.client_id, edits.call_id, &edits.response, now);
        self.replayed += 1;
        Ok(())
    }
}

fn unreadable(error: prost::DecodeError) -> JournalError {
    JournalError::Edits(error.to_string())
}

fn newer() -> JournalError {
    JournalError::Edits("a record is of a kind that only a newer program knows".to_owned())
}

/// The answers that stand behind the namespace in an image.
fn answers(mut bytes: &[u8], now: u64) -> Result<RetryCache, prost::DecodeError> {
    let mut retries = RetryCache::default();
    while bytes.has_remaining() {
        let answer = ImageAnswer::decode_length_delimited(&mut bytes)?;
        retries.insert(&answer.client_id, answer.call_id, &answer.response, answer.at.min(now));
    }
    Ok(retries)
}

impl Journal {
    /// Reads image and edits; formats an empty directory with a new pool `pool_id`.
    pub fn open(
        disk: Arc<dyn Disk>,
        directory: &Path,
        fresh: impl FnOnce() -> (Namespace, String),
        lost: LostEdits,
        now: u64,
    ) -> Result<(Self, Recovered), JournalError> {
        let path = directory.join(IMAGE);
        let io = |source| JournalError::Io {
            path: path.clone(),
            source,
        };
        let (edits, seen_path) = (directory.join(EDITS), directory.join(SEEN));
        let missing = |reason: String| match lost {
            LostEdits::Accept => {
                tracing::warn!(
                    reason,
                    "edits are missing; started from what is there, as was asked for"
                );
                Ok(())
            }
            LostEdits::Refuse => Err(JournalError::Lost {
                path: directory.to_owned(),
                reason,
            }),
        };
        let seen = Seen::read(&disk, &seen_path).map_err(io)?;
        let has_edits = disk.exists(&edits).map_err(io)? && !disk.list(&edits).map_err(io)?.is_empty();
        if disk.exists(&path).map_err(io)? {
            if !has_edits {
                missing(format!("there is an image, but no edit log in {}", edits.display()))?;
            }
        } else {
            // A start that was killed while it formatted left an empty log at most.
            let (_, recovery) = Log::open(Arc::clone(&disk), &edits, Options::default())?;
            if recovery.next_index > 1 || seen.is_some_and(|seen| seen > 0) {
                return Err(JournalError::Image {
                    path,
                    reason: "there are edits, but no image".to_owned(),
                });
            }
            let (mut namespace, pool_id) = fresh();
            let header = Header {
                pool_id,
                ..Default::default()
            };
            disk.replace(&directory.join(IMAGE), &namespace.to_image(header))
                .map_err(io)?;
        }
        let bytes = read_file(&disk, &path).map_err(io)?;
        let damaged = |reason: String| JournalError::Image {
            path: path.clone(),
            reason,
        };
        let (mut namespace, header, rest) =
            Namespace::from_image(&bytes, now).map_err(|error| damaged(error.to_string()))?;
        let retries = answers(rest, now).map_err(|error| damaged(error.to_string()))?;
        let options = Options {
            first_index: header.log_index + 1,
            ..Options::default()
        };
        let (mut log, recovery) = Log::open(Arc::clone(&disk), &edits, options)?;
        if let Some(cut) = &recovery.cut {
            tracing::warn!(file = %cut.file.display(), bytes = cut.bytes, "cut a torn tail off the edit log");
        }
        let newest = recovery.next_index.saturating_sub(1);
        if recovery.first_index > header.log_index + 1 {
            return Err(JournalError::Edits(format!(
                "the image ends with record {}, the log begins with record {}: the image is older than the log",
                header.log_index, recovery.first_index
            )));
        }
        let needed = seen.unwrap_or(0).max(header.log_index);
        if newest < needed {
            missing(format!(
                "record {needed} was durable, the log ends with record {newest}"
            ))?;
            if newest < header.log_index {
                // The next records follow the image.
                log.reset(header.log_index + 1)?;
            }
        }
        let from = recovery.first_index.max(header.log_index + 1);
        let changes = namespace.take_changes();
        let mut recovered = Recovered {
            replicated: Replicated {
                names: namespace,
                retries,
                transaction: header.transaction,
                log_index: header.log_index,
                pool_id: header.pool_id,
            },
            changes,
            replayed: 0,
        };
        recovered.replay(&log, from, now)?;
        let newest = log.next_index().saturating_sub(1);
        let seen = Seen::open(&disk, &seen_path, newest).map_err(io)?;
        disk.sync_dir(directory).map_err(io)?;
        let commit = GroupCommit::start(log).map_err(|source| JournalError::Io {
            path: directory.join(EDITS),
            source,
        })?;
        let journal = Self {
            disk,
            directory: directory.to_owned(),
            commit,
            seen: Arc::new(seen),
        };
        Ok((journal, recovered))
    }

    /// Queues a command; `done` is called with its record's number once it is durable, or with why it was refused, in the
    /// order of submission.
    pub fn submit(&self, command: Bytes, done: impl FnOnce(Result<u64, LogError>) + Send + 'static) {
        let seen = Arc::clone(&self.seen);
        seen.waiting.fetch_add(1, Ordering::SeqCst);
        self.commit.submit(KIND_COMMAND, command, move |outcome| {
            match outcome {
                Ok(index) => seen.durable(index),
                Err(_) => drop(seen.waiting.fetch_sub(1, Ordering::SeqCst)),
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

    /// A new image, to be written in parts.
    pub fn new_image(&self) -> std::io::Result<ImageFile> {
        ImageFile::create(&self.disk, &self.directory.join(IMAGE))
    }

    /// Removes records that an image holds.
    pub fn purge(&self, log_index: u64) {
        self.commit.purge(log_index);
    }
}

fn read_file(disk: &Arc<dyn Disk>, path: &Path) -> std::io::Result<Vec<u8>> {
    let file = disk.open(path, Mode::Read)?;
    let mut bytes = vec![0; usize::try_from(file.len()?).map_err(std::io::Error::other)?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}
