//! The transaction coordinator: the pure core with a clock, waiting callers, and its log, the topic `__transaction_state`.
//!
//! Each partition of the topic has a state machine of its own ([`crate::transaction`]). What that wants appended is
//! appended, and takes effect when the high watermark is behind it; what it wants ended gets its markers, however long that
//! takes. At a start the topic is read ([`topic`]), and ends that were interrupted go on.

mod markers;
mod topic;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use host::Shutdown;
use log_broker_wire::ErrorCode;
use log_broker_wire::batch::BatchHeader;
use log_broker_wire::compression::Codec;
use log_broker_wire::internal::transaction_state::{self, TransactionValue};
use log_broker_wire::{Record, record};
use tokio::sync::{OnceCell, oneshot};

use super::api::blocking;
use super::broker::Broker;
use super::now_ms;
use super::partition::{Partition, Refused, lock};
use crate::property::BrokerProperties;
use crate::transaction::{Described, Effect, Event, Identity, Settings, Ticket, Transactions};

pub(super) use markers::write as write_markers;

/// The longest that a request waits for another one of the same transactional id, or for an end to be completed.
const RETRY_TIME: Duration = Duration::from_millis(1000);
/// The pause between two attempts.
const RETRY_PAUSE: Duration = Duration::from_millis(10);

/// The most that a record of a transactional id may be: tens of thousands of partitions.
const RECORD_BYTES_MAX: usize = 8 << 20;

#[derive(Debug)]
pub(super) struct Coordinator {
    settings: Settings,
    tick: Duration,
    /// One of each partition of the topic; not there before the topic is.
    shards: OnceCell<Vec<Arc<Shard>>>,
}

/// The transactional ids of one partition.
#[derive(Debug)]
struct Shard {
    partition: Arc<Partition>,
    core: Mutex<Core>,
}

#[derive(Debug)]
struct Core {
    transactions: Transactions,
    next_ticket: Ticket,
    waiting: BTreeMap<Ticket, oneshot::Sender<Result<Identity, ErrorCode>>>,
}

impl Core {
    fn wait(&mut self) -> (Ticket, oneshot::Receiver<Result<Identity, ErrorCode>>) {
        let (sender, receiver) = oneshot::channel();
        self.next_ticket += 1;
        self.waiting.insert(self.next_ticket, sender);
        (self.next_ticket, receiver)
    }
}

impl Coordinator {
    pub(super) fn new(properties: &BrokerProperties) -> Self {
        let tick = properties.number("transaction.abort.timed.out.transaction.cleanup.interval.ms");
        Self {
            settings: Settings {
                timeout_ms_max: properties.number("transaction.max.timeout.ms") as i32,
                expiration_ms: properties.number("transactional.id.expiration.ms"),
            },
            tick: Duration::from_millis(u64::try_from(tick).unwrap_or(1)),
            shards: OnceCell::new(),
        }
    }

