//! Changes of users and roles, and questions about them: the entries that are for [`Auth`] itself.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use coordinator_wire::authpb::{Permission, Role, permission::Type};
use coordinator_wire::coordinatorpb::Authenticated;
use coordinator_wire::etcdserverpb as pb;

use super::state::User;
use super::{Auth, Caller, Change, ROOT, SimpleTokens, permission};
use crate::Error;

/// What a request to [`Auth`] is answered with. The server adds headers.
#[derive(Debug, Clone, PartialEq)]
pub enum AuthOutcome {
    Done,
    Status {
        enabled: bool,
        revision: u64,
    },
    /// The user may have a token, at this revision: this one, or one that the edge signs if it is empty.
    Authenticated {
        user: String,
        revision: u64,
        token: String,
    },
    User {
        roles: Vec<String>,
    },
    Users(Vec<String>),
    Role {
        permissions: Vec<Permission>,
    },
    Roles(Vec<String>),
}

impl Auth {
    /// Carries out entry `index` on behalf of `caller`. A refused one has changed nothing.
    ///
    /// # Errors
    /// Those of [`Auth::check`], and one for each rule of the original.
    pub fn apply(&mut self, index: u64, caller: &Caller, change: &Change) -> Result<AuthOutcome, Error> {
        match change {
            Change::Authenticated(request) => return self.authenticated(index, request),
            Change::UserGet(request) => return self.user_get(caller, &request.name),
            Change::RoleGet(request) => return self.role_get(caller, &request.role),
            _ => self.permit_root(caller)?,
        }
        match change {
            Change::Enable(_) => self.enable()?,
            Change::Disable(_) => self.disable(),
            Change::Status(_) => {
                return Ok(AuthOutcome::Status {
                    enabled: self.enabled,
                    revision: self.revision,
                });
            }
            Change::UserAdd(request) => self.user_add(request)?,
            Change::UserList(_) => return Ok(AuthOutcome::Users(self.users.keys().cloned().collect())),
            Change::UserDelete(request) => self.user_delete(&request.name)?,
            Change::UserChangePassword(request) => self.user_change_password(request)?,
            Change::UserGrantRole(request) => self.user_grant_role(&request.user, &request.role)?,
            Change::UserRevokeRole(request) => self.user_revoke_role(&request.name, &request.role)?,
            Change::RoleAdd(request) => self.role_add(&request.name)?,
            Change::RoleList(_) => return Ok(AuthOutcome::Roles(self.roles.keys().cloned().collect())),
            Change::RoleDelete(request) => self.role_delete(&request.role)?,
            Change::RoleGrantPermission(request) => self.role_grant_permission(request)?,
            Change::RoleRevokePermission(request) => self.role_revoke_permission(request)?,
            Change::Authenticated(_) | Change::UserGet(_) | Change::RoleGet(_) => {
                unreachable!("these were answered above")
            }
        }
        Ok(AuthOutcome::Done)
    }

    fn enable(&mut self) -> Result<(), Error> {
        if self.enabled {
            return Ok(());
        }
        let root = self.users.get(ROOT).ok_or(Error::RootUserNotExist)?;
        if !root.roles.contains(ROOT) {
            return Err(Error::RootRoleNotExist);
        }
        self.enabled = true;
        self.mark_changed();
        Ok(())
    }

    fn disable(&mut self) {
        if self.enabled {
            self.enabled = false;
            self.touch();
        }
    }

    /// The password was compared at the edge; whether it is still the same, the edge sees by the revision.
    fn authenticated(&self, index: u64, request: &Authenticated) -> Result<AuthOutcome, Error> {
        let name = &request.name;
        if !self.enabled {
            return Err(Error::AuthNotEnabled);
        }
        let user = self.users.get(name).ok_or(Error::AuthFailed)?;
        if user.no_password {
            return Err(Error::AuthFailed);
        }
        Ok(AuthOutcome::Authenticated {
            user: name.clone(),
            revision: self.revision,
            token: if request.token_prefix.is_empty() {
                String::new()
            } else {
                SimpleTokens::name(&request.token_prefix, index)
            },
        })
    }

    fn user_add(&mut self, request: &pb::AuthUserAddRequest) -> Result<(), Error> {
        if request.name.is_empty() {
            return Err(Error::UserEmpty);
        }
        if self.users.contains_key(&request.name) {
            return Err(Error::UserExists);
        }
        let no_password = request.options.is_some_and(|options| options.no_password);
        let password = if no_password {
            Bytes::new()
        } else {
            decode_hash(&request.hashed_password)?
        };
        let user = User {
            password,
            no_password,
            ..Default::default()
        };
        self.users.insert(request.name.clone(), user);
        self.touch();
        Ok(())
    }

    /// Anybody may ask about himself.
    fn user_get(&self, caller: &Caller, name: &str) -> Result<AuthOutcome, Error> {
        if let Err(refusal) = self.permit_root(caller)
            && caller.user != name
        {
            return Err(refusal);
        }
        let user = self.user(name)?;
        Ok(AuthOutcome::User {
            roles: user.roles.iter().cloned().collect(),
        })
    }

