//! The service Maintenance: status, alarms, hashes, defragmentation, snapshots.

use std::sync::Arc;

use coordinator_wire::etcdserverpb as pb;
use pb::maintenance_server::Maintenance;
use tonic::{Request, Response, Status};

use crate::Error;
use crate::auth::Access;
use crate::machine::{self, Outcome};
use crate::server::replica::node::Node;
use crate::server::service::downgrade;
use crate::server::service::snapshot::{self, Pieces};
use crate::server::settings::version::ETCD_VERSION;
use crate::server::storage::wake_up::WakeReason;
use crate::store::ArchiveError;

/// etcd names its storage by the release that changed it last.
const STORAGE_VERSION: &str = "3.6.0";

/// What an empty store takes; the JSON of zero would be nothing.
const HEADER_BYTES: i64 = 4_096;

pub(in crate::server) struct MaintenanceService {
    pub(in crate::server) node: Arc<Node>,
}

impl MaintenanceService {
    fn do_status(&self) -> pb::StatusResponse {
        let node = &self.node;
        let raft = node.raft().gauges();
        let (revision, applied, alarms) = {
            let machine = node.machine();
            let alarms = machine.alarms().list(pb::AlarmType::None);
            (machine.store().revision(), machine.applied(), alarms)
        };
        // As Go prints the message.
        let alarms = alarms.iter().map(|alarm| {
            let kind = alarm.alarm().as_str_name();
            format!("memberID:{} alarm:{kind} ", alarm.member_id)
        });
        pb::StatusResponse {
            header: Some(node.header(revision)),
            version: ETCD_VERSION.to_owned(),
            db_size: i64::try_from(node.space.bytes()).unwrap_or(i64::MAX),
            db_size_in_use: node.metrics.size_in_use().max(HEADER_BYTES),
            db_size_quota: i64::try_from(node.limits.quota_bytes).unwrap_or(i64::MAX),
            leader: raft.leader().unwrap_or(0),
            raft_index: raft.commit().max(applied),
            raft_applied_index: applied,
            raft_term: raft.term(),
            errors: alarms.chain(node.unhealthy()).collect(),
            storage_version: STORAGE_VERSION.to_owned(),
            downgrade_info: Some(downgrade::info(node)),
            is_learner: node.is_learner(),
        }
    }

    async fn do_alarm(&self, request: Request<pb::AlarmRequest>) -> Result<pb::AlarmResponse, Error> {
        let caller = self.node.caller(&request).await?;
        let request = machine::Request::Alarm(request.into_inner());
        let outcome = self.node.propose(caller, request).await?;
        let Outcome::Alarm(mut response) = outcome else {
            return Err(Error::Stopped);
        };
        let revision = response.header.map_or(0, |header| header.revision);
        response.header = Some(self.node.header(revision));
        Ok(response)
    }

    async fn do_hash(&self) -> Result<pb::HashResponse, Error> {
        let (content, revision) = snapshot::content(&self.node);
        let hash = tokio::task::spawn_blocking(move || snapshot::hash(&content)).await;
        Ok(pb::HashResponse {
            header: Some(self.node.header(revision)),
            hash: hash.map_err(|_ended| Error::Stopped)??,
        })
    }

    /// Asks the persister, which is the store file's one writer.
    async fn do_defragment(&self) -> Result<(), Error> {
        let outcome = self.node.defragmentation.want();
        self.node.persister_wake_up().wake(WakeReason::Requested);
        outcome
            .await
            .unwrap_or(Err(ArchiveError("the server ended".to_owned())))?;
        Ok(())
    }

    async fn do_hash_kv(&self, request: pb::HashKvRequest) -> Result<pb::HashKvResponse, Error> {
        let node = Arc::clone(&self.node);
        let hashed = tokio::task::spawn_blocking(move || snapshot::hash_keys(&node, request.revision)).await;
        let hashed = hashed.map_err(|_ended| Error::Stopped)??;
        Ok(pb::HashKvResponse {
            header: Some(self.node.header(hashed.current)),
            hash: hashed.hash,
            compact_revision: hashed.compacted,
            hash_revision: hashed.revision,
        })
    }
}

#[tonic::async_trait]
impl Maintenance for MaintenanceService {
    async fn status(&self, request: Request<pb::StatusRequest>) -> Result<Response<pb::StatusResponse>, Status> {
        self.node.authorize(&request, Access::Somebody).await?;
        self.node.metrics.answer("Maintenance", "Status", Ok(self.do_status()))
    }

    async fn alarm(&self, request: Request<pb::AlarmRequest>) -> Result<Response<pb::AlarmResponse>, Status> {
        self.node
            .metrics
            .answer("Maintenance", "Alarm", self.do_alarm(request).await)
    }

    async fn defragment(
        &self,
        request: Request<pb::DefragmentRequest>,
    ) -> Result<Response<pb::DefragmentResponse>, Status> {
        self.node.authorize(&request, Access::Root).await?;
        let outcome = self.do_defragment().await;
        let outcome = outcome.map(|()| pb::DefragmentResponse::default());
        self.node.metrics.answer("Maintenance", "Defragment", outcome)
    }

    async fn hash(&self, request: Request<pb::HashRequest>) -> Result<Response<pb::HashResponse>, Status> {
        self.node.authorize(&request, Access::Root).await?;
        self.node.metrics.answer("Maintenance", "Hash", self.do_hash().await)
    }

    async fn hash_kv(&self, request: Request<pb::HashKvRequest>) -> Result<Response<pb::HashKvResponse>, Status> {
        self.node.authorize(&request, Access::Root).await?;
        self.node
            .metrics
            .answer("Maintenance", "HashKV", self.do_hash_kv(request.into_inner()).await)
    }

    type SnapshotStream = Pieces;

    async fn snapshot(&self, request: Request<pb::SnapshotRequest>) -> Result<Response<Self::SnapshotStream>, Status> {
        self.node.authorize(&request, Access::Root).await?;
        let (content, _revision) = snapshot::content(&self.node);
        let running = self
            .node
            .metrics
            .running("server_stream", "etcdserverpb.Maintenance", "Snapshot");
        Ok(Response::new(snapshot::send(content, running)))
    }

    async fn move_leader(
        &self,
        request: Request<pb::MoveLeaderRequest>,
    ) -> Result<Response<pb::MoveLeaderResponse>, Status> {
        self.node.authorize(&request, Access::Root).await?;
        let moved = self.node.move_leader(request.get_ref().target_id).await;
        // etcd's answer to this call has no header.
        let response = moved.map(|()| pb::MoveLeaderResponse { header: None });
        self.node.metrics.answer("Maintenance", "MoveLeader", response)
    }

    async fn downgrade(
        &self,
        request: Request<pb::DowngradeRequest>,
    ) -> Result<Response<pb::DowngradeResponse>, Status> {
        self.node.authorize(&request, Access::Root).await?;
        let outcome = match downgrade::answer(&self.node, request.get_ref()).await {
            Some(outcome) => outcome,
            None => return Err(Status::unknown("etcdserver: unknown method")),
        };
        self.node.metrics.answer("Maintenance", "Downgrade", outcome)
    }
}
