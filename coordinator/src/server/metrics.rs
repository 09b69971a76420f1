//! Figures for `/metrics`, under etcd's names where dashboards use them.

use std::collections::BTreeMap;
use std::sync::Arc;

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramTimer, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};
use tonic::{Code, Response, Status};

use crate::Error;
use crate::server::replica::peer_traffic::PeerTraffic;
use crate::server::settings::version::ETCD_VERSION;
use crate::server::settings::version::release_line;
use crate::store::Version;

/// Seconds, doubling from 1 ms, as etcd has them.
const FSYNC_BUCKETS: (f64, f64, usize) = (0.001, 2.0, 14);

/// Calls that are counted once per request of a busy client: looking their counter up by four labels would cost more than
/// some of them do.
const BUSY_CALLS: [(&str, &str); 4] = [("KV", "Range"), ("KV", "Put"), ("KV", "Txn"), ("KV", "DeleteRange")];

/// All figures. Those that are known elsewhere are read there when someone asks ([`Metrics::refresh`]).
pub(in crate::server) struct Metrics {
    pub(in crate::server) registry: Registry,
    pub(in crate::server) ranges: IntCounter,
    pub(in crate::server) puts: IntCounter,
    pub(in crate::server) deletes: IntCounter,
    pub(in crate::server) txns: IntCounter,
    pub(in crate::server) events: IntCounter,
    pub(in crate::server) watchers: IntGauge,
    pub(in crate::server) slow_watchers: IntGauge,
    pub(in crate::server) watch_streams: IntGauge,
    pub(in crate::server) lease_granted: IntCounter,
    pub(in crate::server) lease_revoked: IntCounter,
    pub(in crate::server) lease_renewed: IntCounter,
    pub(in crate::server) lease_expired: IntCounter,
    pub(in crate::server) log_sync: Histogram,
    pub(in crate::server) backend_commit: Histogram,
    pub(in crate::server) health_success: IntCounter,
    pub(in crate::server) health_failures: IntCounter,
    pub(in crate::server) healthcheck: IntGaugeVec,
    pub(in crate::server) healthchecks: IntCounterVec,
    pub(in crate::server) handled: IntCounterVec,
    /// How long unary calls take; shown with `--metrics=extensive`.
    pub(in crate::server) handling: Option<HandlingTime>,
    /// Calls by the API version that clients name.
    pub(in crate::server) client_requests: IntCounterVec,
    pub(in crate::server) has_leader: IntGauge,
    pub(in crate::server) is_leader: IntGauge,
    pub(in crate::server) is_learner: IntGauge,
    pub(in crate::server) leader_changes: IntGauge,
    /// Streaming calls under way; not shown, but part of what has started.
    pub(in crate::server) running: IntGaugeVec,
    pub(in crate::server) started: IntCounterVec,
    pub(in crate::server) peers: PeerTraffic,
    pub(in crate::server) proposals_failed: IntCounter,
    pub(in crate::server) received_bytes: IntCounter,
    pub(in crate::server) sent_bytes: IntCounter,
    /// Entries that took longer to apply than is expected.
    pub(in crate::server) slow_applies: IntCounter,
    pub(in crate::server) defragmentation: Histogram,
    pub(in crate::server) known_peers: IntGaugeVec,
    pub(in crate::server) quota: IntGauge,
    /// Of [`BUSY_CALLS`], in the same order, those that succeeded.
    pub(in crate::server) busy: [IntCounter; BUSY_CALLS.len()],
    pub(in crate::server) keys: IntGauge,
    pub(in crate::server) revision: IntGauge,
    pub(in crate::server) compacted: IntGauge,
    pub(in crate::server) pending: IntGauge,
    pub(in crate::server) committed: IntGauge,
    pub(in crate::server) applied_index: IntGauge,
    pub(in crate::server) size: IntGauge,
    pub(in crate::server) size_in_use: IntGauge,
    pub(in crate::server) log_groups: IntGauge,
    pub(in crate::server) log_bytes: IntGauge,
    pub(in crate::server) put_bytes: IntCounter,
    pub(in crate::server) auth_revision: IntGauge,
    pub(in crate::server) defragmentations: IntGauge,
    pub(in crate::server) server_id: IntGaugeVec,
    pub(in crate::server) open_files: IntGauge,
    pub(in crate::server) open_files_max: IntGauge,
    pub(in crate::server) reads_failed: IntCounter,
    /// Linearizable reads that took longer than [`crate::server::replica::propose`] expects.
    pub(in crate::server) slow_reads: IntCounter,
    pub(in crate::server) promotions: IntCounter,
}

