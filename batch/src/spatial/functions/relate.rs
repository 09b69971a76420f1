//! Predicates between two geometries, and the join condition ST_KNN.

use super::scalar::{Definition, Kind, Returns, Row, Value};
use crate::spatial::geometry::GeometryError;
use crate::spatial::relation::{Predicate, distance, matrix};

/// The name of the nearest-neighbour condition, which the planner looks for.
pub const KNN: &str = "st_knn";

type Answer = Result<Value, GeometryError>;

const PAIR: &[Kind] = &[Kind::Geometry, Kind::Geometry];

/// The predicate that a function name stands for.
pub fn predicate_of(name: &str) -> Option<Predicate> {
    Predicate::ALL.into_iter().find(|predicate| predicate.name() == name)
}

pub fn functions() -> impl Iterator<Item = Definition> {
    let kernels: [fn(&Row<'_>) -> Answer; 10] = [
        |row| holds(row, Predicate::Intersects),
        |row| holds(row, Predicate::Disjoint),
        |row| holds(row, Predicate::Contains),
        |row| holds(row, Predicate::Within),
        |row| holds(row, Predicate::Covers),
        |row| holds(row, Predicate::CoveredBy),
        |row| holds(row, Predicate::Touches),
        |row| holds(row, Predicate::Crosses),
        |row| holds(row, Predicate::Overlaps),
        |row| holds(row, Predicate::Equals),
    ];
    let named = Predicate::ALL
        .into_iter()
        .zip(kernels)
        .map(|(predicate, kernel)| Definition {
            name: predicate.name(),
            aliases: &[],
            args: PAIR,
            optional: 0,
            returns: Returns::Flag,
            kernel,
        });
    let others = [
        Definition {
            name: "st_dwithin",
            aliases: &[],
            args: &[Kind::Geometry, Kind::Geometry, Kind::Number],
            optional: 0,
            returns: Returns::Flag,
            kernel: |row| {
                let (a, b) = (row.shape(0)?, row.shape(1)?);
                a.same_srid(&b)?;
                Ok(Value::Flag(
                    distance(&a, &b).is_some_and(|distance| distance <= row.number(2)),
                ))
            },
        },
        Definition {
            name: "st_relate",
            aliases: &[],
            args: PAIR,
            optional: 0,
            returns: Returns::Text,
            kernel: |row| {
                let (a, b) = (row.shape(0)?, row.shape(1)?);
                a.same_srid(&b)?;
                if !(a.finite && b.finite) {
                    return Ok(Value::Null);
                }
                Ok(Value::Text(matrix(&a, &b)))
            },
        },
        Definition {
            name: KNN,
            aliases: &[],
            args: &[Kind::Geometry, Kind::Geometry, Kind::Integer, Kind::Flag],
            optional: 1,
            returns: Returns::Flag,
            kernel: |_| {
                Err(GeometryError::Unsupported(
                    "it is a join condition: write … JOIN … ON ST_KNN(left, right, k), with one side's geometry each"
                        .into(),
                ))
            },
        },
    ];
    named.chain(others)
}

fn holds(row: &Row<'_>, predicate: Predicate) -> Answer {
    let (a, b) = (row.shape(0)?, row.shape(1)?);
    a.same_srid(&b)?;
    Ok(Value::Flag(predicate.holds(&a, &b)))
}
