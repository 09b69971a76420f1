//! Group commit over all partitions: whoever appended queues here, and is told when its batch is durable.
//!
//! A few threads take rounds. A round takes everything that is queued, syncs each file that is dirty once, and tells all
//! who wait for it; what is queued meanwhile makes the next round. So the more producers there are, the more of them
//! share an fdatasync, and one alone never waits for company. Partitions are spread over the threads, because a sync
//! mostly waits for the device.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::metrics::Metrics;
use super::partition::{Partition, Refused, lock};

/// More would only queue in the kernel.
const THREADS: usize = 4;

/// A wish for a partition to be durable, and who wants to know.
struct Wish {
    partition: Arc<Partition>,
    end: i64,
    done: Option<oneshot::Sender<Result<(), Refused>>>,
}

/// The handle of the syncing threads.
#[derive(Debug)]
pub(super) struct Syncer {
    queues: Vec<Sender<Wish>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Syncer {
    pub(super) fn start(metrics: &Arc<Metrics>) -> io::Result<Self> {
        let mut queues = Vec::new();
        let mut threads = Vec::new();
        for number in 0..THREADS {
            let (sender, receiver) = mpsc::channel();
            let metrics = Arc::clone(metrics);
            let thread = std::thread::Builder::new().name(format!("syncer-{number}"));
            threads.push(thread.spawn(move || run(&receiver, &metrics))?);
            queues.push(sender);
        }
        Ok(Self {
            queues,
            threads: Mutex::new(threads),
        })
    }

    /// Queues a partition and returns what tells that it is durable up to `end`.
    pub(super) fn sync(&self, partition: &Arc<Partition>, end: i64) -> oneshot::Receiver<Result<(), Refused>> {
        let (done, receiver) = oneshot::channel();
        self.queue(partition, end, Some(done));
        receiver
    }

    /// Queues a partition for those who will read it; nobody waits.
    pub(super) fn sync_soon(&self, partition: &Arc<Partition>, end: i64) {
        self.queue(partition, end, None);
    }

    fn queue(&self, partition: &Arc<Partition>, end: i64, done: Option<oneshot::Sender<Result<(), Refused>>>) {
        let mut hasher = DefaultHasher::new();
        (&partition.topic, partition.index).hash(&mut hasher);
        let queue = &self.queues[hasher.finish() as usize % self.queues.len()];
        // A closed queue drops the wish, which tells whoever waits.
        let _ = queue.send(Wish {
            partition: Arc::clone(partition),
            end,
            done,
        });
    }

    /// Ends the threads after what is queued.
    pub(super) fn close(mut self) {
        self.queues.clear();
        for thread in lock(&self.threads).drain(..) {
            let _ = thread.join();
        }
    }
}

fn run(queue: &Receiver<Wish>, metrics: &Metrics) {
    while let Ok(first) = queue.recv() {
        let mut round: BTreeMap<(Arc<str>, i32), Vec<Wish>> = BTreeMap::new();
        for wish in std::iter::once(first).chain(std::iter::from_fn(|| queue.try_recv().ok())) {
            round
                .entry((Arc::clone(&wish.partition.topic), wish.partition.index))
                .or_default()
                .push(wish);
        }
        for wishes in round.into_values() {
            sync_one(wishes, metrics);
        }
    }
}

/// Syncs one partition for all who wish it.
fn sync_one(wishes: Vec<Wish>, metrics: &Metrics) {
    let Some(partition) = wishes.first().map(|wish| Arc::clone(&wish.partition)) else {
        return;
    };
    let outcome = sync_partition(&partition, metrics);
    if outcome.is_ok() {
        partition.wake();
    }
    for wish in wishes {
        let durable = outcome.clone().and_then(|durable_end| {
            if durable_end >= wish.end {
                Ok(())
            } else {
                partition.with_log(|log| log.check())
            }
        });
        if let Some(done) = wish.done {
            let _ = done.send(durable);
        }
    }
}

fn sync_partition(partition: &Partition, metrics: &Metrics) -> Result<i64, Refused> {
    let point = partition.with_log(|log| log.check().map(|()| log.begin_sync()))?;
    let Some(point) = point else {
        return partition.with_log(|log| Ok::<_, Refused>(log.durable_end()));
    };
    let timer = metrics.sync_seconds.start_timer();
    let outcome = point.file.sync_data();
    timer.observe_duration();
    if let Err(error) = &outcome {
        tracing::error!(topic = %partition.topic, partition = partition.index, %error, "sync failed, the log stops");
    }
    partition.with_log(|log| log.finish_sync(&point, outcome).map(|()| log.durable_end()))
}
