//! The command line: etcd's flags, and what becomes of each.
//!
//! Most are obeyed. Those that tune parts of etcd that are not here are accepted with a note in the log; those that ask for
//! something that is not served are refused by name ([`crate::server::settings::other_flags`]). Flags about members are in
//! [`crate::server::settings::bootstrap`], those about keys and tokens in [`crate::server::settings::tls`], those about connections in
//! [`crate::server::settings::connection_settings`].

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use host::telemetry::{Format, Output};

use crate::compaction::Retention;
use crate::server::settings::bootstrap::{Bootstrap, MemberArguments};
use crate::server::settings::connection_settings::{ConnectionArguments, ConnectionSettings};
use crate::server::settings::data_directory::has_state;
use crate::server::settings::features::{Checks, FeatureArguments};
use crate::server::settings::limits::{Limits, quota_bytes};
use crate::server::settings::other_flags::OtherFlags;
use crate::server::settings::tls::{Security, SecurityArguments};
use crate::server::settings::url::{Scheme, Url};
use crate::server::settings::values::{duration, split, urls};
use crate::server::settings::version::ETCD_VERSION;

/// etcd's default of `--max-request-bytes`.
const REQUEST_BYTES_MAX: usize = 1_536 << 10;
/// etcd's default of `--max-txn-ops`.
const TXN_OPERATIONS_MAX: usize = 128;
/// A segment of the log, in bytes. All segments that are left are read at a start, mostly one or two.
const LOG_SEGMENT_BYTES: u64 = 16 << 20;
const CONCURRENT_STREAMS_MAX: u32 = 10_000;

