//! Whether a request may is decided by the users and roles in force where it stands in the log: what comes behind the entry
//! that takes a permission away has no effect, on any member, and what is permitted there is not refused. Source: etcd's
//! "etcd v3 authentication design": permissions are checked as entries are applied, and each entry carries the revision of
//! users and roles at which its author was established, so that what was checked once and changed since ("time of check to
//! time of use") is refused: `revision of auth store is old`.

use coordinator::Error;

use crate::invariant::{Check, Member, require};

/// `member` applies entry `index`, or reads when it has applied just that. By the users and roles in force there it is to be
/// refused for `lawful`, or for nothing; `found` is what the member says.
pub fn permissions_in_force(member: Member, index: u64, lawful: Option<&Error>, found: Option<&Error>) -> Check {
    let agrees = match lawful {
        Some(_) => found == lawful,
        // It may be refused for another reason.
        None => !found.is_some_and(is_about_permission),
    };
    require(agrees, "permissions_in_force", || {
        format!("at entry {index} member {member} says {found:?}; by the users and roles in force it is {lawful:?}")
    })
}

fn is_about_permission(error: &Error) -> bool {
    matches!(
        error,
        Error::UserEmpty | Error::AuthOldRevision | Error::PermissionDenied | Error::InvalidAuthToken
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_revoked_and_is_done_and_what_is_permitted_and_refused_are_seen() {
        let (old, denied, other) = (Error::AuthOldRevision, Error::PermissionDenied, Error::LeaseNotFound);
        assert!(permissions_in_force(1, 5, None, None).is_ok());
        assert!(permissions_in_force(1, 5, None, Some(&other)).is_ok());
        assert!(permissions_in_force(1, 5, Some(&old), Some(&old)).is_ok());
        assert!(permissions_in_force(1, 5, Some(&old), None).is_err());
        assert!(permissions_in_force(1, 5, Some(&old), Some(&denied)).is_err());
        assert!(permissions_in_force(1, 5, None, Some(&denied)).is_err());
    }
}
