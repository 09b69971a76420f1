//! Operators over changelogs against references that know no changes: what is left of the output is what the final inputs give.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array, RecordBatch, TimestampMillisecondArray};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use datafusion::logical_expr::Operator as Op;
use datafusion::physical_expr::expressions::{BinaryExpr, Column};
use proptest::prelude::*;

use super::accumulator::Function;
use super::aggregate::Call;
use super::join::{self, Join, JoinKind};
use super::over::{self, Over, Start};
use super::rank::{self, Rank, Ties};
use super::set_operation::{self, SetKind, SetOperation};
use super::{Chain, Event, Fold, Operator, Rows};
use crate::graph::key_group_filter;
use crate::table::RowKind;

/// Key and value; the key may be NULL.
type Row = (Option<i64>, i64);
type Shown = Vec<Option<i64>>;
/// Side, whether the row is added, the row.
type Change = (u8, bool, Row);
/// Side, whether a row is added, else which one is deleted, the row.
type Step = (bool, bool, usize, Row);

fn schema(width: usize) -> SchemaRef {
    let field = |index| Field::new(format!("c{index}"), DataType::Int64, true);
    Arc::new(Schema::new((0..width).map(field).collect::<Vec<_>>()))
}

fn rows(side: u8, changes: &[(bool, Row)]) -> Event {
    let keys: Int64Array = changes.iter().map(|(_, row)| row.0).collect();
    let values: Int64Array = changes.iter().map(|(_, row)| Some(row.1)).collect();
    let batch = RecordBatch::try_new(schema(2), vec![Arc::new(keys), Arc::new(values)]).unwrap();
    let kinds = changes
        .iter()
        .map(|(adds, _)| if *adds { RowKind::Insert } else { RowKind::Delete });
    Event::Rows(Rows {
        side,
        ..Rows::new(batch, 0).with(kinds.collect())
    })
}

/// Applies events to a multiset; nothing may be taken back that is not there.
fn fold(result: &mut BTreeMap<Shown, usize>, events: &[Event]) {
    for event in events {
        let Event::Rows(rows) = event else { continue };
        for row in 0..rows.len() {
            let value = |column: &Arc<dyn Array>| {
                let column = column.as_primitive::<Int64Type>();
                column.is_valid(row).then(|| column.value(row))
            };
            let shown: Shown = rows.batch.columns().iter().map(value).collect();
            if rows.kinds.at(row).adds() {
                *result.entry(shown).or_default() += 1;
            } else {
                let count = result.get_mut(&shown).expect("a row is taken back that was not there");
                *count -= 1;
                if *count == 0 {
                    result.remove(&shown);
                }
            }
        }
    }
}

/// Each side's changes, such that only what is there is deleted: a step is (side, add, choice, row).
fn history(steps: &[Step]) -> (Vec<Change>, [Vec<Row>; 2]) {
    let mut sides: [Vec<Row>; 2] = [Vec::new(), Vec::new()];
    let mut changes = Vec::new();
    for (side, adds, choice, row) in steps {
        let rows = &mut sides[usize::from(*side)];
        if *adds || rows.is_empty() {
            rows.push(*row);
            changes.push((u8::from(*side), true, *row));
        } else {
            let row = rows.remove(choice % rows.len());
            changes.push((u8::from(*side), false, row));
        }
    }
    (changes, sides)
}

/// Runs changes through an operator, in batches, over a snapshot in the middle.
fn run(make: &dyn Fn() -> Box<dyn Operator>, changes: &[Change], batch: usize) -> BTreeMap<Shown, usize> {
    let mut operator = Chain::new(vec![make()]);
    let mut result = BTreeMap::new();
    let mut done = 0;
    let mut restored = false;
    while done < changes.len() {
        if !restored && done * 2 >= changes.len() {
            let snapshot = operator.snapshot().unwrap();
            operator = Chain::new(vec![make()]);
            let keep = |keys: &[Arc<dyn Array>]| key_group_filter(keys, 0, 1);
            operator.restore(&[snapshot], &keep, true).unwrap();
            restored = true;
        }
        let side = changes[done].0;
        let same = changes[done..].iter().take(batch).take_while(|change| change.0 == side);
        let part: Vec<(bool, Row)> = same.map(|(_, adds, row)| (*adds, *row)).collect();
        done += part.len();
        fold(&mut result, &operator.on_event(rows(side, &part)).unwrap());
    }
    fold(&mut result, &operator.on_event(Event::End).unwrap());
    result
}

fn counted(rows: impl IntoIterator<Item = Shown>) -> BTreeMap<Shown, usize> {
    let mut counts = BTreeMap::new();
    rows.into_iter().for_each(|row| *counts.entry(row).or_default() += 1);
    counts
}

