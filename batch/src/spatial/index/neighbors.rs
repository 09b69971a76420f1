//! The k nearest.

use std::cmp::Ordering;
use std::collections::HashMap;

use geo::Coord;
use geo_index::rtree::sort::HilbertSort;
use geo_index::rtree::{NeighborsOptions, RTree, RTreeBuilder, RTreeIndex};

use crate::spatial::geometry::{Bounds, Shape};
use crate::spatial::relation::{distance, sphere_distance, sphere_point, spherical_gap};

/// What near means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Metric {
    /// Between the nearest points of both geometries, in the plane.
    Planar,
    /// Along the great circle, coordinates in degrees; geometries other than points stand at their centroids.
    Sphere,
}

/// The objects of a nearest-neighbour join.
///
/// Rows at one and the same place are one item of the tree with a list of rows, so a heap of a million equal points
/// costs a query no more than one point.
#[derive(Debug)]
pub struct Neighbors {
    metric: Metric,
    tree: RTree<f64>,
    items: Vec<Item>,
}

#[derive(Debug)]
struct Item {
    shape: Shape,
    /// For the sphere.
    point: Coord<f64>,
    /// In the order that breaks ties.
    rows: Vec<u32>,
}

impl Neighbors {
    /// The rows in the order that breaks ties: among equally near rows the first in `ordered` win. Rows that are empty or
    /// not finite must be left out by the caller's iterator yielding `None` as shape, and are never found.
    pub fn new(ordered: impl Iterator<Item = (u32, Vec<u8>, Option<Shape>)>, metric: Metric) -> Neighbors {
        let mut items: Vec<Item> = Vec::new();
        let mut places: HashMap<Vec<u8>, usize> = HashMap::new();
        for (row, key, shape) in ordered {
            let Some(shape) = shape.filter(Shape::matchable) else {
                continue;
            };
            if let Some(item) = places.get(&key) {
                items[*item].rows.push(row);
                continue;
            }
            let Some(mut point) = sphere_point(&shape) else {
                continue;
            };
            // The bound on the sphere wants longitudes of one turn.
            if metric == Metric::Sphere && !(-180.0..=180.0).contains(&point.x) {
                point.x = (point.x + 180.0).rem_euclid(360.0) - 180.0;
            }
            places.insert(key, items.len());
            items.push(Item {
                shape,
                point,
                rows: vec![row],
            });
        }
        let mut builder = RTreeBuilder::<f64>::new(u32::try_from(items.len()).unwrap_or(u32::MAX));
        for item in &items {
            let bounds = match (metric, item.shape.bounds) {
                (Metric::Planar, Some(bounds)) => bounds,
                _ => Bounds::of_point(item.point.x, item.point.y),
            };
            builder.add(bounds.min_x, bounds.min_y, bounds.max_x, bounds.max_y);
        }
        Neighbors {
            metric,
            tree: builder.finish::<HilbertSort>(),
            items,
        }
    }

    /// The `k` nearest rows, nearest first; fewer where there are fewer. `order` must be the order of the rows given to
    /// [`Neighbors::new`].
    pub fn nearest(&self, query: &Shape, k: usize, order: impl Fn(u32, u32) -> Ordering) -> Vec<u32> {
        let (Some(query_box), Some(query_point)) = (query.bounds, sphere_point(query)) else {
            return Vec::new();
        };
        if k == 0 || self.items.is_empty() {
            return Vec::new();
        }
        // All that tie with the k-th are taken, to choose among them by order and not by the tree's shape.
        let options = NeighborsOptions::k(k.min(self.items.len())).include_tie_breakers(true);
        let found = self.tree.neighbors_with_callbacks(
            options,
            |[min_x, min_y, max_x, max_y]| {
                let bounds = Bounds {
                    min_x,
                    min_y,
                    max_x,
                    max_y,
                };
                match self.metric {
                    Metric::Planar => lowered(query_box.distance(&bounds)),
                    Metric::Sphere => spherical_gap(query_point, &bounds),
                }
            },
            |item, _| self.distance(&self.items[item as usize], query, query_point),
        );
        let rows_of = |(item, far): &(u32, f64)| {
            let far = *far;
            self.items[*item as usize]
                .rows
                .iter()
                .take(k)
                .map(move |row| (far, *row))
        };
        let mut rows: Vec<(f64, u32)> = found.iter().flat_map(rows_of).collect();
        rows.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| order(a.1, b.1)));
        rows.truncate(k);
        rows.into_iter().map(|(_, row)| row).collect()
    }

    fn distance(&self, item: &Item, query: &Shape, query_point: Coord<f64>) -> Option<f64> {
        let far = match self.metric {
            Metric::Planar => distance(&item.shape, query),
            Metric::Sphere => Some(sphere_distance(query_point, item.point)),
        };
        far.filter(|far| !far.is_nan())
    }
}

/// A box's distance and a geometry's may round differently; the bound must not be above.
fn lowered(distance: f64) -> f64 {
    distance * (1.0 - 1e-14)
}
