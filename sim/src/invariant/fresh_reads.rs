//! A read that was asked for after an entry was committed sees that entry. Source: Ongaro (2014), section 6.4; the trap of
//! contexts used twice is etcd's issue 20418.

use super::{Check, Member, require};

/// `member` lets a read go on at `index`; `committed_when_asked` was committed, anywhere, when the client asked.
pub fn check_fresh_read(member: Member, index: u64, committed_when_asked: u64) -> Check {
    require(index >= committed_when_asked, "fresh_reads", || {
        format!(
            "member {member} answers a read as of entry {index}; {committed_when_asked} was committed when it was asked"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_read_is_seen() {
        assert!(check_fresh_read(1, 5, 5).is_ok() && check_fresh_read(1, 5, 6).is_err());
    }
}
