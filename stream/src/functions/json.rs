//! JSON in texts: quoting, and values by path.
//!
//! Paths are `$`, `.name`, `['name']`, `[index]` and `[*]`, with `lax` or `strict` (the default) before them; filters and
//! functions in paths are refused. A strict path that finds nothing is an error, a lax one is empty; so is a text that is no
//! JSON. The dialect hands the clauses of JSON_VALUE and its kin (RETURNING, ON EMPTY, ON ERROR, WRAPPER) over as arguments
//! of the functions `JSON VALUE`, `JSON QUERY` and `JSON EXISTS`.

use arrow::datatypes::DataType;
use serde_json::Value as Json;

use super::arguments::{as_text, boolean, text};
use super::string::{give, give_bool, null};
use super::{Failure, Function};
use crate::format::column::Column;
use crate::format::json::{Cursor, Token, unescape, write_string};
use crate::format::view::Value;

pub const FUNCTIONS: &[Function] = &[
    Function::new(&["JSON_QUOTE"], "s", text, |_, a, out| {
        give(out, &quote(as_text(&a[0])))
    }),
    Function::new(&["JSON_UNQUOTE"], "s", text, |_, a, out| {
        give(out, &unquote(as_text(&a[0])))
    }),
    Function::new(&["JSON_VALUE"], "ss", text, |_, a, out| {
        json_value(a, ["NULL", "NULL"], [&Value::Null, &Value::Null], out)
    }),
    // Text, path, a NULL of the type of the result, then for an empty result and for an error what to do, and a default.
    Function::new(&["JSON VALUE"], "ssasasa", third, |_, a, out| {
        json_value(a, [as_text(&a[3]), as_text(&a[5])], [&a[4], &a[6]], out)
    })
    .with_nulls(),
    Function::new(&["JSON_QUERY"], "ss", text, |_, a, out| {
        json_query(a, "WITHOUT", ["NULL", "NULL"], out)
    }),
    // Text, path, a NULL of the type of the result, the kind of wrapper, what to do for an empty result and for an error.
    Function::new(&["JSON QUERY"], "ssasss", third, |_, a, out| {
        json_query(a, as_text(&a[3]), [as_text(&a[4]), as_text(&a[5])], out)
    })
    .with_nulls(),
    Function::new(&["JSON_EXISTS"], "ss", boolean, |_, a, out| {
        json_exists(a, "FALSE", out)
    }),
    Function::new(&["JSON EXISTS"], "sss", boolean, |_, a, out| {
        json_exists(a, as_text(&a[2]), out)
    }),
    Function::new(&["JSON_STRING"], "a", text, |_, a, out| {
        let mut json = String::new();
        crate::output::write_json_value(&mut json, a[0], crate::time::Zone::UTC);
        give(out, &json)
    }),
    Function::new(
        &["IS_JSON"],
        "s?s",
        |_| Ok(DataType::Boolean),
        |_, a, out| {
            if matches!(a[0], Value::Null) {
                return give_bool(out, false);
            }
            let json = serde_json::from_str::<Json>(as_text(&a[0])).ok();
            give_bool(
                out,
                match (json, a.get(1).map(as_text)) {
                    (None, _) => false,
                    (Some(json), Some("OBJECT")) => json.is_object(),
                    (Some(json), Some("ARRAY")) => json.is_array(),
                    (Some(json), Some("SCALAR")) => !json.is_object() && !json.is_array(),
                    (Some(_), _) => true,
                },
            )
        },
    )
    .with_nulls(),
];

/// A JSON string in ASCII, with `/` escaped, as Flink's JSON_QUOTE has it.
fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '/' => out.push_str("\\/"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            ' '..='~' => out.push(c),
            c => c
                .encode_utf16(&mut [0; 2])
                .iter()
                .for_each(|unit| out.push_str(&format!("\\u{unit:04x}"))),
        }
    }
    out.push('"');
    out
}

/// The text of a JSON string; what is none stays as it is.
fn unquote(text: &str) -> String {
    let inner = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.and_then(unescape).unwrap_or_else(|| text.to_owned())
}

