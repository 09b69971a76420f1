//! The same clusters, the same losses and deaths, once with this crate and once with `foca`: both must come to the same
//! view, and neither in a time that the other would be ashamed of.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

use bytes::{Buf, BufMut};
use cluster::member::{Effect, Event, Membership, Settings};
use foca::{Codec, Foca, Header, Member, Message, NoCustomBroadcast, OwnedNotification, State, Timer};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

const NODES: u64 = 12;
const DELAY_MS: u64 = 5;
const CRASH_AT: u64 = 20_000;
const END: u64 = 90_000;

/// What each node of a run knows at its end, and when each of the dead was declared by the last of the living.
#[derive(Debug)]
struct Seen {
    views: Vec<BTreeSet<u64>>,
    last_down: u64,
    wrongly_down: usize,
}

/// Events in order of time, then of scheduling.
struct Queue<E> {
    events: std::collections::BTreeMap<(u64, u64), E>,
    next: u64,
}

impl<E> Queue<E> {
    fn new() -> Self {
        Self {
            events: Default::default(),
            next: 0,
        }
    }

    fn at(&mut self, at: u64, event: E) {
        self.next += 1;
        self.events.insert((at, self.next), event);
    }

    fn pop(&mut self) -> Option<(u64, E)> {
        let ((at, _), event) = self.events.pop_first()?;
        (at < END).then_some((at, event))
    }
}

fn dead(seed: u64) -> BTreeSet<u64> {
    BTreeSet::from([1 + seed % NODES, 1 + (seed / 3) % NODES])
}

fn ours(seed: u64, loss_percent: u32) -> Seen {
    enum Next {
        Tick(u64),
        Packet(u64, cluster::member::Packet),
    }
    let mut random = StdRng::seed_from_u64(seed);
    let dead = dead(seed);
    let mut queue = Queue::new();
    let mut members: Vec<Membership> = (1..=NODES)
        .map(|id| Membership::new(Settings::default(), id, 1, seed, 0))
        .collect();
    let mut effects = Vec::new();
    let mut seen = Seen {
        views: Vec::new(),
        last_down: 0,
        wrongly_down: 0,
    };
    for id in 1..=NODES {
        queue.at(0, Next::Tick(id));
    }
    while let Some((now, next)) = queue.pop() {
        let id = match &next {
            Next::Tick(id) | Next::Packet(id, _) => *id,
        };
        if now >= CRASH_AT && dead.contains(&id) {
            continue;
        }
        let member = &mut members[id as usize - 1];
        match next {
            Next::Tick(_) => {
                if id != 1 && now == 0 {
                    member.step(Event::Joined { id: 1, generation: 1 }, now, &mut effects);
                }
                member.step(Event::Tick, now, &mut effects);
                // A packet may move the deadline nearer: it is looked at ten times a second.
                queue.at(member.deadline().clamp(now + 1, now + 100), Next::Tick(id));
            }
            Next::Packet(_, packet) => member.step(Event::Packet(packet), now, &mut effects),
        }
        for effect in effects.drain(..) {
            match effect {
                Effect::Send { to, packet } if random.random_range(0..100) >= loss_percent => {
                    queue.at(now + DELAY_MS, Next::Packet(to, packet));
                }
                Effect::Down { id: down, .. } if dead.contains(&down) && now >= CRASH_AT => seen.last_down = now,
                Effect::Down { .. } => seen.wrongly_down += 1,
                _ => {}
            }
        }
    }
    let living = members.iter().filter(|member| !dead.contains(&member.id()));
    seen.views = living
        .map(|member| member.present().map(|rumor| rumor.id).collect())
        .collect();
    seen
}

fn address(id: u64) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 10_000 + id as u16).into()
}

fn id_of(address: SocketAddr) -> u64 {
    u64::from(address.port() - 10_000)
}

/// Addresses as ports, everything else as it comes.
struct Ports;

#[derive(Debug)]
struct Damaged;

impl std::fmt::Display for Damaged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("damaged")
    }
}

