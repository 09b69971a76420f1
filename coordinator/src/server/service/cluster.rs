//! The service Cluster: who the members are, and how that changes.
//!
//! A change is decided where the leader is, because it knows who is in touch; other members forward it and answer once they
//! have applied it themselves.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use coordinator_wire::coordinatorpb::member_change::Change;
use coordinator_wire::coordinatorpb::peer_call::Call;
use coordinator_wire::coordinatorpb::{MemberChange, PeerAnswer};
use coordinator_wire::etcdserverpb as pb;
use pb::cluster_server::Cluster;
use raft::consensus::{self, ChangeError, Refusal};
use raft::node::{ProposalError, address_of};
use tonic::{Request, Response, Status};

use crate::Error;
use crate::auth::Access;
use crate::members::{Health, member_id};
use crate::server::replica::node::Node;

/// How long a member must have been in touch to count for a change, as in etcd.
const STEADY: Duration = Duration::from_secs(5);
/// How often a change is tried that must wait for another one, or for the leader's first entry.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);

pub(in crate::server) struct ClusterService {
    pub(in crate::server) node: Arc<Node>,
}

fn health(node: &Node) -> Health {
    let now = Instant::now();
    let own = node.identity.member;
    let (mut steady, mut active) = (BTreeSet::from([own]), BTreeSet::from([own]));
    for member in node.machine().members().iter() {
        if let Some(since) = node.transport.active_since(member.id) {
            active.insert(member.id);
            if now - since >= STEADY {
                steady.insert(member.id);
            }
        }
    }
    Health { own, steady, active }
}

/// Adds a member. At the leader.
pub(in crate::server) async fn add(node: &Node, request: pb::MemberAddRequest) -> Result<PeerAnswer, Error> {
    check_urls(&request.peer_ur_ls)?;
    let seconds = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let member = pb::Member {
        id: member_id(&request.peer_ur_ls, "", Some(seconds)),
        peer_ur_ls: request.peer_ur_ls,
        is_learner: request.is_learner,
        ..Default::default()
    };
    let rules = &node.limits.changes;
    if rules.strict {
        let health = health(node);
        node.machine().members().may_add(member.is_learner, &health)?;
    }
    node.machine().members().check_add(&member, rules.learners_max)?;
    let id = member.id;
    let change = if member.is_learner {
        consensus::MemberChange::AddLearner(id)
    } else {
        consensus::MemberChange::AddVoter(id)
    };
    let applied = change_members(node, change, Change::Add(member)).await?;
    Ok(PeerAnswer {
        applied,
        member: id,
        ..Default::default()
    })
}

/// Makes a learner vote. At the leader.
pub(in crate::server) async fn promote(node: &Node, id: u64) -> Result<PeerAnswer, Error> {
    let wise = node.machine().members().may_promote(id);
    match wise {
        Err(Error::MemberNotEnoughStarted) if !node.limits.changes.strict => {}
        other => other?,
    }
    let applied = change_members(node, consensus::MemberChange::Promote(id), Change::Promote(id)).await?;
    node.metrics.promotions.inc();
    Ok(PeerAnswer {
        applied,
        member: id,
        ..Default::default()
    })
}

/// Removes a member. At the leader.
pub(in crate::server) async fn remove(node: &Node, id: u64) -> Result<PeerAnswer, Error> {
    let health = health(node);
    let wise = node.machine().members().may_remove(id, &health);
    match wise {
        Err(Error::MemberNotEnoughStarted | Error::Unhealthy) if !node.limits.changes.strict => {}
        other => other?,
    }
    let applied = change_members(node, consensus::MemberChange::Remove(id), Change::Remove(id)).await?;
    Ok(PeerAnswer {
        applied,
        member: id,
        ..Default::default()
    })
}

/// Gives a member other peer URLs. At the leader.
pub(in crate::server) async fn update(node: &Node, request: pb::MemberUpdateRequest) -> Result<PeerAnswer, Error> {
    check_urls(&request.peer_ur_ls)?;
    {
        let machine = node.machine();
        if machine.members().get(request.id).is_none() {
            return Err(Error::MemberNotFound);
        }
        if machine.members().is_taken(&request.peer_ur_ls, request.id) {
            return Err(Error::PeerUrlExists);
        }
    }
    let id = request.id;
    let member = pb::Member {
        id,
        peer_ur_ls: request.peer_ur_ls,
        ..Default::default()
    };
    let applied = change_members(node, consensus::MemberChange::Update(id), Change::Update(member)).await?;
    Ok(PeerAnswer {
        applied,
        member: id,
        ..Default::default()
    })
}

