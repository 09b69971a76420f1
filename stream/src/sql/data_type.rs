//! Flink's data types, as text and as Arrow.
//!
//! A column's type is an Arrow type; what Arrow cannot say (the length of CHAR and VARCHAR, NOT NULL) stands beside it.
//! TIMESTAMP without time zone is an Arrow timestamp without one, TIMESTAMP_LTZ one in UTC; the precision picks the
//! unit (0 seconds, 1-3 milli-, 4-6 micro-, 7-9 nanoseconds). TIMESTAMP(7) to (9) without zone is a [`WIDE_TIMESTAMP`].

use std::fmt::{self, Display};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, IntervalUnit, TimeUnit};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, Tokenizer};

use super::dialect::FlinkDialect;
use super::facts::Facts;
use crate::Error;
use crate::format::temporal::WIDE_TIMESTAMP;

/// The zone that marks TIMESTAMP_LTZ.
pub const UTC: &str = "UTC";
/// Types within types: enough for any table, little enough for the stack.
const DEPTH_MAX: usize = 32;

/// The declared length of a character or binary type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    Char(u32),
    VarChar(u32),
    Binary(u32),
    VarBinary(u32),
}

/// A type as DDL or CAST names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlType {
    pub data: DataType,
    pub length: Option<Length>,
    /// Of a time, where it differs from what the Arrow type's unit holds.
    pub precision: Option<u8>,
    pub not_null: bool,
    /// The facts of the types within.
    pub children: Vec<Facts>,
}

impl SqlType {
    pub fn new(data: DataType) -> Self {
        Self {
            data,
            length: None,
            precision: None,
            not_null: false,
            children: Vec::new(),
        }
    }

    /// What the Arrow type does not say.
    pub fn facts(&self) -> Facts {
        Facts {
            length: self.length,
            precision: self.precision,
            not_null: self.not_null,
            children: self.children.clone(),
        }
    }
}

impl Display for SqlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&name_with(&self.data, &self.facts()))
    }
}

/// A type as Flink writes it, with all that is known of it.
pub fn name_with(data: &DataType, facts: &Facts) -> String {
    let precision = |unit: TimeUnit| facts.precision.unwrap_or_else(|| digits(unit));
    let text = match (facts.length, data) {
        (Some(Length::Char(n)), _) => format!("CHAR({n})"),
        (Some(Length::VarChar(n)), _) => format!("VARCHAR({n})"),
        (Some(Length::Binary(n)), _) => format!("BINARY({n})"),
        (Some(Length::VarBinary(n)), _) => format!("VARBINARY({n})"),
        (None, DataType::Time32(unit)) => format!("TIME({})", precision(*unit)),
        (None, DataType::Timestamp(unit, None)) => format!("TIMESTAMP({})", precision(*unit)),
        (None, DataType::Timestamp(unit, Some(_))) => format!("TIMESTAMP_LTZ({})", precision(*unit)),
        (None, wide) if *wide == WIDE_TIMESTAMP => format!("TIMESTAMP({})", facts.precision.unwrap_or(9)),
        (None, DataType::List(item)) => format!("ARRAY<{}>", name_with(item.data_type(), &facts.child(0))),
        (None, DataType::Map(entries, _)) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => format!(
                "MAP<{}, {}>",
                name_with(fields[0].data_type(), &facts.child(0)),
                name_with(fields[1].data_type(), &facts.child(1))
            ),
            _ => name(data),
        },
        (None, DataType::Struct(fields)) => {
            let fields: Vec<String> = fields
                .iter()
                .enumerate()
                .map(|(number, field)| {
                    let quoted = field.name().replace('`', "``");
                    format!("`{quoted}` {}", name_with(field.data_type(), &facts.child(number)))
                })
                .collect();
            format!("ROW<{}>", fields.join(", "))
        }
        (None, data) => name(data),
    };
    if facts.not_null { text + " NOT NULL" } else { text }
}

