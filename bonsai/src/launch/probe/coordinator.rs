use coordinator_client::wire::etcdserverpb::StatusRequest;
use coordinator_client::wire::etcdserverpb::maintenance_client::MaintenanceClient;

use super::{Facts, channel};

pub const CALL: &str = "etcd's Maintenance/Status";

pub async fn ask(address: &str) -> Result<Facts, String> {
    let mut client = MaintenanceClient::new(channel(address).await?);
    let answer = client.status(StatusRequest {}).await;
    let answer = answer.map_err(|status| status.message().to_owned())?.into_inner();
    let header = answer.header.unwrap_or_default();
    let role = match answer.leader {
        0 => "no leader",
        leader if leader == header.member_id => "leader",
        _ if answer.is_learner => "learner",
        _ => "follower",
    };
    let mut facts = Facts::default()
        .with("version", answer.version)
        .with("member_id", format!("{:x}", header.member_id))
        .with("role", role)
        .with("revision", header.revision)
        .with("raft_term", answer.raft_term)
        .with("raft_index", answer.raft_index)
        .with("raft_applied_index", answer.raft_applied_index)
        .with("db_size_bytes", answer.db_size)
        .summary(format!("{role}, revision {}", header.revision));
    if answer.leader == 0 {
        facts.problem =
            Some("the cluster has no leader: without a majority of its members it takes no writes".to_owned());
    } else if !answer.errors.is_empty() {
        facts.problem = Some(answer.errors.join("; "));
    }
    Ok(facts)
}
