//! Safe mode: reads are served, nothing is changed, no replica is removed.

use super::{Blocks, Effect};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SafeMode {
    /// Since the start: too few blocks are reported yet.
    Starting,
    /// Enough are reported; over at this time.
    Extended(u64),
    /// An operator entered it, and an operator leaves it.
    Manual,
    Off,
}

impl Blocks {
    pub fn in_safe_mode(&self) -> bool {
        self.safe_mode != SafeMode::Off
    }

    /// True in the safe mode of a start, which ends by itself.
    pub fn is_starting(&self) -> bool {
        matches!(self.safe_mode, SafeMode::Starting | SafeMode::Extended(_))
    }

    /// An operator enters safe mode.
    pub fn enter_safe_mode(&mut self) {
        self.safe_mode = SafeMode::Manual;
    }

    /// An operator leaves safe mode. Replicas from the future hold it: with `force` they are removed, without it `None`.
    pub fn leave_safe_mode(&mut self, force: bool, now: u64) -> Option<Vec<Effect>> {
        if !force && !self.future.is_empty() {
            return None;
        }
        let mut effects = Vec::new();
        self.discard_future(&mut effects);
        if self.in_safe_mode() {
            self.safe_mode = SafeMode::Off;
            self.catch_up(now, &mut effects);
        }
        Some(effects)
    }

    /// Complete blocks, and those of them with at least one good replica.
    pub fn reported_blocks(&self) -> (u64, u64) {
        let complete = self
            .blocks
            .values()
            .filter(|info| info.complete && info.block.length > 0);
        complete.fold((0, 0), |(total, stored), info| {
            (total + 1, stored + u64::from(info.good() > 0))
        })
    }

    fn enough_reported(&self) -> bool {
        if !self.future.is_empty() {
            return false;
        }
        let (total, stored) = self.reported_blocks();
        let nodes = self.live_nodes().filter(|node| node.reported).count();
        stored >= (total as f64 * self.policy.safe_part).ceil() as u64 && nodes >= self.policy.safe_nodes
    }

    pub(super) fn check_safe_mode(&mut self, now: u64, effects: &mut Vec<Effect>) {
        match self.safe_mode {
            SafeMode::Starting if self.enough_reported() => {
                self.safe_mode = SafeMode::Extended(now + self.policy.safe_extension_ms);
                self.check_safe_mode(now, effects);
            }
            SafeMode::Extended(until) if until <= now => {
                self.safe_mode = SafeMode::Off;
                effects.push(Effect::SafeModeLeft);
                self.catch_up(now, effects);
            }
            _ => {}
        }
    }

    /// Why it is on, for clients.
    pub fn safe_mode_reason(&self) -> String {
        let (replicas, bytes) = self.future();
        if replicas > 0 {
            return format!(
                "Name node detected blocks with generation stamps in future: {replicas} replica(s) with {bytes} byte(s) were \
                 written under newer metadata than this. Start the name node from its newest directory. \"hdfs dfsadmin \
                 -safemode forceExit\" is the only other way out, and deletes these {bytes} byte(s)."
            );
        }
        let (total, stored) = self.reported_blocks();
        match self.safe_mode {
            SafeMode::Off => "Safe mode is OFF".to_owned(),
            SafeMode::Manual => {
                "It was turned on manually. Use \"hdfs dfsadmin -safemode leave\" to turn safe mode off.".to_owned()
            }
            SafeMode::Starting | SafeMode::Extended(_) => {
                let nodes = self.live_nodes().count();
                format!(
                    "The reported blocks {stored} has not reached the threshold {:.4} of total blocks {total}. The number \
                     of live datanodes {nodes}. Safe mode will be turned off automatically once the thresholds have been \
                     reached.",
                    self.policy.safe_part
                )
            }
        }
    }
}
