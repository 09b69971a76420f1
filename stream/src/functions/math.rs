//! Functions on numbers.

use std::cmp::Ordering;

use arrow::datatypes::{DataType, IntervalUnit};

use super::arguments::{as_double, as_int, common, double, first, int, text};
use super::string::{give_int, null};
use super::{Call, Failure, Function, cast, temporal};
use crate::expression::utf16_order;
use crate::format::column::Column;
use crate::format::number::{plain_decimal, power_of_ten, rescale};
use crate::format::view::Value;

pub const FUNCTIONS: &[Function] = &[
    Function::new(&["ABS"], "n", first, abs),
    Function::new(&["CEIL", "CEILING"], "a?s", rounded_type, |call, a, out| {
        match a.get(1) {
            Some(unit) => temporal::round_to(call, &a[0], unit, true, out),
            None => whole(out, &a[0], f64::ceil, true),
        }
    }),
    Function::new(&["FLOOR"], "a?s", rounded_type, |call, a, out| match a.get(1) {
        Some(unit) => temporal::round_to(call, &a[0], unit, false, out),
        None => whole(out, &a[0], f64::floor, false),
    }),
    Function::new(&["ROUND"], "n?i", first, |_, a, out| to_places(out, a, true)),
    Function::new(&["TRUNCATE"], "n?i", first, |_, a, out| to_places(out, a, false)),
    // Of a DECIMAL, with the type of the result behind: the binder knows it where the places are a constant.
    Function::new(&["ROUND_TO"], "nia", third, |_, a, out| to_places(out, a, true)).with_nulls(),
    Function::new(&["TRUNCATE_TO"], "nia", third, |_, a, out| to_places(out, a, false)).with_nulls(),
    // ROUND and TRUNCATE to places from a column, as text: the value has that scale.
    Function::new(&["ROUND_TEXT"], "ni", text, |_, a, out| places_text(out, a, true)),
    Function::new(&["TRUNCATE_TEXT"], "ni", text, |_, a, out| places_text(out, a, false)),
    Function::new(&["MOD"], "nn", modulo_type, modulo),
    Function::new(&["POWER"], "nn", double, |_, a, out| {
        give_double(out, as_double(&a[0]).powf(as_double(&a[1])))
    }),
    Function::new(&["SQRT"], "n", double, |_, a, out| {
        // As the power that Flink computes: the root of -Infinity is Infinity, that of -0.0 is 0.0.
        give_double(out, as_double(&a[0]).powf(0.5))
    }),
    Function::new(&["EXP"], "n", double, |_, a, out| {
        give_double(out, as_double(&a[0]).exp())
    }),
    Function::new(&["LN"], "n", double, |_, a, out| {
        give_double(out, as_double(&a[0]).ln())
    }),
    Function::new(&["LOG10"], "n", double, |_, a, out| {
        give_double(out, as_double(&a[0]).log10())
    }),
    Function::new(&["LOG2"], "n", double, |_, a, out| {
        give_double(out, as_double(&a[0]).ln() / 2f64.ln())
    }),
    Function::new(&["LOG"], "n?n", double, |_, a, out| match a {
        [base, value] => give_double(out, as_double(value).ln() / as_double(base).ln()),
        _ => give_double(out, as_double(&a[0]).ln()),
    }),
    Function::new(&["SIN"], "n", double, |_, a, out| {
        give_double(out, as_double(&a[0]).sin())
    }),
    Function::new(&["COS"], "n", double, |_, a, out| {
        give_double(out, as_double(&a[0]).cos())
    }),
    Function::new(&["TAN"], "n", double, |_, a, out| {
        give_double(out, as_double(&a[0]).tan())
    }),
    Function::new(&["COT"], "n", double, |_, a, out| {
        give_double(out, as_double(&a[0]).tan().recip())
    }),
    Function::new(&["ASIN"], "n", double, |_, a, out| {
        give_double(out, as_double(&a[0]).asin())
    }),
    Function::new(&["ACOS"], "n", double, |_, a, out| {
        give_double(out, as_double(&a[0]).acos())
    }),
    Function::new(&["ATAN"], "n", double, |_, a, out| {
        give_double(out, as_double(&a[0]).atan())
    }),
    Function::new(&["ATAN2"], "nn", double, |_, a, out| {
        give_double(out, as_double(&a[0]).atan2(as_double(&a[1])))
    }),
    Function::new(&["SINH"], "n", double, |_, a, out| {
        give_double(out, as_double(&a[0]).sinh())
    }),
    Function::new(&["COSH"], "n", double, |_, a, out| {
        give_double(out, as_double(&a[0]).cosh())
    }),
    Function::new(&["TANH"], "n", double, |_, a, out| {
        give_double(out, as_double(&a[0]).tanh())
    }),
    Function::new(&["DEGREES"], "n", double, |_, a, out| {
        give_double(out, as_double(&a[0]).to_degrees())
    }),
    Function::new(&["RADIANS"], "n", double, |_, a, out| {
        give_double(out, as_double(&a[0]).to_radians())
    }),
    Function::new(&["SIGN"], "n", first, sign),
    Function::new(&["PI"], "", double, |_, _, out| give_double(out, std::f64::consts::PI)),
    Function::new(&["E"], "", double, |_, _, out| give_double(out, std::f64::consts::E)),
    Function::new(&["RAND"], "?i", double, |call, a, out| {
        // The upper 53 bits: all doubles of one distance below 1.
        give_double(out, (random(call, a.first()) >> 11) as f64 / (1u64 << 53) as f64)
    })
    .volatile(),
    Function::new(&["RAND_INTEGER"], "i?i", int, rand_integer).volatile(),
    Function::new(&["GREATEST"], "a*", common, |call, a, out| {
        extreme(call, a, out, Ordering::Greater)
    }),
    Function::new(&["LEAST"], "a*", common, |call, a, out| {
        extreme(call, a, out, Ordering::Less)
    }),
];

