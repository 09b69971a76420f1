//! Who holds a port: `/proc/net/tcp` gives the socket's inode, `/proc/*/fd` the process that has it open.
//!
//! Best effort: other users' processes hide their descriptors, and other systems have no `/proc`. Then the message about
//! a taken port goes without a name.

use std::fs;

use super::procfs;

/// `pid 4711 (java -jar …)`, where it can be known.
pub fn describe(port: u16) -> Option<String> {
    let inodes = listening_inodes(port);
    let pid = pids().find(|pid| holds_any(*pid, &inodes))?;
    match procfs::command_line(pid) {
        Some(command) => Some(format!("pid {pid} ({command})")),
        None => Some(format!("pid {pid}")),
    }
}

fn listening_inodes(port: u16) -> Vec<String> {
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|table| parse_table(&table, port))
        .collect()
}

/// The inodes of the sockets that listen on `port`. A row is `sl local rem st …`, ports in hex, state 0A is LISTEN.
fn parse_table(table: &str, port: u16) -> Vec<String> {
    let suffix = format!(":{port:04X}");
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let listens = fields.get(1)?.ends_with(&suffix) && *fields.get(3)? == "0A";
            listens.then(|| fields.get(9).map(|inode| (*inode).to_owned()))?
        })
        .collect()
}

fn pids() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn holds_any(pid: u32, inodes: &[String]) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    descriptors
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .any(|target| {
            let target = target.to_string_lossy();
            target
                .strip_prefix("socket:[")
                .and_then(|rest| rest.strip_suffix(']'))
                .is_some_and(|inode| inodes.iter().any(|wanted| wanted == inode))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listening_rows_of_the_port_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:2384 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1111 1 0
   1: 0100007F:2384 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 2222 1 0
   2: 0100007F:2385 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 3333 1 0
   3: broken";
        assert_eq!(parse_table(table, 9092), vec!["1111".to_owned()]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn names_this_process() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let holder = describe(listener.local_addr().unwrap().port()).unwrap();
        assert!(holder.starts_with(&format!("pid {} (", std::process::id())), "{holder}");
    }
}
