//! The service Cluster: who the members are. So far there is one.

use std::sync::Arc;

use coordinator_wire::etcdserverpb as pb;
use pb::cluster_server::Cluster;
use tonic::{Request, Response, Status};

use super::node::Node;
use super::status::not_served;
use crate::auth::Access;

pub(super) struct ClusterService {
    pub(super) node: Arc<Node>,
    /// This member as it is shown to others.
    pub(super) member: pb::Member,
}

#[tonic::async_trait]
impl Cluster for ClusterService {
    async fn member_list(
        &self,
        request: Request<pb::MemberListRequest>,
    ) -> Result<Response<pb::MemberListResponse>, Status> {
        self.node.authorize(&request, Access::Somebody).await?;
        // etcd leaves the revision out here.
        let response = pb::MemberListResponse {
            header: Some(self.node.header(0)),
            members: vec![self.member.clone()],
        };
        self.node.metrics.answer("Cluster", "MemberList", Ok(response))
    }

    async fn member_add(
        &self,
        request: Request<pb::MemberAddRequest>,
    ) -> Result<Response<pb::MemberAddResponse>, Status> {
        self.node.authorize(&request, Access::Root).await?;
        Err(not_served("MemberAdd"))
    }

    async fn member_remove(
        &self,
        request: Request<pb::MemberRemoveRequest>,
    ) -> Result<Response<pb::MemberRemoveResponse>, Status> {
        self.node.authorize(&request, Access::Root).await?;
        Err(not_served("MemberRemove"))
    }

    async fn member_update(
        &self,
        request: Request<pb::MemberUpdateRequest>,
    ) -> Result<Response<pb::MemberUpdateResponse>, Status> {
        self.node.authorize(&request, Access::Root).await?;
        Err(not_served("MemberUpdate"))
    }

    async fn member_promote(
        &self,
        request: Request<pb::MemberPromoteRequest>,
    ) -> Result<Response<pb::MemberPromoteResponse>, Status> {
        self.node.authorize(&request, Access::Root).await?;
        Err(not_served("MemberPromote"))
    }
}