/// A step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Field(String),
    Index(usize),
    Each,
}

/// The steps of a path, and whether it is lax.
fn steps(path: &str) -> Result<(Vec<Step>, bool), Failure> {
    let refused = || format!("The JSON path '{path}' is not supported. Use $, .name, ['name'], [0] and [*].");
    let trimmed = path.trim();
    let lax = trimmed.starts_with("lax");
    let trimmed = trimmed
        .strip_prefix("lax")
        .or(trimmed.strip_prefix("strict"))
        .unwrap_or(trimmed)
        .trim_start();
    let mut rest = trimmed.strip_prefix('$').ok_or_else(refused)?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(behind) = rest.strip_prefix('.') {
            let end = behind.find(['.', '[']).unwrap_or(behind.len());
            let name = &behind[..end];
            if name.is_empty() || name.contains(['(', '?', '@', '*']) {
                return Err(refused());
            }
            steps.push(Step::Field(name.to_owned()));
            rest = &behind[end..];
        } else {
            let (inner, behind) = rest
                .strip_prefix('[')
                .and_then(|r| r.split_once(']'))
                .ok_or_else(refused)?;
            let inner = inner.trim();
            let quoted = ['\'', '"']
                .iter()
                .find_map(|q| inner.strip_prefix(*q)?.strip_suffix(*q));
            steps.push(match (quoted, inner) {
                (Some(name), _) => Step::Field(name.to_owned()),
                (None, "*") => Step::Each,
                (None, index) => Step::Index(index.parse().map_err(|_| refused())?),
            });
            rest = behind;
        }
    }
    Ok((steps, lax))
}

/// What a path came to.
enum Found<'a> {
    Value(Token<'a>),
    /// The values of a path with `[*]`: any number of them.
    Values(Vec<Token<'a>>),
    /// A lax path that found nothing.
    Nothing,
    Error(Failure),
}

fn find<'a>(text: &'a str, path: &str) -> Result<Found<'a>, Failure> {
    let (steps, lax) = steps(path)?;
    let mut cursor = Cursor::new(text);
    let root = cursor.token().and_then(|token| cursor.end().map(|()| token));
    let missing = |failure: Failure| if lax { Found::Nothing } else { Found::Error(failure) };
    let root = match root {
        Ok(root) => root,
        Err(broken) => return Ok(missing(format!("The text is no JSON: {broken}."))),
    };
    let indefinite = steps.contains(&Step::Each);
    let mut found = vec![root];
    for step in &steps {
        found = found.iter().flat_map(|value| step_into(value, step)).collect();
    }
    if indefinite {
        return Ok(Found::Values(found));
    }
    Ok(match found.pop() {
        Some(value) => Found::Value(value),
        None => missing(format!("No results for path: {path}")),
    })
}

/// The values one step below; containers have been checked.
fn step_into<'a>(value: &Token<'a>, step: &Step) -> Vec<Token<'a>> {
    let mut found = Vec::new();
    match (step, value) {
        (Step::Field(name), Token::Object(text)) => {
            let _checked = Cursor::new(text).object(|key, value| {
                if key == name.as_str() {
                    // The last of equal names wins.
                    found = vec![value];
                }
            });
        }
        (Step::Index(wanted), Token::Array(text)) => {
            let mut index = 0;
            let _checked = Cursor::new(text).array(|value| {
                if index == *wanted {
                    found.push(value);
                }
                index += 1;
            });
        }
        (Step::Each, Token::Array(text)) => {
            let _checked = Cursor::new(text).array(|value| found.push(value));
        }
        _ => {}
    }
    found
}

fn is_container(token: &Token<'_>) -> bool {
    matches!(token, Token::Array(_) | Token::Object(_))
}

/// Whether a path is lax; a wrong path was refused before.
fn is_lax(path: &str) -> bool {
    path.trim().starts_with("lax")
}

fn third(types: &[DataType]) -> Result<DataType, Failure> {
    Ok(types.get(2).cloned().unwrap_or(DataType::Utf8))
}

