//! What an actor sees in one step, and what it asks for.

use super::Actor;
use crate::world::{Address, Micros, Random};

/// What one step wants.
#[derive(Debug)]
pub(super) enum Action<A: Actor> {
    Send { to: Address, message: A::Message },
    SendDurable { to: Address, message: A::Message },
    Write(A::Disk),
    Timer { timer: A::Timer, after: Micros },
    Cancel(A::Timer),
    Note(A::Note),
}

/// What an actor sees of the world in one step, and what it asks of it.
#[derive(Debug)]
pub struct Context<'a, A: Actor> {
    pub(super) id: Address,
    pub(super) now: Micros,
    pub(super) random: &'a mut Random,
    pub(super) actions: Vec<Action<A>>,
}

impl<A: Actor> Context<'_, A> {
    pub fn id(&self) -> Address {
        self.id
    }

    /// The node's own clock: no other node's shows the same.
    pub fn now(&self) -> Micros {
        self.now
    }

    pub fn random(&mut self) -> &mut Random {
        self.random
    }

    pub fn send(&mut self, to: Address, message: A::Message) {
        self.actions.push(Action::Send { to, message });
    }

    /// Sends when everything written so far, in this step too, is durable.
    pub fn send_durable(&mut self, to: Address, message: A::Message) {
        self.actions.push(Action::SendDurable { to, message });
    }

    /// Replaces what the disk holds.
    pub fn write(&mut self, disk: A::Disk) {
        self.actions.push(Action::Write(disk));
    }

    pub fn after(&mut self, wait: Micros, timer: A::Timer) {
        self.actions.push(Action::Timer { timer, after: wait });
    }

    pub fn cancel(&mut self, timer: A::Timer) {
        self.actions.push(Action::Cancel(timer));
    }

    pub fn note(&mut self, note: A::Note) {
        self.actions.push(Action::Note(note));
    }
}
