//! What a member's state machine does: entries applied, those who wait answered, snapshots taken.

use std::ops::Range;

use raft::consensus::{Entry, Event, Index, MemberId, Payload, RoleName, Snapshot};

use super::disk::Kept;
use super::driver::{Cluster, Happening, Told};
use super::machine::Machine;
use crate::invariant::{Check, removed_leaders_leave, require};
use crate::world::{Fault, MILLISECOND};

impl<M: Machine, E> Cluster<M, E> {
    pub(super) fn ready(&mut self, member: MemberId, committed: Range<Index>) {
        if committed.is_empty() {
            return;
        }
        let now = self.now();
        let delay = if self.plan.apply_max == 0 {
            0
        } else {
            self.random.below(self.plan.apply_max)
        };
        let host = self.host_mut(member);
        let incarnation = host.incarnation;
        let Some(running) = &mut host.running else { return };
        running.ready = committed.end - 1;
        if delay == 0 && !running.applying {
            return self.apply(member);
        }
        if !std::mem::replace(&mut running.applying, true) {
            self.events.at(now + delay, Happening::Apply { member, incarnation });
        }
    }

    pub(super) fn apply(&mut self, member: MemberId) {
        let Some(running) = &mut self.host_mut(member).running else {
            return;
        };
        running.applying = false;
        let (from, to) = (running.applied + 1, running.ready);
        for index in from..=to {
            self.apply_one(member, index);
            if self.violation.is_some() {
                return;
            }
        }
        if from <= to {
            self.step_with(member, Event::Applied { index: to }, None);
            self.check_removal(member);
            self.compact(member);
        }
    }

    fn check_removal(&mut self, member: MemberId) {
        let Some(running) = &self.host(member).running else {
            return;
        };
        if running.soft_state.role != RoleName::Leader {
            return;
        }
        if let Some((index, membership)) = self.observer.membership_committed() {
            let check = removed_leaders_leave(member, running.applied, index, membership.contains(member));
            self.note(check);
        }
    }

    pub(super) fn apply_one(&mut self, member: MemberId, index: Index) {
        let host = &self.hosts[member as usize - 1];
        let Some(running) = &host.running else { return };
        let entry = running.core.entry(index).or_else(|| host.disk.entry(index)).cloned();
        let Some(entry) = entry else {
            let told = format!("member {member} has nothing to apply as entry {index}");
            return self.note(require(false, "state_machine_safety", || told));
        };
        let check = self.observe_commit(member, &entry);
        self.note(check);
        let Some(running) = &mut self.hosts[member as usize - 1].running else {
            return;
        };
        running.applied = index;
        let answer = match &entry.payload {
            Payload::Command(command) => Some(running.machine.apply(index, command)),
            _ => {
                running.machine.skip(index);
                None
            }
        };
        if let Some(digest) = running.machine.digest(index) {
            let check = self.observer.state(member, index, digest);
            self.note(check);
        }
        self.told.push(Told::Applied { member, index });
        self.answer(member, &entry, answer);
    }

    pub(super) fn answer(&mut self, member: MemberId, entry: &Entry, answer: Option<M::Answer>) {
        let Some(running) = &mut self.hosts[member as usize - 1].running else {
            return;
        };
        if let Some((term, ticket)) = running.proposed.remove(&entry.index) {
            self.told.push(match answer {
                Some(answer) if term == entry.term => Told::Answer {
                    member,
                    ticket,
                    index: entry.index,
                    answer,
                },
                _ => Told::Lost { member, ticket },
            });
        }
        while let Some(at) = running.reads.iter().position(|(index, _)| *index <= entry.index) {
            let (_, ticket) = running.reads.swap_remove(at);
            self.told.push(Told::Read { member, ticket });
        }
    }

    pub(super) fn observe_commit(&mut self, member: MemberId, entry: &Entry) -> Check {
        let host = &self.hosts[member as usize - 1];
        let Some(running) = &host.running else { return Ok(()) };
        // The one who decided has this entry's membership in force, or a later one that it has begun.
        let others = self.hosts.iter().filter(|other| other.id != member);
        let leaders = others
            .filter_map(|other| other.running.as_ref())
            .filter(|other| other.soft_state.role == RoleName::Leader)
            .map(|other| &other.membership);
        // The entry that adds a voter may have been decided by those before it.
        let before = match &entry.payload {
            Payload::Membership(change) => running
                .core
                .membership_at(entry.index - 1)
                .filter(|before| before.voters().len() < change.membership.voters().len()),
            _ => None,
        };
        let memberships = std::iter::once(&running.membership)
            .chain(leaders)
            .chain(running.core.membership_at(entry.index))
            .chain(before);
        let hosts = &self.hosts;
        let durable_on = |id: MemberId| hosts[id as usize - 1].holds_durably(entry.index, entry.term);
        self.observer
            .committed_and_applied(member, running.applied, entry, memberships, durable_on)
    }

    /// Writes a snapshot when there is enough behind the last.
    pub(super) fn compact(&mut self, member: MemberId) {
        let every = self.plan.snapshot_every;
        let host = self.host_mut(member);
        let (incarnation, last) = (host.incarnation, host.disk.kept().snapshot.last.index);
        let Some(running) = &mut host.running else { return };
        let index = running.applied;
        if running.compacting || index < last + every {
            return;
        }
        let Some(term) = running.core.term_at(index) else {
            return;
        };
        let Some(membership) = running.core.membership_at(index).cloned() else {
            return;
        };
        running.compacting = true;
        let kept = Kept {
            snapshot: Snapshot {
                last: raft::consensus::Position { term, index },
                membership,
            },
            state: running.machine.state(),
        };
        let kept = Box::new(kept);
        let delay = self.random.between(MILLISECOND, 50 * MILLISECOND);
        self.events.after(
            delay,
            Happening::Compacted {
                member,
                incarnation,
                kept,
            },
        );
    }

    pub(super) fn compacted(&mut self, member: MemberId, kept: Kept<M::State>) {
        let keep = self.random.below(self.plan.keep_behind_snapshot + 1);
        let host = self.host_mut(member);
        let Some(running) = &mut host.running else { return };
        running.compacting = false;
        let index = kept.snapshot.last.index;
        if index <= host.disk.kept().snapshot.last.index {
            return; // One from the leader came first.
        }
        // What is not in the log on the disk yet cannot be purged from it; what is applied is.
        host.disk.compact(kept, index.saturating_sub(keep));
        let purged = host.disk.purged().index;
        self.tally.count(Fault::Compaction);
        self.step(
            member,
            Event::Compacted {
                snapshot: index,
                purged,
            },
        );
    }
}
