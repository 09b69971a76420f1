//! The client crate against the coordinator; with `ETCD_ENDPOINT=HOST:PORT` against a real etcd there, which must give
//! the same.

use std::time::Duration;

use coordinator_client::{Change, Client, Compare, Error, Keys, Op, PutOptions, RangeOptions};
use futures::StreamExt;

use crate::program::Coordinator;

/// A client, and what must live as long as it is used.
async fn connect() -> (Client, Option<(Coordinator, tempfile::TempDir)>) {
    if let Ok(endpoint) = std::env::var("ETCD_ENDPOINT") {
        let client = Client::connect(&endpoint).await.expect("etcd serves there");
        return (client, None);
    }
    let data = tempfile::tempdir().expect("a directory");
    let coordinator = Coordinator::start(data.path());
    (coordinator.client().await, Some((coordinator, data)))
}

#[tokio::test]
async fn keys_are_put_read_and_deleted() {
    let (client, _running) = connect().await;
    client.delete(Keys::prefix("c1/")).await.expect("deleted");
    let first = client.put("c1/a", "1").await.expect("acknowledged");
    let options = PutOptions {
        prev_kv: true,
        ..Default::default()
    };
    let (second, before) = client.put_with("c1/a", "2", options).await.expect("acknowledged");
    assert!(second > first);
    assert_eq!(before.expect("there was one").value.as_ref(), b"1");
    let found = client.get("c1/a").await.expect("read").expect("it is there");
    assert_eq!(
        (found.create_revision, found.mod_revision, found.version),
        (first, second, 2)
    );
    assert_eq!(client.get("c1/none").await.expect("read"), None);
    client.put("c1/b", "3").await.expect("acknowledged");
    let some = RangeOptions {
        limit: 1,
        ..Default::default()
    };
    let ranged = client.range(Keys::prefix("c1/"), some).await.expect("read");
    assert_eq!((ranged.kvs.len(), ranged.count, ranged.more), (1, 2, true));
    let past = RangeOptions {
        revision: first,
        ..Default::default()
    };
    let ranged = client.range(Keys::one("c1/a"), past).await.expect("read");
    assert_eq!(ranged.kvs[0].value.as_ref(), b"1");
    assert_eq!(client.delete(Keys::range("c1/a", "c1/b")).await.expect("deleted"), 1);
    let refused = client.put("", "x").await.expect_err("no key");
    assert_eq!(refused.code(), Some(tonic::Code::InvalidArgument));
    assert_eq!(refused.to_string(), "etcdserver: key is not provided");
}

#[tokio::test]
async fn transactions_take_one_of_two_ways() {
    let (client, _running) = connect().await;
    client.delete(Keys::prefix("c2/")).await.expect("deleted");
    let create = || {
        client.txn(
            vec![Compare::absent("c2/a")],
            vec![Op::put("c2/a", "1")],
            vec![Op::get("c2/a")],
        )
    };
    let done = create().await.expect("carried out");
    assert!(done.succeeded);
    let refused = create().await.expect("carried out");
    assert!(!refused.succeeded && refused.responses.len() == 1);
    let fenced = vec![
        Compare::create_revision("c2/a", done.revision),
        Compare::value("c2/a", "1"),
    ];
    let nested = Op::Txn(vec![Compare::version("c2/a", 1)], vec![Op::put("c2/b", "1")], vec![]);
    let done = client
        .txn(fenced, vec![Op::delete("c2/a"), nested], vec![])
        .await
        .expect("carried out");
    assert!(done.succeeded);
    let left = client
        .range(Keys::prefix("c2/"), RangeOptions::default())
        .await
        .expect("read");
    assert_eq!(left.kvs.iter().map(|kv| kv.key.as_ref()).collect::<Vec<_>>(), [b"c2/b"]);
}

#[tokio::test]
async fn watches_tell_the_past_and_the_present_or_that_it_is_compacted() {
    let (client, _running) = connect().await;
    let first = client.put("c3/a", "1").await.expect("acknowledged");
    client.put("c3/a", "2").await.expect("acknowledged");
    let mut watch = client.watch(Keys::prefix("c3/"), first).await.expect("watched");
    client.delete(Keys::one("c3/a")).await.expect("deleted");
    let mut changes = Vec::new();
    while changes.len() < 3 {
        let next = tokio::time::timeout(Duration::from_secs(10), watch.next()).await;
        changes.extend(next.expect("in time").expect("goes on").expect("no error").changes);
    }
    assert!(matches!(&changes[0], Change::Put(kv) if kv.value.as_ref() == b"1"));
    assert!(matches!(&changes[1], Change::Put(kv) if kv.value.as_ref() == b"2"));
    assert!(matches!(&changes[2], Change::Delete(kv) if kv.key.as_ref() == b"c3/a"));
    client.compact(first + 1).await.expect("compacted");
    let mut late = client
        .watch(Keys::prefix("c3/"), first)
        .await
        .expect("created, then cancelled");
    let end = tokio::time::timeout(Duration::from_secs(10), late.next())
        .await
        .expect("in time")
        .expect("told");
    assert!(matches!(end, Err(Error::Compacted(at)) if at == first + 1), "{end:?}");
}

#[tokio::test]
async fn leases_are_granted_kept_and_revoked() {
    let (client, _running) = connect().await;
    let (lease, ttl) = client.lease_grant(30).await.expect("granted");
    assert_eq!(ttl, 30);
    client
        .put_with(
            "c4/a",
            "1",
            PutOptions {
                lease,
                ..Default::default()
            },
        )
        .await
        .expect("acknowledged");
    assert_eq!(client.lease_keep_alive_once(lease).await.expect("kept"), 30);
    client.lease_revoke(lease).await.expect("revoked");
    assert_eq!(client.get("c4/a").await.expect("read"), None);
    assert!(matches!(client.lease_keep_alive_once(lease).await, Err(Error::LeaseNotFound(id)) if id == lease));
    assert!(matches!(client.lease_revoke(lease).await, Err(Error::LeaseNotFound(id)) if id == lease));
}

#[tokio::test]
async fn an_address_that_is_none_is_told_at_once() {
    for wrong in ["", "localhost", "http://", "a b:1"] {
        assert!(
            matches!(Client::connect(wrong).await, Err(Error::Endpoint(_))),
            "{wrong:?}"
        );
    }
}

/// The first of two endpoints is dead: the second serves, for writes too, since nothing was sent to the first.
#[tokio::test]
async fn a_dead_endpoint_is_passed_over() {
    let data = tempfile::tempdir().expect("a directory");
    let coordinator = Coordinator::start(data.path());
    let nobody = host::free_port::address().expect("a port");
    let client = Client::lazy(&format!("{nobody},{}", coordinator.address)).expect("two addresses");
    client.put("a", "1").await.expect("acknowledged by the second");
    assert!(client.get("a").await.expect("read").is_some());
}
