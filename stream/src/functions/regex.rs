//! Regular expressions, LIKE and SIMILAR TO.
//!
//! Patterns are Java's; what the linear-time engine here does not have (look-around, back references) is refused with the
//! pattern's name rather than matched differently.

use std::collections::HashMap;

use arrow::datatypes::DataType;
use regex::Regex;

use super::arguments::{array_of, as_int, as_text, boolean, int, text};
use super::string::{give, give_bool, give_int, null};
use super::{Call, Failure, Function, java_regex};
use crate::format::column::Column;
use crate::format::view::Value;

pub const FUNCTIONS: &[Function] = &[
    Function::new(&["REGEXP"], "ss", boolean, |call, a, out| {
        let found = call.regexes.get(as_text(&a[1]))?.is_match(as_text(&a[0]));
        give_bool(out, found)
    }),
    Function::new(&["REGEXP_REPLACE"], "sss", text, |call, a, out| {
        let replacement = java_replacement(as_text(&a[2]));
        let regex = call.regexes.get(as_text(&a[1]))?;
        give(out, &regex.replace_all(as_text(&a[0]), replacement.as_str()))
    }),
    Function::new(&["REGEXP_EXTRACT"], "ss?i", text, regexp_extract),
    Function::new(
        &["REGEXP_EXTRACT_ALL"],
        "ss?i",
        |_| Ok(array_of(DataType::Utf8)),
        regexp_extract_all,
    ),
    Function::new(&["REGEXP_COUNT"], "ss", int, |call, a, out| {
        let count = call.regexes.get(as_text(&a[1]))?.find_iter(as_text(&a[0])).count();
        give_int(out, count as i64)
    }),
    Function::new(&["REGEXP_INSTR"], "ss", int, |call, a, out| {
        let text = as_text(&a[0]);
        let found = call
            .regexes
            .get(as_text(&a[1]))?
            .find(text)
            .map_or(0, |m| text[..m.start()].encode_utf16().count() + 1);
        give_int(out, found as i64)
    }),
    Function::new(&["REGEXP_SUBSTR"], "ss", text, |call, a, out| {
        match call.regexes.get(as_text(&a[1]))?.find(as_text(&a[0])) {
            Some(found) => give(out, found.as_str()),
            None => null(out),
        }
    }),
    Function::new(&["LIKE"], "ss?s", boolean, |call, a, out| {
        let escape = escape_of(a.get(2))?;
        let matched = call
            .regexes
            .get_as(as_text(&a[1]), "LIKE", |pattern| like(pattern, escape))?
            .is_match(as_text(&a[0]));
        give_bool(out, matched)
    }),
    Function::new(&["SIMILAR"], "ss?s", boolean, |call, a, out| {
        let escape = escape_of(a.get(2))?;
        let regex = call
            .regexes
            .get_as(as_text(&a[1]), "SIMILAR", |pattern| similar(pattern, escape))?;
        give_bool(out, regex.is_match(as_text(&a[0])))
    }),
];

/// The compiled patterns of a batch; most often one.
#[derive(Default)]
pub struct Cache {
    compiled: HashMap<(&'static str, String), Regex>,
}

/// More patterns than this a batch, and they are compiled again: patterns may come from rows.
const PATTERNS_MAX: usize = 1000;

impl Cache {
    pub fn get(&mut self, pattern: &str) -> Result<&Regex, Failure> {
        self.get_as(pattern, "REGEXP", java_regex::translate)
    }

    fn get_as(
        &mut self,
        pattern: &str,
        kind: &'static str,
        translate: impl FnOnce(&str) -> Result<String, Failure>,
    ) -> Result<&Regex, Failure> {
        use std::collections::hash_map::Entry;
        if self.compiled.len() > PATTERNS_MAX {
            self.compiled.clear();
        }
        match self.compiled.entry((kind, pattern.to_owned())) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(place) => {
                let regex = Regex::new(&translate(pattern)?).map_err(|error| {
                    let first_line = error.to_string().lines().last().unwrap_or_default().trim().to_owned();
                    format!(
                        "The pattern '{pattern}' cannot be used: {first_line}. Write it without what is named there."
                    )
                })?;
                Ok(place.insert(regex))
            }
        }
    }
}

