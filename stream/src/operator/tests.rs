//! The window operator against a reference that knows no batches.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMillisecondType};
use datafusion::physical_expr::expressions::{BinaryExpr, Column, Literal};
use proptest::prelude::*;

use super::accumulator::Function;
use super::aggregate::{Aggregate, Call, Part, Plan, Slices};
use super::assign::{WatermarkAssigner, WindowAssigner};
use super::slices::SlicedAggregate;
use super::{Chain, Event, Rows};
use crate::graph::{key_group_filter, partition};
use crate::time::window::Windows;

const DELAY: i64 = 700;
const SIZE: i64 = 2000;
const SLIDE: i64 = 500;

/// Key, time, value.
type Row = (u8, i64, Option<i64>);

fn schema(extra: bool) -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Millisecond, None);
    let mut fields = vec![
        Field::new("c0", DataType::Utf8, true),
        Field::new("c1", time.clone(), true),
        Field::new("c2", DataType::Int64, true),
    ];
    if extra {
        fields.extend((3..6).map(|index| Field::new(format!("c{index}"), time.clone(), true)));
    }
    Arc::new(Schema::new(fields))
}

fn batch(rows: &[Row]) -> RecordBatch {
    let keys: StringArray = rows.iter().map(|row| Some(format!("k{}", row.0))).collect();
    let times: TimestampMillisecondArray = rows.iter().map(|row| Some(row.1)).collect();
    let values: Int64Array = rows.iter().map(|row| row.2).collect();
    RecordBatch::try_new(schema(false), vec![Arc::new(keys), Arc::new(times), Arc::new(values)]).unwrap()
}

/// How the windows are computed, and which they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Copies,
    Slices,
    CumulatedSlices,
}

impl Way {
    fn windows(self) -> Windows {
        match self {
            Self::CumulatedSlices => Windows::cumulate(SLIDE, SIZE, 0).unwrap(),
            _ => Windows::hop(SLIDE, SIZE, 0).unwrap(),
        }
    }

    fn keys(self) -> &'static [usize] {
        if self == Self::Copies { &[3, 4, 0] } else { &[0] }
    }
}

fn front(way: Way) -> Chain {
    let delay = datafusion::common::ScalarValue::DurationMillisecond(Some(DELAY));
    let candidate = Arc::new(BinaryExpr::new(
        Arc::new(Column::new("c1", 1)),
        datafusion::logical_expr::Operator::Minus,
        Arc::new(Literal::new(delay)),
    ));
    let watermark = WatermarkAssigner::new(1, "ts".into(), candidate, false, 200);
    if way != Way::Copies {
        return Chain::new(vec![Box::new(watermark)]);
    }
    let windows = WindowAssigner {
        column: 1,
        windows: way.windows(),
        zone: None,
        schema: schema(true),
    };
    Chain::new(vec![Box::new(watermark), Box::new(windows)])
}

fn aggregate(way: Way) -> Chain {
    let value = || vec![Arc::new(Column::new("c2", 2)) as _];
    let call = |function, args: Vec<_>, distinct| Call {
        function,
        arg_types: args.iter().map(|_| DataType::Int64).collect(),
        args,
        distinct,
        filter: None,
    };
    let calls = vec![
        call(Function::Count, Vec::new(), false),
        call(Function::Sum, value(), false),
        call(Function::Max, value(), false),
        call(Function::Count, value(), true),
    ];
    let time = DataType::Timestamp(TimeUnit::Millisecond, None);
    let mut fields = vec![
        Field::new("c0", time.clone(), true),
        Field::new("c1", time, true),
        Field::new("c2", DataType::Utf8, true),
    ];
    fields.extend((3..7).map(|index| Field::new(format!("c{index}"), DataType::Int64, true)));
    let plan = Plan {
        keys: way.keys().to_vec(),
        window_end: (way == Way::Copies).then_some(1),
        zone: None,
        calls,
        schema: Arc::new(Schema::new(fields)),
        slices: None,
    };
    if way == Way::Copies {
        return Chain::new(vec![Box::new(Aggregate::new(plan).unwrap())]);
    }
    let slices = Slices {
        time: 1,
        windows: way.windows(),
        layout: vec![Part::Start, Part::End, Part::Key(0)],
    };
    Chain::new(vec![Box::new(SlicedAggregate::new(plan, slices).unwrap())])
}

type Results = BTreeMap<(i64, i64, String), (i64, Option<i64>, Option<i64>, i64)>;

