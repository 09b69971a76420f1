//! The block store: a name node and data nodes that stock HDFS clients take for HDFS.
//!
//! # Rooms
//! Pure, without sockets, clocks or disks: [`namespace`] (which files there are, which blocks they have, who writes them),
//! [`block`] (where the blocks are, and what to do when they are not), [`pipeline`] (what a packet does to a replica).
//! Around them: [`ipc`] (Hadoop RPC over TCP, both ends), [`namenode`] (the calls, the edit log, the image), [`datanode`]
//! (replicas on disk, the write pipeline, reads) and [`webhdfs`] (the same over HTTP).
//!
//! # How a file is written
//! The client asks the name node to `create` it and to `addBlock`; it opens a connection to the first data node of that
//! block's pipeline and sends packets, which each data node passes on to the next and acknowledges once all behind it
//! have; on `complete` the name node waits until a data node has reported the block. Every change of the namespace is in the
//! edit log on disk before it is answered.
//!
//! # Where it stops
//! One name node. Deliberately missing: high availability, erasure coding, snapshots, quotas, encryption, Kerberos.

pub mod block;
pub mod datanode;
mod error;
pub mod ipc;
pub mod namenode;
pub mod namespace;
pub mod pipeline;
pub mod webhdfs;

use std::ffi::OsString;
use std::process::ExitCode;

pub use error::Error;

/// The program's entry point; the first argument is the program's name.
pub fn main(argv: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut argv = argv.into_iter();
    let program = argv.next().unwrap_or_else(|| "dfs".into());
    let role = argv.next();
    let named = |role: &str| {
        let mut name = program.clone();
        name.push(" ");
        name.push(role);
        std::iter::once(name)
    };
    match role.as_ref().and_then(|role| role.to_str()) {
        Some("namenode") => namenode::main(named("namenode").chain(argv)),
        Some("datanode") => datanode::main(named("datanode").chain(argv)),
        Some("--help" | "-h" | "help") => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        Some("--version" | "-V") => {
            println!("dfs {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("error: say which role to run\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

const USAGE: &str = "Usage: dfs <COMMAND> [OPTIONS]

Commands:
  namenode  Serve the namespace: Hadoop RPC and WebHDFS
  datanode  Serve blocks: data transfer, IPC and HTTP

'dfs namenode --help' and 'dfs datanode --help' list the options.";
