//! Group commit over all partitions: what was appended is queued here, and flushed.
//!
//! A few threads take rounds. A round takes everything that is queued, and syncs each file that is dirty once; what is
//! queued meanwhile makes the next round. So the more producers there are, the more of them share an fdatasync, and one
//! alone never waits for company. Partitions are spread over the threads, because a sync mostly waits for the device. Who
//! waits for a flush waits in the partition's purgatory, for the high watermark that moves with it.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::metrics::Metrics;
use super::partition::{Partition, Refused, lock};

/// More would only queue in the kernel.
const THREADS: usize = 4;

/// The handle of the syncing threads.
#[derive(Debug)]
pub(super) struct Flusher {
    queues: Vec<Sender<Arc<Partition>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Flusher {
    pub(super) fn start(metrics: &Arc<Metrics>) -> io::Result<Self> {
        let mut queues = Vec::new();
        let mut threads = Vec::new();
        for number in 0..THREADS {
            let (sender, receiver) = mpsc::channel();
            let metrics = Arc::clone(metrics);
            let thread = std::thread::Builder::new().name(format!("flusher-{number}"));
            threads.push(thread.spawn(move || run(&receiver, &metrics))?);
            queues.push(sender);
        }
        Ok(Self {
            queues,
            threads: Mutex::new(threads),
        })
    }

    /// Queues a partition to be flushed.
    pub(super) fn queue(&self, partition: &Arc<Partition>) {
        let mut hasher = DefaultHasher::new();
        (&partition.topic, partition.index).hash(&mut hasher);
        let queue = &self.queues[hasher.finish() as usize % self.queues.len()];
        let _closed = queue.send(Arc::clone(partition));
    }

    /// Ends the threads after what is queued.
    pub(super) fn close(mut self) {
        self.queues.clear();
        for thread in lock(&self.threads).drain(..) {
            let _ = thread.join();
        }
    }
}

fn run(queue: &Receiver<Arc<Partition>>, metrics: &Metrics) {
    while let Ok(first) = queue.recv() {
        let queued = std::iter::once(first).chain(std::iter::from_fn(|| queue.try_recv().ok()));
        let round: BTreeMap<(Arc<str>, i32), Arc<Partition>> = queued
            .map(|partition| ((Arc::clone(&partition.topic), partition.index), partition))
            .collect();
        for partition in round.into_values() {
            match flush(&partition, metrics) {
                Ok(flushed_offset) => partition.flushed(flushed_offset),
                Err(refused) => partition.fail(&refused),
            }
        }
    }
}

/// Flushes a log and returns its flushed offset.
fn flush(partition: &Partition, metrics: &Metrics) -> Result<i64, Refused> {
    let point = partition.with_log(|log| log.check().map(|()| log.begin_flush()))?;
    if let Some(point) = point {
        let timer = metrics.sync_seconds.start_timer();
        let outcome = point.file.sync_data();
        timer.observe_duration();
        if let Err(error) = &outcome {
            tracing::error!(topic = %partition.topic, partition = partition.index, %error, "sync failed, the log stops");
        }
        partition.with_log(|log| log.finish_flush(&point, outcome))?;
    }
    partition.with_log(|log| Ok::<_, Refused>(log.flushed_offset()))
}
