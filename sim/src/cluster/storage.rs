//! What a member's disk does: writes, syncs, snapshots installed.

use std::sync::Arc;

use raft::consensus::{Event, MemberId, Write, WriteId};

use super::disk::{Kept, Queued};
use super::driver::{Cluster, Happening, Told};
use super::machine::Machine;
use crate::world::{MILLISECOND, SECOND};

impl<M: Machine, E> Cluster<M, E> {
    pub(super) fn write(&mut self, member: MemberId, write: Write, state: Option<Arc<M::State>>) {
        // What is written comes from the leader's memory or from a message: it must match before it is durable.
        let truncated = write.truncate_from;
        let (mut check, mut commit) = (Ok(()), 0);
        let host = &self.hosts[member as usize - 1];
        if let Some(running) = &host.running {
            commit = running.core.commit();
            for entry in &write.entries {
                let before = running.core.term_at(entry.index - 1);
                check = check.and_then(|()| self.observer.appended(member, entry, before));
            }
        }
        if let Some(hard_state) = write.hard_state {
            self.trace.step(self.events.now(), [5, member, hard_state.term]);
        }
        self.trace.step(
            self.events.now(),
            [6, truncated.unwrap_or(0), write.entries.len() as u64],
        );
        self.note(check);
        let host = self.host_mut(member);
        host.disk.queue(Queued { write, state, commit });
        self.sync(member);
    }

    /// Starts a sync of all that waits, unless one is under way.
    pub(super) fn sync(&mut self, member: MemberId) {
        let now = self.now();
        let host = &mut self.hosts[member as usize - 1];
        let incarnation = host.incarnation;
        let Some(last) = host.disk.newest() else { return };
        let Some(running) = &mut host.running else { return };
        if std::mem::replace(&mut running.syncing, true) {
            return;
        }
        let latency = self.random.between(self.plan.sync_min, self.plan.sync_max);
        let (times, until) = host.slow;
        let latency = if until > now { latency * times } else { latency };
        let full_until = host.full_until;
        // A full disk refuses, and the driver tries again until there is room.
        let at = (now + latency).max(full_until);
        self.events.at(
            at,
            Happening::Synced {
                member,
                incarnation,
                last,
            },
        );
    }

    pub(super) fn synced(&mut self, member: MemberId, last: WriteId) {
        let now = self.now();
        if self.plan.lying_disk && self.random.percent(50) {
            return self.lie(member, last);
        }
        let host = &mut self.hosts[member as usize - 1];
        let incarnation = host.incarnation;
        let done = host.disk.sync(last);
        let hard_state = host.disk.hard_state();
        let Some(running) = &mut host.running else { return };
        running.syncing = false;
        let check = self.observer.promised(member, hard_state);
        self.note(check);
        let Some((first, last, installed)) = done else { return };
        if installed {
            let kept = self.host(member).disk.kept().clone();
            self.install(member, &kept);
        }
        // Reports may overtake each other.
        let split = first < last && self.random.percent(30);
        let ranges = if split {
            [Some((first + 1, last)), Some((first, first))]
        } else {
            [Some((first, last)), None]
        };
        let stopped = self.host(member).paused_until > now;
        for writes in ranges.into_iter().flatten() {
            if !self.plan.late_reports && !stopped {
                self.persisted(member, writes);
                continue;
            }
            let delay = if self.plan.late_reports {
                self.random.below(3 * MILLISECOND)
            } else {
                0
            };
            self.events.at(
                now + delay,
                Happening::Persisted {
                    member,
                    incarnation,
                    writes,
                },
            );
        }
        self.sync(member);
    }

    pub(super) fn persisted(&mut self, member: MemberId, (first, last): (WriteId, WriteId)) {
        self.step(member, Event::Persisted { first, last });
    }

    /// Says that everything up to `last` is durable, and makes it so a while later.
    pub(super) fn lie(&mut self, member: MemberId, last: WriteId) {
        let host = self.host(member);
        let incarnation = host.incarnation;
        let Some(first) = host.disk.oldest() else { return };
        let now = self.now();
        let writes = (first, last);
        self.events.at(
            now,
            Happening::Persisted {
                member,
                incarnation,
                writes,
            },
        );
        self.events.after(
            SECOND,
            Happening::Synced {
                member,
                incarnation,
                last,
            },
        );
    }

    pub(super) fn install(&mut self, member: MemberId, kept: &Kept<M::State>) {
        let now = self.now();
        let index = kept.snapshot.last.index;
        let Some(running) = &mut self.hosts[member as usize - 1].running else {
            return;
        };
        running.machine.install(&kept.state);
        running.applied = running.applied.max(index);
        running.ready = running.ready.max(index);
        let digest = running.machine.digest(index);
        // Whether these proposals happened is in the snapshot, and no one can tell.
        let behind = running.proposed.split_off(&(index + 1));
        running.proposed = behind;
        let reads = std::mem::take(&mut running.reads);
        let (due, later): (Vec<_>, Vec<_>) = reads.into_iter().partition(|(at, _)| *at <= index);
        running.reads = later;
        for (_, ticket) in due {
            self.told.push(Told::Read { member, ticket });
        }
        if let Some(digest) = digest {
            let check = self.observer.state(member, index, digest);
            self.note(check);
        }
        self.trace
            .tell(now, format_args!("{member} holds the snapshot of {index}"));
        self.told.push(Told::Installed { member });
    }
}
