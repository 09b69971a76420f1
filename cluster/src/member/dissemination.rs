//! News on its way: each item rides on some packets, the newest first, and then rests.

use std::cmp::Reverse;

use super::Millis;
use super::notes::Note;
use super::table::Rumor;
use super::wire;

/// Items that wait to be told; beyond it those told most often are dropped, and the digests repair it.
const QUEUE_MAX: usize = 4_096;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    Rumor(Rumor),
    Note(Note),
}

impl Item {
    fn replaces(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Rumor(mine), Self::Rumor(theirs)) => mine.id == theirs.id,
            (Self::Note(mine), Self::Note(theirs)) => mine.owner == theirs.owner && mine.key == theirs.key,
            _ => false,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Rumor(_) => wire::RUMOR_BYTES,
            Self::Note(note) => wire::note_bytes(note),
        }
    }
}

#[derive(Debug, Default)]
pub struct Dissemination {
    /// With how often each was told and when it was queued.
    queue: Vec<(u32, u64, Item)>,
    next: u64,
}

impl Dissemination {
    pub fn rumor(&mut self, rumor: Rumor) {
        self.push(Item::Rumor(rumor));
    }

    pub fn note(&mut self, note: Note) {
        self.push(Item::Note(note));
    }

    fn push(&mut self, item: Item) {
        self.queue.retain(|(_, _, queued)| !item.replaces(queued));
        if self.queue.len() >= QUEUE_MAX
            && let Some(most) = (0..self.queue.len()).max_by_key(|place| self.queue[*place].0)
        {
            self.queue.swap_remove(most);
        }
        self.next += 1;
        self.queue.push((0, self.next, item));
    }

    /// What fits in `bytes`: the least sent first, of those the newest. Each rumor is sent `times` times.
    pub fn take(&mut self, mut bytes: usize, times: u32, rumors: &mut Vec<Rumor>, notes: &mut Vec<Note>) {
        if self.queue.is_empty() {
            return;
        }
        self.queue
            .sort_unstable_by_key(|(told, queued, _)| (*told, Reverse(*queued)));
        for (told, _, item) in &mut self.queue {
            let size = item.bytes();
            if size > bytes {
                continue;
            }
            bytes -= size;
            *told += 1;
            match item {
                Item::Rumor(rumor) => rumors.push(*rumor),
                Item::Note(note) => notes.push(note.clone()),
            }
        }
        self.queue.retain(|(told, ..)| *told < times);
    }
}

/// How often a rumor of a suspicion or a death is sent: the logarithm of the members, times a factor (SWIM's λ·log n).
pub fn transmissions(factor: u32, members: usize) -> u32 {
    factor * log10_ceil(members)
}

/// The least time of a suspicion, in a cluster of that size.
pub fn suspicion_min(factor: u32, members: usize, period: Millis) -> Millis {
    u64::from(factor * log10_ceil(members)) * period
}

fn log10_ceil(members: usize) -> u32 {
    let mut log = 1;
    let mut reach = 10;
    while reach < members + 1 && log < 20 {
        reach = reach.saturating_mul(10);
        log += 1;
    }
    log
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::member::{MemberId, Status};

    fn rumor(id: MemberId, incarnation: u32) -> Rumor {
        Rumor {
            id,
            generation: 1,
            incarnation,
            status: Status::Alive,
            by: id,
        }
    }

    fn take(news: &mut Dissemination, bytes: usize) -> Vec<MemberId> {
        let (mut rumors, mut notes) = (Vec::new(), Vec::new());
        news.take(bytes, 2, &mut rumors, &mut notes);
        rumors.iter().map(|rumor| rumor.id).collect()
    }

    #[test]
    fn what_was_told_least_goes_first_and_each_goes_twice() {
        let mut news = Dissemination::default();
        (1..=3).for_each(|id| news.rumor(rumor(id, 0)));
        let two = 2 * wire::RUMOR_BYTES;
        assert_eq!(take(&mut news, two), [3, 2]);
        assert_eq!(take(&mut news, two), [1, 3]);
        news.rumor(rumor(1, 1));
        assert_eq!(
            take(&mut news, two),
            [1, 2],
            "newer news takes the older one's place, untold"
        );
        assert_eq!(take(&mut news, two), [1]);
        assert!(news.queue.is_empty());
    }

    #[test]
    fn the_logarithm_grows_with_each_power_of_ten() {
        let counts = [1, 9, 10, 99, 100, 1_000].map(log10_ceil);
        assert_eq!(counts, [1, 1, 2, 2, 3, 4]);
    }
}
