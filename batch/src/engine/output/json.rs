//! JSON by the contract: one object a row.

use std::fmt::Write;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// The batch's rows, each on its line.
pub fn rows(batch: &RecordBatch) -> Result<String, ArrowError> {
    let schema = batch.schema();
    let mut columns = Vec::new();
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        columns.push((quoted(field.name()), Column::new(column)?));
    }
    let mut out = String::new();
    for row in 0..batch.num_rows() {
        out.push('{');
        for (at, (name, column)) in columns.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            out.push_str(name);
            out.push(':');
            column.put(row, &mut out)?;
        }
        out.push_str("}\n");
    }
    Ok(out)
}

/// A column with all that writing a value needs, made once a batch.
enum Column {
    Null,
    Float64(ArrayRef),
    Float32(ArrayRef),
    Bytes(ArrayRef),
    Text(ArrayRef),
    /// Integers, booleans and decimals are JSON as Arrow writes them.
    Bare(ArrayRef),
    /// Times and all else are texts as Arrow writes them.
    Quoted(ArrayRef),
    List(ArrayRef, Box<Column>),
    Struct(ArrayRef, Vec<(String, Column)>),
    Map(ArrayRef, Box<Column>, Box<Column>),
}

impl Column {
    fn new(array: &ArrayRef) -> Result<Column, ArrowError> {
        let kept = || ArrayRef::clone(array);
        Ok(match array.data_type() {
            DataType::Null => Column::Null,
            DataType::Float64 => Column::Float64(kept()),
            DataType::Float32 => Column::Float32(kept()),
            DataType::Float16 => Column::Float32(cast(array, &DataType::Float32)?),
            DataType::Binary => Column::Bytes(kept()),
            DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
                Column::Bytes(cast(array, &DataType::Binary)?)
            }
            DataType::Utf8 => Column::Text(kept()),
            DataType::LargeUtf8 | DataType::Utf8View => Column::Text(cast(array, &DataType::Utf8)?),
            DataType::Dictionary(_, values) => Column::new(&cast(array, values)?)?,
            DataType::List(_) => {
                let values = Column::new(array.as_list::<i32>().values())?;
                Column::List(kept(), Box::new(values))
            }
            DataType::LargeList(field) | DataType::FixedSizeList(field, _) | DataType::ListView(field) => {
                Column::new(&cast(array, &DataType::List(field.clone()))?)?
            }
            DataType::Struct(fields) => {
                let columns = fields.iter().zip(array.as_struct().columns());
                let columns = columns.map(|(field, column)| Ok((quoted(field.name()), Column::new(column)?)));
                Column::Struct(kept(), columns.collect::<Result<_, ArrowError>>()?)
            }
            DataType::Map(_, _) => {
                let map = array.as_map();
                let keys = cast(map.keys(), &DataType::Utf8)?;
                Column::Map(
                    kept(),
                    Box::new(Column::new(&keys)?),
                    Box::new(Column::new(map.values())?),
                )
            }
            kind if kind.is_integer() || kind.is_decimal() || *kind == DataType::Boolean => Column::Bare(kept()),
            _ => Column::Quoted(kept()),
        })
    }

    fn put(&self, row: usize, out: &mut String) -> Result<(), ArrowError> {
        let array = match self {
            Column::Null => {
                out.push_str("null");
                return Ok(());
            }
            Column::Float64(array)
            | Column::Float32(array)
            | Column::Bytes(array)
            | Column::Text(array)
            | Column::Bare(array)
            | Column::Quoted(array)
            | Column::List(array, _)
            | Column::Struct(array, _)
            | Column::Map(array, _, _) => array,
        };
        if array.is_null(row) {
            out.push_str("null");
            return Ok(());
        }
        match self {
            Column::Null => {}
            Column::Float64(array) => {
                let value = array.as_primitive::<Float64Type>().value(row);
                put_float(out, value, |out| write!(out, "{value:?}"));
            }
            Column::Float32(array) => {
                let value = array.as_primitive::<Float32Type>().value(row);
                put_float(out, f64::from(value), |out| write!(out, "{value:?}"));
            }
            Column::Bytes(array) => {
                out.push('"');
                for byte in array.as_binary::<i32>().value(row) {
                    let _infallible = write!(out, "{byte:02x}");
                }
                out.push('"');
            }
            Column::Text(array) => out.push_str(&quoted(array.as_string::<i32>().value(row))),
            Column::Bare(array) => out.push_str(&shown(array, row)?),
            Column::Quoted(array) => out.push_str(&quoted(&shown(array, row)?)),
            Column::List(array, values) => {
                let offsets = array.as_list::<i32>().value_offsets();
                out.push('[');
                for at in offsets[row]..offsets[row + 1] {
                    if at > offsets[row] {
                        out.push(',');
                    }
                    values.put(usize::try_from(at).unwrap_or(0), out)?;
                }
                out.push(']');
            }
            Column::Struct(_, columns) => {
                out.push('{');
                for (at, (name, column)) in columns.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    out.push_str(name);
                    out.push(':');
                    column.put(row, out)?;
                }
                out.push('}');
            }
            Column::Map(array, keys, values) => {
                let offsets = array.as_map().value_offsets();
                out.push('{');
                for at in offsets[row]..offsets[row + 1] {
                    if at > offsets[row] {
                        out.push(',');
                    }
                    let at = usize::try_from(at).unwrap_or(0);
                    keys.put(at, out)?;
                    out.push(':');
                    values.put(at, out)?;
                }
                out.push('}');
            }
        }
        Ok(())
    }
}

