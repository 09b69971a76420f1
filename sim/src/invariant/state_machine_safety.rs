//! Every member applies the same entry at an index, in order, each once in an incarnation. Source: Ongaro (2014), figure
//! 3.2, State Machine Safety.

use super::{Check, Member, Seen, require};

#[derive(Debug, Default)]
pub struct StateMachineSafety {
    applied: Vec<Option<(Member, Seen)>>,
}

impl StateMachineSafety {
    /// `member`, which had applied everything up to `before`, applies entry `index`.
    pub fn applied(&mut self, member: Member, before: u64, index: u64, seen: Seen) -> Check {
        require(index == before + 1, "state_machine_safety", || {
            format!("member {member} applies entry {index} after entry {before}")
        })?;
        let at = index as usize;
        if self.applied.len() <= at {
            self.applied.resize(at + 1, None);
        }
        let (first, known) = *self.applied[at].get_or_insert((member, seen));
        require(known == seen, "state_machine_safety", || {
            format!("member {member} applies {seen:?} as entry {index}, member {first} applied {known:?}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_entry_and_a_gap_are_seen() {
        let seen = |digest| Seen { term: 1, digest };
        let mut safety = StateMachineSafety::default();
        assert!(safety.applied(1, 0, 1, seen(1)).is_ok() && safety.applied(1, 1, 2, seen(2)).is_ok());
        assert!(safety.applied(2, 0, 1, seen(1)).is_ok());
        assert!(safety.applied(2, 1, 2, seen(3)).is_err());
        assert!(safety.applied(2, 1, 3, seen(3)).is_err());
        assert!(safety.applied(2, 2, 2, seen(2)).is_err());
    }
}
