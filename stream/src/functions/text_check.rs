//! What a text consists of, and PRINTF.

use super::arguments::{boolean, text};
use super::string::{give, give_bool, null};
use super::{Call, Failure, Function};
use crate::format::column::{Column, parse_double};
use crate::format::number;
use crate::format::view::Value;
use crate::output::text as shown;

pub const FUNCTIONS: &[Function] = &[
    Function::new(&["IS_ALPHA"], "a", boolean, |_, a, out| match a[0] {
        Value::Text(text) => give_bool(out, !text.is_empty() && text.chars().all(char::is_alphabetic)),
        _ => give_bool(out, false),
    })
    .with_nulls(),
    Function::new(&["IS_DIGIT"], "a", boolean, |_, a, out| match a[0] {
        Value::Text(text) => give_bool(out, !text.is_empty() && text.chars().all(char::is_numeric)),
        Value::Integer(value) => give_bool(out, value >= 0),
        _ => give_bool(out, false),
    })
    .with_nulls(),
    Function::new(&["IS_DECIMAL"], "a", boolean, |_, a, out| match a[0] {
        Value::Text(text) => give_bool(out, parse_double(text).is_some()),
        Value::Integer(_) | Value::Float(_) | Value::Double(_) | Value::Decimal { .. } => give_bool(out, true),
        _ => give_bool(out, false),
    })
    .with_nulls(),
    Function::new(&["PRINTF"], "sa*", text, printf).with_nulls(),
];

/// The widest field of PRINTF, in characters.
const WIDTH_MAX: usize = 10_000;

/// `%[flags][width][.precision]conversion`, as `java.util.Formatter` reads it.
#[derive(Debug, Default)]
struct Spec {
    left: bool,
    zeros: bool,
    plus: bool,
    width: usize,
    precision: Option<usize>,
    conversion: char,
}

fn printf(_: &mut Call<'_>, a: &[Value<'_>], out: &mut Column) -> Result<(), Failure> {
    let Value::Text(format) = a[0] else { return null(out) };
    let mut arguments = a[1..].iter();
    let mut text = String::new();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        let Some(spec) = read_spec(&mut chars) else {
            return null(out);
        };
        match spec.conversion {
            '%' => text.push('%'),
            'n' => text.push('\n'),
            _ => {
                let Some(value) = arguments.next() else {
                    return null(out);
                };
                let Some(field) = field(&spec, value) else {
                    return null(out);
                };
                let missing = spec.width.saturating_sub(field.chars().count());
                match (spec.left, spec.zeros) {
                    (true, _) => text.push_str(&(field + &" ".repeat(missing))),
                    (false, true) => {
                        let (sign, digits) = field.split_at(usize::from(field.starts_with(['-', '+'])));
                        text.push_str(&format!("{sign}{}{digits}", "0".repeat(missing)));
                    }
                    (false, false) => text.push_str(&(" ".repeat(missing) + &field)),
                }
            }
        }
    }
    give(out, &text)
}

fn read_spec(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Spec> {
    let mut spec = Spec::default();
    while let Some(flag) = chars.next_if(|c| "-0+".contains(*c)) {
        spec.left |= flag == '-';
        spec.zeros |= flag == '0';
        spec.plus |= flag == '+';
    }
    let number = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>| {
        let mut value = None;
        while let Some(digit) = chars.next_if(char::is_ascii_digit) {
            value = Some((value.unwrap_or(0) * 10 + digit.to_digit(10)? as usize).min(WIDTH_MAX));
        }
        value
    };
    spec.width = number(chars).unwrap_or(0);
    if chars.next_if_eq(&'.').is_some() {
        spec.precision = Some(number(chars)?);
    }
    spec.conversion = chars.next()?;
    Some(spec)
}

fn field(spec: &Spec, value: &Value<'_>) -> Option<String> {
    let signed = |text: String| {
        if spec.plus && !text.starts_with('-') {
            format!("+{text}")
        } else {
            text
        }
    };
    Some(match (spec.conversion, value) {
        ('s' | 'S', value) => {
            let mut text = String::new();
            match value {
                Value::Text(plain) => text.push_str(plain),
                other => shown::write_value(&mut text, *other),
            }
            let text: String = text.chars().take(spec.precision.unwrap_or(usize::MAX)).collect();
            if spec.conversion == 'S' {
                text.to_uppercase()
            } else {
                text
            }
        }
        (_, Value::Null) => "null".to_owned(),
        ('d', Value::Integer(value)) => signed(value.to_string()),
        ('x', Value::Integer(value)) => format!("{value:x}"),
        ('X', Value::Integer(value)) => format!("{value:X}"),
        ('o', Value::Integer(value)) => format!("{value:o}"),
        ('f', Value::Double(value)) => signed(format!("{value:.*}", spec.precision.unwrap_or(6))),
        ('f', Value::Float(value)) => signed(format!("{value:.*}", spec.precision.unwrap_or(6))),
        ('f', Value::Decimal { unscaled, scale }) => {
            let places = spec.precision.unwrap_or(6).min(30) as i8;
            signed(number::plain_decimal(
                number::rescale(*unscaled, *scale, 38, places)?,
                places,
            ))
        }
        ('b' | 'B', Value::Boolean(value)) => value.to_string(),
        ('c', Value::Integer(code)) => char::from_u32(u32::try_from(*code).ok()?)?.to_string(),
        _ => return None,
    })
}
