//! Stepping a core, and carrying out what it wants: messages, answers, soft_state.

use std::sync::Arc;

use bytes::BytesMut;
use raft::consensus::{
    Body, Effects, Entry, Event, MemberId, Membership, Message, RoleName, Session, Snapshot, SoftState,
};

use super::driver::{Cluster, Happening, Told};
use super::host::{Host, Letter};
use super::machine::Machine;
use super::observer::majority;
use crate::invariant::{Bounds, change_is_alone, leader_hears_a_quorum, own_term_first, progress_is_true, require};
use crate::world::{Address, MILLISECOND};

/// One message in this many travels as bytes.
const ENCODED_ONE_IN: u64 = 16;
/// Most messages are not longer, in bytes.
const ENCODED_BYTES: usize = 512;

impl<M: Machine, E> Cluster<M, E> {
    /// Steps a member's core and carries out what it wants.
    pub fn step(&mut self, member: MemberId, event: Event) {
        if self.violation.is_some() {
            return;
        }
        self.step_with(member, event, None);
        self.schedule_tick(member);
        self.check_bounds(member);
    }

    pub(super) fn step_with(&mut self, member: MemberId, event: Event, state: Option<Arc<M::State>>) {
        let now = self.now();
        let host = &mut self.hosts[member as usize - 1];
        let time = host.clock.milliseconds(now);
        let Some(running) = &mut host.running else { return };
        if self.trace.tells() {
            self.trace.tell(now, format_args!("{member} <- {event:?}"));
        }
        // A step within a step, as after a fetch, finds none and takes new ones.
        let mut effects = self.spare_effects.take().unwrap_or_default();
        running.core.step_into(event, time, &mut effects);
        self.trace.step(now, [3, member, digest_of_effects(&effects)]);
        if !effects.is_empty() {
            if self.trace.tells() {
                self.trace.tell(now, format_args!("{member} -> {effects:?}"));
            }
            self.carry_out(member, &mut effects, state);
        }
        self.spare_effects = Some(effects);
    }

    pub(super) fn carry_out(&mut self, member: MemberId, effects: &mut Effects, state: Option<Arc<M::State>>) {
        if let Some(contradiction) = effects.contradiction {
            let told = format!("member {member} says {contradiction:?}");
            self.note(require(false, "committed_is_final", || told));
        }
        if let Some(membership) = effects.membership.take() {
            self.change_membership(member, membership);
        }
        if let Some(write) = effects.write.take() {
            self.write(member, write, state);
        }
        if let Some(soft_state) = effects.soft_state {
            self.change_standing(member, soft_state);
        }
        for message in effects.messages.drain(..) {
            self.post(member, message);
        }
        for proposed in effects.proposed.drain(..) {
            if let Some(running) = &mut self.host_mut(member).running {
                let position = proposed.position;
                running
                    .proposed
                    .insert(position.index, (position.term, proposed.ticket));
            }
        }
        for refused in effects.refused.drain(..) {
            self.observer.read_over(refused.ticket);
            self.told.push(Told::Refused {
                member,
                ticket: refused.ticket,
                why: refused.why,
            });
        }
        for ready in effects.reads.drain(..) {
            let check = self.observer.read_ready(member, ready.ticket, ready.index);
            self.note(check);
            let Some(running) = &mut self.host_mut(member).running else {
                continue;
            };
            if running.applied >= ready.index {
                self.told.push(Told::Read {
                    member,
                    ticket: ready.ticket,
                });
            } else {
                running.reads.push((ready.index, ready.ticket));
            }
        }
        for fetch in effects.fetches.drain(..) {
            let host = self.host(member);
            let mut entries: Vec<Entry> = Vec::new();
            for index in fetch.first..=fetch.last {
                match host.disk.entry(index) {
                    Some(entry) => entries.push(entry.clone()),
                    None => break,
                }
            }
            self.step_with(member, Event::Fetched { fetch, entries }, None);
        }
        self.ready(member, effects.committed.clone());
    }

