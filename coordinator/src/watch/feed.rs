//! The latest revisions, kept once for all streams.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::store::Version;

/// What the feed holds at most, in bytes: some seconds of a busy store. Anyone who falls behind further reads the store.
pub const FEED_BYTES_MAX: usize = 16 << 20;

/// The changes of one revision.
type Changes = Arc<[Arc<Version>]>;

/// A bounded ring of revisions without gaps.
#[derive(Debug)]
pub struct Feed {
    revisions: VecDeque<Changes>,
    bytes: usize,
    bytes_max: usize,
    /// The revision of the newest changes, or of the store when the feed was made.
    last: i64,
}

impl Feed {
    /// A feed that begins after revision `last`.
    pub fn new(last: i64, bytes_max: usize) -> Self {
        Self {
            revisions: VecDeque::new(),
            bytes: 0,
            bytes_max,
            last,
        }
    }

    /// The newest revision that is, or was, in the feed.
    pub fn last(&self) -> i64 {
        self.last
    }

    /// Adds the changes of the next revision.
    pub fn push(&mut self, changes: Vec<Arc<Version>>) {
        let Some(first) = changes.first() else { return };
        debug_assert_eq!(first.revision.main, self.last + 1, "revisions follow each other");
        self.last = first.revision.main;
        self.bytes += bytes(&changes);
        self.revisions.push_back(changes.into());
        // The newest revision stays whatever its size, or no one could be told of it at once.
        while self.bytes > self.bytes_max && self.revisions.len() > 1 {
            if let Some(oldest) = self.revisions.pop_front() {
                self.bytes -= bytes(&oldest);
            }
        }
    }

    /// The revisions after `cursor`, oldest first, at most `limit`. None if the feed does not reach back so far.
    pub fn after(&self, cursor: i64, limit: usize) -> Option<Vec<Changes>> {
        let missed = usize::try_from(self.last.saturating_sub(cursor)).unwrap_or(0);
        let skip = self.revisions.len().checked_sub(missed)?;
        Some(self.revisions.range(skip..).take(limit).map(Arc::clone).collect())
    }
}

fn bytes(changes: &[Arc<Version>]) -> usize {
    changes.iter().map(|version| version.bytes()).sum()
}

#[cfg(test)]
mod tests {
    use coordinator_wire::mvccpb::KeyValue;

    use super::*;
    use crate::store::Revision;

    fn changes(main: i64, value_bytes: usize) -> Vec<Arc<Version>> {
        let kv = KeyValue {
            value: vec![0; value_bytes].into(),
            ..Default::default()
        };
        vec![Arc::new(Version {
            revision: Revision::new(main, 0),
            deleted: false,
            kv,
        })]
    }

    #[test]
    fn it_gives_what_it_still_has_and_says_when_it_has_not() {
        let mut feed = Feed::new(4, 10_000);
        assert_eq!(feed.after(4, 10).map(|found| found.len()), Some(0));
        assert!(feed.after(3, 10).is_none(), "revision 4 was before its time");
        for main in 5..=9 {
            feed.push(changes(main, 2_000));
        }
        assert_eq!(feed.last(), 9);
        assert!(feed.after(4, 10).is_none(), "5 has been pushed out");
        let found = feed.after(6, 2).expect("7 is there");
        assert_eq!(
            found.iter().map(|changes| changes[0].revision.main).collect::<Vec<_>>(),
            [7, 8]
        );
        feed.push(changes(10, 1 << 20));
        assert_eq!(
            feed.after(9, 10).map(|found| found.len()),
            Some(1),
            "the newest always stays"
        );
    }
}
