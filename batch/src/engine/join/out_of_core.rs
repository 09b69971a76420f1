//! A spatial join whose build side does not fit into memory.
//!
//! The left side is on disk. Each partition of the right side goes to disk as well, and then passes by one part of the left
//! side after the other, each part as large as memory allows. What found a partner is remembered over all parts: for left
//! rows by all partitions together, for right rows by their own partition. So every kind of join is right, and each
//! partition's rows stay its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::concat_batches;
use datafusion::common::{DataFusionError, Result, exec_err};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, SpillFile, TaskContext};
use datafusion::physical_plan::SpillManager;
use futures::TryStreamExt;
use tokio::sync::mpsc::Sender;

use super::build::{BuildSide, Cost};
use super::pairs::Pairs;
use super::probe::{Join, Probe};
use crate::engine::interrupt::Interrupt;

/// Rows of a batch on disk: few, so that little memory is enough to read one.
const ROWS_PER_BATCH: usize = 1_024;
/// How often, and how many times, a part is tried again when others hold all memory.
const RETRY: Duration = Duration::from_millis(20);
const RETRIES_MAX: u32 = 1_000;

/// Rows on disk.
#[derive(Clone)]
pub struct Spilled {
    manager: SpillManager,
    /// `None`: there is no row.
    file: Option<Arc<dyn SpillFile>>,
    pub rows: usize,
    batches: usize,
}

impl Spilled {
    /// Writes `first`, then all of the stream.
    pub async fn write(
        manager: SpillManager,
        first: Vec<RecordBatch>,
        mut rest: SendableRecordBatchStream,
        interrupt: &Interrupt,
    ) -> Result<Spilled> {
        let mut file = manager.create_in_progress_file("spatial join")?;
        let (mut rows, mut batches) = (0, 0);
        let mut append = |batch: &RecordBatch| -> Result<()> {
            interrupt.check()?;
            for start in (0..batch.num_rows()).step_by(ROWS_PER_BATCH) {
                let slice = batch.slice(start, ROWS_PER_BATCH.min(batch.num_rows() - start));
                file.append_batch(&slice)?;
                rows += slice.num_rows();
                batches += 1;
            }
            Ok(())
        };
        for batch in first {
            append(&batch)?;
        }
        while let Some(batch) = rest.try_next().await? {
            append(&batch)?;
        }
        let file = file.finish()?;
        Ok(Spilled {
            manager,
            file,
            rows,
            batches,
        })
    }

    fn read(&self) -> Result<Option<SendableRecordBatchStream>> {
        let file = self.file.clone();
        file.map(|file| self.manager.read_spill_as_stream(file, None))
            .transpose()
    }
}

impl std::fmt::Debug for Spilled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Spilled({} rows)", self.rows)
    }
}

/// The left side on disk, for all partitions of the right side.
#[derive(Debug)]
pub struct Outside {
    rows: Spilled,
    matched: Option<Arc<Vec<AtomicBool>>>,
    running: AtomicUsize,
    _reservation: MemoryReservation,
}

impl Outside {
    pub fn new(rows: Spilled, track: bool, streams: usize, reservation: MemoryReservation) -> Result<Outside> {
        let matched = if track {
            reservation.try_resize(rows.rows)?;
            Some(Arc::new((0..rows.rows).map(|_| AtomicBool::new(false)).collect()))
        } else {
            reservation.free();
            None
        };
        Ok(Outside {
            rows,
            matched,
            running: AtomicUsize::new(streams),
            _reservation: reservation,
        })
    }

