//! Answers in the gateway's JSON: pages of rows, column types, exceptions.

use crate::time::Zone;
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};
use axum::http::Uri;
use serde_json::{Map, Value as Json, json};

use super::operation::{Head, Page};
use crate::Error;
use crate::format::number;
use crate::format::temporal::{self, Fraction, WIDE_TIMESTAMP, digits_of};
use crate::format::view::{Value, views};
use crate::output;
use crate::sql::Facts;
use crate::sql::data_type::Length;

/// STRING is VARCHAR of this length.
const LENGTH_MAX: i64 = i32::MAX as i64;

/// How a page shows its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowFormat {
    Json,
    /// Every value a string, as `CAST(… AS STRING)` gives it: what sql-client asks for.
    PlainText,
}

impl RowFormat {
    fn name(self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::PlainText => "PLAIN_TEXT",
        }
    }
}

/// The answer to `GET …/result/TOKEN`.
pub fn page(page: &Page, format: RowFormat, uri: &Uri, token: u64) -> Result<Json, Error> {
    match page {
        Page::NotReady => Ok(json!({ "resultType": "NOT_READY", "nextResultUri": uri_of(uri, token) })),
        Page::Rows { head, rows } => {
            let mut answer = payload("PAYLOAD", head, data(head, rows, format)?, format);
            answer.insert("nextResultUri".to_owned(), uri_of(uri, token + 1).into());
            Ok(Json::Object(answer))
        }
        Page::End { head } => Ok(Json::Object(payload("EOS", head, Vec::new(), format))),
    }
}

/// The same address with another token.
fn uri_of(uri: &Uri, token: u64) -> String {
    let base = uri.path().rsplit_once('/').map_or("", |(base, _)| base);
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    format!("{base}/{token}{query}")
}

fn payload(kind: &str, head: &Head, data: Vec<Json>, format: RowFormat) -> Map<String, Json> {
    let mut answer = Map::new();
    answer.insert("resultType".to_owned(), kind.into());
    answer.insert("isQueryResult".to_owned(), head.is_query.into());
    if let Some(job) = &head.job {
        answer.insert("jobID".to_owned(), job.as_str().into());
    }
    let result_kind = if head.has_content {
        "SUCCESS_WITH_CONTENT"
    } else {
        "SUCCESS"
    };
    answer.insert("resultKind".to_owned(), result_kind.into());
    let nothing = Facts::default();
    let columns: Vec<Json> = head
        .schema
        .fields()
        .iter()
        .enumerate()
        .map(|(index, field)| column(field, head.facts.get(index).unwrap_or(&nothing)))
        .collect();
    let results = json!({ "columns": columns, "rowFormat": format.name(), "data": data });
    answer.insert("results".to_owned(), results);
    answer
}

fn column(field: &Field, facts: &Facts) -> Json {
    json!({ "name": field.name(), "logicalType": logical_type(field.data_type(), facts), "comment": null })
}

