//! What is committed: users, roles, whether it matters, and the revision of all that.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use coordinator_wire::authpb;

use super::permission::{Permissions, Right};
use super::{Caller, StoredAuth};
use crate::Error;
use crate::plant::{Plant, is_planted};

/// The user, and the role, that may do everything.
pub const ROOT: &str = "root";
/// The revision of a state in which nothing was ever changed.
const FIRST_REVISION: u64 = 1;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct User {
    /// The bcrypt hash of his password; empty for one without.
    pub(super) password: Bytes,
    pub(super) no_password: bool,
    pub(super) roles: BTreeSet<String>,
}

/// What a password is to be compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// bcrypt, in its usual text form.
    pub hash: Bytes,
    /// The revision at which it was looked up; if that has moved on since, look it up again.
    pub auth_revision: u64,
}

/// Users, roles and permissions.
///
/// - `permissions` says of each user what his roles say together.
/// - While `enabled`, the user root exists and has the role root.
/// - The revision never goes back, and is raised by every change.
#[derive(Debug, Clone)]
pub struct Auth {
    pub(super) enabled: bool,
    pub(super) revision: u64,
    pub(super) users: BTreeMap<String, User>,
    pub(super) roles: BTreeMap<String, authpb::Role>,
    permissions: BTreeMap<String, Permissions>,
    /// Whether something changed since [`Auth::take_changed`].
    changed: bool,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            enabled: false,
            revision: FIRST_REVISION,
            users: BTreeMap::new(),
            roles: BTreeMap::new(),
            permissions: BTreeMap::new(),
            changed: false,
        }
    }
}

impl Auth {
    /// The state as it was kept.
    pub fn restore(stored: StoredAuth) -> Self {
        let users = stored.users.into_iter().map(|user| {
            let name = text(&user.name);
            let no_password = user.options.is_some_and(|options| options.no_password);
            let roles = user.roles.into_iter().collect();
            let user = User {
                password: user.password,
                no_password,
                roles,
            };
            (name, user)
        });
        let mut auth = Self {
            enabled: stored.enabled,
            revision: stored.revision.max(FIRST_REVISION),
            users: users.collect(),
            roles: stored.roles.into_iter().map(|role| (text(&role.name), role)).collect(),
            permissions: BTreeMap::new(),
            changed: false,
        };
        auth.unite_permissions();
        auth
    }

    /// The state as it is to be kept.
    pub fn stored(&self) -> StoredAuth {
        let users = self.users.iter().map(|(name, user)| authpb::User {
            name: Bytes::copy_from_slice(name.as_bytes()),
            password: user.password.clone(),
            roles: user.roles.iter().cloned().collect(),
            options: Some(authpb::UserAddOptions {
                no_password: user.no_password,
            }),
        });
        StoredAuth {
            enabled: self.enabled,
            revision: self.revision,
            users: users.collect(),
            roles: self.roles.values().cloned().collect(),
        }
    }

    /// The state, if it changed since the last call.
    pub fn take_changed(&mut self) -> Option<StoredAuth> {
        std::mem::take(&mut self.changed).then(|| self.stored())
    }

    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// A caller whose name was established just now.
    pub fn caller(&self, user: impl Into<String>) -> Caller {
        Caller {
            user: user.into(),
            auth_revision: self.revision,
        }
    }

    /// What `name`'s password is to be compared with.
    ///
    /// # Errors
    /// [`Error::AuthNotEnabled`]; [`Error::AuthFailed`] for a user who does not exist; [`Error::NoPasswordUser`].
    pub fn credential(&self, name: &str) -> Result<Credential, Error> {
        if !self.enabled {
            return Err(Error::AuthNotEnabled);
        }
        let user = self.users.get(name).ok_or(Error::AuthFailed)?;
        if user.no_password {
            return Err(Error::NoPasswordUser);
        }
        Ok(Credential {
            hash: user.password.clone(),
            auth_revision: self.revision,
        })
    }

    /// Something is different now: anyone who was established before has to be again.
    pub(super) fn touch(&mut self) {
        self.revision += 1;
        self.changed = true;
        if !is_planted(Plant::PermissionsNotUnited) {
            self.unite_permissions();
        }
    }

    /// What is neither users nor roles changed.
    pub(super) fn mark_changed(&mut self) {
        self.changed = true;
    }

    fn unite_permissions(&mut self) {
        let permissions = self.users.iter().map(|(name, user)| {
            // The role root may be granted without ever having been made.
            let roles = user.roles.iter().filter_map(|role| self.roles.get(role));
            (name.clone(), Permissions::of(roles))
        });
        self.permissions = permissions.collect();
    }

    /// Whether a caller may do what `right` says to all keys of a range.
    ///
    /// # Errors
    /// [`Error::UserEmpty`] for no one, [`Error::AuthOldRevision`] for someone established too long ago,
    /// [`Error::PermissionDenied`].
    pub(super) fn permit(&self, caller: &Caller, right: Right, key: &Bytes, range_end: &Bytes) -> Result<(), Error> {
        if !self.enabled || is_the_server(caller) {
            return Ok(());
        }
        if caller.auth_revision == 0 {
            return Err(Error::UserEmpty);
        }
        if caller.auth_revision < self.revision && !is_planted(Plant::OldCallersPass) {
            return Err(Error::AuthOldRevision);
        }
        let user = self.users.get(&caller.user).ok_or(Error::PermissionDenied)?;
        let permissions = self.permissions.get(&caller.user);
        if user.roles.contains(ROOT) || permissions.is_some_and(|permissions| permissions.allow(right, key, range_end))
        {
            Ok(())
        } else {
            Err(Error::PermissionDenied)
        }
    }

    /// Whether a caller may manage users, members and the server. As in etcd this does not look at the revision: someone
    /// who was root when he asked, and is still, may.
    ///
    /// # Errors
    /// [`Error::UserEmpty`], [`Error::UserNotFound`], [`Error::PermissionDenied`].
    pub(super) fn permit_root(&self, caller: &Caller) -> Result<(), Error> {
        if !self.enabled {
            return Ok(());
        }
        if caller.user.is_empty() {
            return Err(Error::UserEmpty);
        }
        let user = self.users.get(&caller.user).ok_or(Error::UserNotFound)?;
        if user.roles.contains(ROOT) {
            Ok(())
        } else {
            Err(Error::PermissionDenied)
        }
    }
}

/// No caller from outside is root at revision 0: those who are someone carry the revision at which they became it.
fn is_the_server(caller: &Caller) -> bool {
    caller.auth_revision == 0 && caller.user == ROOT
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}
