//! Watch streams: the coordinator's own watchers on a member, and clients that resume elsewhere.

use std::collections::BTreeMap;

use bytes::Bytes;
use coordinator::watch::{Answer, Watchers};
use coordinator_wire::etcdserverpb::WatchCreateRequest;
use raft::consensus::MemberId;

use super::machine::Replicated;
use super::oracle::Oracle;
use super::watch_promises::Watched;
use super::{Group, Own};
use crate::cluster::Happening;
use crate::world::{Address, Fault, MILLISECOND, Random};

/// How often a stream catches up in one pull, at most.
const STEPS_MAX: usize = 6;

/// A stream on a member.
#[derive(Debug)]
struct Stream {
    watcher: usize,
    member: MemberId,
    incarnation: u64,
    watchers: Watchers,
    /// Whether the stream was opened: the request has arrived.
    opened: bool,
}

/// All watching clients.
#[derive(Debug)]
pub struct Streams {
    random: Random,
    watchers: Vec<Watched>,
    /// The stream of each watcher, if it is connected.
    current: Vec<Option<u64>>,
    streams: BTreeMap<u64, Stream>,
    next_stream: u64,
    members: usize,
    first_address: Address,
    slow: bool,
}

impl Streams {
    pub fn new(random: &mut Random, members: usize, first_address: Address) -> Self {
        let mut random = random.fork();
        let ranges = [("k0", "k9"), ("k0", "k3"), ("k2", "k3")];
        let watchers: Vec<Watched> = ranges
            .iter()
            .map(|(from, to)| Watched {
                from: Bytes::from_static(from.as_bytes()),
                to: Bytes::from_static(to.as_bytes()),
                next: 2,
            })
            .collect();
        Self {
            slow: random.percent(30),
            random,
            current: vec![None; watchers.len()],
            watchers,
            streams: BTreeMap::new(),
            next_stream: 1,
            members,
            first_address,
        }
    }

    pub const COUNT: usize = 3;

    pub fn begin(&mut self, cluster: &mut Group) {
        for watcher in 0..self.watchers.len() {
            cluster.events.after(MILLISECOND, Happening::Own(Own::Connect(watcher)));
        }
    }

    /// The first revision that some watcher has not been told of.
    pub fn behind(&self, oracle: &Oracle) -> Option<String> {
        let is_behind = |watched: &&Watched| (*watched).clone().progress(oracle, oracle.revision()).is_err();
        let behind = self.watchers.iter().find(is_behind)?;
        Some(format!("{behind:?} of {}", oracle.revision()))
    }

    pub fn connect(&mut self, cluster: &mut Group, watcher: usize) {
        let member = self.random.below(self.members as u64) + 1;
        let now = cluster.now();
        let running = cluster.host(member).running.as_ref();
        let address = self.first_address + watcher;
        // In the end clients find those that are members; one that was removed knows nothing new.
        let is_member = match cluster.observer.membership_committed() {
            Some((_, membership)) => membership.contains(member),
            None => member as usize <= cluster.plan.voters,
        };
        let is_chosen = is_member || now < cluster.plan.faults_until;
        let reachable = is_chosen && !cluster.network.is_cut(address, member as Address - 1);
        let Some(running) = running.filter(|_| reachable) else {
            let wait = self.random.between(10, 500) * MILLISECOND;
            cluster.events.after(wait, Happening::Own(Own::Connect(watcher)));
            return;
        };
        let stream = self.next_stream;
        self.next_stream += 1;
        let revision = running.machine.machine.store().revision();
        let opened = Stream {
            watcher,
            member,
            incarnation: cluster.host(member).incarnation,
            watchers: Watchers::new(revision),
            opened: false,
        };
        self.streams.insert(stream, opened);
        self.current[watcher] = Some(stream);
        cluster.events.at(now + MILLISECOND, Happening::Own(Own::Pull(stream)));
        // Clients move on by themselves now and then.
        let life = self.random.between(500, 8_000) * MILLISECOND;
        cluster.events.after(life, Happening::Own(Own::Disconnect(stream)));
    }

    pub fn disconnect(&mut self, cluster: &mut Group, stream: u64) {
        let Some(closed) = self.streams.remove(&stream) else {
            return;
        };
        if self.current[closed.watcher] == Some(stream) {
            self.current[closed.watcher] = None;
            cluster.tally.count(Fault::Reconnect);
            let wait = self.random.between(1, 300) * MILLISECOND;
            cluster.events.after(wait, Happening::Own(Own::Connect(closed.watcher)));
        }
    }