fn put_float(out: &mut String, value: f64, write: impl FnOnce(&mut String) -> std::fmt::Result) {
    if value.is_nan() {
        out.push_str("\"NaN\"");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "\"Infinity\"" } else { "\"-Infinity\"" });
    } else {
        let _infallible = write(out);
    }
}

fn shown(array: &ArrayRef, row: usize) -> Result<String, ArrowError> {
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(array, &options)?;
    Ok(formatter.value(row).to_string())
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::*;
    use arrow::datatypes::{Field, Fields, Int32Type, Schema};

    use super::*;

    fn line(name: &str, array: ArrayRef) -> String {
        let schema = Schema::new(vec![Field::new(name, array.data_type().clone(), true)]);
        rows(&RecordBatch::try_new(Arc::new(schema), vec![array]).unwrap()).unwrap()
    }

    #[test]
    fn values_keep_the_contract() {
        let floats = Float64Array::from(vec![
            Some(1.0),
            Some(0.1),
            Some(f64::NAN),
            Some(f64::NEG_INFINITY),
            None,
        ]);
        let wanted = "{\"a\":1.0}\n{\"a\":0.1}\n{\"a\":\"NaN\"}\n{\"a\":\"-Infinity\"}\n{\"a\":null}\n";
        assert_eq!(line("a", Arc::new(floats)), wanted);
        assert_eq!(
            line("q\"", Arc::new(StringViewArray::from(vec!["x\"\n"]))),
            "{\"q\\\"\":\"x\\\"\\n\"}\n"
        );
        assert_eq!(
            line("b", Arc::new(BinaryArray::from(vec![&[1u8, 0xAB][..]]))),
            "{\"b\":\"01ab\"}\n"
        );
        assert_eq!(
            line("d", Arc::new(Date32Array::from(vec![19782]))),
            "{\"d\":\"2024-02-29\"}\n"
        );
        let time = TimestampMillisecondArray::from(vec![1709210096789]);
        assert_eq!(
            line("t", Arc::new(time.clone())),
            "{\"t\":\"2024-02-29T12:34:56.789\"}\n"
        );
        assert_eq!(
            line("t", Arc::new(time.with_timezone("UTC"))),
            "{\"t\":\"2024-02-29T12:34:56.789Z\"}\n"
        );
        let decimal = Decimal128Array::from(vec![-12345])
            .with_precision_and_scale(10, 2)
            .unwrap();
        assert_eq!(line("n", Arc::new(decimal)), "{\"n\":-123.45}\n");
        assert_eq!(line("f", Arc::new(BooleanArray::from(vec![true]))), "{\"f\":true}\n");
        let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1), None])]);
        assert_eq!(line("l", Arc::new(list)), "{\"l\":[1,null]}\n");
        let fields = Fields::from(vec![Field::new("x", DataType::Int32, true)]);
        let inner = StructArray::new(fields, vec![Arc::new(Int32Array::from(vec![7]))], None);
        assert_eq!(line("s", Arc::new(inner)), "{\"s\":{\"x\":7}}\n");
    }
}