    /// The state machines; the topic is created and read where that was not done yet.
    async fn shards<'a>(&'a self, broker: &Arc<Broker>) -> Result<&'a Vec<Arc<Shard>>, ErrorCode> {
        let load = || async {
            let settings = self.settings;
            let loaded = blocking(broker, move |broker| topic::load(broker, settings)).await;
            let loaded = loaded.map_err(|refused| {
                tracing::error!(?refused, "the transaction coordinator's topic cannot be used");
                ErrorCode::COORDINATOR_NOT_AVAILABLE
            })?;
            let shards: Vec<Arc<Shard>> = loaded
                .into_iter()
                .map(|(partition, transactions)| {
                    let core = Core {
                        transactions,
                        next_ticket: 0,
                        waiting: BTreeMap::new(),
                    };
                    let core = Mutex::new(core);
                    Arc::new(Shard { partition, core })
                })
                .collect();
            for shard in &shards {
                let effects = lock(&shard.core).transactions.loaded();
                carry_out(broker, shard, effects);
            }
            Ok(shards)
        };
        self.shards.get_or_try_init(load).await
    }

    async fn shard(&self, broker: &Arc<Broker>, transactional_id: &str) -> Result<Arc<Shard>, ErrorCode> {
        let shards = self.shards(broker).await?;
        let place = topic::partition_of(transactional_id, shards.len());
        shards.get(place).cloned().ok_or(ErrorCode::COORDINATOR_NOT_AVAILABLE)
    }

    /// Puts a request to its state machine, and waits for the answer.
    async fn ask(
        &self,
        broker: &Arc<Broker>,
        transactional_id: &str,
        event: impl FnOnce(Ticket) -> Event,
    ) -> Result<Identity, ErrorCode> {
        let shard = self.shard(broker, transactional_id).await?;
        let (effects, answer) = {
            let mut core = lock(&shard.core);
            let (ticket, answer) = core.wait();
            (core.transactions.step(event(ticket), now_ms()), answer)
        };
        carry_out(broker, &shard, effects);
        answer.await.unwrap_or(Err(ErrorCode::NOT_COORDINATOR))
    }

    /// A producer id for where the state machine takes one.
    async fn fresh_producer_id(&self, broker: &Arc<Broker>, transactional_id: &str) -> Result<Option<i64>, ErrorCode> {
        let shard = self.shard(broker, transactional_id).await?;
        if !lock(&shard.core).transactions.needs_producer_id(transactional_id) {
            return Ok(None);
        }
        let fresh = blocking(broker, Broker::next_producer_id).await;
        fresh.map(Some).map_err(|_| ErrorCode::COORDINATOR_NOT_AVAILABLE)
    }

    pub(super) async fn init_producer_id(
        &self,
        broker: &Arc<Broker>,
        transactional_id: String,
        timeout_ms: i32,
        expected: Option<Identity>,
    ) -> Result<Identity, ErrorCode> {
        let fresh_producer_id = self.fresh_producer_id(broker, &transactional_id).await?;
        let id = transactional_id.clone();
        let event = |ticket| Event::InitProducerId {
            ticket,
            transactional_id,
            timeout_ms,
            expected,
            fresh_producer_id,
        };
        self.ask(broker, &id, event).await
    }

    pub(super) async fn add_partitions(
        &self,
        broker: &Arc<Broker>,
        transactional_id: &str,
        producer: Identity,
        partitions: Vec<(String, i32)>,
        version: i16,
    ) -> Result<(), ErrorCode> {
        let event = |ticket| Event::AddPartitions {
            ticket,
            transactional_id: transactional_id.to_owned(),
            producer,
            partitions,
            version,
        };
        self.ask(broker, transactional_id, event).await.map(|_| ())
    }

    pub(super) async fn end(
        &self,
        broker: &Arc<Broker>,
        transactional_id: String,
        producer: Identity,
        is_commit: bool,
        version: i16,
    ) -> Result<Identity, ErrorCode> {
        let fresh_producer_id = self.fresh_producer_id(broker, &transactional_id).await?;
        let id = transactional_id.clone();
        let event = |ticket| Event::EndTransaction {
            ticket,
            transactional_id,
            producer,
            is_commit,
            version,
            fresh_producer_id,
        };
        self.ask(broker, &id, event).await
    }

    /// Whether partitions are part of a producer's open transaction.
    pub(super) async fn verify(
        &self,
        broker: &Arc<Broker>,
        transactional_id: &str,
        producer: Identity,
        partitions: &[(String, i32)],
    ) -> Result<(), ErrorCode> {
        let shard = self.shard(broker, transactional_id).await?;
        let core = lock(&shard.core);
        core.transactions.verify(transactional_id, producer, partitions)
    }

    /// Makes partitions part of the producer's transaction, or where `version` is of the older protocol, sees whether they
    /// are. What is in the way for a moment, like the end of the last transaction, is waited for. `begin_verification` tells
    /// the partitions' logs that the coordinator is about to be asked.
    pub(super) async fn enlist(
        &self,
        broker: &Arc<Broker>,
        transactional_id: &str,
        producer: Identity,
        partitions: &[(String, i32)],
        version: i16,
        begin_verification: impl Fn(),
    ) -> Result<(), ErrorCode> {
        let deadline = tokio::time::Instant::now() + RETRY_TIME;
        loop {
            // Each time: a marker of the last transaction that was written meanwhile has ended the verification.
            begin_verification();
            let outcome = if version >= crate::transaction::EPOCH_BUMPS {
                self.add_partitions(broker, transactional_id, producer, partitions.to_vec(), version)
                    .await
            } else {
                self.verify(broker, transactional_id, producer, partitions).await
            };
            if outcome != Err(ErrorCode::CONCURRENT_TRANSACTIONS) || tokio::time::Instant::now() >= deadline {
                return outcome;
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    pub(super) async fn describe(
        &self,
        broker: &Arc<Broker>,
        transactional_id: &str,
    ) -> Result<Option<Described>, ErrorCode> {
        let shard = self.shard(broker, transactional_id).await?;
        let core = lock(&shard.core);
        Ok(core.transactions.describe(transactional_id))
    }

    /// All transactional ids; none where the topic was never used.
    pub(super) fn list(&self) -> Vec<Described> {
        let shards = self.shards.get().into_iter().flatten();
        shards.flat_map(|shard| lock(&shard.core).transactions.list()).collect()
    }
}

/// Answers the callers, and begins the rest of what is to be done.
fn carry_out(broker: &Arc<Broker>, shard: &Arc<Shard>, effects: Vec<Effect>) {
    for effect in effects {
        let (broker, shard) = (Arc::clone(broker), Arc::clone(shard));
        match effect {
            Effect::Answer(ticket, answer) => {
                if let Some(waiting) = lock(&shard.core).waiting.remove(&ticket) {
                    let _gone = waiting.send(answer);
                }
            }
            // Tasks of their own: they go on when the client that has asked is gone.
            Effect::Append {
                transactional_id,
                value,
            } => {
                tokio::spawn(async move {
                    let succeeded = append(&broker, &shard, &transactional_id, value).await;
                    let event = Event::Appended {
                        transactional_id,
                        succeeded,
                    };
                    step(&broker, &shard, event);
                });
            }
            Effect::WriteMarkers {
                transactional_id,
                producer,
                is_commit,
                partitions,
            } => {
                tokio::spawn(async move {
                    markers::end(&broker, &shard.partition, producer, is_commit, partitions).await;
                    let event = Event::MarkersWritten {
                        transactional_id,
                        producer_id: producer.producer_id,
                    };
                    step(&broker, &shard, event);
                });
            }
        }
    }
}

fn step(broker: &Arc<Broker>, shard: &Arc<Shard>, event: Event) {
    let effects = lock(&shard.core).transactions.step(event, now_ms());
    carry_out(broker, shard, effects);
}

/// Appends a record, and waits until the high watermark is behind it.
async fn append(
    broker: &Arc<Broker>,
    shard: &Arc<Shard>,
    transactional_id: &str,
    value: Option<TransactionValue>,
) -> bool {
    let outcome = try_append(broker, &shard.partition, transactional_id, value).await;
    if let Err(refused) = &outcome {
        tracing::warn!(
            transactional_id,
            ?refused,
            "the state of a transaction could not be stored"
        );
    }
    outcome.is_ok()
}

async fn try_append(
    broker: &Arc<Broker>,
    partition: &Arc<Partition>,
    transactional_id: &str,
    value: Option<TransactionValue>,
) -> Result<(), Refused> {
    let failed = |error: std::io::Error| Refused {
        code: ErrorCode::UNKNOWN_SERVER_ERROR,
        message: Some(error.to_string()),
    };
    let record = Record {
        timestamp: now_ms(),
        key: Some(transaction_state::encode_key(transactional_id)),
        value: value.as_ref().map(transaction_state::encode_value),
        ..Record::default()
    };
    if record
        .value
        .as_ref()
        .is_some_and(|value| value.len() > RECORD_BYTES_MAX)
    {
        return Err(ErrorCode::RECORD_LIST_TOO_LARGE.into());
    }
    let batch = record::encode_batch(&[record], Codec::None, None).map_err(failed)?;
    let header = BatchHeader::parse(&batch).map_err(|error| failed(std::io::Error::other(error)))?;
    let target = Arc::clone(partition);
    let (appended, _) = blocking(broker, move |_| target.append(&batch, &header, now_ms())).await?;
    match broker.settle(partition, appended.end, true) {
        None => Ok(()),
        Some(reached) => reached.await.unwrap_or(Err(ErrorCode::NOT_COORDINATOR.into())),
    }
}

/// Lets time pass: transactions time out, and idle transactional ids are forgotten.
pub(super) async fn timers(broker: Arc<Broker>, shutdown: Shutdown) {
    let coordinator = &broker.transactions;
    while !shutdown.is_requested() {
        // Also at the start: ends that were interrupted go on before anybody asks.
        if broker.topics.get(topic::NAME).is_some()
            && let Ok(shards) = coordinator.shards(&broker).await
        {
            for shard in shards {
                step(&broker, shard, Event::Tick);
            }
        }
        tokio::time::sleep(coordinator.tick).await;
    }
}