/// Registers what cannot fail to be registered.
struct Register<'a>(&'a Registry);

impl Register<'_> {
    fn add<C: Collector + Clone + 'static>(&self, collector: Result<C, prometheus::Error>) -> C {
        let collector = collector.expect("names and labels are valid");
        self.0
            .register(Box::new(collector.clone()))
            .expect("each name is registered once");
        collector
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.add(IntCounter::new(name, help))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.add(IntGauge::new(name, help))
    }

    fn seconds(&self, name: &str, help: &str) -> Histogram {
        let (start, factor, count) = FSYNC_BUCKETS;
        let buckets = prometheus::exponential_buckets(start, factor, count).expect("the buckets ascend");
        self.add(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets)))
    }

    /// A gauge that says something by its label and is always 1.
    fn said(&self, name: &str, help: &str, label: &str, value: &str) {
        let gauge = self.add(IntGaugeVec::new(Opts::new(name, help), &[label]));
        gauge.with_label_values(&[value]).set(1);
    }
}

impl Metrics {
    /// `extensive` metrics are those of `--metrics=extensive`.
    pub(in crate::server) fn new(extensive: bool) -> Self {
        let registry = Registry::new();
        let register = Register(&registry);
        register.said(
            "etcd_server_version",
            "Which version is running.",
            "server_version",
            ETCD_VERSION,
        );
        register.said(
            "etcd_cluster_version",
            "Which version the cluster runs.",
            "cluster_version",
            &release_line(),
        );
        let handled = register.add(IntCounterVec::new(
            Opts::new(
                "grpc_server_handled_total",
                "Total number of RPCs completed on the server, regardless of success or failure.",
            ),
            &["grpc_type", "grpc_service", "grpc_method", "grpc_code"],
        ));
        let busy = BUSY_CALLS
            .map(|(service, method)| counter_of(&handled, &format!("etcdserverpb.{service}"), method, Code::Ok));
        let running = IntGaugeVec::new(
            Opts::new("grpc_server_running", "Number of streaming RPCs in progress."),
            &["grpc_type", "grpc_service", "grpc_method"],
        )
        .expect("names and labels are valid");
        let started = IntCounterVec::new(
            Opts::new(
                "grpc_server_started_total",
                "Total number of RPCs started on the server.",
            ),
            &["grpc_type", "grpc_service", "grpc_method"],
        );
        let healthcheck = IntGaugeVec::new(
            Opts::new("etcd_server_healthcheck", "The result of each kind of healthcheck."),
            &["type", "name"],
        );
        let healthchecks = IntCounterVec::new(
            Opts::new(
                "etcd_server_healthchecks_total",
                "The total number of each kind of healthcheck.",
            ),
            &["type", "name", "status"],
        );
        let handling = HistogramVec::new(
            HistogramOpts::new(
                "grpc_server_handling_seconds",
                "Histogram of response latency (seconds) of gRPC that had been application-level handled by the server.",
            ),
            &["grpc_type", "grpc_service", "grpc_method"],
        );
        let handling = extensive.then(|| HandlingTime(register.add(handling)));
        let peers = PeerTraffic::new().expect("names and labels are valid");
        register.add(Ok(peers.sent.clone()));
        register.add(Ok(peers.received.clone()));
        register.add(Ok(peers.active.clone()));
        register.add(Ok(peers.disconnected.clone()));
        Self {
            busy,
            peers,
            proposals_failed: register.counter(
                "etcd_server_proposals_failed_total",
                "The total number of failed proposals seen.",
            ),
            health_success: register.counter(
                "etcd_server_health_success",
                "The total number of successful health checks.",
            ),
            health_failures: register.counter(
                "etcd_server_health_failures",
                "The total number of failed health checks.",
            ),
            healthcheck: register.add(healthcheck),
            healthchecks: register.add(healthchecks),
            ranges: register.counter("etcd_mvcc_range_total", "Total number of ranges seen by this member."),
            puts: register.counter("etcd_mvcc_put_total", "Total number of puts seen by this member."),
            deletes: register.counter("etcd_mvcc_delete_total", "Total number of deletes seen by this member."),
            txns: register.counter("etcd_mvcc_txn_total", "Total number of txns seen by this member."),
            events: register.counter(
                "etcd_debugging_mvcc_events_total",
                "Total number of events sent by this member.",
            ),
            watchers: register.gauge("etcd_debugging_mvcc_watcher_total", "Total number of watchers."),
            slow_watchers: register.gauge(
                "etcd_debugging_mvcc_slow_watcher_total",
                "Total number of unsynced slow watchers.",
            ),
            watch_streams: register.gauge(
                "etcd_debugging_mvcc_watch_stream_total",
                "Total number of watch streams.",
            ),
            lease_granted: register.counter(
                "etcd_debugging_lease_granted_total",
                "The total number of granted leases.",
            ),
            lease_revoked: register.counter(
                "etcd_debugging_lease_revoked_total",
                "The total number of revoked leases.",
            ),
            lease_renewed: register.counter(
                "etcd_debugging_lease_renewed_total",
                "The number of renewed leases seen by the leader.",
            ),
            lease_expired: register.counter(
                "etcd_debugging_server_lease_expired_total",
                "The total number of expired leases.",
            ),
            log_sync: register.seconds(
                "etcd_disk_wal_fsync_duration_seconds",
                "The latency distributions of fsync called by WAL.",
            ),
            backend_commit: register.seconds(
                "etcd_disk_backend_commit_duration_seconds",
                "The latency distributions of commit called by backend.",
            ),
            handled,
            handling,
            client_requests: register.add(IntCounterVec::new(
                Opts::new(
                    "etcd_server_client_requests_total",
                    "The total number of client requests per client version.",
                ),
                &["type", "client_api_version"],
            )),
            has_leader: register.gauge(
                "etcd_server_has_leader",
                "Whether or not a leader exists. 1 is existence, 0 is not.",
            ),
            is_leader: register.gauge(
                "etcd_server_is_leader",
                "Whether or not this member is a leader. 1 if is, 0 otherwise.",
            ),
            is_learner: register.gauge(
                "etcd_server_is_learner",
                "Whether or not this member is a learner. 1 if is, 0 otherwise.",
            ),
            leader_changes: register.gauge(
                "etcd_server_leader_changes_seen_total",
                "The number of leader changes seen.",
            ),
            running,
            started: register.add(started),
            received_bytes: register.counter(
                "etcd_network_client_grpc_received_bytes_total",
                "The total number of bytes received from grpc clients.",
            ),
            sent_bytes: register.counter(
                "etcd_network_client_grpc_sent_bytes_total",
                "The total number of bytes sent to grpc clients.",
            ),
            slow_applies: register.counter(
                "etcd_server_slow_apply_total",
                "The total number of slow apply requests (likely overloaded from slow disk).",
            ),
            defragmentation: register.seconds(
                "etcd_disk_backend_defrag_duration_seconds",
                "The latency distribution of backend defragmentation.",
            ),
            known_peers: register.add(IntGaugeVec::new(
                Opts::new("etcd_network_known_peers", "The current number of known peers."),
                &["Local", "Remote"],
            )),
            quota: register.gauge(
                "etcd_server_quota_backend_bytes",
                "Current backend storage quota size in bytes.",
            ),
            keys: register.gauge("etcd_debugging_mvcc_keys_total", "Total number of keys."),
            revision: register.gauge("etcd_debugging_mvcc_current_revision", "The current revision of store."),
            compacted: register.gauge(
                "etcd_debugging_mvcc_compact_revision",
                "The revision of the last compaction in store.",
            ),
            pending: register.gauge(
                "etcd_server_proposals_pending",
                "The current number of pending proposals to commit.",
            ),
            committed: register.gauge(
                "etcd_server_proposals_committed_total",
                "The total number of consensus proposals committed.",
            ),
            applied_index: register.gauge(
                "etcd_server_proposals_applied_total",
                "The total number of consensus proposals applied.",
            ),
            size: register.gauge(
                "etcd_mvcc_db_total_size_in_bytes",
                "Total size of the underlying database physically allocated in bytes.",
            ),
            size_in_use: register.gauge(
                "etcd_mvcc_db_total_size_in_use_in_bytes",
                "Total size of the underlying database logically in use in bytes.",
            ),
            log_bytes: register.gauge(
                "etcd_disk_wal_write_bytes_total",
                "Total number of bytes written in WAL.",
            ),
            put_bytes: register.counter(
                "etcd_debugging_mvcc_total_put_size_in_bytes",
                "The total size of put kv pairs seen by this member.",
            ),
            auth_revision: register.gauge("etcd_debugging_auth_revision", "The current revision of auth store."),
            defragmentations: register.gauge(
                "etcd_disk_defrag_inflight",
                "Whether or not defrag is active on the member.",
            ),
            server_id: register.add(IntGaugeVec::new(
                Opts::new(
                    "etcd_server_id",
                    "Server or member ID in hexadecimal format. 1 for 'server_id' label with current ID.",
                ),
                &["server_id"],
            )),
            open_files: register.gauge("os_fd_used", "The number of used file descriptors."),
            open_files_max: register.gauge("os_fd_limit", "The file descriptor limit."),
            reads_failed: register.counter(
                "etcd_server_read_indexes_failed_total",
                "The total number of failed read indexes seen.",
            ),
            slow_reads: register.counter(
                "etcd_server_slow_read_indexes_total",
                "The total number of pending read indexes not in sync with leader's or timed out read index requests.",
            ),
            promotions: register.counter(
                "etcd_server_learner_promote_successes",
                "The total number of successful learner promotions while this member is leader.",
            ),
            log_groups: register.gauge(
                "coordinator_log_groups_total",
                "The total number of group commits (one write and one fsync) of the WAL.",
            ),
            registry,
        }
    }

