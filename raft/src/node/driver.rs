//! The driver: one thread that steps consensus, writes what it wants durable, and hands out what it decided.
//!
//! One turn: take whatever is queued, step through it, let messages leave at once; then one write and one sync for all of
//! it, and the news of that is the turn's last step, upon which acknowledgements leave and entries are handed to the state
//! machine. So a proposal costs no other thread than this one between anyone who makes it and the state machine, and the
//! disk's time is shared by all that came during the turn before.
//!
//! A full disk is no reason to end. What could not be written is as if it had never been asked for: consensus is started
//! again from what is on the disk, as after a crash, which is safe at any moment, and proposals are refused until there is
//! space again.
//!
//! Here are the turn and what comes in; [`persist`] writes and reads the log, [`deliver`] hands out what is committed.

mod deliver;
mod persist;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

use bytes::{Bytes, BytesMut};
use tokio::sync::OwnedSemaphorePermit;

use super::handle::{Order, Shared};
use super::state_machine::{ProposalError, StateMachine};
use super::transport::{Transport, locked};
use crate::consensus::{
    self, Body, Config, Consensus, Effects, Event, Index, KIND_MEMBERSHIP, MemberId, Message, Payload, Proposal,
    Refusal, Restored, Session, Snapshot, Term, Ticket,
};
use crate::log::{self, StableStorage};

/// A turn takes in this many bytes of proposals, so that the first does not wait for the last of a long queue.
const TURN_BYTES_MAX: usize = 8 << 20;
/// And this many orders.
const TURN_ORDERS_MAX: usize = 4_096;

/// What the driver begins with.
pub struct Start {
    pub config: Config,
    pub storage: StableStorage,
    /// Beyond what the state machine holds: what [`StableStorage::open`] found.
    pub found: log::Found,
    /// What the state machine holds durably.
    pub snapshot: Snapshot,
}

/// Who waits for a ticket.
enum Ticketed<M: StateMachine> {
    Waiting(M::Waiting),
    Readers(Vec<M::Reader>),
}

pub(super) struct Driver<M: StateMachine> {
    config: Config,
    consensus: Consensus,
    storage: StableStorage,
    snapshot: Snapshot,
    machine: M,
    transport: Transport,
    shared: Arc<Shared>,
    began: Instant,
    effects: Option<Box<Effects>>,
    next_ticket: Ticket,
    tickets: HashMap<Ticket, Ticketed<M>>,
    /// Who waits for which entry, and of which term it must be.
    waiting: BTreeMap<Index, (Term, M::Waiting)>,
    /// Up to where the state machine has been given the entries.
    delivered: Index,
    /// Entries that must stay in the log, because a snapshot that ends before them is on its way.
    held: HashMap<(MemberId, Session), Index>,
    /// Writes that were done in this turn and are not synced: the first and the last.
    unsynced: Option<(u64, u64)>,
    unsynced_entries: u64,
    unsynced_bytes: u64,
    /// Of a transfer of leadership that is under way.
    transferring: Option<Ticket>,
    proposals: Vec<Proposal>,
    readers: Vec<M::Reader>,
    /// While the disk is full: when it is tried again.
    retry_at: Option<u64>,
    failed: bool,
}

/// Consensus as it starts from what is on the disk.
fn restore(
    config: &Config,
    storage: &StableStorage,
    entries: &[log::Entry],
    snapshot: &Snapshot,
    applied: Index,
) -> Option<Restored> {
    let hard_state = storage.hard_state();
    let hard_state = consensus::HardState {
        term: hard_state.term,
        vote: Some(hard_state.vote).filter(|vote| *vote != 0),
        commit: hard_state.commit,
    };
    debug_assert!(config.id != 0, "zero is no member");
    let first = storage.first_index();
    let purged = consensus::Position {
        index: first - 1,
        term: storage.term(first - 1).unwrap_or(0),
    };
    let mut restored = Restored::new(hard_state, snapshot.clone(), purged, applied);
    for index in first..=snapshot.last.index {
        let position = consensus::Position {
            index,
            term: storage.term(index)?,
        };
        if !restored.push_position(position, None) {
            return None;
        }
    }
    for entry in entries {
        let payload = Payload::decode(entry.kind, entry.payload.clone())?;
        let entry = consensus::Entry {
            index: entry.index,
            term: entry.term,
            payload,
        };
        if !restored.push(&entry) {
            return None;
        }
    }
    Some(restored)
}

