//! Several watermarks made one: the splits of a source, the input channels of a task.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{END, Generator, NONE};

/// The watermark of a source whose splits each have their own.
///
/// - Is the least over the splits that are neither finished nor idle, and never falls.
/// - All splits idle: it stays. All finished: it is [`END`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitWatermarks {
    splits: BTreeMap<u32, Split>,
    emitted: i64,
    interval: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Split {
    generator: Generator,
    finished: bool,
    idle: bool,
}

impl SplitWatermarks {
    pub fn new(splits: u32, interval_ms: i64) -> Self {
        let split = || Split {
            generator: Generator::new(interval_ms),
            finished: false,
            idle: false,
        };
        Self {
            splits: (0..splits).map(|number| (number, split())).collect(),
            emitted: NONE,
            interval: interval_ms,
        }
    }

    pub fn emitted(&self) -> i64 {
        self.emitted
    }

    /// Takes the candidates of the next rows of `split` and returns the watermark that each row meets.
    pub fn rows(&mut self, split: u32, candidates: impl Iterator<Item = Option<i64>>) -> Vec<i64> {
        let interval = self.interval;
        self.splits.entry(split).or_insert_with(|| Split {
            generator: Generator::new(interval),
            finished: false,
            idle: false,
        });
        // Only this split moves within the batch, so the least of the others is looked up once.
        let others = self.least_but(Some(split));
        let Some(own) = self.splits.get_mut(&split) else {
            return Vec::new();
        };
        own.idle = false;
        own.finished = false;
        let mut before = Vec::with_capacity(candidates.size_hint().0);
        for candidate in candidates {
            before.push(self.emitted);
            own.generator.row(candidate);
            self.emitted = self.emitted.max(own.generator.emitted().min(others.unwrap_or(END)));
        }
        before
    }

    /// The source has `count` splits; those not known yet hold the watermark back until they bring rows.
    pub fn expect_splits(&mut self, count: u32) {
        for number in 0..count {
            let generator = Generator::new(self.interval);
            self.splits.entry(number).or_insert(Split {
                generator,
                finished: false,
                idle: false,
            });
        }
    }

    pub fn finish(&mut self, split: u32) {
        if let Some(split) = self.splits.get_mut(&split) {
            split.finished = true;
        }
        self.advance();
    }

    /// `split` has brought nothing for so long that it must not hold the others back; rows wake it up.
    pub fn set_idle(&mut self, split: u32) {
        if let Some(split) = self.splits.get_mut(&split) {
            split.generator.flush();
            split.idle = true;
        }
        self.advance();
    }

    /// No rows come just now: the watermark catches up with the rows so far, as Flink's does with its next interval.
    pub fn flush(&mut self) {
        self.splits.values_mut().for_each(|split| split.generator.flush());
        self.advance();
    }

    /// Whether no split counts, though some have not finished.
    pub fn is_idle(&self) -> bool {
        let mut unfinished = self.splits.values().filter(|split| !split.finished).peekable();
        unfinished.peek().is_some() && unfinished.all(|split| split.idle)
    }

    fn advance(&mut self) {
        if !self.splits.is_empty() && self.splits.values().all(|split| split.finished) {
            self.emitted = END;
        } else if let Some(least) = self.least_but(None) {
            self.emitted = self.emitted.max(least);
        }
    }

    /// The least watermark of the splits that count, `but` left out; none if there is no such split.
    fn least_but(&self, but: Option<u32>) -> Option<i64> {
        let counted = self
            .splits
            .iter()
            .filter(|(number, split)| Some(**number) != but && !split.finished && !split.idle);
        counted.map(|(_, split)| split.generator.emitted()).min()
    }
}

/// The watermark of a task that reads several channels: the least over those that have not ended and are not idle; it
/// never falls.
#[derive(Debug, Clone)]
pub struct ChannelWatermarks {
    channels: Vec<i64>,
    idle: Vec<bool>,
    emitted: i64,
}

impl ChannelWatermarks {
    pub fn new(channels: usize) -> Self {
        Self {
            channels: vec![NONE; channels],
            idle: vec![false; channels],
            emitted: NONE,
        }
    }

    pub fn emitted(&self) -> i64 {
        self.emitted
    }

    /// The bound that the other channels put on rows of `channel`.
    pub fn others(&self, channel: usize) -> i64 {
        let others = self
            .channels
            .iter()
            .enumerate()
            .filter(|(number, _)| *number != channel && !self.idle[*number]);
        others.map(|(_, watermark)| *watermark).min().unwrap_or(END)
    }

    /// `channel` has advanced (an ended channel: to [`END`]). Returns the combined watermark if that moved it.
    pub fn advance(&mut self, channel: usize, watermark: i64) -> Option<i64> {
        self.channels[channel] = self.channels[channel].max(watermark);
        self.combine()
    }

    /// `channel` has fallen idle, or wakes up. Returns the combined watermark if that moved it.
    pub fn set_idle(&mut self, channel: usize, idle: bool) -> Option<i64> {
        self.idle[channel] = idle;
        self.combine()
    }

    /// Whether all channels are idle.
    pub fn is_idle(&self) -> bool {
        !self.idle.is_empty() && self.idle.iter().all(|idle| *idle)
    }

