//! A member's term never goes back, not even over a crash; in a term it votes for one member only; and what it takes for
//! committed never shrinks while it runs. Source: Ongaro (2014), figure 3.1, persistent state, and section 3.8.

use super::{Check, Member, require};

/// What a member has promised by what is on its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Promise {
    pub term: u64,
    pub vote: Option<Member>,
}

/// One member's past.
#[derive(Debug, Clone, Copy, Default)]
pub struct NeverBack {
    durable: Promise,
    committed: u64,
}

impl NeverBack {
    /// A new term or vote was made durable.
    pub fn promised(&mut self, member: Member, promise: Promise) -> Check {
        let before = self.durable;
        require(promise.term >= before.term, "never_back", || {
            format!(
                "member {member} writes term {} after term {}",
                promise.term, before.term
            )
        })?;
        let keeps = promise.term > before.term || before.vote.is_none() || promise.vote == before.vote;
        require(keeps, "never_back", || {
            format!(
                "member {member} writes a vote for {:?} in term {}, where it voted for {:?}",
                promise.vote, promise.term, before.vote
            )
        })?;
        self.durable = promise;
        Ok(())
    }

    /// It started again with what it found.
    pub fn restarted(&mut self, member: Member, found: Promise, committed: u64) -> Check {
        self.committed = committed;
        require(found == self.durable, "never_back", || {
            format!("member {member} starts with {found:?}; {:?} was durable", self.durable)
        })
    }

    pub fn committed(&mut self, member: Member, index: u64) -> Check {
        let before = std::mem::replace(&mut self.committed, index);
        require(index >= before, "never_back", || {
            format!("member {member} takes {index} for committed after {before}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_back_is_seen() {
        let promise = |term, vote| Promise { term, vote };
        let mut past = NeverBack::default();
        assert!(past.promised(1, promise(2, None)).is_ok() && past.promised(1, promise(2, Some(3))).is_ok());
        assert!(past.promised(1, promise(2, Some(4))).is_err());
        assert!(past.promised(1, promise(2, None)).is_err());
        assert!(past.promised(1, promise(1, Some(3))).is_err());
        assert!(past.restarted(1, promise(2, None), 0).is_err());
        assert!(past.restarted(1, promise(2, Some(3)), 5).is_ok());
        assert!(past.committed(1, 6).is_ok() && past.committed(1, 5).is_err());
    }
}
