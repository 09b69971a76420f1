//! The core: events and time in, packets and news out.

use std::collections::VecDeque;

use super::dissemination::{self, Dissemination};
use super::health::Health;
use super::notes::{LwwMap, Note};
use super::probe::{Errand, Probe, RoundRobin};
use super::suspicion::Suspicion;
use super::table::{Rumor, Status, Table};
use super::wire;
use super::{Body, Generation, MemberId, Millis, Packet};
use crate::plant::{self, Plant};

/// How patient a member is, and how much it says.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Between two probes.
    pub period: Millis,
    /// How long a direct probe may take before others are asked.
    pub ack_timeout: Millis,
    /// How many others are asked.
    pub indirect: usize,
    /// The shortest suspicion, in periods times the logarithm of the members (Lifeguard's α).
    pub suspicion_factor: u32,
    /// The longest one, as a multiple of the shortest (β).
    pub suspicion_max_factor: u32,
    /// How often each rumor is sent, times the logarithm of the members (SWIM's λ).
    pub transmit_factor: u32,
    pub packet_bytes: usize,
    /// Between two comparisons of all that is known with some other member.
    pub exchange_every: Millis,
    /// Members that are remembered, dead ones too.
    pub members_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            period: 1_000,
            ack_timeout: 300,
            indirect: 3,
            suspicion_factor: 4,
            suspicion_max_factor: 6,
            transmit_factor: 4,
            packet_bytes: 1_200,
            exchange_every: 30_000,
            members_max: 20_000,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Packet(Packet),
    /// The deadline has come.
    Tick,
    /// Introduces a member, by configuration or a registry.
    Joined {
        id: MemberId,
        generation: Generation,
    },
    /// The member's own note.
    Note {
        key: String,
        value: String,
    },
    /// The member ends, on purpose.
    Leave,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    Send {
        to: MemberId,
        packet: Packet,
    },
    Up {
        id: MemberId,
        generation: Generation,
    },
    /// Suspected: a hint to ask another first.
    Doubt {
        id: MemberId,
    },
    /// Declared dead, or gone by itself.
    Down {
        id: MemberId,
        generation: Generation,
    },
    Noted(Note),
    /// The others hold this member for dead under this generation and incarnation; it refuted.
    Refuted {
        incarnation: u32,
    },
}

/// Errands that a member runs for others at a time; more are not taken on.
const ERRANDS_MAX: usize = 256;
/// Suspected members that are asked again in a period.
const SUSPECTS_ASKED_MAX: usize = 3;

/// One member's view of its cluster.
#[derive(Debug)]
pub struct Membership {
    pub(super) settings: Settings,
    pub(super) id: MemberId,
    pub(super) generation: Generation,
    pub(super) incarnation: u32,
    pub(super) table: Table,
    pub(super) notes: LwwMap,
    pub(super) note_version: u64,
    pub(super) news: Dissemination,
    pub(super) health: Health,
    pub(super) order: RoundRobin,
    pub(super) probe: Option<Probe>,
    pub(super) next_probe: Millis,
    pub(super) next_exchange: Millis,
    pub(super) errands: VecDeque<Errand>,
    pub(super) suspicions: Vec<Suspicion>,
    pub(super) next_number: u64,
    pub(super) random: u64,
    pub(super) left: bool,
}

impl Membership {
    /// A member that knows only itself. `seed` is all its chance.
    pub fn new(settings: Settings, id: MemberId, generation: Generation, seed: u64, now: Millis) -> Self {
        let mut member = Self {
            id,
            generation,
            incarnation: 0,
            table: Table::default(),
            notes: LwwMap::default(),
            note_version: 0,
            news: Dissemination::default(),
            health: Health::default(),
            order: RoundRobin::default(),
            probe: None,
            next_probe: 0,
            next_exchange: 0,
            errands: VecDeque::new(),
            suspicions: Vec::new(),
            next_number: 1,
            random: seed ^ id.rotate_left(32),
            left: false,
            settings,
        };
        // Not all at once.
        member.next_probe = now + member.below(member.settings.period.max(1));
        member.next_exchange = now + member.below(member.settings.exchange_every.max(1));
        let me = member.myself();
        member.table.merge(me, usize::MAX);
        member.news.rumor(me);
        member
    }

    pub fn id(&self) -> MemberId {
        self.id
    }

    /// Members that are known from the start, by configuration: nothing is sent or told for them.
    pub fn know(&mut self, members: impl IntoIterator<Item = (MemberId, Generation)>) {
        for (id, generation) in members.into_iter().filter(|(id, _)| *id != self.id) {
            let rumor = Rumor {
                id,
                generation,
                incarnation: 0,
                status: Status::Alive,
                by: id,
            };
            self.table.merge(rumor, self.settings.members_max);
        }
    }

    /// All that take part, this one included.
    pub fn present(&self) -> impl Iterator<Item = &Rumor> {
        self.table.iter().filter(|rumor| rumor.status.is_present())
    }

