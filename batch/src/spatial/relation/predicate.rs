//! The ten named predicates of the simple features.

use std::cmp::Ordering;
use std::sync::OnceLock;

use geo::{Coord, Geometry};

use super::locate::{Locator, Position, locators, position, position_in};
use super::relate::{Matrix, relate};
use super::topology::Topology;
use crate::spatial::geometry::Shape;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Predicate {
    Intersects,
    Disjoint,
    Contains,
    Within,
    Covers,
    CoveredBy,
    Touches,
    Crosses,
    Overlaps,
    Equals,
}

impl Predicate {
    pub const ALL: [Predicate; 10] = [
        Predicate::Intersects,
        Predicate::Disjoint,
        Predicate::Contains,
        Predicate::Within,
        Predicate::Covers,
        Predicate::CoveredBy,
        Predicate::Touches,
        Predicate::Crosses,
        Predicate::Overlaps,
        Predicate::Equals,
    ];

    /// The SQL function.
    pub fn name(self) -> &'static str {
        match self {
            Predicate::Intersects => "st_intersects",
            Predicate::Disjoint => "st_disjoint",
            Predicate::Contains => "st_contains",
            Predicate::Within => "st_within",
            Predicate::Covers => "st_covers",
            Predicate::CoveredBy => "st_coveredby",
            Predicate::Touches => "st_touches",
            Predicate::Crosses => "st_crosses",
            Predicate::Overlaps => "st_overlaps",
            Predicate::Equals => "st_equals",
        }
    }

    /// The predicate that says the same of (b, a).
    pub fn swapped(self) -> Predicate {
        match self {
            Predicate::Contains => Predicate::Within,
            Predicate::Within => Predicate::Contains,
            Predicate::Covers => Predicate::CoveredBy,
            Predicate::CoveredBy => Predicate::Covers,
            same => same,
        }
    }

    /// Whether the predicate holds for (a, b).
    pub fn holds(self, a: &Shape, b: &Shape) -> bool {
        let (Some(a_box), Some(b_box)) = (&a.bounds, &b.bounds) else {
            return match self {
                Predicate::Disjoint => true,
                Predicate::Equals => a.is_empty() && b.is_empty(),
                _ => false,
            };
        };
        if !a_box.intersects(b_box) {
            return self == Predicate::Disjoint;
        }
        match (&a.geometry, &b.geometry) {
            (Geometry::Point(a), Geometry::Point(b)) => self.of_points(a.0, b.0),
            (polygon, Geometry::Point(point)) if is_area(polygon) => {
                position(polygon, point.0).is_some_and(|position| self.of_area_and_point(position))
            }
            (Geometry::Point(point), polygon) if is_area(polygon) => {
                position(polygon, point.0).is_some_and(|position| self.swapped().of_area_and_point(position))
            }
            (a, b) => self.of_topologies(&Topology::of(a), &Topology::of(b)),
        }
    }

    fn of_topologies(self, a: &Topology, b: &Topology) -> bool {
        let matrix = relate(a, b, |matrix| self.decided(matrix).is_some());
        self.decided(&matrix)
            .unwrap_or_else(|| self.in_matrix(&matrix, a.dimension(), b.dimension()))
    }

    /// The answer as soon as an entry of the matrix that is known rules the other out: entries only grow.
    fn decided(self, Matrix([interior, boundary, exterior]): &Matrix) -> Option<bool> {
        let meets = || interior[..2].iter().chain(&boundary[..2]).any(Option::is_some);
        let sticks_out_a = || interior[2].is_some() || boundary[2].is_some();
        let sticks_out_b = || exterior[0].is_some() || exterior[1].is_some();
        match self {
            Predicate::Intersects => meets().then_some(true),
            Predicate::Disjoint => meets().then_some(false),
            Predicate::Contains | Predicate::Covers => sticks_out_b().then_some(false),
            Predicate::Within | Predicate::CoveredBy => sticks_out_a().then_some(false),
            Predicate::Touches => interior[0].is_some().then_some(false),
            Predicate::Equals => (sticks_out_a() || sticks_out_b()).then_some(false),
            Predicate::Crosses | Predicate::Overlaps => None,
        }
    }

    fn of_points(self, a: Coord<f64>, b: Coord<f64>) -> bool {
        match self {
            Predicate::Disjoint => a != b,
            Predicate::Touches | Predicate::Crosses | Predicate::Overlaps => false,
            _ => a == b,
        }
    }

    fn of_area_and_point(self, position: Position) -> bool {
        match self {
            Predicate::Intersects | Predicate::Covers => position != Position::Outside,
            Predicate::Disjoint => position == Position::Outside,
            Predicate::Contains => position == Position::Inside,
            Predicate::Touches => position == Position::Boundary,
            _ => false,
        }
    }

    fn in_matrix(self, Matrix([interior, boundary, exterior]): &Matrix, a: Option<u8>, b: Option<u8>) -> bool {
        let meets = interior[..2].iter().chain(&boundary[..2]).any(Option::is_some);
        let (a_in_b, b_in_a) = (
            interior[2].is_none() && boundary[2].is_none(),
            exterior[0].is_none() && exterior[1].is_none(),
        );
        match self {
            Predicate::Intersects => meets,
            Predicate::Disjoint => !meets,
            Predicate::Contains => interior[0].is_some() && b_in_a,
            Predicate::Within => interior[0].is_some() && a_in_b,
            Predicate::Covers => meets && b_in_a,
            Predicate::CoveredBy => meets && a_in_b,
            Predicate::Touches => interior[0].is_none() && meets,
            Predicate::Equals => interior[0].is_some() && a_in_b && b_in_a,
            Predicate::Crosses => match a.cmp(&b) {
                Ordering::Less => interior[0].is_some() && interior[2].is_some(),
                Ordering::Greater => interior[0].is_some() && exterior[0].is_some(),
                Ordering::Equal => a == Some(1) && interior[0] == Some(0),
            },
            Predicate::Overlaps => {
                let common = if a == Some(1) {
                    interior[0] == Some(1)
                } else {
                    interior[0].is_some()
                };
                a == b && common && interior[2].is_some() && exterior[0].is_some()
            }
        }
    }
}

