//! JSON text into columns.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use base64::Engine;

use super::cursor::{Cursor, Token};
use super::{JsonOptions, TimestampForm};
use crate::Error;
use crate::format::column::{Column, Rows};
use crate::format::temporal;
use crate::format::{Decoder, shortened};

/// Reads JSON messages into rows.
#[derive(Debug)]
pub struct JsonDecoder {
    rows: Rows,
    names: HashMap<String, usize>,
    options: JsonOptions,
}

/// Why a value did not fit its column.
type Misfit = String;

impl JsonDecoder {
    pub fn new(schema: SchemaRef, options: JsonOptions) -> Result<Self, Error> {
        let names = schema
            .fields()
            .iter()
            .enumerate()
            .map(|(i, f)| (f.name().clone(), i))
            .collect();
        Ok(Self {
            rows: Rows::new(schema)?,
            names,
            options,
        })
    }

    fn decode_text(&mut self, text: &str) -> Result<(), Misfit> {
        let mut cursor = Cursor::new(text);
        let root = cursor
            .token()
            .and_then(|root| cursor.end().map(|()| root))
            .map_err(|e| e.to_string())?;
        match root {
            Token::Object(object) => self.decode_row(object),
            Token::Array(array) => {
                let mut objects = Vec::new();
                Cursor::new(array)
                    .array(|item| objects.push(item))
                    .map_err(|e| e.to_string())?;
                objects.into_iter().try_for_each(|item| match item {
                    Token::Object(object) => self.decode_row(object),
                    _ => Err("an array of something else than objects".to_owned()),
                })
            }
            _ => Err("not a JSON object".to_owned()),
        }
    }

    fn decode_row(&mut self, object: &str) -> Result<(), Misfit> {
        let mut slots: Vec<Option<Token<'_>>> = vec![None; self.rows.columns.len()];
        // Producers write fields in one order, so the next field is most often the next column.
        let mut expected = 0;
        let fields = self.rows.schema().fields().clone();
        Cursor::new(object)
            .object(|name, value| {
                let index = match fields.get(expected) {
                    Some(field) if field.name().as_str() == name => Some(expected),
                    _ => self.names.get(name.as_ref()).copied(),
                };
                if let Some(index) = index {
                    slots[index] = Some(value);
                    expected = index + 1;
                }
            })
            .map_err(|e| e.to_string())?;
        if self.options.fail_on_missing_field
            && let Some(missing) = slots.iter().position(Option::is_none)
        {
            return Err(format!("Could not find field with name '{}'.", fields[missing].name()));
        }
        for ((column, slot), field) in self.rows.columns.iter_mut().zip(slots).zip(&fields) {
            append(column, slot.unwrap_or(Token::Null), &self.options)
                .map_err(|misfit| format!("Fail to deserialize at field: {}: {misfit}", field.name()))?;
        }
        self.rows.close_row();
        Ok(())
    }
}

impl Decoder for JsonDecoder {
    fn decode(&mut self, message: &[u8]) -> Result<(), Error> {
        if message.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        let result = match std::str::from_utf8(message) {
            Ok(text) => self.decode_text(text),
            Err(error) => Err(error.to_string()),
        };
        match result {
            Err(misfit) if !self.options.ignore_parse_errors => Err(Error::runtime(format!(
                "Failed to deserialize JSON '{}': {misfit}. Correct the input, or set 'json.ignore-parse-errors' = 'true'.",
                shortened(message)
            ))),
            _ => Ok(()),
        }
    }

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn finish(&mut self) -> Result<RecordBatch, Error> {
        self.rows.finish()
    }
}

/// Appends one value; what does not fit is null where parse errors are ignored, else an error with nothing appended.
fn append(column: &mut Column, token: Token<'_>, options: &JsonOptions) -> Result<(), Misfit> {
    if token == Token::Null {
        column.append_null();
        return Ok(());
    }
    match append_present(column, &token, options) {
        Err(_) if options.ignore_parse_errors => {
            column.append_null();
            Ok(())
        }
        result => result,
    }
}

