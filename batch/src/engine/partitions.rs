//! `batch partitions`: the partitioner's cells over a table, as numbers and as a picture.

use std::path::Path;

use datafusion::physical_plan::SendableRecordBatchStream;
use futures::TryStreamExt;
use serde::Serialize;

use super::Engine;
use crate::Error;
use crate::spatial::functions::geometry_column;
use crate::spatial::geometry::{Bounds, bounds};
use crate::spatial::partition::{KdTree, Sampler, svg};

/// Points that the picture shows beneath the cells.
const DRAWN_POINTS_MAX: usize = 5_000;
/// The picture of one table is always the same.
const SAMPLE_SEED: u64 = 0x5EED;

/// One cell with its rows.
#[derive(Debug, Serialize)]
pub struct CellRows {
    pub cell: usize,
    pub min_x: f64,
    pub min_y: f64,
    pub max_x: f64,
    pub max_y: f64,
    pub rows: u64,
}

/// The cells over `geometry` (a column or an expression) of `table` (a name, a path or a URL), and their picture.
///
/// Rows whose geometry is NULL, empty or not finite are in no cell. Two passes: the first samples, the second counts.
pub async fn partitions(
    engine: &Engine,
    table: &str,
    geometry: &str,
    cells: usize,
) -> Result<(Vec<CellRows>, String), Error> {
    let mut sampler = Sampler::new(SAMPLE_SEED);
    let mut extent: Option<Bounds> = None;
    each_box(centers(engine, table, geometry).await?, |of_row| {
        let (x, y) = of_row.center();
        sampler.add(x, y);
        extent = Some(extent.map_or(of_row, |extent| extent.union(of_row)));
    })
    .await?;
    let Some(extent) = extent else {
        return Err(Error::Usage(format!(
            "no row of {table} has a geometry in {geometry}: there is nothing to partition"
        )));
    };
    let points = sampler.into_points();
    let every = points.len().div_ceil(DRAWN_POINTS_MAX).max(1);
    let drawn: Vec<_> = points.iter().copied().step_by(every).collect();
    let tree = KdTree::build(points, cells, extent);
    let mut rows = vec![0u64; tree.len()];
    each_box(centers(engine, table, geometry).await?, |of_row| {
        let (x, y) = of_row.center();
        rows[tree.cell(x, y)] += 1;
    })
    .await?;
    let counted: Vec<(Bounds, u64)> = tree.cells().iter().copied().zip(rows).collect();
    let picture = svg(&counted, &drawn, table);
    let cells = counted.into_iter().enumerate().map(|(cell, (bounds, rows))| {
        let Bounds {
            min_x,
            min_y,
            max_x,
            max_y,
        } = bounds;
        CellRows {
            cell,
            min_x,
            min_y,
            max_x,
            max_y,
            rows,
        }
    });
    Ok((cells.collect(), picture))
}

async fn centers(engine: &Engine, table: &str, geometry: &str) -> Result<SendableRecordBatchStream, Error> {
    let name = format!("\"{}\"", table.replace('"', "\"\""));
    // The cast refuses a text column with a clear error, and takes every binary type.
    let frame = engine
        .context()
        .sql(&format!("SELECT ST_AsEWKB({geometry}) AS g FROM {name}"))
        .await?;
    Ok(frame.execute_stream().await?)
}

async fn each_box(mut stream: SendableRecordBatchStream, mut each: impl FnMut(Bounds)) -> Result<(), Error> {
    while let Some(batch) = stream.try_next().await? {
        let bytes = geometry_column(batch.column(0))?;
        for bytes in (0..batch.num_rows()).filter_map(bytes) {
            if let Some(of_row) = bounds(&bytes).map_err(|error| Error::Usage(error.to_string()))? {
                each(of_row);
            }
        }
    }
    Ok(())
}

/// Writes the picture.
pub fn save(picture: &str, path: &Path) -> Result<(), Error> {
    std::fs::write(path, picture).map_err(|error| Error::file("write", path, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Options;

    const ZIPS: &str = "../examples/data/zipcodes.parquet";

    #[tokio::test]
    async fn the_cells_of_the_zip_codes_are_balanced() {
        let engine = Engine::new(&Options::default()).unwrap();
        let (cells, picture) = partitions(&engine, ZIPS, "ST_Point(lon, lat)", 64).await.unwrap();
        let rows: u64 = cells.iter().map(|cell| cell.rows).sum();
        let most = cells.iter().map(|cell| cell.rows).max().unwrap();
        assert_eq!((cells.len(), rows), (64, 42_049));
        // An 8 x 8 grid's fullest cell has 23.5 times the mean.
        assert!(most as f64 <= 1.1 * rows as f64 / 64.0, "{most}");
        assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
        assert_eq!(picture.matches("<rect ").count(), 65);
    }

    #[tokio::test]
    async fn what_cannot_be_partitioned_is_said() {
        let engine = Engine::new(&Options::default()).unwrap();
        let of = async |geometry: &str| partitions(&engine, ZIPS, geometry, 4).await.unwrap_err().to_string();
        assert!(of("city").await.contains("must be a geometry"));
        assert!(of("nothing").await.contains("nothing"));
        assert!(
            of("ST_GeomFromWKT('POINT EMPTY')")
                .await
                .contains("there is nothing to partition")
        );
        let missing = partitions(&engine, "/no/such.parquet", "g", 4)
            .await
            .unwrap_err()
            .to_string();
        assert!(missing.contains("/no/such.parquet"), "{missing}");
    }
}
