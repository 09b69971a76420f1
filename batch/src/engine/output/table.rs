//! The table for people.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::util::display::FormatOptions;
use arrow::util::pretty::pretty_format_batches_with_options;

use crate::spatial::functions::{GEOMETRY_EXTENSION, geometry_column};
use crate::spatial::geometry::to_wkt;

/// A county has a thousand corners; a cell of a table has room for some.
const TEXT_CHARACTERS_MAX: usize = 120;

/// The rows in a frame, and how many they are.
pub fn draw(batches: &[RecordBatch], schema: SchemaRef) -> Result<String, ArrowError> {
    let mut shown = batches.iter().map(with_text).collect::<Result<Vec<_>, _>>()?;
    if shown.is_empty() {
        shown.push(RecordBatch::new_empty(schema));
    }
    let options = FormatOptions::default().with_null("NULL");
    let table = pretty_format_batches_with_options(&shown, &options)?;
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    Ok(format!("{table}\n{rows} {}\n", if rows == 1 { "row" } else { "rows" }))
}

/// Geometry columns as well-known text.
fn with_text(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let (key, name) = GEOMETRY_EXTENSION;
    let mut fields = Vec::new();
    let mut columns = Vec::new();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        if field.metadata().get(key).is_some_and(|value| value == name) {
            fields.push(Arc::new(Field::new(field.name(), DataType::Utf8, true)));
            columns.push(text(column)?);
        } else {
            fields.push(Arc::clone(field));
            columns.push(Arc::clone(column));
        }
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

fn text(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let bytes = geometry_column(column).map_err(|error| ArrowError::ExternalError(Box::new(error)))?;
    let shorten = |text: String| match text.char_indices().nth(TEXT_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    };
    let show = |row| bytes(row).map(|bytes| to_wkt(&bytes).map_or_else(|error| error.to_string(), shorten));
    Ok(Arc::new((0..column.len()).map(show).collect::<StringArray>()))
}
