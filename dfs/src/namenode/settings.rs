//! What can be set, under Hadoop's names.

use std::collections::BTreeMap;

use crate::block::Policy;

/// A name node's settings.
#[derive(Debug, Clone)]
pub struct Settings {
    pub replication: u16,
    pub replication_max: u16,
    pub block_size: u64,
    pub block_size_min: u64,
    pub bytes_per_checksum: u32,
    pub packet_bytes: u32,
    pub heartbeat_ms: u64,
    pub recheck_ms: u64,
    pub stale_ms: u64,
    pub lease_hard_limit_ms: u64,
    pub safe_part: f64,
    pub safe_nodes: u32,
    pub safe_extension_ms: u64,
    pub checkpoint_transactions: u64,
    pub checkpoint_period_s: u64,
    pub list_limit: u32,
    pub reserved_bytes: u64,
    pub retry_cache_ms: u64,
    pub trash_minutes: u64,
    /// How often the emptier makes checkpoints; 0: as often as checkpoints are kept.
    pub trash_checkpoint_minutes: u64,
    /// How far apart two recorded accesses of a file are at least; 0: none is recorded.
    pub access_time_precision_ms: u64,
    /// Who may act for others, beside superusers.
    pub proxy_users: BTreeMap<String, ProxyUser>,
    /// How long `complete` and `addBlock` hold their answer for a data node's report.
    pub report_wait_ms: u64,
    /// How long a change is held while the data nodes come back after a restart.
    pub restart_wait_ms: u64,
    pub supergroup: String,
    /// Whether permissions are checked.
    pub permissions: bool,
    pub groups_cache_ms: u64,
    /// Groups of users whose groups are not those of the system.
    pub static_groups: BTreeMap<String, Vec<String>>,
}

/// For whom a user may act, and from where; `*` is anyone and anywhere.
#[derive(Debug, Clone, Default)]
pub struct ProxyUser {
    pub hosts: Vec<String>,
    pub users: Vec<String>,
    pub groups: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            replication: 3,
            replication_max: 512,
            block_size: 128 << 20,
            block_size_min: 1 << 20,
            bytes_per_checksum: 512,
            packet_bytes: 64 << 10,
            heartbeat_ms: 1000,
            recheck_ms: 2500,
            stale_ms: 5000,
            lease_hard_limit_ms: crate::namespace::lease::HARD_LIMIT_MS,
            safe_part: 0.999,
            safe_nodes: 0,
            safe_extension_ms: 0,
            checkpoint_transactions: 1_000_000,
            checkpoint_period_s: 3600,
            list_limit: 1000,
            reserved_bytes: 16 << 20,
            retry_cache_ms: 600_000,
            trash_minutes: 0,
            trash_checkpoint_minutes: 0,
            access_time_precision_ms: 3_600_000,
            proxy_users: BTreeMap::new(),
            report_wait_ms: 2000,
            restart_wait_ms: 3000,
            supergroup: "supergroup".to_owned(),
            permissions: true,
            groups_cache_ms: 300_000,
            static_groups: BTreeMap::new(),
        }
    }
}

/// Names, so that a typo is answered with what there is.
const NAMES: &[&str] = &[
    "dfs.replication",
    "dfs.replication.max",
    "dfs.blocksize",
    "dfs.namenode.fs-limits.min-block-size",
    "dfs.bytes-per-checksum",
    "dfs.client-write-packet-size",
    "dfs.heartbeat.interval",
    "dfs.namenode.heartbeat.recheck-interval",
    "dfs.namenode.stale.datanode.interval",
    "dfs.namenode.lease-hard-limit-sec",
    "dfs.namenode.safemode.threshold-pct",
    "dfs.namenode.safemode.min.datanodes",
    "dfs.namenode.safemode.extension",
    "dfs.namenode.checkpoint.txns",
    "dfs.namenode.checkpoint.period",
    "dfs.ls.limit",
    "dfs.namenode.resource.du.reserved",
    "dfs.namenode.retrycache.expirytime.millis",
    "dfs.namenode.accesstime.precision",
    "hadoop.proxyuser.NAME.hosts",
    "hadoop.proxyuser.NAME.users",
    "hadoop.proxyuser.NAME.groups",
    "fs.trash.interval",
    "fs.trash.checkpoint.interval",
    "dfs.permissions.enabled",
    "dfs.permissions.superusergroup",
    "hadoop.security.groups.cache.secs",
    "hadoop.user.group.static.mapping.overrides",
    "bonsai.report-wait.millis",
    "bonsai.restart-wait.millis",
];