    pub(super) fn change_membership(&mut self, member: MemberId, membership: Membership) {
        let Some(running) = &mut self.hosts[member as usize - 1].running else {
            return;
        };
        let before = std::mem::replace(&mut running.membership, membership.clone());
        let pending = std::mem::replace(&mut running.membership_index, running.core.membership_index());
        // Those who are new count as heard from at first.
        running.leads_since = self.events.now();
        let (committed, soft_state) = (running.core.commit(), running.core.soft_state());
        let committed_term = running.core.term_at(committed);
        // A leader puts its own changes in force one by one; a follower takes several at once, or takes them back: also
        // one that led until this very step.
        if soft_state.role == RoleName::Leader && !before.is_empty() {
            let check = self.observer.membership(member, &before, &membership);
            self.note(check);
            self.note(change_is_alone(
                member,
                soft_state.term,
                pending,
                committed,
                committed_term,
            ));
        }
    }

    pub(super) fn change_standing(&mut self, member: MemberId, soft_state: SoftState) {
        let now = self.now();
        let host = self.host_mut(member);
        let durable = host.disk.hard_state();
        let Some(running) = &mut host.running else { return };
        let before = std::mem::replace(&mut running.soft_state, soft_state);
        let elected =
            soft_state.role == RoleName::Leader && (before.role != RoleName::Leader || before.term != soft_state.term);
        if elected {
            running.leads_since = now;
            let (index, _) = self.observer.committed();
            let held = self.host(member).held_term(index);
            let check = self.observer.elected(member, soft_state.term, durable, held);
            self.note(check);
        }
        self.trace.step(now, [4, member, soft_state.term]);
        self.told.push(Told::SoftState { member, soft_state });
    }

    /// Hands a message to the network, and looks at what it promises.
    pub(super) fn post(&mut self, member: MemberId, message: Message) {
        let now = self.now();
        let host = self.host(member);
        let durable = host.disk.hard_state();
        let check = match &message.body {
            Body::VoteReply { granted: true } => self.observer.voted(member, message.term, message.to, durable),
            Body::AppendAck { match_index, .. } => {
                let last = host.disk.last_index();
                self.observer
                    .acknowledged(member, message.term, *match_index, last, durable)
            }
            _ => Ok(()),
        };
        self.note(check);
        if message.to == 0 || message.to as usize > self.hosts.len() {
            return;
        }
        let (from, to) = (member as Address - 1, message.to as Address - 1);
        if let Body::Snapshot { session, snapshot } = &message.body {
            let (session, snapshot) = (*session, snapshot.clone());
            return self.post_snapshot(member, message, session, &snapshot);
        }
        self.check_codec(&message);
        let [first, second] = self.network.send(from, to, now, &mut self.random, &mut self.tally);
        if let Some(at) = second {
            let letter = Letter {
                message: message.clone(),
                state: None,
            };
            self.events.at(at, Happening::Arrive(letter));
        }
        if let Some(at) = first {
            self.events.at(at, Happening::Arrive(Letter { message, state: None }));
        }
    }

    /// Some messages travel as bytes, so that what is tested is what is sent.
    fn check_codec(&mut self, message: &Message) {
        if self.random.below(ENCODED_ONE_IN) > 0 {
            return;
        }
        let mut bytes = BytesMut::with_capacity(ENCODED_BYTES);
        message.encode(&mut bytes);
        let decoded = Message::decode(bytes.freeze());
        let same = decoded.as_ref() == Ok(message);
        let told = || format!("{message:?} is read as {decoded:?}");
        self.note(require(same, "messages_survive_the_wire", told));
    }

