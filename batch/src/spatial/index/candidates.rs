//! Box against box, by cell.

use geo_index::rtree::sort::HilbertSort;
use geo_index::rtree::{RTree, RTreeBuilder, RTreeIndex};

use crate::spatial::geometry::Bounds;
use crate::spatial::partition::{KdTree, Sampler};

/// With fewer rows than this a cell's R-tree would be only overhead.
const CELL_ROWS_MIN: usize = 16;
/// The sample is repeatable; any constant will do.
const SAMPLE_SEED: u64 = 0x5EED;

/// The build side's boxes, by cell.
#[derive(Debug)]
pub struct Candidates {
    cells: Vec<Cell>,
}

#[derive(Debug)]
struct Cell {
    /// Around all boxes of the cell's rows: more than the cell's own rectangle where rows reach out of it.
    bounds: Bounds,
    /// The R-tree's item number to the row.
    rows: Vec<u32>,
    tree: RTree<f64>,
}

impl Candidates {
    /// What the index takes for one row, about: the box and its share of the tree above, and the row number.
    pub const BYTES_PER_ROW: usize = 64;

    /// Rows without a box match nothing and are left out.
    pub fn new(boxes: &[Option<Bounds>], cells_max: usize) -> Candidates {
        let Some(extent) = boxes.iter().flatten().copied().reduce(Bounds::union) else {
            return Candidates { cells: Vec::new() };
        };
        let mut sampler = Sampler::new(SAMPLE_SEED);
        for bounds in boxes.iter().flatten() {
            let (x, y) = bounds.center();
            sampler.add(x, y);
        }
        let cells_max = cells_max.min(boxes.len() / CELL_ROWS_MIN).max(1);
        let tree = KdTree::build(sampler.into_points(), cells_max, extent);
        let mut rows: Vec<Vec<u32>> = vec![Vec::new(); tree.len()];
        for (row, bounds) in boxes.iter().enumerate() {
            if let (Some(bounds), Ok(row)) = (bounds, u32::try_from(row)) {
                let (x, y) = bounds.center();
                rows[tree.cell(x, y)].push(row);
            }
        }
        Candidates {
            cells: rows.into_iter().filter_map(|rows| Cell::new(rows, boxes)).collect(),
        }
    }

    pub fn cells(&self) -> usize {
        self.cells.len()
    }

    /// Calls `found` with each row whose box meets `probe`, each once; in ascending order within a cell.
    pub fn search(&self, probe: &Bounds, mut found: impl FnMut(u32)) {
        for cell in self.cells.iter().filter(|cell| cell.bounds.intersects(probe)) {
            for item in cell.tree.search(probe.min_x, probe.min_y, probe.max_x, probe.max_y) {
                found(cell.rows[item as usize]);
            }
        }
    }
}

impl Cell {
    fn new(rows: Vec<u32>, boxes: &[Option<Bounds>]) -> Option<Cell> {
        let boxed = || rows.iter().filter_map(|row| boxes[*row as usize]);
        let bounds = boxed().reduce(Bounds::union)?;
        let mut builder = RTreeBuilder::<f64>::new(u32::try_from(rows.len()).ok()?);
        for item in boxed() {
            builder.add(item.min_x, item.min_y, item.max_x, item.max_y);
        }
        let tree = builder.finish::<HilbertSort>();
        Some(Cell { bounds, rows, tree })
    }
}
