//! A token is given for the password that a user has, and is good for nothing once the password has changed, the user is
//! gone, or authentication was turned off: by the log's order, on every member, whatever that member has seen of it itself.
//! Source: etcd's `tokenSimple.invalidateUser` and `disable`, called as the entry is applied.

use super::accounts::Accounts;
use crate::invariant::{Check, Member, require};

/// `member` carried something out at entry `index` for those that showed the token of `user` that entry `given` had made;
/// `accounts` are those in force there.
pub fn token_in_force(member: Member, index: u64, accounts: &Accounts, user: &str, given: u64) -> Check {
    require(!accounts.is_void(user, given), "tokens_in_force", || {
        format!("at entry {index} member {member} believes {user}'s token of entry {given}, which is void by then")
    })
}

/// Entry `index` gave `user` a token for this password.
pub fn password_in_force(member: Member, index: u64, accounts: &Accounts, user: &str, password: &str) -> Check {
    require(accounts.password(user) == Some(password), "tokens_in_force", || {
        let known = accounts.password(user);
        format!("entry {index} at member {member} gives {user} a token for {password:?}, but it is {known:?}")
    })
}

#[cfg(test)]
mod tests {
    use coordinator::auth::{Caller, Change};
    use coordinator_wire::etcdserverpb as pb;

    use super::*;

    #[test]
    fn a_void_token_and_an_old_password_are_seen() {
        let mut accounts = Accounts::default();
        let add = pb::AuthUserAddRequest {
            name: "ann".to_owned(),
            hashed_password: "AAAB".to_owned(),
            ..Default::default()
        };
        let change = pb::AuthUserChangePasswordRequest {
            name: "ann".to_owned(),
            hashed_password: "AAAC".to_owned(),
            ..Default::default()
        };
        let anyone = Caller::default();
        assert!(accounts.carry_out(3, &anyone, &Change::UserAdd(add)).is_ok());
        assert!(
            accounts
                .carry_out(7, &anyone, &Change::UserChangePassword(change))
                .is_ok()
        );
        assert!(token_in_force(1, 9, &accounts, "ann", 8).is_ok());
        assert!(token_in_force(1, 9, &accounts, "ann", 6).is_err());
        assert!(password_in_force(1, 9, &accounts, "ann", "AAAC").is_ok());
        assert!(password_in_force(1, 9, &accounts, "ann", "AAAB").is_err());
    }
}
