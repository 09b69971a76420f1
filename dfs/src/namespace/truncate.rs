//! Truncation: a file loses its end.
//!
//! Blocks beyond the new length are gone at once. Where it falls inside a block, that one is opened again under the name
//! node's own lease, and the data nodes cut their replicas under a new generation stamp, by the block recovery that also
//! closes files of lost writers; the file is closed with that. Until then it has its former length: who waits for the
//! truncation (FsShell's `-truncate -w`) looks at that.

use super::apply::Misfit;
use super::edit::{Edit, Truncate};
use super::inode::InodeId;
use super::permission::{Needs, WRITE};
use super::{BlockChange, Caller, Namespace, RECOVERY_HOLDER};
use crate::Error;

/// What `truncate` comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truncation {
    /// The file has that length, and is closed.
    Done,
    /// Data nodes have to cut the last block of this file.
    Started(InodeId),
    /// They are doing so, after an earlier call.
    UnderWay(InodeId),
}

impl Namespace {
    /// Cuts a closed file to `length` bytes.
    pub fn truncate(&mut self, caller: Caller, path: &str, length: u64, holder: &str) -> Result<Truncation, Error> {
        self.check(caller, path, Needs::itself(WRITE))?;
        let (inode, file) = self.file(path)?;
        let (id, known) = (inode.id, file.length());
        if let Some(last) = self.truncation(id) {
            if file.closed_length().saturating_add(last) == length {
                return Ok(Truncation::UnderWay(id));
            }
            return Err(Error::AlreadyBeingCreated(format!(
                "Failed to TRUNCATE_FILE {path} for {holder}: {path} is being truncated."
            )));
        }
        self.refuse_if_held(caller, id, path, holder, "TRUNCATE_FILE")?;
        if i64::try_from(length).is_err() {
            let message = format!("Cannot truncate to a negative file size: {}.", length as i64);
            return Err(Error::IllegalArgument(message));
        }
        if length > known {
            return Err(Error::IllegalArgument(format!(
                "Cannot truncate to a larger file size. Current size: {known}, truncate size: {length}."
            )));
        }
        if length == known {
            return Ok(Truncation::Done);
        }
        let mut start = 0_u64;
        let inside = file.blocks.iter().any(|block| {
            let end = start.saturating_add(block.length);
            let inside = start < length && length < end;
            start = end;
            inside
        });
        let truncate = Truncate {
            file: id,
            length,
            time: caller.time,
            holder: if inside {
                RECOVERY_HOLDER.to_owned()
            } else {
                String::new()
            },
        };
        self.make(Edit::Truncate(truncate), caller.now)?;
        Ok(match inside {
            true => Truncation::Started(id),
            false => Truncation::Done,
        })
    }

    pub(super) fn apply_truncate(&mut self, truncate: &Truncate, now: u64) -> Result<(), Misfit> {
        let file = self.file_mut(truncate.file)?;
        if file.holder.is_some() || file.length() <= truncate.length {
            return Err(Misfit("a file to truncate is open, or not longer than that"));
        }
        let (mut kept, mut start) = (0, 0_u64);
        for block in &file.blocks {
            if start >= truncate.length {
                break;
            }
            start = start.saturating_add(block.length);
            kept += 1;
        }
        if (start > truncate.length) == truncate.holder.is_empty() {
            return Err(Misfit("a truncation inside a block has a holder, another one has none"));
        }
        let removed = file.blocks.split_off(kept);
        let mut reopened = None;
        if !truncate.holder.is_empty()
            && let Some(last) = file.blocks.last_mut()
        {
            reopened = Some(*last);
            file.holder = Some(truncate.holder.as_str().into());
            file.last_open = true;
        }
        let removed = removed.iter().map(|block| BlockChange::Removed { block: block.id });
        self.changes.extend(removed);
        if let Some(block) = reopened {
            self.truncations
                .insert(truncate.file, block.length - (start - truncate.length));
            self.changes.push(BlockChange::Reopened { block });
            self.leases.add(&truncate.holder, truncate.file, now);
        }
        self.inode_mut(truncate.file)?.modified = truncate.time;
        Ok(())
    }
}
