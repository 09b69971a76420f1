//! The ten named predicates of the simple features.

use std::sync::OnceLock;

use geo::coordinate_position::CoordPos;
use geo::dimensions::Dimensions;
use geo::relate::IntersectionMatrix;
use geo::{Coord, Geometry, Intersects, PreparedGeometry, Relate};

use super::locate::{Locator, Position, position};
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
            (a, b) => match self {
                Predicate::Intersects => a.intersects(b),
                Predicate::Disjoint => !a.intersects(b),
                _ => self.in_matrix(&a.relate(b)),
            },
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

    fn in_matrix(self, matrix: &IntersectionMatrix) -> bool {
        match self {
            Predicate::Intersects => matrix.is_intersects(),
            Predicate::Disjoint => matrix.is_disjoint(),
            Predicate::Contains => matrix.is_contains(),
            Predicate::Within => matrix.is_within(),
            Predicate::Covers => matrix.is_covers(),
            Predicate::CoveredBy => matrix.is_coveredby(),
            Predicate::Touches => matrix.is_touches(),
            Predicate::Crosses => matrix.is_crosses(),
            Predicate::Overlaps => matrix.is_overlaps(),
            Predicate::Equals => matrix.is_equal_topo(),
        }
    }
}

fn is_area(geometry: &Geometry<f64>) -> bool {
    matches!(geometry, Geometry::Polygon(_) | Geometry::MultiPolygon(_))
}

/// The nine dimensions of DE-9IM as text: `212101212`.
pub fn matrix(a: &Shape, b: &Shape) -> String {
    let matrix = a.geometry.relate(&b.geometry);
    let positions = [CoordPos::Inside, CoordPos::OnBoundary, CoordPos::Outside];
    let cells = positions
        .iter()
        .flat_map(|row| positions.iter().map(|column| matrix.get(*row, *column)));
    cells
        .map(|dimensions| match dimensions {
            Dimensions::Empty => 'F',
            Dimensions::ZeroDimensional => '0',
            Dimensions::OneDimensional => '1',
            Dimensions::TwoDimensional => '2',
        })
        .collect()
}

/// A shape of a join's build side, which meets many others: what helps is made at its first use and kept.
#[derive(Debug)]
pub struct Prepared {
    pub shape: Shape,
    locator: OnceLock<Option<Locator>>,
}

impl Prepared {
    pub fn new(shape: Shape) -> Prepared {
        Prepared {
            shape,
            locator: OnceLock::new(),
        }
    }

    /// Whether the predicate holds for (this, each of `others`), in order.
    ///
    /// The graph for the intersection matrix is made once a call: it cannot be shared between threads, so a caller
    /// hands over all that one batch wants to know.
    pub fn holds<'s>(&self, predicate: Predicate, others: impl Iterator<Item = &'s Shape>) -> Vec<bool> {
        let locator = self.locator.get_or_init(|| Locator::new(&self.shape.geometry));
        let mut graph: Option<PreparedGeometry<'_, &Geometry<f64>>> = None;
        let matrix_wanted = !matches!(predicate, Predicate::Intersects | Predicate::Disjoint);
        others
            .map(|other| match (&other.geometry, locator) {
                (Geometry::Point(point), Some(locator)) if other.matchable() && self.shape.matchable() => {
                    predicate.of_area_and_point(locator.position(point.0))
                }
                (Geometry::Point(_), _) => predicate.holds(&self.shape, other),
                (geometry, _)
                    if matrix_wanted && self.meets(other) && !matches!(self.shape.geometry, Geometry::Point(_)) =>
                {
                    let graph = graph.get_or_insert_with(|| PreparedGeometry::from(&self.shape.geometry));
                    predicate.in_matrix(&graph.relate(geometry))
                }
                _ => predicate.holds(&self.shape, other),
            })
            .collect()
    }

    fn meets(&self, other: &Shape) -> bool {
        matches!((&self.shape.bounds, &other.bounds), (Some(a), Some(b)) if a.intersects(b))
    }
}