impl Settings {
    /// Takes `name=value` pairs. An error says which and what to do.
    pub fn parse<'a>(pairs: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut settings = Self::default();
        for pair in pairs {
            let (name, value) = pair
                .split_once('=')
                .ok_or_else(|| format!("--set {pair}: write it as name=value"))?;
            settings.set(name.trim(), value.trim())?;
        }
        Ok(settings)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "dfs.replication" => self.replication = number(name, value, 1, 512)? as u16,
            "dfs.replication.max" => self.replication_max = number(name, value, 1, 512)? as u16,
            "dfs.blocksize" => self.block_size = size(name, value, 1, 1 << 40)?,
            "dfs.namenode.fs-limits.min-block-size" => self.block_size_min = size(name, value, 0, 1 << 40)?,
            "dfs.bytes-per-checksum" => self.bytes_per_checksum = number(name, value, 16, 1 << 20)? as u32,
            "dfs.client-write-packet-size" => self.packet_bytes = size(name, value, 1024, 16 << 20)? as u32,
            "dfs.heartbeat.interval" => self.heartbeat_ms = duration(name, value, 1000)?.max(100),
            "dfs.namenode.heartbeat.recheck-interval" => self.recheck_ms = duration(name, value, 1)?,
            "dfs.namenode.stale.datanode.interval" => self.stale_ms = duration(name, value, 1)?,
            "dfs.namenode.lease-hard-limit-sec" => self.lease_hard_limit_ms = duration(name, value, 1000)?,
            "dfs.namenode.safemode.threshold-pct" => {
                self.safe_part = value
                    .parse()
                    .map_err(|_| format!("--set {name}: {value} is not a number"))?;
            }
            "dfs.namenode.safemode.min.datanodes" => self.safe_nodes = number(name, value, 0, 1 << 20)? as u32,
            "dfs.namenode.safemode.extension" => self.safe_extension_ms = duration(name, value, 1)?,
            "dfs.namenode.checkpoint.txns" => self.checkpoint_transactions = number(name, value, 1, u64::MAX)?,
            "dfs.namenode.checkpoint.period" => self.checkpoint_period_s = duration(name, value, 1000)? / 1000,
            "dfs.ls.limit" => self.list_limit = number(name, value, 1, 1 << 20)? as u32,
            "dfs.namenode.resource.du.reserved" => self.reserved_bytes = size(name, value, 0, u64::MAX)?,
            "dfs.namenode.retrycache.expirytime.millis" => self.retry_cache_ms = duration(name, value, 1)?,
            "dfs.namenode.accesstime.precision" => self.access_time_precision_ms = duration(name, value, 1)?,
            "fs.trash.checkpoint.interval" => {
                self.trash_checkpoint_minutes = number(name, value, 0, u32::MAX.into())?;
            }
            "fs.trash.interval" => self.trash_minutes = number(name, value, 0, u32::MAX.into())?,
            "dfs.permissions.enabled" => {
                self.permissions = value
                    .parse()
                    .map_err(|_| format!("--set {name}: {value} is neither true nor false"))?;
            }
            "dfs.permissions.superusergroup" => self.supergroup = value.to_owned(),
            "hadoop.security.groups.cache.secs" => self.groups_cache_ms = duration(name, value, 1000)?,
            "hadoop.user.group.static.mapping.overrides" => self.static_groups = static_groups(name, value)?,
            "bonsai.report-wait.millis" => self.report_wait_ms = duration(name, value, 1)?,
            "bonsai.restart-wait.millis" => self.restart_wait_ms = duration(name, value, 1)?,
            _ if self.set_proxy_user(name, value) => {}
            _ => {
                return Err(format!(
                    "--set {name}: not a setting of the name node; it knows {}",
                    NAMES.join(", ")
                ));
            }
        }
        Ok(())
    }

    /// `hadoop.proxyuser.NAME.hosts`, `.users` and `.groups`; false for any other name.
    fn set_proxy_user(&mut self, name: &str, value: &str) -> bool {
        let parts = name
            .strip_prefix("hadoop.proxyuser.")
            .and_then(|rest| rest.rsplit_once('.'));
        let Some((user, what)) = parts.filter(|(user, _)| !user.is_empty()) else {
            return false;
        };
        let proxy = self.proxy_users.entry(user.to_owned()).or_default();
        let list = match what {
            "hosts" => &mut proxy.hosts,
            "users" => &mut proxy.users,
            "groups" => &mut proxy.groups,
            _ => return false,
        };
        *list = value.split(',').map(|part| part.trim().to_owned()).collect();
        true
    }

    /// How often trash becomes a checkpoint, in milliseconds; 0 without trash. Not more seldom than checkpoints are kept.
    pub fn trash_period_ms(&self) -> u64 {
        let period = match self.trash_checkpoint_minutes {
            0 => self.trash_minutes,
            minutes => minutes.min(self.trash_minutes),
        };
        period * 60_000
    }

    pub fn policy(&self) -> Policy {
        Policy {
            // HDFS: 2 × recheck interval + 10 × heartbeat interval.
            dead_after_ms: 2 * self.recheck_ms + 10 * self.heartbeat_ms,
            stale_after_ms: self.stale_ms,
            safe_part: self.safe_part,
            safe_nodes: self.safe_nodes as usize,
            safe_extension_ms: self.safe_extension_ms,
            ..Policy::default()
        }
    }
}

