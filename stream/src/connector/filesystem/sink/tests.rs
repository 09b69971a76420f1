//! The sink under crashes: after any of them, and a restart from the last published checkpoint, each row is there once.

use std::path::Path;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use disk::RealDisk;
use disk::faulty::FaultyDisk;

use super::super::source::FileSource;
use super::*;
use crate::connector::{Source, SourceEvent};

fn table(directory: &Path, format: &str, partitioned: bool) -> TableSpec {
    let options = [
        ("connector", "filesystem"),
        ("path", directory.to_str().unwrap()),
        ("format", format),
    ];
    TableSpec {
        name: "t".to_owned(),
        physical: Arc::new(Schema::new(vec![
            Field::new("n", DataType::Int64, true),
            Field::new("s", DataType::Utf8, true),
        ])),
        metadata: Vec::new(),
        options: options.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        partition_keys: if partitioned { vec!["s".to_owned()] } else { Vec::new() },
        primary_key: Vec::new(),
    }
}

fn rows(table: &TableSpec, from: i64, to: i64) -> RecordBatch {
    let texts = (from..to).map(|n| ["a/b", "ü", "x"][n as usize % 3]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(from..to)),
        Arc::new(StringArray::from_iter_values(texts)),
    ];
    RecordBatch::try_new(table.physical.clone(), columns).unwrap()
}

fn open(table: &TableSpec, disk: &Arc<dyn Disk>) -> FileSink {
    FileSink::new(table, Settings::read(table).unwrap(), &Context::default(), disk.clone()).unwrap()
}

/// All numbers that a reader of the table sees, sorted.
async fn visible(table: &TableSpec) -> Vec<i64> {
    let mut source = FileSource::new(table, Settings::read(table).unwrap(), Arc::new(RealDisk)).unwrap();
    if source.start().await.is_err() {
        return Vec::new();
    }
    let mut numbers = Vec::new();
    loop {
        match source.next().await.unwrap() {
            SourceEvent::Batch { rows, .. } => {
                let column = rows.column(0).as_any().downcast_ref::<Int64Array>().unwrap();
                numbers.extend(column.values());
            }
            SourceEvent::End => break,
            _ => {}
        }
    }
    numbers.sort_unstable();
    numbers
}

fn hidden_files(directory: &Path) -> usize {
    std::fs::read_dir(directory)
        .map(|entries| {
            entries
                .map(|entry| entry.unwrap())
                .map(|entry| match entry.path().is_dir() {
                    true => hidden_files(&entry.path()),
                    false => usize::from(entry.file_name().to_str().unwrap().starts_with('.')),
                })
                .sum()
        })
        .unwrap_or(0)
}

/// What the checkpoint store holds.
#[derive(Default)]
struct Checkpoint {
    committable: Option<serde_json::Value>,
    /// Rows of the input that the checkpoint covers.
    rows: i64,
}

const EPOCHS: i64 = 4;
const ROWS_PER_EPOCH: i64 = 10;

/// Runs the job to its end, or drops it after `steps`. Gives whether it came to its end.
async fn run(
    table: &TableSpec,
    disk: &Arc<dyn Disk>,
    checkpoint: &mut Checkpoint,
    mut steps: usize,
) -> Result<bool, Error> {
    let mut step = || {
        steps = steps.saturating_sub(1);
        steps == 0
    };
    let mut sink = open(table, disk);
    sink.recover(checkpoint.committable.as_ref()).await?;
    if step() {
        return Ok(false);
    }
    while checkpoint.rows < EPOCHS * ROWS_PER_EPOCH {
        let from = checkpoint.rows;
        for (from, to) in [(from, from + 4), (from + 4, from + ROWS_PER_EPOCH)] {
            let batch = rows(table, from, to);
            sink.write(&batch, &vec![RowKind::Insert; batch.num_rows()]).await?;
            if step() {
                return Ok(false);
            }
        }
        let committable = sink.pre_commit((from / ROWS_PER_EPOCH) as u64).await?;
        if step() {
            return Ok(false);
        }
        *checkpoint = Checkpoint {
            committable: Some(committable.clone()),
            rows: from + ROWS_PER_EPOCH,
        };
        if step() {
            return Ok(false);
        }
        // Every second commit is left to the next one, as when a coordinator is slow.
        if (from / ROWS_PER_EPOCH) % 2 == 1 {
            sink.commit(&committable).await?;
        }
        if step() {
            return Ok(false);
        }
    }
    Ok(true)
}

