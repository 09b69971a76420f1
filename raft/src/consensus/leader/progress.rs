//! How far a leader has come with one other member.

use std::collections::VecDeque;

use crate::consensus::entry::{Index, MemberId, Millis};
use crate::consensus::message::{Batch, Session};
use crate::consensus::plant::{Plant, is_planted};

/// How far a leader has come with one other member, and what it may send next.
///
/// - `matched` < `next`; entries up to `matched` are durable there and the same as here.
/// - Only acknowledgements of the current `session` change it (rule 9 of [`crate::consensus::Membership`]'s module).
#[derive(Debug)]
pub(super) struct Progress {
    pub id: MemberId,
    pub session: Session,
    pub matched: Index,
    /// The first entry that was not sent yet, or is to be sent again.
    pub next: Index,
    pub pace: Pace,
    /// When it was heard from last; at first, when this began.
    pub heard_at: Millis,
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
    /// The last batch of proposals that it passed on.
    pub batch: Option<Batch>,
}

/// What was on its way before a round of heartbeats.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Checked {
    pub round: u64,
    pub next: Index,
    pub is_waiting: bool,
}

/// What may be sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pace {
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
            matched: 0,
            next,
            pace: Pace::Probe { is_waiting: false },
            heard_at: now,
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
        self.heard_at = now;
        self.is_heard = true;
    }

    /// Starts over after what is certain, or further if a hint says so.
    pub fn probe(&mut self, next: Index) {
        self.next = next.max(self.matched + 1);
        self.pace = Pace::Probe { is_waiting: false };
    }

    pub fn is_paused(&self, inflight_max: usize) -> bool {
        self.is_fetching
            || match &self.pace {
                Pace::Probe { is_waiting } => *is_waiting,
                Pace::Replicate { inflight } => inflight.len() >= inflight_max,
                Pace::Snapshot { .. } => true,
            }
    }

    /// Entries up to this index were sent, or none (`last` is then before `next`).
    pub fn sent(&mut self, last: Index) {
        match &mut self.pace {
            Pace::Probe { is_waiting } => *is_waiting = true,
            Pace::Replicate { inflight } if last >= self.next => {
                inflight.push_back(last);
                self.next = last + 1;
            }
            _ => {}
        }
    }

    /// It holds everything up to this index, durably. Whether that is news. Only the answer to a probe tells that the
    /// logs meet where it was sent.
    pub fn acknowledged(&mut self, index: Index, is_answer: bool) -> bool {
        let is_news = index > self.matched;
        self.matched = self.matched.max(index);
        self.next = self.next.max(self.matched + 1);
        match &mut self.pace {
            Pace::Probe { .. } if !is_answer => {}
            Pace::Probe { .. } => {
                self.pace = Pace::Replicate {
                    inflight: VecDeque::new(),
                };
            }
            Pace::Replicate { inflight } => while inflight.pop_front_if(|last| *last <= index).is_some() {},
            Pace::Snapshot { index: wanted } if *wanted <= index => {
                self.next = index + 1;
                self.pace = Pace::Replicate {
                    inflight: VecDeque::new(),
                };
            }
            Pace::Snapshot { .. } => {}
        }
        is_news
    }

    /// A round of heartbeats is about to be sent because it is time.
    pub fn check(&mut self, round: u64) {
        self.checked = Checked {
            round,
            next: self.next,
            is_waiting: self.pace == Pace::Probe { is_waiting: true },
        };
    }

    /// It has answered a round of heartbeats, and held `received` then. What was sent before that round and is not there is
    /// lost, or at best late.
    pub fn answered(&mut self, round: u64, received: Index) {
        self.round = self.round.max(round);
        if round != self.checked.round {
            return;
        }
        match &mut self.pace {
            Pace::Probe { is_waiting } if self.checked.is_waiting => *is_waiting = false,
            Pace::Replicate { .. } if received.saturating_add(1) < self.checked.next => {
                self.probe(received.saturating_add(1).min(self.next));
            }
            _ => {}
        }
    }

    /// It does not hold the entry before those that were sent. `hint` is the last entry that may be there. Whether
    /// something is to be sent again.
    pub fn rejected(&mut self, previous: Index, hint: Index) -> bool {
        match self.pace {
            // An answer that was overtaken.
            _ if previous <= self.matched => false,
            Pace::Probe { .. } if previous + 1 != self.next => false,
            Pace::Snapshot { .. } => false,
            Pace::Probe { .. } | Pace::Replicate { .. } => {
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
