//! A member that goes on alone where the others are lost for good.

use std::time::{Duration, Instant};

use coordinator_client::Client;
use coordinator_client::wire::etcdserverpb as pb;
use pb::cluster_client::ClusterClient;
use pb::kv_client::KvClient;

use crate::members::{Cluster, Member, PATIENCE, eventually_local, local};

const FLAG: &str = "--force-new-cluster";

async fn list(member: &Member, linearizable: bool) -> Vec<pb::Member> {
    let mut members = ClusterClient::new(member.channel().await);
    let answer = members.member_list(pb::MemberListRequest { linearizable }).await;
    answer.expect("answered").into_inner().members
}

async fn header(member: &Member) -> pb::ResponseHeader {
    let status = member.status().await.expect("it serves");
    status.header.expect("a header")
}

/// Adds a learner to those that there are and starts it.
async fn join(cluster: &Cluster, through: &Member, name: &str) -> Member {
    let mut joining = Member::new(cluster.directory.path(), name);
    let mut members = ClusterClient::new(through.channel().await);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let request = pb::MemberAddRequest {
            peer_ur_ls: vec![joining.peer_url()],
            is_learner: true,
        };
        match members.member_add(request).await {
            Ok(_) => break,
            // A few seconds after a start members do not count as healthy.
            Err(refused) => assert_eq!(refused.message(), "etcdserver: unhealthy cluster"),
        }
        assert!(Instant::now() < deadline, "never healthy");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let named = format!("{}={},{name}={}", through.name, through.peer_url(), joining.peer_url());
    joining.spawn(&named, "existing", &[]);
    joining.until_ready();
    joining
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_of_three_goes_on_alone_with_all_that_was_agreed_upon() {
    let mut cluster = Cluster::start(3);
    let client = cluster.client().await;
    for number in 0..50 {
        client.put(format!("k/{number}"), "1").await.expect("acknowledged");
    }
    let leader = cluster.leader().await;
    let others = [(leader + 1) % 3, (leader + 2) % 3];
    let before = header(&cluster.members[leader]).await;
    let mut own = list(&cluster.members[leader], true).await;
    own.retain(|member| member.id == before.member_id);
    for other in others {
        cluster.members[other].kill();
    }
    // It still believes that it leads, and takes this into its log.
    let mut kv = KvClient::new(cluster.members[leader].channel().await);
    let put = kv.put(pb::PutRequest {
        key: "unheard".into(),
        value: "1".into(),
        ..Default::default()
    });
    let answer = tokio::time::timeout(Duration::from_millis(500), put).await;
    assert!(!matches!(answer, Ok(Ok(_))), "one of three acknowledges nothing");
    cluster.members[leader].kill();
    let initial = cluster.initial.clone();
    cluster.members[leader].spawn(&initial, "new", &[FLAG]);
    cluster.members[leader].until_ready();
    let alone = &cluster.members[leader];
    let log = alone.log();
    assert!(
        log.contains("forcing restart member") && log.contains("removed=2"),
        "{log}"
    );
    assert!(!log.contains("dropped=0"), "the last put was in the log: {log}");
    assert_eq!(list(alone, true).await, own, "one member, as it was");
    assert_eq!(local(alone, "unheard").await, None, "nobody had agreed to it");
    let keys: Vec<String> = (0..50).map(|number| format!("k/{number}")).collect();
    alone.holds("k/", keys.iter().map(String::as_str)).await;
    let client = Client::connect(&alone.endpoint()).await.expect("it serves");
    let revision = client.put("after", "1").await.expect("acknowledged by one");
    let after = header(alone).await;
    assert_eq!(
        (after.cluster_id, after.member_id),
        (before.cluster_id, before.member_id)
    );
    assert_eq!(revision, before.revision + 1);
    assert!(after.raft_term > before.raft_term);
    // Again with the flag, and then without it: nothing is left to be done, and nothing is lost.
    for flags in [&[FLAG][..], &[]] {
        let skipped = cluster.members[leader].log().len();
        cluster.members[leader].kill();
        cluster.members[leader].spawn(&initial, "new", flags);
        cluster.members[leader].until_ready();
        let alone = &cluster.members[leader];
        assert!(!alone.log()[skipped..].contains("forcing restart member"));
        assert_eq!(list(alone, true).await, own);
        assert!(local(alone, "after").await.is_some());
    }
    // One who comes back is not a member any more. New ones are, and take part.
    cluster.spawn(others[0]);
    cluster.members[others[0]].until_ended().await;
    let log = cluster.members[others[0]].log();
    assert!(log.contains("was removed from the cluster"), "{log}");
    let alone = &cluster.members[leader];
    let new = join(&cluster, alone, "new").await;
    let id = header(&new).await.member_id;
    let mut members = ClusterClient::new(alone.channel().await);
    let deadline = Instant::now() + PATIENCE;
    while members.member_promote(pb::MemberPromoteRequest { id }).await.is_err() {
        assert!(Instant::now() < deadline, "it never catches up; {}", new.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let client = Client::connect(&new.endpoint()).await.expect("it serves");
    client.put("together", "1").await.expect("two agree");
    assert_eq!(list(&new, true).await.len(), 2);
    for key in ["k/0", "after", "together"] {
        eventually_local(&new, key).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn learners_are_removed_as_well_and_one_that_is_left_votes() {
    let mut cluster = Cluster::start(1);
    cluster.client().await.put("k", "v").await.expect("acknowledged");
    let mut learner = join(&cluster, &cluster.members[0], "learner").await;
    eventually_local(&learner, "k").await;
    assert!(learner.status().await.expect("it serves").is_learner);
    cluster.members[0].kill();
    learner.kill();
    let initial = cluster.initial.clone();
    cluster.members[0].spawn(&initial, "new", &[FLAG]);
    cluster.members[0].until_ready();
    let left = list(&cluster.members[0], true).await;
    assert_eq!(left.len(), 1, "{left:?}");
    cluster.members[0].kill();
    // The other way round: all that is left is the learner.
    let named = format!("learner={}", learner.peer_url());
    learner.spawn(&named, "existing", &[FLAG]);
    learner.until_ready();
    let left = list(&learner, true).await;
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(!left[0].is_learner && left[0].peer_ur_ls == [learner.peer_url()]);
    let client = Client::connect(&learner.endpoint()).await.expect("it serves");
    client.put("after", "1").await.expect("acknowledged");
    assert_eq!(local(&learner, "k").await.as_deref(), Some(&b"v"[..]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_is_killed_leaves_the_old_cluster_or_the_new_one() {
    let mut cluster = Cluster::start(3);
    cluster.client().await.put("k", "v").await.expect("acknowledged");
    for member in &cluster.members {
        eventually_local(member, "k").await;
    }
    for number in 0..3 {
        cluster.members[number].kill();
    }
    let initial = cluster.initial.clone();
    let copy = cluster.directory.path().join("copy");
    let (mut old, mut new) = (0, 0);
    for attempt in 0..24_u64 {
        let member = &mut cluster.members[0];
        if attempt == 0 {
            copy_directory(&member.data, &copy);
        } else {
            std::fs::remove_dir_all(&member.data).expect("it is not in use");
            copy_directory(&copy, &member.data);
        }
        let skipped = member.log().len();
        member.spawn(&initial, "new", &[FLAG]);
        // Later and later, until it is certainly done.
        tokio::time::sleep(Duration::from_millis(2 * attempt)).await;
        if attempt == 23 {
            member.until_ready();
        }
        member.kill();
        let was_done = member.log()[skipped..].contains("forcing restart member");
        member.spawn(&initial, "new", &[]);
        member.until_logged(skipped, "recovered").await;
        let deadline = Instant::now() + PATIENCE;
        while member.status().await.is_none() {
            assert!(Instant::now() < deadline, "{}", member.log());
        }
        let left = list(member, false).await;
        match left.len() {
            1 => {
                new += 1;
                let client = Client::connect(&member.endpoint()).await.expect("it serves");
                client.put("after", "1").await.expect("acknowledged by one");
            }
            3 => {
                old += 1;
                assert!(!was_done, "it said so");
            }
            _ => panic!("neither the old cluster nor the new one: {left:?}"),
        }
        assert_eq!(local(member, "k").await.as_deref(), Some(&b"v"[..]));
        member.kill();
    }
    assert!(new > 0, "the last one was not disturbed");
    println!("{old} times the old cluster, {new} times the new one");
}

fn copy_directory(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy_directory(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}
