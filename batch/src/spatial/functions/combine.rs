//! Overlays, repair, buffers, and the transformation between reference systems.

use geo::algorithm::buffer::{Buffer, BufferStyle, LineCap, LineJoin};
use geo::orient::Direction;
use geo::{Coord, Geometry, LineString, MultiLineString, MultiPolygon, Orient, Polygon};

use super::scalar::Kind::{self, Number, Text};
use super::scalar::{Definition, Returns, Row, Value};
use super::vertices::lifted;
use crate::spatial::geometry::wkb;
use crate::spatial::geometry::{GeometryError, Shape, Tree};
use crate::spatial::overlay::{self, Operation};
use crate::spatial::projection::{Transformation, code_of};

type Answer = Result<Value, GeometryError>;

const fn of_one(name: &'static str, returns: Returns, kernel: fn(&Row<'_>) -> Answer) -> Definition {
    Definition {
        name,
        aliases: &[],
        args: &[Kind::Geometry],
        optional: 0,
        returns,
        kernel,
    }
}

const fn between(name: &'static str, kernel: fn(&Row<'_>) -> Answer) -> Definition {
    Definition {
        name,
        aliases: &[],
        args: &[Kind::Geometry, Kind::Geometry],
        optional: 0,
        returns: Returns::Geometry,
        kernel,
    }
}

pub const FUNCTIONS: &[Definition] = &[
    between("st_intersection", |row| overlaid(row, Operation::Intersection)),
    between("st_union", |row| overlaid(row, Operation::Union)),
    between("st_difference", |row| overlaid(row, Operation::Difference)),
    between("st_symdifference", |row| overlaid(row, Operation::SymmetricDifference)),
    of_one("st_unaryunion", Returns::Geometry, |row| {
        computed(row, |geometry| overlay::union(std::slice::from_ref(geometry)))
    }),
    of_one("st_makevalid", Returns::Geometry, |row| {
        computed(row, overlay::repaired)
    }),
    of_one("st_isvalid", Returns::Flag, |row| Ok(Value::Flag(flaw(row)?.is_none()))),
    of_one("st_isvalidreason", Returns::Text, |row| {
        Ok(Value::Text(flaw(row)?.unwrap_or("Valid Geometry").to_owned()))
    }),
    of_one("st_issimple", Returns::Flag, |row| {
        let shape = row.shape(0)?;
        Ok(Value::Flag(shape.finite && overlay::is_simple(&shape.geometry)?))
    }),
    of_one("st_isring", Returns::Flag, |row| {
        let shape = row.shape(0)?;
        let Geometry::LineString(line) = &shape.geometry else {
            return Err(GeometryError::Unsupported("it takes a LINESTRING".into()));
        };
        let closed = shape.finite && !line.0.is_empty() && line.is_closed();
        Ok(Value::Flag(closed && overlay::is_simple(&shape.geometry)?))
    }),
    of_one("st_node", Returns::Geometry, |row| computed(row, overlay::noded_lines)),
    of_one("st_polygonize", Returns::Geometry, |row| {
        computed(row, |geometry| {
            let polygons = overlay::polygonized(geometry)?;
            Ok(Geometry::GeometryCollection(
                polygons.into_iter().map(Geometry::Polygon).collect(),
            ))
        })
    }),
    of_one("st_linemerge", Returns::Geometry, |row| {
        computed(row, |geometry| {
            Ok(match geometry {
                Geometry::MultiLineString(lines) => {
                    let mut merged = overlay::merged_lines(&lines.0);
                    if merged.len() == 1 {
                        Geometry::LineString(merged.remove(0))
                    } else {
                        Geometry::MultiLineString(MultiLineString(merged))
                    }
                }
                other => other.clone(),
            })
        })
    }),
    Definition {
        name: "st_buffer",
        aliases: &[],
        args: &[Kind::Geometry, Number, Text],
        optional: 1,
        returns: Returns::Geometry,
        kernel: buffer,
    },
    Definition {
        name: "st_transform",
        aliases: &[],
        args: &[Kind::Geometry, Text, Text],
        optional: 1,
        returns: Returns::Geometry,
        kernel: transform,
    },
];

fn finite(shape: &Shape) -> Result<(), GeometryError> {
    if shape.finite {
        return Ok(());
    }
    Err(GeometryError::Unsupported("a coordinate is NaN or infinite".into()))
}