/// A coordinator that serves etcd's v3 API. Flags are etcd's, with one dash or two; each is also an environment variable
/// (ETCD_NAME and so on).
#[derive(Debug, Clone, Parser)]
#[command(
    name = "coordinator",
    disable_version_flag = true,
    // As with Go's flags, the last of two counts.
    args_override_self = true,
    // etcd's default: what reads its log reads objects.
    mut_arg("log_format", |flag| flag.default_value("json"))
)]
pub(in crate::server) struct Arguments {
    /// Human-readable name of this member.
    #[arg(long, default_value = "default", env = "ETCD_NAME", hide_env = true)]
    name: String,
    /// Path to the data directory; `NAME.etcd` by default.
    #[arg(long, value_name = "DIR", env = "ETCD_DATA_DIR", hide_env = true)]
    data_dir: Option<PathBuf>,
    /// Comma-separated list of URLs to listen on for client traffic; port 0 picks a free port.
    #[arg(
        long,
        value_name = "URLS",
        default_value = "http://127.0.0.1:2379",
        env = "ETCD_LISTEN_CLIENT_URLS",
        hide_env = true
    )]
    listen_client_urls: String,
    /// Comma-separated list of this member's client URLs to advertise; the listen URLs by default.
    #[arg(long, value_name = "URLS", env = "ETCD_ADVERTISE_CLIENT_URLS", hide_env = true)]
    advertise_client_urls: Option<String>,
    /// Maximum size of a client request, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = REQUEST_BYTES_MAX, env = "ETCD_MAX_REQUEST_BYTES", hide_env = true)]
    max_request_bytes: usize,
    /// Maximum number of operations in a transaction.
    #[arg(long, value_name = "N", default_value_t = TXN_OPERATIONS_MAX, env = "ETCD_MAX_TXN_OPS", hide_env = true)]
    max_txn_ops: usize,
    /// Maximum number of concurrent streams per client connection.
    #[arg(
        long,
        value_name = "N",
        default_value_t = CONCURRENT_STREAMS_MAX,
        env = "ETCD_MAX_CONCURRENT_STREAMS",
        hide_env = true
    )]
    max_concurrent_streams: u32,
    /// Interval of periodic watch progress notifications, such as 10m or 500ms.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "10m",
        value_parser = duration,
        env = "ETCD_WATCH_PROGRESS_NOTIFY_INTERVAL",
        hide_env = true
    )]
    watch_progress_notify_interval: Duration,
    /// Interval at which the remaining TTL of leases that have longer than this is checkpointed, such as 5m.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "5m",
        value_parser = duration,
        env = "ETCD_LEASE_CHECKPOINT_INTERVAL",
        hide_env = true
    )]
    lease_checkpoint_interval: Duration,
    /// Storage quota in bytes: beyond it the NOSPACE alarm is raised and writes are refused. 0 means 2 GiB, a negative
    /// number means no quota.
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 0,
        allow_negative_numbers = true,
        env = "ETCD_QUOTA_BACKEND_BYTES",
        hide_env = true
    )]
    quota_backend_bytes: i64,
    /// How --auto-compaction-retention is interpreted: `periodic` or `revision`.
    #[arg(
        long,
        value_name = "MODE",
        default_value = "periodic",
        env = "ETCD_AUTO_COMPACTION_MODE",
        hide_env = true
    )]
    auto_compaction_mode: String,
    /// Auto-compaction retention: a duration such as 30m (hours without a unit), or a number of revisions; 0 disables
    /// auto-compaction.
    #[arg(
        long,
        value_name = "TIME or N",
        default_value = "0",
        env = "ETCD_AUTO_COMPACTION_RETENTION",
        hide_env = true
    )]
    auto_compaction_retention: String,
    /// Enable the gRPC gateway (JSON over HTTP).
    #[arg(
        long,
        num_args = 0..=1,
        require_equals = true,
        default_value_t = true,
        default_missing_value = "true",
        action = clap::ArgAction::Set,
        env = "ETCD_ENABLE_GRPC_GATEWAY",
        hide_env = true
    )]
    enable_grpc_gateway: bool,
    /// Comma-separated list of additional URLs for client traffic; gRPC and HTTP are served on all of them.
    #[arg(long, value_name = "URLS", env = "ETCD_LISTEN_CLIENT_HTTP_URLS", hide_env = true)]
    listen_client_http_urls: Option<String>,
    /// Comma-separated list of additional URLs that serve /metrics and the health endpoints only.
    #[arg(long, value_name = "URLS", env = "ETCD_LISTEN_METRICS_URLS", hide_env = true)]
    listen_metrics_urls: Option<String>,
    /// Log a warning when applying a request takes longer than this, such as 100ms.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "100ms",
        value_parser = duration,
        env = "ETCD_WARNING_APPLY_DURATION",
        hide_env = true
    )]
    warning_apply_duration: Duration,
    /// Log a warning when a unary request takes longer than this, such as 300ms.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "300ms",
        value_parser = duration,
        env = "ETCD_WARNING_UNARY_REQUEST_DURATION",
        hide_env = true
    )]
    warning_unary_request_duration: Duration,
    /// Defragment at startup if that frees at least this many megabytes; 0 disables it.
    #[arg(
        long,
        value_name = "MEGABYTES",
        default_value_t = 0,
        env = "ETCD_BOOTSTRAP_DEFRAG_THRESHOLD_MEGABYTES",
        hide_env = true
    )]
    bootstrap_defrag_threshold_megabytes: u64,
    #[command(flatten)]
    members: MemberArguments,
    #[command(flatten)]
    security: SecurityArguments,
    #[command(flatten)]
    features: FeatureArguments,
    /// Path to a dedicated directory for the write-ahead log; the data directory by default.
    #[arg(long, value_name = "DIR", env = "ETCD_WAL_DIR", hide_env = true)]
    wal_dir: Option<PathBuf>,
    /// Disable fsync. Unsafe: a power loss loses acknowledged writes.
    #[arg(
        long,
        num_args = 0..=1,
        require_equals = true,
        default_value_t = false,
        default_missing_value = "true",
        action = clap::ArgAction::Set,
        env = "ETCD_UNSAFE_NO_FSYNC",
        hide_env = true
    )]
    unsafe_no_fsync: bool,
    /// Comma-separated list of log outputs: `default` (stderr), `stderr`, `stdout`, or file paths.
    #[arg(
        long,
        value_name = "OUTPUTS",
        default_value = "default",
        env = "ETCD_LOG_OUTPUTS",
        hide_env = true
    )]
    log_outputs: String,
    /// Level of detail of the metrics: `basic`, or `extensive` to include gRPC latency histograms.
    #[arg(
        long,
        value_name = "LEVEL",
        default_value = "basic",
        env = "ETCD_METRICS",
        hide_env = true
    )]
    metrics: String,
    #[command(flatten)]
    connections: ConnectionArguments,
    #[command(flatten)]
    other: OtherFlags,
    #[command(flatten)]
    pub(in crate::server) telemetry: host::telemetry::Options,
}