fn give_double(out: &mut Column, value: f64) -> Result<(), Failure> {
    if !out.append_value(Value::Double(value)) {
        out.append_null();
    }
    Ok(())
}

fn give_value(out: &mut Column, value: Value<'_>) -> Result<(), Failure> {
    if !out.append_value(value) {
        out.append_null();
    }
    Ok(())
}

fn abs(_: &mut Call<'_>, a: &[Value<'_>], out: &mut Column) -> Result<(), Failure> {
    give_value(
        out,
        match a[0] {
            // The least number stays itself when its type is appended, as in Java.
            Value::Integer(value) => Value::Integer(value.wrapping_abs()),
            Value::Float(value) => Value::Float(value.abs()),
            Value::Double(value) => Value::Double(value.abs()),
            Value::Decimal { unscaled, scale } => Value::Decimal {
                unscaled: unscaled.abs(),
                scale,
            },
            other => other,
        },
    )
}

fn sign(_: &mut Call<'_>, a: &[Value<'_>], out: &mut Column) -> Result<(), Failure> {
    give_value(
        out,
        match a[0] {
            Value::Integer(value) => Value::Integer(value.signum()),
            Value::Float(value) if value == 0.0 || value.is_nan() => Value::Float(value),
            Value::Float(value) => Value::Float(value.signum()),
            Value::Double(value) if value == 0.0 || value.is_nan() => Value::Double(value),
            Value::Double(value) => Value::Double(value.signum()),
            Value::Decimal { unscaled, .. } => Value::Decimal {
                unscaled: unscaled.signum(),
                scale: 0,
            },
            other => other,
        },
    )
}

/// Rounding to a unit keeps the type; so does rounding a number, but that a decimal loses its scale.
fn rounded_type(types: &[DataType]) -> Result<DataType, Failure> {
    match types {
        [DataType::Decimal128(precision, _)] => Ok(DataType::Decimal128(*precision, 0)),
        [number] if number.is_numeric() || number.is_null() => first(types),
        [
            DataType::Date32
            | DataType::Time32(_)
            | DataType::Timestamp(..)
            | DataType::Interval(IntervalUnit::MonthDayNano)
            | DataType::Null,
            DataType::Utf8,
        ] => first(types),
        _ => Err("CEIL and FLOOR take a number, or a date or timestamp TO a unit.".to_owned()),
    }
}

