use proptest::prelude::*;

use super::*;
use crate::spatial::geometry::Bounds;

const WORLD: Bounds = Bounds {
    min_x: -180.0,
    min_y: -90.0,
    max_x: 180.0,
    max_y: 90.0,
};

fn counts(tree: &KdTree, points: &[(f64, f64)]) -> Vec<usize> {
    let mut counts = vec![0; tree.len()];
    points.iter().for_each(|(x, y)| counts[tree.cell(*x, *y)] += 1);
    counts
}

/// Brute force: the cells whose half-open rectangle holds the point; the outer sides of the extent are open to all.
fn cells_holding(tree: &KdTree, extent: &Bounds, x: f64, y: f64) -> Vec<usize> {
    let side = |value: f64, min: f64, max: f64, first: f64, last: f64| {
        (value >= min || min == first) && (value < max || max == last)
    };
    let holds = |cell: &Bounds| {
        side(x, cell.min_x, cell.max_x, extent.min_x, extent.max_x)
            && side(y, cell.min_y, cell.max_y, extent.min_y, extent.max_y)
    };
    (0..tree.len()).filter(|at| holds(&tree.cells()[*at])).collect()
}

#[test]
fn a_heap_is_one_cell_and_the_rest_is_still_split() {
    let mut points = vec![(1.0, 1.0); 1000];
    assert_eq!(KdTree::build(points.clone(), 64, WORLD).len(), 1);
    points.extend((0..1000).map(|at| (f64::from(at), f64::from(at * 7 % 1000))));
    let tree = KdTree::build(points.clone(), 16, WORLD);
    let counts = counts(&tree, &points);
    let heap = tree.cell(1.0, 1.0);
    assert!(tree.len() >= 12, "{} cells", tree.len());
    let others: Vec<_> = counts
        .iter()
        .enumerate()
        .filter(|(cell, _)| *cell != heap)
        .map(|(_, n)| *n)
        .collect();
    assert!(*others.iter().max().unwrap() <= 2 * 1000 / others.len(), "{counts:?}");
}

#[test]
fn neighbouring_f64_are_told_apart() {
    let base = 1e15;
    let points: Vec<_> = (0..64).map(|at| (base + f64::from(at) * 0.125, base)).collect();
    let extent = Bounds {
        min_x: base,
        min_y: base,
        max_x: base + 8.0,
        max_y: base,
    };
    let tree = KdTree::build(points.clone(), 64, extent);
    assert_eq!(counts(&tree, &points), vec![1; 64]);
}

#[test]
fn no_points_and_odd_points() {
    let tree = KdTree::build(vec![], 8, WORLD);
    assert_eq!((tree.len(), tree.cell(3.0, 4.0)), (1, 0));
    let tree = KdTree::build((0..100).map(|at| (f64::from(at), 0.0)).collect(), 8, WORLD);
    for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, f64::MAX, f64::MIN] {
        assert!(tree.cell(odd, odd) < tree.len());
    }
}

#[test]
fn the_sample_is_uniform_and_repeatable() {
    let take = || {
        let mut sampler = Sampler::new(7);
        (0..1_000_000).for_each(|at| sampler.add(f64::from(at), 0.0));
        sampler.into_points()
    };
    let points = take();
    assert_eq!(points, take());
    let mean = points.iter().map(|(x, _)| x).sum::<f64>() / points.len() as f64;
    assert!((mean - 500_000.0).abs() < 5_000.0, "{mean}");
}

fn any_point() -> impl Strategy<Value = (f64, f64)> {
    // Half on a coarse lattice: equal values on both axes, points on split lines and corners.
    let lattice = (-5i32..5, -5i32..5).prop_map(|(x, y)| (f64::from(x), f64::from(y)));
    prop_oneof![lattice, (-5.0f64..5.0, -5.0f64..5.0)]
}

proptest! {
    #[test]
    fn each_point_is_in_exactly_one_cell(
        points in prop::collection::vec(any_point(), 0..300),
        others in prop::collection::vec(any_point(), 50),
        cells in prop::sample::select(vec![1usize, 2, 7, 64, 257]),
    ) {
        let extent = Bounds { min_x: -5.0, min_y: -5.0, max_x: 5.0, max_y: 5.0 };
        let tree = KdTree::build(points.clone(), cells, extent);
        prop_assert!(tree.len() <= cells);
        for (x, y) in points.iter().chain(&others) {
            prop_assert_eq!(cells_holding(&tree, &extent, *x, *y), vec![tree.cell(*x, *y)]);
        }
    }

    #[test]
    fn distinct_points_spread_evenly(count in 640usize..2000, cells in 2usize..64) {
        // A low-discrepancy walk: no two values are equal on an axis.
        let points: Vec<_> = (0..count).map(|at| {
            let at = at as f64;
            ((at * 0.618_033_988_749_895).fract(), (at * 0.754_877_666_246_693).fract())
        }).collect();
        let extent = Bounds { min_x: 0.0, min_y: 0.0, max_x: 1.0, max_y: 1.0 };
        let tree = KdTree::build(points.clone(), cells, extent);
        prop_assert_eq!(tree.len(), cells);
        let most = counts(&tree, &points).into_iter().max().unwrap_or(0);
        prop_assert!(most as f64 <= 1.3 * count as f64 / cells as f64 + 1.0, "{} of {}", most, count);
    }
}
