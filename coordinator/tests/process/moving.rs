//! Members that move to another address, and members that are removed.

use std::time::{Duration, Instant};

use coordinator_client::Client;
use coordinator_client::wire::etcdserverpb as pb;
use pb::cluster_client::ClusterClient;
use tonic::transport::Channel;

use crate::members::{Cluster, PATIENCE, eventually_local, free_port};

async fn id_of(cluster: &Cluster, number: usize) -> u64 {
    let status = cluster.members[number].status().await.expect("it serves");
    status.header.expect("a header").member_id
}

/// Tells the cluster, through this member, where another one is.
async fn tell(cluster: &Cluster, through: usize, id: u64, url: String) {
    let mut members = ClusterClient::new(cluster.members[through].channel().await);
    let peer_ur_ls = vec![url.clone()];
    let answer = members.member_update(pb::MemberUpdateRequest { id, peer_ur_ls }).await;
    let answer = answer.expect("updated").into_inner();
    let moved = answer.members.iter().find(|member| member.id == id);
    assert_eq!(moved.expect("it is still one").peer_ur_ls, [url]);
}

/// Nothing is committed without `needed`: the third member is away.
async fn takes_part(cluster: &mut Cluster, needed: usize, away: usize, key: &'static str) {
    cluster.members[away].kill();
    let other = 3 - needed - away;
    let client = Client::connect(&cluster.members[other].endpoint())
        .await
        .expect("it serves");
    let deadline = Instant::now() + PATIENCE;
    while client.put(key, "agreed").await.is_err() {
        assert!(
            Instant::now() < deadline,
            "it is not reached; {}",
            cluster.members[other].log()
        );
    }
    cluster.restart(away);
    for member in &cluster.members {
        eventually_local(member, key).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_moved_is_reached_at_its_new_address_and_so_is_one_that_moves_before_it_is_told() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader().await;
    let (moving, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let id = id_of(&cluster, moving).await;
    let left = cluster.members[moving].peer_url();

    // Told first: it is away meanwhile, and comes back elsewhere. What --initial-cluster says is of the past by then.
    cluster.members[moving].kill();
    cluster.members[moving].peer = free_port();
    tell(&cluster, leader, id, cluster.members[moving].peer_url()).await;
    cluster.restart(moving);
    takes_part(&mut cluster, moving, other, "told first").await;

    // Moved first: it reaches the others, who do not reach it before someone says where it is.
    cluster.members[moving].kill();
    cluster.members[moving].peer = free_port();
    cluster.spawn(moving);
    let through = cluster.leader().await;
    tell(&cluster, through, id, cluster.members[moving].peer_url()).await;
    cluster.members[moving].until_ready();
    takes_part(&mut cluster, moving, other, "moved first").await;
    let mut members = ClusterClient::new(cluster.members[moving].channel().await);
    let list = members.member_list(pb::MemberListRequest { linearizable: true }).await;
    let list = list.expect("answered").into_inner().members;
    assert!(list.iter().all(|member| !member.peer_ur_ls.contains(&left)), "{list:?}");
}

/// As in etcd, members count as healthy some seconds after they were first seen; so it is asked until then.
async fn remove(members: &mut ClusterClient<Channel>, id: u64) {
    let deadline = Instant::now() + PATIENCE;
    while let Err(refused) = members.member_remove(pb::MemberRemoveRequest { id }).await {
        assert_eq!(refused.message(), "etcdserver: unhealthy cluster");
        assert!(Instant::now() < deadline, "never healthy");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The leader's answer would come from one who is no member any more when it arrives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_can_be_removed_through_a_follower() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader().await;
    let id = id_of(&cluster, leader).await;
    let through = (leader + 1) % 3;
    remove(&mut ClusterClient::new(cluster.members[through].channel().await), id).await;
    let status = cluster.members[leader].until_ended().await;
    assert_eq!(status.code(), Some(1), "{}", cluster.members[leader].log());
    let client = Client::connect(&cluster.members[through].endpoint()).await;
    let client = client.expect("it serves");
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = client.put("after", "1").await {
        assert!(Instant::now() < deadline, "two agree: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_follower_ends_with_its_reason_does_not_start_again_and_the_others_go_on() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader().await;
    let removed = (leader + 1) % 3;
    let id = id_of(&cluster, removed).await;
    let mut members = ClusterClient::new(cluster.members[leader].channel().await);
    remove(&mut members, id).await;
    let status = cluster.members[removed].until_ended().await;
    assert_eq!(status.code(), Some(1), "{}", cluster.members[removed].log());
    let reason = format!("this member ({id:x}) was removed from the cluster");
    assert!(
        cluster.members[removed].log().contains(&reason),
        "{}",
        cluster.members[removed].log()
    );

    let logged = cluster.members[removed].log().len();
    cluster.spawn(removed);
    let status = cluster.members[removed].until_ended().await;
    assert_eq!(status.code(), Some(1), "{}", cluster.members[removed].log());
    assert!(
        cluster.members[removed].log()[logged..].contains(&reason),
        "{}",
        cluster.members[removed].log()
    );
    let client = Client::connect(&cluster.members[leader].endpoint())
        .await
        .expect("it serves");
    client.put("after", "1").await.expect("two agree");
    let again = members
        .member_remove(pb::MemberRemoveRequest { id })
        .await
        .expect_err("it is gone");
    assert_eq!(again.message(), "etcdserver: member not found");
}