/// What the program does, once the flags are understood.
#[derive(Debug, Clone)]
pub(in crate::server) struct Settings {
    pub(in crate::server) name: String,
    pub(in crate::server) data_dir: PathBuf,
    pub(in crate::server) listen_client: Vec<Url>,
    /// Where the pages are served besides.
    pub(in crate::server) listen_metrics: Vec<Url>,
    advertise_client: Option<Vec<String>>,
    pub(in crate::server) bootstrap: Bootstrap,
    pub(in crate::server) limits: Limits,
    pub(in crate::server) checks: Checks,
    pub(in crate::server) retention: Option<Retention>,
    pub(in crate::server) gateway: bool,
    pub(in crate::server) security: Security,
    pub(in crate::server) log: raft::log::Options,
    pub(in crate::server) concurrent_streams_max: u32,
    /// How much a rewriting of the store must free before it is done at a start.
    pub(in crate::server) bootstrap_defragmentation_bytes: Option<u64>,
    /// Flags that were given and have no effect here.
    pub(in crate::server) unused: Vec<String>,
    pub(in crate::server) connections: ConnectionSettings,
    pub(in crate::server) wal_dir: Option<PathBuf>,
    pub(in crate::server) syncs: bool,
    pub(in crate::server) extensive_metrics: bool,
    /// Whether it says on stdout, too, that it is ready. Not where the log is for programs: a terminal of theirs has
    /// both, and each line is to be an object.
    pub(in crate::server) announces: bool,
}

impl Settings {
    /// `Err` is one sentence that names the flag and says what to do.
    pub(in crate::server) fn from_arguments(arguments: Arguments) -> Result<Self, String> {
        let mut listen_client = urls("--listen-client-urls", &arguments.listen_client_urls)?;
        if let Some(more) = &arguments.listen_client_http_urls {
            listen_client.extend(urls("--listen-client-http-urls", more)?);
        }
        let advertise_client = match &arguments.advertise_client_urls {
            Some(text) => {
                urls("--advertise-client-urls", text)?;
                Some(split(text))
            }
            None => None,
        };
        let listen_metrics = match &arguments.listen_metrics_urls {
            Some(text) => urls("--listen-metrics-urls", text)?,
            None => Vec::new(),
        };
        let listen_peer = urls("--listen-peer-urls", &arguments.members.listen_peer_urls)?;
        let security = Security::from_arguments(&arguments.security)?;
        security.check_urls("--listen-client-urls", &listen_client)?;
        security.check_urls("--listen-metrics-urls", &listen_metrics)?;
        security.check_urls("--listen-peer-urls", &listen_peer)?;
        let data_dir = arguments
            .data_dir
            .clone()
            .unwrap_or_else(|| PathBuf::from(format!("{}.etcd", arguments.name)));
        let has_state = has_state(&disk::RealDisk, &data_dir);
        let bootstrap = Bootstrap::from_arguments(&arguments.name, &arguments.members, has_state)?;
        let (checks, gates) = Checks::from_arguments(&arguments.features)?;
        Ok(Self {
            listen_client,
            listen_metrics,
            advertise_client,
            data_dir: data_dir.clone(),
            limits: Limits {
                request_bytes_max: arguments.max_request_bytes,
                txn_operations_max: arguments.max_txn_ops,
                progress_interval: arguments.watch_progress_notify_interval,
                // etcd's: five seconds, and time for an election before and after.
                request_timeout: Duration::from_millis(5_000 + 2 * bootstrap.election_ms),
                election: Duration::from_millis(bootstrap.election_ms),
                checkpoint_interval: arguments.lease_checkpoint_interval,
                changes: bootstrap.changes.clone(),
                catch_up_entries: bootstrap.catch_up_entries,
                quota_bytes: quota_bytes(arguments.quota_backend_bytes),
                slow_apply: arguments.warning_apply_duration,
                slow_answer: arguments.warning_unary_request_duration,
                stops_on_defragmentation: checks.stops_on_defragmentation,
                hashes_compactions: checks.compactions.is_some(),
            },
            checks,
            retention: Retention::parse(&arguments.auto_compaction_mode, &arguments.auto_compaction_retention)?,
            gateway: arguments.enable_grpc_gateway,
            security,
            log: raft::log::Options {
                segment_bytes: LOG_SEGMENT_BYTES,
                ..Default::default()
            },
            concurrent_streams_max: arguments.max_concurrent_streams,
            bootstrap_defragmentation_bytes: Some(
                arguments.bootstrap_defrag_threshold_megabytes.saturating_mul(1 << 20),
            )
            .filter(|bytes| *bytes > 0),
            unused: [arguments.other.check()?, gates].concat(),
            connections: ConnectionSettings::from_arguments(&arguments.connections)?,
            wal_dir: wal_dir(arguments.wal_dir, &data_dir)?,
            syncs: !arguments.unsafe_no_fsync,
            extensive_metrics: match arguments.metrics.as_str() {
                "extensive" => true,
                "basic" => false,
                other => return Err(format!("--metrics={other}: it is `basic` or `extensive`")),
            },
            announces: arguments.telemetry.log_format == Format::Text,
            bootstrap,
            name: arguments.name,
        })
    }

