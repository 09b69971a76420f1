//! A partition: its log, the replica that decides how far it may be read, and who waits for that.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use log_broker_wire::ErrorCode;
use log_broker_wire::batch::BatchHeader;
use log_broker_wire::marker::Marker;
use tokio::sync::{Notify, oneshot};

use super::purgatory::{Purgatory, Reached};
use crate::log::{Appended, Log, LogError};
use crate::replica::{Effect, Event, Leadership, Replica};

/// A partition of a topic.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) topic: Arc<str>,
    pub(super) index: i32,
    state: RwLock<State>,
    replica: Mutex<Replica>,
    purgatory: Mutex<Purgatory>,
}

#[derive(Debug)]
enum State {
    Online(Arc<Log>),
    /// The log could not be opened; the reason is logged and shown, and every call answered with a storage error.
    Offline(String),
    /// The topic was deleted; whoever still holds the partition finds nothing.
    Deleted,
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
            LogError::InvalidTransactionState { .. } => ErrorCode::INVALID_TXN_STATE,
            LogError::CoordinatorFenced { .. } => ErrorCode::TRANSACTION_COORDINATOR_FENCED,
            LogError::OutOfRange { .. } => ErrorCode::OFFSET_OUT_OF_RANGE,
        };
        Self {
            code,
            message: Some(error.to_string()),
        }
    }
}

impl Partition {
    /// A partition whose only replica is this broker's, which leads it in `leader_epoch`.
    pub(super) fn new(
        topic: Arc<str>,
        index: i32,
        node_id: i32,
        leader_epoch: i32,
        log: Result<Log, LogError>,
    ) -> Self {
        let (state, end) = match log {
            Ok(log) => {
                let end = (log.high_watermark(), log.flushed_offset());
                (State::Online(Arc::new(log)), end)
            }
            Err(error) => {
                tracing::error!(%topic, partition = index, %error, "the partition is offline");
                (State::Offline(error.to_string()), (0, 0))
            }
        };
        let mut replica = Replica::new(node_id, end.0);
        let _nothing_new = replica.step(Event::Lead {
            leader_epoch,
            replicas: vec![node_id],
            in_sync: vec![node_id],
            flushed_offset: end.1,
        });
        Self {
            topic,
            index,
            state: RwLock::new(state),
            replica: Mutex::new(replica),
            purgatory: Mutex::default(),
        }
    }

    /// Who leads the partition, while this broker does.
    pub(super) fn leadership(&self) -> Option<Leadership> {
        lock(&self.replica).leadership().cloned()
    }

    /// The epoch in which this broker leads it.
    ///
    /// # Errors
    /// When it does not.
    pub(super) fn leader_epoch(&self) -> Result<i32, Refused> {
        let replica = lock(&self.replica);
        let leading = replica.leadership().ok_or(ErrorCode::NOT_LEADER_OR_FOLLOWER)?;
        Ok(leading.leader_epoch)
    }

    /// Holds a client's idea of the leader epoch, -1 if it has none, against the current one.
    pub(super) fn check_epoch(&self, told: i32) -> Result<(), Refused> {
        let current = self.leader_epoch()?;
        match told {
            -1 => Ok(()),
            told if told < current => Err(ErrorCode::FENCED_LEADER_EPOCH.into()),
            told if told > current => Err(ErrorCode::UNKNOWN_LEADER_EPOCH.into()),
            _ => Ok(()),
        }
    }

    /// Appends a checked batch as its leader. Blocks on the disk.
    pub(super) fn append(&self, batch: &[u8], header: &BatchHeader, now_ms: i64) -> Result<(Appended, i64), Refused> {
        let epoch = self.leader_epoch()?;
        self.with_log(|log| {
            log.append(batch, header, epoch, now_ms)
                .map(|appended| (appended, log.start()))
        })
    }

    /// Appends the marker that ends a transaction. Blocks on the disk.
    pub(super) fn append_marker(&self, marker: &Marker, now_ms: i64) -> Result<Appended, Refused> {
        let epoch = self.leader_epoch()?;
        self.with_log(|log| log.append_marker(marker, epoch, now_ms))
    }

    /// The log is on stable storage, or as good as that, up to `offset`: the high watermark may move.
    pub(super) fn flushed(&self, offset: i64) {
        let mut replica = lock(&self.replica);
        if let Some(Effect::HighWatermark(high_watermark)) = replica.step(Event::Flushed { offset }) {
            // With the replica's lock, so that the log and those who wait see it move in order.
            let _offline = self.with_log(|log| {
                log.advance_high_watermark(high_watermark);
                Ok::<_, Refused>(())
            });
            lock(&self.purgatory).advance(high_watermark);
        }
    }

    /// Tells when the high watermark has reached `offset`.
    pub(super) fn reached(&self, offset: i64) -> Reached {
        let mut purgatory = lock(&self.purgatory);
        // Behind the lock: it moves first, then those are answered who wait.
        let high_watermark = self.with_log(|log| log.check().map(|()| log.high_watermark()));
        let at_once = match high_watermark {
            Ok(high_watermark) if high_watermark >= offset => Ok(()),
            Ok(_) => return purgatory.wait_for(offset),
            Err(refused) => Err(refused),
        };
        let (waiting, reached) = oneshot::channel();
        let _ = waiting.send(at_once);
        reached
    }

    /// What is waited for will not come.
    pub(super) fn fail(&self, refused: &Refused) {
        lock(&self.purgatory).fail(refused);
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

    /// Takes the log away; those who wait for the partition are answered.
    pub(super) fn delete(&self) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = State::Deleted;
        let _led = lock(&self.replica).step(Event::Resign);
        self.fail(&ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.into());
    }

    /// Notifies `notify` when the high watermark has moved.
    pub(super) fn poll_with(&self, notify: &Arc<Notify>) {
        lock(&self.purgatory).poll_with(notify);
    }
}

/// A panic under a lock left nothing half done that the next holder could not check for itself.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
