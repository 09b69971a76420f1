#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use geo::{Area, Geometry};

use super::*;
use crate::spatial::geometry::{Shape, from_wkt, to_wkt, wkb};

fn shape(text: &str) -> Geometry<f64> {
    Shape::decode(&from_wkt(text).unwrap()).unwrap().geometry
}

fn text(geometry: &Geometry<f64>) -> String {
    to_wkt(&wkb::encode(geometry, 0)).unwrap()
}

fn over(a: &str, b: &str, operation: Operation) -> String {
    text(&overlay(&shape(a), &shape(b), operation).unwrap())
}

const SQUARE: &str = "POLYGON((0 0,4 0,4 4,0 4,0 0))";

#[test]
fn what_two_polygons_share_may_be_a_line_or_a_point() {
    let with = |b: &str| over(SQUARE, b, Operation::Intersection);
    assert_eq!(with("POLYGON((4 0,8 0,8 4,4 4,4 0))"), "LINESTRING(4 0,4 4)");
    assert_eq!(with("POLYGON((4 4,8 4,8 8,4 8,4 4))"), "POINT(4 4)");
    assert_eq!(with("POLYGON((5 5,8 5,8 8,5 5))"), "POLYGON EMPTY");
    let both = with("POLYGON((2 2,3 2,3 4,5 4,5 5,2 5,2 2))");
    assert_eq!(
        both,
        "GEOMETRYCOLLECTION(POLYGON((3 4,3 2,2 2,2 4,3 4)),LINESTRING(4 4,3 4))"
    );
}

#[test]
fn holes_islands_and_pinches_are_assembled() {
    let ring = over(SQUARE, "POLYGON((1 1,3 1,3 3,1 3,1 1))", Operation::Difference);
    assert_eq!(ring, "POLYGON((0 0,0 4,4 4,4 0,0 0),(3 1,3 3,1 3,1 1,3 1))");
    let island = over(&ring, "POLYGON((1.5 1.5,2 1.5,2 2,1.5 1.5))", Operation::Union);
    assert!(
        island.starts_with("MULTIPOLYGON") && island.contains("(1.5 1.5,2 2,2 1.5,1.5 1.5)"),
        "{island}"
    );
    // A hole that touches the shell at a vertex stays a hole.
    let pinched = over(SQUARE, "POLYGON((0 2,1 1,1 3,0 2))", Operation::Difference);
    assert!(pinched.contains("),("), "{pinched}");
    // Two squares that touch at a corner stay two.
    let corner = over(SQUARE, "POLYGON((4 4,8 4,8 8,4 8,4 4))", Operation::Union);
    assert!(corner.starts_with("MULTIPOLYGON"), "{corner}");
}

#[test]
fn lines_are_cut_by_polygons_and_lines_but_not_by_points() {
    let line = "LINESTRING(-1 2,1 2,5 2)";
    assert_eq!(over(line, SQUARE, Operation::Intersection), "LINESTRING(0 2,1 2,4 2)");
    assert_eq!(
        over(line, SQUARE, Operation::Difference),
        "MULTILINESTRING((-1 2,0 2),(4 2,5 2))"
    );
    assert_eq!(over(line, "POINT(1 2)", Operation::Difference), text(&shape(line)));
    assert_eq!(over("POINT(0 2)", line, Operation::Intersection), "POINT(0 2)");
    assert_eq!(over(line, "LINESTRING(3 0,3 4)", Operation::Intersection), "POINT(3 2)");
    assert_eq!(
        over("LINESTRING(0 0,4 0)", "LINESTRING(2 0,6 0)", Operation::Intersection),
        "LINESTRING(2 0,4 0)"
    );
    let mixed = over(
        SQUARE,
        "GEOMETRYCOLLECTION(POINT(9 9),POINT(1 1),LINESTRING(2 2,6 2))",
        Operation::Union,
    );
    assert_eq!(
        mixed,
        "GEOMETRYCOLLECTION(POLYGON((0 0,0 4,4 4,4 2,4 0,0 0)),LINESTRING(4 2,6 2),POINT(9 9))"
    );
}

#[test]
fn a_union_of_many_counts_depth() {
    let squares: Vec<_> = (0..5)
        .map(|at| shape(&format!("POLYGON(({at} 0,{to} 0,{to} 2,{at} 2,{at} 0))", to = at + 2)))
        .collect();
    let united = union(&squares).unwrap();
    assert!(matches!(united, Geometry::Polygon(_)));
    assert_eq!(united.unsigned_area(), 12.0);
    let overlapping = shape("GEOMETRYCOLLECTION(POLYGON((0 0,4 0,4 4,0 4,0 0)),POLYGON((1 1,3 1,3 3,1 3,1 1)))");
    assert_eq!(union(&[overlapping]).unwrap().unsigned_area(), 16.0);
}

