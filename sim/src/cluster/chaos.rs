//! Doing harm, and mending it.

use bytes::Bytes;
use raft::consensus::{Event, MemberChange, MemberId, Payload};

use super::disk::Loss;
use super::driver::{Cluster, Happening};
use super::machine::Machine;
use super::plan;
use crate::world::{Fault, MILLISECOND, Micros, SECOND, Weather};

/// Fewest voters that a change leaves.
const VOTERS_MIN: usize = 3;

impl<M: Machine, E> Cluster<M, E> {
    /// Does one harm, and schedules the next.
    pub fn harm(&mut self) {
        let now = self.now();
        if now >= self.plan.faults_until {
            return;
        }
        let weights = self.plan.faults.weights();
        let sum: u32 = weights.iter().sum();
        if sum > 0 {
            let mut at = self.random.below(u64::from(sum)) as u32;
            let mut kind = 0;
            while at >= weights[kind] {
                at -= weights[kind];
                kind += 1;
            }
            self.trace.step(now, [7, kind as u64, 0]);
            self.harm_by(kind);
        }
        let every = self.plan.fault_every;
        let wait = self.random.between(every / 10, 2 * every);
        self.events.after(wait, Happening::Harm);
    }

    fn harm_by(&mut self, kind: usize) {
        match kind {
            0 => self.cut_one_way(),
            1 => self.partition(),
            2 => self.crash_someone(),
            3 => self.pause_someone(),
            4 => self.slow_a_disk(),
            5 => self.fill_a_disk(),
            6 => {
                self.network.weather = plan::weather(&mut self.random);
                self.trace
                    .tell(self.events.now(), format_args!("weather: {:?}", self.network.weather));
            }
            7 => self.change_members(),
            8 => self.transfer(),
            9 => {
                let member = self.anyone();
                self.step(member, Event::Campaign);
            }
            _ => self.replace_someone(),
        }
    }

    /// All is well again, for good.
    pub fn mend(&mut self) {
        self.network.heal();
        self.network.weather = Weather::FAIR;
        for at in 0..self.hosts.len() {
            let host = &mut self.hosts[at];
            host.slow = (1, 0);
            host.full_until = 0;
            let id = host.id;
            if host.running.is_none() && !host.retired {
                self.events.after(MILLISECOND, Happening::Start(id));
            }
        }
        self.trace.tell(self.events.now(), format_args!("all is mended"));
    }

    fn anyone(&mut self) -> MemberId {
        self.random.below(self.hosts.len() as u64) + 1
    }

    /// A member, the leader as often as not: most bugs are where the leader is.
    fn someone(&mut self) -> MemberId {
        let leads = self.random.percent(50);
        match self.leader() {
            Some(leader) if leads => leader,
            _ => self.anyone(),
        }
    }

    fn cut_one_way(&mut self) {
        let (from, to) = (self.someone() as usize - 1, self.anyone() as usize - 1);
        let all = self.random.percent(30);
        let outwards = self.random.percent(50);
        for other in 0..self.hosts.len() {
            if other != from && (all || other == to) {
                let (from, to) = if outwards { (from, other) } else { (other, from) };
                self.network.set_cut(from, to, true);
            }
        }
        self.tally.count(Fault::LinkCut);
        self.mend_network_later();
    }

    fn partition(&mut self) {
        let side = if self.random.percent(40) {
            1 << (self.someone() - 1)
        } else {
            self.random.draw() & ((1 << self.hosts.len()) - 1)
        };
        // Clients are on any side as well.
        let clients = self.random.draw() << self.hosts.len();
        self.network.split(side | clients);
        self.tally.count(Fault::Partition);
        self.trace
            .tell(self.events.now(), format_args!("partition: {side:b} apart"));
        self.mend_network_later();
    }

    fn mend_network_later(&mut self) {
        let wait = self.long_or_short(6 * SECOND);
        self.events.after(wait, Happening::Heal);
    }

    /// Often short, sometimes up to `max`.
    fn long_or_short(&mut self, max: Micros) -> Micros {
        if self.random.percent(50) {
            self.random.between(10 * MILLISECOND, 500 * MILLISECOND)
        } else {
            self.random.between(100 * MILLISECOND, max)
        }
    }

