use geo::{Coord, CoordinatePosition, Geometry, coordinate_position::CoordPos};
use proptest::prelude::*;

use super::*;
use crate::spatial::geometry::{Bounds, Shape, from_wkt};

fn shape(text: &str) -> Shape {
    Shape::decode(&from_wkt(text).unwrap()).unwrap()
}

#[test]
fn empty_and_not_finite_match_nothing() {
    let square = shape("POLYGON((0 0,4 0,4 4,0 4,0 0))");
    let infinite = Shape::decode(&crate::spatial::geometry::wkb::point(f64::INFINITY, 1.0)).unwrap();
    for odd in [
        shape("POINT EMPTY"),
        shape("POLYGON EMPTY"),
        shape("GEOMETRYCOLLECTION EMPTY"),
        infinite.clone(),
    ] {
        for predicate in Predicate::ALL {
            let wanted = predicate == Predicate::Disjoint;
            assert_eq!(predicate.holds(&square, &odd), wanted);
            assert_eq!(predicate.holds(&odd, &square), wanted);
            assert_eq!(Prepared::new(square.clone()).holds(predicate, &odd), wanted);
        }
        assert_eq!(distance(&square, &odd), None);
    }
    assert!(Predicate::Equals.holds(&shape("POINT EMPTY"), &shape("POLYGON EMPTY")));
    assert!(!Predicate::Equals.holds(&infinite, &infinite));
}

#[test]
fn a_ring_of_a_line_has_no_boundary() {
    let ring = shape("LINESTRING(1 1,2 1,2 2,1 1)");
    let start = shape("POINT(1 1)");
    assert!(Predicate::Within.holds(&start, &ring) && !Predicate::Touches.holds(&start, &ring));
    assert!(Predicate::Equals.holds(&start, &shape("MULTIPOINT(1 1)")));
}

#[test]
fn a_collection_is_the_union_of_its_parts() {
    let triangle = shape("POLYGON((1 0,0 4,2 2,1 0))");
    let collection = shape("GEOMETRYCOLLECTION(POINT(2 2),POINT(1 0),LINESTRING(1 2,1 1))");
    assert!(Predicate::Contains.holds(&triangle, &collection) && Predicate::Covers.holds(&triangle, &collection));
    assert!(Prepared::new(triangle.clone()).holds(Predicate::Contains, &collection));
    assert!(!Predicate::Contains.holds(&triangle, &shape("GEOMETRYCOLLECTION(POINT(2 2),LINESTRING(1 0,2 2))")));
    // Two halves have no border between them.
    let halves = shape("GEOMETRYCOLLECTION(POLYGON((0 0,1 0,1 1,0 1,0 0)),POLYGON((1 0,2 0,2 1,1 1,1 0)))");
    assert!(Predicate::Contains.holds(&halves, &shape("POINT(1 0.5)")));
    assert!(Predicate::Equals.holds(&halves, &shape("POLYGON((0 0,2 0,2 1,0 1,0 0))")));
    let (line, whole) = (shape("LINESTRING(1 0,1 1)"), shape("POLYGON((0 0,2 0,2 1,0 1,0 0))"));
    assert_eq!(matrix(&halves, &line), matrix(&whole, &line));
    // A line within an area adds nothing, a point on a line neither.
    let with_line = shape("GEOMETRYCOLLECTION(POLYGON((0 0,2 0,2 1,0 1,0 0)),LINESTRING(0.5 0.5,1 0.5),POINT(1 1))");
    assert!(Predicate::Equals.holds(&with_line, &halves));
}

#[test]
fn a_hole_outside_its_shell_changes_nothing() {
    let odd = shape("POLYGON((0 0,2 0,2 2,0 2,0 0),(5 5,6 5,6 6,5 6,5 5))");
    let in_hole = shape("POINT(5.5 5.5)");
    for predicate in [
        Predicate::Intersects,
        Predicate::Contains,
        Predicate::Covers,
        Predicate::Touches,
    ] {
        assert!(!predicate.holds(&odd, &in_hole), "{predicate:?}");
        assert!(!Prepared::new(odd.clone()).holds(predicate, &in_hole), "{predicate:?}");
        assert!(!predicate.holds(&odd, &shape("POINT(5 5.5)")), "{predicate:?}");
    }
    assert!(Predicate::Contains.holds(&odd, &shape("POINT(1 1)")));
}