/// A type as Flink writes it.
pub fn name(data: &DataType) -> String {
    match data {
        DataType::Int8 => "TINYINT".into(),
        DataType::Int16 => "SMALLINT".into(),
        DataType::Int32 => "INT".into(),
        DataType::Int64 => "BIGINT".into(),
        DataType::Float32 => "FLOAT".into(),
        DataType::Float64 => "DOUBLE".into(),
        DataType::Boolean => "BOOLEAN".into(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision}, {scale})"),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "STRING".into(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "BYTES".into(),
        DataType::Date32 => "DATE".into(),
        DataType::Time32(unit) | DataType::Time64(unit) => format!("TIME({})", digits(*unit)),
        DataType::Timestamp(unit, None) => format!("TIMESTAMP({})", digits(*unit)),
        DataType::Timestamp(unit, Some(_)) => format!("TIMESTAMP_LTZ({})", digits(*unit)),
        wide if *wide == WIDE_TIMESTAMP => "TIMESTAMP(9)".into(),
        DataType::Duration(_) => "INTERVAL SECOND(3)".into(),
        DataType::Interval(_) => "INTERVAL MONTH".into(),
        DataType::List(item) => format!("ARRAY<{}>", name(item.data_type())),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => {
                format!("MAP<{}, {}>", name(fields[0].data_type()), name(fields[1].data_type()))
            }
            other => format!("MAP<{other}>"),
        },
        DataType::Struct(fields) => {
            let fields: Vec<_> = fields
                .iter()
                .map(|field| format!("`{}` {}", field.name().replace('`', "``"), name(field.data_type())))
                .collect();
            format!("ROW<{}>", fields.join(", "))
        }
        DataType::Null => "NULL".into(),
        other => other.to_string(),
    }
}

/// The fractional digits that a unit holds.
pub fn digits(unit: TimeUnit) -> u8 {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}

/// Reads a type from its own text, as [`SqlType`]'s `Display` writes it.
pub fn from_text(text: &str) -> Result<SqlType, Error> {
    let tokens = Tokenizer::new(&FlinkDialect, text)
        .tokenize_with_location()
        .map_err(Error::parse)?;
    let mut parser = Parser::new(&FlinkDialect).with_tokens_with_locations(tokens);
    parse(&mut parser).map_err(Error::parse)
}

/// Parses a type at the parser's place, a trailing `NOT NULL` or `NULL` included.
pub fn parse(parser: &mut Parser) -> Result<SqlType, ParserError> {
    TypeParser {
        parser,
        closed: 0,
        depth: 0,
    }
    .parse()
}

struct TypeParser<'a, 'b> {
    parser: &'a mut Parser<'b>,
    /// `>` that were read as part of a `>>`.
    closed: usize,
    depth: usize,
}

