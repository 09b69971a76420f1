//! What goes to and comes from each other member, under etcd's names for it.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts};

/// Figures by member. Their labels are looked up once a member, since frames are many.
pub(in crate::server) struct PeerTraffic {
    /// This member, as a label; known once its state is read.
    local: OnceLock<String>,
    pub(in crate::server) sent: IntCounterVec,
    pub(in crate::server) received: IntCounterVec,
    pub(in crate::server) active: IntGaugeVec,
    pub(in crate::server) disconnected: IntCounterVec,
    peers: Mutex<HashMap<u64, Figures>>,
}

#[derive(Clone)]
struct Figures {
    sent: IntCounter,
    received: IntCounter,
    active: IntGauge,
    disconnected: IntCounter,
}

impl PeerTraffic {
    pub(in crate::server) fn new() -> Result<Self, prometheus::Error> {
        let ends = ["Local", "Remote"];
        let options = |name: &str, help: &str| Opts::new(format!("etcd_network_{name}"), help);
        Ok(Self {
            local: OnceLock::new(),
            sent: IntCounterVec::new(
                options("peer_sent_bytes_total", "The total number of bytes sent to peers."),
                &["To"],
            )?,
            received: IntCounterVec::new(
                options(
                    "peer_received_bytes_total",
                    "The total number of bytes received from peers.",
                ),
                &["From"],
            )?,
            active: IntGaugeVec::new(
                options("active_peers", "The current number of active peer connections."),
                &ends,
            )?,
            disconnected: IntCounterVec::new(
                options("disconnected_peers_total", "The total number of disconnected peers."),
                &ends,
            )?,
            peers: Mutex::default(),
        })
    }

    /// Says whose figures these are, before there are any.
    pub(in crate::server) fn belong_to(&self, local: u64) {
        let _said_before = self.local.set(format!("{local:x}"));
    }

    fn of(&self, member: u64) -> Figures {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let figures = peers.entry(member).or_insert_with(|| {
            let remote = format!("{member:x}");
            let local = self.local.get().map_or("", String::as_str);
            let ends = [local, remote.as_str()];
            Figures {
                sent: self.sent.with_label_values(&[&remote]),
                received: self.received.with_label_values(&[&remote]),
                active: self.active.with_label_values(&ends),
                disconnected: self.disconnected.with_label_values(&ends),
            }
        });
        figures.clone()
    }

    pub(in crate::server) fn observe(&self, member: u64, sent: usize, received: usize) {
        let figures = self.of(member);
        figures.sent.inc_by(sent as u64);
        figures.received.inc_by(received as u64);
    }

    pub(in crate::server) fn connected(&self, member: u64) {
        self.of(member).active.set(1);
    }

    /// A stream broke, or was not there in the first place.
    pub(in crate::server) fn lost(&self, member: u64) {
        let figures = self.of(member);
        if figures.active.get() > 0 {
            figures.active.set(0);
            figures.disconnected.inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_stream_that_was_there_is_lost() {
        let traffic = PeerTraffic::new().expect("names are valid");
        traffic.belong_to(0xa);
        let ends = ["a", "b"];
        traffic.lost(0xb);
        assert_eq!(traffic.disconnected.with_label_values(&ends).get(), 0);
        traffic.connected(0xb);
        assert_eq!(traffic.active.with_label_values(&ends).get(), 1);
        traffic.lost(0xb);
        traffic.lost(0xb);
        assert_eq!(traffic.active.with_label_values(&ends).get(), 0);
        assert_eq!(traffic.disconnected.with_label_values(&ends).get(), 1);
        traffic.observe(0xb, 3, 0);
        traffic.observe(0xb, 4, 5);
        assert_eq!(traffic.sent.with_label_values(&["b"]).get(), 7);
        assert_eq!(traffic.received.with_label_values(&["b"]).get(), 5);
    }
}
