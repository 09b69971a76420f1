//! The `raw` format: the message is the value of the table's only column.

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};

use super::column::{Column, Rows};
use super::view::{Value, views};
use super::{Decoder, Encoder, FormatOptions, RowText};
use crate::Error;

/// The `raw.*` options.
#[derive(Debug, Clone, Copy)]
pub struct RawOptions {
    big_endian: bool,
}

impl RawOptions {
    pub fn read(options: &FormatOptions<'_>) -> Result<Self, Error> {
        options.refuse("charset", "UTF-8")?;
        let endianness = options.one_of("endianness", &["big-endian", "little-endian"], "big-endian")?;
        Ok(Self {
            big_endian: endianness == "big-endian",
        })
    }
}

fn only_column(schema: &SchemaRef) -> Result<(), Error> {
    use DataType::{Binary, Boolean, Float32, Float64, Int8, Int16, Int32, Int64, Utf8};
    match schema.fields().as_ref() {
        [field] => match field.data_type() {
            Binary | Boolean | Float32 | Float64 | Int8 | Int16 | Int32 | Int64 | Utf8 => Ok(()),
            other => Err(Error::validate(format!(
                "The 'raw' format doesn't supports '{other}' as column type."
            ))),
        },
        fields => Err(Error::validate(format!(
            "The 'raw' format only supports single physical column. But the defined schema contains {} physical columns.",
            fields.len()
        ))),
    }
}

/// Takes messages as they are.
#[derive(Debug)]
pub struct RawDecoder {
    rows: Rows,
    options: RawOptions,
}

impl RawDecoder {
    pub fn new(schema: SchemaRef, options: RawOptions) -> Result<Self, Error> {
        only_column(&schema)?;
        Ok(Self {
            rows: Rows::new(schema)?,
            options,
        })
    }

    fn number<const N: usize>(&self, message: &[u8]) -> Result<[u8; N], Error> {
        let mut bytes: [u8; N] = message.try_into().map_err(|_| {
            Error::runtime(format!(
                "Size of data received for deserializing is not {N} but {}.",
                message.len()
            ))
        })?;
        if !self.options.big_endian {
            bytes.reverse();
        }
        Ok(bytes)
    }
}

impl Decoder for RawDecoder {
    fn decode(&mut self, message: &[u8]) -> Result<(), Error> {
        let (b1, b2, b4, b8) = (
            self.number::<1>(message),
            self.number::<2>(message),
            self.number::<4>(message),
            self.number::<8>(message),
        );
        match &mut self.rows.columns[0] {
            Column::Text(values) => values.append_value(String::from_utf8_lossy(message)),
            Column::Bytes(values) => values.append_value(message),
            Column::Boolean(values) => values.append_value(b1?[0] != 0),
            Column::Int8(values) => values.append_value(i8::from_be_bytes(b1?)),
            Column::Int16(values) => values.append_value(i16::from_be_bytes(b2?)),
            Column::Int32(values) => values.append_value(i32::from_be_bytes(b4?)),
            Column::Int64(values) => values.append_value(i64::from_be_bytes(b8?)),
            Column::Float32(values) => values.append_value(f32::from_be_bytes(b4?)),
            Column::Float64(values) => values.append_value(f64::from_be_bytes(b8?)),
            other => other.append_null(),
        }
        self.rows.close_row();
        Ok(())
    }

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn finish(&mut self) -> Result<RecordBatch, Error> {
        self.rows.finish()
    }
}

/// Writes values as they are; null is an empty message.
#[derive(Debug)]
pub struct RawEncoder {
    options: RawOptions,
    width: usize,
}

impl RawEncoder {
    pub fn new(schema: &SchemaRef, options: RawOptions) -> Result<Self, Error> {
        only_column(schema)?;
        Ok(Self {
            options,
            width: schema.field(0).data_type().primitive_width().unwrap_or(0),
        })
    }
}

impl Encoder for RawEncoder {
    fn encode(&self, batch: &RecordBatch, row_done: &mut RowText<'_>) -> Result<(), Error> {
        let views = views(batch)?;
        for row in 0..batch.num_rows() {
            let mut number = match views[0].value(row) {
                Value::Text(text) => {
                    row_done(row, text.as_bytes())?;
                    continue;
                }
                Value::Bytes(bytes) => {
                    row_done(row, bytes)?;
                    continue;
                }
                Value::Boolean(value) => vec![u8::from(value)],
                Value::Integer(value) => value.to_be_bytes()[8 - self.width..].to_vec(),
                Value::Float(value) => value.to_be_bytes().to_vec(),
                Value::Double(value) => value.to_be_bytes().to_vec(),
                _ => Vec::new(),
            };
            if !self.options.big_endian {
                number.reverse();
            }
            row_done(row, &number)?;
        }
        Ok(())
    }
}