fn flaw(row: &Row<'_>) -> Result<Option<&'static str>, GeometryError> {
    let shape = row.shape(0)?;
    if !shape.finite {
        return Ok(Some("Invalid Coordinate"));
    }
    let unclosed = unclosed(&row.tree(0)?.0);
    if unclosed {
        return Ok(Some("Ring is not closed"));
    }
    overlay::flaw(&shape.geometry)
}

/// `geo` closes rings that are not: only the tree shows them.
fn unclosed(tree: &Tree) -> bool {
    use crate::spatial::geometry::Body;
    match &tree.body {
        Body::Polygon(rings) => rings.iter().any(|ring| {
            ring.first()
                .zip(ring.last())
                .is_some_and(|(first, last)| !first.is_at(last))
        }),
        Body::Members(_, members) => members.iter().any(unclosed),
        _ => false,
    }
}

/// The bytes of a computed geometry, with the ordinates of those that it was made of.
fn made(geometry: &Geometry<f64>, from: &[Tree], srid: u32) -> Answer {
    if let Geometry::MultiPoint(points) = geometry
        && points.0.is_empty()
    {
        return Ok(Value::Geometry(wkb::with_srid(&wkb::point(f64::NAN, f64::NAN), srid)?));
    }
    Ok(Value::Geometry(lifted(&wkb::encode(geometry, 0), from)?.encode(srid)))
}

fn computed(row: &Row<'_>, compute: impl Fn(&Geometry<f64>) -> Result<Geometry<f64>, GeometryError>) -> Answer {
    let shape = row.shape(0)?;
    finite(&shape)?;
    let (tree, srid) = row.tree(0)?;
    made(&compute(&shape.geometry)?, &[tree], srid)
}

fn overlaid(row: &Row<'_>, operation: Operation) -> Answer {
    let (a, b) = (row.shape(0)?, row.shape(1)?);
    let srid = a.same_srid(&b)?;
    finite(&a)?;
    finite(&b)?;
    let apart = match (a.bounds, b.bounds) {
        (Some(a), Some(b)) => !a.intersects(&b),
        _ => true,
    };
    let ((tree_a, _), (tree_b, _)) = (row.tree(0)?, row.tree(1)?);
    // What is apart needs no sweep.
    if apart && operation == Operation::Difference && !a.is_empty() && single_sided(&a.geometry) {
        return Ok(Value::Geometry(tree_a.encode(srid)));
    }
    made(
        &overlay::overlay(&a.geometry, &b.geometry, operation)?,
        &[tree_a, tree_b],
        srid,
    )
}

/// Whether a geometry is its own overlay with nothing: no lines that cut each other, no areas that overlap.
fn single_sided(geometry: &Geometry<f64>) -> bool {
    matches!(geometry, Geometry::Point(_) | Geometry::Polygon(_))
}

fn transform(row: &Row<'_>) -> Answer {
    let own = row.srid(0)?;
    let (from, to) = if row.len() > 2 {
        (code_of(row.text(1))?, code_of(row.text(2))?)
    } else {
        (own, code_of(row.text(1))?)
    };
    if from == 0 {
        return Err(GeometryError::Unsupported(
            "the geometry has no reference system: set one with ST_SetSRID, or name it as the second of three arguments"
                .into(),
        ));
    }
    if own != 0 && own != from {
        return Err(GeometryError::MixedSrid(own, from));
    }
    let (mut tree, _) = row.tree(0)?;
    if from != to {
        let transformation = Transformation::between(from, to)?;
        let mut failed = None;
        tree.for_each(&mut |vertex| match transformation.apply(vertex.x, vertex.y) {
            Ok((x, y)) => (vertex.x, vertex.y) = (x, y),
            Err(error) => drop(failed.get_or_insert(error)),
        });
        if let Some(error) = failed {
            return Err(error);
        }
    }
    Ok(Value::Geometry(tree.encode(to)))
}

/// How the corners and ends of a buffer look; `quad_segs=8 endcap=round join=round mitre_limit=5`.
struct Style {
    quadrant_segments: u32,
    cap: Shaped,
    join: Shaped,
    mitre_limit: f64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shaped {
    Round,
    Flat,
    Square,
}

impl Style {
    fn parse(text: &str) -> Result<Style, GeometryError> {
        let mut style = Style {
            quadrant_segments: 8,
            cap: Shaped::Round,
            join: Shaped::Round,
            mitre_limit: 5.0,
        };
        for setting in text.split_whitespace() {
            let refused = || GeometryError::Unsupported(format!("'{setting}' is no buffer setting that is known"));
            let (key, value) = setting.split_once('=').ok_or_else(refused)?;
            let (key, value) = (key.to_ascii_lowercase(), value.to_ascii_lowercase());
            match (key.as_str(), value.as_str()) {
                ("quad_segs", number) => {
                    let number = number.parse().ok().filter(|number| (1..=1024).contains(number));
                    style.quadrant_segments = number.ok_or_else(refused)?;
                }
                ("endcap", "round") => style.cap = Shaped::Round,
                ("endcap", "flat" | "butt") => style.cap = Shaped::Flat,
                ("endcap", "square") => style.cap = Shaped::Square,
                ("join", "round") => style.join = Shaped::Round,
                ("join", "mitre" | "miter") => style.join = Shaped::Square,
                ("join", "bevel") => style.join = Shaped::Flat,
                ("mitre_limit" | "miter_limit", number) => {
                    let number = number.parse().ok().filter(|number| (1.0..=1e6).contains(number));
                    style.mitre_limit = number.ok_or_else(refused)?;
                }
                ("side", "both") => {}
                _ => return Err(refused()),
            }
        }
        Ok(style)
    }

    fn of(&self, distance: f64) -> BufferStyle<f64> {
        let angle = std::f64::consts::FRAC_PI_2 / f64::from(self.quadrant_segments);
        let cap = match self.cap {
            Shaped::Round => LineCap::Round(angle),
            Shaped::Flat => LineCap::Butt,
            Shaped::Square => LineCap::Square,
        };
        let join = match self.join {
            Shaped::Round => LineJoin::Round(angle),
            Shaped::Flat => LineJoin::Bevel,
            // A mitre is as long as the limit where the corner is this sharp.
            Shaped::Square => LineJoin::Miter(2.0 * (1.0 / self.mitre_limit).asin()),
        };
        BufferStyle::new(distance).line_cap(cap).line_join(join)
    }
}

fn buffer(row: &Row<'_>) -> Answer {
    let shape = row.shape(0)?;
    finite(&shape)?;
    let distance = row.number(1);
    if !distance.is_finite() {
        return Err(GeometryError::Unsupported(format!("{distance} is no distance")));
    }
    let style = Style::parse(if row.len() > 2 { row.text(2) } else { "" })?;
    let buffered = buffered(&shape.geometry, distance, &style)?;
    let polygons: Vec<Geometry<f64>> = buffered.into_iter().map(Geometry::Polygon).collect();
    // One sweep of ours: parts that overlap unite, and shells run clockwise.
    Ok(Value::Geometry(wkb::encode(&overlay::union(&polygons)?, shape.srid)).or_empty_polygon(shape.srid))
}

impl Value {
    /// No polygon at all is the empty polygon.
    fn or_empty_polygon(self, srid: u32) -> Value {
        match &self {
            Value::Geometry(bytes) if wkb::header(bytes).is_ok_and(|header| header.count == 0) => {
                let empty = Geometry::Polygon(Polygon::new(LineString(Vec::new()), Vec::new()));
                Value::Geometry(wkb::encode(&empty, srid))
            }
            _ => self,
        }
    }
}

fn buffered(geometry: &Geometry<f64>, distance: f64, style: &Style) -> Result<MultiPolygon<f64>, GeometryError> {
    let nothing = || MultiPolygon(Vec::new());
    let round = |at: Coord<f64>| match style.cap {
        _ if distance <= 0.0 => nothing(),
        Shaped::Flat => nothing(),
        Shaped::Square => MultiPolygon(vec![
            geo::Rect::new(
                Coord {
                    x: at.x - distance,
                    y: at.y - distance,
                },
                Coord {
                    x: at.x + distance,
                    y: at.y + distance,
                },
            )
            .to_polygon(),
        ]),
        Shaped::Round => MultiPolygon(vec![circle(at, distance, style.quadrant_segments)]),
    };
    Ok(match geometry {
        Geometry::Point(point) => round(point.0),
        Geometry::MultiPoint(points) => MultiPolygon(points.iter().flat_map(|point| round(point.0)).collect()),
        Geometry::LineString(line) => match line.0.first() {
            None => nothing(),
            Some(first) if line.0.iter().all(|at| at == first) => round(*first),
            Some(_) if distance <= 0.0 => nothing(),
            Some(_) => line.buffer_with_style(style.of(distance)),
        },
        Geometry::MultiLineString(lines) => {
            let parts = lines
                .iter()
                .map(|line| buffered(&Geometry::LineString(line.clone()), distance, style));
            MultiPolygon(parts.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
        }
        Geometry::Polygon(polygon) if distance == 0.0 => areas(overlay::repaired(&Geometry::Polygon(polygon.clone()))?),
        Geometry::MultiPolygon(polygons) if distance == 0.0 => {
            areas(overlay::repaired(&Geometry::MultiPolygon(polygons.clone()))?)
        }
        Geometry::Polygon(polygon) => {
            MultiPolygon(vec![polygon.orient(Direction::Default)]).buffer_with_style(style.of(distance))
        }
        Geometry::MultiPolygon(polygons) => polygons
            .orient(Direction::Default)
            .buffer_with_style(style.of(distance)),
        Geometry::GeometryCollection(parts) => {
            let parts = parts.iter().map(|part| buffered(part, distance, style));
            MultiPolygon(parts.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
        }
        other => other.buffer_with_style(style.of(distance)),
    })
}

fn areas(geometry: Geometry<f64>) -> MultiPolygon<f64> {
    match geometry {
        Geometry::Polygon(polygon) => MultiPolygon(vec![polygon]),
        Geometry::MultiPolygon(polygons) => polygons,
        Geometry::GeometryCollection(parts) => MultiPolygon(parts.into_iter().flat_map(areas).collect()),
        _ => MultiPolygon(Vec::new()),
    }
}

fn circle(center: Coord<f64>, radius: f64, quadrant_segments: u32) -> Polygon<f64> {
    let steps = 4 * quadrant_segments;
    let at = |step: u32| {
        let angle = -std::f64::consts::TAU * f64::from(step % steps) / f64::from(steps);
        Coord {
            x: center.x + radius * angle.cos(),
            y: center.y + radius * angle.sin(),
        }
    };
    Polygon::new(LineString((0..=steps).map(at).collect()), Vec::new())
}
