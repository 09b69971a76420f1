//! Records into rows: the value's columns, the key's, and Kafka's metadata.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int32Array, Int64Array, MapBuilder, RecordBatch, RecordBatchOptions, StringArray, StringBuilder,
    TimestampMillisecondArray, UInt32Array,
};
use arrow::array::{BinaryBuilder, MapFieldNames};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use log_broker_client::Record;

use super::Settings;
use crate::Error;
use crate::format::Decoder;
use crate::table::TableSpec;

/// Where a column of the table comes from.
#[derive(Debug, Clone, Copy)]
enum Origin {
    Value(usize),
    Key(usize),
    Topic,
    Partition,
    Offset,
    Timestamp,
    Headers,
}

/// Decodes the records of one topic.
pub struct RowDecoder {
    physical: SchemaRef,
    origins: Vec<Origin>,
    value: Box<dyn Decoder>,
    key: Option<Box<dyn Decoder>>,
}

/// The columns in the value and, by the names they have there, those in the key.
pub fn columns_of(table: &TableSpec, settings: &Settings) -> (SchemaRef, SchemaRef) {
    let physical = table
        .physical
        .fields()
        .iter()
        .filter(|field| table.metadata_key(field.name()).is_none());
    let key_columns = settings.key.as_ref().map_or(&[][..], |key| key.columns.as_slice());
    let value: Vec<_> = physical
        .clone()
        .filter(|field| settings.value_has_key || !key_columns.contains(field.name()))
        .cloned()
        .collect();
    let prefix = settings.key.as_ref().map_or("", |key| key.prefix.as_str());
    let key: Vec<Field> = key_columns
        .iter()
        .filter_map(|column| table.physical.field_with_name(column).ok())
        .map(|field| {
            field
                .clone()
                .with_name(field.name().strip_prefix(prefix).unwrap_or(field.name()))
        })
        .collect();
    (Arc::new(Schema::new(value)), Arc::new(Schema::new(key)))
}

impl RowDecoder {
    pub fn new(table: &TableSpec, settings: &Settings) -> Result<Self, Error> {
        let (value, key) = columns_of(table, settings);
        let key_columns = settings.key.as_ref().map_or(&[][..], |key| key.columns.as_slice());
        let origins = table
            .physical
            .fields()
            .iter()
            .map(|field| match table.metadata_key(field.name()) {
                Some(metadata) => metadata_origin(table, field.name(), metadata),
                None => match value.index_of(field.name()) {
                    Ok(index) => Ok(Origin::Value(index)),
                    Err(_) => Ok(Origin::Key(
                        key_columns.iter().position(|c| c == field.name()).unwrap_or_default(),
                    )),
                },
            })
            .collect::<Result<_, _>>()?;
        let key = settings
            .key
            .as_ref()
            .map(|settings| settings.format.decoder(key))
            .transpose()?;
        Ok(Self {
            physical: table.physical.clone(),
            origins,
            value: settings.value_format.decoder(value)?,
            key,
        })
    }

