//! Auto-compaction: which revision the history may be forgotten up to, and when.
//!
//! Two rules, etcd's. By *revisions*: keep this many of the latest. By *time*: keep all that were current within a period;
//! for that the revision is noted now and then, a tenth of the period apart. The rule decides; anyone who asks it proposes the
//! compaction, through the log like any other.

use std::collections::VecDeque;
use std::time::Duration;

/// How often the rule by revisions is looked at, as in etcd.
const REVISION_INTERVAL: Duration = Duration::from_secs(5 * 60);
/// The longest time between two compactions by time.
const PERIODIC_INTERVAL_MAX: Duration = Duration::from_secs(60 * 60);
/// Notes in a period.
const NOTES: u32 = 10;

/// What is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    Revisions(i64),
    Period(Duration),
}

impl Retention {
    /// Of etcd's two flags; none where the retention is 0. `Err` is a sentence about the flags.
    pub fn parse(mode: &str, retention: &str) -> Result<Option<Self>, String> {
        let wrong =
            |expected: &str| format!("--auto-compaction-retention={retention}: with mode {mode} it is {expected}");
        let found = match mode {
            "revision" => {
                let revisions = retention.parse().ok().filter(|revisions| *revisions >= 0);
                Self::Revisions(revisions.ok_or_else(|| wrong("a number of revisions"))?)
            }
            "periodic" => match retention.parse::<u32>() {
                Ok(hours) => Self::Period(Duration::from_secs(u64::from(hours) * 3600)),
                Err(_) => {
                    Self::Period(crate::duration::parse(retention).map_err(|_| wrong("hours, or a time such as 30m"))?)
                }
            },
            _ => return Err(format!("--auto-compaction-mode={mode}: it is `periodic` or `revision`")),
        };
        let nothing = matches!(found, Self::Revisions(0) | Self::Period(Duration::ZERO));
        Ok((!nothing).then_some(found))
    }
}

/// Decides when to compact, told the time and the revision every [`Rule::interval`].
#[derive(Debug)]
pub struct Rule {
    retention: Retention,
    /// Revisions that were current at a time, oldest first; with a retention by time only.
    notes: VecDeque<(Duration, i64)>,
    /// When the last compaction was decided, and to where.
    last: Option<(Duration, i64)>,
}

impl Rule {
    pub fn new(retention: Retention) -> Self {
        Self {
            retention,
            notes: VecDeque::new(),
            last: None,
        }
    }

    /// How often to ask.
    pub fn interval(&self) -> Duration {
        match self.retention {
            Retention::Revisions(_) => REVISION_INTERVAL,
            Retention::Period(period) => period.min(PERIODIC_INTERVAL_MAX) / NOTES,
        }
    }

    /// The revision to compact to now, if it is time to.
    pub fn decide(&mut self, now: Duration, revision: i64) -> Option<i64> {
        let target = match self.retention {
            Retention::Revisions(kept) => revision - kept,
            Retention::Period(period) => {
                self.notes.push_back((now, revision));
                let old = |note: &(Duration, i64)| note.0 + period <= now;
                while self.notes.get(1).is_some_and(old) {
                    self.notes.pop_front();
                }
                let interval = period.min(PERIODIC_INTERVAL_MAX);
                if self.last.is_some_and(|(at, _)| now < at + interval) {
                    return None;
                }
                self.notes.front().copied().filter(old)?.1
            }
        };
        if target <= 0 || self.last.is_some_and(|(_, last)| target <= last) {
            return None;
        }
        self.last = Some((now, target));
        Some(target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn minutes(minutes: u64) -> Duration {
        Duration::from_secs(60 * minutes)
    }

    #[test]
    fn by_revisions_the_latest_are_kept() {
        let mut rule = Rule::new(Retention::Revisions(100));
        assert_eq!(rule.interval(), minutes(5));
        assert_eq!(rule.decide(minutes(5), 80), None, "there are not so many");
        assert_eq!(rule.decide(minutes(10), 150), Some(50));
        assert_eq!(rule.decide(minutes(15), 150), None, "nothing is new");
        assert_eq!(rule.decide(minutes(20), 151), Some(51));
    }

    #[test]
    fn by_time_everything_within_the_period_is_kept() {
        let mut rule = Rule::new(Retention::Period(minutes(10)));
        assert_eq!(rule.interval(), minutes(1));
        for minute in 0..10 {
            assert_eq!(rule.decide(minutes(minute), 100 + minute as i64), None);
        }
        assert_eq!(
            rule.decide(minutes(10), 110),
            Some(100),
            "what was current ten minutes ago"
        );
        for minute in 11..20 {
            assert_eq!(rule.decide(minutes(minute), 100 + minute as i64), None, "once a period");
        }
        assert_eq!(rule.decide(minutes(20), 120), Some(110));
    }

    #[test]
    fn a_long_period_is_looked_at_every_hour() {
        let mut rule = Rule::new(Retention::Period(minutes(60 * 24)));
        assert_eq!(rule.interval(), minutes(6));
        let mut compacted = Vec::new();
        for step in 0..=(60 * 26 / 6) {
            let now = minutes(step * 6);
            compacted.extend(rule.decide(now, step as i64 + 1));
        }
        assert_eq!(compacted, [1, 11, 21]);
    }

    #[test]
    fn flags_are_etcds() {
        let parse = Retention::parse;
        assert_eq!(parse("periodic", "0"), Ok(None));
        assert_eq!(parse("revision", "0"), Ok(None));
        assert_eq!(parse("periodic", "2"), Ok(Some(Retention::Period(minutes(120)))));
        assert_eq!(parse("periodic", "1h30m"), Ok(Some(Retention::Period(minutes(90)))));
        assert_eq!(parse("revision", "1000"), Ok(Some(Retention::Revisions(1000))));
        for (mode, retention) in [
            ("revision", "1h"),
            ("periodic", "soon"),
            ("revision", "-1"),
            ("sometimes", "1"),
        ] {
            assert!(parse(mode, retention).is_err(), "{mode} {retention}");
        }
    }
}
