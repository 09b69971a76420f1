//! A leader's view of one follower's log: the match index, the next index, and the progress state.
//!
//! A leader that was just elected does not know where the follower's log and its own part, so it begins in
//! [`ProgressState::Probe`]: one append, then it waits for the acknowledgement or the next heartbeat. An acknowledgement
//! that matches moves it to [`ProgressState::Replicate`], where appends are pipelined up to a limit of messages in flight; a
//! rejection, or a heartbeat response that shows a lost message, moves it back. A follower that needs entries which were
//! purged gets a snapshot ([`ProgressState::Snapshot`]). It may surprise that nothing else is sent meanwhile, not even entries
//! that the follower could take: they would only wait behind the snapshot.

use std::collections::VecDeque;

use crate::consensus::entry::{Index, MemberId, Millis};
use crate::consensus::message::{Batch, Session};
use crate::consensus::plant::{Plant, is_planted};

/// The replication progress of one follower, and what may be sent to it next.
///
/// - `match_index` < `next`; entries up to `match_index` are durable there and the same as here.
/// - Only acknowledgements of the current `session` change it (rule 9 of [`crate::consensus::Membership`]'s module).
#[derive(Debug)]
pub(super) struct Progress {
    pub id: MemberId,
    pub session: Session,
    /// The last entry known to be durable on the follower and equal to the leader's.
    pub match_index: Index,
    /// The first entry that was not sent yet, or is to be sent again.
    pub next: Index,
    pub state: ProgressState,
    /// The last contact; at first, when this progress began.
    pub last_contact: Millis,
    /// Whether it was heard from at all.
    pub is_heard: bool,
    /// The last round of heartbeats that it answered.
    pub round: u64,
    /// The last round that was sent because it was time, and what was on its way before: if the answer does not show it,
    /// something was lost.
    pub checked: Checked,
    /// The commit index that it was told last.
    pub commit_told: Index,
    /// Entries for it are being read from the log.
    pub is_fetching: bool,
    /// It is no member any more, and sent to until then so that it learns so.
    pub departs_at: Option<Millis>,
    /// The last batch of proposals that it forwarded.
    pub batch: Option<Batch>,
}

/// What was on its way before a round of heartbeats.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Checked {
    pub round: u64,
    pub next: Index,
    pub is_waiting: bool,
}

/// What may be sent; etcd's `tracker.StateType`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ProgressState {
    /// It is not known where the logs part: one message, then wait for the answer (or the next heartbeat).
    Probe { is_waiting: bool },
    /// Everything follows: messages go out without waiting, up to a limit. For each its last index.
    Replicate { inflight: VecDeque<Index> },
    /// It needs entries that are not in the log any more: nothing but heartbeats until it has the snapshot.
    Snapshot { index: Index },
}

impl Progress {
    pub fn new(id: MemberId, session: Session, next: Index, now: Millis) -> Self {
        Self {
            id,
            session,
            match_index: 0,
            next,
            state: ProgressState::Probe { is_waiting: false },
            last_contact: now,
            is_heard: false,
            round: 0,
            checked: Checked::default(),
            commit_told: 0,
            is_fetching: false,
            departs_at: None,
            batch: None,
        }
    }

    pub fn hear(&mut self, now: Millis) {
        self.last_contact = now;
        self.is_heard = true;
    }

    /// Starts over after what is certain, or further if a hint says so.
    pub fn probe(&mut self, next: Index) {
        self.next = next.max(self.match_index + 1);
        self.state = ProgressState::Probe { is_waiting: false };
    }

    pub fn is_paused(&self, inflight_max: usize) -> bool {
        self.is_fetching
            || match &self.state {
                ProgressState::Probe { is_waiting } => *is_waiting,
                ProgressState::Replicate { inflight } => inflight.len() >= inflight_max,
                ProgressState::Snapshot { .. } => true,
            }
    }

    /// Entries up to this index were sent, or none (`last` is then before `next`).
    pub fn sent(&mut self, last: Index) {
        match &mut self.state {
            ProgressState::Probe { is_waiting } => *is_waiting = true,
            ProgressState::Replicate { inflight } if last >= self.next => {
                inflight.push_back(last);
                self.next = last + 1;
            }
            _ => {}
        }
    }

    /// It holds everything up to this index, durably. Whether that is news. Only the answer to a probe tells that the
    /// logs meet where it was sent.
    pub fn acknowledged(&mut self, index: Index, is_answer: bool) -> bool {
        let is_news = index > self.match_index;
        self.match_index = self.match_index.max(index);
        self.next = self.next.max(self.match_index + 1);
        match &mut self.state {
            ProgressState::Probe { .. } if !is_answer => {}
            ProgressState::Probe { .. } => {
                self.state = ProgressState::Replicate {
                    inflight: VecDeque::new(),
                };
            }
            ProgressState::Replicate { inflight } => while inflight.pop_front_if(|last| *last <= index).is_some() {},
            ProgressState::Snapshot { index: wanted } if *wanted <= index => {
                self.next = index + 1;
                self.state = ProgressState::Replicate {
                    inflight: VecDeque::new(),
                };
            }
            ProgressState::Snapshot { .. } => {}
        }
        is_news
    }

    /// A round of heartbeats is about to be sent because it is time.
    pub fn check(&mut self, round: u64) {
        self.checked = Checked {
            round,
            next: self.next,
            is_waiting: self.state == ProgressState::Probe { is_waiting: true },
        };
    }

    /// It has answered a round of heartbeats, and held `received` then. What was sent before that round and is not there is
    /// lost, or at best late.
    pub fn answered(&mut self, round: u64, received: Index) {
        self.round = self.round.max(round);
        if round != self.checked.round {
            return;
        }
        match &mut self.state {
            ProgressState::Probe { is_waiting } if self.checked.is_waiting => *is_waiting = false,
            ProgressState::Replicate { .. } if received.saturating_add(1) < self.checked.next => {
                self.probe(received.saturating_add(1).min(self.next));
            }
            _ => {}
        }
    }

    /// It does not hold the entry before those that were sent. `hint` is the last entry that may be there. Whether
    /// something is to be sent again.
    pub fn rejected(&mut self, previous: Index, hint: Index) -> bool {
        match self.state {
            // An answer that was overtaken.
            _ if previous <= self.match_index => false,
            ProgressState::Probe { .. } if previous + 1 != self.next => false,
            ProgressState::Snapshot { .. } => false,
            ProgressState::Probe { .. } | ProgressState::Replicate { .. } => {
                self.probe(hint.saturating_add(1).min(previous));
                true
            }
        }
    }

    /// Whether a message of this session may change anything.
    pub fn is_current(&self, session: Session) -> bool {
        self.session == session || is_planted(Plant::SessionIgnored)
    }
}
