//! All members that have applied the same entries are in the same state, however they came to it: by entries, by a snapshot,
//! or by both over a crash. Source: Schneider, Implementing fault-tolerant services using the state machine approach (1990);
//! etcd's HashKV compares the same way.

use super::{Check, Member, require};

#[derive(Debug, Default)]
pub struct EqualStates {
    /// By index: who was first, and the digest of its state.
    states: Vec<Option<(Member, u64)>>,
}

impl EqualStates {
    /// After entry `index`, `member`'s state has this digest.
    pub fn state(&mut self, member: Member, index: u64, digest: u64) -> Check {
        let at = index as usize;
        if self.states.len() <= at {
            self.states.resize(at + 1, None);
        }
        let (first, known) = *self.states[at].get_or_insert((member, digest));
        require(known == digest, "equal_states", || {
            format!("after entry {index} member {member} is in another state than member {first}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_of_its_own_is_seen() {
        let mut states = EqualStates::default();
        assert!(states.state(1, 5, 77).is_ok() && states.state(2, 5, 77).is_ok() && states.state(2, 6, 78).is_ok());
        assert!(states.state(3, 5, 78).is_err());
    }
}