/// The join of final inputs, pair by pair.
fn joined(kind: JoinKind, left: &[Row], right: &[Row], condition: bool) -> Vec<Shown> {
    let pairs = |a: &Row, b: &Row| a.0.is_some() && a.0 == b.0 && (!condition || a.1 < b.1);
    let mut result = Vec::new();
    for a in left {
        let partners: Vec<&Row> = right.iter().filter(|b| pairs(a, b)).collect();
        let alone = partners.is_empty();
        match kind {
            JoinKind::Semi if !alone => result.push(vec![a.0, Some(a.1)]),
            JoinKind::Anti if alone => result.push(vec![a.0, Some(a.1)]),
            JoinKind::Semi | JoinKind::Anti => {}
            _ => result.extend(partners.iter().map(|b| vec![a.0, Some(a.1), b.0, Some(b.1)])),
        }
        if alone && matches!(kind, JoinKind::Left | JoinKind::Full) {
            result.push(vec![a.0, Some(a.1), None, None]);
        }
    }
    if matches!(kind, JoinKind::Right | JoinKind::Full) {
        let alone = right.iter().filter(|b| !left.iter().any(|a| pairs(a, b)));
        result.extend(alone.map(|b| vec![None, None, b.0, Some(b.1)]));
    }
    result
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let row = (prop::option::weighted(0.9, 0_i64..3), 0_i64..4);
    prop::collection::vec((any::<bool>(), prop::bool::weighted(0.65), any::<usize>(), row), 0..60)
}

