//! What a member has in any role: its term and vote, its log, and what it wants done.

use super::config::{Config, HardState, Restored, Snapshot};
use super::effects::{Effects, SoftState, Write, WriteId};
use super::entry::{Entry, Index, MemberId, Millis, Payload, Position, Term, Ticket};
use super::event::{Refusal, Refused};
use super::jitter::Jitter;
use super::log_view::LogView;
use super::membership::{Membership, Memberships};
use super::message::{Body, Message};
use super::writes::Writes;

/// How many messages wait for a vote to become durable; what comes after is dropped, as a network might.
const HELD_MAX: usize = 1_024;

/// What a member has in any role.
///
/// - `term` and `commit` never decrease; `vote` changes within a term only from no one to someone.
/// - `purged` ≤ `snapshot` ≤ `released` ≤ `commit` ≤ the log's last index; `applied` ≤ `released`.
/// - No message of a term leaves before the term, and the vote in it, are durable.
#[derive(Debug)]
pub(super) struct Replica {
    pub config: Config,
    pub term: Term,
    pub vote: Option<MemberId>,
    pub log: LogView,
    pub writes: Writes,
    pub memberships: Memberships,
    pub snapshot: Snapshot,
    pub commit: Index,
    /// Up to where committed entries were given to the driver.
    pub released: Index,
    pub applied: Index,
    pub now: Millis,
    pub effects: Box<Effects>,
    pub reported: SoftState,
    jitter: Jitter,
    /// The last write that carries term and vote.
    hard_write: WriteId,
    /// What waits for it.
    held: Vec<Message>,
    /// Counts what is forwarded to leaders, so that no two attempts of this start have one name.
    attempts: u64,
}

impl Replica {
    pub fn new(config: Config, restored: Restored, now: Millis, reported: SoftState) -> Self {
        let log = LogView::new(&restored);
        let snapshot = restored.snapshot;
        let mut memberships = Memberships::new(snapshot.last.index, snapshot.membership.clone());
        for (index, membership) in restored.memberships {
            if index > snapshot.last.index {
                memberships.push(index, membership);
            }
        }
        let known = restored.hard_state.commit.max(restored.applied);
        let commit = known.min(log.last_index()).max(snapshot.last.index);
        let HardState { term, vote, .. } = restored.hard_state;
        Self {
            // A log that is ahead of its term comes of a driver that broke the order of writes; no vote was given there.
            term: term.max(log.last().term),
            vote: vote.filter(|_| term >= log.last().term),
            writes: Writes::new(log.last_index()),
            memberships,
            commit,
            released: restored.applied.min(commit),
            applied: restored.applied.min(commit),
            now,
            effects: Box::default(),
            reported,
            jitter: Jitter::new(config.seed ^ config.incarnation.rotate_left(32)),
            hard_write: 0,
            held: Vec::new(),
            attempts: 0,
            snapshot,
            log,
            config,
        }
    }

    pub fn id(&self) -> MemberId {
        self.config.id
    }

    /// The membership in force.
    pub fn membership(&self) -> &Membership {
        self.memberships.latest()
    }

    /// A time at which to campaign: by chance, so that not all do at once (Raft paper §5.2). Half of `election_ms` is wide
    /// enough to tell a few members apart, and keeps a failover within one and a half.
    pub fn election_deadline(&mut self) -> Millis {
        let election = self.config.election_ms;
        self.now + election + self.jitter.below(election / 2)
    }

    /// Whether this member may try to become leader: rule 6 of [`super::membership`].
    pub fn may_campaign(&self) -> bool {
        let is_committed = self.memberships.latest_index() <= self.commit;
        let was_voter = || {
            let committed = self.memberships.at(self.commit);
            committed.is_some_and(|membership| membership.is_voter(self.id()))
        };
        self.membership().is_voter(self.id()) || (!is_committed && was_voter())
    }

    /// Sends a message of this term, once the term is durable.
    pub fn send(&mut self, to: MemberId, body: Body) {
        self.send_of_term(to, self.term, body);
    }

    /// Sends a message that carries another term, as pre-votes do.
    pub fn send_of_term(&mut self, to: MemberId, term: Term, body: Body) {
        let from = self.id();
        let message = Message { from, to, term, body };
        if self.is_hard_state_durable() {
            self.effects.messages.push(message);
        } else if self.held.len() < HELD_MAX {
            self.held.push(message);
        }
    }

    pub fn next_attempt(&mut self) -> u64 {
        self.attempts += 1;
        self.attempts
    }

    pub fn refuse(&mut self, ticket: Ticket, why: Refusal) {
        self.effects.refused.push(Refused { ticket, why });
    }

    /// Whether term and vote are durable as they are.
    pub fn is_hard_state_durable(&self) -> bool {
        self.writes.is_done(self.hard_write)
    }

