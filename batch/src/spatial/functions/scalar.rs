//! What all scalar functions share.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BinaryBuilder, BinaryViewArray, BooleanArray, BooleanBuilder, Float64Array,
    Float64Builder, Int64Array, Int64Builder, ListBuilder, StringArray, StringBuilder,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::crs::{Crs, geometry_crs, with_geometry};
use crate::spatial::geometry::{GeometryError, Shape, Tree, wkb};
use crate::spatial::projection::code_of;

/// Arrow's registered name for geometry as WKB.
pub const GEOMETRY_EXTENSION: (&str, &str) = ("ARROW:extension:name", "geoarrow.wkb");

/// What an argument may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// WKB in Binary, LargeBinary or BinaryView.
    Geometry,
    /// Coerced to Float64.
    Number,
    /// Coerced to Int64.
    Integer,
    /// Coerced to Utf8.
    Text,
    /// Boolean.
    Flag,
}

/// What a function returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Returns {
    Geometry,
    Geometries,
    Number,
    Integer,
    Text,
    Flag,
}

impl Returns {
    fn data_type(self) -> DataType {
        match self {
            Returns::Geometry => DataType::Binary,
            Returns::Geometries => DataType::List(Arc::new(Field::new_list_field(DataType::Binary, true))),
            Returns::Number => DataType::Float64,
            Returns::Integer => DataType::Int64,
            Returns::Text => DataType::Utf8,
            Returns::Flag => DataType::Boolean,
        }
    }
}

/// One result.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Geometry(Vec<u8>),
    Geometries(Vec<Vec<u8>>),
    Number(f64),
    Integer(i64),
    Text(String),
    Flag(bool),
}

impl From<Option<f64>> for Value {
    fn from(number: Option<f64>) -> Value {
        number.map_or(Value::Null, Value::Number)
    }
}

/// One function: the last `optional` arguments may be left out.
#[derive(Clone, Copy)]
pub struct Definition {
    pub name: &'static str,
    pub aliases: &'static [&'static str],
    pub args: &'static [Kind],
    pub optional: usize,
    pub returns: Returns,
    pub kernel: fn(&Row<'_>) -> Result<Value, GeometryError>,
}

/// The arguments of one row, none of them NULL.
pub struct Row<'a> {
    columns: &'a [Column],
    at: usize,
}

impl Row<'_> {
    /// How many arguments were given.
    #[expect(clippy::len_without_is_empty, reason = "no function is called without arguments")]
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    fn place(&self, argument: usize) -> (&Column, usize) {
        let column = &self.columns[argument];
        (column, if column.constant { 0 } else { self.at })
    }

    /// The geometry's bytes.
    pub fn wkb(&self, argument: usize) -> &[u8] {
        let (column, at) = self.place(argument);
        match &column.values {
            Values::Binary(array) => array.value(at),
            Values::BinaryView(array) => array.value(at),
            _ => &[],
        }
    }

    /// The geometry, parsed; a constant is parsed once.
    pub fn shape(&self, argument: usize) -> Result<Cow<'_, Shape>, GeometryError> {
        let (column, _) = self.place(argument);
        let decode = || {
            let mut shape = Shape::decode(self.wkb(argument))?;
            if shape.srid == 0 {
                shape.srid = column.srid;
            }
            Ok(shape)
        };
        if !column.constant {
            return decode().map(Cow::Owned);
        }
        let shape = column.shape.get_or_init(decode);
        shape.as_ref().map(Cow::Borrowed).map_err(Clone::clone)
    }

    /// The geometry with all its ordinates, and its SRID.
    pub fn tree(&self, argument: usize) -> Result<(Tree, u32), GeometryError> {
        let (tree, srid) = Tree::decode(self.wkb(argument))?;
        Ok((tree, if srid == 0 { self.place(argument).0.srid } else { srid }))
    }

    /// The SRID in the geometry's bytes, else its column's; 0: none.
    pub fn srid(&self, argument: usize) -> Result<u32, GeometryError> {
        let own = wkb::header(self.wkb(argument))?.srid.filter(|srid| *srid != 0);
        Ok(own.unwrap_or(self.place(argument).0.srid))
    }

    pub fn number(&self, argument: usize) -> f64 {
        let (column, at) = self.place(argument);
        if let Values::Number(array) = &column.values {
            array.value(at)
        } else {
            f64::NAN
        }
    }

    pub fn integer(&self, argument: usize) -> i64 {
        let (column, at) = self.place(argument);
        if let Values::Integer(array) = &column.values {
            array.value(at)
        } else {
            0
        }
    }

    pub fn text(&self, argument: usize) -> &str {
        let (column, at) = self.place(argument);
        if let Values::Text(array) = &column.values {
            array.value(at)
        } else {
            ""
        }
    }
}

