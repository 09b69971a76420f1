//! Proposals, linearizable reads (ReadIndex), and requests that only the leader can carry out.
//!
//! While there is no leader a request is not refused: it waits for the next leader until the request timeout, as in etcd. A
//! proposal whose outcome is unknown is never retried here: a write that is applied twice is worse than one that the client
//! has to check.

use std::sync::Arc;
use std::time::Duration;

use coordinator_wire::coordinatorpb::peer_call::Call;
use coordinator_wire::coordinatorpb::{Entry, MemberChange, PeerAnswer, PeerCall};
use prost::Message;
use raft::consensus::{self, Refusal};
use raft::node::{ProposalError, is_transient};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::Error;
use crate::machine::Outcome;
use crate::server::replica::node::Node;
use crate::server::replica::peers;
use crate::server::replica::refusal::{refusal, refusal_of};
use crate::server::replica::work::Waiting;

/// How often is tried what found no leader, or one that is just beginning.
const RETRY_INTERVAL: Duration = Duration::from_millis(10);
/// A linearizable read that takes longer is counted, as etcd counts one that it asks for again.
const SLOW_READ: Duration = Duration::from_millis(500);
/// How long a member that ends waits for another to lead.
const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(2);

impl Node {
    fn deadline(&self) -> Instant {
        Instant::now() + self.limits.request_timeout
    }

