//! Real processes on loopback, each with its own directory, ended when dropped.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use dfs::datanode::link::BlockWriter;
use dfs::ipc::{CLIENT_PROTOCOL, Client};
use dfs_wire::checksum::Checksum;
use dfs_wire::proto::hdfs::op_write_block_proto::BlockConstructionStage as Stage;
use dfs_wire::proto::hdfs::*;
use testing::{Process, Program, TestDir};

/// A name node and some data nodes.
pub struct Cluster {
    pub name_node: Process,
    pub data_nodes: Vec<Option<Process>>,
    directory: TestDir,
}

impl Cluster {
    pub fn start(data_nodes: usize) -> Self {
        Self::start_with(data_nodes, &[])
    }

    pub fn start_with(data_nodes: usize, settings: &[&str]) -> Self {
        let directory = TestDir::new();
        let defaults = [
            "dfs.heartbeat.interval=200ms",
            "dfs.namenode.heartbeat.recheck-interval=250",
        ];
        let settings: Vec<String> = defaults
            .iter()
            .chain(settings)
            .map(|setting| (*setting).to_owned())
            .collect();
        // A fixed port, so that it can be started again at the same address.
        let rpc = host::free_port::address().unwrap().to_string();
        let name_node = start_name_node(&directory.join("nn"), &rpc, &settings);
        let mut cluster = Self {
            name_node,
            data_nodes: Vec::new(),
            directory,
        };
        for index in 0..data_nodes {
            cluster.data_nodes.push(None);
            cluster.start_data_node(index);
        }
        cluster
    }

    pub fn rpc(&self) -> SocketAddr {
        self.name_node.address("rpc")
    }

    pub fn url(&self) -> String {
        format!("hdfs://{}", self.rpc())
    }

    pub fn data_directory(&self, index: usize) -> PathBuf {
        self.directory.join(format!("dn{index}"))
    }

    pub fn start_data_node(&mut self, index: usize) {
        self.start_data_node_with(index, &[]);
    }

    pub fn start_data_node_with(&mut self, index: usize, settings: &[&str]) {
        while self.data_nodes.len() <= index {
            self.data_nodes.push(None);
        }
        let any = "127.0.0.1:0";
        let directory = self.data_directory(index);
        let data_node = program(&directory)
            .arg("datanode")
            .arg("--data")
            .arg(&directory)
            .args(["--namenode", &self.rpc().to_string()])
            .args(["--transfer", any, "--ipc", any, "--http", any]);
        self.data_nodes[index] = Some(with_settings(data_node, settings).start());
    }

    pub fn kill_data_node(&mut self, index: usize) {
        self.data_nodes[index] = None;
    }

    pub fn data_node(&mut self, index: usize) -> &mut Process {
        self.data_nodes[index].as_mut().unwrap()
    }

    /// Kills the name node and starts it again at the same address.
    pub fn restart_name_node(&mut self) {
        self.name_node.kill_and_restart();
    }

    /// A number from the name node's metrics page.
    pub fn metric(&self, name: &str) -> u64 {
        self.name_node.metric("http", name) as u64
    }

    /// Replica files of a data node: (path of the data file, finalized).
    pub fn replicas(&self, index: usize) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let blocks = self.data_directory(index).join("blocks");
        for folder in std::fs::read_dir(blocks).into_iter().flatten().flatten() {
            for file in std::fs::read_dir(folder.path()).into_iter().flatten().flatten() {
                let name = file.file_name().to_string_lossy().into_owned();
                if name.starts_with("blk_") && !name.contains('.') {
                    found.push(file.path());
                }
            }
        }
        found.sort();
        found
    }
}

fn start_name_node(directory: &Path, rpc: &str, settings: &[String]) -> Process {
    let name_node =
        program(directory)
            .arg("namenode")
            .arg("--data")
            .arg(directory)
            .args(["--rpc", rpc, "--http", "127.0.0.1:0"]);
    with_settings(name_node, settings).start()
}

/// The program, with its log beside its data directory.
fn program(directory: &Path) -> Program {
    Program::new(env!("CARGO_BIN_EXE_dfs")).log_to(directory.with_extension("log"))
}

fn with_settings(program: Program, settings: &[impl AsRef<str>]) -> Program {
    settings
        .iter()
        .fold(program, |program, setting| program.args(["--set", setting.as_ref()]))
}

/// The account that runs the name node.
pub fn superuser() -> String {
    std::env::var("HADOOP_USER_NAME").unwrap_or_else(|_| dfs::namenode::users::account())
}

/// Our own client, where stock ones cannot be made to break off.
pub fn client(cluster: &Cluster, id: u8) -> Client {
    Client::new(cluster.rpc().to_string(), superuser(), CLIENT_PROTOCOL, [id; 16])
}

/// Creates the file /x, writes `data` without closing it, and returns once all of it is acknowledged.
pub async fn write_and_vanish(client: &mut Client, replication: u32, data: &[u8]) -> BlockWriter {
    let asked = CreateRequestProto {
        src: "/x".to_owned(),
        masked: FsPermissionProto { perm: 0o644 },
        client_name: "writer".to_owned(),
        create_flag: 1,
        create_parent: true,
        replication,
        block_size: 128 << 20,
        ..Default::default()
    };
    client.call::<CreateResponseProto>("create", &asked).await.unwrap();
    let asked = AddBlockRequestProto {
        src: "/x".to_owned(),
        client_name: "writer".to_owned(),
        ..Default::default()
    };
    let located = client
        .call::<AddBlockResponseProto>("addBlock", &asked)
        .await
        .unwrap()
        .block;
    let mut writer = BlockWriter::open(
        &located.b,
        &located.locs,
        Stage::PipelineSetupCreate,
        "writer",
        Checksum::default(),
    )
    .unwrap();
    for piece in data.chunks(50_000 / 512 * 512) {
        writer.write(piece).unwrap();
    }
    writer.wait_acknowledged().unwrap();
    let asked = FsyncRequestProto {
        src: "/x".to_owned(),
        client: "writer".to_owned(),
        last_block_length: Some(data.len() as i64),
        file_id: None,
    };
    client.call::<FsyncResponseProto>("fsync", &asked).await.unwrap();
    writer
}