    /// The listening URLs with the addresses that they got.
    fn listening(&self, bound: &[SocketAddr]) -> Vec<String> {
        let mut bound = bound.iter();
        let known = |url: &Url| match (url.scheme(), url.path()) {
            (_, Some(_)) => url.to_string(),
            (scheme, None) => {
                let scheme = if scheme == Scheme::Https { "https" } else { "http" };
                bound
                    .next()
                    .map_or_else(|| url.to_string(), |address| format!("{scheme}://{address}"))
            }
        };
        self.listen_client.iter().map(known).collect()
    }

    /// What clients are told, given where they are served in fact.
    pub(in crate::server) fn client_urls(&self, bound: &[SocketAddr]) -> Vec<String> {
        let Some(advertised) = &self.advertise_client else {
            return self.listening(bound);
        };
        let mut bound = bound.iter();
        // A port that was asked for as 0 is known only now.
        let known = |url: &String| match (url.strip_suffix(":0"), bound.next()) {
            (Some(host), Some(address)) => format!("{host}:{}", address.port()),
            _ => url.clone(),
        };
        advertised.iter().map(known).collect()
    }
}

/// The log's own directory, which must be another one than the data directory.
fn wal_dir(flag: Option<PathBuf>, data_dir: &Path) -> Result<Option<PathBuf>, String> {
    let given = flag.filter(|path| !path.as_os_str().is_empty());
    match given {
        Some(path) if path == *data_dir => Err(format!(
            "--wal-dir={}: that is the data directory, where the log is without this flag",
            path.display()
        )),
        given => Ok(given),
    }
}

/// Where log lines go.
///
/// # Errors
/// One sentence: a file cannot be opened.
pub(in crate::server) fn log_outputs(arguments: &Arguments) -> Result<Vec<Output>, String> {
    let outputs = split(&arguments.log_outputs)
        .into_iter()
        .map(|output| match output.as_str() {
            "default" | "stderr" | "systemd/journal" => Ok(Output::Stderr),
            "stdout" => Ok(Output::Stdout),
            path => {
                let opened = std::fs::File::options().create(true).append(true).open(path);
                let opened = opened.map_err(|error| format!("--log-outputs={path}: cannot open it: {error}"));
                opened.map(|file| Output::File(Arc::new(file)))
            }
        });
    outputs.collect()
}

/// Flags as etcd takes them, in this program's spelling: long ones with one dash get their second, those that were once
/// experimental lose the word, and levels of logs that are unknown here get the next that is.
pub(in crate::server) fn etcd_spelling(argv: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut spelled: Vec<OsString> = Vec::new();
    for argument in argv {
        let level_follows = spelled.last().is_some_and(|last| last == "--log-level");
        let Some(text) = argument.to_str() else {
            spelled.push(argument);
            continue;
        };
        if level_follows {
            spelled.push(log_level(text).into());
            continue;
        }
        let flag = if is_long_with_one_dash(text) {
            format!("-{text}")
        } else {
            text.to_owned()
        };
        let flag = match flag.strip_prefix("--experimental-") {
            Some(rest) => format!("--{rest}"),
            None => flag,
        };
        match flag.strip_prefix("--log-level=") {
            Some(level) => spelled.push(format!("--log-level={}", log_level(level)).into()),
            None => spelled.push(flag.into()),
        }
    }
    spelled
}

