//! County polygons, from the well-known binary in `counties.parquet`.

use arrow::array::Array;
use bytes::Bytes;
use geo::{Geometry, MultiPolygon, Polygon};
use geo_traits::to_geo::ToGeoGeometry;

use crate::columns::{Columns, ReadError};

/// A county and its outline, in degrees.
#[derive(Debug, Clone)]
pub struct County {
    pub fips: String,
    pub outline: MultiPolygon<f64>,
}

/// Reads all counties, in the order of the file.
pub fn counties(parquet: Bytes) -> Result<Vec<County>, ReadError> {
    let columns = Columns::read(parquet)?;
    let (fips, wkb) = (columns.texts("fips")?, columns.bytes("wkb")?);
    (0..wkb.len())
        .map(|row| {
            let outline = outline(wkb.value(row)).ok_or_else(|| ReadError::WrongType("wkb".to_owned()))?;
            Ok(County {
                fips: fips.value(row).to_owned(),
                outline,
            })
        })
        .collect()
}

fn outline(wkb: &[u8]) -> Option<MultiPolygon<f64>> {
    let geometry = wkb::reader::read_wkb(wkb).ok()?.try_to_geometry()?;
    let mut polygons = Vec::new();
    collect_polygons(geometry, &mut polygons);
    Some(MultiPolygon::new(polygons))
}

/// What has an area. Rounding left some outlines with lines in them, and one tiny town as nothing else.
fn collect_polygons(geometry: Geometry<f64>, polygons: &mut Vec<Polygon<f64>>) {
    match geometry {
        Geometry::Polygon(polygon) => polygons.push(polygon),
        Geometry::MultiPolygon(parts) => polygons.extend(parts),
        Geometry::GeometryCollection(parts) => parts.into_iter().for_each(|part| collect_polygons(part, polygons)),
        _ => {}
    }
}