    fn combine(&mut self) -> Option<i64> {
        let all = self.channels.iter().copied();
        let combined = if self.is_idle() {
            // As Flink's StatusWatermarkValve: nothing is behind the farthest of them.
            all.max()
        } else {
            let counted = all.zip(&self.idle).filter(|(_, idle)| !**idle);
            counted.map(|(watermark, _)| watermark).min()
        };
        combined
            .filter(|combined| *combined > self.emitted)
            .inspect(|combined| {
                self.emitted = *combined;
            })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Flink's rule told row by row, without batches: one generator per split, the least of the live ones.
    fn reference(rows: &[(u32, i64)], splits: u32) -> Vec<i64> {
        let mut largest = vec![0_i64; splits as usize];
        let mut told = vec![0_i64; splits as usize];
        let mut emitted = NONE;
        rows.iter()
            .map(|(split, candidate)| {
                let before = emitted;
                let own = *split as usize;
                largest[own] = largest[own].max(*candidate);
                if largest[own] - told[own] > 200 {
                    told[own] = largest[own];
                }
                let least = told
                    .iter()
                    .map(|told| if *told == 0 { NONE } else { *told })
                    .min()
                    .unwrap_or(NONE);
                emitted = emitted.max(least);
                before
            })
            .collect()
    }

    proptest! {
        #[test]
        fn batches_do_not_change_which_row_meets_which_watermark(
            rows in proptest::collection::vec((0_u32..3, -500_i64..5_000), 0..200),
            cuts in proptest::collection::vec(1_usize..20, 1..50),
        ) {
            let mut watermarks = SplitWatermarks::new(3, 200);
            let mut got = Vec::new();
            let (mut at, mut cut) = (0, cuts.iter().cycle());
            while at < rows.len() {
                // A batch holds rows of one split.
                let split = rows[at].0;
                let longest = *cut.next().unwrap();
                let len = rows[at..].iter().take(longest).take_while(|row| row.0 == split).count();
                got.extend(watermarks.rows(split, rows[at..at + len].iter().map(|row| Some(row.1))));
                at += len;
            }
            prop_assert_eq!(got, reference(&rows, 3));
        }

        #[test]
        fn a_combined_watermark_never_falls_nor_overtakes_a_live_channel(
            steps in proptest::collection::vec((0_usize..4, 0_i64..1_000), 1..100),
        ) {
            let mut channels = ChannelWatermarks::new(4);
            let (mut last, mut told) = (NONE, [NONE; 4]);
            for (channel, watermark) in steps {
                told[channel] = told[channel].max(watermark);
                if let Some(combined) = channels.advance(channel, watermark) {
                    prop_assert!(combined > last);
                    last = combined;
                }
                prop_assert_eq!(last, *told.iter().min().unwrap());
            }
        }
    }

    #[test]
    fn an_idle_split_does_not_hold_back_and_cannot_make_it_regress() {
        let mut watermarks = SplitWatermarks::new(2, 200);
        watermarks.rows(0, [Some(10_000)].into_iter());
        assert_eq!(watermarks.emitted(), NONE);
        watermarks.set_idle(1);
        assert!(!watermarks.is_idle());
        assert_eq!(watermarks.emitted(), 10_000);
        assert_eq!(watermarks.rows(1, [Some(500)].into_iter()), vec![10_000]);
        assert_eq!(watermarks.emitted(), 10_000);
        watermarks.finish(0);
        assert_eq!(watermarks.emitted(), 10_000);
        watermarks.finish(1);
        assert_eq!(watermarks.emitted(), END);
    }

    #[test]
    fn all_idle_stays() {
        let mut watermarks = SplitWatermarks::new(2, 200);
        watermarks.rows(0, [Some(10_000)].into_iter());
        watermarks.rows(1, [Some(20_000)].into_iter());
        watermarks.set_idle(0);
        watermarks.set_idle(1);
        assert!(watermarks.is_idle());
        assert_eq!(watermarks.emitted(), 20_000);
        watermarks.rows(0, [Some(11_000)].into_iter());
        assert!(!watermarks.is_idle());
    }

    #[test]
    fn a_pause_lets_the_watermark_catch_up() {
        let mut watermarks = SplitWatermarks::new(1, 200);
        watermarks.rows(0, [Some(9_950), Some(10_100)].into_iter());
        assert_eq!(watermarks.emitted(), 9_950);
        watermarks.flush();
        assert_eq!(watermarks.emitted(), 10_100);
    }

    #[test]
    fn an_idle_channel_does_not_hold_the_others_back() {
        let mut channels = ChannelWatermarks::new(2);
        assert_eq!(channels.advance(0, 5_000), None);
        assert_eq!(channels.set_idle(1, true), Some(5_000));
        assert_eq!(channels.others(0), END);
        assert_eq!(channels.advance(0, 6_000), Some(6_000));
        // It wakes up behind the others: the watermark stays where it is.
        assert_eq!(channels.set_idle(1, false), None);
        assert_eq!(channels.advance(1, 5_500), None);
        assert_eq!(channels.others(0), 5_500);
        channels.set_idle(0, true);
        assert_eq!(channels.advance(1, 7_000), Some(7_000));
        assert!(!channels.is_idle());
    }
}