    /// Joins one partition of the right side.
    pub async fn join(
        self: Arc<Self>,
        join: Join,
        right: SendableRecordBatchStream,
        manager: SpillManager,
        cells: usize,
        context: Arc<TaskContext>,
        out: Sender<Result<RecordBatch>>,
    ) -> Result<()> {
        let right = Spilled::write(manager, Vec::new(), right, &join.interrupt).await?;
        let seen = MemoryConsumer::new("SpatialJoinMatches").register(context.memory_pool());
        seen.try_grow(right.rows)?;
        let mut matched: Vec<Vec<bool>> = vec![Vec::new(); right.batches];
        let mut left = self.rows.read()?;
        let mut next = None;
        let mut first_row = 0;
        while let Some(stream) = &mut left {
            let memory = MemoryConsumer::new("SpatialJoinBuild").register(context.memory_pool());
            let Some(rows) = part(stream, &mut next, &join, &memory).await? else {
                break;
            };
            let count = rows.num_rows();
            let build = BuildSide::of(rows, &join.condition, cells, self.matched.clone(), first_row, memory)?;
            first_row += count;
            let mut rights = right.read()?;
            let mut at = 0;
            while let Some(stream) = &mut rights {
                let Some(batch) = stream.try_next().await? else { break };
                let mut probe = Probe::resume(&join, batch, std::mem::take(&mut matched[at]))?;
                while let Some(batches) = probe.pairs_step(&join, &build)? {
                    send(&out, batches).await?;
                    tokio::task::yield_now().await;
                }
                matched[at] = probe.into_matched();
                at += 1;
            }
        }
        self.rest_of_right(&join, &right, matched, &out).await?;
        if self.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.rest_of_left(&join, &out).await?;
        }
        Ok(())
    }

    async fn rest_of_right(
        &self,
        join: &Join,
        right: &Spilled,
        matched: Vec<Vec<bool>>,
        out: &Sender<Result<RecordBatch>>,
    ) -> Result<()> {
        if !join.wants_right_rows() {
            return Ok(());
        }
        let Some(mut rights) = right.read()? else { return Ok(()) };
        let mut matched = matched.into_iter();
        while let Some(batch) = rights.try_next().await? {
            let mut of_batch = matched.next().unwrap_or_default();
            of_batch.resize(batch.num_rows(), false);
            send(out, join.right_rows(&batch, &of_batch)?).await?;
        }
        Ok(())
    }

    async fn rest_of_left(&self, join: &Join, out: &Sender<Result<RecordBatch>>) -> Result<()> {
        let Some(matched) = &self.matched else { return Ok(()) };
        let Some(mut lefts) = self.rows.read()? else {
            return Ok(());
        };
        let mut first_row = 0;
        while let Some(batch) = lefts.try_next().await? {
            let wanted = join.wanted_left();
            let rows = (0..batch.num_rows()).filter(|row| matched[first_row + row].load(Ordering::Acquire) == wanted);
            let left: UInt32Array = rows
                .filter_map(|row| u32::try_from(row).ok())
                .collect::<Vec<_>>()
                .into();
            let pairs = Pairs {
                right: UInt32Array::new_null(left.len()),
                left,
            };
            first_row += batch.num_rows();
            send(out, join.output(&pairs, &batch, None)?).await?;
        }
        Ok(())
    }
}

/// As many rows as there is memory for; `None`: no more are there.
async fn part(
    stream: &mut SendableRecordBatchStream,
    next: &mut Option<RecordBatch>,
    join: &Join,
    memory: &MemoryReservation,
) -> Result<Option<RecordBatch>> {
    let schema = stream.schema();
    let mut batches: Vec<RecordBatch> = Vec::new();
    let mut tries = 0;
    loop {
        let batch = match next.take() {
            Some(batch) => batch,
            None => match stream.try_next().await? {
                Some(batch) => batch,
                None => break,
            },
        };
        match memory.try_grow(Cost::of(&batch, &join.condition)?.bytes()) {
            Ok(()) => batches.push(batch),
            Err(_) if !batches.is_empty() => {
                *next = Some(batch);
                break;
            }
            // Others hold all of it; they give it back with their parts.
            Err(error) if tries < RETRIES_MAX => {
                join.interrupt.check()?;
                tracing::debug!(%error, "a part of a spatial join waits for memory");
                tries += 1;
                *next = Some(batch);
                tokio::time::sleep(RETRY).await;
            }
            Err(error) => return Err(error),
        }
    }
    if batches.is_empty() {
        return Ok(None);
    }
    Ok(Some(concat_batches(&schema, &batches)?))
}

async fn send(out: &Sender<Result<RecordBatch>>, batches: Vec<RecordBatch>) -> Result<()> {
    for batch in batches.into_iter().filter(|batch| batch.num_rows() > 0) {
        if out.send(Ok(batch)).await.is_err() {
            return exec_err!("the result of a spatial join is not wanted any more");
        }
    }
    Ok(())
}

/// Whether more memory would have helped.
pub fn is_out_of_memory(error: &DataFusionError) -> bool {
    matches!(error.find_root(), DataFusionError::ResourcesExhausted(_))
}
