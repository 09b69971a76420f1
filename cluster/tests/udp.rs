//! Three agents on loopback: they find each other, notice a death, and listen to no one without the key.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::net::UdpSocket;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use cluster::member::{Effect, Settings};
use cluster::udp::Agent;

/// Far beyond what it takes: a machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

fn start(id: u64, key: &[u8]) -> (Agent, Receiver<Effect>) {
    let settings = Settings {
        period: 100,
        ack_timeout: 40,
        suspicion_max_factor: 2,
        ..Settings::default()
    };
    let (sender, receiver) = channel();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    (
        Agent::start(socket, key, settings, (id, 1), id, sender).unwrap(),
        receiver,
    )
}

fn wait_for(effects: &Receiver<Effect>, wanted: impl Fn(&Effect) -> bool) {
    while !wanted(&effects.recv_timeout(PATIENCE).expect("it happens in time")) {}
}

#[test]
fn agents_find_each_other_and_notice_a_death() {
    let (first, seen) = start(1, b"key");
    let (second, _second_seen) = start(2, b"key");
    let (third, third_seen) = start(3, b"key");
    let (stranger, _) = start(4, b"another key");
    second.join(1, 1, first.address());
    third.join(1, 1, first.address());
    stranger.join(1, 1, first.address());
    third.note("rack", "r7");
    wait_for(
        &seen,
        |effect| matches!(effect, Effect::Noted(note) if note.owner == 3 && note.value == "r7"),
    );
    // Each learned of the other from the first one alone.
    wait_for(&third_seen, |effect| *effect == Effect::Up { id: 2, generation: 1 });
    drop(second);
    wait_for(&third_seen, |effect| *effect == Effect::Down { id: 2, generation: 1 });
    third.leave();
    wait_for(&seen, |effect| *effect == Effect::Down { id: 3, generation: 1 });
    while first.refused() == 0 {
        std::thread::yield_now();
    }
    assert!(first.view().iter().all(|(id, ..)| *id != 4));
}