    fn crash_someone(&mut self) {
        let several = if self.random.percent(15) { self.hosts.len() } else { 1 };
        for n in 0..several {
            let member = if several == 1 {
                self.someone()
            } else {
                n as MemberId + 1
            };
            let loss = *self
                .random
                .pick(&[Loss::All, Loss::Torn, Loss::Torn, Loss::None])
                .unwrap_or(&Loss::All);
            self.crash(member, loss);
            let wait = self.long_or_short(5 * SECOND);
            self.events.after(wait, Happening::Start(member));
        }
    }

    fn pause_someone(&mut self) {
        let member = self.someone();
        let until = self.now() + self.long_or_short(5 * SECOND);
        let host = self.host_mut(member);
        if host.running.is_some() {
            host.paused_until = until;
            self.tally.count(Fault::Pause);
            self.trace
                .tell(self.events.now(), format_args!("{member} is paused until {until}"));
        }
    }

    fn slow_a_disk(&mut self) {
        let (member, times) = (self.someone(), self.random.between(10, 200));
        let until = self.now() + self.long_or_short(5 * SECOND);
        self.host_mut(member).slow = (times, until);
        self.tally.count(Fault::SlowDisk);
    }

    fn fill_a_disk(&mut self) {
        let member = self.someone();
        let until = self.now() + self.long_or_short(3 * SECOND);
        self.host_mut(member).full_until = until;
        self.tally.count(Fault::FullDisk);
    }

    fn transfer(&mut self) {
        let (Some(from), to) = (self.leader(), self.anyone()) else {
            return;
        };
        let ticket = self.ticket();
        self.tally.count(Fault::Transfer);
        self.step(from, Event::TransferLeadership { ticket, to });
    }

    /// Asks the leader, or anyone, for a change that makes sense.
    fn change_members(&mut self) {
        let member = self.someone();
        let Some(running) = &self.host(member).running else {
            return;
        };
        let membership = running.membership.clone();
        let outside: Vec<MemberId> = (1..=self.hosts.len() as MemberId)
            .filter(|id| !membership.contains(*id))
            .collect();
        let mut choices = Vec::new();
        if let Some(id) = self.random.pick(&outside) {
            choices.extend([
                MemberChange::AddLearner(*id),
                MemberChange::AddLearner(*id),
                MemberChange::AddVoter(*id),
            ]);
        }
        if let Some(id) = self.random.pick(membership.learners()) {
            choices.extend([MemberChange::Promote(*id); 3]);
            choices.push(MemberChange::Remove(*id));
        }
        if membership.voters().len() > VOTERS_MIN {
            let voter = if self.random.percent(30) {
                Some(member)
            } else {
                self.random.pick(membership.voters()).copied()
            };
            choices.extend(voter.map(MemberChange::Remove));
        }
        let Some(change) = self.random.pick(&choices).copied() else {
            return;
        };
        if let MemberChange::AddLearner(id) | MemberChange::AddVoter(id) = change {
            self.host_mut(id).retired = false;
            self.events.after(MILLISECOND, Happening::Start(id));
        }
        let ticket = self.ticket();
        self.tally.count(Fault::MembershipChange);
        self.step(
            member,
            Event::ChangeMembers {
                ticket,
                change,
                context: Bytes::new(),
            },
        );
    }

    /// Gives a member that was removed, for certain, a new disk.
    fn replace_someone(&mut self) {
        let member = self.anyone();
        if !self.is_surely_removed(member) {
            return;
        }
        self.replace_disk(member);
        let back = self.random.percent(50);
        self.host_mut(member).retired = !back;
        self.events.after(MILLISECOND, Happening::Start(member));
    }

    /// Whether the last membership that was committed leaves it out, and no one has begun to add it again.
    fn is_surely_removed(&self, member: MemberId) -> bool {
        let Some((index, membership)) = self.observer.membership_committed() else {
            return member as usize > self.plan.voters
                && self.host(member).running.is_none()
                && self.nobody_adds(member, 0);
        };
        !membership.contains(member) && self.nobody_adds(member, index)
    }

    fn nobody_adds(&self, member: MemberId, after: u64) -> bool {
        self.hosts.iter().all(|host| {
            let running = host.running.as_ref();
            let in_memory = running
                .is_some_and(|running| running.core.membership_index() > after && running.membership.contains(member));
            let on_disk = host.disk.entries().any(|entry| match &entry.payload {
                Payload::Membership(change) => entry.index > after && change.membership.contains(member),
                _ => false,
            });
            !in_memory && !on_disk
        })
    }
}
