//! Removing what is too old or too much.

use std::io;

use super::segment::Segment;
use super::{Log, LogError, Options, State};

pub(super) const START_NAME: &str = "log-start-offset";

impl Log {
    /// Removes the oldest segments that `retention.ms` and `retention.bytes` no longer keep; returns how many.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn apply_retention(&self, now_ms: i64) -> Result<usize, LogError> {
        let _writer = self.writer();
        self.check()?;
        // The newest segment is sealed first, so that a quiet topic forgets its last records too.
        let is_over = self.state().is_all_too_old(now_ms);
        if is_over {
            self.roll()?;
        }
        let removed = self.state().take_expired(now_ms);
        let count = removed.len();
        self.remove(removed)?;
        Ok(count)
    }

    /// Moves the start of the log to `offset` (DeleteRecords), durably; -1 means to the high watermark.
    ///
    /// # Errors
    /// [`LogError::OutOfRange`] for an offset behind what may be read.
    pub fn delete_before(&self, offset: i64) -> Result<i64, LogError> {
        let _writer = self.writer();
        self.check()?;
        let (start, high_watermark) = {
            let state = self.state();
            (state.start, state.high_watermark)
        };
        let offset = if offset == -1 { high_watermark } else { offset };
        if offset < 0 || offset > high_watermark {
            return Err(LogError::OutOfRange {
                offset,
                start,
                end: high_watermark,
            });
        }
        if offset <= start {
            return Ok(start);
        }
        self.write_start(offset)?;
        let removed = {
            let mut state = self.state();
            state.start = offset;
            let gone = state.segments.partition_point(|segment| segment.next() <= offset);
            let gone = gone.min(state.segments.len() - 1);
            state.take_oldest(gone)
        };
        self.remove(removed)?;
        Ok(offset)
    }

    /// Removes the files of segments that the log does not have any more. Readers that are at it keep the open file. What
    /// cannot be removed now is removed at the next start.
    fn remove(&self, segments: Vec<Segment>) -> Result<(), LogError> {
        for segment in segments {
            let removed: io::Result<()> = segment.remove(&*self.disk, &self.dir);
            removed.map_err(|source| LogError::Io {
                path: self.dir.clone(),
                source,
            })?;
        }
        Ok(())
    }
}

fn is_too_old(segment: &mut Segment, retention_ms: i64, now_ms: i64) -> bool {
    retention_ms >= 0 && now_ms.saturating_sub(segment.retention_timestamp(now_ms)) > retention_ms
}

impl State {
    fn is_all_too_old(&mut self, now_ms: i64) -> bool {
        let Options { retention_ms, .. } = self.options;
        self.active().len() > 0
            && self.high_watermark == self.end
            && is_too_old(self.active_mut(), retention_ms, now_ms)
    }

    fn take_expired(&mut self, now_ms: i64) -> Vec<Segment> {
        let Options {
            retention_ms,
            retention_bytes,
            ..
        } = self.options;
        let mut left_bytes = self.size_bytes();
        let mut expired = 0;
        let sealed = self.segments.len() - 1;
        for segment in &mut self.segments[..sealed] {
            left_bytes -= segment.len();
            let too_much = u64::try_from(retention_bytes).is_ok_and(|retention_bytes| left_bytes >= retention_bytes);
            if segment.next() > self.high_watermark || !(too_much || is_too_old(segment, retention_ms, now_ms)) {
                break;
            }
            expired += 1;
        }
        self.take_oldest(expired)
    }

    fn take_oldest(&mut self, count: usize) -> Vec<Segment> {
        let taken: Vec<Segment> = self.segments.drain(..count).collect();
        if count > 0 {
            self.start = self.start.max(self.segments[0].base());
            self.transactions.forget_before(self.start);
        }
        taken
    }
}
