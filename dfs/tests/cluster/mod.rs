//! Real processes on loopback, each with its own directory, ended when dropped.
#![allow(dead_code, reason = "each test uses its own part")]

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dfs::datanode::link::BlockWriter;
use dfs::ipc::{CLIENT_PROTOCOL, Client};
use dfs_wire::checksum::Checksum;
use dfs_wire::proto::hdfs::op_write_block_proto::BlockConstructionStage as Stage;
use dfs_wire::proto::hdfs::*;

/// A process and the addresses it announced.
pub struct Process {
    child: Child,
    addresses: Vec<(String, SocketAddr)>,
}

impl Process {
    fn start(args: &[String]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_dfs"))
            .args(args)
            .stdout(Stdio::piped())
            .stderr(if std::env::var_os("DFS_TEST_LOGS").is_some() {
                Stdio::inherit()
            } else {
                Stdio::null()
            })
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert!(line.contains(" ready "), "{args:?} said {line:?}");
        let pairs = line.split_whitespace().filter_map(|word| word.split_once('='));
        let addresses = pairs
            .map(|(name, address)| (name.to_owned(), address.parse().unwrap()))
            .collect();
        Self { child, addresses }
    }

    pub fn address(&self, name: &str) -> SocketAddr {
        self.addresses.iter().find(|(found, _)| found == name).unwrap().1
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Stops it without ending it, as a machine that hangs.
    pub fn freeze(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    }

    /// Resident memory in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id())).unwrap();
        statm.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
    }

    /// Asks for an orderly end and waits for it.
    pub fn terminate(&mut self) -> std::process::ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A name node and some data nodes.
pub struct Cluster {
    pub name_node: Process,
    pub data_nodes: Vec<Option<Process>>,
    directory: tempfile::TempDir,
    settings: Vec<String>,
}

impl Cluster {
    pub fn start(data_nodes: usize) -> Self {
        Self::start_with(data_nodes, &[])
    }

    pub fn start_with(data_nodes: usize, settings: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let defaults = [
            "dfs.heartbeat.interval=200ms",
            "dfs.namenode.heartbeat.recheck-interval=250",
        ];
        let settings: Vec<String> = defaults
            .iter()
            .chain(settings)
            .map(|setting| (*setting).to_owned())
            .collect();
        // One with which it may be started again.
        let rpc = host::free_port::address().unwrap().to_string();
        let name_node = start_name_node(&directory.path().join("nn"), &rpc, &settings);
        let mut cluster = Self {
            name_node,
            data_nodes: Vec::new(),
            directory,
            settings,
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
        self.directory.path().join(format!("dn{index}"))
    }

    pub fn start_data_node(&mut self, index: usize) {
        self.start_data_node_with(index, &[]);
    }

    pub fn start_data_node_with(&mut self, index: usize, settings: &[&str]) {
        while self.data_nodes.len() <= index {
            self.data_nodes.push(None);
        }
        let any = "127.0.0.1:0".to_owned();
        let mut args = vec![
            "datanode".to_owned(),
            "--data".to_owned(),
            self.data_directory(index).display().to_string(),
            "--namenode".to_owned(),
            self.rpc().to_string(),
            "--transfer".to_owned(),
            any.clone(),
            "--ipc".to_owned(),
            any.clone(),
            "--http".to_owned(),
            any,
        ];
        for setting in settings {
            args.extend(["--set".to_owned(), (*setting).to_owned()]);
        }
        self.data_nodes[index] = Some(Process::start(&args));
    }

    pub fn kill_data_node(&mut self, index: usize) {
        self.data_nodes[index] = None;
    }

    pub fn data_node(&mut self, index: usize) -> &mut Process {
        self.data_nodes[index].as_mut().unwrap()
    }

    /// Kills the name node and starts it again at the same address.
    pub fn restart_name_node(&mut self) {
        let rpc = self.rpc().to_string();
        self.name_node.kill();
        self.name_node = start_name_node(&self.directory.path().join("nn"), &rpc, &self.settings);
    }

    /// A number from the name node's metrics page.
    pub fn metric(&self, name: &str) -> u64 {
        let page = http_get(self.name_node.address("http"), "/metrics");
        let line = page
            .lines()
            .find(|line| line.starts_with(name) && line[name.len()..].starts_with(' '));
        line.unwrap_or_else(|| panic!("no {name} in {page}"))
            .rsplit(' ')
            .next()
            .unwrap()
            .parse::<f64>()
            .unwrap() as u64
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

fn start_name_node(directory: &std::path::Path, rpc: &str, settings: &[String]) -> Process {
    let mut args = vec![
        "namenode".to_owned(),
        "--data".to_owned(),
        directory.display().to_string(),
        "--rpc".to_owned(),
        rpc.to_owned(),
        "--http".to_owned(),
        "127.0.0.1:0".to_owned(),
    ];
    for setting in settings {
        args.extend(["--set".to_owned(), setting.clone()]);
    }
    Process::start(&args)
}

/// The body of an HTTP answer.
pub fn http_get(address: SocketAddr, path: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
        .split_once("\r\n\r\n")
        .map(|(_, body)| body.to_owned())
        .unwrap_or_default()
}

/// Waits until `done`, or fails after some seconds.
pub fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
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
