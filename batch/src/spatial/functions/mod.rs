//! SQL's `ST_*`, as one table.
//!
//! Each function is a line in a table of its topic ([`make`], [`access`], [`measure`], [`relate`], [`overlay`], [`combine`],
//! [`lines`], [`rearrange`]): name,
//! argument kinds, result, and a kernel for one row. What is the same for all is written once, in [`scalar`]: arguments
//! are coerced, a NULL argument gives NULL, a constant geometry is parsed once a batch, constants fold, errors carry the
//! function's name. Aggregates are in [`aggregate`].
//!
//! A geometry is `Binary` holding WKB, with Arrow's extension name `geoarrow.wkb` on the fields that functions make.
//! Binary columns of files count as geometry wherever a geometry is wanted. Names are SedonaDB's, and Sedona's where
//! SedonaDB has none. ST_KNN is here only to be parsed: it is a join condition, and an operator answers it.

mod access;
mod aggregate;
mod combine;
pub mod crs;
mod lines;
mod make;
mod measure;
mod overlay;
mod rearrange;
mod relate;
mod scalar;
#[cfg(test)]
mod tests;
mod vertices;

use std::sync::Arc;

use datafusion::logical_expr::{AggregateUDF, ScalarUDF};

pub use relate::{KNN, predicate_of};
pub use scalar::{Definition, GEOMETRY_EXTENSION, Kind, Returns, Row, Value, geometry_column};

fn definitions() -> impl Iterator<Item = Definition> {
    let topics = [
        make::FUNCTIONS,
        access::FUNCTIONS,
        measure::FUNCTIONS,
        overlay::FUNCTIONS,
        combine::FUNCTIONS,
        lines::FUNCTIONS,
        rearrange::FUNCTIONS,
    ];
    topics.into_iter().flatten().copied().chain(relate::functions())
}

/// All scalar functions.
pub fn scalars() -> Vec<ScalarUDF> {
    definitions().map(scalar::udf).collect()
}

/// All aggregate functions.
pub fn aggregates() -> Vec<Arc<AggregateUDF>> {
    aggregate::all()
}