fn whole(out: &mut Column, value: &Value<'_>, round: fn(f64) -> f64, up: bool) -> Result<(), Failure> {
    give_value(
        out,
        match *value {
            Value::Float(value) => Value::Float(round(f64::from(value)) as f32),
            Value::Double(value) => Value::Double(round(value)),
            Value::Decimal { unscaled, scale } => {
                let power = power_of_ten(scale.max(0) as u32).unwrap_or(1);
                let floor = unscaled.div_euclid(power);
                let rest = i128::from(up && unscaled.rem_euclid(power) != 0);
                Value::Decimal {
                    unscaled: floor + rest,
                    scale: 0,
                }
            }
            other => other,
        },
    )
}

/// ROUND and TRUNCATE to some places behind the point; negative ones stand before it.
fn to_places(out: &mut Column, a: &[Value<'_>], round: bool) -> Result<(), Failure> {
    let places = a.get(1).map_or(0, as_int).clamp(-40, 40);
    let decimal = |unscaled: i128, scale: i8| -> Option<i128> {
        if places >= i64::from(scale) {
            return Some(unscaled);
        }
        let drop = u32::try_from(i64::from(scale) - places).ok()?;
        let Some(power) = power_of_ten(drop) else {
            return Some(0);
        };
        let quotient = if round {
            rescale(unscaled, drop as i8, 38, 0)?
        } else {
            unscaled / power
        };
        quotient.checked_mul(power)
    };
    let binary = |value: f64| -> Result<f64, Failure> {
        // By way of the decimal text, as Java's BigDecimal.valueOf has it.
        let text = crate::format::number::decimal_text(value)?;
        if places > 20 {
            return Ok(value);
        }
        Ok(
            match crate::format::number::parse_decimal(&text, 38, 20)
                .flatten()
                .and_then(|unscaled| decimal(unscaled, 20))
            {
                Some(unscaled) => as_double(&Value::Decimal { unscaled, scale: 20 }),
                None => value,
            },
        )
    };
    match a[0] {
        Value::Integer(value) => give_int(out, decimal(value.into(), 0).unwrap_or_default() as i64),
        Value::Float(value) => give_value(out, Value::Float(binary(f64::from(value))? as f32)),
        Value::Double(value) => give_value(out, Value::Double(binary(value)?)),
        Value::Decimal { unscaled, scale } => match decimal(unscaled, scale) {
            Some(unscaled) => give_value(out, Value::Decimal { unscaled, scale }),
            None => null(out),
        },
        _ => null(out),
    }
}

fn third(types: &[DataType]) -> Result<DataType, Failure> {
    Ok(types.get(2).cloned().unwrap_or(DataType::Null))
}

/// A DECIMAL at `places` behind the point as `BigDecimal.setScale` and `toPlainString` give it.
fn places_text(out: &mut Column, a: &[Value<'_>], round: bool) -> Result<(), Failure> {
    let Value::Decimal { unscaled, scale } = a[0] else {
        return null(out);
    };
    let places = as_int(&a[1]).clamp(-40, i64::from(scale)) as i8;
    let drop = scale - places;
    let quotient = match power_of_ten(drop.unsigned_abs().into()) {
        None => Some(0),
        Some(_) if round => rescale(unscaled, drop, 38, 0),
        Some(power) => Some(unscaled / power),
    };
    let shown = match quotient {
        Some(value) if places >= 0 => Some((value, places)),
        Some(value) => power_of_ten(places.unsigned_abs().into())
            .and_then(|power| value.checked_mul(power))
            .map(|value| (value, 0)),
        None => None,
    };
    match shown {
        Some((value, scale)) => super::string::give(out, &plain_decimal(value, scale)),
        None => null(out),
    }
}

fn modulo_type(types: &[DataType]) -> Result<DataType, Failure> {
    let digits = |t: &DataType| match t {
        DataType::Int8 => (3, 0),
        DataType::Int16 => (5, 0),
        DataType::Int32 => (10, 0),
        DataType::Decimal128(p, s) => (*p as i8, *s),
        _ => (19, 0),
    };
    match types {
        [DataType::Float32 | DataType::Float64, _] | [_, DataType::Float32 | DataType::Float64] => {
            Ok(DataType::Float64)
        }
        [a @ DataType::Decimal128(..), b] | [a, b @ DataType::Decimal128(..)] => {
            let ((p1, s1), (p2, s2)) = (digits(a), digits(b));
            let scale = s1.max(s2);
            Ok(DataType::Decimal128(
                ((p1 - s1).min(p2 - s2) + scale).clamp(1, 38) as u8,
                scale,
            ))
        }
        [_, divisor] => Ok(divisor.clone()),
        _ => common(types),
    }
}

fn modulo(_: &mut Call<'_>, a: &[Value<'_>], out: &mut Column) -> Result<(), Failure> {
    let exact = |value: &Value<'_>| match value {
        Value::Integer(value) => Some((i128::from(*value), 0)),
        Value::Decimal { unscaled, scale } => Some((*unscaled, *scale)),
        _ => None,
    };
    let (Some((left, left_scale)), Some((right, right_scale))) = (exact(&a[0]), exact(&a[1])) else {
        return give_double(out, as_double(&a[0]) % as_double(&a[1]));
    };
    let scale = left_scale.max(right_scale);
    let (left, right) = (
        rescale(left, left_scale, 38, scale),
        rescale(right, right_scale, 38, scale),
    );
    match (left, right) {
        (_, Some(0)) => Err("/ by zero".to_owned()),
        (Some(left), Some(right)) if matches!(out, Column::Decimal { .. }) => give_value(
            out,
            Value::Decimal {
                unscaled: left % right,
                scale,
            },
        ),
        (Some(left), Some(right)) => give_int(out, (left % right) as i64),
        _ => null(out),
    }
}

