//! Aggregates over geometry: ST_Envelope_Agg, ST_Collect_Agg, ST_Union_Agg, ST_Intersection_Agg.
//!
//! NULLs are left out; over no rows each is NULL. The envelope needs a box as its state. The others gather the rows'
//! geometries and compute at the end, in one sweep: a union row by row would build all that grows in between.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, TypeSignature, Volatility};
use geo::{Geometry, GeometryCollection};

use super::crs::{geometry_crs, with_geometry};
use super::measure::envelope;
use super::scalar::geometry_column;
use super::vertices::lifted;
use crate::spatial::geometry::wkb::{self, Kind};
use crate::spatial::geometry::{Bounds, GeometryError, Shape, Tree, bounds};
use crate::spatial::overlay::{self, Operation};

pub fn all() -> Vec<Arc<AggregateUDF>> {
    let makes = [Make::Envelope, Make::Collection, Make::Union, Make::Intersection];
    let function = |make| {
        let binary = [DataType::Binary, DataType::BinaryView].map(|kind| TypeSignature::Exact(vec![kind]));
        let signature = Signature::one_of(binary.to_vec(), Volatility::Immutable);
        Arc::new(AggregateUDF::new_from_impl(Aggregate { make, signature }))
    };
    makes.into_iter().map(function).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Make {
    Envelope,
    Collection,
    Union,
    Intersection,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Aggregate {
    make: Make,
    signature: Signature,
}

impl AggregateUDFImpl for Aggregate {
    fn name(&self) -> &str {
        match self.make {
            Make::Envelope => "st_envelope_agg",
            Make::Collection => "st_collect_agg",
            Make::Union => "st_union_agg",
            Make::Intersection => "st_intersection_agg",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Binary)
    }

    fn return_field(&self, arg_fields: &[FieldRef]) -> Result<FieldRef> {
        let crs = arg_fields.first().and_then(|field| geometry_crs(field)).flatten();
        let field = Field::new(self.name(), DataType::Binary, true);
        Ok(Arc::new(with_geometry(field, crs.as_ref())))
    }

    fn accumulator(&self, _args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(match self.make {
            Make::Envelope => Box::new(Envelope { bounds: None, srid: 0 }),
            make => Box::new(Gather {
                name: self.name().to_string(),
                make,
                rows: Vec::new(),
                bytes: 0,
            }),
        })
    }
}

fn fail(name: &str, error: &GeometryError) -> DataFusionError {
    DataFusionError::Execution(format!("{name}: {error}"))
}

/// The box so far. Its state is the box as a geometry, whose box it is again.
#[derive(Debug)]
struct Envelope {
    bounds: Option<Bounds>,
    srid: u32,
}

impl Envelope {
    fn value(&self) -> ScalarValue {
        ScalarValue::Binary(self.bounds.map(|bounds| wkb::encode(&envelope(&bounds), self.srid)))
    }
}

impl Accumulator for Envelope {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let rows = geometry_column(&values[0])?;
        for bytes in (0..values[0].len()).filter_map(rows) {
            let of_row = bounds(&bytes).map_err(|error| fail("st_envelope_agg", &error))?;
            let Some(of_row) = of_row else { continue };
            self.bounds = Some(self.bounds.map_or(of_row, |bounds| bounds.union(of_row)));
            if self.srid == 0 {
                self.srid = wkb::header(&bytes).ok().and_then(|header| header.srid).unwrap_or(0);
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.value())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.value()])
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

/// The rows' geometries. Their state is one after the other, each with its length in front.
#[derive(Debug)]
struct Gather {
    name: String,
    make: Make,
    rows: Vec<Vec<u8>>,
    bytes: usize,
}

impl Gather {
    fn add(&mut self, bytes: Vec<u8>) {
        self.bytes += bytes.capacity() + size_of::<Vec<u8>>();
        self.rows.push(bytes);
    }

    fn compute(&self) -> Result<Option<Vec<u8>>, GeometryError> {
        if self.rows.is_empty() {
            return Ok(None);
        }
        let decoded = self.rows.iter().map(|bytes| Tree::decode(bytes));
        let (trees, srids): (Vec<Tree>, Vec<u32>) = decoded.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
        let shapes: Vec<Shape> = self
            .rows
            .iter()
            .map(|bytes| Shape::decode(bytes))
            .collect::<Result<_, _>>()?;
        let mut srid = srids[0];
        for shape in &shapes[1..] {
            srid = shapes[0].same_srid(shape)?.max(srid);
        }
        let finite = matches!(self.make, Make::Collection) || shapes.iter().all(|shape| shape.finite);
        if !finite {
            return Err(GeometryError::Unsupported("a coordinate is NaN or infinite".into()));
        }
        let geometries = || shapes.iter().map(|shape| (shape.is_empty(), shape.geometry.clone()));
        let made = match self.make {
            Make::Union => lifted(&wkb::encode(&overlay::union(&some(geometries()))?, srid), &trees)?,
            Make::Intersection => {
                let mut all = geometries().map(|(_, geometry)| geometry);
                let first = all
                    .next()
                    .unwrap_or(Geometry::GeometryCollection(GeometryCollection(Vec::new())));
                let common = all.try_fold(first, |common, geometry| {
                    overlay::overlay(&common, &geometry, Operation::Intersection)
                })?;
                lifted(&wkb::encode(&common, srid), &trees)?
            }
            _ => collect(trees),
        };
        Ok(Some(made.encode(srid)))
    }
}

/// Those that are not empty.
fn some(geometries: impl Iterator<Item = (bool, Geometry<f64>)>) -> Vec<Geometry<f64>> {
    let some = geometries.filter(|(empty, _)| !empty);
    some.map(|(_, geometry)| geometry).collect()
}

impl Accumulator for Gather {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let rows = geometry_column(&values[0])?;
        (0..values[0].len()).filter_map(rows).for_each(|bytes| self.add(bytes));
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let mut out = Vec::with_capacity(self.bytes);
        for row in &self.rows {
            wkb::put_count(&mut out, row.len());
            out.extend_from_slice(row);
        }
        Ok(vec![ScalarValue::Binary(Some(out))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for state in states[0].as_binary::<i32>().iter().flatten() {
            let mut rest = state;
            while let Some((length, tail)) = rest.split_first_chunk::<4>() {
                let length = u32::from_le_bytes(*length) as usize;
                let Some((row, tail)) = tail.split_at_checked(length) else {
                    break;
                };
                self.add(row.to_vec());
                rest = tail;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Binary(
            self.compute().map_err(|error| fail(&self.name, &error))?,
        ))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.bytes
    }
}

/// A multi-geometry where all are of one single kind, else a collection.
pub fn collect(trees: Vec<Tree>) -> Tree {
    let multi = match trees.first().map(Tree::kind) {
        Some(Kind::Point) => Some((Kind::Point, Kind::MultiPoint)),
        Some(Kind::LineString) => Some((Kind::LineString, Kind::MultiLineString)),
        Some(Kind::Polygon) => Some((Kind::Polygon, Kind::MultiPolygon)),
        _ => None,
    };
    match multi {
        Some((single, multi)) if trees.iter().all(|tree| tree.kind() == single) => Tree::members(multi, trees),
        _ => Tree::members(Kind::Collection, trees),
    }
}
