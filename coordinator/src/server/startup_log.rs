//! What the log says when a member starts and when it serves: in etcd's words where tools wait for them.

use crate::server::settings::flags::Settings;
use crate::server::settings::url::{Scheme, Url};
use crate::server::settings::version::ETCD_VERSION;

/// Flags that etcd announces to take away, and its sentence about each.
const DEPRECATED: &[(&str, &str)] = &[
    (
        "--max-snapshots",
        "--max-snapshots is deprecated in 3.6 and will be decommissioned in 3.8",
    ),
    (
        "--v2-deprecation",
        "--v2-deprecation is deprecated and scheduled for removal in v3.8. The default value is enforced, ignoring user input",
    ),
];

/// How it was told to be.
pub(in crate::server) fn starting(settings: &Settings) {
    for (_, sentence) in DEPRECATED
        .iter()
        .filter(|(flag, _)| settings.unused.iter().any(|given| given == flag))
    {
        tracing::warn!("{sentence}");
    }
    if !settings.unused.is_empty() {
        let flags = settings.unused.join(" ");
        tracing::info!(flags, "ignored flags: they have no effect in this implementation");
    }
    let limits = &settings.limits;
    tracing::info!(
        etcd_version = ETCD_VERSION,
        name = settings.name,
        "data-dir" = %settings.data_dir.display(),
        "heartbeat-interval" = settings.bootstrap.heartbeat_ms,
        "election-timeout" = settings.bootstrap.election_ms,
        "snapshot-catchup-entries" = limits.catch_up_entries,
        "quota-backend-bytes" = limits.quota_bytes,
        "max-request-bytes" = limits.request_bytes_max,
        "max-txn-ops" = limits.txn_operations_max,
        "strict-reconfig-check" = limits.changes.strict,
        "starting the coordinator"
    );
}

/// Where clients are served, and whether others can read along.
pub(in crate::server) fn serving(urls: &[Url]) {
    for url in urls {
        match url.scheme() {
            Scheme::Https | Scheme::Unixs => {
                tracing::info!(%url, traffic = "grpc+http", "serving client traffic securely");
            }
            Scheme::Http | Scheme::Unix => {
                tracing::info!(
                    %url,
                    traffic = "grpc+http",
                    "serving client traffic insecurely; this is strongly discouraged!"
                );
            }
        }
    }
}
