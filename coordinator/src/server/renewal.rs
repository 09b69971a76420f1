//! Leases where the leader is: whoever else is asked asks there.

use std::sync::Arc;

use coordinator_wire::coordinatorpb::peer_call::Call;
use coordinator_wire::coordinatorpb::{LeaseCheckpoint, LeaseCheckpoints, PeerAnswer};
use coordinator_wire::etcdserverpb as pb;

use super::node::Node;
use crate::Error;
use crate::machine::Request;

/// What the leader answers of a lease that it does not know.
const UNKNOWN: i64 = -1;

impl Node {
    /// Renews a lease; returns its seconds, 0 where there is nothing to renew.
    pub(super) async fn renew(self: &Arc<Self>, id: i64) -> Result<i64, Error> {
        let here = self.renew_here(id).await;
        let answer = match here {
            Err(Error::NotLeader) => self.ask_leader(Call::Renew(pb::LeaseKeepAliveRequest { id })).await?,
            here => here?,
        };
        Ok(answer.seconds)
    }

    /// As [`Node::renew`], where this member leads.
    pub(super) async fn renew_here(&self, id: i64) -> Result<PeerAnswer, Error> {
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
        let seconds = seconds.filter(|seconds| deadlines.renew(id, *seconds, self.now_ms()));
        Ok(PeerAnswer {
            seconds: seconds.unwrap_or(0),
            ..Default::default()
        })
    }

    /// The seconds that a lease has left, and those granted; none if there is no such lease.
    pub(super) async fn time_to_live(
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
    pub(super) fn time_to_live_here(&self, id: i64) -> Result<PeerAnswer, Error> {
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