/// `user1=group1,group2;user2=`
fn static_groups(name: &str, value: &str) -> Result<BTreeMap<String, Vec<String>>, String> {
    let mut mapping = BTreeMap::new();
    for entry in value.split(';').map(str::trim).filter(|entry| !entry.is_empty()) {
        let (user, groups) = entry
            .split_once('=')
            .ok_or_else(|| format!("--set {name}: write {entry} as user=group1,group2"))?;
        let groups = groups.split(',').map(str::trim).filter(|group| !group.is_empty());
        mapping.insert(user.trim().to_owned(), groups.map(str::to_owned).collect());
    }
    Ok(mapping)
}

pub(crate) fn number(name: &str, value: &str, min: u64, max: u64) -> Result<u64, String> {
    match value.parse() {
        Ok(number) if (min..=max).contains(&number) => Ok(number),
        _ => Err(format!("--set {name}: {value} is not a number from {min} to {max}")),
    }
}

/// Bytes, with Hadoop's suffixes k, m, g, t.
pub(crate) fn size(name: &str, value: &str, min: u64, max: u64) -> Result<u64, String> {
    let lower = value.to_ascii_lowercase();
    let (digits, shift) = match lower.chars().last() {
        Some('k') => (&lower[..lower.len() - 1], 10),
        Some('m') => (&lower[..lower.len() - 1], 20),
        Some('g') => (&lower[..lower.len() - 1], 30),
        Some('t') => (&lower[..lower.len() - 1], 40),
        _ => (lower.as_str(), 0),
    };
    let bytes = digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(1 << shift));
    match bytes {
        Some(bytes) if (min..=max).contains(&bytes) => Ok(bytes),
        _ => Err(format!(
            "--set {name}: {value} is not a size from {min} to {max} bytes (such as 64m)"
        )),
    }
}

/// Milliseconds; `unit_ms` is what a plain number counts, Hadoop's suffixes ms, s, m, h are understood.
pub(crate) fn duration(name: &str, value: &str, unit_ms: u64) -> Result<u64, String> {
    let lower = value.to_ascii_lowercase();
    let units = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("", unit_ms)];
    units
        .iter()
        .find_map(|(suffix, factor)| {
            lower
                .strip_suffix(suffix)?
                .trim()
                .parse::<f64>()
                .ok()
                .map(|n| n * *factor as f64)
        })
        .filter(|ms| (0.0..1e15).contains(ms))
        .map(|ms| ms as u64)
        .ok_or_else(|| format!("--set {name}: {value} is not a duration (such as 3s)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_have_hadoops_names_and_units() {
        let settings = Settings::parse([
            "dfs.replication=1",
            "dfs.blocksize=64m",
            "dfs.heartbeat.interval=3",
            "dfs.namenode.safemode.extension=2s",
        ])
        .unwrap();
        assert_eq!((settings.replication, settings.block_size), (1, 64 << 20));
        assert_eq!((settings.heartbeat_ms, settings.safe_extension_ms), (3000, 2000));
        for bad in [
            "dfs.replikation=1",
            "dfs.replication=0",
            "dfs.replication",
            "dfs.permissions.enabled=yes",
        ] {
            assert!(Settings::parse([bad]).is_err(), "{bad}");
        }
    }
}
