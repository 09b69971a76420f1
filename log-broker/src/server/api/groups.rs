//! The group calls: from the wire to the coordinator and back.

use std::sync::Arc;

use log_broker_wire::ErrorCode;
use log_broker_wire::frame::RequestHeader;
use log_broker_wire::messages::delete_groups::{DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse};
use log_broker_wire::messages::describe_groups::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};
use log_broker_wire::messages::find_coordinator::{Coordinator, FindCoordinatorRequest, FindCoordinatorResponse};
use log_broker_wire::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use log_broker_wire::messages::join_group::{JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember};
use log_broker_wire::messages::leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberResponse};
use log_broker_wire::messages::list_groups::{ListGroupsRequest, ListGroupsResponse, ListedGroup};
use log_broker_wire::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};

use super::super::broker::Broker;
use super::super::dispatch::Client;
use crate::group::{Identity, Join, Joined, Sync, Synced};

/// FindCoordinator takes several keys from this version on.
const SEVERAL_KEYS: i16 = 4;
/// JoinGroup tells a new member its id first, from this version on.
const TAKES_MEMBER_ID: i16 = 4;
/// JoinGroup can tell a leader not to assign, from this version on.
const CAN_SKIP_ASSIGNMENT: i16 = 9;
/// LeaveGroup names several members from this version on.
const SEVERAL_MEMBERS: i16 = 3;

/// DescribeGroups has an error for groups that do not exist from this version on (KIP-1043).
const NAMES_MISSING_GROUPS: i16 = 6;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

pub(in super::super) async fn find(
    broker: &Arc<Broker>,
    request: FindCoordinatorRequest,
    version: i16,
    client: &Client,
) -> FindCoordinatorResponse {
    let error = (!matches!(request.key_type, GROUP | TRANSACTION))
        .then(|| "only groups and transactions are coordinated".to_owned());
    let (host, port) = broker.advertised_to(client);
    let found = |key: String| match &error {
        None if broker.groups.check(broker, &key).is_err() => Coordinator {
            key,
            node_id: -1,
            port: -1,
            error_code: ErrorCode::COORDINATOR_NOT_AVAILABLE.0,
            ..Default::default()
        },
        None => Coordinator {
            key,
            node_id: broker.node_id,
            host: host.clone(),
            port: i32::from(port),
            ..Default::default()
        },
        Some(message) => Coordinator {
            key,
            node_id: -1,
            port: -1,
            error_code: ErrorCode::INVALID_REQUEST.0,
            error_message: Some(message.clone()),
            ..Default::default()
        },
    };
    if version >= SEVERAL_KEYS {
        let coordinators = request.coordinator_keys.into_iter().map(found).collect();
        return FindCoordinatorResponse {
            coordinators,
            ..Default::default()
        };
    }
    let found = found(request.key);
    FindCoordinatorResponse {
        error_code: found.error_code,
        error_message: found.error_message,
        node_id: found.node_id,
        host: found.host,
        port: found.port,
        ..Default::default()
    }
}

pub(in super::super) async fn join(
    broker: &Arc<Broker>,
    request: JoinGroupRequest,
    header: &RequestHeader,
    client: &Client,
) -> JoinGroupResponse {
    let join = Join {
        group: request.group_id,
        member_id: request.member_id,
        instance_id: request.group_instance_id,
        client_id: header.client_id.clone().unwrap_or_default(),
        client_host: format!("/{}", client.host),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: request.rebalance_timeout_ms,
        protocol_type: request.protocol_type,
        protocols: request
            .protocols
            .into_iter()
            .map(|protocol| (protocol.name, protocol.metadata))
            .collect(),
        takes_member_id: header.version >= TAKES_MEMBER_ID,
        can_skip_assignment: header.version >= CAN_SKIP_ASSIGNMENT,
    };
    let joined = match broker.groups.check(broker, &join.group) {
        Ok(()) => broker.groups.join(join).await,
        Err(error) => Joined::refused(error, join.member_id),
    };
    let members = joined
        .members
        .into_iter()
        .map(|(member_id, group_instance_id, metadata)| JoinGroupResponseMember {
            member_id,
            group_instance_id,
            metadata,
        });
    JoinGroupResponse {
        error_code: joined.error.0,
        generation_id: joined.generation,
        protocol_type: joined.protocol_type,
        protocol_name: joined.protocol,
        leader: joined.leader,
        skip_assignment: joined.skip_assignment,
        member_id: joined.member_id,
        members: members.collect(),
        ..Default::default()
    }
}