    pub(in crate::server) fn registry(&self) -> Registry {
        self.registry.clone()
    }

    /// Counts the changes of one entry that was applied.
    pub(in crate::server) fn applied(&self, changes: &[Arc<Version>]) {
        let deleted = changes.iter().filter(|version| version.deleted).count();
        self.deletes.inc_by(deleted as u64);
        self.puts.inc_by((changes.len() - deleted) as u64);
        let puts = changes.iter().filter(|version| !version.deleted);
        let bytes: usize = puts.map(|version| version.kv.key.len() + version.kv.value.len()).sum();
        self.put_bytes.inc_by(bytes as u64);
    }

    pub(in crate::server) fn set_size_in_use(&self, bytes: u64) {
        self.size_in_use.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub(in crate::server) fn size_in_use(&self) -> i64 {
        self.size_in_use.get()
    }

    /// Counts one of the checks behind `/livez` and `/readyz`.
    pub(in crate::server) fn checked(&self, page: &str, name: &str, ok: bool) {
        let status = if ok { "success" } else { "error" };
        self.healthcheck.with_label_values(&[page, name]).set(i64::from(ok));
        self.healthchecks.with_label_values(&[page, name, status]).inc();
    }

    /// Counts a call by its outcome, and makes the outcome gRPC's.
    pub(in crate::server) fn answer<T>(
        &self,
        service: &str,
        method: &str,
        outcome: Result<T, Error>,
    ) -> Result<Response<T>, Status> {
        let outcome = outcome.map_err(Status::from);
        let busy = BUSY_CALLS.iter().position(|call| *call == (service, method));
        if let Some(call) = busy
            && outcome.is_ok()
        {
            self.busy[call].inc();
            return outcome.map(Response::new);
        }
        self.handled(&format!("etcdserverpb.{service}"), method, outcome)
    }

    /// The same for the services of other packages, named in full.
    pub(in crate::server) fn handled<T>(
        &self,
        service: &str,
        method: &str,
        outcome: Result<T, Status>,
    ) -> Result<Response<T>, Status> {
        let outcome = outcome.map(Response::new);
        let code = outcome.as_ref().err().map_or(Code::Ok, Status::code);
        counter_of(&self.handled, service, method, code).inc();
        outcome
    }

    /// Counts a streaming call for as long as what is returned lives.
    pub(in crate::server) fn running(
        &self,
        kind: &'static str,
        service: &'static str,
        method: &'static str,
    ) -> Running {
        let running = Running {
            handled: self.handled.clone(),
            running: self.running.clone(),
            labels: [kind, service, method],
            end: Code::Cancelled,
        };
        running.running.with_label_values(&running.labels).inc();
        running
    }

    /// What has begun is what has ended and what is under way; of calls with one answer the latter are few and short.
    pub(in crate::server) fn count_started(&self) {
        let mut started: BTreeMap<[String; 3], u64> = BTreeMap::new();
        for family in self.handled.collect().iter().chain(&self.running.collect()) {
            for metric in family.get_metric() {
                let label = |name: &str| {
                    let found = metric.get_label().iter().find(|label| label.name() == name);
                    found.map_or(String::new(), |label| label.value().to_owned())
                };
                let labels = [label("grpc_type"), label("grpc_service"), label("grpc_method")];
                let count = metric.get_counter().get_value() + metric.get_gauge().get_value();
                *started.entry(labels).or_default() += count as u64;
            }
        }
        for ([kind, service, method], count) in started {
            let counter = self.started.with_label_values(&[&kind, &service, &method]);
            counter.inc_by(count.saturating_sub(counter.get()));
        }
    }
}

/// How long unary calls take, by method.
pub(in crate::server) struct HandlingTime(HistogramVec);

impl HandlingTime {
    /// Measures a call of a path as gRPC has it, such as `/etcdserverpb.KV/Range`. The path must be one that is served:
    /// each is a histogram of its own.
    pub(in crate::server) fn start(&self, path: &str) -> HistogramTimer {
        let path = path.trim_start_matches('/');
        let (service, method) = path.split_once('/').unwrap_or((path, ""));
        self.0.with_label_values(&["unary", service, method]).start_timer()
    }
}

/// A call that goes on for a while: counted as under way, and as handled at its end.
#[derive(Debug)]
pub(in crate::server) struct Running {
    handled: IntCounterVec,
    running: IntGaugeVec,
    labels: [&'static str; 3],
    end: Code,
}

impl Running {
    /// How it ends, if not by the client that goes away.
    pub(in crate::server) fn ends(&mut self, end: Code) {
        self.end = end;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let [kind, service, method] = self.labels;
        let end = code_name(self.end);
        self.handled.with_label_values(&[kind, service, method, end]).inc();
        self.running.with_label_values(&self.labels).dec();
    }
}

fn counter_of(handled: &IntCounterVec, service: &str, method: &str, code: Code) -> IntCounter {
    handled.with_label_values(&["unary", service, method, code_name(code)])
}

/// As Go's gRPC prints codes.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}
