//! Flink's scalar functions, by Flink's names and with Flink's results.
//!
//! A [`Function`] is a row of a table: names, kinds of arguments, type of the result, and how one row is computed. What it
//! computes with are SQL values read from Arrow arrays and written into a growing column, so a batch costs one dispatch a
//! row and no row object. [`scalar`] wraps one as a DataFusion function; the binder has already lowered special syntax
//! (`EXTRACT(u FROM x)`, `TRIM(BOTH …)`) to plain calls. [`cast`] is CAST and TRY_CAST.
//!
//! A call that does not fit is refused when the statement is bound; a row that fails ends the job. Operators on numbers,
//! comparisons, CASE and its kin are the binder's; aggregates are the operators'. A name that is not in the tables is
//! unknown to us, and the binder says so.

mod arguments;
mod cast;
mod collection;
mod encoding;
mod java_regex;
mod json;
mod math;
mod pattern;
mod regex;
mod string;
mod temporal;
mod text_check;
mod url;
mod zone;

use std::cell::Cell;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::time::Zone;
use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result as PlanResult, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

use crate::format::column::Column;
use crate::format::view::{Value, View};

pub use cast::{Length, can_cast, cast};

/// What functions know of the session that calls them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SessionFacts {
    /// `table.local-time-zone`.
    pub zone: Zone,
    /// The time of the statement, in milliseconds since 1970.
    pub now_ms: i64,
    /// Where RAND, UUID and CURRENT_ROW_TIMESTAMP have their values from.
    pub outside: Outside,
}

/// What is new in every row; handed in, so that this room needs neither clock nor chance.
#[derive(Clone, Copy)]
pub struct Outside {
    /// Second since 1970 and nanosecond.
    pub now: fn() -> (i64, u32),
    /// Any of all numbers, each as likely.
    pub random: fn() -> u64,
}

impl Outside {
    /// For conversions, which use neither.
    pub const FIXED: Self = Self {
        now: || (0, 0),
        random: || 0,
    };
}

impl std::fmt::Debug for Outside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Outside")
    }
}

/// To a plan one source of clock and randomness is as good as another: two calls are equal if all else is.
impl PartialEq for Outside {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Outside {}

impl Hash for Outside {
    fn hash<H: Hasher>(&self, _state: &mut H) {}
}

thread_local! {
    static ROW_TIME: Cell<Option<(i64, u32)>> = const { Cell::new(None) };
}

/// The rows that are computed next have a time of their own.
pub fn next_rows() {
    ROW_TIME.set(None);
}

/// The time of the rows that are being computed: what `now` says when it is first asked for.
fn row_time(now: fn() -> (i64, u32)) -> (i64, u32) {
    ROW_TIME.get().unwrap_or_else(|| {
        let time = now();
        ROW_TIME.set(Some(time));
        time
    })
}

/// Why a row has no result.
type Failure = String;

/// What a call keeps from row to row.
struct Call<'a> {
    session: &'a SessionFacts,
    outside: Outside,
    regexes: regex::Cache,
}

/// Computes one row: appends exactly one value, or fails.
type Eval = fn(&mut Call<'_>, &[Value<'_>], &mut Column) -> Result<(), Failure>;

/// The type of the result for the types of the arguments.
type Returns = fn(&[DataType]) -> Result<DataType, Failure>;

/// A scalar function.
struct Function {
    names: &'static [&'static str],
    /// The kinds of its arguments, as [`arguments::check`] reads them.
    arguments: &'static str,
    returns: Returns,
    eval: Eval,
    /// A null among the arguments makes the result null, without a call.
    null_in_null_out: bool,
    volatile: bool,
}

impl Function {
    const fn new(names: &'static [&'static str], arguments: &'static str, returns: Returns, eval: Eval) -> Self {
        Self {
            names,
            arguments,
            returns,
            eval,
            null_in_null_out: true,
            volatile: false,
        }
    }

    /// It wants to see nulls.
    const fn with_nulls(self) -> Self {
        Self {
            null_in_null_out: false,
            ..self
        }
    }

    /// Each row has a result of its own.
    const fn volatile(self) -> Self {
        Self { volatile: true, ..self }
    }
}

