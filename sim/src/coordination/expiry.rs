//! Leases on anyone who leads: the coordinator's own deadlines, and the proposals that end leases.

use std::collections::BTreeMap;

use coordinator::auth;
use coordinator::lease::Deadlines;
use coordinator::machine::Request;
use coordinator_wire::etcdserverpb::{AlarmType, LeaseRevokeRequest};
use raft::consensus::{Event, MemberId, Proposal};

use super::machine::command;
use super::{Group, Own};
use crate::cluster::Happening;
use crate::world::{MILLISECOND, Micros};

const EVERY_MS: u64 = 250;
const DUE_MAX: usize = 10;

/// The deadlines of each member that leads.
#[derive(Debug, Default)]
pub struct Expiry {
    of: BTreeMap<MemberId, Deadlines>,
    /// From then on nothing is proposed that CORRUPT would refuse again and again: all come to rest.
    rests_from: Option<Micros>,
}

impl Expiry {
    /// A member leads now: no one knows when leases were renewed last, so all begin again.
    pub fn lead(&mut self, cluster: &mut Group, member: MemberId) {
        let now = cluster.now();
        let host = cluster.host(member);
        let (time, incarnation) = (host.clock.milliseconds(now), host.incarnation);
        let Some(running) = &host.running else { return };
        let mut deadlines = Deadlines::default();
        let leases = running.machine.machine.leases().iter();
        deadlines.promote(leases.map(|(id, lease)| (id, lease.remaining_seconds)), 0, time);
        self.of.insert(member, deadlines);
        let own = Own::Expire { member, incarnation };
        cluster.events.after(EVERY_MS * MILLISECOND, Happening::Own(own));
    }

    pub fn rest_from(&mut self, from: Micros) {
        self.rests_from = Some(from);
    }

    pub fn stop(&mut self, member: MemberId) {
        self.of.remove(&member);
    }

    pub fn is_leading(&self, member: MemberId) -> bool {
        self.of.contains_key(&member)
    }

    /// A leader has applied this.
    pub fn applied(&mut self, cluster: &Group, member: MemberId, request: &Request) {
        let now = cluster.now();
        let host = cluster.host(member);
        let (Some(deadlines), Some(running)) = (self.of.get_mut(&member), &host.running) else {
            return;
        };
        match request {
            Request::LeaseGrant(grant) => {
                if let Some(lease) = running.machine.machine.leases().get(grant.id) {
                    deadlines.start(grant.id, lease.ttl_seconds, host.clock.milliseconds(now));
                }
            }
            // It may have been refused.
            Request::LeaseRevoke(revoke) if running.machine.machine.leases().get(revoke.id).is_none() => {
                deadlines.remove(revoke.id);
            }
            _ => {}
        }
    }

    /// Renews a lease where it is known; the seconds that it has now.
    pub fn renew(&mut self, cluster: &Group, member: MemberId, id: i64) -> Option<i64> {
        let host = cluster.host(member);
        let time = host.clock.milliseconds(cluster.now());
        let running = host.running.as_ref()?;
        let ttl = running.machine.machine.leases().get(id)?.ttl_seconds;
        self.of.get_mut(&member)?.renew(id, ttl, time).then_some(ttl)
    }

    /// Proposes the end of leases whose time is over.
    pub fn expire(&mut self, cluster: &mut Group, member: MemberId, incarnation: u64) {
        let now = cluster.now();
        let host = cluster.host(member);
        let Some(deadlines) = self.of.get_mut(&member).filter(|_| host.incarnation == incarnation) else {
            return;
        };
        let own = Own::Expire { member, incarnation };
        if host.paused_until > now {
            let until = host.paused_until;
            cluster.events.at(until, Happening::Own(own));
            return;
        }
        let time = host.clock.milliseconds(now);
        // Only a leader proposes an end: one that is forwarded could end what the next leader has renewed.
        let alarms = host.running.as_ref().map(|running| running.machine.machine.alarms());
        let is_corrupt = alarms.is_some_and(|alarms| alarms.stands(AlarmType::Corrupt));
        let rests = is_corrupt && self.rests_from.is_some_and(|from| from <= now);
        let due = if host.is_leader() && !rests {
            deadlines.due(time, DUE_MAX)
        } else {
            Vec::new()
        };
        for id in &due {
            deadlines.put_off(*id, time);
        }
        cluster.events.after(EVERY_MS * MILLISECOND, Happening::Own(own));
        for id in due {
            let ticket = cluster.ticket();
            let command = command(auth::root(), Request::LeaseRevoke(LeaseRevokeRequest { id }));
            cluster.step(member, Event::Propose(vec![Proposal { ticket, command }]));
        }
    }
}