/// `behaviour` and `defaults`: for an empty result, and for an error.
fn json_value(
    a: &[Value<'_>],
    behaviour: [&str; 2],
    defaults: [&Value<'_>; 2],
    out: &mut Column,
) -> Result<(), Failure> {
    if a[..2].iter().any(|value| matches!(value, Value::Null)) {
        return null(out);
    }
    let path = as_text(&a[1]);
    let empty = || "Empty result of JSON_VALUE function is not allowed".to_owned();
    let (which, failure) = match find(as_text(&a[0]), path)? {
        Found::Value(Token::Null) | Found::Nothing => (0, empty()),
        Found::Value(value) if !is_container(&value) => return give_scalar(&value, out),
        Found::Value(_) | Found::Values(_) if is_lax(path) => (0, empty()),
        Found::Value(_) | Found::Values(_) => (
            1,
            "Strict jsonpath mode requires scalar value, and the actual value is an array or an object".to_owned(),
        ),
        Found::Error(failure) => (1, failure),
    };
    match behaviour[which] {
        "ERROR" => Err(failure),
        "DEFAULT" => {
            if !out.append_value(*defaults[which]) {
                out.append_null();
            }
            Ok(())
        }
        _ => null(out),
    }
}

/// Appends a scalar to a column of the RETURNING type, which must be the type that it has in Java.
fn give_scalar(token: &Token<'_>, out: &mut Column) -> Result<(), Failure> {
    let class = match token {
        Token::Boolean(_) => "java.lang.Boolean",
        Token::Text(_) => "java.lang.String",
        Token::Number(text) if text.contains(['.', 'e', 'E']) => "java.math.BigDecimal",
        Token::Number(text) if text.parse::<i32>().is_ok() => "java.lang.Integer",
        _ => "java.lang.Long",
    };
    let wanted = match (&mut *out, token) {
        (Column::Text(values), Token::Text(text)) => {
            values.append_value(text);
            return Ok(());
        }
        (Column::Text(values), Token::Boolean(value)) => {
            values.append_value(value.to_string());
            return Ok(());
        }
        (Column::Text(values), Token::Number(text)) => {
            values.append_value(java_number(text));
            return Ok(());
        }
        (Column::Boolean(values), Token::Boolean(value)) => {
            values.append_value(*value);
            return Ok(());
        }
        (Column::Int32(values), Token::Number(text)) if class == "java.lang.Integer" => {
            values.append_option(text.parse().ok());
            return Ok(());
        }
        (Column::Float64(values), Token::Number(text)) if class == "java.math.BigDecimal" => {
            values.append_option(text.parse().ok());
            return Ok(());
        }
        (Column::Boolean(_), _) => "java.lang.Boolean",
        (Column::Int32(_), _) => "java.lang.Integer",
        _ => "java.math.BigDecimal",
    };
    Err(format!("class {class} cannot be cast to class {wanted}"))
}

/// The text that Java's number has: of an integer its digits, of others that of `BigDecimal`.
fn java_number(text: &str) -> String {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], text[at + 1..].parse::<i64>().unwrap_or_default()),
        None => (text, 0),
    };
    let (sign, digits) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let scale = fraction.len() as i64 - exponent;
    let unscaled = format!("{whole}{fraction}");
    let unscaled = unscaled.trim_start_matches('0');
    let unscaled = if unscaled.is_empty() { "0" } else { unscaled };
    let sign = if unscaled == "0" { "" } else { sign };
    let adjusted = unscaled.len() as i64 - 1 - scale;
    if scale == 0 {
        return format!("{sign}{unscaled}");
    }
    if scale > 0 && adjusted >= -6 {
        let padded = format!("{unscaled:0>width$}", width = scale as usize + 1);
        let (whole, fraction) = padded.split_at(padded.len() - scale as usize);
        return format!("{sign}{whole}.{fraction}");
    }
    let (first, rest) = unscaled.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    format!("{sign}{first}{point}{rest}E{adjusted:+}")
}

