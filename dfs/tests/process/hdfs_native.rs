//! hdfs-native, a client that others wrote, against the real processes.

use ::hdfs_native::{ClientBuilder, WriteOptions};
use testing::eventually;

use crate::cluster::Cluster;

fn content(length: usize, seed: u32) -> Vec<u8> {
    (0..length as u32)
        .map(|i| (i.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 13) as u8)
        .collect()
}

fn client(cluster: &Cluster) -> hdfs_native::Client {
    ClientBuilder::new().with_url(cluster.url()).build().unwrap()
}

async fn write(client: &hdfs_native::Client, path: &str, data: &[u8], replication: u32) {
    let options = WriteOptions::default()
        .overwrite(true)
        .replication(replication)
        .block_size(1 << 20);
    let mut writer = client.create(path, options).await.unwrap();
    writer.write(bytes::Bytes::copy_from_slice(data)).await.unwrap();
    writer.close().await.unwrap();
}

async fn read(client: &hdfs_native::Client, path: &str) -> Vec<u8> {
    let mut reader = client.read(path).await.unwrap();
    reader.read(usize::MAX >> 1).await.unwrap().to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_data_node_serves_a_whole_life_of_files() {
    let cluster = Cluster::start(1);
    let client = client(&cluster);
    client.mkdirs("/a/b", 0o755, true).await.unwrap();
    let data = content(3_500_001, 1);
    write(&client, "/a/b/x", &data, 1).await;
    assert!(read(&client, "/a/b/x").await == data);

    let status = client.get_file_info("/a/b/x").await.unwrap();
    assert_eq!((status.length, status.isdir), (data.len(), false));
    client.rename("/a/b/x", "/a/y", false).await.unwrap();
    assert!(client.get_file_info("/a/b/x").await.is_err());
    let names: Vec<String> = client
        .list_status("/a", true)
        .await
        .unwrap()
        .into_iter()
        .map(|s| s.path)
        .collect();
    assert_eq!(names, ["/a/b", "/a/y"]);

    let mut appender = client.append("/a/y").await.unwrap();
    appender.write(bytes::Bytes::from(content(1000, 2))).await.unwrap();
    appender.close().await.unwrap();
    assert!(read(&client, "/a/y").await == [data, content(1000, 2)].concat());

    write(&client, "/empty", &[], 1).await;
    assert!(read(&client, "/empty").await.is_empty());
    assert!(client.delete("/a", true).await.unwrap());
    assert!(!client.delete("/a", true).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_replicas_outlive_a_data_node_and_are_three_again() {
    let mut cluster = Cluster::start(3);
    let client = client(&cluster);
    let data = content(2_500_000, 3);
    write(&client, "/x", &data, 3).await;
    eventually("all replicas are reported", || {
        cluster.metric("dfs_namenode_under_replicated_blocks") == 0
    });
    assert_eq!((0..3).map(|node| cluster.replicas(node).len()).sum::<usize>(), 9);

    cluster.kill_data_node(0);
    assert!(
        read(&client, "/x").await == data,
        "right after the loss, before anybody noticed"
    );
    cluster.start_data_node(3);
    eventually("the loss is noticed", || {
        cluster.metric("dfs_namenode_live_datanodes") == 3
    });
    eventually("replicas are made anew", || {
        cluster.metric("dfs_namenode_under_replicated_blocks") == 0 && cluster.replicas(3).len() == 3
    });
    cluster.kill_data_node(1);
    cluster.kill_data_node(2);
    assert!(read(&client, "/x").await == data, "from the new data node alone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_goes_on_when_a_data_node_of_its_pipeline_dies() {
    // With three replicas the client replaces the dead node by the fourth, with two it goes on with one.
    for (nodes, replication) in [(4, 3), (2, 2)] {
        write_through_a_loss(Cluster::start(nodes), replication).await;
    }
}

async fn write_through_a_loss(mut cluster: Cluster, replication: u32) {
    let client = client(&cluster);
    let data = content(9_000_000, 4);
    let options = WriteOptions::default().replication(replication).block_size(4 << 20);
    let mut writer = client.create("/x", options).await.unwrap();
    for (index, piece) in data.chunks(300_000).enumerate() {
        if index == 8 {
            cluster.kill_data_node(1);
        }
        writer.write(bytes::Bytes::copy_from_slice(piece)).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    writer.close().await.unwrap();
    assert!(read(&client, "/x").await == data);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_with_the_name_node() {
    let mut cluster = Cluster::start(1);
    let client = client(&cluster);
    let data = content(1_200_000, 5);
    write(&client, "/kept", &data, 1).await;
    for round in 0..3 {
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (sender, mut acknowledged) = tokio::sync::mpsc::unbounded_channel();
        for task in 0..8 {
            let (client, stop, sender) = (client.clone(), stop.clone(), sender.clone());
            tokio::spawn(async move {
                for index in 0.. {
                    let path = format!("/d{round}/{task}/{index}");
                    if client.mkdirs(&path, 0o755, true).await.is_ok() {
                        let _ = sender.send(path);
                    }
                    if stop.load(std::sync::atomic::Ordering::SeqCst) {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut paths = Vec::new();
        while paths.len() < 30 {
            paths.push(acknowledged.recv().await.unwrap());
        }
        // In the middle of the others.
        cluster.restart_name_node();
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
        while let Some(path) = acknowledged.recv().await {
            paths.push(path);
        }
        for path in paths {
            assert!(client.get_file_info(&path).await.unwrap().isdir, "{path}");
        }
        eventually("out of safe mode", || cluster.metric("dfs_namenode_safe_mode") == 0);
    }
    assert!(read(&client, "/kept").await == data);
    write(&client, "/after", &data, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_closed_is_lost_with_a_data_node() {
    let mut cluster = Cluster::start(1);
    let client = client(&cluster);
    let data = content(2_300_000, 6);
    write(&client, "/closed", &data, 1).await;
    cluster.kill_data_node(0);
    cluster.start_data_node(0);
    assert!(read(&client, "/closed").await == data);
    let mut appender = client.append("/closed").await.unwrap();
    appender.write(bytes::Bytes::from(content(700, 7))).await.unwrap();
    appender.close().await.unwrap();
    assert!(read(&client, "/closed").await == [data, content(700, 7)].concat());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_corrupt_replica_gives_no_wrong_byte() {
    let mut cluster = Cluster::start(2);
    let client = client(&cluster);
    let data = content(60_000, 8);
    write(&client, "/x", &data, 2).await;
    eventually("both are reported", || {
        cluster.metric("dfs_namenode_under_replicated_blocks") == 0
    });
    let victim = cluster.replicas(0)[0].clone();
    let mut bytes = std::fs::read(&victim).unwrap();
    bytes[30_000] ^= 1;
    std::fs::write(&victim, &bytes).unwrap();
    for _ in 0..6 {
        assert!(read(&client, "/x").await == data);
    }
    // With the good one gone the corrupt one is an error, never wrong bytes.
    cluster.kill_data_node(1);
    let mut reader = client.read("/x").await.unwrap();
    match reader.read(usize::MAX >> 1).await {
        Ok(bytes) => panic!("{} bytes from a corrupt replica", bytes.len()),
        Err(error) => drop(error),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_small_files_are_written_quickly() {
    let cluster = Cluster::start(1);
    let client = client(&cluster);
    let data = content(10_000, 9);
    let began = std::time::Instant::now();
    for index in 0..20 {
        write(&client, &format!("/small/{index}"), &data, 1).await;
    }
    // A name node that answers `complete` with false makes hdfs-native sleep 500 ms a file: that alone would take 10 s.
    assert!(
        began.elapsed() < std::time::Duration::from_secs(8),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(client.list_status("/small", false).await.unwrap().len(), 20);
}
