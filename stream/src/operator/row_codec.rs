//! Whole rows as bytes that can be compared, kept and turned into columns again.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::datatypes::SchemaRef;
use arrow::row::{OwnedRow, RowConverter, Rows as Encoded, SortField};

use super::calc::table;
use crate::Error;

/// A kept row; shared by the state and the changes that are on their way out.
pub type Kept = Arc<OwnedRow>;

/// Encodes the rows of one schema.
pub struct RowCodec {
    converter: RowConverter,
    schema: SchemaRef,
    nothing: OwnedRow,
}

impl RowCodec {
    pub fn new(schema: &SchemaRef) -> Result<Self, Error> {
        let fields: Vec<SortField> = schema
            .fields()
            .iter()
            .map(|field| SortField::new(field.data_type().clone()))
            .collect();
        if fields.is_empty() {
            return Err(Error::unsupported("state about rows without columns"));
        }
        let converter = RowConverter::new(fields)
            .map_err(|error| Error::unsupported(format!("state about a column of this type ({error})")))?;
        let nulls: Vec<ArrayRef> = schema
            .fields()
            .iter()
            .map(|field| new_null_array(field.data_type(), 1))
            .collect();
        let nothing = converter.convert_columns(&nulls)?.row(0).owned();
        Ok(Self {
            converter,
            schema: Arc::clone(schema),
            nothing,
        })
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub fn encode(&self, batch: &RecordBatch) -> Result<Encoded, Error> {
        Ok(self.converter.convert_columns(batch.columns())?)
    }

    /// The columns of these rows; NULL in all of them where there is none.
    pub fn decode<'a>(&self, rows: impl Iterator<Item = Option<&'a OwnedRow>>) -> Result<Vec<ArrayRef>, Error> {
        let rows = rows.map(|row| row.unwrap_or(&self.nothing).row());
        Ok(self.converter.convert_rows(rows)?)
    }

    pub fn batch<'a>(&self, rows: impl ExactSizeIterator<Item = &'a OwnedRow>) -> Result<RecordBatch, Error> {
        let count = rows.len();
        table(&self.schema, self.decode(rows.map(Some))?, count)
    }
}

/// The bytes of each row's key, none where a column that is compared by `=` is NULL. Without columns all rows have one key.
pub struct Keys {
    converter: Option<RowConverter>,
    columns: Vec<usize>,
    null_safe: Vec<bool>,
}

impl Keys {
    pub fn new(schema: &SchemaRef, columns: &[usize], null_safe: &[bool]) -> Result<Self, Error> {
        let fields: Vec<SortField> = columns
            .iter()
            .map(|column| SortField::new(schema.field(*column).data_type().clone()))
            .collect();
        let converter = match fields.is_empty() {
            true => None,
            false => Some(
                RowConverter::new(fields)
                    .map_err(|error| Error::unsupported(format!("a key of this type ({error})")))?,
            ),
        };
        Ok(Self {
            converter,
            columns: columns.to_vec(),
            null_safe: null_safe.to_vec(),
        })
    }

    pub fn columns(&self, batch: &RecordBatch) -> Vec<ArrayRef> {
        self.columns
            .iter()
            .map(|column| Arc::clone(batch.column(*column)))
            .collect()
    }

    pub fn of(&self, batch: &RecordBatch) -> Result<Vec<Option<Box<[u8]>>>, Error> {
        let Some(converter) = &self.converter else {
            return Ok(vec![Some(Box::default()); batch.num_rows()]);
        };
        let columns = self.columns(batch);
        let nulls: Vec<_> = columns
            .iter()
            .zip(&self.null_safe)
            .filter(|(_, safe)| !**safe)
            .filter_map(|(column, _)| column.logical_nulls())
            .collect();
        let encoded = converter.convert_columns(&columns)?;
        let key = |row: usize| {
            let unknown = nulls.iter().any(|nulls| nulls.is_null(row));
            (!unknown).then(|| Box::from(encoded.row(row).as_ref()))
        };
        Ok((0..batch.num_rows()).map(key).collect())
    }
}