    pub(super) fn post_snapshot(&mut self, member: MemberId, message: Message, session: Session, snapshot: &Snapshot) {
        let now = self.now();
        let transfer = self.random.between(MILLISECOND, self.plan.snapshot_transfer_max);
        let host = self.host(member);
        let incarnation = host.incarnation;
        let (from, to) = (member as Address - 1, message.to as Address - 1);
        let kept = host.disk.kept();
        let there = kept.snapshot.last == snapshot.last;
        let state = Arc::clone(&kept.state);
        let arrivals = self.network.send(from, to, now, &mut self.random, &mut self.tally);
        let to_id = message.to;
        let arrival = arrivals[0].filter(|_| there).map(|at| at + transfer);
        let letter = Letter {
            message,
            state: Some(state),
        };
        // The transfer can come twice as well: a driver that retries.
        for at in arrivals.into_iter().flatten().filter(|_| there) {
            self.events.at(at + transfer, Happening::Arrive(letter.clone()));
        }
        let report = Happening::SnapshotSent {
            from: member,
            incarnation,
            to: to_id,
            session,
            delivered: arrival.is_some(),
        };
        let delay = self.random.between(1, 10) * MILLISECOND;
        self.events.at(arrival.unwrap_or(now + transfer) + delay, report);
    }

    pub(super) fn arrive(&mut self, letter: Letter<M::State>) {
        let member = letter.message.to;
        if self.violation.is_some() {
            return;
        }
        let from = letter.message.from;
        let answers = matches!(
            letter.message.body,
            Body::AppendAck { .. } | Body::AppendReject { .. } | Body::HeartbeatAck { .. }
        );
        self.step_with(member, Event::Message(letter.message), letter.state);
        if answers {
            self.check_progress(member, from);
        }
        self.schedule_tick(member);
        self.check_bounds(member);
    }

    fn check_commit(&mut self, member: MemberId) {
        let Some(running) = &mut self.hosts[member as usize - 1].running else {
            return;
        };
        let commit = running.core.commit();
        let before = std::mem::replace(&mut running.committed, commit);
        if commit > before && running.soft_state.role == RoleName::Leader {
            let check = own_term_first(member, running.soft_state.term, commit, running.core.term_at(commit));
            self.note(check);
        }
    }

    /// What a leader believes of the one that has just answered it.
    fn check_progress(&mut self, member: MemberId, from: MemberId) {
        let now = self.now();
        let replaces = self.plan.faults.replace > 0;
        let Some(running) = &mut self.hosts[member as usize - 1].running else {
            return;
        };
        running.heard[from as usize - 1] = now;
        let soft_state = running.soft_state;
        if !replaces || soft_state.role != RoleName::Leader || !running.membership.contains(from) {
            return;
        }
        let Some(match_index) = running.core.match_index(from) else {
            return;
        };
        // A leader that was deposed believes what was true once.
        let is_deposed = |host: &Host<M>| host.disk.hard_state().term > soft_state.term;
        if !self.hosts.iter().any(is_deposed) {
            let last = self.host(from).disk.last_index();
            self.note(progress_is_true(member, from, match_index, last));
        }
    }

    /// After a tick: one who leads hears from a majority, if it must.
    pub(super) fn check_quorum(&mut self, member: MemberId) {
        let now = self.now();
        let patience = 3 * self.plan.election_ms * MILLISECOND;
        let Some(running) = &self.host(member).running else {
            return;
        };
        let leads = running.soft_state.role == RoleName::Leader && running.leads_since + patience < now;
        if !leads || !self.plan.check_quorum {
            return;
        }
        let heard = |voter: MemberId| running.heard[voter as usize - 1] + patience >= now;
        let check = leader_hears_a_quorum(member, running.soft_state.term, &majority(&running.membership), heard);
        self.note(check);
    }

    pub(super) fn check_bounds(&mut self, member: MemberId) {
        self.check_commit(member);
        let host = self.host(member);
        let Some(running) = &host.running else { return };
        let bounds = Bounds {
            purged: host.disk.purged().index,
            snapshot: host.disk.kept().snapshot.last.index,
            applied: running.applied,
            committed: running.ready,
            last: running.core.last().index,
        };
        let check = self.observer.bounds(member, bounds);
        self.note(check);
    }
}

fn digest_of_effects(effects: &Effects) -> u64 {
    let mut digest = effects.messages.len() as u64;
    for message in &effects.messages {
        digest = digest.wrapping_mul(31) ^ message.to ^ (message.term << 8);
    }
    digest = digest.wrapping_mul(31) ^ effects.committed.end;
    digest.wrapping_mul(31) ^ effects.write.as_ref().map_or(0, |write| write.id)
}
