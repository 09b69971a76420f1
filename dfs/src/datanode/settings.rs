//! What can be set, under Hadoop's names.

use std::time::Duration;

use crate::namenode::settings::{duration, number, size};

#[derive(Debug, Clone)]
pub struct Settings {
    /// Bytes of the disk that are left alone.
    pub reserved: u64,
    pub block_report_interval: Duration,
    /// Connections for block contents at a time.
    pub transfer_connections: usize,
    /// How long the last data node of a pipeline may be silent.
    pub socket_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            reserved: 0,
            block_report_interval: Duration::from_secs(6 * 3600),
            transfer_connections: 4096,
            socket_timeout: super::wire::NODE_TIMEOUT,
        }
    }
}

impl Settings {
    /// Takes `name=value` pairs. An error says which and what to do.
    pub fn parse<'a>(pairs: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut settings = Self::default();
        for pair in pairs {
            let (name, value) = pair
                .split_once('=')
                .ok_or_else(|| format!("--set {pair}: write it as name=value"))?;
            let (name, value) = (name.trim(), value.trim());
            match name {
                "dfs.datanode.du.reserved" => settings.reserved = size(name, value, 0, u64::MAX)?,
                "dfs.blockreport.intervalMsec" => {
                    settings.block_report_interval = Duration::from_millis(duration(name, value, 1)?.max(1000));
                }
                "dfs.datanode.max.transfer.threads" => {
                    settings.transfer_connections = number(name, value, 1, 1 << 20)? as usize;
                }
                "dfs.client.socket-timeout" => {
                    settings.socket_timeout = Duration::from_millis(duration(name, value, 1)?.max(1000));
                }
                _ => {
                    return Err(format!(
                        "--set {name}: not a setting of the data node; it knows dfs.datanode.du.reserved, \
                         dfs.blockreport.intervalMsec, dfs.datanode.max.transfer.threads, \
                         dfs.client.socket-timeout"
                    ));
                }
            }
        }
        Ok(settings)
    }
}