fn log_level(level: &str) -> &str {
    match level {
        "dpanic" | "panic" | "fatal" => "error",
        other => other,
    }
}

fn is_long_with_one_dash(text: &str) -> bool {
    text.strip_prefix('-')
        .is_some_and(|flag| flag.len() > 1 && flag.starts_with(|c: char| c.is_ascii_alphabetic()))
}

pub(in crate::server) fn asks_for_version(argv: &[OsString]) -> bool {
    argv.iter()
        .skip(1)
        .any(|argument| argument == "--version" || argument == "-V")
}

/// As etcd prints it; the first line is what tools read.
pub(in crate::server) fn print_version() -> ExitCode {
    println!("etcd Version: {ETCD_VERSION}");
    println!("Bonsai coordinator: {}", env!("CARGO_PKG_VERSION"));
    println!("API: v3, of etcd {ETCD_VERSION}, as far as served");
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(flags: &[&str]) -> Result<Settings, String> {
        let argv = ["coordinator"].iter().chain(flags).map(OsString::from);
        let arguments = Arguments::try_parse_from(etcd_spelling(argv)).map_err(|error| error.to_string())?;
        Settings::from_arguments(arguments)
    }

    #[test]
    fn flags_are_taken_as_etcd_takes_them() {
        let settings = settings(&[
            "-name",
            "n1",
            "--data-dir=/tmp/x",
            "-listen-client-urls=http://localhost:0,http://127.0.0.1:4001",
            "--advertise-client-urls",
            "http://localhost:0",
            "--initial-advertise-peer-urls=http://localhost:2380",
            "--initial-cluster=n1=http://localhost:2380",
            "--snapshot-count=10000",
            "--strict-reconfig-check",
            "--log-level=panic",
            "--experimental-initial-corrupt-check=true",
            "--enable-grpc-gateway=false",
            "--auto-compaction-mode=revision",
            "--auto-compaction-retention",
            "1000",
            "--watch-progress-notify-interval=2m",
            "--watch-progress-notify-interval=1m30s",
        ])
        .expect("all of these are known");
        let listen: Vec<&str> = settings.listen_client.iter().map(Url::address).collect();
        assert_eq!(listen, ["localhost:0", "127.0.0.1:4001"]);
        let (identity, members) = settings.bootstrap.found();
        let own = members.get(identity.member).expect("it is one of them");
        assert_eq!(own.peer_ur_ls, ["http://localhost:2380"]);
        let bound = ["127.0.0.1:4711".parse().expect("an address")];
        assert_eq!(settings.client_urls(&bound), ["http://localhost:4711"]);
        assert_eq!(settings.limits.progress_interval, Duration::from_secs(90));
    }

    #[test]
    fn what_cannot_be_obeyed_is_refused_by_name() {
        for (flags, named) in [
            (vec!["--initial-cluster=a=http://h:1,b=http://h:2"], "--initial-cluster"),
            (vec!["--listen-client-urls=https://h:1"], "--auto-tls"),
            (vec!["--listen-peer-urls=https://h:1"], "--peer-auto-tls"),
            (
                vec!["--peer-cert-file=x", "--peer-key-file=y", "--peer-client-cert-auth"],
                "--peer-trusted-ca-file",
            ),
            (
                vec!["--cert-file=x", "--key-file=y", "--client-cert-auth"],
                "--trusted-ca-file",
            ),
            (vec!["--tls-min-version=TLS1.1"], "--tls-min-version"),
            (vec!["--auth-token=magic"], "--auth-token"),
            (vec!["--listen-client-urls=localhost:1"], "--listen-client-urls"),
            (vec!["--initial-cluster-state=elsewhere"], "--initial-cluster-state"),
            (vec!["--cert-file=x"], "--cert-file"),
            (
                vec!["--watch-progress-notify-interval=soon"],
                "--watch-progress-notify-interval",
            ),
        ] {
            let refusal = settings(&flags).expect_err(named);
            assert!(refusal.contains(named), "{refusal}");
        }
    }
}
