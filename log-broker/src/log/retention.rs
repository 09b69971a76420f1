//! Removing what is too old or too much.

use std::io;

use super::segment::Segment;
use super::{Log, LogError, Options, checkpoint};

pub(super) const START_NAME: &str = "log-start-offset";

impl Log {
    /// Removes the oldest segments that `retention.ms` and `retention.bytes` no longer keep; returns how many.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn apply_retention(&mut self, now_ms: i64) -> Result<usize, LogError> {
        self.check()?;
        let Options { retention_ms, .. } = self.options;
        let too_old = |segment: &mut Segment| {
            retention_ms >= 0 && now_ms.saturating_sub(segment.retention_timestamp(now_ms)) > retention_ms
        };
        // The newest segment is sealed first, so that a quiet topic forgets its last records too.
        if self.active().len() > 0 && self.durable_end == self.end && too_old(self.active_mut()) {
            self.roll()?;
        }
        let mut removed = 0;
        while self.segments.len() > 1 {
            let is_old = too_old(&mut self.segments[0]);
            let oldest = &self.segments[0];
            let too_much = u64::try_from(self.options.retention_bytes)
                .is_ok_and(|retention_bytes| self.size_bytes() - oldest.len() >= retention_bytes);
            if oldest.next() > self.durable_end || !(too_much || is_old) {
                break;
            }
            self.remove_oldest()?;
            removed += 1;
        }
        Ok(removed)
    }

    /// Moves the start of the log to `offset` (DeleteRecords), durably; -1 means to the high watermark.
    ///
    /// # Errors
    /// [`LogError::OutOfRange`] for an offset behind what may be read.
    pub fn delete_before(&mut self, offset: i64) -> Result<i64, LogError> {
        self.check()?;
        let offset = if offset == -1 { self.durable_end } else { offset };
        if offset < 0 || offset > self.durable_end {
            return Err(LogError::OutOfRange {
                offset,
                start: self.start,
                end: self.durable_end,
            });
        }
        if offset > self.start {
            let io = |source| LogError::Io {
                path: self.dir.join(START_NAME),
                source,
            };
            checkpoint::replace(&*self.disk, &self.dir, START_NAME, offset.to_string().as_bytes()).map_err(io)?;
            self.start = offset;
            while self.segments.len() > 1 && self.segments[0].next() <= offset {
                self.remove_oldest()?;
            }
        }
        Ok(self.start)
    }

    fn remove_oldest(&mut self) -> Result<(), LogError> {
        let oldest = self.segments.remove(0);
        self.start = self.start.max(self.segments[0].base());
        // Readers that are at it keep the open file. What cannot be removed now is removed at the next start.
        let removed: io::Result<()> = oldest.remove(&*self.disk, &self.dir);
        removed.map_err(|source| LogError::Io {
            path: self.dir.clone(),
            source,
        })
    }
}
