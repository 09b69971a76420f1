//! Linearizable reads without writing (thesis §6.4): the commit index at the time of asking is good once a quorum has
//! confirmed, after that, that this is still the leader.
//!
//! Confirmation is by rounds of heartbeats: a round's number is unique in its term, and the term's leader unique in the
//! term, so an answer names one round of one leader, and a late or repeated answer can confirm nothing that was asked
//! after its round was sent. One round is on its way at a time; what is asked meanwhile shares the next.

use std::collections::VecDeque;

use crate::consensus::entry::{Index, MemberId, Ticket};
use crate::consensus::message::ReadContext;

/// How many reads a leader lets wait.
pub(super) const READS_MAX: usize = 1 << 17;

/// Who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    Local(Ticket),
    Remote { from: MemberId, context: ReadContext },
}

/// Reads that wait.
#[derive(Debug, Default)]
pub(super) struct Reads {
    /// For the next round.
    pub waiting: Vec<Reader>,
    /// For a round that was sent; rounds ascend.
    asked: VecDeque<Asked>,
    count: usize,
}

#[derive(Debug)]
struct Asked {
    round: u64,
    index: Index,
    readers: Vec<Reader>,
}

impl Reads {
    /// `false` if too many wait already.
    pub fn push(&mut self, reader: Reader) -> bool {
        if self.count >= READS_MAX {
            return false;
        }
        self.count += 1;
        self.waiting.push(reader);
        true
    }

    /// Whether a round is due at once: someone waits, and none is on its way.
    pub fn needs_round(&self) -> bool {
        !self.waiting.is_empty() && self.asked.is_empty()
    }

    /// Whether a round that was sent confirms someone.
    pub fn is_asked(&self) -> bool {
        !self.asked.is_empty()
    }

    /// All that wait are to be confirmed by this round. `index` is the commit index now, before the round is sent.
    pub fn ask(&mut self, round: u64, index: Index) {
        if !self.waiting.is_empty() {
            let readers = std::mem::take(&mut self.waiting);
            self.asked.push_back(Asked { round, index, readers });
        }
    }

    /// The oldest reads that this round confirms.
    pub fn confirmed(&mut self, round: u64) -> Option<(Index, Vec<Reader>)> {
        let asked = self.asked.pop_front_if(|asked| asked.round <= round)?;
        self.count -= asked.readers.len();
        Some((asked.index, asked.readers))
    }

    /// Everyone who waits, for this leader is none any more.
    pub fn drain(&mut self) -> impl Iterator<Item = Reader> {
        let asked = std::mem::take(&mut self.asked);
        self.count = 0;
        let waiting = std::mem::take(&mut self.waiting);
        asked.into_iter().flat_map(|asked| asked.readers).chain(waiting)
    }
}
