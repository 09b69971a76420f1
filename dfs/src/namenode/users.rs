//! Users and their groups, and what only a superuser may do.
//!
//! Groups come from `hadoop.user.group.static.mapping.overrides` or else from the system's own files. They are cached for
//! `hadoop.security.groups.cache.secs`, or until `refreshUserToGroupsMappings`.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::directory::Asker;
use super::retry::CallKey;
use super::settings::Settings;
use super::state::NameNode;
use crate::Error;

/// Users whose groups are remembered: user names come from outside.
const CACHED_USERS_MAX: usize = 10_000;

/// The groups of `user`, the primary one first: lines of `/etc/passwd` and `/etc/group`.
fn system_groups(user: &str, passwd: &str, group: &str) -> Vec<String> {
    let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
    let primary = passwd.lines().map(fields).find(|line| line[0] == user);
    let primary = primary.and_then(|line| line.get(3).cloned()).unwrap_or_default();
    let (mut first, mut others) = (Vec::new(), Vec::new());
    for line in group.lines().map(fields).filter(|line| line.len() >= 4) {
        if !primary.is_empty() && line[2] == primary {
            first.push(line[0].clone());
        } else if line[3].split(',').any(|member| member == user) {
            others.push(line[0].clone());
        }
    }
    first.extend(others);
    first
}

/// The name of the account that runs this process.
pub fn account() -> String {
    let id = rustix::process::geteuid().as_raw().to_string();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    // Where the account has no name, as in some containers, the environment may have one.
    name_of(&id, &passwd)
        .or_else(|| std::env::var("USER").ok())
        .unwrap_or(id)
}

fn name_of(id: &str, passwd: &str) -> Option<String> {
    let mut lines = passwd.lines().map(|line| line.split(':'));
    lines.find_map(|mut fields| {
        let name = fields.next()?;
        (fields.nth(1)? == id).then(|| name.to_owned())
    })
}

impl Settings {
    pub fn groups_of(&self, user: &str) -> Vec<String> {
        if let Some(groups) = self.static_groups.get(user) {
            return groups.clone();
        }
        let read = |path: &str| std::fs::read_to_string(Path::new(path)).unwrap_or_default();
        system_groups(user, &read("/etc/passwd"), &read("/etc/group"))
    }
}

/// Groups of users that called lately.
#[derive(Debug, Default)]
pub struct Groups {
    known: Mutex<HashMap<String, Known>>,
}

#[derive(Debug)]
struct Known {
    at: Instant,
    groups: Arc<[String]>,
}

impl Groups {
    fn of(&self, user: &str, settings: &Settings) -> Arc<[String]> {
        let now = Instant::now();
        let fresh = |known: &&Known| now.duration_since(known.at).as_millis() < settings.groups_cache_ms.into();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.get(user).filter(fresh) {
            return Arc::clone(&found.groups);
        }
        drop(known);
        let groups: Arc<[String]> = settings.groups_of(user).into();
        known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= CACHED_USERS_MAX {
            known.clear();
        }
        let found = Known {
            at: now,
            groups: Arc::clone(&groups),
        };
        known.insert(user.to_owned(), found);
        groups
    }

    pub fn refresh(&self) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl NameNode {
    pub fn groups_of(&self, user: &str) -> Arc<[String]> {
        self.groups.of(user, &self.settings)
    }

    /// A caller, with its groups.
    pub fn asker(&self, user: &str, ip: String, key: Option<CallKey>) -> Asker {
        let groups = self.groups_of(user);
        Asker {
            privileged: !self.settings.permissions || user == self.user || groups.contains(&self.settings.supergroup),
            user: user.to_owned(),
            groups,
            ip,
            key,
        }
    }

    /// The name node itself.
    pub(super) fn own_asker(&self) -> Asker {
        Asker {
            user: self.user.clone(),
            groups: Arc::default(),
            privileged: true,
            ip: String::new(),
            key: None,
        }
    }

    /// The account that runs the name node, and members of the supergroup.
    pub fn is_superuser(&self, user: &str) -> bool {
        user == self.user || self.groups_of(user).contains(&self.settings.supergroup)
    }

    /// Fails unless `real` may act for `effective`, calling from `ip`: superusers may, and whom `hadoop.proxyuser.*` allows.
    pub fn check_impersonation(&self, real: &str, effective: &str, ip: &str) -> Result<(), Error> {
        let any_or = |list: &[String], wanted: &[String]| list.iter().any(|item| item == "*" || wanted.contains(item));
        let allowed = real == effective
            || self.is_superuser(real)
            || self.settings.proxy_users.get(real).is_some_and(|proxy| {
                any_or(&proxy.hosts, &[ip.to_owned()])
                    && (any_or(&proxy.users, &[effective.to_owned()])
                        || any_or(&proxy.groups, &self.groups_of(effective)))
            });
        match allowed {
            true => Ok(()),
            false => Err(Error::Authorization(format!(
                "User: {real} is not allowed to impersonate {effective}"
            ))),
        }
    }

    pub(super) fn check_superuser(&self, asker: &Asker) -> Result<(), Error> {
        match self.is_superuser(&asker.user) {
            true => Ok(()),
            false => Err(Error::AccessControl(format!(
                "Access denied for user {}. Superuser privilege is required",
                asker.user
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_those_of_the_system_or_of_the_static_mapping() {
        let passwd = "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\nbroken";
        let group = "root:x:0:\nstaff:x:50:bob,alice\nalice:x:1000:\nbroken\nalices:x:7:malice";
        assert_eq!(system_groups("alice", passwd, group), ["alice", "staff"]);
        assert_eq!(system_groups("bob", passwd, group), ["staff"]);
        assert!(system_groups("eve", passwd, group).is_empty());
        assert_eq!(name_of("1000", passwd).as_deref(), Some("alice"));
        assert_eq!(name_of("7", passwd), None);
        let settings =
            Settings::parse(["hadoop.user.group.static.mapping.overrides=bob=a,b;eve=;carol=supergroup"]).unwrap();
        assert_eq!(settings.groups_of("bob"), ["a", "b"]);
        assert!(settings.groups_of("eve").is_empty());
        assert!(Settings::parse(["hadoop.user.group.static.mapping.overrides=bob"]).is_err());
    }
}
