//! A leader whose removal it has applied leads no more. Source: Ongaro (2014), section 4.2.2.

use super::{Check, Member, require};

/// `member` leads and has applied everything up to `applied`; the last membership that was committed is of entry `index`
/// and has `member` in it or not.
pub fn removed_leaders_leave(member: Member, applied: u64, index: u64, is_member: bool) -> Check {
    require(is_member || applied < index, "removed_leaders_leave", || {
        format!("member {member} leads, and has applied its own removal, entry {index}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_stays_is_seen() {
        assert!(removed_leaders_leave(1, 5, 5, true).is_ok() && removed_leaders_leave(1, 4, 5, false).is_ok());
        assert!(removed_leaders_leave(1, 5, 5, false).is_err());
    }
}