    pub fn present_count(&self) -> usize {
        self.table.present()
    }

    /// What is known of a member.
    pub fn status(&self, id: MemberId) -> Option<&Rumor> {
        self.table.get(id)
    }

    pub fn notes(&self) -> &LwwMap {
        &self.notes
    }

    pub fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// When the next tick is due.
    pub fn deadline(&self) -> Millis {
        let probe = self.probe.iter().map(|probe| probe.asks_at.unwrap_or(probe.ends_at));
        let errands = self.errands.front().map(|errand| errand.nack_at);
        let suspicions = self.suspicions.iter().map(Suspicion::ends);
        let all = probe
            .chain(errands)
            .chain(suspicions)
            .chain([self.next_probe, self.next_exchange]);
        all.min().unwrap_or(self.next_probe)
    }

    pub fn step(&mut self, event: Event, now: Millis, effects: &mut Vec<Effect>) {
        if self.left {
            return;
        }
        match event {
            Event::Packet(packet) => self.packet(packet, now, effects),
            Event::Tick => self.tick(now, effects),
            Event::Joined { id, generation } => {
                let rumor = Rumor {
                    id,
                    generation,
                    incarnation: 0,
                    status: Status::Alive,
                    by: id,
                };
                self.heard(rumor, now, effects);
                if id != self.id {
                    let digest = Body::Digest {
                        answer: false,
                        buckets: self.digest(),
                    };
                    self.send(id, digest, effects);
                }
            }
            Event::Note { key, value } => {
                self.note_version += 1;
                let (owner, generation, version) = (self.id, self.generation, self.note_version);
                self.noted(
                    Note {
                        owner,
                        generation,
                        version,
                        key,
                        value,
                    },
                    effects,
                );
            }
            Event::Leave => {
                self.left = true;
                let gone = Rumor {
                    status: Status::Left,
                    ..self.myself()
                };
                self.table.merge(gone, usize::MAX);
                self.news.rumor(gone);
                for _ in 0..self.settings.indirect {
                    if let Some(to) = self.any_other(&[]) {
                        self.send(to, Body::News, effects);
                    }
                }
            }
        }
    }

