//! If two logs have an entry of the same index and term, they are equal up to it. Source: Ongaro (2014), figure 3.2, Log
//! Matching.
//!
//! By induction: it is enough that an index and a term always name the same entry, standing behind an entry of the same
//! term.

use super::{Check, Member, Seen, require};

/// What stands at an index in one term.
#[derive(Debug, Clone, Copy)]
struct Known {
    seen: Seen,
    /// The term of the entry before; unknown where a snapshot ends there.
    before: Option<u64>,
}

#[derive(Debug, Default)]
pub struct LogMatching {
    /// By index, then in no order: an index has few terms.
    known: Vec<Vec<Known>>,
}

impl LogMatching {
    /// A member put an entry in its log, behind one of term `before`.
    pub fn appended(&mut self, member: Member, index: u64, seen: Seen, before: Option<u64>) -> Check {
        let at = index as usize;
        if self.known.len() <= at {
            self.known.resize_with(at + 1, Vec::new);
        }
        let here = &mut self.known[at];
        let Some(known) = here.iter_mut().find(|known| known.seen.term == seen.term) else {
            here.push(Known { seen, before });
            return Ok(());
        };
        require(known.seen.digest == seen.digest, "log_matching", || {
            format!(
                "entry {index} of term {} is another in member {member}'s log than elsewhere",
                seen.term
            )
        })?;
        if known.before.is_none() {
            known.before = before;
        }
        require(before.is_none() || known.before == before, "log_matching", || {
            format!(
                "entry {index} of term {} stands behind term {before:?} in member {member}'s log, behind {:?} elsewhere",
                seen.term, known.before
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_entry_or_another_past_is_seen() {
        let seen = |term, digest| Seen { term, digest };
        let mut matching = LogMatching::default();
        assert!(matching.appended(1, 5, seen(2, 7), Some(1)).is_ok());
        assert!(matching.appended(2, 5, seen(2, 7), Some(1)).is_ok());
        assert!(matching.appended(2, 5, seen(2, 7), None).is_ok());
        assert!(matching.appended(3, 5, seen(3, 8), Some(2)).is_ok());
        assert!(matching.appended(2, 5, seen(2, 8), Some(1)).is_err());
        assert!(matching.appended(2, 5, seen(2, 7), Some(2)).is_err());
    }
}