    fn user(&self, name: &str) -> Result<&User, Error> {
        self.users.get(name).ok_or(Error::UserNotFound)
    }

    fn user_delete(&mut self, name: &str) -> Result<(), Error> {
        if self.enabled && name == ROOT {
            return Err(Error::InvalidAuthManagement);
        }
        self.users.remove(name).ok_or(Error::UserNotFound)?;
        self.touch();
        Ok(())
    }

    fn user_change_password(&mut self, request: &pb::AuthUserChangePasswordRequest) -> Result<(), Error> {
        let user = self.users.get_mut(&request.name).ok_or(Error::UserNotFound)?;
        // One without a password stays without, and is told that it is done.
        user.password = if user.no_password {
            Bytes::new()
        } else {
            decode_hash(&request.hashed_password)?
        };
        self.touch();
        Ok(())
    }

    fn user_grant_role(&mut self, name: &str, role: &str) -> Result<(), Error> {
        let role_exists = role == ROOT || self.roles.contains_key(role);
        let user = self.users.get_mut(name).ok_or(Error::UserNotFound)?;
        if !role_exists {
            return Err(Error::RoleNotFound);
        }
        if user.roles.insert(role.to_owned()) {
            self.touch();
        }
        Ok(())
    }

    fn user_revoke_role(&mut self, name: &str, role: &str) -> Result<(), Error> {
        if self.enabled && name == ROOT && role == ROOT {
            return Err(Error::InvalidAuthManagement);
        }
        let user = self.users.get_mut(name).ok_or(Error::UserNotFound)?;
        if !user.roles.remove(role) {
            return Err(Error::RoleNotGranted);
        }
        self.touch();
        Ok(())
    }

    fn role_add(&mut self, name: &str) -> Result<(), Error> {
        if name.is_empty() {
            return Err(Error::RoleEmpty);
        }
        if self.roles.contains_key(name) {
            return Err(Error::RoleExists);
        }
        let role = Role {
            name: Bytes::copy_from_slice(name.as_bytes()),
            key_permission: Vec::new(),
        };
        self.roles.insert(name.to_owned(), role);
        self.touch();
        Ok(())
    }

    /// Anybody may ask about the roles that he has.
    fn role_get(&self, caller: &Caller, name: &str) -> Result<AuthOutcome, Error> {
        let has = |user: &User| user.roles.contains(name);
        if let Err(refusal) = self.permit_root(caller)
            && !self.users.get(&caller.user).is_some_and(has)
        {
            return Err(refusal);
        }
        let role = self.roles.get(name).ok_or(Error::RoleNotFound)?;
        let permissions = if name == ROOT {
            vec![Permission {
                perm_type: Type::Readwrite.into(),
                key: Bytes::new(),
                range_end: Bytes::from_static(b"\0"),
            }]
        } else {
            role.key_permission.clone()
        };
        Ok(AuthOutcome::Role { permissions })
    }

    fn role_delete(&mut self, name: &str) -> Result<(), Error> {
        if self.enabled && name == ROOT {
            return Err(Error::InvalidAuthManagement);
        }
        self.roles.remove(name).ok_or(Error::RoleNotFound)?;
        for user in self.users.values_mut() {
            user.roles.remove(name);
        }
        self.touch();
        Ok(())
    }

    fn role_grant_permission(&mut self, request: &pb::AuthRoleGrantPermissionRequest) -> Result<(), Error> {
        let granted = request.perm.as_ref().ok_or(Error::PermissionNotGiven)?;
        if !permission::is_valid(granted) {
            return Err(Error::InvalidAuthManagement);
        }
        let role = self.roles.get_mut(&request.name).ok_or(Error::RoleNotFound)?;
        // What is kept is copied: the request's own bytes are slices of the buffer that it came in.
        let granted = Permission {
            perm_type: granted.perm_type,
            key: Bytes::copy_from_slice(&granted.key),
            range_end: Bytes::copy_from_slice(&granted.range_end),
        };
        let same = |p: &&mut Permission| p.key == granted.key && p.range_end == granted.range_end;
        match role.key_permission.iter_mut().find(same) {
            Some(before) => before.perm_type = granted.perm_type,
            None => {
                let at = role.key_permission.partition_point(|p| p.key <= granted.key);
                role.key_permission.insert(at, granted);
            }
        }
        self.touch();
        Ok(())
    }

    fn role_revoke_permission(&mut self, request: &pb::AuthRoleRevokePermissionRequest) -> Result<(), Error> {
        let role = self.roles.get_mut(&request.role).ok_or(Error::RoleNotFound)?;
        let before = role.key_permission.len();
        role.key_permission
            .retain(|p| p.key != request.key || p.range_end != request.range_end);
        if role.key_permission.len() == before {
            return Err(Error::PermissionNotGranted);
        }
        self.touch();
        Ok(())
    }
}

/// The edge sends what bcrypt made, in base64.
fn decode_hash(hashed: &str) -> Result<Bytes, Error> {
    STANDARD
        .decode(hashed)
        .map(Bytes::from)
        .map_err(|_not_base64| Error::NoPasswordUser)
}
