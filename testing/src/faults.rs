//! A network between two processes that can be cut, slowed and mended: a TCP proxy in user space.
//!
//! A client connects to [`Link::address`] instead of the server's own address. One link is one direction of knowing, not of
//! traffic: to part two peers that dial each other, put a link before each. What a link does to bytes that are under way
//! when its state changes is what a network would do: they are delivered or lost, never changed or reordered.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// How often a reader looks whether the link's state changed.
const POLL_INTERVAL: Duration = Duration::from_millis(5);
const BUFFER_BYTES: usize = 64 << 10;

/// What happens to what passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Bytes pass as they come.
    Open,
    /// Bytes pass, each piece this much later.
    Delayed(Duration),
    /// Connections stay and nothing passes, as when a cable is pulled; new connections are accepted and get no answer.
    Silent,
    /// Connections are reset, and so are new ones, as when a host is gone and its router says so.
    Reset,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    state: Mutex<State>,
    closed: AtomicBool,
}

impl Shared {
    fn state(&self) -> State {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Waits while the link is silent; whether bytes may pass now.
    fn may_pass(&self) -> bool {
        loop {
            match self.state() {
                _ if self.is_closed() => return false,
                State::Open => return true,
                State::Delayed(delay) => {
                    thread::sleep(delay);
                    return true;
                }
                State::Silent => thread::sleep(POLL_INTERVAL),
                State::Reset => return false,
            }
        }
    }
}

/// A link to one server. It ends, with its connections, when dropped.
#[derive(Debug)]
pub struct Link {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Link {
    /// A link in state [`State::Open`] on a free port of the loopback. The server need not be there yet.
    #[track_caller]
    pub fn to(target: SocketAddr) -> Self {
        let listener = host::free_port::listen().unwrap_or_else(|error| panic!("no port for a link: {error}"));
        let address = listener
            .local_addr()
            .unwrap_or_else(|error| panic!("no address of a link: {error}"));
        let shared = Arc::new(Shared {
            target,
            state: Mutex::new(State::Open),
            closed: AtomicBool::new(false),
        });
        let of_listener = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, &of_listener));
        Self { address, shared }
    }

    /// Where a client connects.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn set(&self, state: State) {
        *self.shared.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Relaxed);
        // Wakes the listener, which then ends.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.address.port()));
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        if shared.is_closed() {
            return;
        }
        let Ok(client) = client else { continue };
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            // A connection that fails ends; that is what its two ends see.
            let _ = connect(client, &shared);
        });
    }
}

fn connect(client: TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    if !shared.may_pass() {
        return reset(&client);
    }
    let server = match TcpStream::connect(shared.target) {
        Ok(server) => server,
        Err(_) => return reset(&client),
    };
    let (client_too, server_too) = (client.try_clone()?, server.try_clone()?);
    let of_answers = Arc::clone(shared);
    let answers = thread::spawn(move || pass(&server_too, &client_too, &of_answers));
    let asked = pass(&client, &server, shared);
    let answered = answers
        .join()
        .unwrap_or_else(|_| Err(io::Error::other("a thread panicked")));
    asked.and(answered)
}

/// Passes bytes one way until an end closes, or the link is reset.
fn pass(mut from: &TcpStream, mut to: &TcpStream, shared: &Shared) -> io::Result<()> {
    from.set_read_timeout(Some(POLL_INTERVAL))?;
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return to.shutdown(Shutdown::Write),
            Ok(read) => {
                if !shared.may_pass() {
                    reset(from)?;
                    return reset(to);
                }
                to.write_all(&buffer[..read])?;
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                if shared.is_closed() || shared.state() == State::Reset {
                    reset(from)?;
                    return reset(to);
                }
            }
            Err(error) => return Err(error),
        }
    }
}

/// Closes so that the peer sees a reset: with unread bytes in a closed socket, or a lingering time of 0, Linux sends RST.
fn reset(stream: &TcpStream) -> io::Result<()> {
    rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO))?;
    stream.shutdown(Shutdown::Both)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers each byte with the same byte.
    fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                thread::spawn(move || {
                    let mut byte = [0];
                    while stream.read_exact(&mut byte).is_ok() && stream.write_all(&byte).is_ok() {}
                });
            }
        });
        address
    }

    fn ask(stream: &mut TcpStream, byte: u8) -> io::Result<u8> {
        stream.write_all(&[byte])?;
        let mut answer = [0];
        stream.read_exact(&mut answer)?;
        Ok(answer[0])
    }

    fn connection(link: &Link) -> TcpStream {
        let stream = TcpStream::connect(link.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        stream
    }

    #[test]
    fn a_silent_link_loses_nothing_that_it_had_accepted() {
        let link = Link::to(echo());
        let mut stream = connection(&link);
        assert_eq!(ask(&mut stream, 1).unwrap(), 1);
        link.set(State::Silent);
        let silence = ask(&mut stream, 2).unwrap_err();
        assert!(matches!(
            silence.kind(),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
        ));
        link.set(State::Open);
        stream.set_read_timeout(Some(crate::DEADLINE)).unwrap();
        let mut answer = [0];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer, [2]);
    }

    #[test]
    fn a_delayed_link_is_late() {
        let link = Link::to(echo());
        link.set(State::Delayed(Duration::from_millis(30)));
        let mut stream = connection(&link);
        stream.set_read_timeout(Some(crate::DEADLINE)).unwrap();
        let began = std::time::Instant::now();
        assert_eq!(ask(&mut stream, 9).unwrap(), 9);
        assert!(began.elapsed() >= Duration::from_millis(60), "there and back");
    }

    #[test]
    fn a_reset_link_ends_old_and_new_connections() {
        let link = Link::to(echo());
        let mut old = connection(&link);
        assert_eq!(ask(&mut old, 1).unwrap(), 1);
        link.set(State::Reset);
        old.set_read_timeout(Some(crate::DEADLINE)).unwrap();
        assert!(matches!(old.read(&mut [0]), Ok(0) | Err(_)));
        let mut new = connection(&link);
        new.set_read_timeout(Some(crate::DEADLINE)).unwrap();
        assert!(matches!(new.read(&mut [0]), Ok(0) | Err(_)));
    }
}
