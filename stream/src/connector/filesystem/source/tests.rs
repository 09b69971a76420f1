//! The source: every record once, from wherever it goes on.

use std::path::Path;

use arrow::array::{Array, Int64Array};
use arrow::datatypes::{Field, Schema};
use disk::RealDisk;

use super::*;
use crate::table::MetadataColumn;

fn table(path: &Path, format: &str, options: &[(&str, &str)]) -> TableSpec {
    let base = [
        ("connector", "filesystem"),
        ("path", path.to_str().unwrap()),
        ("format", format),
    ];
    TableSpec {
        name: "t".to_owned(),
        physical: Arc::new(Schema::new(vec![
            Field::new("n", DataType::Int64, true),
            Field::new("s", DataType::Utf8, true),
        ])),
        metadata: Vec::new(),
        options: base
            .iter()
            .chain(options)
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
        partition_keys: Vec::new(),
        primary_key: Vec::new(),
    }
}

fn open(table: &TableSpec) -> FileSource {
    FileSource::new(table, Settings::read(table).unwrap(), Arc::new(RealDisk)).unwrap()
}

/// Reads up to `batches` batches; the numbers in column 0.
async fn take(source: &mut FileSource, batches: usize) -> Vec<i64> {
    let mut numbers = Vec::new();
    let mut taken = 0;
    while taken < batches {
        match source.next().await.unwrap() {
            SourceEvent::Batch { rows, .. } => {
                taken += 1;
                let column = rows.column(0).as_any().downcast_ref::<Int64Array>().unwrap();
                numbers.extend(column.values());
            }
            SourceEvent::End => break,
            _ => {}
        }
    }
    numbers
}

#[tokio::test]
async fn positions_cover_exactly_what_was_returned() {
    let directory = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    for file in 0..3i64 {
        let numbers: Vec<i64> = (file * 20_000..file * 20_000 + 17_000).collect();
        let text: String = numbers.iter().map(|n| format!("{n},\"line\n{n}\"\n")).collect();
        // The last file has no line end behind its last record.
        let text = if file == 2 { text.trim_end() } else { text.as_str() };
        std::fs::write(directory.path().join(format!("part-{file}")), text).unwrap();
        expected.extend(numbers);
    }
    std::fs::write(directory.path().join("_SUCCESS"), "not,a\nrecord").unwrap();
    std::fs::write(directory.path().join(".hidden"), "not,a\nrecord").unwrap();
    let table = table(directory.path(), "csv", &[]);
    for cut in 0..10 {
        let mut first = open(&table);
        first.start().await.unwrap();
        assert_eq!(first.splits(), 3);
        let mut numbers = take(&mut first, cut).await;
        let position = serde_json::from_str(&first.position().to_string()).unwrap();
        // What comes to the directory after the start is not read.
        std::fs::write(directory.path().join("part-9"), "1,x\n").unwrap();
        let mut second = open(&table);
        second.restore(&position).unwrap();
        second.start().await.unwrap();
        numbers.extend(take(&mut second, usize::MAX).await);
        std::fs::remove_file(directory.path().join("part-9")).unwrap();
        assert_eq!(numbers, expected, "cut after {cut} batches");
    }
}

#[tokio::test]
async fn metadata_and_a_missing_path() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("left.csv");
    std::fs::write(&file, "1\n2\n").unwrap();
    let mut table = table(&file, "csv", &[]);
    table.physical = Arc::new(Schema::new(vec![
        Field::new("file.name", DataType::Utf8, false),
        Field::new("n", DataType::Int64, true),
        Field::new("size_", DataType::Int64, false),
    ]));
    let metadata = |column: &str, key: &str| MetadataColumn {
        column: column.to_owned(),
        key: key.to_owned(),
        virtual_: false,
    };
    table.metadata = vec![metadata("file.name", "file.name"), metadata("size_", "file.size")];
    let mut source = open(&table);
    source.start().await.unwrap();
    let SourceEvent::Batch { rows, .. } = source.next().await.unwrap() else {
        panic!("no rows")
    };
    let shown = arrow::util::pretty::pretty_format_batches(&[rows]).unwrap().to_string();
    assert!(shown.contains("| left.csv  | 2 | 4     |"), "{shown}");
    std::fs::remove_file(&file).unwrap();
    let error = open(&table).start().await.unwrap_err();
    assert!(error.message().contains("does not exist"), "{error}");
    table.metadata[0].key = "file.colour".to_owned();
    assert!(FileSource::new(&table, Settings::read(&table).unwrap(), Arc::new(RealDisk)).is_err());
}

#[tokio::test]
async fn bad_records_fail_the_job_with_their_text() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("a"), "1,x\nten,y\n").unwrap();
    let failing = table(directory.path(), "csv", &[]);
    let mut source = open(&failing);
    source.start().await.unwrap();
    let error = source.next().await.unwrap_err();
    assert!(error.message().contains("'ten,y'"), "{error}");
    let mut source = open(&table(directory.path(), "csv", &[("csv.ignore-parse-errors", "true")]));
    source.start().await.unwrap();
    let SourceEvent::Batch { rows, .. } = source.next().await.unwrap() else {
        panic!("no rows")
    };
    assert_eq!(rows.num_rows(), 2);
    assert_eq!(rows.column(0).null_count(), 1);
}