    /// Enters a later term. What was to be said in the former one is not said any more.
    pub fn enter_term(&mut self, term: Term, vote: Option<MemberId>) {
        debug_assert!(term > self.term, "terms only grow");
        self.term = term;
        self.vote = vote;
        self.held.clear();
        self.write_hard_state();
    }

    pub fn vote_for(&mut self, candidate: MemberId) {
        if self.vote != Some(candidate) {
            debug_assert!(self.vote.is_none(), "one vote a term");
            self.vote = Some(candidate);
            self.write_hard_state();
        }
    }

    fn write_hard_state(&mut self) {
        let hard_state = HardState {
            term: self.term,
            vote: self.vote,
            commit: self.commit,
        };
        let write = self.write();
        write.hard_state = Some(hard_state);
        self.hard_write = write.id;
    }

    /// The one write of this step.
    fn write(&mut self) -> &mut Write {
        let (writes, last_index) = (&mut self.writes, self.log.last_index());
        self.effects.write.get_or_insert_with(|| Write {
            id: writes.begin(last_index),
            ..Write::default()
        })
    }

    /// Appends entries after the log's last, where they follow.
    pub fn append(&mut self, entries: Vec<Entry>) {
        if entries.is_empty() {
            return;
        }
        let mut is_changed = false;
        for entry in &entries {
            if let Payload::Membership(change) = &entry.payload {
                self.memberships.push(entry.index, change.membership.clone());
                is_changed = true;
            }
        }
        self.write();
        self.log.append(entries.iter().cloned());
        self.writes.extend(self.log.last_index());
        self.write().entries = entries;
        if is_changed {
            self.report_membership();
        }
    }

    /// Cuts off entries from this index on, none of them committed.
    pub fn truncate(&mut self, from: Index) {
        debug_assert!(from > self.commit, "what is committed stays");
        self.write().truncate_from = Some(from);
        self.writes.truncate(from);
        self.log.truncate(from);
        if self.memberships.truncate(from) {
            self.report_membership();
        }
    }

    /// Begins again from a snapshot that is ahead of what is committed here.
    pub fn install(&mut self, snapshot: Snapshot) {
        debug_assert!(snapshot.last.index > self.commit, "what is committed stays");
        self.write();
        self.writes.truncate(1);
        self.writes.extend(snapshot.last.index);
        self.write().install = Some(snapshot.clone());
        self.log.restart(snapshot.last);
        self.memberships = Memberships::new(snapshot.last.index, snapshot.membership.clone());
        self.commit = snapshot.last.index;
        self.released = snapshot.last.index;
        self.snapshot = snapshot;
        self.report_membership();
    }

    fn report_membership(&mut self) {
        self.effects.membership = Some(self.membership().clone());
    }

    /// Raises the commit index. Whether it rose.
    pub fn commit_to(&mut self, index: Index) -> bool {
        let index = index.min(self.log.last_index());
        if index <= self.commit {
            return false;
        }
        self.commit = index;
        true
    }

    /// Whether an entry of this term is committed: what a leader waits for before it reads or changes members.
    pub fn has_committed_in_term(&self) -> bool {
        self.log.term_at(self.commit) == Some(self.term)
    }

    /// Takes note of writes that are durable. Whether that is news.
    pub fn persisted(&mut self, first: WriteId, last: WriteId) -> bool {
        let is_news = self.writes.report(first, last);
        if self.is_hard_state_durable() {
            self.effects.messages.append(&mut self.held);
        }
        is_news
    }

    pub fn applied(&mut self, index: Index) {
        self.applied = self.applied.max(index.min(self.released));
    }

    /// The driver's log was purged, its snapshot is newer.
    pub fn compacted(&mut self, snapshot: Index, purged: Index) {
        if snapshot > self.snapshot.last.index && snapshot <= self.released {
            let position = self.log.position_at(snapshot);
            let membership = self.memberships.at(snapshot).cloned();
            if let (Some(last), Some(membership)) = (position, membership) {
                self.snapshot = Snapshot { last, membership };
            }
        }
        let purged = purged.min(self.snapshot.last.index);
        if purged > self.log.purged().index {
            self.log.purge(purged);
            self.memberships.purge(purged);
        }
    }

    /// Ends a step: what has become committed and durable is given to the driver, and memory to the system.
    pub fn finish(&mut self, soft_state: SoftState) {
        // Only what is durable here is applied, so that a state machine is never ahead of its log after a crash.
        let ready = self.commit.min(self.writes.durable());
        if ready > self.released {
            self.effects.committed = self.released + 1..ready + 1;
            self.released = ready;
        }
        if soft_state != self.reported {
            self.reported = soft_state;
            self.effects.soft_state = Some(soft_state);
        }
        self.log.evict(self.applied, self.config.cache_bytes);
    }

    /// Whether a candidate's log is at least as up to date as this one (Raft paper §5.4.1).
    pub fn is_up_to_date(&self, last: Position) -> bool {
        last >= self.log.last()
    }
}
