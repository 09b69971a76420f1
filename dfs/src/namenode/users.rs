//! Users and their groups, and what only a superuser may do.
//!
//! Groups come from `hadoop.user.group.static.mapping.overrides` or else from the system's own files, read each time: there
//! is no cache to refresh.

use std::path::Path;

use super::directory::Asker;
use super::settings::Settings;
use super::state::NameNode;
use crate::Error;

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

impl Settings {
    pub fn groups_of(&self, user: &str) -> Vec<String> {
        if let Some(groups) = self.static_groups.get(user) {
            return groups.clone();
        }
        let read = |path: &str| std::fs::read_to_string(Path::new(path)).unwrap_or_default();
        system_groups(user, &read("/etc/passwd"), &read("/etc/group"))
    }
}

impl NameNode {
    /// The account that runs the name node, and members of the supergroup.
    pub fn is_superuser(&self, user: &str) -> bool {
        user == self.user || self.settings.groups_of(user).contains(&self.settings.supergroup)
    }

    /// Fails unless `real` may act for `effective`, calling from `ip`: superusers may, and whom `hadoop.proxyuser.*` allows.
    pub fn check_impersonation(&self, real: &str, effective: &str, ip: &str) -> Result<(), Error> {
        let any_or = |list: &[String], wanted: &[String]| list.iter().any(|item| item == "*" || wanted.contains(item));
        let allowed = real == effective
            || self.is_superuser(real)
            || self.settings.proxy_users.get(real).is_some_and(|proxy| {
                any_or(&proxy.hosts, &[ip.to_owned()])
                    && (any_or(&proxy.users, &[effective.to_owned()])
                        || any_or(&proxy.groups, &self.settings.groups_of(effective)))
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
        let settings =
            Settings::parse(["hadoop.user.group.static.mapping.overrides=bob=a,b;eve=;carol=supergroup"]).unwrap();
        assert_eq!(settings.groups_of("bob"), ["a", "b"]);
        assert!(settings.groups_of("eve").is_empty());
        assert!(Settings::parse(["hadoop.user.group.static.mapping.overrides=bob"]).is_err());
    }
}