pub(in super::super) async fn sync(broker: &Arc<Broker>, request: SyncGroupRequest) -> SyncGroupResponse {
    let sync = Sync {
        group: request.group_id,
        member: Identity {
            member_id: request.member_id,
            instance_id: request.group_instance_id,
            generation: request.generation_id,
        },
        protocol_type: request.protocol_type,
        protocol: request.protocol_name,
        assignments: request
            .assignments
            .into_iter()
            .map(|given| (given.member_id, given.assignment))
            .collect(),
    };
    let synced = match broker.groups.check(broker, &sync.group) {
        Ok(()) => broker.groups.sync(sync).await,
        Err(error) => Synced::refused(error),
    };
    SyncGroupResponse {
        error_code: synced.error.0,
        protocol_type: synced.protocol_type,
        protocol_name: synced.protocol,
        assignment: synced.assignment,
        ..Default::default()
    }
}

pub(in super::super) async fn heartbeat(broker: &Arc<Broker>, request: HeartbeatRequest) -> HeartbeatResponse {
    let member = Identity {
        member_id: request.member_id,
        instance_id: request.group_instance_id,
        generation: request.generation_id,
    };
    let error = broker.groups.heartbeat(&request.group_id, &member);
    HeartbeatResponse {
        error_code: error.0,
        ..Default::default()
    }
}

pub(in super::super) async fn leave(
    broker: &Arc<Broker>,
    request: LeaveGroupRequest,
    version: i16,
) -> LeaveGroupResponse {
    if version < SEVERAL_MEMBERS {
        let error = broker.groups.leave(&request.group_id, &request.member_id, None);
        return LeaveGroupResponse {
            error_code: error.0,
            ..Default::default()
        };
    }
    let members = request.members.into_iter().map(|member| {
        let instance = member.group_instance_id.as_deref();
        let error = broker.groups.leave(&request.group_id, &member.member_id, instance);
        MemberResponse {
            member_id: member.member_id,
            group_instance_id: member.group_instance_id,
            error_code: error.0,
        }
    });
    LeaveGroupResponse {
        members: members.collect(),
        ..Default::default()
    }
}

pub(in super::super) async fn describe(
    broker: &Arc<Broker>,
    request: DescribeGroupsRequest,
    version: i16,
) -> DescribeGroupsResponse {
    let describe = |group_id: String| {
        if let Err(error) = broker.groups.check(broker, &group_id) {
            return DescribedGroup {
                error_code: error.0,
                group_id,
                ..Default::default()
            };
        }
        let Some(group) = broker.groups.describe(&group_id) else {
            let is_known = broker.groups.has_offsets(&group_id);
            let is_missing = !is_known && version >= NAMES_MISSING_GROUPS;
            return DescribedGroup {
                error_code: if is_missing {
                    ErrorCode::GROUP_ID_NOT_FOUND.0
                } else {
                    ErrorCode::NONE.0
                },
                error_message: is_missing.then(|| format!("Group {group_id} not found.")),
                group_id,
                group_state: if is_known { "Empty" } else { "Dead" }.to_owned(),
                ..Default::default()
            };
        };
        let members = group.members.into_iter().map(|member| DescribedGroupMember {
            member_id: member.member_id,
            group_instance_id: member.instance_id,
            client_id: member.client_id,
            client_host: member.client_host,
            member_metadata: member.metadata,
            member_assignment: member.assignment,
        });
        DescribedGroup {
            group_id,
            group_state: group.state.to_owned(),
            protocol_type: group.protocol_type,
            protocol_data: group.protocol,
            members: members.collect(),
            ..Default::default()
        }
    };
    DescribeGroupsResponse {
        groups: request.groups.into_iter().map(describe).collect(),
        ..Default::default()
    }
}

pub(in super::super) async fn list(broker: &Arc<Broker>, request: ListGroupsRequest) -> ListGroupsResponse {
    let wanted = |filter: &[String], value: &str| {
        filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(value))
    };
    let groups = broker
        .groups
        .list()
        .into_iter()
        .map(|(group_id, protocol_type, state)| ListedGroup {
            group_id,
            protocol_type,
            group_state: state.to_owned(),
            group_type: "classic".to_owned(),
        });
    let groups = groups.filter(|group| {
        wanted(&request.states_filter, &group.group_state) && wanted(&request.types_filter, &group.group_type)
    });
    ListGroupsResponse {
        groups: groups.collect(),
        ..Default::default()
    }
}

pub(in super::super) async fn delete(broker: &Arc<Broker>, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let mut results = Vec::with_capacity(request.groups_names.len());
    for group_id in request.groups_names {
        let deleted = if group_id.is_empty() {
            Err(ErrorCode::INVALID_GROUP_ID)
        } else {
            match broker.groups.check(broker, &group_id) {
                Ok(()) => broker.groups.delete_group(&group_id).await,
                Err(error) => Err(error),
            }
        };
        let error = deleted.err().unwrap_or(ErrorCode::NONE);
        results.push(DeletableGroupResult {
            group_id,
            error_code: error.0,
        });
    }
    DeleteGroupsResponse {
        results,
        ..Default::default()
    }
}