fn incarnation_after(before: u64) -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let milliseconds = since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0));
    milliseconds.max(before + 1)
}

impl<M: StateMachine> Driver<M> {
    pub fn new(start: Start, mut machine: M, transport: Transport, shared: Arc<Shared>) -> Self {
        let Start {
            mut config,
            storage,
            found,
            snapshot,
        } = start;
        config.incarnation = incarnation_after(config.incarnation);
        let delivered = snapshot.last.index;
        let mut restored = restore(&config, &storage, &found.entries, &snapshot, delivered);
        if let Some(restored) = &mut restored
            && snapshot.membership.voters() == [config.id]
            && !found.entries.iter().any(|entry| entry.kind == KIND_MEMBERSHIP)
        {
            // The only voter there is: all that its log holds is committed by that, without an election.
            restored.hard_state.commit = restored.last_index();
        }
        let failed = restored.is_none();
        if failed {
            machine.fail("the log holds entries that this program cannot read: use a newer one".to_owned());
        }
        let restored = restored.unwrap_or_else(|| Restored::first_start(Default::default()));
        let consensus = Consensus::new(config.clone(), restored, 0);
        let mut driver = Self {
            config,
            consensus,
            storage,
            snapshot,
            machine,
            transport,
            shared,
            began: Instant::now(),
            effects: None,
            next_ticket: 1,
            tickets: HashMap::new(),
            waiting: BTreeMap::new(),
            delivered,
            held: HashMap::new(),
            unsynced: None,
            unsynced_entries: 0,
            unsynced_bytes: 0,
            transferring: None,
            proposals: Vec::new(),
            readers: Vec::new(),
            retry_at: None,
            failed,
        };
        driver.note_standing();
        driver.note_membership();
        driver
    }

