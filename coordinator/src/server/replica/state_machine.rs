//! The state machine as consensus sees it: committed entries go to the applier, failed proposals to those that wait.

use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Weak};

use raft::consensus::{Index, Membership, Message, Snapshot, SoftState};
use raft::node::{Committed, ProposalError, StateMachine};

use crate::server::replica::node::Node;
use crate::server::replica::snapshot_transfer;
use crate::server::replica::work::{Reader, Waiting, Work};

pub(in crate::server) struct Replica {
    pub(in crate::server) node: Weak<Node>,
    pub(in crate::server) work: SyncSender<Work>,
}

impl StateMachine for Replica {
    type Waiting = Waiting;
    type Reader = Reader;

    fn apply(&mut self, entries: Vec<Committed<Waiting>>) {
        self.hand_on(Work::Apply(entries));
    }

    fn refuse(&mut self, waiting: Waiting, why: ProposalError) {
        // Anyone who waited may have given up.
        match waiting {
            Waiting::Request { respond, .. } => {
                let _gone = respond.send(Err(why));
            }
            Waiting::Change(respond) => {
                let _gone = respond.send(Err(why));
            }
        }
    }

    fn read(&mut self, readers: Vec<Reader>, from: Index) {
        self.hand_on(Work::Read { readers, from });
    }

    fn refuse_reads(&mut self, readers: Vec<Reader>, why: ProposalError) {
        for reader in readers {
            let _gone = reader.send(Err(why.clone()));
        }
    }

    fn soft_state(&mut self, soft_state: SoftState) {
        if let Some(node) = self.node.upgrade() {
            node.note_leader(soft_state.leader);
        }
        self.hand_on(Work::SoftState(soft_state));
    }

    fn membership(&mut self, _membership: &Membership) {
        // Addresses come with the entry, when it is applied; consensus has its own copy of who votes.
    }

    fn install(&mut self, snapshot: &Snapshot) -> io::Result<()> {
        let (done, outcome) = sync_channel(1);
        self.hand_on(Work::Install {
            snapshot: snapshot.clone(),
            done,
        });
        outcome
            .recv()
            .unwrap_or_else(|_| Err(io::Error::other("the applier has stopped")))
    }

    fn send_snapshot(&mut self, message: Message) {
        if let Some(node) = self.node.upgrade() {
            node.runtime
                .spawn(snapshot_transfer::send(Arc::downgrade(&node), message));
        }
    }

    fn fail(&mut self, reason: String) {
        if let Some(node) = self.node.upgrade() {
            node.fail(reason);
        }
    }
}

impl Replica {
    fn hand_on(&self, work: Work) {
        // Where the applier has ended, the process is about to.
        let _ended = self.work.send(work);
    }
}
