//! After a crash a log holds all that was synced, of the rest a first part, and nothing else; term and vote are the last
//! that were saved. Source: the promise of `raft::log`'s recovery; Ongaro (2014), figure 3.1, persistent state. A flipped bit
//! is no excuse: Alagappan and others, Protocol-Aware Recovery for Consensus-Based Storage (2018), have shown what becomes of
//! a group in which a member silently cuts off what it had acknowledged.

use super::never_back::Promise;
use super::{Check, Member, Seen, require};

/// A log behind some entry, and what stands beside it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Kept {
    pub promise: Promise,
    pub entries: Vec<Seen>,
}

/// `member` finds `found`. It had written `written`, of which the first `synced` entries were durable, and its term and vote.
pub fn found_as_written(member: Member, written: &Kept, synced: usize, found: &Kept) -> Check {
    require(found.promise == written.promise, "found_as_written", || {
        format!(
            "member {member} finds {:?}, but had saved {:?}",
            found.promise, written.promise
        )
    })?;
    require(written.entries.starts_with(&found.entries), "found_as_written", || {
        let same = written.entries.iter().zip(&found.entries).take_while(|(a, b)| a == b);
        let (at, known) = (same.count(), written.entries.len());
        format!(
            "member {member} finds entry {at} of {known} in its log to be another than it had written, or one too many"
        )
    })?;
    require(found.entries.len() >= synced, "found_as_written", || {
        let count = found.entries.len();
        format!("member {member} finds {count} entries in its log, but {synced} were synced")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_a_changed_and_an_invented_entry_are_seen() {
        let kept = |digests: &[u64]| Kept {
            promise: Promise { term: 1, vote: None },
            entries: digests
                .iter()
                .map(|digest| Seen {
                    term: 1,
                    digest: *digest,
                })
                .collect(),
        };
        let written = kept(&[7, 8, 9]);
        assert!(found_as_written(1, &written, 2, &kept(&[7, 8])).is_ok());
        assert!(found_as_written(1, &written, 2, &kept(&[7])).is_err());
        assert!(found_as_written(1, &written, 2, &kept(&[7, 6, 9])).is_err());
        assert!(found_as_written(1, &written, 2, &kept(&[7, 8, 9, 10])).is_err());
        let forgot = Kept {
            promise: Promise::default(),
            ..kept(&[7, 8])
        };
        assert!(found_as_written(1, &written, 2, &forgot).is_err());
    }
}
