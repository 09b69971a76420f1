//! One member with its disk and its state machine.

use std::collections::{BTreeMap, VecDeque};

use raft::consensus::{
    Config, Consensus, Entry, HardState, Index, Membership, Payload, Position, Restored, Snapshot, Write, WriteId,
};

/// What a disk holds once its writes are done.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    pub hard_state: HardState,
    pub snapshot: Snapshot,
    pub purged: Position,
    pub log: BTreeMap<Index, Entry>,
}

impl Disk {
    pub fn carry_out(&mut self, write: &Write) {
        if let Some(hard_state) = write.hard_state {
            self.hard_state = hard_state;
        }
        if let Some(snapshot) = &write.install {
            self.snapshot = snapshot.clone();
            self.purged = snapshot.last;
            self.log.clear();
        }
        if let Some(from) = write.truncate_from {
            self.log.split_off(&from);
        }
        for entry in &write.entries {
            self.log.insert(entry.index, entry.clone());
        }
    }

    fn restore(&self) -> Restored {
        let mut restored = Restored::new(self.hard_state, self.snapshot.clone(), self.purged, 0);
        for entry in self.log.values() {
            assert!(restored.push(entry), "the log has a gap at {}", entry.index);
        }
        restored
    }
}

pub struct Member {
    pub config: Config,
    /// Absent while it is down.
    pub core: Option<Consensus>,
    /// What survives a crash.
    pub disk: Disk,
    /// Writes that are not durable yet.
    pub unsynced: VecDeque<Write>,
    /// Whether every write is durable at once.
    pub syncs: bool,
    /// Neither ticks nor messages reach it.
    pub is_paused: bool,
    /// The state machine: the commands so far.
    pub state: Vec<(Index, String)>,
}

impl Member {
    pub fn start(config: Config, membership: Membership, now: u64) -> Self {
        let disk = Disk {
            snapshot: Snapshot {
                last: Position::default(),
                membership,
            },
            ..Disk::default()
        };
        let mut member = Self {
            config,
            core: None,
            disk,
            unsynced: VecDeque::new(),
            syncs: true,
            is_paused: false,
            state: Vec::new(),
        };
        member.restart(now);
        member
    }

    /// Starts from what is durable.
    pub fn restart(&mut self, now: u64) {
        self.config.incarnation += 1;
        self.core = Some(Consensus::new(self.config.clone(), self.disk.restore(), now));
        let snapshot = self.disk.snapshot.last.index;
        self.state.retain(|(index, _)| *index <= snapshot);
    }

    /// Stops; what is not durable is gone.
    pub fn crash(&mut self) {
        self.core = None;
        self.unsynced.clear();
    }

    /// The disk as it will be when everything is done.
    pub fn disk_to_come(&self) -> Disk {
        let mut disk = self.disk.clone();
        for write in &self.unsynced {
            disk.carry_out(write);
        }
        disk
    }

    /// Does the oldest write that waits.
    pub fn sync_one(&mut self) -> Option<WriteId> {
        let write = self.unsynced.pop_front()?;
        self.disk.carry_out(&write);
        Some(write.id)
    }

    /// Applies an entry; a command shows in the state.
    pub fn apply(&mut self, entry: &Entry) {
        if let Payload::Command(command) = &entry.payload {
            let text = String::from_utf8_lossy(command).into_owned();
            self.state.push((entry.index, text));
        }
    }
}
