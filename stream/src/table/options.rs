//! The `WITH (…)` options of a table, read by type and checked to the last one.
//!
//! Reading an option declares it supported; [`Options::finish`] refuses options that were not read, as Flink does. So
//! the list of supported options in the message cannot drift from the code.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::Error;

/// The options of one table.
#[derive(Debug)]
pub struct Options<'a> {
    connector: &'a str,
    given: &'a BTreeMap<String, String>,
    known: RefCell<BTreeSet<String>>,
    prefixes: RefCell<BTreeSet<String>>,
}

impl<'a> Options<'a> {
    pub fn new(connector: &'a str, given: &'a BTreeMap<String, String>) -> Self {
        let known = RefCell::new(BTreeSet::from(["connector".to_owned()]));
        Self {
            connector,
            given,
            known,
            prefixes: RefCell::default(),
        }
    }

    /// The text of an option.
    pub fn text(&self, key: &str) -> Option<&'a str> {
        self.known.borrow_mut().insert(key.to_owned());
        self.given.get(key).map(String::as_str)
    }

    /// The text of an option that must be there.
    pub fn required(&self, key: &str) -> Result<&'a str, Error> {
        self.text(key).ok_or_else(|| {
            Error::validate(format!(
                "One or more required options are missing. Missing required options are: {key}. Add it to the WITH \
                 clause of the '{}' table.",
                self.connector
            ))
        })
    }

    /// `true` or `false`, in any case.
    pub fn boolean(&self, key: &str, default: bool) -> Result<bool, Error> {
        match self.text(key) {
            None => Ok(default),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(true),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(false),
            Some(text) => Err(self.invalid(key, text, "Expected either true or false")),
        }
    }

    /// A whole number.
    pub fn integer(&self, key: &str) -> Result<Option<i64>, Error> {
        self.text(key)
            .map(|text| {
                text.trim()
                    .parse()
                    .map_err(|_| self.invalid(key, text, "Expected a whole number"))
            })
            .transpose()
    }

    /// One of `names`, in any case; gives the name as listed.
    pub fn one_of<'n>(&self, key: &str, names: &[&'n str], default: &'n str) -> Result<&'n str, Error> {
        let Some(text) = self.text(key) else { return Ok(default) };
        names
            .iter()
            .find(|name| name.eq_ignore_ascii_case(text))
            .copied()
            .ok_or_else(|| self.invalid(key, text, &format!("Expected one of: {}", names.join(", "))))
    }

    /// A duration as Flink writes it: `10 s`, `5min`, `200 ms`; a bare number is milliseconds.
    pub fn duration(&self, key: &str) -> Result<Option<Duration>, Error> {
        self.text(key)
            .map(|text| {
                parse_duration(text)
                    .ok_or_else(|| self.invalid(key, text, "Expected a duration such as '10 s' or '5 min'"))
            })
            .transpose()
    }

    /// A size in bytes as Flink writes it: `128MB`, `64 kb`; a bare number is bytes.
    pub fn bytes(&self, key: &str) -> Result<Option<u64>, Error> {
        self.text(key)
            .map(|text| {
                parse_bytes(text).ok_or_else(|| self.invalid(key, text, "Expected a size such as '128MB' or '64 kb'"))
            })
            .transpose()
    }

    /// A single character, also written as `\t`, `\\` or a Java escape such as `\u0001`.
    pub fn character(&self, key: &str) -> Result<Option<char>, Error> {
        let Some(text) = self.text(key) else { return Ok(None) };
        let plain = unescape(text);
        let mut chars = plain.chars();
        match (chars.next(), chars.next()) {
            (Some(c), None) if c.is_ascii() => Ok(Some(c)),
            _ => Err(self.invalid(key, text, "Expected a single ASCII character")),
        }
    }

    /// All options that start with `prefix`, without it.
    pub fn with_prefix(&self, prefix: &str) -> BTreeMap<&'a str, &'a str> {
        self.prefixes.borrow_mut().insert(prefix.to_owned());
        self.given
            .iter()
            .filter_map(|(key, value)| key.strip_prefix(prefix).map(|rest| (rest, value.as_str())))
            .collect()
    }

    /// The options of a source's watermarks, which the runtime reads. Ours move with every row, whatever the strategy.
    pub fn watermarks(&self) -> Result<(), Error> {
        self.one_of("scan.watermark.emit.strategy", &["on-event", "on-periodic"], "on-event")?;
        match self.integer("scan.watermark.emit.on-event.gap")? {
            None | Some(1) => {}
            Some(_) => self.refuse("scan.watermark.emit.on-event.gap", "1")?,
        }
        self.refuse("scan.watermark.alignment.group", "")?;
        self.duration("scan.watermark.idle-timeout").map(|_| ())
    }

    /// Refuses an option that Flink has and we do not, unless it says what we do anyway.
    pub fn refuse(&self, key: &str, unless: &str) -> Result<(), Error> {
        match self.text(key) {
            Some(text) if !text.eq_ignore_ascii_case(unless) => Err(Error::unsupported(format!(
                "The option '{key}' = '{text}' of the '{}' connector is not supported. Leave it out.",
                self.connector
            ))),
            _ => Ok(()),
        }
    }

    /// Refuses every option that was not read.
    pub fn finish(&self) -> Result<(), Error> {
        let known = self.known.borrow();
        let prefixes = self.prefixes.borrow();
        let unknown: Vec<&str> = self
            .given
            .keys()
            .filter(|key| !known.contains(*key) && !prefixes.iter().any(|p| key.starts_with(p)))
            .map(String::as_str)
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let supported: Vec<String> = known
            .iter()
            .cloned()
            .chain(prefixes.iter().map(|prefix| format!("{prefix}*")))
            .collect();
        Err(Error::validate(format!(
            "Unsupported options found for '{}'. Unsupported options: {}. Supported options: {}.",
            self.connector,
            unknown.join(", "),
            supported.join(", ")
        )))
    }

    /// The error for a value that does not fit its option.
    pub fn invalid(&self, key: &str, text: &str, hint: &str) -> Error {
        Error::validate(format!("Invalid value '{text}' for option '{key}'. {hint}."))
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let number: u64 = text[..digits].parse().ok()?;
    let nanos_per_unit: u64 = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "ns" | "nano" | "nanosecond" | "nanoseconds" => 1,
        "us" | "µs" | "micro" | "microsecond" | "microseconds" => 1_000,
        "" | "ms" | "milli" | "millisecond" | "milliseconds" => 1_000_000,
        "s" | "sec" | "second" | "seconds" => 1_000_000_000,
        "m" | "min" | "minute" | "minutes" => 60_000_000_000,
        "h" | "hour" | "hours" => 3_600_000_000_000,
        "d" | "day" | "days" => 86_400_000_000_000,
        _ => return None,
    };
    number.checked_mul(nanos_per_unit).map(Duration::from_nanos)
}

fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let number: u64 = text[..digits].parse().ok()?;
    let shift = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" | "byte" | "bytes" => 0,
        "k" | "kb" | "kibibyte" | "kibibytes" => 10,
        "m" | "mb" | "mebibyte" | "mebibytes" => 20,
        "g" | "gb" | "gibibyte" | "gibibytes" => 30,
        "t" | "tb" | "tebibyte" | "tebibytes" => 40,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

/// Resolves Java's escapes as they are written in SQL text: `\t`, `\n`, `\r`, `\\`, `\u0001`.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let behind = &rest[at + 1..];
        let unicode = behind.strip_prefix('u').and_then(|hex| hex.get(..4)).and_then(|hex| {
            let code = u32::from_str_radix(hex, 16).ok()?;
            char::from_u32(code)
        });
        let (c, used) = match (unicode, behind.chars().next()) {
            (Some(c), _) => (c, 5),
            (None, Some('t')) => ('\t', 1),
            (None, Some('n')) => ('\n', 1),
            (None, Some('r')) => ('\r', 1),
            (None, Some('\\')) => ('\\', 1),
            _ => ('\\', 0),
        };
        out.push(c);
        rest = &behind[used..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn an_option_nobody_read_is_refused_by_name() {
        let given = given(&[("connector", "print"), ("colour", "red"), ("print-identifier", "x")]);
        let options = Options::new("print", &given);
        assert_eq!(options.text("print-identifier"), Some("x"));
        let error = options.finish().unwrap_err().to_string();
        assert_eq!(
            error,
            "validate: Unsupported options found for 'print'. Unsupported options: colour. Supported options: connector, \
             print-identifier."
        );
    }

    #[test]
    fn prefixed_options_are_taken_whole() {
        let given = given(&[("properties.a.b", "1"), ("properties.c", "2")]);
        let options = Options::new("kafka", &given);
        assert_eq!(
            options.with_prefix("properties."),
            BTreeMap::from([("a.b", "1"), ("c", "2")])
        );
        options.finish().unwrap();
    }

    #[test]
    fn values_are_read_as_flink_writes_them() {
        let given = given(&[
            ("d", "5 min"),
            ("n", "200"),
            ("b", "64 kb"),
            ("t", "\\t"),
            ("u", "\\u0001"),
            ("x", "maybe"),
        ]);
        let options = Options::new("c", &given);
        assert_eq!(options.duration("d").unwrap(), Some(Duration::from_secs(300)));
        assert_eq!(options.duration("n").unwrap(), Some(Duration::from_millis(200)));
        assert_eq!(options.bytes("b").unwrap(), Some(65536));
        assert_eq!(options.character("t").unwrap(), Some('\t'));
        assert_eq!(options.character("u").unwrap(), Some('\u{1}'));
        assert!(
            options
                .boolean("x", false)
                .unwrap_err()
                .message()
                .contains("'maybe' for option 'x'")
        );
        assert!(options.duration("x").is_err());
        assert!(
            options
                .required("path")
                .unwrap_err()
                .message()
                .starts_with("One or more required options are missing.")
        );
    }
}
