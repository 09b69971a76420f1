//! One replica of a partition: its role, its leader epoch, and how far the high watermark is.
//!
//! Pure: events in, effects out. The leader's high watermark is the least offset that all in-sync replicas have; each
//! counts by what it has on stable storage (with `--flush os` by what the page cache has, Kafka's own rule). On one broker
//! there is one replica, so it is the flushed offset. With followers, only the inputs change: [`Event::Fetched`] says what
//! a follower has, since the offset from which it fetches is its acknowledgement, and [`Event::InSync`] who counts.
//!
//! Deliberately missing until there are several brokers: following, and deciding who is in sync.

use std::collections::BTreeMap;

/// What happens to a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It leads the partition from now on, in this epoch; its log is on stable storage up to `flushed_offset`.
    Lead {
        leader_epoch: i32,
        replicas: Vec<i32>,
        in_sync: Vec<i32>,
        flushed_offset: i64,
    },
    /// Its own log is on stable storage up to here.
    Flushed { offset: i64 },
    /// A follower has everything before this offset.
    Fetched { replica: i32, offset: i64 },
    /// The in-sync replicas have changed.
    InSync { in_sync: Vec<i32> },
    /// It leads no more.
    Resign,
}

/// What is to be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Consumers may read everything before this offset.
    HighWatermark(i64),
    /// Whoever waits for an offset waits in vain: another replica decides now.
    Unload,
}

/// Who leads, and who has the records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leadership {
    pub leader_epoch: i32,
    pub replicas: Vec<i32>,
    pub in_sync: Vec<i32>,
}

/// * The high watermark never moves back.
/// * Only a leader moves it, and no further than each in-sync replica has come.
#[derive(Debug, Clone)]
pub struct Replica {
    node_id: i32,
    /// While it leads.
    leader: Option<Leadership>,
    /// How far each replica has come.
    ends: BTreeMap<i32, i64>,
    high_watermark: i64,
}

impl Replica {
    /// A replica of a broker, which does not lead yet.
    pub fn new(node_id: i32, high_watermark: i64) -> Self {
        Self {
            node_id,
            leader: None,
            ends: BTreeMap::new(),
            high_watermark,
        }
    }

    pub fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    /// `None` where another broker leads.
    pub fn leadership(&self) -> Option<&Leadership> {
        self.leader.as_ref()
    }

    pub fn step(&mut self, event: Event) -> Option<Effect> {
        match event {
            Event::Lead {
                leader_epoch,
                replicas,
                in_sync,
                flushed_offset,
            } => {
                if self.leader.as_ref().is_some_and(|led| led.leader_epoch >= leader_epoch) {
                    return None; // An old message.
                }
                // What followers had in an earlier epoch may have been truncated since.
                self.ends = BTreeMap::from([(self.node_id, flushed_offset)]);
                self.leader = Some(Leadership {
                    leader_epoch,
                    replicas,
                    in_sync,
                });
            }
            Event::Flushed { offset } => {
                let end = self.ends.entry(self.node_id).or_insert(offset);
                *end = offset.max(*end);
            }
            Event::Fetched { replica, offset } => {
                let is_replica = self.leader.as_ref().is_some_and(|led| led.replicas.contains(&replica));
                if !is_replica || replica == self.node_id {
                    return None;
                }
                self.ends.insert(replica, offset);
            }
            Event::InSync { in_sync } => {
                if let Some(leader) = &mut self.leader {
                    leader.in_sync = in_sync;
                }
            }
            Event::Resign => {
                self.ends.clear();
                return self.leader.take().map(|_| Effect::Unload);
            }
        }
        self.advance()
    }

    fn advance(&mut self) -> Option<Effect> {
        let in_sync = self.leader.as_ref()?.in_sync.iter();
        // Of whom nothing was heard in this epoch nothing is known.
        let least = in_sync.map(|replica| self.ends.get(replica)).min()??;
        if *least <= self.high_watermark {
            return None;
        }
        self.high_watermark = *least;
        Some(Effect::HighWatermark(self.high_watermark))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lead(leader_epoch: i32, in_sync: &[i32], flushed_offset: i64) -> Event {
        Event::Lead {
            leader_epoch,
            replicas: vec![0, 1, 2],
            in_sync: in_sync.to_vec(),
            flushed_offset,
        }
    }

    #[test]
    fn alone_the_high_watermark_is_the_flushed_offset() {
        let mut replica = Replica::new(0, 5);
        assert_eq!(replica.step(Event::Flushed { offset: 7 }), None);
        assert_eq!(replica.step(lead(3, &[0], 7)), Some(Effect::HighWatermark(7)));
        assert_eq!(
            replica.step(Event::Flushed { offset: 9 }),
            Some(Effect::HighWatermark(9))
        );
        assert_eq!(replica.step(Event::Flushed { offset: 8 }), None);
        assert_eq!(replica.high_watermark(), 9);
    }

    #[test]
    fn the_slowest_in_sync_replica_decides() {
        let mut replica = Replica::new(0, 0);
        assert_eq!(replica.step(lead(1, &[0, 1, 2], 10)), None);
        assert_eq!(replica.step(Event::Fetched { replica: 1, offset: 10 }), None);
        assert_eq!(
            replica.step(Event::Fetched { replica: 2, offset: 4 }),
            Some(Effect::HighWatermark(4))
        );
        // A stranger's fetch means nothing, nor does one that claims to be of the leader itself.
        assert_eq!(replica.step(Event::Fetched { replica: 9, offset: 99 }), None);
        assert_eq!(replica.step(Event::Fetched { replica: 0, offset: 99 }), None);
        let in_sync = vec![0, 1];
        assert_eq!(replica.step(Event::InSync { in_sync }), Some(Effect::HighWatermark(10)));
        // A replica that comes back does not take the high watermark back.
        let in_sync = vec![0, 1, 2];
        assert_eq!(replica.step(Event::InSync { in_sync }), None);
        assert_eq!(replica.high_watermark(), 10);
    }

    #[test]
    fn a_new_epoch_forgets_what_followers_had() {
        let mut replica = Replica::new(0, 0);
        replica.step(lead(1, &[0, 1], 10));
        replica.step(Event::Fetched { replica: 1, offset: 3 });
        assert_eq!(replica.step(lead(1, &[0], 10)), None);
        assert_eq!(replica.step(lead(2, &[0, 1], 12)), None);
        assert_eq!(replica.step(Event::Flushed { offset: 13 }), None);
        assert_eq!(replica.high_watermark(), 3);
        assert_eq!(replica.step(Event::Resign), Some(Effect::Unload));
        assert_eq!(replica.step(Event::Flushed { offset: 20 }), None);
    }
}
