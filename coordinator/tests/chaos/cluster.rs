//! Three members as processes, with the proxy between them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;
use std::time::{Duration, Instant};

use coordinator_client::Client;
use testing::process::send;
use testing::{Program, Signal, TestDir};
use tokio::net::TcpListener;

use crate::proxy::Network;

/// A cluster that has no leader so long after everything healed has lost more than a leader.
const HEAL_TIMEOUT: Duration = Duration::from_secs(40);

/// The members; killed when dropped.
pub struct Cluster {
    /// Kept when a test fails: what a failed run leaves is worth reading.
    _directory: TestDir,
    pub network: Arc<Network>,
    members: Vec<Member>,
}

struct Member {
    child: Child,
    flags: Vec<String>,
    client: SocketAddr,
    log: PathBuf,
}

impl Cluster {
    pub async fn start(members: usize) -> Self {
        let directory = TestDir::new();
        let network = Network::new(members);
        let (mut advertised, mut places) = (Vec::new(), Vec::new());
        for number in 0..members {
            let proxy = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let (peer, client) = (free_address(), free_address());
            let address = proxy.local_addr().expect("bound");
            advertised.push(format!("n{number}=http://{address}"));
            network.serve(proxy, number, peer);
            places.push((peer, client, address));
        }
        let initial = advertised.join(",");
        let members = places.iter().enumerate().map(|(number, (peer, client, proxy))| {
            let data = directory.join(format!("n{number}"));
            let flags = vec![
                format!("--name=n{number}"),
                format!("--data-dir={}", data.display()),
                format!("--listen-client-urls=http://{client}"),
                format!("--advertise-client-urls=http://{client}"),
                format!("--listen-peer-urls=http://{peer}"),
                format!("--initial-advertise-peer-urls=http://{proxy}"),
                format!("--initial-cluster={initial}"),
                "--initial-cluster-state=new".to_owned(),
                "--initial-cluster-token=chaos".to_owned(),
                // Few, so that members that were away need a snapshot.
                "--snapshot-catchup-entries=10".to_owned(),
            ];
            let log = directory.join(format!("n{number}.log"));
            let child = spawn(&flags, &log);
            network.set_pid(number, child.id());
            Member {
                child,
                flags,
                client: *client,
                log,
            }
        });
        let members = members.collect();
        let cluster = Self {
            _directory: directory,
            network,
            members,
        };
        cluster.until_it_serves().await;
        cluster
    }

    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Where clients connect, a member each.
    pub fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(|member| member.client.to_string()).collect()
    }

    pub fn kill(&mut self, member: usize) {
        let member = &mut self.members[member];
        member.child.kill().expect("it is a child");
        member.child.wait().expect("it ends");
    }

    pub fn start_again(&mut self, number: usize) {
        let member = &mut self.members[number];
        member.child = spawn(&member.flags, &member.log);
        self.network.set_pid(number, member.child.id());
    }

    pub fn signal(&self, member: usize, signal: Signal) {
        send(&self.members[member].child, signal);
    }

    /// How often a member took in the state of another one.
    pub fn snapshots(&self) -> usize {
        let logs = self.members.iter().map(|member| std::fs::read_to_string(&member.log));
        logs.map(|log| log.unwrap_or_default().matches("applied snapshot").count())
            .sum()
    }

    /// A member that ended by itself found something that it cannot live with; nothing here gives reason to.
    pub fn assert_all_run(&mut self) {
        for (number, member) in self.members.iter_mut().enumerate() {
            if let Some(status) = member.child.try_wait().expect("a child") {
                let log = std::fs::read_to_string(&member.log).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                let end = lines[lines.len().saturating_sub(20)..].join("\n");
                panic!("member {number} ended with {status}:\n{end}");
            }
        }
    }

    /// Waits until each member answers a linearizable read, which all of them can once there is a leader.
    pub async fn until_it_serves(&self) {
        let begun = Instant::now();
        for member in &self.members {
            loop {
                if let Ok(client) = Client::lazy(&member.client.to_string())
                    && let Ok(Ok(_)) = tokio::time::timeout(Duration::from_secs(2), client.get("any")).await
                {
                    break;
                }
                if begun.elapsed() > HEAL_TIMEOUT {
                    let log = std::fs::read_to_string(&member.log).unwrap_or_default();
                    panic!("{} does not serve:\n{log}", member.client);
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for member in &mut self.members {
            let _already_ended = member.child.kill();
            let _reaped = member.child.wait();
        }
    }
}

fn spawn(flags: &[String], log: &Path) -> Child {
    Program::new(env!("CARGO_BIN_EXE_coordinator"))
        .args(flags)
        .log_to(log)
        .spawn()
}

fn free_address() -> SocketAddr {
    host::free_port::address().expect("a port")
}
