//! What was committed once is never another. Source: Ongaro (2014), section 3.6.2: an entry that is committed is in the logs
//! of all later leaders, so no member may ever believe another committed.

use super::{Member, Seen, Violation, require};

/// The one history that was committed.
#[derive(Debug, Default)]
pub struct CommittedIsFinal {
    /// From index 1 on.
    committed: Vec<Seen>,
}

impl CommittedIsFinal {
    /// `member` takes entry `index` for committed. True if no one did before.
    pub fn committed(&mut self, member: Member, index: u64, seen: Seen) -> Result<bool, Violation> {
        let last = self.last_index();
        require(index >= 1 && index <= last + 1, "committed_is_final", || {
            format!(
                "member {member} takes entry {index} for committed, but nobody has committed entry {}",
                last + 1
            )
        })?;
        if index == last + 1 {
            self.committed.push(seen);
            return Ok(true);
        }
        let known = self.committed[index as usize - 1];
        require(known == seen, "committed_is_final", || {
            format!("member {member} takes {seen:?} for entry {index}; {known:?} was committed there")
        })?;
        Ok(false)
    }

    pub fn last_index(&self) -> u64 {
        self.committed.len() as u64
    }

    pub fn get(&self, index: u64) -> Option<Seen> {
        self.committed
            .get(usize::try_from(index.checked_sub(1)?).ok()?)
            .copied()
    }

    /// Index and term of the last one.
    pub fn last(&self) -> (u64, u64) {
        (self.last_index(), self.committed.last().map_or(0, |seen| seen.term))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_the_past_is_seen() {
        let seen = |term| Seen { term, digest: term };
        let mut history = CommittedIsFinal::default();
        assert_eq!(history.committed(1, 1, seen(1)), Ok(true));
        assert_eq!(history.committed(2, 1, seen(1)), Ok(false));
        assert!(history.committed(2, 1, seen(2)).is_err());
        assert!(history.committed(2, 3, seen(2)).is_err(), "a gap");
        assert_eq!(history.last(), (1, 1));
    }
}