impl std::error::Error for Damaged {}

fn port(mut bytes: impl Buf) -> Result<SocketAddr, Damaged> {
    let port = bytes.try_get_u16().map_err(|_| Damaged)?;
    Ok((Ipv4Addr::LOCALHOST, port).into())
}

impl Codec<SocketAddr> for Ports {
    type Error = Damaged;

    fn encode_header(&mut self, header: &Header<SocketAddr>, mut into: impl BufMut) -> Result<(), Damaged> {
        into.put_u16(header.src.port());
        into.put_u16(header.src_incarnation);
        into.put_u16(header.dst.port());
        let (kind, other, number) = match &header.message {
            Message::Ping(number) => (0, None, *number),
            Message::Ack(number) => (1, None, *number),
            Message::PingReq { target, probe_number } => (2, Some(target), *probe_number),
            Message::IndirectPing { origin, probe_number } => (3, Some(origin), *probe_number),
            Message::IndirectAck { target, probe_number } => (4, Some(target), *probe_number),
            Message::ForwardedAck { origin, probe_number } => (5, Some(origin), *probe_number),
            Message::Announce => (6, None, 0),
            Message::Feed => (7, None, 0),
            Message::Gossip => (8, None, 0),
            Message::Broadcast => (9, None, 0),
            Message::TurnUndead => (10, None, 0),
        };
        into.put_u8(kind);
        into.put_u16(other.map_or(0, SocketAddr::port));
        into.put_u64(number.into());
        Ok(())
    }

    fn decode_header(&mut self, mut bytes: impl Buf) -> Result<Header<SocketAddr>, Damaged> {
        let src = port(&mut bytes)?;
        let src_incarnation = bytes.try_get_u16().map_err(|_| Damaged)?;
        let dst = port(&mut bytes)?;
        let kind = bytes.try_get_u8().map_err(|_| Damaged)?;
        let other = port(&mut bytes)?;
        let number = bytes.try_get_u64().map_err(|_| Damaged)?;
        let probe_number = number.try_into().map_err(|_| Damaged)?;
        let message = match kind {
            0 => Message::Ping(probe_number),
            1 => Message::Ack(probe_number),
            2 => Message::PingReq {
                target: other,
                probe_number,
            },
            3 => Message::IndirectPing {
                origin: other,
                probe_number,
            },
            4 => Message::IndirectAck {
                target: other,
                probe_number,
            },
            5 => Message::ForwardedAck {
                origin: other,
                probe_number,
            },
            6 => Message::Announce,
            7 => Message::Feed,
            8 => Message::Gossip,
            9 => Message::Broadcast,
            10 => Message::TurnUndead,
            _ => return Err(Damaged),
        };
        Ok(Header {
            src,
            src_incarnation,
            dst,
            message,
        })
    }

    fn encode_member(&mut self, member: &Member<SocketAddr>, mut into: impl BufMut) -> Result<(), Damaged> {
        into.put_u16(member.id().port());
        into.put_u16(member.incarnation());
        into.put_u8(member.state() as u8);
        Ok(())
    }

    fn decode_member(&mut self, mut bytes: impl Buf) -> Result<Member<SocketAddr>, Damaged> {
        let id = port(&mut bytes)?;
        let incarnation = bytes.try_get_u16().map_err(|_| Damaged)?;
        let state = match bytes.try_get_u8() {
            Ok(0) => State::Alive,
            Ok(1) => State::Suspect,
            Ok(2) => State::Down,
            _ => return Err(Damaged),
        };
        Ok(Member::new(id, incarnation, state))
    }
}