/// Writes a value without blanks, as Jackson does.
fn write_compact(out: &mut String, token: &Token<'_>) {
    let mut first = true;
    let mut separate = |out: &mut String| {
        if !std::mem::take(&mut first) {
            out.push(',');
        }
    };
    match token {
        Token::Null => out.push_str("null"),
        Token::Boolean(value) => out.push_str(if *value { "true" } else { "false" }),
        Token::Number(text) => out.push_str(&java_number(text)),
        Token::Text(text) => write_string(out, text),
        Token::Array(text) => {
            out.push('[');
            let _checked = Cursor::new(text).array(|value| {
                separate(out);
                write_compact(out, &value);
            });
            out.push(']');
        }
        Token::Object(text) => {
            out.push('{');
            let _checked = Cursor::new(text).object(|key, value| {
                separate(out);
                write_string(out, &key);
                out.push(':');
                write_compact(out, &value);
            });
            out.push('}');
        }
    }
}

/// `behaviour`: for an empty result, and for an error.
fn json_query(a: &[Value<'_>], wrapper: &str, behaviour: [&str; 2], out: &mut Column) -> Result<(), Failure> {
    if a[..2].iter().any(|value| matches!(value, Value::Null)) {
        return null(out);
    }
    let path = as_text(&a[1]);
    let compact = |token: &Token<'_>| {
        let mut text = String::new();
        write_compact(&mut text, token);
        text
    };
    // The text of the result, and whether it is an array or an object.
    let (text, structured) = match find(as_text(&a[0]), path)? {
        Found::Value(value) => (
            Some(compact(&value)).filter(|_| value != Token::Null),
            is_container(&value),
        ),
        Found::Values(values) => {
            let items: Vec<String> = values.iter().map(compact).collect();
            (Some(format!("[{}]", items.join(","))), true)
        }
        Found::Nothing => (None, false),
        Found::Error(failure) => return query_default(out, behaviour[1], failure),
    };
    let wrapped = match (text, wrapper) {
        (Some(text), "UNCONDITIONAL") => Some(format!("[{text}]")),
        (Some(text), "CONDITIONAL") if !structured => Some(format!("[{text}]")),
        (text, _) => text.filter(|_| structured || is_lax(path) && wrapper != "WITHOUT"),
    };
    match wrapped {
        Some(text) => give_query(out, &text),
        None if is_lax(path) || matches!(find(as_text(&a[0]), path)?, Found::Value(Token::Null)) => query_default(
            out,
            behaviour[0],
            "Empty result of JSON_QUERY function is not allowed".to_owned(),
        ),
        None => query_default(
            out,
            behaviour[1],
            "Strict jsonpath mode requires array or object value, and the actual value is a scalar".to_owned(),
        ),
    }
}

fn query_default(out: &mut Column, behaviour: &str, failure: Failure) -> Result<(), Failure> {
    match behaviour {
        "ERROR" => Err(failure),
        "EMPTY ARRAY" => give_query(out, "[]"),
        "EMPTY OBJECT" => give_query(out, "{}"),
        _ => null(out),
    }
}

/// The result as text, or its items where an ARRAY of texts is returned.
fn give_query(out: &mut Column, text: &str) -> Result<(), Failure> {
    let Column::List { item, shape, .. } = out else {
        return give(out, text);
    };
    let mut items = Vec::new();
    let is_array = Cursor::new(text).array(|value| items.push(value)).is_ok();
    for value in &items {
        match value {
            Token::Null => item.append_null(),
            Token::Text(text) => give(item, text)?,
            value => {
                let mut text = String::new();
                write_compact(&mut text, value);
                give(item, &text)?;
            }
        }
    }
    shape.close(item.len(), is_array);
    Ok(())
}

fn json_exists(a: &[Value<'_>], on_error: &str, out: &mut Column) -> Result<(), Failure> {
    match find(as_text(&a[0]), as_text(&a[1]))? {
        Found::Value(_) => give_bool(out, true),
        Found::Values(_) => give_bool(out, true),
        Found::Nothing => give_bool(out, false),
        Found::Error(failure) => match on_error {
            "TRUE" => give_bool(out, true),
            "UNKNOWN" => null(out),
            "ERROR" => Err(failure),
            _ => give_bool(out, false),
        },
    }
}
