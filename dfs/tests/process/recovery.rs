//! A writer that is gone, with our own client where stock ones cannot be made to break off.

use dfs::datanode::link::read_block;
use dfs_wire::proto::hdfs::*;
use testing::eventually;

use crate::cluster::{Cluster, client, write_and_vanish};

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 31 % 251) as u8).collect()
}

async fn recover_and_read(cluster: &Cluster) -> Vec<u8> {
    let mut client = client(cluster, 2);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let asked = RecoverLeaseRequestProto {
            src: "/x".to_owned(),
            client_name: "other".to_owned(),
        };
        let answer = client.call::<RecoverLeaseResponseProto>("recoverLease", &asked).await;
        if answer.is_ok_and(|answer| answer.result) {
            break;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "the lease was not recovered in time"
        );
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let asked = GetBlockLocationsRequestProto {
        src: "/x".to_owned(),
        offset: 0,
        length: u64::MAX >> 1,
    };
    let located = client
        .call::<GetBlockLocationsResponseProto>("getBlockLocations", &asked)
        .await
        .unwrap();
    let mut read = Vec::new();
    for block in located.locations.unwrap().blocks {
        let length = block.b.num_bytes();
        let take = |piece: &[u8]| {
            read.extend_from_slice(piece);
            Ok(())
        };
        tokio::task::block_in_place(|| read_block(&block.locs[0], &block.b, "other", 0, length, take)).unwrap();
    }
    read
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flushed_bytes_outlive_the_writer_and_its_data_node() {
    let mut cluster = Cluster::start(1);
    let data = content(1_000_001);
    let writer = write_and_vanish(&mut client(&cluster, 1), 1, &data).await;
    cluster.kill_data_node(0);
    drop(writer);
    cluster.start_data_node(0);
    assert!(recover_and_read(&cluster).await == data);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_data_nodes_agree_on_what_a_vanished_writer_left() {
    let mut cluster = Cluster::start(3);
    let data = content(777_777);
    let writer = write_and_vanish(&mut client(&cluster, 1), 3, &data).await;
    drop(writer);
    cluster.restart_name_node();
    eventually("all data nodes are back", || {
        cluster.metric("dfs_namenode_live_datanodes") == 3
    });
    assert!(recover_and_read(&cluster).await == data);
    let replicas: Vec<Vec<u8>> = (0..3)
        .map(|node| std::fs::read(cluster.replicas(node).first().unwrap()).unwrap())
        .collect();
    assert!(
        replicas.iter().all(|replica| *replica == data),
        "all replicas are the same bytes"
    );
}

/// Freezes the data node at `position` of a pipeline of three, writes, and returns what the acknowledgements say.
async fn freeze(position: usize) -> String {
    let mut cluster = Cluster::start(0);
    for index in 0..3 {
        cluster.start_data_node_with(index, &["dfs.client.socket-timeout=1000"]);
    }
    let mut client = client(&cluster, 1);
    let mut writer = write_and_vanish(&mut client, 3, &content(1000)).await;
    let port = writer.pipeline()[position].id.xfer_port;
    let index = (0..3).find(|index| u32::from(cluster.data_node(*index).address("transfer").port()) == port);
    cluster.data_node(index.unwrap()).freeze();
    let outcome = tokio::task::block_in_place(|| {
        writer.write(&content(24)).unwrap();
        writer.wait_acknowledged()
    });
    outcome.unwrap_err().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_data_node_before_a_frozen_one_names_it() {
    // As tasks of their own: one that waits must not keep the other's pipeline silent.
    let (middle, last) = (tokio::spawn(freeze(1)), tokio::spawn(freeze(2)));
    let (middle, last) = (middle.await.unwrap(), last.await.unwrap());
    assert!(middle.ends_with("[0, 1]"), "{middle}");
    assert!(last.ends_with("[0, 0, 1]"), "{last}");
}