/// Flink's JSON form of a type.
fn logical_type(data_type: &DataType, facts: &Facts) -> Json {
    let nullable = !facts.not_null;
    let plain = |name: &str| json!({ "type": name, "nullable": nullable });
    let sized = |name: &str, key: &str, size: i64| json!({ "type": name, "nullable": nullable, key: size });
    let precision = |unit: TimeUnit| i64::from(facts.precision.unwrap_or_else(|| digits_of(unit)));
    match data_type {
        DataType::Null => plain("NULL"),
        DataType::Boolean => plain("BOOLEAN"),
        DataType::Int8 => plain("TINYINT"),
        DataType::Int16 => plain("SMALLINT"),
        DataType::Int32 => plain("INTEGER"),
        DataType::Int64 => plain("BIGINT"),
        DataType::Float32 => plain("FLOAT"),
        DataType::Float64 => plain("DOUBLE"),
        DataType::Decimal128(precision, scale) => {
            json!({ "type": "DECIMAL", "nullable": nullable, "precision": precision, "scale": scale })
        }
        DataType::Binary => match facts.length {
            Some(Length::Binary(n)) => sized("BINARY", "length", n.into()),
            Some(Length::VarBinary(n)) => sized("VARBINARY", "length", n.into()),
            _ => sized("VARBINARY", "length", LENGTH_MAX),
        },
        DataType::Date32 => plain("DATE"),
        DataType::Time32(unit) => sized("TIME_WITHOUT_TIME_ZONE", "precision", precision(*unit)),
        DataType::Timestamp(unit, zone) => {
            let name = if zone.is_some() {
                "TIMESTAMP_WITH_LOCAL_TIME_ZONE"
            } else {
                "TIMESTAMP_WITHOUT_TIME_ZONE"
            };
            sized(name, "precision", precision(*unit))
        }
        wide if *wide == WIDE_TIMESTAMP => sized(
            "TIMESTAMP_WITHOUT_TIME_ZONE",
            "precision",
            precision(TimeUnit::Nanosecond),
        ),
        DataType::Duration(TimeUnit::Millisecond) => {
            json!({ "type": "INTERVAL_DAY_TIME", "nullable": nullable, "resolution": "DAY_TO_SECOND", "dayPrecision": 2, "fractionalPrecision": 3 })
        }
        DataType::Interval(IntervalUnit::YearMonth) => {
            json!({ "type": "INTERVAL_YEAR_MONTH", "nullable": nullable, "resolution": "YEAR_TO_MONTH", "yearPrecision": 2 })
        }
        DataType::List(item) => {
            json!({ "type": "ARRAY", "nullable": nullable, "elementType": logical_type(item.data_type(), &facts.child(0)) })
        }
        DataType::Map(entries, _) => map_type(entries, facts),
        DataType::Struct(fields) => {
            let fields: Vec<Json> = fields
                .iter()
                .enumerate()
                .map(|(index, field)| json!({ "name": field.name(), "fieldType": logical_type(field.data_type(), &facts.child(index)) }))
                .collect();
            json!({ "type": "ROW", "nullable": nullable, "fields": fields })
        }
        // Utf8 and its views; nothing else leaves a plan.
        _ => match facts.length {
            Some(Length::Char(n)) => sized("CHAR", "length", n.into()),
            Some(Length::VarChar(n)) => sized("VARCHAR", "length", n.into()),
            _ => sized("VARCHAR", "length", LENGTH_MAX),
        },
    }
}

fn map_type(entries: &Field, facts: &Facts) -> Json {
    let side = |index: usize| match entries.data_type() {
        DataType::Struct(fields) => fields
            .get(index)
            .map(|field| logical_type(field.data_type(), &facts.child(index)))
            .unwrap_or(Json::Null),
        _ => Json::Null,
    };
    json!({ "type": "MAP", "nullable": !facts.not_null, "keyType": side(0), "valueType": side(1) })
}

fn data(head: &Head, rows: &[RecordBatch], format: RowFormat) -> Result<Vec<Json>, Error> {
    let mut data = Vec::new();
    for batch in rows {
        rows_of(&mut data, batch, format, head)?;
    }
    Ok(data)
}

fn rows_of(data: &mut Vec<Json>, batch: &RecordBatch, format: RowFormat, head: &Head) -> Result<(), Error> {
    let zone = head.zone;
    let views = views(batch)?;
    for row in 0..batch.num_rows() {
        let mut fields = Vec::with_capacity(views.len());
        for (index, view) in views.iter().enumerate() {
            let precision = head.facts.get(index).and_then(|facts| facts.precision);
            fields.push(match (format, view.value(row)) {
                (_, Value::Null) => Json::Null,
                (RowFormat::Json, value) => {
                    let mut text = String::new();
                    output::write_json_value(&mut text, value, zone);
                    serde_json::from_str(&text)
                        .map_err(|error| Error::runtime(format!("The value '{text}' cannot be answered: {error}.")))?
                }
                (RowFormat::PlainText, value) => {
                    let mut text = String::new();
                    match (value, precision) {
                        (Value::Timestamp { moment, zoned, .. }, Some(digits)) => {
                            let moment = if zoned { output::local(moment, zone) } else { moment };
                            temporal::write_timestamp(&mut text, moment, ' ', Fraction::Fixed(digits));
                        }
                        (Value::Time { second, nano, .. }, Some(digits)) => {
                            temporal::write_time(&mut text, second, nano, Fraction::Fixed(digits));
                        }
                        (value, _) => plain(&mut text, value, zone),
                    }
                    text.into()
                }
            });
        }
        // A query tells its final rows, so there is nothing to take back.
        data.push(json!({ "kind": "INSERT", "fields": fields }));
    }
    Ok(())
}

