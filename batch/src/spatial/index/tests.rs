use proptest::prelude::*;

use super::*;
use crate::spatial::geometry::{Bounds, Shape, wkb};
use crate::spatial::relation::{distance, sphere_distance};

fn any_box() -> impl Strategy<Value = Option<Bounds>> {
    // Coarse, so that boxes touch on borders and corners; some wide ones reach over many cells.
    let corner = (-20i32..20, -20i32..20, 0i32..4, 0i32..4, prop::bool::weighted(0.05));
    let some = corner.prop_map(|(x, y, w, h, wide)| {
        let (x, y) = (f64::from(x), f64::from(y));
        let grow = if wide { 15.0 } else { 0.0 };
        Some(Bounds {
            min_x: x,
            min_y: y,
            max_x: x + f64::from(w) + grow,
            max_y: y + f64::from(h) + grow,
        })
    });
    prop_oneof![9 => some, 1 => Just(None)]
}

fn point(x: f64, y: f64) -> Shape {
    Shape::decode(&wkb::point(x, y)).unwrap()
}

proptest! {
    #[test]
    fn candidates_are_those_of_brute_force(
        boxes in prop::collection::vec(any_box(), 0..1500),
        probes in prop::collection::vec(any_box(), 20),
        cells in prop::sample::select(vec![1usize, 2, 7, 64, 257]),
    ) {
        let index = Candidates::new(&boxes, cells);
        prop_assert!(index.cells() <= cells);
        for probe in probes.iter().flatten() {
            let mut found = Vec::new();
            index.search(probe, |row| found.push(row));
            found.sort_unstable();
            let hit = |bounds: &Option<Bounds>| bounds.is_some_and(|bounds| bounds.intersects(probe));
            let wanted: Vec<u32> = (0..boxes.len() as u32).filter(|row| hit(&boxes[*row as usize])).collect();
            prop_assert_eq!(found, wanted);
        }
    }

    #[test]
    fn neighbors_are_those_of_brute_force(
        points in prop::collection::vec((-6i32..6, -6i32..6), 0..200),
        queries in prop::collection::vec((-8i32..8, -8i32..8), 10),
        k in 0usize..12,
        sphere in any::<bool>(),
    ) {
        // Steps of 30 degrees: poles, the antimeridian and a great many ties.
        let place = |(x, y): &(i32, i32)| (f64::from(*x) * 30.0, f64::from(*y) * 15.0);
        let metric = if sphere { Metric::Sphere } else { Metric::Planar };
        let rows = points.iter().map(place).enumerate();
        let index = Neighbors::new(
            rows.map(|(row, (x, y))| (row as u32, wkb::point(x, y).to_vec(), Some(point(x, y)))),
            metric,
        );
        for (qx, qy) in queries.iter().map(place) {
            let query = point(qx, qy.clamp(-90.0, 90.0));
            let far = |row: u32| {
                let (x, y) = place(&points[row as usize]);
                match metric {
                    Metric::Planar => distance(&query, &point(x, y)).unwrap(),
                    Metric::Sphere => sphere_distance(
                        geo::Coord { x: qx, y: qy.clamp(-90.0, 90.0) },
                        geo::Coord { x, y },
                    ),
                }
            };
            let mut wanted: Vec<u32> = (0..points.len() as u32).collect();
            wanted.sort_by(|a, b| far(*a).total_cmp(&far(*b)).then(a.cmp(b)));
            wanted.truncate(k);
            let found = index.nearest(&query, k, |a, b| a.cmp(&b));
            let distances = |rows: &[u32]| rows.iter().map(|row| far(*row)).collect::<Vec<_>>();
            prop_assert_eq!(found.len(), wanted.len());
            for (a, b) in distances(&found).iter().zip(distances(&wanted)) {
                prop_assert!((a - b).abs() <= 1e-9);
            }
            if metric == Metric::Planar {
                prop_assert_eq!(found, wanted);
            }
        }
    }
}

#[test]
fn a_heap_of_equal_rows_gives_its_first() {
    let rows = (0..10_000u32).map(|row| (row, wkb::point(1.0, 1.0).to_vec(), Some(point(1.0, 1.0))));
    let index = Neighbors::new(rows, Metric::Planar);
    assert_eq!(index.nearest(&point(0.0, 0.0), 3, |a, b| a.cmp(&b)), [0, 1, 2]);
}
