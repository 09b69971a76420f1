//! hdfs-native, a client that others wrote, against the real processes.

mod cluster;

use cluster::Cluster;
use hdfs_native::{ClientBuilder, WriteOptions};

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
