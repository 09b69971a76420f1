//! Which etcd this program is for its clients.

/// The release of etcd whose API this program speaks.
pub(in crate::server) const ETCD_VERSION: &str = "3.6.16";

/// The release that all members understand: the first of this line.
pub(in crate::server) fn cluster_version() -> String {
    format!("{}.0", release_line())
}

/// MAJOR.MINOR.
pub(in crate::server) fn release_line() -> String {
    let line: Vec<&str> = ETCD_VERSION.splitn(3, '.').take(2).collect();
    line.join(".")
}
