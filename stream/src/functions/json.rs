//! JSON in texts: quoting, and values by path.
//!
//! Paths are `$`, `.name`, `['name']`, `[index]` and `[*]`, with `lax` or `strict` before them; filters and functions in
//! paths are refused. The clauses of JSON_VALUE and its kin (RETURNING, ON EMPTY, ON ERROR) are not here: a path that
//! finds nothing gives null.

use arrow::datatypes::DataType;
use serde_json::Value as Json;

use super::arguments::{as_text, boolean, text};
use super::string::{give, give_bool, null};
use super::{Call, Failure, Function};
use crate::format::column::Column;
use crate::format::json::unescape;
use crate::format::view::Value;
use crate::output::text as shown;

pub const FUNCTIONS: &[Function] = &[
    Function::new(&["JSON_QUOTE"], "s", text, |_, a, out| {
        give(out, &quote(as_text(&a[0])))
    }),
    Function::new(&["JSON_UNQUOTE"], "s", text, |_, a, out| {
        give(out, &unquote(as_text(&a[0])))
    }),
    Function::new(&["JSON_VALUE"], "ss", text, json_value),
    Function::new(&["JSON_QUERY"], "ss", text, json_query),
    Function::new(&["JSON_EXISTS"], "ss", boolean, |_, a, out| {
        let found = !find(as_text(&a[0]), as_text(&a[1]))?.is_empty();
        give_bool(out, found)
    }),
    Function::new(&["JSON_STRING"], "a", text, |_, a, out| {
        let mut json = String::new();
        crate::output::write_json_value(&mut json, a[0], chrono_tz::Tz::UTC);
        give(out, &json)
    }),
    Function::new(
        &["IS_JSON"],
        "s?s",
        |_| Ok(DataType::Boolean),
        |_, a, out| {
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
    ),
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

fn steps(path: &str) -> Result<Vec<Step>, Failure> {
    let refused = || format!("The JSON path '{path}' is not supported. Use $, .name, ['name'], [0] and [*].");
    let trimmed = path.trim();
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
    Ok(steps)
}

/// All values at a path; none where the text is no JSON.
fn find(text: &str, path: &str) -> Result<Vec<Json>, Failure> {
    let steps = steps(path)?;
    let Ok(root) = serde_json::from_str::<Json>(text) else {
        return Ok(Vec::new());
    };
    let mut found = vec![root];
    for step in &steps {
        found = found
            .into_iter()
            .flat_map(|value| match (step, value) {
                (Step::Field(name), Json::Object(mut fields)) => fields.remove(name).into_iter().collect(),
                (Step::Index(index), Json::Array(items)) => items.into_iter().nth(*index).into_iter().collect(),
                (Step::Each, Json::Array(items)) => items,
                _ => Vec::new(),
            })
            .collect();
    }
    Ok(found)
}

fn json_value(_: &mut Call<'_>, a: &[Value<'_>], out: &mut Column) -> Result<(), Failure> {
    match find(as_text(&a[0]), as_text(&a[1]))?.as_slice() {
        [Json::String(text)] => give(out, text),
        [Json::Bool(value)] => give(out, &value.to_string()),
        [Json::Number(number)] => match number.as_f64() {
            Some(value) if number.is_f64() => {
                let mut text = String::new();
                shown::write_value(&mut text, Value::Double(value));
                give(out, &text)
            }
            _ => give(out, &number.to_string()),
        },
        _ => null(out),
    }
}

fn json_query(_: &mut Call<'_>, a: &[Value<'_>], out: &mut Column) -> Result<(), Failure> {
    match find(as_text(&a[0]), as_text(&a[1]))?.as_slice() {
        [value @ (Json::Object(_) | Json::Array(_))] => give(out, &value.to_string()),
        _ => null(out),
    }
}