/// A random number: by a seed always the same one, else a new one.
fn random(call: &Call<'_>, seed: Option<&Value<'_>>) -> u64 {
    let Some(seed) = seed else {
        return (call.outside.random)();
    };
    // SplitMix64 by Sebastiano Vigna.
    let mut z = (as_int(seed) as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

fn rand_integer(call: &mut Call<'_>, a: &[Value<'_>], out: &mut Column) -> Result<(), Failure> {
    let (seed, bound) = if a.len() == 2 {
        (a.first(), as_int(&a[1]))
    } else {
        (None, as_int(&a[0]))
    };
    if bound <= 0 {
        return Err(format!("RAND_INTEGER wants a bound above 0, not {bound}."));
    }
    give_int(out, (random(call, seed) % bound as u64) as i64)
}

/// The greatest or the least of some values of comparable types.
fn extreme(call: &mut Call<'_>, a: &[Value<'_>], out: &mut Column, wanted: Ordering) -> Result<(), Failure> {
    let mut best = a[0];
    for value in &a[1..] {
        // Generated comparisons: floats as IEEE 754, texts by UTF-16 units.
        let order = match (value, &best) {
            (Value::Text(value), Value::Text(best)) => Some(utf16_order(value, best)),
            (Value::Float(_) | Value::Double(_), _) | (_, Value::Float(_) | Value::Double(_)) => {
                as_double(value).partial_cmp(&as_double(&best))
            }
            _ => Some(compare(value, &best)),
        };
        if order == Some(wanted) {
            best = *value;
        }
    }
    cast::append_converted(call.session, out, best)
}

/// The order of two values of one kind; numbers of different types compare by value.
pub fn compare(a: &Value<'_>, b: &Value<'_>) -> Ordering {
    match (a, b) {
        (Value::Integer(a), Value::Integer(b)) => a.cmp(b),
        (Value::Decimal { unscaled: a, scale: s }, Value::Decimal { unscaled: b, scale: t }) if s == t => a.cmp(b),
        (Value::Boolean(a), Value::Boolean(b)) => a.cmp(b),
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
        (Value::Date(a), Value::Date(b)) => a.cmp(b),
        (Value::Time { second: a, nano: n, .. }, Value::Time { second: b, nano: m, .. }) => (a, n).cmp(&(b, m)),
        (Value::Timestamp { moment: a, .. }, Value::Timestamp { moment: b, .. }) => a.cmp(b),
        (Value::Millis(a), Value::Millis(b)) | (Value::Months(a), Value::Months(b)) => a.cmp(b),
        _ => as_double(a).total_cmp(&as_double(b)),
    }
}