    /// A member's process is gone, and its streams with it.
    pub fn crashed(&mut self, cluster: &mut Group, member: MemberId) {
        let lost: Vec<u64> = self
            .streams
            .iter()
            .filter(|(_, stream)| stream.member == member)
            .map(|(id, _)| *id)
            .collect();
        for stream in lost {
            self.disconnect(cluster, stream);
        }
    }

    /// The member looks what is new for a stream.
    pub fn pull(&mut self, cluster: &mut Group, id: u64) {
        let now = cluster.now();
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        let host = cluster.host(stream.member);
        let Some(running) = host.running.as_ref().filter(|_| host.incarnation == stream.incarnation) else {
            return self.disconnect(cluster, id);
        };
        if host.paused_until > now {
            let until = host.paused_until;
            cluster.events.at(until, Happening::Own(Own::Pull(id)));
            return;
        }
        let mut answers = Vec::new();
        if !std::mem::replace(&mut stream.opened, true) {
            let watched = &self.watchers[stream.watcher];
            let store = running.machine.machine.store();
            let request = WatchCreateRequest {
                key: watched.from.clone(),
                range_end: watched.to.clone(),
                start_revision: watched.next,
                ..Default::default()
            };
            answers.extend(stream.watchers.create(&request, store.revision(), store.compacted()));
        }
        look(&running.machine, &mut stream.watchers, &mut answers);
        if self.random.percent(10) {
            stream.watchers.want_progress();
        }
        answers.extend(stream.watchers.progress());
        let (member, watcher) = (stream.member as Address - 1, self.first_address + stream.watcher);
        if cluster.network.is_cut(member, watcher) {
            return self.disconnect(cluster, id);
        }
        if !answers.is_empty() {
            // A connection: nothing is lost or overtaken.
            cluster
                .events
                .after(2 * MILLISECOND, Happening::Own(Own::Tell { stream: id, answers }));
        }
        let pause = if self.slow { 2_000 } else { 100 };
        let wait = self.random.between(5, pause) * MILLISECOND;
        cluster.events.after(wait, Happening::Own(Own::Pull(id)));
    }

    /// A client hears something.
    pub fn tell(&mut self, cluster: &mut Group, oracle: &Oracle, id: u64, answers: Vec<Answer>) {
        let Some(watcher) = self.streams.get(&id).map(|stream| stream.watcher) else {
            return;
        };
        let now = cluster.now();
        for answer in answers {
            let watched = &mut self.watchers[watcher];
            let mut gone = false;
            let check = match &answer {
                Answer::Changes { changes, .. } => watched.told(oracle, changes),
                Answer::Progress { revision, .. } => watched.progress(oracle, *revision),
                Answer::Compacted { compacted, .. } => {
                    gone = true;
                    let lawful = *compacted <= oracle.compacted && watched.next < *compacted;
                    let next = watched.next;
                    watched.next = watched.next.max(*compacted);
                    crate::invariant::require(lawful, "watch_promises", || {
                        format!("a watcher from {next} is told that {compacted} is compacted")
                    })
                }
                _ => Ok(()),
            };
            cluster.trace.step(now, [9, watcher as u64, watched.next as u64]);
            cluster.note(check);
            if gone {
                return self.disconnect(cluster, id);
            }
        }
    }
}

/// What the coordinator's server does for a stream: the feed first, and from the store what the feed has lost.
fn look(machine: &Replicated, watchers: &mut Watchers, answers: &mut Vec<Answer>) {
    match machine.feed.after(watchers.cursor(), 20) {
        Some(revisions) => answers.extend(watchers.advance(revisions.iter().map(AsRef::as_ref))),
        None => watchers.fall_behind(machine.feed.last()),
    }
    for _ in 0..STEPS_MAX {
        let Some((from, to)) = watchers.missing() else { return };
        let store = machine.machine.store();
        match store.history(from) {
            Ok(history) => {
                let read = history.read(to, 5);
                let (changes, to) = read.unwrap_or_else(|error| panic!("the archive has everything: {error}"));
                answers.extend(watchers.catch_up(&changes, to));
            }
            Err(_) => answers.extend(watchers.compacted(store.compacted())),
        }
    }
}