struct Column {
    values: Values,
    constant: bool,
    /// That the field's reference system has; 0: none.
    srid: u32,
    shape: OnceCell<Result<Shape, GeometryError>>,
}

enum Values {
    Binary(BinaryArray),
    BinaryView(BinaryViewArray),
    Number(Float64Array),
    Integer(Int64Array),
    Text(StringArray),
    Flag(BooleanArray),
}

impl Column {
    fn new(value: &ColumnarValue, kind: Kind, field: Option<&FieldRef>) -> Result<Column> {
        let (array, constant) = match value {
            ColumnarValue::Array(array) => (Arc::clone(array), false),
            ColumnarValue::Scalar(scalar) => (scalar.to_array_of_size(1)?, true),
        };
        let values = match kind {
            Kind::Geometry => geometry_values(&array)?,
            Kind::Number => Values::Number(downcast(&cast(&array, &DataType::Float64)?)?),
            Kind::Integer => Values::Integer(downcast(&cast(&array, &DataType::Int64)?)?),
            Kind::Text => Values::Text(downcast(&cast(&array, &DataType::Utf8)?)?),
            Kind::Flag => Values::Flag(downcast(&cast(&array, &DataType::Boolean)?)?),
        };
        let crs = field.and_then(|field| geometry_crs(field)).flatten();
        Ok(Column {
            values,
            constant,
            srid: crs.map_or(0, |crs| crs.srid()),
            shape: OnceCell::new(),
        })
    }

    fn is_null(&self, row: usize) -> bool {
        let at = if self.constant { 0 } else { row };
        match &self.values {
            Values::Binary(array) => array.is_null(at),
            Values::BinaryView(array) => array.is_null(at),
            Values::Number(array) => array.is_null(at),
            Values::Integer(array) => array.is_null(at),
            Values::Text(array) => array.is_null(at),
            Values::Flag(array) => array.is_null(at),
        }
    }
}

fn downcast<T: Clone + 'static>(array: &ArrayRef) -> Result<T> {
    match array.as_any().downcast_ref::<T>() {
        Some(array) => Ok(array.clone()),
        None => exec_err!("an argument has the unexpected type {}", array.data_type()),
    }
}

fn geometry_values(array: &ArrayRef) -> Result<Values> {
    Ok(match array.data_type() {
        DataType::BinaryView => Values::BinaryView(downcast(array)?),
        DataType::Binary => Values::Binary(downcast(array)?),
        _ => Values::Binary(downcast(&cast(array, &DataType::Binary)?)?),
    })
}

/// A geometry column's bytes by row, `None` for NULL: for operators, which have no [`Row`].
pub fn geometry_column(array: &ArrayRef) -> Result<impl Fn(usize) -> Option<Vec<u8>> + use<>> {
    let values = geometry_values(array)?;
    Ok(move |row| match &values {
        Values::Binary(array) => array.is_valid(row).then(|| array.value(row).to_vec()),
        Values::BinaryView(array) => array.is_valid(row).then(|| array.value(row).to_vec()),
        _ => None,
    })
}

/// Makes DataFusion's function of a definition.
pub fn udf(definition: Definition) -> ScalarUDF {
    let signature = Signature::user_defined(Volatility::Immutable);
    ScalarUDF::new_from_impl(Function { definition, signature }).with_aliases(definition.aliases.iter().copied())
}