    pub(super) fn myself(&self) -> Rumor {
        Rumor {
            id: self.id,
            generation: self.generation,
            incarnation: self.incarnation,
            status: Status::Alive,
            by: self.id,
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        // SplitMix64.
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((u128::from(mixed ^ (mixed >> 31)) * u128::from(bound)) >> 64) as u64
    }

    /// A present member, neither this one nor one of `not`.
    fn any_other(&mut self, not: &[MemberId]) -> Option<MemberId> {
        let length = self.table.len() as u64;
        // A table of the dead is rare; a few tries are enough, and then none is found.
        for _ in 0..16 {
            let place = self.below(length.max(1)) as usize;
            let rumor = self.table.at(place)?;
            if rumor.status.is_present() && rumor.id != self.id && !not.contains(&rumor.id) {
                return Some(rumor.id);
            }
        }
        None
    }

    pub(super) fn send(&mut self, to: MemberId, body: Body, effects: &mut Vec<Effect>) {
        let mut packet = Packet {
            from: self.id,
            generation: self.generation,
            body,
            rumors: Vec::new(),
            notes: Vec::new(),
        };
        let mut room = self.settings.packet_bytes.saturating_sub(wire::packet_bytes(&packet));
        // Buddy: a member that is suspected, or was declared dead and speaks, hears of it at once and can refute.
        let known = self.table.get(to).filter(|known| known.status != Status::Alive);
        if let Some(known) = known
            && room >= wire::RUMOR_BYTES
        {
            packet.rumors.push(*known);
            room -= wire::RUMOR_BYTES;
        }
        let times = dissemination::transmissions(self.settings.transmit_factor, self.table.present());
        self.news.take(room, times, &mut packet.rumors, &mut packet.notes);
        effects.push(Effect::Send { to, packet });
    }

    fn tick(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        while let Some(errand) = self.errands.pop_front_if(|errand| errand.nack_at <= now) {
            self.send(
                errand.by,
                Body::Nack {
                    number: errand.their_number,
                },
                effects,
            );
        }
        self.probe_goes_on(now, effects);
        let mut ended = Vec::new();
        self.suspicions.retain(|suspicion| {
            let ends = suspicion.ends() <= now;
            if ends {
                ended.push(suspicion.id);
            }
            !ends
        });
        for id in ended {
            if let Some(known) = self.table.get(id).copied() {
                self.heard(
                    Rumor {
                        status: Status::Dead,
                        by: self.id,
                        ..known
                    },
                    now,
                    effects,
                );
            }
        }
        if now >= self.next_exchange {
            self.next_exchange = now + self.settings.exchange_every;
            if let Some(to) = self.any_other(&[]) {
                let digest = Body::Digest {
                    answer: false,
                    buckets: self.digest(),
                };
                self.send(to, digest, effects);
            }
        }
        if now >= self.next_probe && self.probe.is_none() {
            self.begin_probe(now, effects);
        }
    }

    fn begin_probe(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        let factor = self.health.factor();
        let period = self.settings.period * factor;
        self.next_probe = now + period;
        let mut random = self.random;
        let mut target = None;
        for _ in 0..self.table.len() {
            let place = self.order.next(self.table.len(), |bound| {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                ((u128::from(random) * u128::from(bound)) >> 64) as u64
            });
            let rumor = place.and_then(|place| self.table.at(place));
            if let Some(rumor) = rumor.filter(|rumor| rumor.status.is_present() && rumor.id != self.id) {
                target = Some(rumor.id);
                break;
            }
        }
        self.random = random;
        let Some(target) = target else { return };
        let number = self.number();
        self.probe = Some(Probe {
            number,
            target,
            asks_at: Some(now + self.settings.ack_timeout * factor),
            ends_at: now + period,
            asked: 0,
            nacks: 0,
        });
        self.send(target, Body::Ping { number }, effects);
        // Whom this member suspects is asked in each period until it is settled: in a small cluster the suspicion may reach it in no
        // other way, and one lost packet must not be a death.
        let mine = self
            .suspicions
            .iter()
            .filter(|suspicion| suspicion.is_of(self.id) && suspicion.id != target);
        let suspects: Vec<MemberId> = mine.map(|suspicion| suspicion.id).take(SUSPECTS_ASKED_MAX).collect();
        for suspect in suspects {
            let number = self.number();
            self.send(suspect, Body::Ping { number }, effects);
        }
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    fn probe_goes_on(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        let Some(mut probe) = self.probe.take() else { return };
        if probe.ends_at <= now {
            // Missed refusals say that this member is the slow one.
            self.health.worse();
            for _ in probe.nacks..probe.asked {
                self.health.worse();
            }
            if let Some(known) = self.table.get(probe.target).copied() {
                self.heard(
                    Rumor {
                        status: Status::Suspect,
                        by: self.id,
                        ..known
                    },
                    now,
                    effects,
                );
            }
            return;
        }
        if probe.asks_at.is_some_and(|at| at <= now) {
            probe.asks_at = None;
            if plant::is(Plant::SuspectsAtOnce) {
                probe.ends_at = now;
                self.probe = Some(probe);
                return self.probe_goes_on(now, effects);
            }
            let mut asked = vec![probe.target];
            for _ in 0..self.settings.indirect {
                let Some(helper) = self.any_other(&asked) else { break };
                asked.push(helper);
                probe.asked += 1;
                let request = Body::PingRequest {
                    number: probe.number,
                    target: probe.target,
                };
                self.send(helper, request, effects);
            }
        }
        self.probe = Some(probe);
    }

    fn packet(&mut self, packet: Packet, now: Millis, effects: &mut Vec<Effect>) {
        let from = packet.from;
        if from == self.id {
            return;
        }
        // A packet is a sign of a life under that generation, but no refutation: only its owner raises an incarnation.
        if self
            .table
            .get(from)
            .is_none_or(|known| known.generation < packet.generation)
        {
            let generation = packet.generation;
            self.heard(
                Rumor {
                    id: from,
                    generation,
                    incarnation: 0,
                    status: Status::Alive,
                    by: from,
                },
                now,
                effects,
            );
        }
        for rumor in packet.rumors {
            self.heard(rumor, now, effects);
        }
        for note in packet.notes {
            self.noted(note, effects);
        }
        match packet.body {
            Body::Ping { number } => self.send(from, Body::Ack { number }, effects),
            Body::Ack { number } => self.acknowledged(from, number, effects),
            Body::PingRequest { number, target } if self.errands.len() < ERRANDS_MAX => {
                let mine = self.number();
                let wait = self.settings.ack_timeout * 4 / 5;
                self.errands.push_back(Errand {
                    number: mine,
                    by: from,
                    their_number: number,
                    nack_at: now + wait,
                });
                self.send(target, Body::Ping { number: mine }, effects);
            }
            Body::Nack { number } => {
                if let Some(probe) = self.probe.as_mut().filter(|probe| probe.number == number) {
                    probe.nacks += 1;
                }
            }
            Body::Digest { answer, buckets } => self.compare(from, answer, &buckets, effects),
            Body::PingRequest { .. } | Body::News => {}
        }
    }

    fn acknowledged(&mut self, from: MemberId, number: u64, effects: &mut Vec<Effect>) {
        if let Some(place) = self.errands.iter().position(|errand| errand.number == number)
            && let Some(errand) = self.errands.remove(place)
        {
            return self.send(
                errand.by,
                Body::Ack {
                    number: errand.their_number,
                },
                effects,
            );
        }
        let mine = self.probe.as_ref().is_some_and(|probe| probe.number == number);
        if mine {
            if self.probe.as_ref().is_some_and(|probe| probe.target == from) {
                self.health.better();
            }
            self.probe = None;
        }
    }
}
