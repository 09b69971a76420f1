//! Life and death: a member starts with what its disk holds, and stops in the middle of anything.

use raft::consensus::{Config, Consensus, MemberId, Membership};

use super::disk::{Disk, Found, Loss};
use super::driver::{Cluster, Told};
use super::host::{Running, first_state};
use super::machine::Machine;
use super::stable::Flip;
use crate::invariant;
use crate::world::Fault;

impl<M: Machine, E> Cluster<M, E> {
    pub(super) fn start(&mut self, member: MemberId) {
        let (now, seed, plan) = (self.now(), self.seed, self.plan.clone());
        let host = self.host_mut(member);
        if host.running.is_some() || host.retired {
            return;
        }
        host.incarnation += 1;
        host.paused_until = 0;
        let config = Config {
            election_ms: plan.election_ms,
            heartbeat_ms: plan.heartbeat_ms,
            append_bytes_max: plan.append_bytes_max,
            inflight_max: plan.inflight_max,
            cache_bytes: plan.cache_bytes,
            pre_vote: plan.pre_vote,
            check_quorum: plan.check_quorum,
            forward: plan.forward,
            seed: seed ^ member.rotate_left(17),
            incarnation: host.incarnation,
            ..Config::new(member)
        };
        let restored = host.disk.restored();
        let kept = host.disk.kept().clone();
        let hard_state = host.disk.hard_state();
        let core = Consensus::new(config, restored, host.clock.milliseconds(now));
        let applied = kept.snapshot.last.index;
        host.running = Some(Running {
            membership: core.membership().clone(),
            membership_index: core.membership_index(),
            leads_since: 0,
            heard: vec![0; plan.members],
            soft_state: core.soft_state(),
            machine: M::restore(&kept.state),
            applied,
            committed: core.commit(),
            core,
            proposed: Default::default(),
            reads: Vec::new(),
            syncing: false,
            tick_at: None,
            tick_for: 0,
            compacting: false,
            ready: applied,
            applying: false,
        });
        let check = self.observer.restarted(member, hard_state);
        self.note(check);
        self.trace.step(now, [1, member, 0]);
        self.trace.tell(
            now,
            format_args!("{member} starts with {hard_state:?}, applied {applied}"),
        );
        self.told.push(Told::Started { member });
        self.schedule_tick(member);
    }

    /// The machine stops: what was not durable is lost, or a part of it.
    pub fn crash(&mut self, member: MemberId, loss: Loss) {
        let now = self.now();
        let mut luck = self.random.fork();
        let host = self.host_mut(member);
        if host.running.take().is_none() {
            return;
        }
        let found = host.disk.crash(loss, &mut luck);
        let hard_state = host.disk.hard_state();
        if let Some(found) = found {
            self.find(member, &found);
        }
        self.tally.count(match loss {
            Loss::All => Fault::CrashBeforeSync,
            Loss::Torn => Fault::CrashTorn,
            Loss::None => Fault::CrashAfterSync,
        });
        let check = self.observer.crashed(member, hard_state);
        self.note(check);
        self.trace.step(now, [2, member, loss as u64]);
        self.trace
            .tell(now, format_args!("{member} crashes, {loss:?} of its writes lost"));
        self.told.push(Told::Crashed { member });
    }

    /// Compares what a member's real log holds after a crash with what it had written.
    fn find(&mut self, member: MemberId, found: &Found) {
        if found.flip.is_some() {
            self.tally.count(Fault::FlippedBit);
        }
        if found.flip == Some(Flip::Refused) {
            self.tally.count(Fault::RefusedStart);
        }
        let (now, flip) = (self.now(), found.flip);
        let (written, there) = (found.written.entries.len(), found.found.entries.len());
        self.trace.step(now, [9, member, there as u64]);
        self.trace.tell(
            now,
            format_args!(
                "{member} finds {there} of {written} entries, {} synced, flip {flip:?}",
                found.synced
            ),
        );
        self.note(invariant::found_as_written(
            member,
            &found.written,
            found.synced,
            &found.found,
        ));
    }

    /// Gives the member an empty disk, as someone does who replaces a machine. It must not be a member any more.
    pub fn replace_disk(&mut self, member: MemberId) {
        let writes_bytes = self.plan.real_log;
        let host = self.host_mut(member);
        host.running = None;
        host.incarnation += 1;
        host.disk = Disk::new(first_state::<M>(Membership::default()), writes_bytes);
        self.observer.replaced(member);
        self.tally.count(Fault::LostDisk);
        self.told.push(Told::Crashed { member });
    }
}
