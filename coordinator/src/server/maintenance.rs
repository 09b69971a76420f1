//! The service Maintenance: status, and the list of alarms, of which there are none.

use std::sync::Arc;

use coordinator_wire::etcdserverpb as pb;
use pb::maintenance_server::Maintenance;
use tokio_stream::Empty;
use tonic::{Request, Response, Status};

use super::config::ETCD_VERSION;
use super::node::{Node, TERM};
use super::status::not_served;
use crate::auth::Access;

/// etcd names its storage by the release that changed it last.
const STORAGE_VERSION: &str = "3.6.0";

pub(super) struct MaintenanceService(pub(super) Arc<Node>);

#[tonic::async_trait]
impl Maintenance for MaintenanceService {
    async fn status(&self, request: Request<pb::StatusRequest>) -> Result<Response<pb::StatusResponse>, Status> {
        self.0.authorize(&request, Access::Somebody).await?;
        let (revision, applied) = {
            let machine = self.0.machine();
            (machine.store().revision(), machine.applied())
        };
        let response = pb::StatusResponse {
            header: Some(self.0.header(revision)),
            version: ETCD_VERSION.to_owned(),
            db_size: i64::try_from(self.0.space.bytes()).unwrap_or(i64::MAX),
            db_size_in_use: self.0.metrics.size_in_use(),
            leader: self.0.identity.member,
            raft_index: applied,
            raft_applied_index: applied,
            raft_term: TERM,
            errors: self.0.unhealthy().into_iter().collect(),
            storage_version: STORAGE_VERSION.to_owned(),
            ..Default::default()
        };
        self.0.metrics.answer("Maintenance", "Status", Ok(response))
    }

    async fn alarm(&self, request: Request<pb::AlarmRequest>) -> Result<Response<pb::AlarmResponse>, Status> {
        let access = match request.get_ref().action() {
            pb::alarm_request::AlarmAction::Get => Access::Somebody,
            _ => Access::Root,
        };
        self.0.authorize(&request, access).await?;
        match request.get_ref().action() {
            pb::alarm_request::AlarmAction::Get | pb::alarm_request::AlarmAction::Deactivate => {
                let revision = self.0.machine().store().revision();
                let response = pb::AlarmResponse {
                    header: Some(self.0.header(revision)),
                    alarms: Vec::new(),
                };
                self.0.metrics.answer("Maintenance", "Alarm", Ok(response))
            }
            pb::alarm_request::AlarmAction::Activate => Err(not_served("Alarm (activate)")),
        }
    }

    async fn defragment(
        &self,
        request: Request<pb::DefragmentRequest>,
    ) -> Result<Response<pb::DefragmentResponse>, Status> {
        self.0.authorize(&request, Access::Root).await?;
        Err(not_served("Defragment"))
    }

    async fn hash(&self, request: Request<pb::HashRequest>) -> Result<Response<pb::HashResponse>, Status> {
        self.0.authorize(&request, Access::Root).await?;
        Err(not_served("Hash"))
    }

    async fn hash_kv(&self, request: Request<pb::HashKvRequest>) -> Result<Response<pb::HashKvResponse>, Status> {
        self.0.authorize(&request, Access::Root).await?;
        Err(not_served("HashKV"))
    }

    type SnapshotStream = Empty<Result<pb::SnapshotResponse, Status>>;

    async fn snapshot(&self, request: Request<pb::SnapshotRequest>) -> Result<Response<Self::SnapshotStream>, Status> {
        self.0.authorize(&request, Access::Root).await?;
        Err(not_served("Snapshot"))
    }

    async fn move_leader(
        &self,
        request: Request<pb::MoveLeaderRequest>,
    ) -> Result<Response<pb::MoveLeaderResponse>, Status> {
        self.0.authorize(&request, Access::Root).await?;
        Err(not_served("MoveLeader"))
    }

    async fn downgrade(
        &self,
        request: Request<pb::DowngradeRequest>,
    ) -> Result<Response<pb::DowngradeResponse>, Status> {
        self.0.authorize(&request, Access::Root).await?;
        Err(not_served("Downgrade"))
    }
}