/// Teeth as high as the whole: an edge that is sorted into each slab it passes would take memory by the square.
#[test]
fn a_comb_is_sorted_in_linear_memory() {
    let teeth = 5_000;
    let mut ring = Vec::new();
    for tooth in 0..teeth {
        let x = f64::from(tooth);
        ring.extend([Coord { x, y: 0.0 }, Coord { x: x + 0.5, y: 1000.0 }]);
    }
    ring.extend([
        Coord {
            x: f64::from(teeth),
            y: -1.0,
        },
        Coord { x: 0.0, y: -1.0 },
    ]);
    let comb = geo::Polygon::new(geo::LineString(ring), vec![]);
    let locator = Locator::of(&comb);
    assert!(locator.bytes() < 10_000 * 200, "{}", locator.bytes());
    for (x, y) in [
        (0.5, 999.0),
        (0.5, 1000.0),
        (1.0, 500.0),
        (2500.5, 3.0),
        (-1.0, 5.0),
        (4000.25, 499.0),
    ] {
        let point = Coord { x, y };
        assert_eq!(
            Some(locator.position(point)),
            position(&Geometry::Polygon(comb.clone()), point),
            "{x} {y}"
        );
    }
}

/// Whether edges are worth sorting depends on all of them, not on the shell's.
#[test]
fn a_large_hole_in_a_small_shell_is_sorted() {
    let corners = 100_000;
    let step = std::f64::consts::TAU / f64::from(corners);
    let hole = (0..corners).map(|at| {
        let angle = f64::from(at) * step;
        Coord {
            x: angle.cos(),
            y: angle.sin(),
        }
    });
    let shell = [(-2.0, -2.0), (2.0, -2.0), (2.0, 2.0), (-2.0, 2.0)].map(|(x, y)| Coord { x, y });
    let polygon = geo::Polygon::new(geo::LineString(shell.to_vec()), vec![geo::LineString(hole.collect())]);
    let locator = Locator::of(&polygon);
    assert!(locator.bytes() < corners as usize * 200);
    // Walking all edges for each would take minutes.
    for at in 0..200_000 {
        let x = -2.0 + 4.0 * f64::from(at) / 200_000.0;
        let wanted = if x.abs() > 1.001 {
            Position::Inside
        } else {
            Position::Outside
        };
        if (x.abs() - 1.0).abs() > 0.001 && x > -2.0 {
            assert_eq!(locator.position(Coord { x, y: 0.001 }), wanted, "{x}");
        }
    }
}

#[test]
fn what_intersects_has_no_distance() {
    for (a, b) in [
        ("LINESTRING(0 0,3 1)", "LINESTRING(0 1,3 0)"),
        ("POLYGON((0 0,4 0,4 4,0 4,0 0))", "GEOMETRYCOLLECTION(POINT(1 1))"),
        (
            "GEOMETRYCOLLECTION(POLYGON((0 0,4 0,4 4,0 4,0 0)))",
            "LINESTRING(1 1,2 2)",
        ),
    ] {
        assert_eq!(distance(&shape(a), &shape(b)), Some(0.0), "{a} {b}");
    }
    let far = distance(
        &shape("GEOMETRYCOLLECTION(POINT(9 9),LINESTRING(0 0,1 0))"),
        &shape("LINESTRING(0 2,1 2)"),
    );
    assert_eq!(far, Some(2.0));
}

#[test]
fn great_circle() {
    let (paris, london) = (Coord { x: 2.3522, y: 48.8566 }, Coord { x: -0.1278, y: 51.5074 });
    assert!((sphere_distance(paris, london) * 6371.0 - 343.56).abs() < 0.1);
    // Across the antimeridian it is near.
    assert!(sphere_distance(Coord { x: 179.9, y: 0.0 }, Coord { x: -179.9, y: 0.0 }) * 6371.0 < 23.0);
}

fn small() -> impl Strategy<Value = f64> {
    (-3i32..=3).prop_map(f64::from)
}

