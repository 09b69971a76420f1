//! The edge of [`member`](crate::member): a thread, a UDP socket, a shared key.
//!
//! Each datagram is a packet followed by an HMAC-SHA256 under the cluster's key: what does not carry it is counted and
//! thrown away, so no one outside the cluster can declare a member dead. (Replaying an old datagram says nothing new:
//! news is ordered by generation and incarnation.) Addresses travel as each member's note [`ADDRESS`]; until one is
//! known, the address that a datagram came from serves.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ring::hmac;

use crate::member::{Effect, Event, Generation, MemberId, Membership, Settings, Status, wire};

/// The note with a member's address.
pub const ADDRESS: &str = "address";
/// Of an HMAC-SHA256.
const TAG_BYTES: usize = 32;
/// Longer datagrams are none of ours: packets have [`Settings::packet_bytes`].
const DATAGRAM_BYTES_MAX: usize = 9_000;
/// How long the thread waits for a datagram at most, so that it notices commands and its end.
const WAIT_MAX: Duration = Duration::from_millis(20);

/// What is asked of the thread.
enum Command {
    Event(Event),
    Address(MemberId, SocketAddr),
}

/// A member in a cluster, as a thread.
pub struct Agent {
    commands: Sender<Command>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    address: SocketAddr,
}

struct Shared {
    ends: AtomicBool,
    refused: AtomicU64,
    view: Mutex<Vec<(MemberId, Generation, Status)>>,
}

impl Shared {
    fn view(&self) -> MutexGuard<'_, Vec<(MemberId, Generation, Status)>> {
        // A list that is replaced as a whole: it is right whatever happened to another thread.
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Agent {
    /// Starts the thread. What happens is sent to `effects`: all effects but packets.
    pub fn start(
        socket: UdpSocket,
        key: &[u8],
        settings: Settings,
        (id, generation): (MemberId, Generation),
        seed: u64,
        effects: Sender<Effect>,
    ) -> io::Result<Self> {
        let address = socket.local_addr()?;
        let (commands, receiver) = channel();
        let shared = Arc::new(Shared {
            ends: AtomicBool::new(false),
            refused: AtomicU64::new(0),
            view: Mutex::new(Vec::new()),
        });
        let mut edge = Edge {
            member: Membership::new(settings, id, generation, seed, 0),
            socket,
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
            began: Instant::now(),
            addresses: HashMap::new(),
            shared: Arc::clone(&shared),
            effects,
        };
        let spawned = std::thread::Builder::new().name(format!("member-{id}"));
        let thread = spawned.spawn(move || edge.run(&receiver))?;
        let agent = Self {
            commands,
            shared,
            thread: Some(thread),
            address,
        };
        agent.send(Command::Event(Event::Note {
            key: ADDRESS.into(),
            value: address.to_string(),
        }));
        Ok(agent)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn send(&self, command: Command) {
        // It fails only when the thread has ended, and then there is nothing to be told.
        let _ended = self.commands.send(command);
    }

    /// Introduces another member.
    pub fn join(&self, id: MemberId, generation: Generation, address: SocketAddr) {
        self.send(Command::Address(id, address));
        self.send(Command::Event(Event::Joined { id, generation }));
    }

    pub fn note(&self, key: &str, value: &str) {
        self.send(Command::Event(Event::Note {
            key: key.into(),
            value: value.into(),
        }));
    }

    /// What this member knows of all.
    pub fn view(&self) -> Vec<(MemberId, Generation, Status)> {
        self.shared.view().clone()
    }

    /// Datagrams without the cluster's key, or damaged.
    pub fn refused(&self) -> u64 {
        self.shared.refused.load(Ordering::Relaxed)
    }

    /// Says goodbye to the cluster and ends.
    pub fn leave(self) {
        self.send(Command::Event(Event::Leave));
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

struct Edge {
    member: Membership,
    socket: UdpSocket,
    key: hmac::Key,
    began: Instant,
    addresses: HashMap<MemberId, SocketAddr>,
    shared: Arc<Shared>,
    effects: Sender<Effect>,
}

impl Edge {
    fn now(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    fn run(&mut self, commands: &Receiver<Command>) {
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        loop {
            // What was asked before the end is still done: a goodbye, above all.
            let ends = self.shared.ends.load(Ordering::Relaxed);
            while let Ok(command) = commands.try_recv() {
                match command {
                    Command::Event(event) => self.step(event),
                    Command::Address(id, address) => {
                        self.addresses.insert(id, address);
                    }
                }
            }
            if ends {
                return;
            }
            let now = self.now();
            if self.member.deadline() <= now {
                self.step(Event::Tick);
            }
            let wait = self
                .member
                .deadline()
                .saturating_sub(now)
                .clamp(1, WAIT_MAX.as_millis() as u64);
            if self.socket.set_read_timeout(Some(Duration::from_millis(wait))).is_err() {
                return;
            }
            // Without a datagram: time to look at the deadline. Errors of earlier sends (port unreachable) come here as
            // well.
            if let Ok((length, from)) = self.socket.recv_from(&mut buffer) {
                self.datagram(&buffer[..length], from);
            }
        }
    }

    fn datagram(&mut self, bytes: &[u8], from: SocketAddr) {
        let packet = open(&self.key, bytes).and_then(|bytes| wire::decode(bytes).ok());
        let Some(packet) = packet else {
            self.shared.refused.fetch_add(1, Ordering::Relaxed);
            return;
        };
        self.addresses.entry(packet.from).or_insert(from);
        self.step(Event::Packet(packet));
    }

    fn step(&mut self, event: Event) {
        let now = self.now();
        let mut effects = Vec::new();
        self.member.step(event, now, &mut effects);
        for effect in effects {
            match effect {
                Effect::Send { to, packet } => {
                    if let Some(address) = self.addresses.get(&to) {
                        let datagram = seal(&self.key, wire::encode(&packet));
                        // As good as lost on the way: it is UDP.
                        let _lost = self.socket.send_to(&datagram, address);
                    }
                }
                effect => {
                    if let Effect::Noted(note) = &effect
                        && note.key == ADDRESS
                        && let Ok(address) = note.value.parse()
                    {
                        self.addresses.insert(note.owner, address);
                    }
                    let _not_read = self.effects.send(effect);
                }
            }
        }
        let mut view = self.shared.view();
        view.clear();
        view.extend(
            self.member
                .present()
                .map(|rumor| (rumor.id, rumor.generation, rumor.status)),
        );
    }
}

fn seal(key: &hmac::Key, mut bytes: Vec<u8>) -> Vec<u8> {
    let tag = hmac::sign(key, &bytes);
    bytes.extend_from_slice(tag.as_ref());
    bytes
}

fn open<'a>(key: &hmac::Key, bytes: &'a [u8]) -> Option<&'a [u8]> {
    let (bytes, tag) = bytes.split_at_checked(bytes.len().checked_sub(TAG_BYTES)?)?;
    hmac::verify(key, bytes, tag).ok().map(|()| bytes)
}