/// Has a change committed and applied here.
async fn change_members(node: &Node, change: consensus::MemberChange, told: Change) -> Result<u64, Error> {
    let told = MemberChange { change: Some(told) };
    let deadline = Instant::now() + node.limits.request_timeout;
    loop {
        let why = match node.change_members(change, &told).await? {
            Ok(index) => return Ok(index),
            Err(why) => why,
        };
        let may_retry = matches!(
            why,
            ProposalError::Refused(Refusal::ChangePending | Refusal::NotReady | Refusal::Transferring)
        );
        if !may_retry || Instant::now() >= deadline {
            return Err(refusal(&why));
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}

fn refusal(why: &ProposalError) -> Error {
    match why {
        ProposalError::Refused(Refusal::LearnerBehind) => Error::LearnerNotReady,
        ProposalError::Refused(Refusal::BadChange(why)) => match why {
            ChangeError::Exists => Error::MemberExists,
            ChangeError::Unknown | ChangeError::NoId => Error::MemberNotFound,
            ChangeError::NotLearner => Error::MemberNotLearner,
            ChangeError::LastVoter => Error::MemberNotEnoughStarted,
            ChangeError::TooMany => Error::TooManyLearners,
        },
        ProposalError::Refused(Refusal::NotLeader { .. } | Refusal::NoLeader) => Error::NotLeader,
        ProposalError::Refused(Refusal::ChangePending | Refusal::NotReady) => Error::Unhealthy,
        ProposalError::NoSpace => Error::NoSpace,
        ProposalError::Stopped(_) => Error::Stopped,
        _ => Error::Timeout,
    }
}

/// etcd takes URLs with a scheme, a host and a port, and nothing behind it; and sockets in the file system.
fn check_urls(urls: &[String]) -> Result<(), Error> {
    let is_good = |url: &String| {
        let Some((scheme, rest)) = url.split_once("://") else {
            return false;
        };
        if matches!(scheme, "unix" | "unixs") {
            return !rest.is_empty() && !rest.contains('\0');
        }
        let port = rest.rsplit_once(':').filter(|(host, _)| !host.is_empty());
        matches!(scheme, "http" | "https")
            && address_of(url) == rest
            && port.is_some_and(|(_, port)| port.parse::<u16>().is_ok())
    };
    if urls.is_empty() || !urls.iter().all(is_good) {
        return Err(Error::MemberBadUrls);
    }
    Ok(())
}

impl ClusterService {
    /// Has a change done by the leader, then waits until this member knows of it too.
    async fn change(&self, call: Call) -> Result<(u64, Vec<pb::Member>), Error> {
        let leaves = self.leaving_leader(&call);
        let answer = tokio::select! {
            answer = self.node.ask_leader(call) => answer?,
            removed = self.gone(leaves) => removed,
        };
        self.node.applied(answer.applied).await?;
        Ok((answer.member, self.node.machine().members().list()))
    }

    /// The leader, if it is what the call removes.
    fn leaving_leader(&self, call: &Call) -> Option<u64> {
        let leader = self.node.raft().gauges().leader();
        match call {
            Call::Remove(request) => leader.filter(|leader| *leader == request.id),
            _ => None,
        }
    }

    /// Waits until a leader that is being removed is gone. Members that know of its removal do not listen to it any more,
    /// not even to its answer.
    async fn gone(&self, leader: Option<u64>) -> PeerAnswer {
        let Some(leader) = leader else {
            return std::future::pending().await;
        };
        loop {
            {
                let machine = self.node.machine();
                if machine.members().get(leader).is_none() {
                    return PeerAnswer {
                        applied: machine.applied(),
                        member: leader,
                        ..Default::default()
                    };
                }
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }

    fn header(&self) -> Option<pb::ResponseHeader> {
        // etcd leaves the revision out here.
        Some(self.node.header(0))
    }
}

#[tonic::async_trait]
impl Cluster for ClusterService {
    async fn member_list(
        &self,
        request: Request<pb::MemberListRequest>,
    ) -> Result<Response<pb::MemberListResponse>, Status> {
        self.node.authorize(&request, Access::Somebody).await?;
        if request.get_ref().linearizable {
            self.node.linearizable_read().await?;
        }
        let response = pb::MemberListResponse {
            header: self.header(),
            members: self.node.machine().members().list(),
        };
        self.node.metrics.answer("Cluster", "MemberList", Ok(response))
    }

    async fn member_add(
        &self,
        request: Request<pb::MemberAddRequest>,
    ) -> Result<Response<pb::MemberAddResponse>, Status> {
        self.node.authorize(&request, Access::Root).await?;
        let changed = self.change(Call::Add(request.into_inner())).await;
        let response = changed.map(|(id, members)| pb::MemberAddResponse {
            header: self.header(),
            member: members.iter().find(|member| member.id == id).cloned(),
            members,
        });
        self.node.metrics.answer("Cluster", "MemberAdd", response)
    }

    async fn member_remove(
        &self,
        request: Request<pb::MemberRemoveRequest>,
    ) -> Result<Response<pb::MemberRemoveResponse>, Status> {
        self.node.authorize(&request, Access::Root).await?;
        let changed = self.change(Call::Remove(request.into_inner())).await;
        let response = changed.map(|(_, members)| pb::MemberRemoveResponse {
            header: self.header(),
            members,
        });
        self.node.metrics.answer("Cluster", "MemberRemove", response)
    }

    async fn member_update(
        &self,
        request: Request<pb::MemberUpdateRequest>,
    ) -> Result<Response<pb::MemberUpdateResponse>, Status> {
        self.node.authorize(&request, Access::Root).await?;
        let changed = self.change(Call::Update(request.into_inner())).await;
        let response = changed.map(|(_, members)| pb::MemberUpdateResponse {
            header: self.header(),
            members,
        });
        self.node.metrics.answer("Cluster", "MemberUpdate", response)
    }

    async fn member_promote(
        &self,
        request: Request<pb::MemberPromoteRequest>,
    ) -> Result<Response<pb::MemberPromoteResponse>, Status> {
        self.node.authorize(&request, Access::Root).await?;
        let changed = self.change(Call::Promote(request.into_inner())).await;
        let response = changed.map(|(_, members)| pb::MemberPromoteResponse {
            header: self.header(),
            members,
        });
        self.node.metrics.answer("Cluster", "MemberPromote", response)
    }
}