fn theirs(seed: u64, loss_percent: u32) -> Seen {
    enum Next {
        Timer(Timer<SocketAddr>),
        Data(Vec<u8>),
    }
    let mut random = StdRng::seed_from_u64(seed);
    let dead = dead(seed);
    let mut queue = Queue::new();
    let mut config = foca::Config::new_lan(NonZeroU32::new(NODES as u32).unwrap());
    config.probe_period = Duration::from_secs(1);
    let new = |id| {
        let random = StdRng::seed_from_u64(seed ^ id);
        Foca::<_, _, _, NoCustomBroadcast>::new(address(id), config.clone(), random, Ports)
    };
    let mut members: Vec<_> = (1..=NODES).map(new).collect();
    let mut seen = Seen {
        views: Vec::new(),
        last_down: 0,
        wrongly_down: 0,
    };
    let mut runtime = foca::AccumulatingRuntime::new();
    let mut carry_out = |id: u64,
                         now: u64,
                         runtime: &mut foca::AccumulatingRuntime<SocketAddr>,
                         queue: &mut Queue<_>,
                         seen: &mut Seen| {
        while let Some((to, data)) = runtime.to_send() {
            if random.random_range(0..100) >= loss_percent {
                queue.at(now + DELAY_MS, (id_of(to), Next::Data(data.to_vec())));
            }
        }
        while let Some((after, timer)) = runtime.to_schedule() {
            queue.at(now + after.as_millis() as u64, (id, Next::Timer(timer)));
        }
        while let Some(notification) = runtime.to_notify() {
            if let OwnedNotification::MemberDown(down) = notification {
                if dead.contains(&id_of(down)) && now >= CRASH_AT {
                    seen.last_down = now;
                } else {
                    seen.wrongly_down += 1;
                }
            }
        }
    };
    for id in 2..=NODES {
        members[id as usize - 1].announce(address(1), &mut runtime).unwrap();
        carry_out(id, 0, &mut runtime, &mut queue, &mut seen);
        // An announcement that is lost is made again.
        members[id as usize - 1].announce(address(1), &mut runtime).unwrap();
        carry_out(id, 1, &mut runtime, &mut queue, &mut seen);
    }
    while let Some((now, (id, next))) = queue.pop() {
        if now >= CRASH_AT && dead.contains(&id) {
            continue;
        }
        let member = &mut members[id as usize - 1];
        // Errors are about single packets (of a member that was declared dead, say): they change nothing.
        let _result = match next {
            Next::Timer(timer) => member.handle_timer(timer, &mut runtime),
            Next::Data(data) => member.handle_data(&data, &mut runtime),
        };
        carry_out(id, now, &mut runtime, &mut queue, &mut seen);
    }
    let living = members
        .iter()
        .filter(|member| !dead.contains(&id_of(*member.identity())));
    seen.views = living
        .map(|member| {
            let others = member.iter_members().map(|known| id_of(*known.id()));
            others.chain([id_of(*member.identity())]).collect()
        })
        .collect();
    seen
}

#[test]
fn both_come_to_the_same_view_of_the_same_deaths() {
    let mut compared = 0;
    for seed in 0..12 {
        let loss_percent = [0, 2, 5][seed as usize % 3];
        let living: BTreeSet<u64> = (1..=NODES).filter(|id| !dead(seed).contains(id)).collect();
        let (ours, theirs) = (ours(seed, loss_percent), theirs(seed, loss_percent));
        assert_eq!(ours.wrongly_down, 0, "seed {seed}");
        for view in &ours.views {
            assert_eq!(*view, living, "seed {seed}: {ours:?}");
        }
        // Without Lifeguard, foca declares a living member dead now and then where one packet in twenty is lost; it does
        // not come back under the same identity.
        if theirs.wrongly_down > 0 {
            assert_eq!(loss_percent, 5, "seed {seed}: {theirs:?}");
            continue;
        }
        compared += 1;
        for view in &theirs.views {
            assert_eq!(*view, living, "seed {seed}: {theirs:?}");
        }
        let (mine, other) = (ours.last_down - CRASH_AT, theirs.last_down - CRASH_AT);
        assert!(
            mine < 4 * other + 20_000,
            "seed {seed}: {mine} ms, and foca needs {other} ms"
        );
    }
    assert!(compared >= 8, "foca was wrong in all others");
}