#[tokio::test]
async fn each_row_is_visible_once_whatever_step_it_dies_after() {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    // Every step for one kind of table, every fifth for the others: each run syncs real files.
    for (format, partitioned, every) in [("json", false, 1), ("csv", true, 5), ("parquet", true, 5)] {
        for first in (1..24).step_by(every) {
            for second in [3, 1000] {
                let directory = tempfile::tempdir().unwrap();
                let table = table(directory.path(), format, partitioned);
                let mut checkpoint = Checkpoint::default();
                run(&table, &disk, &mut checkpoint, first).await.unwrap();
                let seen = visible(&table).await;
                assert!(
                    seen.len() as i64 <= checkpoint.rows,
                    "rows of no checkpoint are visible"
                );
                run(&table, &disk, &mut checkpoint, second).await.unwrap();
                assert!(run(&table, &disk, &mut checkpoint, usize::MAX).await.unwrap());
                // A last restart commits what the end left.
                open(&table, &disk)
                    .recover(checkpoint.committable.as_ref())
                    .await
                    .unwrap();
                let all: Vec<i64> = (0..EPOCHS * ROWS_PER_EPOCH).collect();
                assert_eq!(
                    visible(&table).await,
                    all,
                    "{format}, dropped after {first} and {second}"
                );
                assert_eq!(hidden_files(directory.path()), 0);
            }
        }
    }
}

#[tokio::test]
async fn a_full_disk_fails_the_epoch_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let table = table(directory.path(), "json", false);
    let faulty = Arc::new(FaultyDisk::new(Arc::new(RealDisk)));
    let disk: Arc<dyn Disk> = faulty.clone();
    let mut checkpoint = Checkpoint::default();
    faulty.set_space_left(Some(600));
    let error = run(&table, &disk, &mut checkpoint, usize::MAX).await.unwrap_err();
    assert_eq!(error.kind(), "runtime");
    assert!(checkpoint.rows < EPOCHS * ROWS_PER_EPOCH);
    faulty.set_space_left(None);
    assert!(run(&table, &disk, &mut checkpoint, usize::MAX).await.unwrap());
    assert_eq!(
        visible(&table).await,
        (0..EPOCHS * ROWS_PER_EPOCH).collect::<Vec<i64>>()
    );
    assert_eq!(hidden_files(directory.path()), 0);
}

#[tokio::test]
async fn large_parts_are_written_before_the_checkpoint_and_stay_hidden() {
    let directory = tempfile::tempdir().unwrap();
    let mut table = table(directory.path(), "json", false);
    table
        .options
        .insert("sink.rolling-policy.file-size".to_owned(), "100".to_owned());
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let mut sink = open(&table, &disk);
    sink.recover(None).await.unwrap();
    for from in [0, 10, 20] {
        sink.write(&rows(&table, from, from + 10), &[RowKind::Insert; 10])
            .await
            .unwrap();
    }
    assert_eq!(hidden_files(directory.path()), 3);
    assert_eq!(visible(&table).await, Vec::<i64>::new());
    let committable = sink.pre_commit(1).await.unwrap();
    sink.commit(&committable).await.unwrap();
    sink.commit(&committable).await.unwrap();
    assert_eq!(visible(&table).await, (0..30).collect::<Vec<i64>>());
}

#[tokio::test]
async fn another_jobs_parts_are_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let table = table(directory.path(), "json", false);
    let foreign = directory.path().join(".part-other-0-0.json.inprogress.1");
    std::fs::write(&foreign, "{}\n").unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    open(&table, &disk).recover(None).await.unwrap();
    assert!(foreign.exists());
}

#[tokio::test]
async fn lost_parts_of_a_checkpoint_are_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let table = table(directory.path(), "json", false);
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let last = serde_json::json!({"next": 1, "parts": [{"hidden": ".part-x", "visible": "part-x"}]});
    let error = open(&table, &disk).recover(Some(&last)).await.unwrap_err();
    assert!(
        error.message().contains("rows of a finished checkpoint are lost"),
        "{error}"
    );
}

#[tokio::test]
async fn updates_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let table = table(directory.path(), "json", false);
    let mut sink = open(&table, &(Arc::new(RealDisk) as Arc<dyn Disk>));
    let error = sink.write(&rows(&table, 0, 1), &[RowKind::Delete]).await.unwrap_err();
    assert_eq!(error.kind(), "unsupported");
}

#[test]
fn options_are_checked_by_name() {
    let directory = Path::new("/tmp/x");
    let with = |key: &str, value: &str| {
        let mut table = table(directory, "csv", false);
        table.options.insert(key.to_owned(), value.to_owned());
        Settings::read(&table).map(|_| ())
    };
    assert!(with("csv.field-delimiter", ";").is_ok());
    assert!(
        with("csv.colour", "red")
            .unwrap_err()
            .message()
            .contains("Unsupported options: csv.colour.")
    );
    assert_eq!(
        with("source.monitor-interval", "1 s").unwrap_err().kind(),
        "unsupported"
    );
    assert_eq!(with("format", "nope").unwrap_err().kind(), "validate");
    assert_eq!(with("format", "avro").unwrap_err().kind(), "unsupported");
    assert_eq!(with("path", "s3://bucket/x").unwrap_err().kind(), "unsupported");
    let mut missing = table(directory, "csv", false);
    missing.options.remove("path");
    assert!(
        Settings::read(&missing)
            .unwrap_err()
            .message()
            .starts_with("One or more required options are missing.")
    );
}