fn append_present(column: &mut Column, token: &Token<'_>, options: &JsonOptions) -> Result<(), Misfit> {
    match column {
        Column::List { item, shape, .. } => {
            let Token::Array(text) = token else {
                return Err(misfit(token, "an array"));
            };
            let mut result = Ok(());
            Cursor::new(text)
                .array(|value| {
                    if result.is_ok() {
                        result = append(item, value, options);
                    }
                })
                .map_err(|e| e.to_string())?;
            shape.close(item.len(), true);
            result
        }
        Column::Map {
            keys, values, shape, ..
        } => {
            let Token::Object(text) = token else {
                return Err(misfit(token, "an object"));
            };
            let mut entries: Vec<(std::borrow::Cow<'_, str>, Token<'_>)> = Vec::new();
            Cursor::new(text)
                .object(|key, value| entries.push((key, value)))
                .map_err(|e| e.to_string())?;
            for (key, value) in entries {
                if !keys.append_text(&key) {
                    return Err(format!("the key '{key}' does not fit its type"));
                }
                append(values, value, options)?;
            }
            shape.close(keys.len(), true);
            Ok(())
        }
        Column::Row {
            children,
            fields,
            valid,
        } => {
            let Token::Object(text) = token else {
                return Err(misfit(token, "an object"));
            };
            let mut slots: Vec<Option<Token<'_>>> = vec![None; children.len()];
            Cursor::new(text)
                .object(|name, value| {
                    if let Some((index, _)) = fields.find(&name) {
                        slots[index] = Some(value);
                    }
                })
                .map_err(|e| e.to_string())?;
            for (child, slot) in children.iter_mut().zip(slots) {
                append(child, slot.unwrap_or(Token::Null), options)?;
            }
            valid.push(true);
            Ok(())
        }
        _ => append_scalar(column, token, options),
    }
}

fn append_scalar(column: &mut Column, token: &Token<'_>, options: &JsonOptions) -> Result<(), Misfit> {
    // Jackson's `asText`: a scalar by its text, a container as nothing.
    let text = match token {
        Token::Null => "null",
        Token::Boolean(true) => "true",
        Token::Boolean(false) => "false",
        Token::Number(text) => text,
        Token::Text(text) => text.as_ref(),
        Token::Array(text) | Token::Object(text) => match column {
            Column::Text(_) => text,
            _ => "",
        },
    };
    let fits = match column {
        Column::Text(values) => {
            values.append_value(text);
            true
        }
        Column::Boolean(values) => {
            values.append_value(text.trim().eq_ignore_ascii_case("true"));
            true
        }
        Column::Bytes(values) => base64::engine::general_purpose::STANDARD
            .decode(text)
            .map(|bytes| values.append_value(bytes))
            .is_ok(),
        Column::Date(values) => temporal::parse_date(text)
            .map(|days| values.append_value(days as i32))
            .is_some(),
        Column::Time { .. } => {
            temporal::parse_time(text).is_some_and(|(second, nano)| column.append_time(second, nano))
        }
        Column::Timestamp { zone, .. } => {
            let text = if zone.is_some() {
                text.strip_suffix('Z')
            } else {
                Some(text)
            };
            let moment = text.and_then(|text| temporal::parse_timestamp(text, options.timestamps.between() as u8));
            moment.is_some_and(|moment| column.append_moment(moment))
        }
        Column::Int32(_) | Column::Int64(_) if matches!(token, Token::Number(_)) => append_whole(column, text),
        _ => column.append_number(text.trim()),
    };
    if fits {
        return Ok(());
    }
    let want = match column {
        Column::Timestamp { zone: Some(_), .. } if options.timestamps == TimestampForm::Sql => {
            "a timestamp such as 2024-01-31 10:00:00Z"
        }
        Column::Timestamp { zone: Some(_), .. } => "a timestamp such as 2024-01-31T10:00:00Z",
        Column::Timestamp { .. } if options.timestamps == TimestampForm::Sql => {
            "a timestamp such as 2024-01-31 10:00:00"
        }
        Column::Timestamp { .. } => "a timestamp such as 2024-01-31T10:00:00",
        Column::Date(_) => "a date such as 2024-01-31",
        Column::Time { .. } => "a time such as 10:00:00",
        Column::Bytes(_) => "base64 text",
        _ => "a number that fits the type",
    };
    Err(misfit(token, want))
}

/// A JSON number for an integer column: a fraction is cut, as by Jackson's `asInt`.
fn append_whole(column: &mut Column, text: &str) -> bool {
    if column.append_number(text) {
        return true;
    }
    let Ok(value) = text.parse::<f64>() else { return false };
    match column {
        Column::Int32(values) if value > -2_147_483_649.0 && value < 2_147_483_648.0 => {
            values.append_value(value as i32);
            true
        }
        Column::Int64(values) if (i64::MIN as f64..i64::MAX as f64).contains(&value) => {
            values.append_value(value as i64);
            true
        }
        _ => false,
    }
}

fn misfit(token: &Token<'_>, want: &str) -> Misfit {
    let got = match token {
        Token::Text(text) => format!("\"{text}\""),
        Token::Number(text) | Token::Array(text) | Token::Object(text) => (*text).to_owned(),
        Token::Boolean(value) => value.to_string(),
        Token::Null => "null".to_owned(),
    };
    format!("expected {want}, got {}", shortened(got.as_bytes()))
}
