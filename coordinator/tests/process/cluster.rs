//! Three members as processes of their own: killed, stopped, added, promoted, removed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use coordinator_client::wire::etcdserverpb as pb;
use coordinator_client::{Client, PutOptions};
use pb::cluster_client::ClusterClient;
use pb::kv_client::KvClient;
use pb::lease_client::LeaseClient;
use pb::maintenance_client::MaintenanceClient;

use testing::Signal;

use crate::gateway::figures;
use crate::members::{Cluster, Member, PATIENCE, PATIENT, eventually_local, local};

/// Writes numbered keys through all members until told to stop; what was acknowledged, and when.
fn writer(
    client: Client,
    name: &'static str,
    stop: Arc<AtomicBool>,
) -> tokio::task::JoinHandle<Vec<(String, Instant)>> {
    tokio::spawn(async move {
        let mut acknowledged = Vec::new();
        for number in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let key = format!("w/{name}/{number:06}");
            if client.put(key.clone(), key.clone()).await.is_ok() {
                acknowledged.push((key, Instant::now()));
            }
        }
        acknowledged
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_members_serve_as_one() {
    let cluster = Cluster::start(3);
    let leader = cluster.leader().await;
    let client = cluster.client().await;
    client.put("a", "1").await.expect("acknowledged");
    // Each member takes writes and reads what was written through any other.
    for (number, member) in cluster.members.iter().enumerate() {
        let through = Client::connect(&member.endpoint()).await.expect("it serves");
        for (key, value) in [("a", "1"), ("b", "2")] {
            let key = format!("{key}{number}");
            through.put(key.clone(), value).await.expect("acknowledged");
            for other in &cluster.members {
                let other = Client::connect(&other.endpoint()).await.expect("it serves");
                let found = other
                    .get(key.clone())
                    .await
                    .expect("read")
                    .expect("a linearizable read finds it");
                assert_eq!(found.value.as_ref(), value.as_bytes());
            }
        }
    }
    // Leases: granted at one, renewed and looked at through the others.
    let follower = (leader + 1) % 3;
    let mut through = LeaseClient::new(cluster.members[follower].channel().await);
    let granted = through
        .lease_grant(pb::LeaseGrantRequest { ttl: 60, id: 0 })
        .await
        .expect("granted")
        .into_inner();
    let left = through
        .lease_time_to_live(pb::LeaseTimeToLiveRequest {
            id: granted.id,
            keys: false,
        })
        .await
        .expect("answered")
        .into_inner();
    assert!(left.ttl > 50 && left.granted_ttl == 60, "{left:?}");
    let through = Client::connect(&cluster.members[follower].endpoint())
        .await
        .expect("it serves");
    assert_eq!(through.lease_keep_alive_once(granted.id).await.expect("kept"), 60);
    // All say the same of the cluster, each with its own name and addresses.
    let mut lists = BTreeSet::new();
    for member in &cluster.members {
        let mut members = ClusterClient::new(member.channel().await);
        let answer = members.member_list(pb::MemberListRequest { linearizable: true }).await;
        let answer = answer.expect("answered").into_inner();
        let names: Vec<_> = answer.members.iter().map(|member| member.name.clone()).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), 3, "{names:?}");
        assert!(answer.members.iter().all(|member| member.client_ur_ls.len() == 1));
        lists.insert(format!("{:?}", answer.members));
    }
    assert_eq!(lists.len(), 1);
    // And each says what goes between them.
    for (number, member) in cluster.members.iter().enumerate() {
        let figures = figures(&member.endpoint()).await;
        let of = |name: &str| -> Vec<u64> {
            let lines = figures.lines().filter(|line| line.starts_with(&format!("{name}{{")));
            let numbers = lines.filter_map(|line| line.rsplit_once(' ')?.1.parse().ok());
            numbers.collect()
        };
        assert_eq!(of("etcd_network_active_peers"), [1, 1]);
        for name in [
            "etcd_network_peer_sent_bytes_total",
            "etcd_network_peer_received_bytes_total",
        ] {
            // Followers have nothing to say to each other.
            let (silent, said) = (usize::from(number != leader), of(name));
            assert_eq!(said.len(), 2, "{name}: {figures}");
            assert!(
                said.iter().filter(|bytes| **bytes == 0).count() <= silent,
                "{name}: {figures}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_is_killed_and_writes_go_on() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader().await;
    let stop = Arc::new(AtomicBool::new(false));
    // One client each on the members that stay, so that none of them has to notice a dead connection first.
    let mut writers = Vec::new();
    for (name, number) in [("one", (leader + 1) % 3), ("two", (leader + 2) % 3)] {
        let client = Client::connect(&cluster.members[number].endpoint())
            .await
            .expect("it serves");
        writers.push(writer(client, name, Arc::clone(&stop)));
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    let killed = Instant::now();
    cluster.members[leader].kill();
    let next = cluster.leader().await;
    assert_ne!(next, leader);
    tokio::time::sleep(Duration::from_secs(1)).await;
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.extend(writer.await.expect("no panic"));
    }
    let first_after = acknowledged.iter().map(|(_, at)| *at).filter(|at| *at > killed).min();
    let gap = first_after.expect("writes go on") - killed;
    println!("first acknowledged write {gap:?} after the leader's death");
    assert!(gap < Duration::from_secs(6), "{gap:?}");
    // Nothing acknowledged is lost, and the one that was killed has it all again.
    cluster.restart(leader);
    let keys = acknowledged.iter().map(|(key, _)| key.as_str());
    cluster.members[leader].holds("w/", keys).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_was_stopped_comes_back_as_a_follower_and_reads_nothing_stale() {
    let cluster = Cluster::start(3);
    let client = cluster.client().await;
    client.put("k", "old").await.expect("acknowledged");
    let leader = cluster.leader().await;
    cluster.members[leader].signal(Signal::STOP);
    let others: Vec<_> = (0..3).filter(|number| *number != leader).collect();
    let endpoints: Vec<_> = others
        .iter()
        .map(|number| cluster.members[*number].endpoint())
        .collect();
    let client = Client::connect(&endpoints.join(",")).await.expect("two are enough");
    let deadline = Instant::now() + PATIENCE;
    while client.put("k", "new").await.is_err() {
        assert!(Instant::now() < deadline, "two of three must go on");
    }
    // Asked while it still believes that it leads: its answer must be the new value, or none.
    let stale = cluster.members[leader].endpoint();
    let asking = tokio::spawn(async move {
        let client = Client::lazy(&stale).expect("an address");
        client.get("k").await
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    cluster.members[leader].signal(Signal::CONT);
    let found = asking
        .await
        .expect("no panic")
        .expect("it answers in the end")
        .expect("it is there");
    assert_eq!(found.value.as_ref(), b"new");
    assert_ne!(cluster.leader().await, leader, "another leads");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_majority_nothing_is_acknowledged_and_local_reads_go_on() {
    let mut cluster = Cluster::start(3);
    cluster.client().await.put("k", "v").await.expect("acknowledged");
    for member in &cluster.members {
        eventually_local(member, "k").await;
    }
    cluster.members[1].kill();
    cluster.members[2].kill();
    assert_eq!(local(&cluster.members[0], "k").await.as_deref(), Some(&b"v"[..]));
    let mut kv = KvClient::new(cluster.members[0].channel().await);
    let put = kv.put(pb::PutRequest {
        key: "k".into(),
        value: "lost".into(),
        ..Default::default()
    });
    let answer = tokio::time::timeout(Duration::from_secs(2), put).await;
    assert!(
        !matches!(answer, Ok(Ok(_))),
        "one of three cannot acknowledge: {answer:?}"
    );
    for number in [1, 2] {
        let initial = cluster.initial.clone();
        cluster.members[number].spawn(&initial, "new", &[]);
    }
    cluster.members[1].until_ready();
    cluster
        .client()
        .await
        .put("after", "1")
        .await
        .expect("a majority is there again");
}

/// As people do with etcd: a member is added, and started when it was said that it is one. Until then the first has no
/// majority any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_grows_from_one_member_to_three_that_are_started_after_they_were_added() {
    let mut cluster = Cluster::start(1);
    cluster.client().await.put("k/0", "").await.expect("acknowledged");
    for number in 1..3 {
        let name = format!("m{number}");
        let mut joining = Member::new(cluster.directory.path(), &name);
        let mut through = ClusterClient::new(cluster.members[0].channel().await);
        let request = || pb::MemberAddRequest {
            peer_ur_ls: vec![joining.peer_url()],
            is_learner: false,
        };
        let deadline = Instant::now() + PATIENCE;
        let added = loop {
            match through.member_add(request()).await {
                Ok(added) => break added.into_inner(),
                // Soon after an election, or after the last one was added.
                Err(refused) if Instant::now() < deadline => {
                    assert_eq!(refused.message(), "etcdserver: unhealthy cluster");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(refused) => panic!("{refused}"),
            }
        };
        assert_eq!(added.members.len(), number + 1);
        cluster.initial = format!("{},{name}={}", cluster.initial, joining.peer_url());
        joining.spawn(&cluster.initial, "existing", &[]);
        joining.until_ready();
        eventually_local(&joining, "k/0").await;
        cluster.members.push(joining);
        cluster.leader().await;
        let key = format!("k/{number}");
        cluster.client().await.put(key.clone(), "").await.expect("a majority");
        for member in &cluster.members {
            eventually_local(member, &key).await;
        }
    }
    let leader = cluster.leader().await;
    let deadline = Instant::now() + PATIENCE;
    cluster.members[leader].kill();
    // What was on its way to the one who died is told to be unknown.
    while cluster.client().await.put("after", "").await.is_err() {
        assert!(Instant::now() < deadline, "two of three are a majority");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_joins_by_snapshot_is_promoted_and_another_is_removed() {
    let mut cluster = Cluster::start_with(1, &["--snapshot-catchup-entries=10"]);
    let client = cluster.client().await;
    let value = vec![b'x'; 4_000];
    for number in 0..300 {
        client
            .put(format!("k/{number:04}"), value.clone())
            .await
            .expect("acknowledged");
    }
    let mut members = ClusterClient::new(cluster.members[0].channel().await);
    let mut joining = Member::new(cluster.directory.path(), "joining");
    let add = |url: String, is_learner| pb::MemberAddRequest {
        peer_ur_ls: vec![url],
        is_learner,
    };
    let refused = members
        .member_add(add("no url".to_owned(), true))
        .await
        .expect_err("that is no URL");
    assert_eq!(refused.message(), "etcdserver: given member URLs are invalid");
    let refused = members
        .member_add(add(cluster.members[0].peer_url(), true))
        .await
        .expect_err("it is taken");
    assert_eq!(refused.message(), "etcdserver: Peer URLs already exists");
    let added = members
        .member_add(add(joining.peer_url(), true))
        .await
        .expect("added")
        .into_inner();
    assert_eq!(added.members.len(), 2);
    let id = added.member.expect("it is named").id;
    let refused = members
        .member_add(add("http://127.0.0.1:1".to_owned(), true))
        .await
        .expect_err("one learner at a time");
    assert_eq!(refused.message(), "etcdserver: too many learner members in cluster");
    let refused = members
        .member_promote(pb::MemberPromoteRequest { id })
        .await
        .expect_err("it is not even there");
    assert_eq!(
        refused.message(),
        "etcdserver: can only promote a learner member which is in sync with leader"
    );
    let named = format!("{},joining={}", cluster.initial, joining.peer_url());
    joining.spawn(&named, "existing", &[]);
    joining.until_ready();
    eventually_local(&joining, "k/0299").await;
    assert!(joining.log().contains("applied snapshot"), "{}", joining.log());
    assert!(joining.status().await.expect("it serves").is_learner);
    let mut to_learner = KvClient::new(joining.channel().await);
    let linearizable = pb::RangeRequest {
        key: "k".into(),
        ..Default::default()
    };
    let refused = to_learner.range(linearizable).await.expect_err("a learner");
    assert_eq!(refused.message(), "etcdserver: rpc not supported for learner");
    let deadline = Instant::now() + PATIENCE;
    while let Err(refused) = members.member_promote(pb::MemberPromoteRequest { id }).await {
        assert_eq!(
            refused.message(),
            "etcdserver: can only promote a learner member which is in sync with leader"
        );
        assert!(Instant::now() < deadline, "it never catches up");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    client.put("after", "1").await.expect("two agree");
    eventually_local(&joining, "after").await;
    // Leadership moves to the new one, and the old one is removed and ends.
    let first = cluster.members[0]
        .status()
        .await
        .expect("it serves")
        .header
        .expect("a header")
        .member_id;
    let mut maintenance = MaintenanceClient::new(cluster.members[0].channel().await);
    maintenance
        .move_leader(pb::MoveLeaderRequest { target_id: id })
        .await
        .expect("moved");
    assert_eq!(joining.status().await.expect("it serves").leader, id);
    let refused = maintenance
        .move_leader(pb::MoveLeaderRequest { target_id: id })
        .await
        .expect_err("not the leader any more");
    assert_eq!(refused.message(), "etcdserver: not leader");
    let mut members = ClusterClient::new(joining.channel().await);
    let deadline = Instant::now() + PATIENCE;
    loop {
        match members.member_remove(pb::MemberRemoveRequest { id: first }).await {
            Ok(answer) => {
                assert_eq!(answer.into_inner().members.len(), 1);
                break;
            }
            // A few seconds after a start members do not count as healthy.
            Err(refused) => assert_eq!(refused.message(), "etcdserver: unhealthy cluster"),
        }
        assert!(Instant::now() < deadline, "never healthy");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    cluster.members[0].until_ended().await;
    assert!(cluster.members[0].log().contains("was removed from the cluster"));
    let client = Client::connect(&joining.endpoint()).await.expect("it serves");
    client.put("alone", "1").await.expect("acknowledged");
    let found = client.get("k/0000").await.expect("read").expect("it is there");
    assert_eq!(found.value.len(), 4_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_far_behind_gets_a_snapshot_and_leases_outlive_the_leader() {
    let mut cluster = Cluster::start_with(3, &["--snapshot-catchup-entries=10", PATIENT]);
    let leader = cluster.leader().await;
    let follower = (leader + 1) % 3;
    cluster.members[follower].kill();
    let client = Client::connect(&cluster.members[leader].endpoint())
        .await
        .expect("it serves");
    // Several segments of the log, so that the follower's part of it is purged.
    let value = vec![b'y'; 1 << 20];
    let putting = (0..40).map(|number| client.put(format!("big/{number}"), value.clone()));
    for put in futures::future::join_all(putting).await {
        put.expect("acknowledged");
    }
    let (lease, _) = client.lease_grant(3).await.expect("granted");
    let options = PutOptions {
        lease,
        ..Default::default()
    };
    client.put_with("leased", "1", options).await.expect("acknowledged");
    let first = cluster.members[leader].data.join("log/00000000000000000002.wal");
    let deadline = Instant::now() + PATIENCE;
    let mut renewed = Instant::now();
    while first.exists() {
        assert!(Instant::now() < deadline, "the log is never purged");
        renewed = Instant::now();
        assert_eq!(client.lease_keep_alive_once(lease).await.expect("kept"), 3);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    cluster.restart(follower);
    eventually_local(&cluster.members[follower], "big/39").await;
    assert!(
        cluster.members[follower].log().contains("applied snapshot"),
        "{}",
        cluster.members[follower].log()
    );
    // Another leader gives the lease its time again; it ends, but never early.
    cluster.members[leader].kill();
    let next = cluster.leader().await;
    let client = Client::connect(&cluster.members[next].endpoint())
        .await
        .expect("it serves");
    let deadline = Instant::now() + PATIENCE;
    while client.get("leased").await.expect("read").is_some() {
        assert!(Instant::now() < deadline, "the lease never ends");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(renewed.elapsed() >= Duration::from_secs(3), "{:?}", renewed.elapsed());
}
