//! The proxy in front of each member's peer port: every connection between two members can be cut.
//!
//! Members must be told the same peer URL of a member, so the address does not say who connects; the process that holds the
//! other end of the connection does, and Linux tells which one that is.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Who can be reached from whom, and which process is which member.
#[derive(Debug)]
pub struct Network {
    /// Pairs (from, to) over which nothing is carried; a pair is directed as the bytes are.
    cut: watch::Sender<BTreeSet<(usize, usize)>>,
    pids: Mutex<Vec<u32>>,
}

impl Network {
    pub fn new(members: usize) -> Arc<Self> {
        Arc::new(Self {
            cut: watch::Sender::new(BTreeSet::new()),
            pids: Mutex::new(vec![0; members]),
        })
    }

    pub fn set_pid(&self, member: usize, pid: u32) {
        self.pids.lock().expect("no panic")[member] = pid;
    }

    pub fn cut(&self, from: usize, to: usize) {
        self.cut.send_modify(|cut| {
            cut.insert((from, to));
        });
    }

    pub fn heal(&self) {
        self.cut.send_modify(BTreeSet::clear);
    }

    /// Accepts on `listener` for member `to`, which listens at `target`.
    pub fn serve(self: &Arc<Self>, listener: TcpListener, to: usize, target: SocketAddr) {
        let network = Arc::clone(self);
        tokio::spawn(async move {
            loop {
                let Ok((stream, peer)) = listener.accept().await else {
                    return;
                };
                let network = Arc::clone(&network);
                tokio::spawn(async move {
                    // A member that is gone again already: no one to carry anything for.
                    if let Some(from) = network.member_at(peer) {
                        network.carry(stream, from, to, target).await;
                    }
                });
            }
        });
    }

    async fn carry(&self, from_stream: TcpStream, from: usize, to: usize, target: SocketAddr) {
        self.open(from, to).await;
        let Ok(to_stream) = TcpStream::connect(target).await else {
            return;
        };
        let (from_read, from_write) = from_stream.into_split();
        let (to_read, to_write) = to_stream.into_split();
        // Either direction's end is the connection's.
        tokio::select! {
            () = self.pour(from_read, to_write, from, to) => {}
            () = self.pour(to_read, from_write, to, from) => {}
        }
    }

    /// Carries bytes; while the pair is cut they wait, as they do in a network that drops packets and a TCP that repeats
    /// them.
    async fn pour(
        &self,
        mut read: tokio::net::tcp::OwnedReadHalf,
        mut write: tokio::net::tcp::OwnedWriteHalf,
        from: usize,
        to: usize,
    ) {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let Ok(count @ 1..) = read.read(&mut buffer).await else {
                return;
            };
            self.open(from, to).await;
            if write.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    }

    async fn open(&self, from: usize, to: usize) {
        let mut cut = self.cut.subscribe();
        let _network_gone = cut.wait_for(|cut| !cut.contains(&(from, to))).await;
    }

    /// Which member's process holds the socket whose local address is `peer`.
    fn member_at(&self, peer: SocketAddr) -> Option<usize> {
        let inode = inode_of(peer)?;
        let pids = self.pids.lock().expect("no panic").clone();
        pids.iter().position(|pid| holds(*pid, &inode))
    }
}

/// The inode of the socket with a local IPv4 address, from the kernel's table.
fn inode_of(local: SocketAddr) -> Option<String> {
    let SocketAddr::V4(address) = local else { return None };
    let wanted = format!(
        "{:08X}:{:04X}",
        u32::from_le_bytes(address.ip().octets()),
        address.port()
    );
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (fields.get(1) == Some(&wanted.as_str())).then(|| fields.get(9).map(|inode| (*inode).to_owned()))?
    })
}

fn holds(pid: u32, inode: &str) -> bool {
    let Ok(open) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    let wanted = format!("socket:[{inode}]");
    open.flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .any(|target| target.to_string_lossy() == wanted)
}