fn collect(results: &mut Results, events: Vec<Event>) {
    for event in events {
        let Event::Rows(rows) = event else { continue };
        let columns = rows.batch.columns();
        let int = |column: usize, row: usize| {
            let array = columns[column].as_primitive::<Int64Type>();
            arrow::array::Array::is_valid(array, row).then(|| array.value(row))
        };
        for row in 0..rows.len() {
            let start = columns[0].as_primitive::<TimestampMillisecondType>().value(row);
            let end = columns[1].as_primitive::<TimestampMillisecondType>().value(row);
            let key = columns[2].as_string::<i32>().value(row).to_owned();
            let values = (int(3, row).unwrap(), int(4, row), int(5, row), int(6, row).unwrap());
            assert!(
                results.insert((start, end, key), values).is_none(),
                "a window fired twice"
            );
        }
    }
}

/// Row by row, as the definition says.
fn reference(way: Way, rows: &[Row]) -> (Results, u64) {
    let mut windows: BTreeMap<(i64, i64, String), Vec<Option<i64>>> = BTreeMap::new();
    let (mut largest, mut emitted, mut late) = (0, 0, 0);
    for (key, time, value) in rows {
        let mut missed = 0;
        let mut all = 0;
        way.windows().assign(*time, |start, end| {
            all += 1;
            if emitted != 0 && emitted >= end - 1 {
                missed += 1;
            } else {
                windows.entry((start, end, format!("k{key}"))).or_default().push(*value);
            }
        });
        // A copy is late by itself, a row of slices when its last window has fired.
        late += match way {
            Way::Copies => missed,
            _ => u64::from(missed == all),
        };
        largest = largest.max(time - DELAY);
        if largest - emitted > 200 {
            emitted = largest;
        }
    }
    let result = |values: Vec<Option<i64>>| {
        let there: Vec<i64> = values.iter().flatten().copied().collect();
        let sum = (!there.is_empty()).then(|| there.iter().sum());
        let distinct: std::collections::BTreeSet<&i64> = there.iter().collect();
        (
            values.len() as i64,
            sum,
            there.iter().max().copied(),
            distinct.len() as i64,
        )
    };
    (
        windows.into_iter().map(|(key, values)| (key, result(values))).collect(),
        late,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]
    #[test]
    fn windows_are_those_of_the_reference_however_cut_snapshot_and_spread(
        rows in proptest::collection::vec((0_u8..4, 0_i64..6_000, proptest::option::of(-3_i64..4)), 0..120),
        cut in 1_usize..30,
        before in 1_u32..4,
        after in 1_u32..4,
        moved in 0_usize..6,
        way in prop_oneof![Just(Way::Copies), Just(Way::Slices), Just(Way::CumulatedSlices)],
    ) {
        let mut source = front(way);
        let mut tasks: Vec<Chain> = (0..before).map(|_| aggregate(way)).collect();
        let mut results = Results::new();
        let mut feed = |tasks: &mut Vec<Chain>, events: Vec<Event>| {
            for event in events {
                match event {
                    Event::Rows(rows) => {
                        let parts = partition(&rows, way.keys(), tasks.len() as u32).unwrap();
                        for (task, part) in tasks.iter_mut().zip(parts) {
                            collect(&mut results, task.on_event(Event::Rows(part)).unwrap());
                        }
                    }
                    other => tasks.iter_mut().for_each(|task| {
                        collect(&mut results, task.on_event(other.clone()).unwrap());
                    }),
                }
            }
        };
        for (number, rows) in rows.chunks(cut).enumerate() {
            if number == moved {
                // The job is restored from its snapshot with another parallelism.
                let snapshots: Vec<_> = tasks.iter().map(|task| task.snapshot().unwrap()).collect();
                tasks = (0..after)
                    .map(|subtask| {
                        let mut task = aggregate(way);
                        let keep = |keys: &[arrow::array::ArrayRef]| key_group_filter(keys, subtask, after);
                        task.restore(&snapshots, &keep, subtask == 0).unwrap();
                        task
                    })
                    .collect();
                let snapshot = [source.snapshot().unwrap()];
                source = front(way);
                source.restore(&snapshot, &|_| unreachable!(), true).unwrap();
            }
            let events = source.on_event(Event::Rows(Rows::new(batch(rows), 0))).unwrap();
            feed(&mut tasks, events);
        }
        let events = source.on_event(Event::End).unwrap();
        feed(&mut tasks, events);
        let late: u64 = tasks.iter().map(|task| task.counters().late_rows).sum();
        prop_assert_eq!((results, late), reference(way, &rows));
    }
}

#[test]
fn a_null_time_fails_the_job() {
    let mut source = front(Way::Copies);
    let rows = batch(&[(1, 5, None)]);
    let nulls = RecordBatch::try_new(
        schema(false),
        vec![
            rows.column(0).clone(),
            arrow::array::new_null_array(schema(false).field(1).data_type(), 1),
            rows.column(2).clone(),
        ],
    )
    .unwrap();
    let both = concat_batches(&schema(false), [&rows, &nulls]).unwrap();
    let error = source.on_event(Event::Rows(Rows::new(both, 0))).unwrap_err();
    assert_eq!(error.kind(), "runtime");
    assert!(error.message().contains("'ts' should not be null"), "{error}");
}