#[test]
fn invalid_polygons_are_repaired() {
    let repaired = |given: &str| text(&repaired(&shape(given)).unwrap());
    assert_eq!(
        repaired("POLYGON((0 0,4 4,4 0,0 4,0 0))"),
        "MULTIPOLYGON(((0 0,0 4,2 2,0 0)),((4 4,4 0,2 2,4 4)))"
    );
    assert_eq!(repaired("POLYGON((0 0,2 0,4 0,0 0))"), "LINESTRING(0 0,2 0,4 0)");
    assert_eq!(repaired("POLYGON((1 1,1 1,1 1,1 1))"), "POINT(1 1)");
    let cut = super::repaired(&shape("MULTIPOLYGON(((0 0,2 0,2 2,0 2,0 0)),((1 0,3 0,3 2,1 2,1 0)))")).unwrap();
    assert_eq!(cut.unsigned_area(), 4.0, "the overlap is cut out");
}

#[test]
fn simple_or_not() {
    for (given, simple) in [
        ("LINESTRING(0 0,1 1)", true),
        ("LINESTRING(0 0,2 2,2 0,0 2)", false),
        ("LINESTRING(0 0,1 0,1 1,0 0)", true),
        ("LINESTRING(0 0,2 0,1 0)", false),
        ("LINESTRING(0 0,2 0,2 2,1 0)", false),
        ("MULTILINESTRING((0 0,1 1),(1 1,2 0))", true),
        ("MULTILINESTRING((0 0,2 2),(0 2,2 0))", false),
        ("MULTIPOINT(1 1,1 1)", false),
        ("MULTIPOINT(1 1,2 2)", true),
    ] {
        assert_eq!(is_simple(&shape(given)).unwrap(), simple, "{given}");
    }
}

#[test]
fn inclusion_and_exclusion_of_areas_hold_for_many_triangles() {
    let mut state = 7u64;
    let mut number = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % 1000) as f64 / 97.0
    };
    for _ in 0..300 {
        let mut triangle = || {
            let at: Vec<(f64, f64)> = (0..3).map(|_| (number(), number())).collect();
            shape(&format!(
                "POLYGON(({0} {1},{2} {3},{4} {5},{0} {1}))",
                at[0].0, at[0].1, at[1].0, at[1].1, at[2].0, at[2].1
            ))
        };
        let (a, b) = (triangle(), triangle());
        let area = |operation| overlay(&a, &b, operation).unwrap().unsigned_area();
        let both = area(Operation::Intersection);
        let sum = a.unsigned_area() + b.unsigned_area();
        let near = |x: f64, y: f64| assert!((x - y).abs() < 1e-9, "{x} {y} {} {}", text(&a), text(&b));
        near(area(Operation::Union), sum - both);
        near(area(Operation::SymmetricDifference), sum - 2.0 * both);
        near(area(Operation::Difference), a.unsigned_area() - both);
    }
}

#[test]
fn flaws_are_named() {
    for (given, flaw) in [
        (SQUARE, None),
        ("POLYGON((0 0,4 0,4 4,0 4,0 0),(1 1,3 1,3 3,1 3,1 1))", None),
        ("POLYGON((0 0,4 0,4 4,0 4,0 0),(0 2,1 1,1 3,0 2))", None),
        ("POLYGON((0 0,4 4,4 0,0 4,0 0))", Some("Self-intersection")),
        ("POLYGON((0 0,2 0,4 0,0 0))", Some("Self-intersection")),
        (
            "POLYGON((0 0,4 0,4 4,0 4,0 0),(5 5,6 5,6 6,5 5))",
            Some("Hole lies outside shell"),
        ),
        (
            "POLYGON((0 0,4 0,4 4,0 4,0 0),(0 0,4 0,4 4,0 4,0 0))",
            Some("Self-intersection"),
        ),
        (
            "POLYGON((0 0,4 0,4 4,0 4,0 0),(0 2,2 1,4 2,2 3,0 2))",
            Some("Interior is disconnected"),
        ),
        (
            "MULTIPOLYGON(((0 0,2 0,2 2,0 2,0 0)),((1 0,3 0,3 2,1 2,1 0)))",
            Some("Self-intersection"),
        ),
        (
            "MULTIPOLYGON(((0 0,2 0,2 2,0 2,0 0)),((2 0,3 0,3 2,2 2,2 0)))",
            Some("Self-intersection"),
        ),
        ("MULTIPOLYGON(((0 0,2 0,2 2,0 2,0 0)),((2 2,3 2,3 3,2 2)))", None),
        ("LINESTRING(1 1,1 1)", Some("Too few points in geometry component")),
        (
            "POLYGON((1 1,2 2,1 1,1 1))",
            Some("Too few points in geometry component"),
        ),
    ] {
        assert_eq!(super::flaw(&shape(given)).unwrap(), flaw, "{given}");
    }
}
