//! What leases have left when the leader changes.

use std::time::{Duration, Instant};

use coordinator_client::wire::etcdserverpb as pb;
use coordinator_client::{Client, PutOptions};
use pb::lease_client::LeaseClient;

use testing::Signal;

use crate::members::{Cluster, PATIENCE};

/// Half of it is used up before the leader is killed.
const TTL: i64 = 8;
const USED: Duration = Duration::from_secs(4);

async fn hold(client: &Client, key: &'static str) -> (i64, Instant) {
    let asked = Instant::now();
    let (lease, ttl) = client.lease_grant(TTL).await.expect("granted");
    assert_eq!(ttl, TTL);
    let options = PutOptions {
        lease,
        ..Default::default()
    };
    client.put_with(key, "held", options).await.expect("acknowledged");
    (lease, asked)
}

async fn left(cluster: &Cluster, number: usize, id: i64) -> i64 {
    let mut leases = LeaseClient::new(cluster.members[number].channel().await);
    let answer = leases
        .lease_time_to_live(pb::LeaseTimeToLiveRequest { id, keys: false })
        .await;
    answer.expect("answered").into_inner().ttl
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_leader_gives_a_lease_what_it_had_left_and_a_renewed_one_its_full_time() {
    let mut cluster = Cluster::start_with(3, &["--lease-checkpoint-interval=1s"]);
    let leader = cluster.leader().await;
    let client = Client::connect(&cluster.members[leader].endpoint())
        .await
        .expect("it serves");
    let (idle, granted) = hold(&client, "idle").await;
    let (kept, _) = hold(&client, "kept").await;
    tokio::time::sleep(USED).await;
    let logged = cluster.members[leader].log().len();
    cluster.members[leader]
        .until_logged(logged, "checkpointed lease TTLs")
        .await;
    let renewed = Instant::now();
    assert_eq!(client.lease_keep_alive_once(kept).await.expect("kept"), TTL);
    cluster.members[leader].kill();
    let next = cluster.leader().await;
    // A new leader adds the time of an election; asked at once it would have said 8 or 9 without checkpoints.
    let (idle_left, kept_left) = (left(&cluster, next, idle).await, left(&cluster, next, kept).await);
    println!("{idle_left} s and {kept_left} s left");
    assert!(idle_left <= TTL - 2, "{idle_left} s left, as if it had not lived");
    let client = Client::connect(&cluster.members[next].endpoint())
        .await
        .expect("it serves");
    for (key, from) in [("idle", granted), ("kept", renewed)] {
        let deadline = Instant::now() + PATIENCE;
        while client.get(key).await.expect("read").is_some() {
            assert!(Instant::now() < deadline, "{key} never ends");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let lived = from.elapsed();
        assert!(
            lived >= Duration::from_secs(u64::try_from(TTL).expect("positive")),
            "{key} ended after {lived:?}"
        );
        println!("{key} ended after {lived:?}");
    }
}

/// The renewal waits in the socket of a leader that is stopped, until another one leads. Anyone who answers it: it counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_that_reaches_a_leader_of_the_past_is_no_promise_of_its_own() {
    const TTL: i64 = 5;
    let cluster = Cluster::start(3);
    let leader = cluster.leader().await;
    let client = Client::connect(&cluster.members[leader].endpoint())
        .await
        .expect("it serves");
    let (lease, _) = client.lease_grant(TTL).await.expect("granted");
    let options = PutOptions {
        lease,
        ..Default::default()
    };
    client.put_with("kept", "held", options).await.expect("acknowledged");
    let granted = Instant::now();
    cluster.members[leader].signal(Signal::STOP);
    // By the stopped one's clock the lease lives still; the next leader has given it its time again meanwhile.
    tokio::time::sleep_until((granted + Duration::from_millis(4_300)).into()).await;
    let asked = Instant::now();
    let renewal = tokio::spawn(async move { client.lease_keep_alive_once(lease).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    cluster.members[leader].signal(Signal::CONT);
    let renewed = renewal.await.expect("no panic");
    let other = Client::connect(&cluster.members[(leader + 1) % 3].endpoint())
        .await
        .expect("it serves");
    let deadline = Instant::now() + PATIENCE;
    while other.get("kept").await.expect("read").is_some() {
        assert!(Instant::now() < deadline, "it never ends");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let lived = asked.elapsed();
    println!("{renewed:?}, and gone {lived:?} later");
    if let Ok(ttl) = renewed {
        let promised = Duration::from_secs(u64::try_from(ttl).expect("positive"));
        assert!(lived >= promised, "renewed for {promised:?}, and gone after {lived:?}");
    }
}
