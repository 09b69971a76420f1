//! The flags about clients' connections: keep-alive, shared ports, and which pages of other hosts may be read by whom.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::ArgAction;

use crate::server::settings::values::split;

/// Any origin, any host.
const ANY: &str = "*";

/// etcd's flags about connections.
#[derive(Debug, Clone, clap::Args)]
pub(in crate::server) struct ConnectionArguments {
    /// Interval of server-to-client keep-alive pings on idle connections; 0 disables them.
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = crate::duration::parse,
        env = "ETCD_GRPC_KEEPALIVE_INTERVAL", hide_env = true)]
    grpc_keepalive_interval: Duration,
    /// Time to wait for a keep-alive ping's response before the connection is closed; 0 disables pings.
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = crate::duration::parse,
        env = "ETCD_GRPC_KEEPALIVE_TIMEOUT", hide_env = true)]
    grpc_keepalive_timeout: Duration,
    /// Set the socket option SO_REUSEPORT on listeners.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
        action = ArgAction::Set, env = "ETCD_SOCKET_REUSE_PORT", hide_env = true)]
    socket_reuse_port: bool,
    /// Comma-separated list of origins for cross-origin resource sharing (CORS); `*` allows all.
    #[arg(long, value_name = "ORIGINS", default_value = ANY, env = "ETCD_CORS", hide_env = true)]
    cors: String,
    /// Comma-separated list of acceptable hostnames in HTTP client requests without TLS; `*` allows all.
    #[arg(long, value_name = "HOSTS", default_value = ANY, env = "ETCD_HOST_WHITELIST", hide_env = true)]
    host_whitelist: String,
}

/// What they say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::server) struct ConnectionSettings {
    pub(in crate::server) keep_alive: Option<KeepAlive>,
    pub(in crate::server) reuse_port: bool,
    pub(in crate::server) access: Access,
}

/// When a connection counts as dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server) struct KeepAlive {
    pub(in crate::server) interval: Duration,
    pub(in crate::server) timeout: Duration,
}

/// Who may use the HTTP API, by what a request says of its origin and of the host that it is meant for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::server) struct Access {
    /// None for all.
    origins: Option<BTreeSet<String>>,
    hosts: Option<BTreeSet<String>>,
}

impl ConnectionSettings {
    /// `Err` is one sentence that names the flag.
    pub(in crate::server) fn from_arguments(arguments: &ConnectionArguments) -> Result<Self, String> {
        let (interval, timeout) = (arguments.grpc_keepalive_interval, arguments.grpc_keepalive_timeout);
        let origins = allowed(&arguments.cors);
        for origin in origins.iter().flatten() {
            if !(origin.starts_with("http://") || origin.starts_with("https://")) {
                return Err(format!(
                    "--cors={origin}: write origins as http://HOST or https://HOST, or `*`"
                ));
            }
        }
        Ok(Self {
            keep_alive: (!interval.is_zero() && !timeout.is_zero()).then_some(KeepAlive { interval, timeout }),
            reuse_port: arguments.socket_reuse_port,
            access: Access {
                origins,
                hosts: allowed(&arguments.host_whitelist),
            },
        })
    }
}

fn allowed(flag: &str) -> Option<BTreeSet<String>> {
    let names: BTreeSet<String> = split(flag).into_iter().collect();
    (!names.is_empty() && !names.contains(ANY)).then_some(names)
}

impl Access {
    /// What `Access-Control-Allow-Origin` says to a request of `origin`; nothing where that may not.
    pub(in crate::server) fn allowed_origin<'a>(&self, origin: Option<&'a str>) -> Option<&'a str> {
        match &self.origins {
            None => Some(ANY),
            Some(origins) => origin.filter(|origin| origins.contains(*origin)),
        }
    }

    /// Whether a request without TLS may name `host`, which may have a port.
    pub(in crate::server) fn allows_host(&self, host: &str) -> bool {
        match &self.hosts {
            None => true,
            Some(hosts) => hosts.contains(host_name(host)),
        }
    }
}

/// The name in a Host header, as etcd reads it: nothing where there is no telling name and port apart.
pub(in crate::server) fn host_name(host: &str) -> &str {
    if let Some(address) = host.strip_prefix('[') {
        return address.split_once(']').map_or("", |(address, _)| address);
    }
    match host.split_once(':') {
        None => host,
        Some((name, port)) if !port.contains(':') => name,
        Some(_) => "",
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        connections: ConnectionArguments,
    }

    fn settings(flags: &[&str]) -> Result<ConnectionSettings, String> {
        let argv = ["program"].iter().chain(flags);
        let program = Program::try_parse_from(argv).map_err(|error| error.to_string())?;
        ConnectionSettings::from_arguments(&program.connections)
    }

    #[test]
    fn all_may_unless_some_are_named() {
        let all = settings(&[]).expect("defaults").access;
        assert_eq!(all.allowed_origin(Some("http://elsewhere")), Some("*"));
        assert!(all.allows_host("anything:1"));
        let some = settings(&["--cors=http://a,https://b:1", "--host-whitelist=one,::1"]).expect("named");
        assert_eq!(some.access.allowed_origin(Some("https://b:1")), Some("https://b:1"));
        assert_eq!(some.access.allowed_origin(Some("http://b:1")), None);
        assert_eq!(some.access.allowed_origin(None), None);
        for (host, may) in [
            ("one", true),
            ("one:2379", true),
            ("[::1]:1", true),
            ("two", false),
            ("one:1:1", false),
            ("", false),
        ] {
            assert_eq!(some.access.allows_host(host), may, "{host}");
        }
        assert!(settings(&["--cors=a"]).expect_err("no origin").contains("--cors"));
    }

    #[test]
    fn keep_alive_is_disabled_by_nothing() {
        let seconds = |interval, timeout| {
            Some(KeepAlive {
                interval: Duration::from_secs(interval),
                timeout: Duration::from_secs(timeout),
            })
        };
        assert_eq!(settings(&[]).expect("defaults").keep_alive, seconds(60, 20));
        let given = settings(&["--grpc-keepalive-interval=2h", "--grpc-keepalive-timeout=1s"]);
        assert_eq!(given.expect("known").keep_alive, seconds(7_200, 1));
        for off in ["--grpc-keepalive-interval=0", "--grpc-keepalive-timeout=0s"] {
            assert_eq!(settings(&[off]).expect("known").keep_alive, None, "{off}");
        }
    }
}
