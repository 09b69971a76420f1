//! A partition: its log, and who waits for it to grow.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use log_broker_wire::ErrorCode;
use tokio::sync::Notify;

use crate::log::{Log, LogError};

/// Waiters are looked through for dead ones when the list has grown to this many.
const WAITERS_PRUNED_AT: usize = 32;

/// A partition of a topic.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) topic: Arc<str>,
    pub(super) index: i32,
    state: RwLock<State>,
    waiters: Mutex<Waiters>,
}

#[derive(Debug)]
enum State {
    Online(Arc<Log>),
    /// The log could not be opened; the reason is logged and shown, and every call answered with a storage error.
    Offline(String),
    /// The topic was deleted; whoever still holds the partition finds nothing.
    Deleted,
}

#[derive(Debug)]
struct Waiters {
    list: Vec<Weak<Notify>>,
    prune_at: usize,
}

/// What a call to a partition is refused with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) code: ErrorCode,
    pub(super) message: Option<String>,
}

impl From<ErrorCode> for Refused {
    fn from(code: ErrorCode) -> Self {
        Self { code, message: None }
    }
}

impl From<LogError> for Refused {
    fn from(error: LogError) -> Self {
        let code = match &error {
            LogError::Full | LogError::Stopped { .. } | LogError::Io { .. } => ErrorCode::KAFKA_STORAGE_ERROR,
            LogError::Damaged { .. } | LogError::Lost { .. } => ErrorCode::KAFKA_STORAGE_ERROR,
            LogError::Batch(_) => ErrorCode::CORRUPT_MESSAGE,
            LogError::OutOfOrderSequence { .. } => ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
            LogError::ProducerEpoch { .. } => ErrorCode::INVALID_PRODUCER_EPOCH,
            LogError::OutOfRange { .. } => ErrorCode::OFFSET_OUT_OF_RANGE,
        };
        Self {
            code,
            message: Some(error.to_string()),
        }
    }
}

impl Partition {
    pub(super) fn new(topic: Arc<str>, index: i32, log: Result<Log, LogError>) -> Self {
        let state = match log {
            Ok(log) => State::Online(Arc::new(log)),
            Err(error) => {
                tracing::error!(%topic, partition = index, %error, "the partition is offline");
                State::Offline(error.to_string())
            }
        };
        let waiters = Mutex::new(Waiters {
            list: Vec::new(),
            prune_at: WAITERS_PRUNED_AT,
        });
        Self {
            topic,
            index,
            state: RwLock::new(state),
            waiters,
        }
    }

    /// Does something with the log. No lock of the partition is held meanwhile.
    ///
    /// # Errors
    /// When the partition is offline or deleted, and what `action` says.
    pub(super) fn with_log<T, E: Into<Refused>>(
        &self,
        action: impl FnOnce(&Log) -> Result<T, E>,
    ) -> Result<T, Refused> {
        let log = match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::Online(log) => Arc::clone(log),
            State::Offline(reason) => {
                return Err(Refused {
                    code: ErrorCode::KAFKA_STORAGE_ERROR,
                    message: Some(reason.clone()),
                });
            }
            State::Deleted => return Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.into()),
        };
        action(&log).map_err(Into::into)
    }

    /// Why the partition cannot be used, if so.
    pub(super) fn failure(&self) -> Option<String> {
        self.with_log(|log| log.check())
            .err()
            .and_then(|refused| refused.message)
    }

    /// Takes the log away; whoever waits for the partition finds out.
    pub(super) fn delete(&self) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = State::Deleted;
        self.wake();
    }

    /// Asks for `notify` to be told when the log has grown. It must be dropped when nobody waits any more.
    pub(super) fn wait_with(&self, notify: &Arc<Notify>) {
        let mut waiters = lock(&self.waiters);
        if waiters.list.len() >= waiters.prune_at {
            waiters.list.retain(|waiter| waiter.strong_count() > 0);
            waiters.prune_at = (waiters.list.len() * 2).max(WAITERS_PRUNED_AT);
        }
        waiters.list.push(Arc::downgrade(notify));
    }

    /// Tells everybody who waits.
    pub(super) fn wake(&self) {
        for waiter in std::mem::take(&mut lock(&self.waiters).list) {
            if let Some(notify) = waiter.upgrade() {
                notify.notify_one();
            }
        }
    }
}

/// A panic under a lock left nothing half done that the next holder could not check for itself.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