    /// Has an entry committed and applied.
    pub(in crate::server) async fn propose_entry(&self, entry: Entry) -> Result<Outcome, Error> {
        let payload: bytes::Bytes = entry.encode_to_vec().into();
        let deadline = self.deadline();
        let failed = |error: Error| {
            self.metrics.proposals_failed.inc();
            Err(error)
        };
        let mut entry = entry;
        loop {
            let (respond, answer) = oneshot::channel();
            let waiting = Waiting::Request {
                caller: entry.caller.take().unwrap_or_default(),
                request: entry.request.take().ok_or(Error::Stopped)?,
                only_in_term: entry.only_in_term,
                respond,
            };
            let why = match self.raft().propose(payload.clone(), waiting) {
                Err((_, why)) => why,
                Ok(()) => match timeout_at(deadline, answer).await {
                    Ok(Ok(Ok(outcome))) => return outcome,
                    Ok(Ok(Err(why))) => why,
                    Ok(Err(_ended)) => return Err(Error::Stopped),
                    Err(_late) => return failed(Error::Timeout),
                },
            };
            let again = is_transient(&why) || why == ProposalError::Replaced;
            if !again || Instant::now() >= deadline {
                return failed(refusal(&why));
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
            // Rare, so it is decoded again instead of being copied each time.
            entry = Entry::decode(payload.clone()).map_err(|_| Error::Stopped)?;
        }
    }

    /// Resolves when the machine holds everything that was acknowledged anywhere before the call: what is read after it is
    /// linearizable. At once on a member that is alone, where nothing is acknowledged before it is applied.
    pub(in crate::server) async fn linearizable_read(&self) -> Result<(), Error> {
        let begun = Instant::now();
        let outcome = self.read_index().await;
        if outcome.is_err() {
            self.metrics.reads_failed.inc();
        }
        if begun.elapsed() > SLOW_READ {
            self.metrics.slow_reads.inc();
        }
        outcome
    }

    async fn read_index(&self) -> Result<(), Error> {
        if self.is_learner() {
            return Err(Error::NotSupportedForLearner);
        }
        if self.raft().gauges().is_alone() {
            return match self.failures().borrow().is_some() {
                true => Err(Error::Stopped),
                false => Ok(()),
            };
        }
        let deadline = self.deadline();
        loop {
            let (reader, answer) = oneshot::channel();
            self.raft().read(reader);
            let why = match timeout_at(deadline, answer).await {
                // A member that joins learns what it is by the entries that the read waited for.
                Ok(Ok(Ok(()))) if self.is_learner() => return Err(Error::NotSupportedForLearner),
                Ok(Ok(Ok(()))) => return Ok(()),
                Ok(Ok(Err(why))) => why,
                Ok(Err(_ended)) => return Err(Error::Stopped),
                Err(_late) => return Err(Error::Timeout),
            };
            // A read may be tried as often as one likes; each attempt is a new one to consensus.
            let again = is_transient(&why) || matches!(why, ProposalError::Refused(Refusal::OutcomeUnknown));
            if !again || Instant::now() >= deadline {
                return Err(refusal(&why));
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }

    /// Waits until this member has applied entry `index`.
    pub(in crate::server) async fn applied(&self, index: u64) -> Result<(), Error> {
        let mut applied = self.applied_indexes();
        match timeout_at(self.deadline(), applied.wait_for(|applied| *applied >= index)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_ended)) => Err(Error::Stopped),
            Err(_late) => Err(Error::TimeoutAppliedIndex),
        }
    }

    /// Proposes a change of members here; the index of its entry once it is applied.
    pub(in crate::server) async fn change_members(
        &self,
        change: consensus::MemberChange,
        told: &MemberChange,
    ) -> Result<Result<u64, ProposalError>, Error> {
        let (respond, answer) = oneshot::channel();
        let context = told.encode_to_vec().into();
        self.raft().change_members(change, context, Waiting::Change(respond));
        match timeout_at(self.deadline(), answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_ended)) => Err(Error::Stopped),
            Err(_late) => Err(Error::Timeout),
        }
    }

    /// Has something done that only the leader can do, here or there.
    pub(in crate::server) async fn ask_leader(self: &Arc<Self>, call: Call) -> Result<PeerAnswer, Error> {
        let deadline = self.deadline();
        let body: bytes::Bytes = PeerCall {
            call: Some(call.clone()),
        }
        .encode_to_vec()
        .into();
        loop {
            let leader = *self.leaders().borrow();
            let outcome = match leader {
                Some(leader) if leader == self.identity.member => peers::answer(self, call.clone()).await,
                Some(leader) => self.call(leader, body.clone(), deadline).await,
                None => Err(Error::NoLeader),
            };
            match outcome {
                Err(Error::NotLeader | Error::NoLeader) if Instant::now() < deadline => {
                    tokio::time::sleep(RETRY_INTERVAL).await;
                }
                Err(Error::NotLeader) => return Err(Error::Timeout),
                outcome => return outcome,
            }
        }
    }

    async fn call(&self, leader: u64, body: bytes::Bytes, deadline: Instant) -> Result<PeerAnswer, Error> {
        if !self.transport.is_connected(leader) {
            return Err(Error::NoLeader);
        }
        let answer = self.transport.call(leader, body, deadline - Instant::now()).await;
        let answer = answer.ok_or(Error::TimeoutConnectionLost)?;
        let answer = PeerAnswer::decode(answer).map_err(|_| Error::NotCapable)?;
        match answer.refusal.as_str() {
            "" => Ok(answer),
            text => Err(refusal_of(text)),
        }
    }

    /// Hands leadership to `to`, which must be a voter, and waits until it leads.
    pub(in crate::server) async fn move_leader(&self, to: u64) -> Result<(), Error> {
        if !self.raft().gauges().is_leader() {
            return Err(Error::NotLeader);
        }
        let is_voter = self.machine().members().voters().any(|member| member.id == to);
        if !is_voter {
            return Err(Error::BadLeaderTransferee);
        }
        if to == self.identity.member {
            return Ok(());
        }
        let mut leaders = self.leaders();
        let (respond, refused) = oneshot::channel();
        self.raft().transfer_leadership(to, Waiting::Change(respond));
        let deadline = self.deadline();
        let moved = leaders.wait_for(|leader| *leader == Some(to));
        tokio::select! {
            moved = timeout_at(deadline, moved) => match moved {
                Ok(Ok(_)) => {
                    tracing::info!(to = format!("{to:x}"), "leadership transfer finished");
                    Ok(())
                }
                Ok(Err(_)) => Err(Error::Stopped),
                Err(_) => Err(Error::Timeout),
            },
            Ok(Err(why)) = refused => Err(refusal(&why)),
        }
    }

    /// A leader that ends hands over, so that the others need not find out that it is gone.
    pub(in crate::server) async fn hand_over_leadership(&self) {
        if !self.raft().gauges().is_leader() || self.raft().gauges().is_alone() {
            return;
        }
        let own = self.identity.member;
        let to = {
            let machine = self.machine();
            let others = machine.members().voters().map(|member| member.id);
            others
                .filter(|id| *id != own && self.transport.active_since(*id).is_some())
                .min()
        };
        if let Some(to) = to {
            let _given_up = tokio::time::timeout(HAND_OVER_TIMEOUT, self.move_leader(to)).await;
        }
    }

    /// This member is not one any more.
    pub(in crate::server) fn fail_as_removed(&self) {
        self.fail(format!(
            "this member ({:x}) was removed from the cluster {:x}: delete its data directory; to join again, add it as a new \
             member",
            self.identity.member, self.identity.cluster
        ));
    }
}
