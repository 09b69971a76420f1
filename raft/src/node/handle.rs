//! The way to the driver's thread.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::driver::{Driver, Start};
use super::gauges::Gauges;
use super::state_machine::{ProposalError, StateMachine};
use super::transport::{Transport, locked};
use crate::consensus::{Event, Index, MemberChange, MemberId, Message, Refusal, Session, Snapshot, Status};
use crate::log::LogError;

/// Bytes of proposals that may wait for the driver; more are refused.
pub const QUEUE_BYTES_MAX: usize = 128 << 20;

/// What the driver is told.
pub(super) enum Order<W, R> {
    Propose {
        command: Bytes,
        waiting: W,
    },
    Read(R),
    Change {
        change: MemberChange,
        context: Bytes,
        waiting: W,
    },
    Transfer {
        to: MemberId,
        waiting: W,
    },
    /// From another member; the permit is room in its queue.
    Message(Message, OwnedSemaphorePermit),
    Event(Event),
    /// The state machine holds everything up to this snapshot durably.
    Compacted {
        snapshot: Snapshot,
        keep: Index,
    },
    SnapshotSent {
        to: MemberId,
        session: Session,
        delivered: bool,
    },
    Status(Box<dyn FnOnce(Status) + Send>),
    Stop,
}

/// What the driver and its handle share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub gauges: Gauges,
    pub queued_bytes: AtomicUsize,
    pub failure: Mutex<Option<LogError>>,
}

/// One member at work: its thread steps consensus, writes the log and sends. Dropping it stops it.
///
/// `W` waits for a proposal, `R` to read: [`StateMachine::Waiting`] and [`StateMachine::Reader`] of the machine behind it,
/// which it need not name.
pub struct Node<W: Send, R: Send> {
    orders: Sender<Order<W, R>>,
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
}

impl<W: Send + 'static, R: Send + 'static> Node<W, R> {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the operating system gives none.
    pub fn start<M>(start: Start, machine: M, transport: Transport) -> std::io::Result<Self>
    where
        M: StateMachine<Waiting = W, Reader = R>,
    {
        let (orders, queue): (_, Receiver<Order<W, R>>) = mpsc::channel();
        let shared = Arc::new(Shared::default());
        let mut driver = Driver::new(start, machine, transport, Arc::clone(&shared));
        let thread = std::thread::Builder::new()
            .name("consensus".to_owned())
            .spawn(move || driver.run(&queue))?;
        Ok(Self {
            orders,
            thread: Some(thread),
            shared,
        })
    }

    pub fn gauges(&self) -> &Gauges {
        &self.shared.gauges
    }

    /// Why the log was refused last; `None` while all is well. For health pages.
    pub fn failure(&self) -> Option<LogError> {
        locked(&self.shared.failure).clone()
    }

    /// Proposes a command. Anyone who waits gets it with the entry, or is refused; back at once if too much waits already.
    ///
    /// # Errors
    /// Gives back who waits.
    pub fn propose(&self, command: Bytes, waiting: W) -> Result<(), (W, ProposalError)> {
        let bytes = command.len();
        if self.shared.queued_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > QUEUE_BYTES_MAX {
            self.shared.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err((waiting, ProposalError::Refused(Refusal::Overloaded)));
        }
        match self.orders.send(Order::Propose { command, waiting }) {
            Ok(()) => Ok(()),
            Err(mpsc::SendError(Order::Propose { waiting, .. })) => Err((waiting, ProposalError::Stopped(None))),
            Err(_) => unreachable!("what was sent comes back"),
        }
    }

    /// Asks from which entry on `reader` may read, linearizably. A reader that is dropped was not heard: the node stopped.
    pub fn read(&self, reader: R) {
        self.order(Order::Read(reader));
    }

    /// Changes the members; `context` is for the state machine.
    pub fn change_members(&self, change: MemberChange, context: Bytes, waiting: W) {
        self.order(Order::Change {
            change,
            context,
            waiting,
        });
    }

    /// Hands leadership to `to`. Anyone who waits is refused, or dropped once another leads.
    pub fn transfer_leadership(&self, to: MemberId, waiting: W) {
        self.order(Order::Transfer { to, waiting });
    }

    /// The state machine holds everything up to this snapshot durably. Entries that are more than `keep` older may go.
    pub fn compacted(&self, snapshot: Snapshot, keep: Index) {
        self.order(Order::Compacted { snapshot, keep });
    }

    /// How the sending of a snapshot ended.
    pub fn snapshot_sent(&self, to: MemberId, session: Session, delivered: bool) {
        self.order(Order::SnapshotSent { to, session, delivered });
    }

    /// Hands a message in; the permit is given back when it was processed.
    pub fn message(&self, message: Message, permit: OwnedSemaphorePermit) {
        self.order(Order::Message(message, permit));
    }

    /// Tells consensus something else.
    pub fn event(&self, event: Event) {
        self.order(Order::Event(event));
    }

    /// Asks where consensus stands, peers included.
    pub fn status(&self, answer: impl FnOnce(Status) + Send + 'static) {
        self.order(Order::Status(Box::new(answer)));
    }

    /// Ends the thread once what is queued was processed. May be called again.
    pub fn stop(&self) {
        self.order(Order::Stop);
    }

    fn order(&self, order: Order<W, R>) {
        // Where the thread has ended no one waits for anything but its being dropped.
        let _stopped = self.orders.send(order);
    }
}

impl<W: Send, R: Send> Drop for Node<W, R> {
    fn drop(&mut self) {
        let _stopped_already = self.orders.send(Order::Stop);
        if let Some(thread) = self.thread.take() {
            // A panic was reported by the thread itself.
            let _panicked = thread.join();
        }
    }
}
