//! The core as an actor: packets in and out, one timer.

use cluster::member::{Effect, Event, Membership, Packet, Settings, wire};

use crate::actor::{Actor, Context};
use crate::world::{Address, MILLISECOND};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline;

#[derive(Debug)]
pub enum Note {
    Up(Address),
    Doubt(Address),
    Down(Address),
    /// A packet of this many bytes is over the limit.
    TooLong(usize),
}

#[derive(Debug)]
pub struct Swimmer {
    nodes: usize,
    seed: u64,
    settings: Settings,
    member: Option<Membership>,
    effects: Vec<Effect>,
    pub sent_bytes: u64,
}

impl Swimmer {
    pub fn new(nodes: usize, seed: u64, settings: Settings) -> Self {
        Self {
            nodes,
            seed,
            settings,
            member: None,
            effects: Vec::new(),
            sent_bytes: 0,
        }
    }

    pub fn member(&self) -> Option<&Membership> {
        self.member.as_ref()
    }

    fn step(&mut self, event: Event, context: &mut Context<'_, Self>) {
        let Some(member) = &mut self.member else { return };
        let now = context.now() / MILLISECOND;
        member.step(event, now, &mut self.effects);
        for effect in self.effects.drain(..) {
            match effect {
                Effect::Send { to, packet } => {
                    let bytes = wire::packet_bytes(&packet);
                    self.sent_bytes += bytes as u64;
                    if bytes > self.settings.packet_bytes {
                        context.note(Note::TooLong(bytes));
                    }
                    context.send(to as Address, packet);
                }
                Effect::Up { id, .. } => context.note(Note::Up(id as Address)),
                Effect::Doubt { id } => context.note(Note::Doubt(id as Address)),
                Effect::Down { id, .. } => context.note(Note::Down(id as Address)),
                Effect::Noted(_) | Effect::Refuted { .. } => {}
            }
        }
        let wait = member.deadline().saturating_sub(now).max(1);
        context.after(wait * MILLISECOND, Deadline);
    }
}

impl Actor for Swimmer {
    type Message = Packet;
    type Timer = Deadline;
    /// How often it was started: its generation, as `create_revision` is in the services.
    type Disk = u64;
    type Note = Note;

    fn start(&mut self, disk: &u64, context: &mut Context<'_, Self>) {
        let generation = disk + 1;
        context.write(generation);
        let (id, now) = (context.id() as u64, context.now() / MILLISECOND);
        let mut member = Membership::new(self.settings.clone(), id, generation, self.seed, now);
        member.know((0..self.nodes as u64).map(|id| (id, 1)));
        self.member = Some(member);
        self.step(Event::Tick, context);
    }

    fn message(&mut self, _: Address, packet: Packet, context: &mut Context<'_, Self>) {
        self.step(Event::Packet(packet), context);
    }

    fn timer(&mut self, _: Deadline, context: &mut Context<'_, Self>) {
        self.step(Event::Tick, context);
    }
}
