//! CSV with Flink's options and the habits of Jackson, which writes it there.
//!
//! A field is quoted only if its first character is the quote; two quotes stand for one. A record may span lines inside
//! quotes, so a file is cut into records by [`record_end`], not into lines. Writing quotes a text that is longer than 24
//! characters or has a character at or below the delimiter (and quote) in it: Jackson's quick check, kept so that
//! files are the same to the byte.

mod read;
mod split;
mod write;

use super::FormatOptions;
use crate::Error;

pub use read::CsvDecoder;
pub use split::record_end;
pub use write::CsvEncoder;

/// The `csv.*` options.
#[derive(Debug, Clone)]
pub struct CsvOptions {
    pub delimiter: u8,
    /// `None`: quotes are ordinary characters.
    pub quote: Option<u8>,
    pub escape: Option<u8>,
    /// Records that begin with `#` are left out.
    pub allow_comments: bool,
    /// A field that cannot be converted is null, a record that does not fit is left out.
    pub ignore_parse_errors: bool,
    pub array_delimiter: String,
    pub null_literal: Option<String>,
    /// Decimals with an exponent where `BigDecimal.toString` has one.
    pub scientific_decimals: bool,
}

impl CsvOptions {
    pub fn read(options: &FormatOptions<'_>) -> Result<Self, Error> {
        let byte = |character: Option<char>| character.map(|c| c as u8);
        let quote = options.character("quote-character")?;
        let disabled = options.boolean("disable-quote-character", false)?;
        if disabled && quote.is_some() {
            return Err(Error::validate(
                "Format cannot define a quote character and disabled quote character at the same time. Leave one out.",
            ));
        }
        Ok(Self {
            delimiter: byte(options.character("field-delimiter")?).unwrap_or(b','),
            quote: if disabled { None } else { byte(quote).or(Some(b'"')) },
            escape: byte(options.character("escape-character")?),
            allow_comments: options.boolean("allow-comments", false)?,
            ignore_parse_errors: options.boolean("ignore-parse-errors", false)?,
            array_delimiter: options.text("array-element-delimiter").unwrap_or(";").to_owned(),
            null_literal: options.text("null-literal").map(str::to_owned),
            scientific_decimals: options.boolean("write-bigdecimal-in-scientific-notation", true)?,
        })
    }
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self {
            delimiter: b',',
            quote: Some(b'"'),
            escape: None,
            allow_comments: false,
            ignore_parse_errors: false,
            array_delimiter: ";".to_owned(),
            null_literal: None,
            scientific_decimals: true,
        }
    }
}
