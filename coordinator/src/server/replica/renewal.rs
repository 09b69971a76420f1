//! Lease keep-alives: other members forward them to the leader.
//!
//! A renewal is a promise that is not in the log, so only the leader, whose clock counts, may make it. One that was
//! stopped for a while may believe that it leads while another one does; so a leader makes no promise unless a majority
//! said half an election timeout ago or less that it leads, since no one else is elected before a whole one is over. And
//! the time begins when the renewal arrived, however long the answer takes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use coordinator_wire::coordinatorpb::peer_call::Call;
use coordinator_wire::coordinatorpb::{LeaseCheckpoint, LeaseCheckpoints, PeerAnswer};
use coordinator_wire::etcdserverpb as pb;

use crate::Error;
use crate::machine::Request;
use crate::server::replica::node::Node;

/// What the leader answers of a lease that it does not know.
const UNKNOWN: i64 = -1;

impl Node {
    /// Renews a lease; returns its seconds, 0 where there is nothing to renew.
    pub(in crate::server) async fn renew(self: &Arc<Self>, id: i64) -> Result<i64, Error> {
        let here = self.renew_here(id).await;
        let answer = match here {
            Err(Error::NotLeader) => self.ask_leader(Call::Renew(pb::LeaseKeepAliveRequest { id })).await?,
            here => here?,
        };
        Ok(answer.seconds)
    }

    /// As [`Node::renew`], where this member leads.
    pub(in crate::server) async fn renew_here(&self, id: i64) -> Result<PeerAnswer, Error> {
        let arrived = self.now_ms();
        self.confirm_leading(arrived).await?;
        // What a lease had left before this is not noted after it.
        let _undisturbed = self.checkpointing.read().await;
        let lease = {
            let machine = self.machine();
            let lease = machine.leases().get(id);
            lease.map(|lease| (lease.ttl_seconds, lease.remaining_seconds))
        };
        if let Some((ttl_seconds, remaining_seconds)) = lease
            && remaining_seconds < ttl_seconds
            && self.deadlines().is_leading()
        {
            // What was noted before counts no more; else a new leader would end it early.
            let checkpoints = vec![LeaseCheckpoint { id, remaining_ttl: 0 }];
            self.propose_as_leader(Request::LeaseCheckpoints(LeaseCheckpoints { checkpoints }))
                .await?;
        }
        let mut deadlines = self.deadlines();
        if !deadlines.is_leading() {
            return Err(Error::NotLeader);
        }
        let seconds = lease.map(|(ttl_seconds, _)| ttl_seconds);
        let seconds = seconds.filter(|seconds| deadlines.renew(id, *seconds, arrived));
        Ok(PeerAnswer {
            seconds: seconds.unwrap_or(0),
            ..Default::default()
        })
    }

    /// Whether this member led at a moment that is not before `now` by more than half an election timeout.
    async fn confirm_leading(&self, now: u64) -> Result<(), Error> {
        if !self.deadlines().is_leading() {
            return Err(Error::NotLeader);
        }
        let gauges = self.raft().gauges();
        let recently = u64::try_from(self.limits.election.as_millis() / 2).unwrap_or(u64::MAX);
        if gauges.is_alone() || now.saturating_sub(self.led_at.load(Ordering::Relaxed)) < recently {
            return Ok(());
        }
        let term = gauges.term();
        let led = gauges.is_leader();
        self.linearizable_read().await?;
        // Another leader may have answered it.
        if !led || !gauges.is_leader() || gauges.term() != term {
            return Err(Error::NotLeader);
        }
        self.led_at.fetch_max(now, Ordering::Relaxed);
        Ok(())
    }

    /// The seconds that a lease has left, and those granted; none if there is no such lease.
    pub(in crate::server) async fn time_to_live(
        self: &Arc<Self>,
        request: pb::LeaseTimeToLiveRequest,
    ) -> Result<Option<(i64, i64)>, Error> {
        let answer = match self.time_to_live_here(request.id) {
            Err(Error::NotLeader) => self.ask_leader(Call::TimeToLive(request)).await?,
            here => here?,
        };
        Ok((answer.seconds != UNKNOWN).then_some((answer.seconds, answer.granted_seconds)))
    }

    /// As [`Node::time_to_live`], where this member leads.
    pub(in crate::server) fn time_to_live_here(&self, id: i64) -> Result<PeerAnswer, Error> {
        let machine = self.machine();
        let deadlines = self.deadlines();
        if !deadlines.is_leading() {
            return Err(Error::NotLeader);
        }
        let left = deadlines.remaining_ms(id, self.now_ms());
        let (seconds, granted_seconds) = match (machine.leases().get(id), left) {
            (Some(lease), Some(left)) => (i64::try_from(left / 1000).unwrap_or(i64::MAX), lease.ttl_seconds),
            _ => (UNKNOWN, 0),
        };
        Ok(PeerAnswer {
            seconds,
            granted_seconds,
            ..Default::default()
        })
    }
}