impl TypeParser<'_, '_> {
    fn parse(&mut self) -> Result<SqlType, ParserError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(ParserError::RecursionLimitExceeded);
        }
        let mut parsed = self.base()?;
        if self.word_is("NOT") {
            self.parser.advance_token();
            self.expect_word("NULL")?;
            parsed.not_null = true;
        } else if self.word_is("NULL") {
            self.parser.advance_token();
        }
        self.depth -= 1;
        Ok(parsed)
    }

    fn base(&mut self) -> Result<SqlType, ParserError> {
        let token = self.parser.next_token();
        let Token::Word(word) = &token.token else {
            return self.parser.expected("a data type", token);
        };
        let data = match word.value.to_ascii_uppercase().as_str() {
            "TINYINT" => DataType::Int8,
            "SMALLINT" => DataType::Int16,
            "INT" | "INTEGER" => DataType::Int32,
            "BIGINT" => DataType::Int64,
            "FLOAT" => DataType::Float32,
            "DOUBLE" => {
                if self.word_is("PRECISION") {
                    self.parser.advance_token();
                }
                DataType::Float64
            }
            "BOOLEAN" => DataType::Boolean,
            "STRING" => DataType::Utf8,
            "BYTES" => DataType::Binary,
            "DATE" => DataType::Date32,
            "DECIMAL" | "DEC" | "NUMERIC" => self.decimal()?,
            "CHAR" => return self.lengthy(DataType::Utf8, Length::Char),
            "VARCHAR" => return self.lengthy(DataType::Utf8, Length::VarChar),
            "BINARY" => return self.lengthy(DataType::Binary, Length::Binary),
            "VARBINARY" => return self.lengthy(DataType::Binary, Length::VarBinary),
            "TIME" => return self.time(),
            "TIMESTAMP" => return self.timestamp(),
            "TIMESTAMP_LTZ" => {
                let (unit, precision) = self.unit(6)?;
                return Ok(timed(DataType::Timestamp(unit, Some(UTC.into())), precision));
            }
            "INTERVAL" => self.interval()?,
            "ARRAY" => return self.array(),
            "MAP" => return self.map(),
            "ROW" => return self.row(),
            _ => return self.parser.expected("a data type of Flink", token),
        };
        Ok(SqlType::new(data))
    }

    fn decimal(&mut self) -> Result<DataType, ParserError> {
        let (precision, scale) = match self.numbers(2)?.as_slice() {
            [] => (10, 0),
            [precision] => (*precision, 0),
            [precision, scale, ..] => (*precision, *scale),
        };
        if !(1..=38).contains(&precision) || scale > precision {
            return self.refuse(format!(
                "DECIMAL precision must be between 1 and 38 and scale between 0 and the precision, \
                 not DECIMAL({precision}, {scale})"
            ));
        }
        Ok(DataType::Decimal128(precision as u8, scale as i8))
    }

    fn lengthy(&mut self, data: DataType, length: fn(u32) -> Length) -> Result<SqlType, ParserError> {
        let declared = self.numbers(1)?.first().copied().unwrap_or(1);
        if declared == 0 {
            return self.refuse("a length must be at least 1".into());
        }
        // VARCHAR(2147483647) is what STRING means.
        let unlimited = declared >= i32::MAX as u32 && !matches!(length(1), Length::Char(_) | Length::Binary(_));
        Ok(SqlType {
            length: (!unlimited).then(|| length(declared)),
            ..SqlType::new(data)
        })
    }

    fn time(&mut self) -> Result<SqlType, ParserError> {
        let (unit, precision) = self.unit(0)?;
        if self.word_is("WITHOUT") {
            self.zone_words(&["WITHOUT", "TIME", "ZONE"])?;
        }
        match unit {
            TimeUnit::Second | TimeUnit::Millisecond => Ok(timed(DataType::Time32(unit), precision)),
            _ => self.refuse("TIME holds at most 3 fractional digits".into()),
        }
    }

    fn timestamp(&mut self) -> Result<SqlType, ParserError> {
        let (unit, precision) = self.unit(6)?;
        if self.word_is("WITHOUT") {
            self.zone_words(&["WITHOUT", "TIME", "ZONE"])?;
        } else if self.word_is("WITH") {
            self.zone_words(&["WITH", "LOCAL", "TIME", "ZONE"])?;
            return Ok(timed(DataType::Timestamp(unit, Some(UTC.into())), precision));
        }
        if unit == TimeUnit::Nanosecond {
            return Ok(timed(WIDE_TIMESTAMP, precision));
        }
        Ok(timed(DataType::Timestamp(unit, None), precision))
    }

    fn zone_words(&mut self, words: &[&str]) -> Result<(), ParserError> {
        words.iter().try_for_each(|word| self.expect_word(word))
    }

    fn interval(&mut self) -> Result<DataType, ParserError> {
        let token = self.parser.next_token();
        let first = token.token.to_string().to_ascii_uppercase();
        self.numbers(2)?;
        if self.word_is("TO") {
            self.parser.advance_token();
            self.parser.advance_token();
            self.numbers(1)?;
        }
        match first.as_str() {
            "YEAR" | "MONTH" => Ok(DataType::Interval(IntervalUnit::YearMonth)),
            "DAY" | "HOUR" | "MINUTE" | "SECOND" => Ok(DataType::Duration(TimeUnit::Millisecond)),
            _ => self.parser.expected("an interval field", token),
        }
    }

    fn array(&mut self) -> Result<SqlType, ParserError> {
        self.parser.expect_token(&Token::Lt)?;
        let item = self.parse()?;
        self.close()?;
        let children = vec![item.facts()];
        Ok(nested(
            DataType::List(Arc::new(Field::new("item", item.data, true))),
            children,
        ))
    }

    fn map(&mut self) -> Result<SqlType, ParserError> {
        self.parser.expect_token(&Token::Lt)?;
        let key = self.parse()?;
        self.parser.expect_token(&Token::Comma)?;
        let value = self.parse()?;
        self.close()?;
        let children = vec![key.facts(), value.facts()];
        Ok(nested(map_type(key.data, value.data), children))
    }

    fn row(&mut self) -> Result<SqlType, ParserError> {
        let angled = self.parser.consume_token(&Token::Lt);
        if !angled {
            self.parser.expect_token(&Token::LParen)?;
        }
        let mut fields = Vec::new();
        let mut children = Vec::new();
        loop {
            let name = self.parser.parse_identifier()?;
            let field = self.parse()?;
            children.push(field.facts());
            fields.push(Field::new(name.value, field.data, true));
            if matches!(self.parser.peek_token_ref().token, Token::SingleQuotedString(_)) {
                self.parser.advance_token();
            }
            // A `>>` within has closed this type too: the comma is not ours.
            if self.closed > 0 || !self.parser.consume_token(&Token::Comma) {
                break;
            }
        }
        if angled {
            self.close()?;
        } else {
            self.parser.expect_token(&Token::RParen)?;
        }
        Ok(nested(DataType::Struct(Fields::from(fields)), children))
    }

    fn close(&mut self) -> Result<(), ParserError> {
        if self.closed > 0 {
            self.closed -= 1;
            return Ok(());
        }
        let token = self.parser.next_token();
        match token.token {
            Token::Gt => Ok(()),
            Token::ShiftRight => {
                self.closed += 1;
                Ok(())
            }
            _ => self.parser.expected("'>'", token),
        }
    }

    /// The unit that holds the declared digits, and those digits.
    fn unit(&mut self, default: u32) -> Result<(TimeUnit, u8), ParserError> {
        let declared = self.numbers(1)?.first().copied().unwrap_or(default);
        let unit = match declared {
            0 => TimeUnit::Second,
            1..=3 => TimeUnit::Millisecond,
            4..=6 => TimeUnit::Microsecond,
            7..=9 => TimeUnit::Nanosecond,
            _ => return self.refuse("the precision of a time must be between 0 and 9".into()),
        };
        Ok((unit, declared as u8))
    }

    /// Up to `most` numbers in brackets, or none.
    fn numbers(&mut self, most: usize) -> Result<Vec<u32>, ParserError> {
        let mut numbers = Vec::new();
        if !self.parser.consume_token(&Token::LParen) {
            return Ok(numbers);
        }
        loop {
            let token = self.parser.next_token();
            match &token.token {
                Token::Number(text, _) if numbers.len() < most => match text.parse() {
                    Ok(number) => numbers.push(number),
                    Err(_) => return self.parser.expected("a smaller number", token),
                },
                _ => return self.parser.expected("a number", token),
            }
            if !self.parser.consume_token(&Token::Comma) {
                self.parser.expect_token(&Token::RParen)?;
                return Ok(numbers);
            }
        }
    }

    fn word_is(&self, text: &str) -> bool {
        matches!(&self.parser.peek_token_ref().token,
            Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(text))
    }

    fn expect_word(&mut self, text: &str) -> Result<(), ParserError> {
        if self.word_is(text) {
            self.parser.advance_token();
            return Ok(());
        }
        let found = self.parser.peek_token();
        self.parser.expected(text, found)
    }

    fn refuse<T>(&self, message: String) -> Result<T, ParserError> {
        Err(ParserError::ParserError(format!(
            "{message}{}",
            self.parser.get_current_token().span.start
        )))
    }
}