struct Function {
    definition: Definition,
    signature: Signature,
}

impl Function {
    fn fail(&self, error: &GeometryError) -> DataFusionError {
        DataFusionError::Execution(format!("{}: {error}", self.definition.name))
    }

    fn array(&self, columns: &[Column], rows: usize) -> Result<ArrayRef> {
        let mut out = Output::new(self.definition.returns, rows);
        for at in 0..rows {
            if columns.iter().any(|column| column.is_null(at)) {
                out.push(Value::Null);
                continue;
            }
            let value = (self.definition.kernel)(&Row { columns, at });
            out.push(value.map_err(|error| self.fail(&error))?);
        }
        Ok(out.finish())
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.definition.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(self.definition.returns.data_type())
    }

    /// A geometry keeps the reference system of its arguments, unless the function gives it another.
    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let field = Field::new(self.name(), self.definition.returns.data_type(), true);
        let given = args.arg_fields.iter().zip(self.definition.args);
        let geometries = given.filter(|(_, kind)| **kind == Kind::Geometry);
        let mut crs: Option<Crs> = None;
        for of_argument in geometries.filter_map(|(field, _)| geometry_crs(field).flatten()) {
            match &crs {
                Some(first) if !Crs::compatible(Some(first), Some(&of_argument)) => {
                    return plan_err!(
                        "{}: the geometries have different reference systems, {} and {}: transform one, or set the same SRID \
                         on both",
                        self.name(),
                        first.name(),
                        of_argument.name()
                    );
                }
                Some(_) => {}
                None => crs = Some(of_argument),
            }
        }
        if self.definition.returns != Returns::Geometry {
            return Ok(Arc::new(field));
        }
        if self.name() == "st_transform" {
            let target = args.scalar_arguments.last().copied().flatten();
            let target = target.and_then(|value| value.try_as_str().flatten());
            // A target that differs by row is in the bytes.
            crs = target.and_then(|name| code_of(name).ok()).and_then(Crs::of_srid);
        } else if let Some(at) = srid_argument(self.name())
            && at < args.arg_fields.len()
        {
            let literal = args.scalar_arguments.get(at).copied().flatten();
            let literal = literal.and_then(|value| value.cast_to(&DataType::Int64).ok());
            crs = match literal {
                Some(ScalarValue::Int64(Some(srid))) => u32::try_from(srid).ok().and_then(Crs::of_srid),
                // It differs by row; the bytes have it.
                _ => None,
            };
        }
        Ok(Arc::new(with_geometry(field, crs.as_ref())))
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let Definition {
            name, args, optional, ..
        } = self.definition;
        if given.len() > args.len() || given.len() < args.len() - optional {
            let wanted = if optional == 0 {
                args.len().to_string()
            } else {
                format!("{} to {}", args.len() - optional, args.len())
            };
            return plan_err!("{name} takes {wanted} arguments, not {}", given.len());
        }
        let coerced = given.iter().zip(args).enumerate();
        coerced
            .map(|(at, (given, kind))| coerce(name, at + 1, given, *kind))
            .collect()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let pairs = args.args.iter().zip(self.definition.args).enumerate();
        let columns: Vec<Column> = pairs
            .map(|(at, (value, kind))| Column::new(value, *kind, args.arg_fields.get(at)))
            .collect::<Result<_>>()?;
        if columns.iter().all(|column| column.constant) {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                &self.array(&columns, 1)?,
                0,
            )?));
        }
        Ok(ColumnarValue::Array(self.array(&columns, args.number_rows)?))
    }
}

/// The argument that is the SRID of what a function makes.
fn srid_argument(name: &str) -> Option<usize> {
    match name {
        "st_setsrid" | "st_geomfromwkt" | "st_geomfromwkb" => Some(1),
        "st_pointfromtext"
        | "st_linefromtext"
        | "st_polygonfromtext"
        | "st_mpointfromtext"
        | "st_mlinefromtext"
        | "st_mpolyfromtext"
        | "st_geomcollfromtext" => Some(1),
        "st_point" => Some(2),
        "st_pointz" | "st_pointm" => Some(3),
        "st_pointzm" | "st_makeenvelope" => Some(4),
        _ => None,
    }
}