fn escape_of(value: Option<&Value<'_>>) -> Result<Option<char>, Failure> {
    let Some(value) = value else { return Ok(None) };
    let mut chars = as_text(value).chars();
    match (chars.next(), chars.next()) {
        (Some(escape), None) => Ok(Some(escape)),
        _ => Err(format!(
            "Invalid escape character '{}'. Write a single character.",
            as_text(value)
        )),
    }
}

/// A LIKE pattern as a regular expression.
fn like(pattern: &str, escape: Option<char>) -> Result<String, Failure> {
    let mut out = String::from("(?s)^");
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            _ if Some(c) == escape => match chars.next() {
                Some(next) if next == '%' || next == '_' || Some(next) == escape => {
                    out.push_str(&regex::escape(&next.to_string()));
                }
                _ => {
                    return Err(format!(
                        "Invalid escape sequence in the pattern '{pattern}'. Escape only %, _ and itself."
                    ));
                }
            },
            '%' => out.push_str(".*"),
            '_' => out.push('.'),
            c => out.push_str(&regex::escape(&c.to_string())),
        }
    }
    out.push('$');
    Ok(out)
}

/// A SIMILAR TO pattern as a regular expression: `%` and `_` as in LIKE, and `| * + ? {} () []` as in POSIX.
fn similar(pattern: &str, escape: Option<char>) -> Result<String, Failure> {
    let mut out = String::from("(?s)^(?:");
    let mut in_class = false;
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            _ if Some(c) == escape => match chars.next() {
                Some(next) => out.push_str(&regex::escape(&next.to_string())),
                None => {
                    return Err(format!(
                        "The pattern '{pattern}' ends in its escape character. Write one more character."
                    ));
                }
            },
            '[' => {
                in_class = true;
                out.push(c);
            }
            ']' => {
                in_class = false;
                out.push(c);
            }
            '%' if !in_class => out.push_str(".*"),
            '_' if !in_class => out.push('.'),
            '.' | '$' | '\\' => out.push_str(&regex::escape(&c.to_string())),
            '^' if !in_class => out.push_str("\\^"),
            c => out.push(c),
        }
    }
    out.push_str(")$");
    Ok(out)
}

/// A Java replacement text in the notation of the engine here: `$1` ends where the digits end.
fn java_replacement(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('$') => out.push_str("$$"),
                Some(next) => out.push(next),
                None => {}
            },
            '$' => {
                let mut digits = String::new();
                while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                    digits.push(digit);
                }
                out.push_str(&if digits.is_empty() {
                    "$$".to_owned()
                } else {
                    format!("${{{digits}}}")
                });
            }
            c => out.push(c),
        }
    }
    out
}

fn regexp_extract(call: &mut Call<'_>, a: &[Value<'_>], out: &mut Column) -> Result<(), Failure> {
    let group = a.get(2).map_or(0, as_int);
    let regex = call.regexes.get(as_text(&a[1]))?;
    let found = regex.captures(as_text(&a[0]));
    match found.and_then(|captures| captures.get(usize::try_from(group).ok()?)) {
        Some(part) => give(out, part.as_str()),
        None => null(out),
    }
}

fn regexp_extract_all(call: &mut Call<'_>, a: &[Value<'_>], out: &mut Column) -> Result<(), Failure> {
    let group = a.get(2).map_or(1, as_int);
    let regex = call.regexes.get(as_text(&a[1]))?;
    let Ok(group) = usize::try_from(group) else {
        return null(out);
    };
    if group >= regex.captures_len() {
        return null(out);
    }
    let Column::List { item, shape, .. } = out else {
        return null(out);
    };
    for captures in regex.captures_iter(as_text(&a[0])) {
        match captures.get(group) {
            Some(part) => give(item, part.as_str())?,
            None => item.append_null(),
        }
    }
    shape.close(item.len(), true);
    Ok(())
}