/// Appends a value as `CAST(… AS STRING)` shows it, nested ones included.
fn plain(out: &mut String, value: Value<'_>, zone: Zone) {
    match value {
        Value::Null => out.push_str("NULL"),
        Value::Boolean(value) => out.push_str(if value { "TRUE" } else { "FALSE" }),
        Value::Integer(value) => out.push_str(&value.to_string()),
        Value::Float(value) => out.push_str(&number::java_float(value)),
        Value::Double(value) => out.push_str(&number::java_double(value)),
        Value::Decimal { unscaled, scale } => out.push_str(&number::plain_decimal(unscaled, scale)),
        Value::Text(text) => out.push_str(text),
        Value::Bytes(bytes) => {
            out.push_str("x'");
            for byte in bytes {
                out.push_str(&format!("{byte:02x}"));
            }
            out.push('\'');
        }
        Value::Date(days) => temporal::write_date(out, days),
        Value::Time { second, nano, unit } => temporal::write_time(out, second, nano, Fraction::Fixed(digits_of(unit))),
        Value::Timestamp { moment, unit, zoned } => {
            let moment = if zoned { output::local(moment, zone) } else { moment };
            temporal::write_timestamp(out, moment, ' ', Fraction::Fixed(digits_of(unit)));
        }
        Value::Millis(millis) => day_time(out, millis),
        Value::Months(months) => {
            let sign = if months < 0 { '-' } else { '+' };
            let months = months.unsigned_abs();
            out.push_str(&format!("{sign}{}-{:02}", months / 12, months % 12));
        }
        Value::List { items, from, to } => {
            nested(out, ('[', ']'), from..to, |out, row| plain(out, items.value(row), zone))
        }
        Value::Map { keys, values, from, to } => nested(out, ('{', '}'), from..to, |out, row| {
            plain(out, keys.value(row), zone);
            out.push('=');
            plain(out, values.value(row), zone);
        }),
        Value::Row { children, row, .. } => {
            nested(out, ('(', ')'), 0..children.len(), |out, child| {
                plain(out, children[child].value(row), zone)
            });
        }
    }
}

fn nested(
    out: &mut String,
    (open, close): (char, char),
    range: std::ops::Range<usize>,
    mut item: impl FnMut(&mut String, usize),
) {
    out.push(open);
    for (place, index) in range.enumerate() {
        if place > 0 {
            out.push_str(", ");
        }
        item(out, index);
    }
    out.push(close);
}

/// `+1 02:03:04.005`.
fn day_time(out: &mut String, millis: i64) {
    let sign = if millis < 0 { '-' } else { '+' };
    let millis = millis.unsigned_abs();
    let (seconds, fraction) = (millis / 1000, millis % 1000);
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let (hours, minutes, seconds) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    out.push_str(&format!(
        "{sign}{days} {hours:02}:{minutes:02}:{seconds:02}.{fraction:03}"
    ));
}

/// The texts of an error answer. The stock clients show the last `Caused by:` line, without its class.
pub fn exception(error: &Error) -> Vec<String> {
    let class = match error {
        Error::Parse(_) => "org.apache.flink.table.api.SqlParserException",
        Error::Validate(_) => "org.apache.flink.table.api.ValidationException",
        Error::Unsupported(_) => "org.apache.flink.table.api.TableException",
        Error::Runtime(_) => "org.apache.flink.util.FlinkRuntimeException",
    };
    let gateway = "org.apache.flink.table.gateway.api.utils.SqlGatewayException";
    let chain = format!(
        "<Exception on server side:\n{gateway}: {gateway}: Failed to fetchResults.\nCaused by: {class}: {}\nEnd of exception on server side>",
        error.message()
    );
    vec!["Internal server error.".to_owned(), chain]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: Value<'_>) -> String {
        let mut out = String::new();
        plain(&mut out, value, Zone::UTC);
        out
    }

    #[test]
    fn plain_text_is_that_of_a_cast_to_string() {
        assert_eq!(text(Value::Boolean(true)), "TRUE");
        assert_eq!(text(Value::Bytes(b"AB")), "x'4142'");
        assert_eq!(text(Value::Millis(86_400_000)), "+1 00:00:00.000");
        assert_eq!(text(Value::Millis(-1)), "-0 00:00:00.001");
        assert_eq!(text(Value::Months(14)), "+1-02");
    }

    #[test]
    fn the_next_page_keeps_version_and_format() {
        let uri: Uri = "/v4/sessions/S/operations/O/result/7?rowFormat=PLAIN_TEXT"
            .parse()
            .unwrap();
        assert_eq!(
            uri_of(&uri, 8),
            "/v4/sessions/S/operations/O/result/8?rowFormat=PLAIN_TEXT"
        );
    }

    #[test]
    fn an_error_names_its_class_last() {
        let texts = exception(&Error::validate("Object 't' not found"));
        assert!(
            texts[1].contains("\nCaused by: org.apache.flink.table.api.ValidationException: Object 't' not found\n")
        );
    }
}
