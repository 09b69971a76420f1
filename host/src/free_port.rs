//! Ports that are free, and stay free while a process restarts.
//!
//! They are looked for below the range from which the kernel gives ports to outgoing connections, and to a bind of
//! port 0: from within it, another process could take the port just when a killed process is started again.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

/// Linux hands out 32768 and up, other systems 49152 and up.
const RANGE: Range<u16> = 20_000..32_000;
const WIDTH: u32 = (RANGE.end - RANGE.start) as u32;

/// Where this process looks next; two processes begin at different places.
static NEXT: LazyLock<AtomicU32> = LazyLock::new(|| {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    AtomicU32::new((now.subsec_nanos() ^ (std::process::id() << 13)) % WIDTH)
});

/// A listener on the loopback, on a port that this process was not given before.
///
/// # Errors
/// `AddrInUse` when none is free.
pub fn listen() -> io::Result<TcpListener> {
    listen_from(&NEXT)
}

fn listen_from(next: &AtomicU32) -> io::Result<TcpListener> {
    (0..WIDTH)
        .filter_map(|_| u16::try_from(next.fetch_add(1, Ordering::Relaxed) % WIDTH).ok())
        .find_map(|offset| TcpListener::bind((Ipv4Addr::LOCALHOST, RANGE.start + offset)).ok())
        .ok_or_else(|| {
            let (first, last) = (RANGE.start, RANGE.end - 1);
            io::Error::new(
                io::ErrorKind::AddrInUse,
                format!("no port from {first} to {last} is free: stop some programs"),
            )
        })
}

/// A free address on the loopback, for a process that is started, and started again, with it.
///
/// # Errors
/// As [`listen`].
pub fn address() -> io::Result<SocketAddr> {
    listen()?.local_addr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_twice_though_nobody_listens_on_it() {
        let mut ports: Vec<u16> = (0..100).map(|_| address().unwrap().port()).collect();
        assert!(ports.iter().all(|port| RANGE.contains(port)));
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 100);
    }

    #[test]
    fn a_port_that_somebody_has_is_passed_over() {
        let held = listen().unwrap().local_addr().unwrap().port();
        let again = TcpListener::bind((Ipv4Addr::LOCALHOST, held)).unwrap();
        let next = AtomicU32::new(u32::from(held - RANGE.start));
        assert_ne!(listen_from(&next).unwrap().local_addr().unwrap().port(), held);
        drop(again);
    }
}
