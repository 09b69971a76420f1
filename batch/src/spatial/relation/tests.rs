use geo::{Coord, CoordinatePosition, Geometry, Relate, coordinate_position::CoordPos};
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
            assert_eq!(
                Prepared::new(square.clone()).holds(predicate, [&odd].into_iter()),
                [wanted]
            );
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
        let geometry = Geometry::Polygon(geo::Polygon::new(geo::LineString(ring), vec![]));
        let locator = Locator::new(&geometry).unwrap();
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
            prop_assert_eq!(prepared.holds(predicate, [&b].into_iter()), vec![plain], "{:?}", predicate);
        }
        let _ = a.geometry.relate(&b.geometry);
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
