//! What is known of each member, and which of two things said about it counts.

use super::{BUCKETS, Generation, MemberId};

/// In the order in which they override each other within one incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    Alive,
    Suspect,
    Dead,
    /// It said so itself.
    Left,
}

impl Status {
    /// Whether it takes part: it is probed, and may be asked to probe.
    pub fn is_present(self) -> bool {
        matches!(self, Self::Alive | Self::Suspect)
    }
}

/// One thing said about one member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rumor {
    pub id: MemberId,
    pub generation: Generation,
    /// Raised by the member itself, to refute.
    pub incarnation: u32,
    pub status: Status,
    /// Of a suspicion: whose it is.
    pub by: MemberId,
}

impl Rumor {
    /// The larger rank counts. A newer generation is another process; within one, a newer incarnation refutes everything
    /// older.
    pub fn rank(&self) -> (Generation, u32, Status) {
        (self.generation, self.incarnation, self.status)
    }

    fn hash(&self) -> u64 {
        let words = [
            self.id,
            self.generation,
            u64::from(self.incarnation),
            self.status as u64,
        ];
        words.iter().fold(0, |hash: u64, word| {
            (hash.rotate_left(23) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15)
        })
    }

    pub fn bucket(&self) -> usize {
        (self.id.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 58) as usize % BUCKETS
    }
}

/// All members, by id. Merging rumors in any order, any number of times, gives the same table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// In order of ids.
    rumors: Vec<Rumor>,
    present: usize,
}

impl Table {
    pub fn get(&self, id: MemberId) -> Option<&Rumor> {
        let place = self.rumors.binary_search_by_key(&id, |rumor| rumor.id).ok()?;
        self.rumors.get(place)
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Rumor> {
        self.rumors.iter()
    }

    pub fn at(&self, place: usize) -> Option<&Rumor> {
        self.rumors.get(place)
    }

    pub fn len(&self) -> usize {
        self.rumors.len()
    }

    pub fn present(&self) -> usize {
        self.present
    }

    /// Takes a rumor over if it counts more than what is known. Gives what was known before, if it does.
    pub fn merge(&mut self, rumor: Rumor, members_max: usize) -> Option<Option<Rumor>> {
        match self.rumors.binary_search_by_key(&rumor.id, |known| known.id) {
            Ok(place) => {
                let known = self.rumors[place];
                if rumor.rank() <= known.rank() {
                    return None;
                }
                self.present -= usize::from(known.status.is_present());
                self.present += usize::from(rumor.status.is_present());
                self.rumors[place] = rumor;
                Some(Some(known))
            }
            Err(place) if self.rumors.len() < members_max => {
                self.present += usize::from(rumor.status.is_present());
                self.rumors.insert(place, rumor);
                Some(None)
            }
            Err(_) => {
                // Full: one that is gone makes room for one that is here.
                let gone = self.rumors.iter().position(|known| !known.status.is_present());
                let place = gone.filter(|_| rumor.status.is_present())?;
                self.rumors.remove(place);
                let place = self.rumors.partition_point(|known| known.id < rumor.id);
                self.present += 1;
                self.rumors.insert(place, rumor);
                Some(None)
            }
        }
    }

    /// A hash for each bucket, equal for equal contents.
    pub fn digest(&self) -> Vec<u64> {
        let mut buckets = vec![0; BUCKETS];
        for rumor in &self.rumors {
            buckets[rumor.bucket()] ^= rumor.hash();
        }
        buckets
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rumor() -> impl Strategy<Value = Rumor> {
        (0..4u64, 1..3u64, 0..3u32, 0..4u8, 0..3u64).prop_map(|(id, generation, incarnation, status, by)| Rumor {
            id,
            generation,
            incarnation,
            status: [Status::Alive, Status::Suspect, Status::Dead, Status::Left][usize::from(status)],
            by,
        })
    }

    fn merged(rumors: &[Rumor]) -> Vec<(MemberId, Generation, u32, Status)> {
        let mut table = Table::default();
        for rumor in rumors {
            table.merge(*rumor, 100);
        }
        let present = table.iter().filter(|rumor| rumor.status.is_present()).count();
        assert_eq!(table.present(), present);
        // Whose suspicion it is does not count: the first one that was heard stays.
        table
            .iter()
            .map(|rumor| (rumor.id, rumor.generation, rumor.incarnation, rumor.status))
            .collect()
    }

    proptest! {
        #[test]
        fn order_and_repetition_do_not_matter(rumors in prop::collection::vec(rumor(), 0..12), at in 0..12usize) {
            let expected = merged(&rumors);
            let mut turned: Vec<Rumor> = rumors.iter().rev().copied().collect();
            prop_assert_eq!(&merged(&turned), &expected);
            let middle = at.min(turned.len());
            turned.rotate_left(middle);
            turned.extend(rumors);
            prop_assert_eq!(&merged(&turned), &expected);
        }
    }

    #[test]
    fn a_successor_does_not_inherit_a_death() {
        let dead = Rumor {
            id: 1,
            generation: 5,
            incarnation: 9,
            status: Status::Dead,
            by: 2,
        };
        let born = Rumor {
            id: 1,
            generation: 6,
            incarnation: 0,
            status: Status::Alive,
            by: 1,
        };
        for order in [[dead, born], [born, dead]] {
            assert_eq!(merged(&order), [(1, 6, 0, Status::Alive)]);
        }
    }
}