    /// The rows of some records of a partition; those that a format leaves out are left out.
    pub fn decode(&mut self, topic: &str, partition: i32, records: &[Record]) -> Result<RecordBatch, Error> {
        // For each row: its record, and its rows among the decoded values and keys.
        let (mut of_record, mut of_value, mut of_key) = (Vec::new(), Vec::new(), Vec::new());
        for (number, record) in records.iter().enumerate() {
            let place = |error: Error| {
                Error::runtime(format!(
                    "{} It is at {topic}-{partition} offset {}.",
                    error.message(),
                    record.offset
                ))
            };
            let keys_before = self.key.as_ref().map_or(0, |key| key.len());
            let mut keys = keys_before..keys_before + 1;
            if let Some(decoder) = &mut self.key {
                decoder
                    .decode(record.key.as_deref().unwrap_or_default())
                    .map_err(place)?;
                keys.end = decoder.len();
            }
            let values_before = self.value.len();
            if let Some(value) = &record.value {
                self.value.decode(value).map_err(place)?;
            }
            for value in values_before..self.value.len() {
                for key in keys.clone() {
                    of_record.push(number);
                    of_value.push(value as u32);
                    of_key.push(key as u32);
                }
            }
        }
        let values = self.value.finish()?;
        let keys = self.key.as_mut().map(|key| key.finish()).transpose()?;
        let straight =
            of_value.len() == values.num_rows() && of_value.iter().enumerate().all(|(i, v)| i == *v as usize);
        let (of_value, of_key) = (UInt32Array::from(of_value), UInt32Array::from(of_key));
        let picked: Vec<&Record> = of_record.iter().map(|number| &records[*number]).collect();
        let columns = self
            .origins
            .iter()
            .zip(self.physical.fields())
            .map(|(origin, field)| match (origin, &keys) {
                (Origin::Value(index), _) if straight => Ok(values.column(*index).clone()),
                (Origin::Value(index), _) => Ok(take(values.column(*index), &of_value, None)?),
                (Origin::Key(index), Some(keys)) => Ok(take(keys.column(*index), &of_key, None)?),
                _ => metadata_column(*origin, topic, partition, &picked, field.data_type()),
            });
        let columns = columns.collect::<Result<Vec<_>, Error>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(picked.len()));
        Ok(RecordBatch::try_new_with_options(
            self.physical.clone(),
            columns,
            &options,
        )?)
    }
}

fn metadata_origin(table: &TableSpec, column: &str, key: &str) -> Result<Origin, Error> {
    Ok(match key {
        "topic" => Origin::Topic,
        "partition" => Origin::Partition,
        "offset" => Origin::Offset,
        "timestamp" => Origin::Timestamp,
        "headers" => Origin::Headers,
        "leader-epoch" | "timestamp-type" => {
            return Err(Error::unsupported(format!(
                "The metadata '{key}' of column '{column}' is not supported. Leave the column out."
            )));
        }
        other => {
            return Err(Error::validate(format!(
                "Invalid metadata key '{other}' in column '{column}' of table '{}'. The connector 'kafka' supports the \
                 following metadata keys for reading: topic, partition, offset, timestamp, headers.",
                table.name
            )));
        }
    })
}

fn metadata_column(
    origin: Origin,
    topic: &str,
    partition: i32,
    records: &[&Record],
    data_type: &DataType,
) -> Result<ArrayRef, Error> {
    let len = records.len();
    let array: ArrayRef = match origin {
        Origin::Topic => Arc::new(StringArray::from_iter_values(std::iter::repeat_n(topic, len))),
        Origin::Partition => Arc::new(Int32Array::from_value(partition, len)),
        Origin::Offset => Arc::new(Int64Array::from_iter_values(records.iter().map(|r| r.offset))),
        Origin::Headers => headers(records, data_type)?,
        _ => {
            let times = records.iter().map(|record| record.timestamp);
            Arc::new(TimestampMillisecondArray::from_iter_values(times).with_timezone("UTC"))
        }
    };
    Ok(if array.data_type() == data_type {
        array
    } else {
        cast(&array, data_type)?
    })
}

/// `MAP<STRING, BYTES>`; the last of equal names wins.
fn headers(records: &[&Record], data_type: &DataType) -> Result<ArrayRef, Error> {
    let names = match data_type {
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => Some(MapFieldNames {
                entry: entries.name().clone(),
                key: fields[0].name().clone(),
                value: fields[1].name().clone(),
            }),
            _ => None,
        },
        _ => None,
    };
    let mut map = MapBuilder::new(names, StringBuilder::new(), BinaryBuilder::new());
    for record in records {
        for (index, (name, value)) in record.headers.iter().enumerate() {
            if record.headers[index + 1..].iter().any(|(later, _)| later == name) {
                continue;
            }
            map.keys().append_value(name);
            map.values().append_option(value.as_deref());
        }
        map.append(true)?;
    }
    Ok(Arc::new(map.finish()))
}
