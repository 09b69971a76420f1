//! Revisions keep to real time: who asks after someone was answered sees at least that answer's revision. Source: etcd's
//! "KV API guarantees" (strict serializability); with the replay in [`super::oracle`] it is the whole proof.

use crate::invariant::{Check, require};
use crate::world::Micros;

/// What was answered so far, as far as later operations must know of it.
#[derive(Debug, Default)]
pub struct Answers {
    /// When it was answered, and the highest revision up to then; both ascend.
    answered: Vec<(Micros, i64)>,
    pub operations: u64,
    pub count: u64,
}

impl Answers {
    /// An answer with `revision` reaches its client now; it was asked for at `called`.
    pub fn answered(&mut self, called: Micros, now: Micros, revision: i64, what: &str) -> Check {
        self.count += 1;
        let before = self.answered.partition_point(|(at, _)| *at < called);
        let known = before.checked_sub(1).map_or(0, |at| self.answered[at].1);
        let highest = self.answered.last().map_or(0, |(_, highest)| *highest).max(revision);
        self.answered.push((now, highest));
        require(revision >= known, "real_time", || {
            format!("{what} is answered as of revision {revision}; {known} was answered before it was asked")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_from_the_past_is_seen() {
        let mut answers = Answers::default();
        assert!(answers.answered(1, 5, 10, "a put").is_ok());
        assert!(answers.answered(4, 6, 9, "a get that overlaps").is_ok());
        assert!(answers.answered(6, 8, 10, "a get").is_ok());
        assert!(answers.answered(6, 9, 9, "a get").is_err());
    }
}