const KINDS: [JoinKind; 6] = [
    JoinKind::Inner,
    JoinKind::Left,
    JoinKind::Right,
    JoinKind::Full,
    JoinKind::Semi,
    JoinKind::Anti,
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_join_of_changelogs_is_the_join_of_their_final_rows(steps in steps(), batch in 1_usize..6, condition: bool) {
        let (changes, [left, right]) = history(&steps);
        for kind in KINDS {
            let less = BinaryExpr::new(Arc::new(Column::new("c1", 1)), Op::Lt, Arc::new(Column::new("c3", 3)));
            let plan = join::Plan {
                kind,
                keys: [vec![0], vec![0]],
                null_safe: vec![false],
                condition: condition.then(|| Arc::new(less.clone()) as _),
                inputs: [schema(2), schema(2)],
                schema: schema(if kind.is_one_sided() { 2 } else { 4 }),
                window: None,
            };
            let result = run(&|| Box::new(Join::new(plan.clone()).unwrap()), &changes, batch);
            prop_assert_eq!(result, counted(joined(kind, &left, &right, condition)), "{:?}", kind);
        }
    }

    #[test]
    fn a_top_n_of_a_changelog_is_that_of_its_final_rows(steps in steps(), batch in 1_usize..6, from in 1_u64..3, len in 0_u64..3, numbered: bool) {
        let steps: Vec<_> = steps.into_iter().map(|(_, adds, choice, row)| (false, adds, choice, row)).collect();
        let (changes, [rows, _]) = history(&steps);
        let range = (from, from + len);
        let plan = rank::Plan {
            partition: vec![0],
            order: vec![(1, SortOptions { descending: true, nulls_first: false })],
            ties: Ties::FirstFirst,
            range,
            numbered,
            input: schema(2),
            schema: schema(if numbered { 3 } else { 2 }),
            retracts: true,
            window: None,
        };
        let result = run(&|| Box::new(Rank::new(plan.clone()).unwrap()), &changes, batch);
        let mut partitions: BTreeMap<Option<i64>, Vec<i64>> = BTreeMap::new();
        rows.iter().for_each(|row| partitions.entry(row.0).or_default().push(row.1));
        let mut expected = Vec::new();
        for (key, mut values) in partitions {
            values.sort_by(|a, b| b.cmp(a));
            for (number, value) in (1..).zip(values) {
                if (range.0..=range.1).contains(&number) {
                    let mut shown = vec![key, Some(value)];
                    shown.extend(numbered.then_some(Some(number as i64)));
                    expected.push(shown);
                }
            }
        }
        prop_assert_eq!(result, counted(expected));
    }

    #[test]
    fn set_operations_count_rows_on_both_sides(steps in steps(), batch in 1_usize..6) {
        let (changes, [left, right]) = history(&steps);
        let count = |rows: &[Row]| counted(rows.iter().map(|row| vec![row.0, Some(row.1)]));
        let (left, right) = (count(&left), count(&right));
        for kind in [
            SetKind::Intersect { all: true },
            SetKind::Intersect { all: false },
            SetKind::Except { all: true },
            SetKind::Except { all: false },
        ] {
            let plan = set_operation::Plan { kind, schema: schema(2) };
            let result = run(&|| Box::new(SetOperation::new(plan.clone()).unwrap()), &changes, batch);
            let mut expected = BTreeMap::new();
            for (row, a) in &left {
                let b = right.get(row).copied().unwrap_or(0);
                let times = match kind {
                    SetKind::Intersect { all: true } => *a.min(&b),
                    SetKind::Intersect { all: false } => usize::from(b > 0),
                    SetKind::Except { all: true } => a.saturating_sub(b),
                    SetKind::Except { all: false } => usize::from(b == 0),
                };
                if times > 0 {
                    expected.insert(row.clone(), times);
                }
            }
            prop_assert_eq!(result, expected, "{:?}", kind);
        }
    }

    #[test]
    fn over_sees_the_frame_of_each_row(steps in steps(), batch in 1_usize..6, way in 0_usize..6) {
        let (start, peers) = [
            (Start::Partition, false),
            (Start::Partition, true),
            (Start::Rows(2), false),
            (Start::Rows(0), false),
            (Start::Millis(1), true),
            (Start::Millis(0), true),
        ][way];
        // Time is the value; rows of the same time come in one batch, as the sort hands them on.
        let mut rows: Vec<Row> = steps.into_iter().map(|(.., row)| row).collect();
        rows.sort_by_key(|row| row.1);
        let call = |function| Call {
            function,
            args: vec![Arc::new(Column::new("c0", 0)) as _],
            arg_types: vec![DataType::Int64],
            distinct: false,
            filter: None,
        };
        let time = DataType::Timestamp(arrow::datatypes::TimeUnit::Millisecond, None);
        let input = Arc::new(Schema::new(vec![
            Field::new("c0", DataType::Int64, true),
            Field::new("c1", time.clone(), true),
        ]));
        let mut fields: Vec<Field> = input.fields().iter().map(|field| field.as_ref().clone()).collect();
        fields.extend(["c2", "c3"].map(|name| Field::new(name, DataType::Int64, true)));
        let plan = over::Plan {
            partition: vec![0],
            time: Some(1),
            start,
            peers,
            calls: vec![call(Function::Sum), call(Function::Count)],
            input: Arc::clone(&input),
            schema: Arc::new(Schema::new(fields)),
        };
        let mut operator = Over::new(plan.clone()).unwrap();
        let mut got = Vec::new();
        let mut done = 0;
        while done < rows.len() {
            let mut to = (done + batch).min(rows.len());
            while to < rows.len() && rows[to].1 == rows[to - 1].1 {
                to += 1;
            }
            let part = &rows[done..to];
            done = to;
            let keys: Int64Array = part.iter().map(|row| row.0).collect();
            let times: TimestampMillisecondArray = part.iter().map(|row| Some(row.1)).collect();
            let rows = RecordBatch::try_new(Arc::clone(&input), vec![Arc::new(keys), Arc::new(times)]).unwrap();
            let mut out = Vec::new();
            operator.on_event(Event::Rows(Rows::new(rows, 0)), &mut out).unwrap();
            for event in out {
                let Event::Rows(rows) = event else { continue };
                let column = |index: usize| rows.batch.column(index).as_primitive::<Int64Type>().clone();
                let (sums, counts) = (column(2), column(3));
                got.extend((0..rows.len()).map(|row| (sums.is_valid(row).then(|| sums.value(row)), counts.value(row))));
            }
            let snapshot = operator.snapshot().unwrap();
            operator = Over::new(plan.clone()).unwrap();
            operator.restore(&[snapshot], &|keys| key_group_filter(keys, 0, 1), true).unwrap();
        }
        let expected: Vec<(Option<i64>, i64)> = (0..rows.len())
            .map(|at| {
                let own: Vec<usize> = (0..rows.len()).filter(|other| rows[*other].0 == rows[at].0).collect();
                let place = own.iter().position(|other| *other == at).unwrap();
                let frame = own.iter().enumerate().filter(|(number, other)| {
                    let begins = match start {
                        Start::Partition => true,
                        Start::Rows(n) => number + n as usize >= place,
                        Start::Millis(millis) => rows[**other].1 >= rows[at].1 - millis,
                    };
                    begins && (*number <= place || peers && rows[**other].1 == rows[at].1)
                });
                let values: Vec<i64> = frame.filter_map(|(_, other)| rows[*other].0).collect();
                ((!values.is_empty()).then(|| values.iter().sum()), values.len() as i64)
            })
            .collect();
        prop_assert_eq!(got, expected);
    }

    #[test]
    fn folding_a_changelog_gives_its_final_rows(steps in steps(), batch in 1_usize..6) {
        let steps: Vec<_> = steps.into_iter().map(|(_, adds, choice, row)| (false, adds, choice, row)).collect();
        let (changes, [rows, _]) = history(&steps);
        let result = run(&|| Box::new(Fold::new(&schema(2)).unwrap()), &changes, batch);
        prop_assert_eq!(result, counted(rows.iter().map(|row| vec![row.0, Some(row.1)])));
    }
}

#[test]
fn the_last_of_two_rows_with_one_time_wins_a_deduplication() {
    let plan = |ties| rank::Plan {
        partition: vec![],
        order: vec![(
            0,
            SortOptions {
                descending: true,
                nulls_first: false,
            },
        )],
        ties,
        range: (1, 1),
        numbered: false,
        input: schema(2),
        schema: schema(2),
        retracts: false,
        window: None,
    };
    let changes = [
        (0, true, (Some(5), 1)),
        (0, true, (Some(5), 2)),
        (0, true, (Some(4), 3)),
    ];
    for (ties, value) in [(Ties::FirstFirst, 1), (Ties::LastFirst, 2)] {
        let result = run(&|| Box::new(Rank::new(plan(ties)).unwrap()), &changes, 2);
        assert_eq!(result, counted([vec![Some(5), Some(value)]]));
    }
}