    pub fn run(&mut self, queue: &Receiver<Order<M::Waiting, M::Reader>>) {
        loop {
            let first = match self.until_due() {
                None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(Duration::ZERO) => queue.try_recv().map_err(|_| RecvTimeoutError::Timeout),
                Some(wait) => queue.recv_timeout(wait),
            };
            if let Err(RecvTimeoutError::Disconnected) = first {
                return;
            }
            self.tick_if_due();
            let mut next = first.ok();
            let mut bytes = 0;
            let mut orders = 0;
            let mut stopping = false;
            while let Some(order) = next.take() {
                orders += 1;
                match order {
                    Order::Stop => stopping = true,
                    order => bytes += self.take(order),
                }
                if bytes < TURN_BYTES_MAX && orders < TURN_ORDERS_MAX && !stopping {
                    next = queue.try_recv().ok();
                }
            }
            self.propose_all();
            self.read_all();
            self.sync();
            if stopping {
                return self.end();
            }
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// How long until something is to be done unasked; `None` for ever.
    fn until_due(&self) -> Option<Duration> {
        if self.failed {
            return None;
        }
        let due = self.retry_at.unwrap_or_else(|| self.consensus.deadline());
        (due != u64::MAX).then(|| Duration::from_millis(due.saturating_sub(self.now())))
    }

    fn tick_if_due(&mut self) {
        if self.failed {
            return;
        }
        let now = self.now();
        if self.retry_at.is_some_and(|at| at <= now) {
            self.try_again();
        }
        if self.retry_at.is_none() && self.consensus.deadline() <= now {
            self.step(Event::Tick);
            // The only voter of a group leads when this is durable, and what waits in the queue needs a leader.
            self.sync();
        }
    }

    /// Takes an order in; returns its bytes.
    fn take(&mut self, order: Order<M::Waiting, M::Reader>) -> usize {
        match order {
            Order::Propose { command, waiting } => {
                let bytes = command.len();
                self.shared
                    .queued_bytes
                    .fetch_sub(bytes, std::sync::atomic::Ordering::Relaxed);
                self.take_proposal(command, waiting);
                return bytes;
            }
            Order::Read(reader) => self.readers.push(reader),
            Order::Change {
                change,
                context,
                waiting,
            } => {
                // In the order in which it was asked.
                self.propose_all();
                if let Some(ticket) = self.admit(waiting) {
                    self.step(Event::ChangeMembers {
                        ticket,
                        change,
                        context,
                    });
                }
            }
            Order::Transfer { to, waiting } => {
                if let Some(ticket) = self.admit(waiting) {
                    self.transferring = Some(ticket);
                    self.step(Event::TransferLeadership { ticket, to });
                }
            }
            Order::Message(message, permit) => self.take_message(message, permit),
            Order::Event(event) if self.retry_at.is_none() && !self.failed => self.step(event),
            Order::Event(_) => {}
            Order::Compacted { snapshot, keep } => self.compact(snapshot, keep),
            Order::SnapshotSent { to, session, delivered } => {
                self.held.remove(&(to, session));
                self.step(Event::SnapshotSent { to, session, delivered });
            }
            Order::Status(answer) => answer(self.consensus.status()),
            Order::Stop => {}
        }
        0
    }

    fn take_proposal(&mut self, command: Bytes, waiting: M::Waiting) {
        if let Some(ticket) = self.admit(waiting) {
            self.proposals.push(Proposal { ticket, command });
        }
    }

    /// A ticket for those that waits; refuses where nothing can be written.
    fn admit(&mut self, waiting: M::Waiting) -> Option<Ticket> {
        if self.retry_at.is_some() {
            // There may be space by now, and this one would be the first to know.
            self.try_again();
        }
        if self.failed {
            let failure = locked(&self.shared.failure).clone();
            self.machine.refuse(waiting, ProposalError::Stopped(failure));
            return None;
        }
        if self.retry_at.is_some() {
            self.machine.refuse(waiting, ProposalError::NoSpace);
            return None;
        }
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.tickets.insert(ticket, Ticketed::Waiting(waiting));
        Some(ticket)
    }

    fn take_message(&mut self, message: Message, permit: OwnedSemaphorePermit) {
        // What a full disk cannot promise is not taken in: others say it again.
        if self.retry_at.is_none() && !self.failed {
            self.step(Event::Message(message));
        }
        drop(permit);
    }

    fn propose_all(&mut self) {
        if !self.proposals.is_empty() {
            let proposals = std::mem::take(&mut self.proposals);
            self.step(Event::Propose(proposals));
        }
    }

    /// One attempt for all that want to read.
    fn read_all(&mut self) {
        if self.readers.is_empty() {
            return;
        }
        let readers = std::mem::take(&mut self.readers);
        if self.failed {
            return self.machine.refuse_reads(readers, ProposalError::Stopped(None));
        }
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.tickets.insert(ticket, Ticketed::Readers(readers));
        self.step(Event::ReadIndex(vec![ticket]));
    }

    fn step(&mut self, event: Event) {
        if self.failed {
            return;
        }
        let mut effects = self.effects.take().unwrap_or_default();
        let now = self.now();
        self.consensus.step_into(event, now, &mut effects);
        self.carry_out(&mut effects);
        self.effects = Some(effects);
    }

    fn carry_out(&mut self, effects: &mut Effects) {
        if let Some(soft_state) = effects.soft_state.take() {
            self.shared.gauges.set_soft_state(&soft_state);
            if soft_state.leader.is_some_and(|leader| leader != self.config.id)
                && let Some(ticket) = self.transferring.take()
            {
                // Anyone who waited is dropped, which says that another leads.
                self.tickets.remove(&ticket);
            }
            self.machine.soft_state(soft_state);
        }
        if effects.membership.take().is_some() {
            self.note_membership();
        }
        for message in effects.messages.drain(..) {
            self.send(message);
        }
        for proposed in effects.proposed.drain(..) {
            self.note_proposed(proposed.ticket, proposed.position);
        }
        for refused in effects.refused.drain(..) {
            match self.tickets.remove(&refused.ticket) {
                Some(Ticketed::Waiting(waiting)) => self.machine.refuse(waiting, ProposalError::Refused(refused.why)),
                Some(Ticketed::Readers(readers)) => {
                    self.machine.refuse_reads(readers, ProposalError::Refused(refused.why));
                }
                None => {}
            }
        }
        let write = effects.write.take();
        let committed = std::mem::take(&mut effects.committed);
        let reads = std::mem::take(&mut effects.reads);
        let fetches = std::mem::take(&mut effects.fetches);
        let contradiction = effects.contradiction.take();
        if let Some(contradiction) = contradiction {
            let (from, index) = (super::peer::hex(contradiction.from), contradiction.index);
            return self.fail_with(format!(
                "member {from} contradicts entry {index}, which is committed here: a disk lost what it had synced, \
                 or data directories were mixed up"
            ));
        }
        self.deliver(committed.start, committed.end);
        for ready in reads {
            if let Some(Ticketed::Readers(readers)) = self.tickets.remove(&ready.ticket) {
                self.machine.read(readers, ready.index);
            }
        }
        if let Some(write) = write {
            self.write(write);
        }
        for fetch in fetches {
            self.fetch(fetch);
        }
    }

    fn send(&mut self, message: Message) {
        if let Body::Snapshot { session, snapshot } = &message.body {
            self.held.insert((message.to, *session), snapshot.last.index);
            return self.machine.send_snapshot(message);
        }
        let to = message.to;
        let mut bytes = BytesMut::new();
        message.encode(&mut bytes);
        // What is dropped here the network might have lost as well.
        let _queued = self.transport.send(to, bytes.freeze());
    }

    fn note_proposed(&mut self, ticket: Ticket, position: consensus::Position) {
        let Some(Ticketed::Waiting(waiting)) = self.tickets.remove(&ticket) else {
            return;
        };
        if position.index <= self.delivered {
            // The leader's answer came later than the entry itself.
            return self.machine.refuse(waiting, ProposalError::Unknown);
        }
        if let Some((_, replaced)) = self.waiting.insert(position.index, (position.term, waiting)) {
            self.machine.refuse(replaced, ProposalError::Replaced);
        }
    }

    fn refuse_tickets(&mut self, why: &ProposalError) {
        for ticketed in std::mem::take(&mut self.tickets).into_values() {
            match ticketed {
                Ticketed::Waiting(waiting) => self.machine.refuse(waiting, why.clone()),
                Ticketed::Readers(readers) => self.machine.refuse_reads(readers, why.clone()),
            }
        }
    }

    fn note_standing(&mut self) {
        let soft_state = self.consensus.soft_state();
        self.shared.gauges.set_soft_state(&soft_state);
        self.machine.soft_state(soft_state);
    }

    fn note_membership(&mut self) {
        let membership = self.consensus.membership();
        self.shared
            .gauges
            .set_alone(membership.voters() == [self.consensus.id()]);
        self.machine.membership(membership);
    }

    fn end(&mut self) {
        for (_, (_, waiting)) in std::mem::take(&mut self.waiting) {
            self.machine.refuse(waiting, ProposalError::Stopped(None));
        }
        self.refuse_tickets(&ProposalError::Stopped(None));
    }
}

/// What a refusal of consensus means for a read: whether another attempt may succeed soon.
pub fn is_transient(why: &ProposalError) -> bool {
    matches!(
        why,
        ProposalError::Refused(
            Refusal::NoLeader
                | Refusal::NotLeader { .. }
                | Refusal::NotReady
                | Refusal::LeaderChanged
                | Refusal::Transferring
        )
    )
}
