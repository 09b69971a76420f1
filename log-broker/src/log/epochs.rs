//! Where each leader epoch began, so that a reader can tell whether what it has read was cut away (KIP-101).

use std::path::Path;

use disk::Disk;

use super::{LogError, checkpoint};

const NAME: &str = "leader-epoch-checkpoint";

/// `(epoch, first offset)`, both ascending.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Epochs(Vec<(i32, i64)>);

impl Epochs {
    /// Reads the file of a log that ends at `end`: epochs that began behind it were cut with their records.
    pub(super) fn read(disk: &dyn Disk, dir: &Path, end: i64) -> Result<Self, LogError> {
        let io = |source| LogError::Io {
            path: dir.join(NAME),
            source,
        };
        let contents = checkpoint::read_optional(disk, dir, NAME)
            .map_err(io)?
            .unwrap_or_default();
        let text = String::from_utf8_lossy(&contents);
        let entry = |line: &str| {
            let (epoch, start) = line.split_once(' ')?;
            Some((epoch.parse::<i32>().ok()?, start.parse::<i64>().ok()?))
        };
        // Two lines before the entries: format version and count.
        let mut entries: Vec<_> = text
            .lines()
            .skip(2)
            .map_while(entry)
            .filter(|(_, start)| *start <= end)
            .collect();
        entries.sort_unstable();
        entries.dedup_by_key(|(epoch, _)| *epoch);
        Ok(Self(entries))
    }

    /// The contents of the file where `epoch` begins at `start`, to be written before the first batch of it; `None` where
    /// it has begun.
    pub(super) fn beginning(&self, epoch: i32, start: i64) -> Option<String> {
        if self.0.last().is_some_and(|(newest, _)| *newest >= epoch) {
            return None;
        }
        let entries = self.with(epoch, start);
        let mut text = format!("0\n{}\n", entries.len());
        for (epoch, start) in &entries {
            text.push_str(&format!("{epoch} {start}\n"));
        }
        Some(text)
    }

    /// Notes that `epoch` begins at `start`.
    pub(super) fn begun(&mut self, epoch: i32, start: i64) {
        self.0 = self.with(epoch, start);
    }

    /// An epoch in which nothing was written gives way to the next.
    fn with(&self, epoch: i32, start: i64) -> Vec<(i32, i64)> {
        let kept = self.0.iter().filter(|(_, first)| *first < start).copied();
        kept.chain([(epoch, start)]).collect()
    }

    pub(super) fn end_of(&self, epoch: i32, log_end: i64) -> (i32, i64) {
        let after = self.0.partition_point(|(known, _)| *known <= epoch);
        match after.checked_sub(1).map(|place| self.0[place].0) {
            None => (-1, -1),
            Some(found) => (found, self.0.get(after).map_or(log_end, |(_, start)| *start)),
        }
    }

    pub(super) fn of(&self, offset: i64) -> i32 {
        let after = self.0.partition_point(|(_, start)| *start <= offset);
        after.checked_sub(1).map_or(-1, |place| self.0[place].0)
    }
}

/// Replaces the file durably.
pub(super) fn write(disk: &dyn Disk, dir: &Path, contents: &str) -> Result<(), LogError> {
    checkpoint::replace(disk, dir, NAME, contents.as_bytes()).map_err(|source| match source.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => LogError::Full,
        _ => LogError::Io {
            path: dir.join(NAME),
            source,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_ends_where_the_next_begins() {
        let epochs = Epochs(vec![(1, 0), (3, 10), (4, 25)]);
        assert_eq!(epochs.end_of(0, 40), (-1, -1));
        assert_eq!(epochs.end_of(1, 40), (1, 10));
        assert_eq!(epochs.end_of(2, 40), (1, 10));
        assert_eq!(epochs.end_of(3, 40), (3, 25));
        assert_eq!(epochs.end_of(9, 40), (4, 40));
        assert_eq!((epochs.of(9), epochs.of(10), epochs.of(99)), (1, 3, 4));
    }

    #[test]
    fn what_was_begun_is_read_again() {
        let disk = disk::RealDisk;
        let dir = tempfile::tempdir().unwrap();
        let mut epochs = Epochs::default();
        for (epoch, start) in [(0, 0), (1, 7), (2, 7), (3, 12)] {
            write(&disk, dir.path(), &epochs.beginning(epoch, start).unwrap()).unwrap();
            epochs.begun(epoch, start);
            assert_eq!(epochs.beginning(epoch, start), None);
        }
        assert_eq!(epochs, Epochs(vec![(0, 0), (2, 7), (3, 12)]));
        assert_eq!(Epochs::read(&disk, dir.path(), 20).unwrap(), epochs);
        assert_eq!(
            Epochs::read(&disk, dir.path(), 11).unwrap(),
            Epochs(vec![(0, 0), (2, 7)])
        );
    }
}
