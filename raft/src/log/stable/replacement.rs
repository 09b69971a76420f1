//! One entry in the place of the log's end: all of that or nothing, wherever a crash comes in between.
//!
//! A cut and the entry behind it are two writes to the entries' log. Between them there would be a log that has lost its
//! end and has nothing for it, which a member that goes on in its old group must never have: others may count on entries
//! that it has promised to hold. So the new entry is written among the hard states first, and that one record is the moment
//! from which on the replacement has happened: whatever a crash leaves undone of it is done at the next start.

use bytes::{BufMut, Bytes};

use super::{Entry, HARD_STATE_BYTES, HardState, StableStorage, number_at, numbers};
use crate::log::LogError;

/// The kind of a hard state's record that has an entry behind it.
pub(super) const REPLACEMENT_KIND: u8 = 2;
/// Index, term and kind in front of the entry's payload, in bytes.
const ENTRY_HEAD_BYTES: usize = 17;

impl StableStorage {
    /// Puts `entry` in the place of all entries from its index on; all up to it counts as committed from now on.
    ///
    /// # Errors
    /// [`LogError::NotThere`] where it would leave a gap. After any other error the next start decides whether it happened.
    pub fn replace_end(&mut self, entry: &Entry) -> Result<(), LogError> {
        let (first, next) = (self.first_index(), self.next_index());
        if entry.index < first || entry.index > next {
            let index = entry.index;
            return Err(LogError::NotThere { index, first, next });
        }
        if entry.term > self.hard_state.term {
            self.hard_state = HardState {
                term: entry.term,
                vote: 0,
                ..self.hard_state
            };
        }
        // What is kept must be as durable as the note that says what comes behind it.
        self.entries.sync()?;
        let mut payload = numbers(self.hard_state, self.installing);
        payload.put_u64_le(entry.index);
        payload.put_u64_le(entry.term);
        payload.put_u8(entry.kind);
        payload.extend_from_slice(&entry.payload);
        self.save_votes_record(REPLACEMENT_KIND, payload)?;
        self.finish_replacement(entry)
    }

    /// The part behind the note; as often as it takes.
    pub(super) fn finish_replacement(&mut self, entry: &Entry) -> Result<(), LogError> {
        self.save(std::slice::from_ref(entry), entry.index)?;
        // It may say more than is left here.
        self.commit_note.write(entry.index);
        self.commit_note
            .sync()
            .map_err(LogError::io("sync", self.entries.directory()))?;
        self.save_hard_state(self.hard_state)
    }
}

/// The entry that stands behind the numbers of such a record.
pub(super) fn decode(payload: &Bytes) -> Option<Entry> {
    let head = payload.get(HARD_STATE_BYTES..HARD_STATE_BYTES + ENTRY_HEAD_BYTES)?;
    Some(Entry {
        index: number_at(head, 0),
        term: number_at(head, 8),
        kind: head[16],
        payload: payload.slice(HARD_STATE_BYTES + ENTRY_HEAD_BYTES..),
    })
}