proptest! {
    /// On a coarse lattice, where corners, edges and collinear runs are hit all the time.
    #[test]
    fn position_agrees_with_geo(points in prop::collection::vec((small(), small()), 3..5), x in small(), y in small()) {
        let ring: Vec<_> = points.iter().map(|(x, y)| Coord { x: *x, y: *y }).collect();
        let polygon = geo::Polygon::new(geo::LineString(ring), vec![]);
        let point = Coord { x, y };
        let wanted = match polygon.coordinate_position(&point) {
            CoordPos::Inside => Position::Inside,
            CoordPos::OnBoundary => Position::Boundary,
            CoordPos::Outside => Position::Outside,
        };
        prop_assert_eq!(position(&Geometry::Polygon(polygon), point), Some(wanted));
    }

    #[test]
    fn the_locator_agrees_with_the_walk(
        radii in prop::collection::vec(0.5f64..2.0, 16..60),
        points in prop::collection::vec((-2.0f64..2.0, -2.0f64..2.0), 50),
    ) {
        let step = std::f64::consts::TAU / radii.len() as f64;
        let ring = radii.iter().enumerate().map(|(at, r)| {
            let angle = at as f64 * step;
            Coord { x: r * angle.cos(), y: r * angle.sin() }
        });
        let ring: Vec<_> = ring.collect();
        let corners = ring.clone();
        let polygon = geo::Polygon::new(geo::LineString(ring), vec![]);
        let locator = Locator::of(&polygon);
        let geometry = Geometry::Polygon(polygon);
        for point in points.into_iter().map(|(x, y)| Coord { x, y }).chain(corners) {
            prop_assert_eq!(Some(locator.position(point)), position(&geometry, point));
        }
    }

    #[test]
    fn the_spherical_gap_is_a_lower_bound(
        lon in -180.0f64..180.0, lat in -90.0f64..90.0,
        x in -180.0f64..180.0, y in -90.0f64..90.0, w in 0.0f64..200.0, h in 0.0f64..100.0,
        along in 0.0f64..=1.0, up in 0.0f64..=1.0,
    ) {
        let bounds = Bounds { min_x: x, min_y: y, max_x: (x + w).min(180.0), max_y: (y + h).min(90.0) };
        let inside = Coord {
            x: bounds.min_x + along * (bounds.max_x - bounds.min_x),
            y: bounds.min_y + up * (bounds.max_y - bounds.min_y),
        };
        let point = Coord { x: lon, y: lat };
        prop_assert!(spherical_gap(point, &bounds) <= sphere_distance(point, inside));
    }

    /// Random small geometries of any kind, valid or not: no panic, and prepared equals plain.
    #[test]
    fn predicates_never_panic(a in any_geometry(), b in any_geometry()) {
        let (a, b) = (shape(&a), shape(&b));
        let prepared = Prepared::new(a.clone());
        for predicate in Predicate::ALL {
            let plain = predicate.holds(&a, &b);
            prop_assert_eq!(predicate.swapped().holds(&b, &a), plain, "{:?}", predicate);
            prop_assert_eq!(prepared.holds(predicate, &b), plain, "{:?}", predicate);
        }
        let _ = matrix(&a, &b);
        let _ = distance(&a, &b);
    }
}

fn any_geometry() -> impl Strategy<Value = String> {
    let list = |min: usize| {
        let point = (small(), small()).prop_map(|(x, y)| format!("{x} {y}"));
        prop::collection::vec(point, min..5).prop_map(|points| format!("({})", points.join(",")))
    };
    let ring = || {
        list(3).prop_map(|text| {
            let first = text[1..].split([',', ')']).next().unwrap_or("").to_string();
            format!("{},{first})", &text[..text.len() - 1])
        })
    };
    prop_oneof![
        list(1).prop_map(|list| format!("MULTIPOINT{list}")),
        list(2).prop_map(|list| format!("LINESTRING{list}")),
        (list(2), list(2)).prop_map(|(a, b)| format!("MULTILINESTRING({a},{b})")),
        ring().prop_map(|ring| format!("POLYGON({ring})")),
        (list(2), ring()).prop_map(|(line, ring)| format!("GEOMETRYCOLLECTION(LINESTRING{line},POLYGON({ring}))")),
    ]
}
