//! JSON, one object a message or a line, with Flink's conversions.
//!
//! A message is checked as a whole first, and the place of each known field remembered; then each column takes its value
//! from there. So a broken message leaves no half row behind, the order of fields does not matter, the last of equal
//! names wins, and unknown fields cost one pass over their bytes.

mod cursor;
mod read;
mod write;

use super::FormatOptions;
use crate::Error;

pub use cursor::{Cursor, Token, unescape};
pub use read::JsonDecoder;
pub use write::{JsonEncoder, write_string};

/// How timestamps are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampForm {
    /// `2024-01-01 10:00:00.5`
    Sql,
    /// `2024-01-01T10:00:00.5`
    Iso8601,
}

impl TimestampForm {
    fn between(self) -> char {
        match self {
            Self::Sql => ' ',
            Self::Iso8601 => 'T',
        }
    }
}

/// The `json.*` options.
#[derive(Debug, Clone)]
pub struct JsonOptions {
    pub fail_on_missing_field: bool,
    /// A field that cannot be converted is null, a message that is no JSON is left out.
    pub ignore_parse_errors: bool,
    pub timestamps: TimestampForm,
    /// Decimals without an exponent.
    pub plain_decimals: bool,
    /// Null fields are left out when writing.
    pub ignore_null_fields: bool,
    pub null_keys: NullKeys,
}

/// What becomes of a null key of a map: `json.map-null-key.mode`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NullKeys {
    Fail,
    /// The entry is left out.
    Drop,
    /// This text is the key.
    Literal(String),
}

impl JsonOptions {
    pub fn read(options: &FormatOptions<'_>) -> Result<Self, Error> {
        let form = options.one_of("timestamp-format.standard", &["SQL", "ISO-8601"], "SQL")?;
        let literal = options.text("map-null-key.literal").unwrap_or("null").to_owned();
        let null_keys = match options.one_of("map-null-key.mode", &["FAIL", "DROP", "LITERAL"], "FAIL")? {
            "DROP" => NullKeys::Drop,
            "LITERAL" => NullKeys::Literal(literal),
            _ => NullKeys::Fail,
        };
        // Flink may read by a tree or by a stream; the result is the same.
        options.boolean("decode.json-parser.enabled", true)?;
        let this = Self {
            fail_on_missing_field: options.boolean("fail-on-missing-field", false)?,
            ignore_parse_errors: options.boolean("ignore-parse-errors", false)?,
            timestamps: if form == "SQL" {
                TimestampForm::Sql
            } else {
                TimestampForm::Iso8601
            },
            plain_decimals: options.boolean("encode.decimal-as-plain-number", false)?,
            ignore_null_fields: options.boolean("encode.ignore-null-fields", false)?,
            null_keys,
        };
        if this.fail_on_missing_field && this.ignore_parse_errors {
            return Err(Error::validate(
                "json.fail-on-missing-field and json.ignore-parse-errors shouldn't both be true. Set only one of them.",
            ));
        }
        Ok(this)
    }
}
