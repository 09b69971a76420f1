//! What was done to a world, counted by kind: a net that injects nothing proves nothing.

use std::fmt;

macro_rules! faults {
    ($($name:ident $text:literal,)*) => {
        /// A kind of fault.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Fault { $($name,)* }

        impl Fault {
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

faults! {
    MessageLost "message lost",
    MessageCut "message on a cut link",
    MessageDuplicated "message duplicated",
    MessageStrayed "message delayed for long",
    MessageReordered "message overtaken",
    LinkCut "one-way cut",
    Partition "partition",
    CrashBeforeSync "crash, unsynced writes lost",
    CrashTorn "crash, unsynced writes torn",
    CrashAfterSync "crash after the sync, before its acknowledgement",
    Pause "process paused",
    ClockSkew "clock out of step",
    SlowDisk "slow disk",
    FullDisk "full disk",
    FlippedBit "flipped bit",
    RefusedStart "start refused for it, file restored",
    LostDisk "disk lost, member replaced",
    MembershipChange "membership change asked for",
    Transfer "leadership transfer asked for",
    Compaction "log or store compacted",
    Reconnect "watch resumed elsewhere",
    AccountChange "change of users or roles asked for",
    Alarm "alarm raised",
}

/// How often each kind happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally([u64; Fault::ALL.len()]);

impl Default for Tally {
    fn default() -> Self {
        Self([0; Fault::ALL.len()])
    }
}

impl Tally {
    pub fn count(&mut self, fault: Fault) {
        self.0[fault as usize] += 1;
    }

    pub fn of(&self, fault: Fault) -> u64 {
        self.0[fault as usize]
    }

    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    pub fn add(&mut self, other: &Self) {
        for (sum, more) in self.0.iter_mut().zip(other.0) {
            *sum += more;
        }
    }

    /// All kinds that happened, with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (Fault, u64)> {
        Fault::ALL
            .iter()
            .map(|fault| (*fault, self.of(*fault)))
            .filter(|(_, times)| *times > 0)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
