//! A field of a row: `address.city`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, make_array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result as DfResult};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

/// Takes field number `index` of a row; the field of a NULL row is NULL.
pub fn udf(index: usize) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(Field {
        index,
        signature: Signature::any(1, Volatility::Immutable),
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Field {
    index: usize,
    signature: Signature,
}

impl ScalarUDFImpl for Field {
    fn name(&self) -> &str {
        "FIELD"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> DfResult<DataType> {
        match args {
            [DataType::Struct(fields)] if self.index < fields.len() => Ok(fields[self.index].data_type().clone()),
            _ => Err(DataFusionError::Plan("a field wants a ROW".into())),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let Some(rows) = arrays.first().and_then(|array| array.as_struct_opt()) else {
            return Err(DataFusionError::Internal("a field wants a ROW".into()));
        };
        let column: &ArrayRef = rows.column(self.index);
        // The row's NULLs are not in its columns.
        let nulls = NullBuffer::union(column.nulls(), rows.nulls());
        if column.data_type() == &DataType::Null {
            return Ok(ColumnarValue::Array(Arc::clone(column)));
        }
        let data = column.to_data().into_builder().nulls(nulls).build()?;
        Ok(ColumnarValue::Array(make_array(data)))
    }
}