fn timed(data: DataType, precision: u8) -> SqlType {
    let of_unit = match &data {
        DataType::Timestamp(unit, _) | DataType::Time32(unit) => digits(*unit),
        wide if *wide == WIDE_TIMESTAMP => 9,
        _ => precision,
    };
    SqlType {
        precision: (precision != of_unit).then_some(precision),
        ..SqlType::new(data)
    }
}

fn nested(data: DataType, children: Vec<Facts>) -> SqlType {
    SqlType {
        children,
        ..SqlType::new(data)
    }
}

/// MAP<key, value> as Arrow has it.
pub fn map_type(key: DataType, value: DataType) -> DataType {
    let entries = Fields::from(vec![Field::new("key", key, false), Field::new("value", value, true)]);
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_read_back_as_written() {
        for text in [
            "TINYINT",
            "DECIMAL(10, 2)",
            "CHAR(4) NOT NULL",
            "VARCHAR(7)",
            "TIMESTAMP(3)",
            "TIMESTAMP_LTZ(6)",
            "TIME(0)",
            "MAP<CHAR(2) NOT NULL, ARRAY<TIMESTAMP(5) NOT NULL>>",
            "ROW<`a` INT, `b` ROW<`c` ARRAY<ARRAY<STRING>>>>",
        ] {
            let parsed = from_text(text).unwrap();
            assert_eq!(parsed.to_string(), text);
            assert_eq!(from_text(&parsed.to_string()).unwrap(), parsed);
        }
        assert_eq!(
            from_text("timestamp(2) with local time zone").unwrap().to_string(),
            "TIMESTAMP_LTZ(2)"
        );
        assert_eq!(from_text("VARCHAR(2147483647)").unwrap().to_string(), "STRING");
        assert_eq!(from_text("DECIMAL").unwrap().data, DataType::Decimal128(10, 0));
    }

    #[test]
    fn what_is_no_type_is_refused_with_its_place() {
        for text in [
            "DECIMAL(39, 1)",
            "TIMESTAMP(10)",
            "TEXT",
            "ARRAY<INT",
            "MAP<INT>",
            "CHAR(0)",
            "CHAR(1, 2)",
        ] {
            let error = from_text(text).unwrap_err();
            assert_eq!(error.kind(), "parse", "{text}");
            assert!(
                error.message().contains("Line") || error.message().contains("EOF"),
                "{text}: {error}"
            );
        }
        assert!(from_text(&"ARRAY<".repeat(5000)).is_err());
    }
}