/// All functions, by the room that keeps them.
const TABLES: [&[Function]; 9] = [
    string::FUNCTIONS,
    text_check::FUNCTIONS,
    regex::FUNCTIONS,
    encoding::FUNCTIONS,
    url::FUNCTIONS,
    math::FUNCTIONS,
    temporal::FUNCTIONS,
    collection::FUNCTIONS,
    json::FUNCTIONS,
];

/// The function of an upper-case name.
pub fn scalar(name: &str, session: &SessionFacts) -> Option<Arc<ScalarUDF>> {
    let function = TABLES
        .iter()
        .flat_map(|table| table.iter())
        .find(|function| function.names.contains(&name))?;
    Some(Arc::new(ScalarUDF::from(Called::new(function, session))))
}

/// A function as DataFusion calls it.
struct Called {
    function: &'static Function,
    session: SessionFacts,
    signature: Signature,
}

impl Called {
    fn new(function: &'static Function, session: &SessionFacts) -> Self {
        let volatility = if function.volatile {
            Volatility::Volatile
        } else {
            Volatility::Immutable
        };
        Self {
            function,
            session: session.clone(),
            // Also without arguments: VariadicAny alone wants one at least.
            signature: Signature::one_of(vec![TypeSignature::VariadicAny, TypeSignature::Nullary], volatility),
        }
    }
}

impl std::fmt::Debug for Called {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.function.names[0])
    }
}

impl PartialEq for Called {
    fn eq(&self, other: &Self) -> bool {
        self.function.names == other.function.names && self.session == other.session
    }
}

impl Eq for Called {}

impl Hash for Called {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.names[0].hash(state);
    }
}

impl ScalarUDFImpl for Called {
    fn name(&self) -> &str {
        self.function.names[0]
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> PlanResult<DataType> {
        arguments::check(self.function.names[0], self.function.arguments, types)
            .and_then(|()| (self.function.returns)(types))
            .map_err(DataFusionError::Plan)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        let mut call = Call {
            session: &self.session,
            outside: self.session.outside,
            regexes: regex::Cache::default(),
        };
        let eval = |values: &[Value<'_>], column: &mut Column| {
            if self.function.null_in_null_out && values.iter().any(|value| matches!(value, Value::Null)) {
                column.append_null();
                return Ok(());
            }
            (self.function.eval)(&mut call, values, column)
        };
        let constant = !self.function.volatile;
        evaluate(&args, constant, eval)
    }
}

/// Calls `eval` for each row and collects its results; once, where all arguments are `constant` scalars.
fn evaluate(
    args: &ScalarFunctionArgs,
    constant: bool,
    mut eval: impl FnMut(&[Value<'_>], &mut Column) -> Result<(), Failure>,
) -> PlanResult<ColumnarValue> {
    let is_scalar = |arg: &ColumnarValue| matches!(arg, ColumnarValue::Scalar(_));
    let arrays: Vec<(ArrayRef, bool)> = args
        .args
        .iter()
        .map(|arg| match arg {
            ColumnarValue::Array(array) => Ok((array.clone(), false)),
            ColumnarValue::Scalar(scalar) => Ok((scalar.to_array()?, true)),
        })
        .collect::<PlanResult<_>>()?;
    let views: Vec<(View<'_>, bool)> = arrays
        .iter()
        .map(|(array, scalar)| Ok((View::new(array).map_err(external)?, *scalar)))
        .collect::<PlanResult<_>>()?;
    let once = constant && args.args.iter().all(is_scalar);
    let rows = if once { 1 } else { args.number_rows };
    let mut column = Column::new(args.return_type()).map_err(external)?;
    let mut values = Vec::with_capacity(views.len());
    for row in 0..rows {
        values.clear();
        values.extend(
            views
                .iter()
                .map(|(view, scalar)| view.value(if *scalar { 0 } else { row })),
        );
        eval(&values, &mut column).map_err(DataFusionError::Execution)?;
        debug_assert_eq!(column.len(), row + 1, "a function appends one value a row");
    }
    let result = column.finish().map_err(external)?;
    Ok(if once {
        ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?)
    } else {
        ColumnarValue::Array(result)
    })
}

fn external(error: crate::Error) -> DataFusionError {
    DataFusionError::Execution(error.message().to_owned())
}

#[cfg(test)]
mod tests;
