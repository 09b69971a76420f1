//! What is reached, and what is not.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, Int32Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, Literal};
use proptest::prelude::*;

use super::*;

fn column(index: usize) -> Expr {
    Arc::new(Column::new(&format!("c{index}"), index))
}

fn number(value: i32) -> Expr {
    Arc::new(Literal::new(ScalarValue::Int32(Some(value))))
}

fn binary(left: Expr, op: Operator, right: Expr) -> Expr {
    Arc::new(BinaryExpr::new(left, op, right))
}

/// `c0 / c1`, which fails where `c1` is 0.
fn quotient() -> Expr {
    Arc::new(Quotient::new(column(0), Operator::Divide, column(1), DataType::Int32))
}

fn batch(rows: &[(Option<i32>, Option<i32>)]) -> RecordBatch {
    let fields = vec![
        Field::new("c0", DataType::Int32, true),
        Field::new("c1", DataType::Int32, true),
    ];
    let (a, b): (Vec<_>, Vec<_>) = rows.iter().copied().unzip();
    RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        vec![Arc::new(Int32Array::from(a)), Arc::new(Int32Array::from(b))],
    )
    .unwrap()
}

fn evaluated(expr: &Expr, batch: &RecordBatch) -> arrow::array::ArrayRef {
    let rows = batch.num_rows();
    expr.evaluate(batch).unwrap().into_array(rows).unwrap()
}

fn truths(expr: &Expr, batch: &RecordBatch) -> Vec<Option<bool>> {
    evaluated(expr, batch).as_boolean().iter().collect()
}

#[test]
fn a_guard_keeps_rows_from_what_would_fail() {
    let rows = batch(&[
        (Some(10), Some(0)),
        (Some(10), Some(2)),
        (Some(1), Some(1)),
        (None, Some(0)),
    ]);
    let guard = |op| binary(column(1), op, number(0));
    let large = || binary(quotient(), Operator::Gt, number(2));
    let both = Junction::and(guard(Operator::NotEq), large());
    assert_eq!(
        truths(&both, &rows),
        [Some(false), Some(true), Some(false), Some(false)]
    );
    let either = Junction::of(Kind::Or, [guard(Operator::Eq), large()]);
    assert_eq!(
        truths(&either, &rows),
        [Some(true), Some(true), Some(false), Some(true)]
    );
    let chosen: Expr = Arc::new(Choice::new(
        vec![(guard(Operator::Eq), number(-1))],
        Some(quotient()),
        DataType::Int32,
    ));
    let chosen = evaluated(&chosen, &rows);
    let values: Vec<_> = chosen.as_primitive::<Int32Type>().iter().collect();
    assert_eq!(values, [Some(-1), Some(5), Some(1), Some(-1)]);
    // In the other order the first row fails.
    let unguarded = Junction::and(large(), guard(Operator::NotEq));
    assert!(unguarded.evaluate(&rows).is_err());
    // NULL by zero is NULL, as a row of Flink's has it.
    assert!(evaluated(&quotient(), &batch(&[(None, Some(0))])).is_null(0));
}

#[test]
fn a_projection_goes_into_another_unless_it_would_grow_too_large() {
    let inner = [quotient(), column(1)];
    let outer = binary(column(0), Operator::Plus, column(1));
    let merged = inline(&[&outer], &inner).unwrap();
    assert_eq!(columns_of(&merged[0]).into_iter().collect::<Vec<_>>(), [0, 1]);
    assert_eq!(size(&merged[0]), 5);
    let mut large = vec![quotient()];
    for _ in 0..20 {
        let doubled = binary(column(0), Operator::Plus, column(0));
        match inline(&[&doubled], &large) {
            Some(next) => large = next,
            None => return,
        }
    }
    panic!("an expression doubled twenty times");
}

proptest! {
    /// Three-valued logic row by row, whatever is computed for which rows.
    #[test]
    fn junctions_are_those_of_the_definition(
        rows in proptest::collection::vec((proptest::option::of(0..3_i32), proptest::option::of(0..3_i32)), 1..40),
        is_and in any::<bool>(),
    ) {
        let batch = batch(&rows);
        let left = binary(column(1), Operator::NotEq, number(0));
        // Fails only for rows that the left side keeps away from it under AND; under OR it is made safe.
        let right = if is_and {
            binary(quotient(), Operator::Eq, number(1))
        } else {
            binary(column(0), Operator::Eq, number(1))
        };
        let kind = if is_and { Kind::And } else { Kind::Or };
        let got = truths(&Junction::of(kind, [left, right]), &batch);
        let wanted: Vec<Option<bool>> = rows
            .iter()
            .map(|(a, b)| {
                let left = b.map(|b| b != 0);
                let right = if is_and {
                    match (a, b) {
                        (Some(a), Some(b)) if *b != 0 => Some(a / b == 1),
                        _ => None,
                    }
                } else {
                    a.map(|a| a == 1)
                };
                match (is_and, left, right) {
                    (true, Some(false), _) | (true, _, Some(false)) => Some(false),
                    (true, Some(true), Some(true)) => Some(true),
                    (false, Some(true), _) | (false, _, Some(true)) => Some(true),
                    (false, Some(false), Some(false)) => Some(false),
                    _ => None,
                }
            })
            .collect();
        prop_assert_eq!(got, wanted);
    }

    #[test]
    fn texts_compare_by_their_utf16_units(left in ".{0,6}", right in ".{0,6}") {
        let units = |text: &str| text.encode_utf16().collect::<Vec<_>>();
        prop_assert_eq!(utf16_order(&left, &right), units(&left).cmp(&units(&right)));
    }
}

#[test]
fn nan_is_equal_to_nothing_and_zeros_are_equal() {
    use arrow::array::Float64Array;
    let fields = vec![
        Field::new("c0", DataType::Float64, true),
        Field::new("c1", DataType::Float64, true),
    ];
    let left = Float64Array::from(vec![Some(f64::NAN), Some(0.0), Some(1.0), None]);
    let right = Float64Array::from(vec![f64::NAN, -0.0, f64::NAN, 1.0]);
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![Arc::new(left), Arc::new(right)]).unwrap();
    let compared = |op| -> BooleanArray {
        let expr: Expr = Arc::new(Comparison::new(column(0), op, column(1)));
        evaluated(&expr, &batch).as_boolean().clone()
    };
    let of = |values: [Option<bool>; 4]| BooleanArray::from(values.to_vec());
    assert_eq!(compared(Operator::Eq), of([Some(false), Some(true), Some(false), None]));
    assert_eq!(
        compared(Operator::NotEq),
        of([Some(true), Some(false), Some(true), None])
    );
    assert_eq!(
        compared(Operator::Lt),
        of([Some(false), Some(false), Some(false), None])
    );
    assert_eq!(
        compared(Operator::IsDistinctFrom),
        of([Some(true), Some(false), Some(true), Some(true)])
    );
}