fn coerce(name: &str, place: usize, given: &DataType, wanted: Kind) -> Result<DataType> {
    let (fits, coerced, noun) = match wanted {
        Kind::Geometry => {
            let keep = matches!(given, DataType::Binary | DataType::BinaryView);
            let binary = keep || matches!(given, DataType::LargeBinary | DataType::FixedSizeBinary(_));
            (
                binary,
                if keep { given.clone() } else { DataType::Binary },
                "a geometry (WKB)",
            )
        }
        Kind::Number => (given.is_numeric(), DataType::Float64, "a number"),
        Kind::Integer => (given.is_numeric(), DataType::Int64, "an integer"),
        Kind::Text => (given.is_string(), DataType::Utf8, "a text"),
        Kind::Flag => (*given == DataType::Boolean, DataType::Boolean, "true or false"),
    };
    if fits || *given == DataType::Null {
        return Ok(coerced);
    }
    let hint = match (wanted, given.is_string()) {
        (Kind::Geometry, true) => ": make one with ST_GeomFromWKT",
        _ => "",
    };
    plan_err!("argument {place} of {name} must be {noun}, not {given}{hint}")
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.definition.name)
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.definition.name == other.definition.name
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.definition.name.hash(state);
    }
}

/// The result column while it is made.
enum Output {
    Geometry(BinaryBuilder),
    Geometries(ListBuilder<BinaryBuilder>),
    Number(Float64Builder),
    Integer(Int64Builder),
    Text(StringBuilder),
    Flag(BooleanBuilder),
}

impl Output {
    fn new(returns: Returns, rows: usize) -> Output {
        match returns {
            Returns::Geometry => Output::Geometry(BinaryBuilder::with_capacity(rows, rows * 21)),
            Returns::Geometries => Output::Geometries(ListBuilder::new(BinaryBuilder::new())),
            Returns::Number => Output::Number(Float64Builder::with_capacity(rows)),
            Returns::Integer => Output::Integer(Int64Builder::with_capacity(rows)),
            Returns::Text => Output::Text(StringBuilder::new()),
            Returns::Flag => Output::Flag(BooleanBuilder::with_capacity(rows)),
        }
    }

    /// A value of another kind than the definition says is NULL: the tables' tests find it.
    fn push(&mut self, value: Value) {
        match (self, value) {
            (Output::Geometry(out), Value::Geometry(bytes)) => out.append_value(bytes),
            (Output::Geometry(out), _) => out.append_null(),
            (Output::Geometries(out), Value::Geometries(list)) => {
                list.iter().for_each(|bytes| out.values().append_value(bytes));
                out.append(true);
            }
            (Output::Geometries(out), _) => out.append_null(),
            (Output::Number(out), Value::Number(number)) => out.append_value(number),
            (Output::Number(out), _) => out.append_null(),
            (Output::Integer(out), Value::Integer(integer)) => out.append_value(integer),
            (Output::Integer(out), _) => out.append_null(),
            (Output::Text(out), Value::Text(text)) => out.append_value(text),
            (Output::Text(out), _) => out.append_null(),
            (Output::Flag(out), Value::Flag(flag)) => out.append_value(flag),
            (Output::Flag(out), _) => out.append_null(),
        }
    }

    fn finish(self) -> ArrayRef {
        match self {
            Output::Geometry(mut out) => Arc::new(out.finish()),
            Output::Geometries(mut out) => Arc::new(out.finish()),
            Output::Number(mut out) => Arc::new(out.finish()),
            Output::Integer(mut out) => Arc::new(out.finish()),
            Output::Text(mut out) => Arc::new(out.finish()),
            Output::Flag(mut out) => Arc::new(out.finish()),
        }
    }
}
