//! The tree itself.

use crate::spatial::geometry::Bounds;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Axis {
    X,
    Y,
}

impl Axis {
    fn of(self, point: (f64, f64)) -> f64 {
        match self {
            Axis::X => point.0,
            Axis::Y => point.1,
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Node {
    /// Points below `at` are in `low`, the others in `high`.
    Split {
        axis: Axis,
        at: f64,
        low: u32,
        high: u32,
    },
    Cell(u32),
}

/// A partition of the plane into cells, numbered from 0 in the order of the tree's leaves.
#[derive(Debug)]
pub struct KdTree {
    nodes: Vec<Node>,
    /// Each cell's rectangle, cut to the extent that the tree was built for.
    cells: Vec<Bounds>,
}

impl KdTree {
    /// Builds a tree of at most `cells_max` cells over the sampled points (the finite ones). `extent` only limits the
    /// rectangles of the outer cells.
    pub fn build(mut points: Vec<(f64, f64)>, cells_max: usize, extent: Bounds) -> KdTree {
        points.retain(|(x, y)| x.is_finite() && y.is_finite());
        let mut tree = KdTree {
            nodes: Vec::new(),
            cells: Vec::new(),
        };
        tree.grow(&mut points, cells_max.max(1), extent);
        tree
    }

    /// Adds the subtree of `points` with at most `cells` cells; returns its root and how many cells it took.
    fn grow(&mut self, points: &mut [(f64, f64)], cells: usize, region: Bounds) -> (u32, usize) {
        let node = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        let Some((axis, place)) = (if cells > 1 { split(points, cells) } else { None }) else {
            self.nodes
                .push(Node::Cell(u32::try_from(self.cells.len()).unwrap_or(u32::MAX)));
            self.cells.push(region);
            return (node, 1);
        };
        let at = axis.of(points[place]);
        let (mut low_region, mut high_region) = (region, region);
        match axis {
            Axis::X => (low_region.max_x, high_region.min_x) = (at, at),
            Axis::Y => (low_region.max_y, high_region.min_y) = (at, at),
        }
        // Cells go where the points are.
        let share = (cells as f64 * place as f64 / points.len() as f64).round() as usize;
        let share = share.clamp(1, cells - 1);
        self.nodes.push(Node::Cell(0));
        let (low_points, high_points) = points.split_at_mut(place);
        let (low, low_cells) = self.grow(low_points, share, low_region);
        // What a heap on the low side could not use is left for the high side.
        let (high, high_cells) = self.grow(high_points, cells - low_cells, high_region);
        self.nodes[node as usize] = Node::Split { axis, at, low, high };
        (node, low_cells + high_cells)
    }

    pub fn len(&self) -> usize {
        self.cells.len()
    }

    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    pub fn cells(&self) -> &[Bounds] {
        &self.cells
    }

    /// The cell of a point.
    pub fn cell(&self, x: f64, y: f64) -> usize {
        let mut node = 0;
        loop {
            match self.nodes[node] {
                Node::Split { axis, at, low, high } => {
                    node = if axis.of((x, y)) < at {
                        low as usize
                    } else {
                        high as usize
                    };
                }
                Node::Cell(cell) => return cell as usize,
            }
        }
    }
}

/// A split further than this share of the points from the wanted place is worth trying the other axis.
const OFF_SHARE_MAX: f64 = 0.01;

/// Finds where to split: along the longer side of the points' box, at the place that comes nearest to an even share without
/// cutting through equal values; along the other side, where long runs of equal values make that one clearly uneven.
/// Leaves the points sorted along the axis. `None`: a heap.
fn split(points: &mut [(f64, f64)], cells: usize) -> Option<(Axis, usize)> {
    let bounds = points
        .iter()
        .map(|(x, y)| Bounds::of_point(*x, *y))
        .reduce(Bounds::union)?;
    let (width, height) = (bounds.max_x - bounds.min_x, bounds.max_y - bounds.min_y);
    let (longer, shorter) = if width >= height {
        (Axis::X, Axis::Y)
    } else {
        (Axis::Y, Axis::X)
    };
    if width.max(height) <= 0.0 {
        return None;
    }
    let wanted = points.len() * (cells / 2) / cells;
    let place = place(points, longer, wanted);
    let off = place.abs_diff(wanted);
    if off as f64 > OFF_SHARE_MAX * points.len() as f64 && width.min(height) > 0.0 {
        let other = self::place(points, shorter, wanted);
        if other.abs_diff(wanted) < off {
            return Some((shorter, other));
        }
        sort(points, longer);
    }
    Some((longer, place))
}

fn sort(points: &mut [(f64, f64)], axis: Axis) {
    points.sort_unstable_by(|a, b| axis.of(*a).total_cmp(&axis.of(*b)));
}

/// Sorts along an axis on which not all values are equal; the end of a run of equal values that is nearest to `wanted`,
/// with points on both sides.
fn place(points: &mut [(f64, f64)], axis: Axis, wanted: usize) -> usize {
    sort(points, axis);
    let value = axis.of(points[wanted]);
    let before = points.partition_point(|point| axis.of(*point) < value);
    let behind = points.partition_point(|point| axis.of(*point) <= value);
    match (before, behind) {
        (0, behind) => behind,
        (before, behind) if behind == points.len() => before,
        (before, behind) if wanted - before <= behind - wanted => before,
        (_, behind) => behind,
    }
}