fn is_area(geometry: &Geometry<f64>) -> bool {
    matches!(geometry, Geometry::Polygon(_) | Geometry::MultiPolygon(_))
}

/// The nine dimensions of DE-9IM as text: `212101212`.
pub fn matrix(a: &Shape, b: &Shape) -> String {
    relate(&Topology::of(&a.geometry), &Topology::of(&b.geometry), |_| false).text()
}

/// A shape of a join's build side, which meets many others: what helps is made at its first use and kept.
#[derive(Debug)]
pub struct Prepared {
    pub shape: Shape,
    locators: OnceLock<Option<Vec<Locator>>>,
    topology: OnceLock<Topology>,
}

impl Prepared {
    pub fn new(shape: Shape) -> Prepared {
        Prepared {
            shape,
            locators: OnceLock::new(),
            topology: OnceLock::new(),
        }
    }

    /// Whether the predicate holds for (this, other).
    pub fn holds(&self, predicate: Predicate, other: &Shape) -> bool {
        let (Some(a), Some(b)) = (&self.shape.bounds, &other.bounds) else {
            return predicate.holds(&self.shape, other);
        };
        if !a.intersects(b) {
            return predicate == Predicate::Disjoint;
        }
        match (&self.shape.geometry, &other.geometry) {
            (Geometry::Point(_), Geometry::Point(_)) => predicate.holds(&self.shape, other),
            (area, Geometry::Point(point)) if is_area(area) => {
                let locators = self.locators.get_or_init(|| locators(area)).as_deref().unwrap_or(&[]);
                predicate.of_area_and_point(position_in(locators, point.0))
            }
            (own, geometry) => {
                let topology = self.topology.get_or_init(|| Topology::of(own));
                predicate.of_topologies(topology, &Topology::of(geometry))
            }
        }
    }
}
