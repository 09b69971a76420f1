//! What rearranges vertices, Z and M included: hulls, simplification, boundaries.

use std::collections::{HashMap, HashSet};

use geo::{Geometry, Simplify};

use crate::spatial::geometry::wkb::{Dimensions, Kind, Ordinates};
use crate::spatial::geometry::{Body, GeometryError, Shape, Tree};
use crate::spatial::relation::{is_left_turn, same_place_key};

/// The empty collection.
pub fn nothing() -> Tree {
    Tree::members(Kind::Collection, Vec::new())
}

/// The members; a single geometry is its own only one, an empty single one has none.
pub fn parts(tree: Tree) -> Vec<Tree> {
    match tree.body {
        Body::Members(_, members) => members,
        _ if tree.is_empty() => Vec::new(),
        _ => vec![tree],
    }
}

/// The points where a line, or an odd number of lines, end; the rings of polygons.
pub fn boundary(tree: &Tree) -> Result<Tree, GeometryError> {
    let lines = |members: &[Tree]| -> Vec<Vec<Ordinates>> {
        let line = |member: &Tree| match &member.body {
            Body::Line(points) => Some(points.clone()),
            _ => None,
        };
        members.iter().filter_map(line).collect()
    };
    let rings = |members: &[Tree]| -> Vec<Tree> {
        let rings = members.iter().flat_map(|member| match &member.body {
            Body::Polygon(rings) => rings.as_slice(),
            _ => &[],
        });
        let rings = rings.filter(|ring| !ring.is_empty());
        rings.map(|ring| Tree::line(tree.dimensions, ring.clone())).collect()
    };
    Ok(match &tree.body {
        Body::Point(_) | Body::Members(Kind::MultiPoint, _) => nothing(),
        Body::Line(points) => ends(std::slice::from_ref(points)),
        Body::Members(Kind::MultiLineString, members) => ends(&lines(members)),
        Body::Polygon(_) => {
            let mut rings = rings(std::slice::from_ref(tree));
            if rings.len() == 1 {
                rings.remove(0)
            } else {
                Tree::members(Kind::MultiLineString, rings)
            }
        }
        Body::Members(Kind::MultiPolygon, members) => Tree::members(Kind::MultiLineString, rings(members)),
        Body::Members(..) => {
            return Err(GeometryError::Unsupported(
                "a collection has no boundary of its own".into(),
            ));
        }
    })
}

/// By the mod-2 rule: an end that an even number of lines share is no boundary.
fn ends(lines: &[Vec<Ordinates>]) -> Tree {
    let mut counts: HashMap<_, usize> = HashMap::new();
    let mut ends = Vec::new();
    for line in lines {
        if let (Some(first), Some(last)) = (line.first(), line.last()) {
            for end in [first, last] {
                *counts.entry(same_place_key(end.x, end.y)).or_default() += 1;
                ends.push(*end);
            }
        }
    }
    let mut seen = HashSet::new();
    ends.retain(|end| {
        let key = same_place_key(end.x, end.y);
        counts.get(&key).is_some_and(|count| count % 2 == 1) && seen.insert(key)
    });
    Tree::members(Kind::MultiPoint, ends.into_iter().map(Tree::point).collect())
}

/// The convex hull as what it is: a point where all vertices are at one place, a line where they are in a row, else a
/// polygon without corners in a row. Its vertices are vertices of the geometry and keep their Z and M.
pub fn hull(tree: &Tree) -> Tree {
    let mut points = tree.vertices();
    points.sort_by(|a, b| {
        (a.x + 0.0)
            .total_cmp(&(b.x + 0.0))
            .then((a.y + 0.0).total_cmp(&(b.y + 0.0)))
    });
    points.dedup_by(|a, b| a.is_at(b));
    let half = |points: &mut dyn Iterator<Item = &Ordinates>| -> Vec<Ordinates> {
        let mut chain: Vec<Ordinates> = Vec::new();
        for point in points {
            while let [.., a, b] = chain.as_slice()
                && !is_left_turn((a.x, a.y), (b.x, b.y), (point.x, point.y))
            {
                chain.pop();
            }
            chain.push(*point);
        }
        chain
    };
    match points.as_slice() {
        [] => nothing(),
        [only] => Tree::point(*only),
        _ => {
            let mut ring = half(&mut points.iter());
            let upper = half(&mut points.iter().rev());
            ring.extend_from_slice(&upper[1..]);
            if ring.len() == 3 {
                ring.pop();
                return Tree::line(tree.dimensions, ring);
            }
            // Clockwise, as GEOS gives it.
            ring.reverse();
            Tree {
                dimensions: tree.dimensions,
                body: Body::Polygon(vec![ring]),
            }
        }
    }
}

/// Lines and rings with fewer vertices (Douglas and Peucker); what is left keeps its Z and M.
pub fn simplify(tree: &Tree, tolerance: f64) -> Tree {
    let dimensions = tree.dimensions;
    let body = match &tree.body {
        Body::Line(points) => Body::Line(kept(points, &shape(&Tree::line(dimensions, points.clone())), tolerance)),
        Body::Polygon(rings) => Body::Polygon(
            rings
                .iter()
                .map(|ring| {
                    let alone = Tree {
                        dimensions,
                        body: Body::Polygon(vec![ring.clone()]),
                    };
                    kept(ring, &shape(&alone), tolerance)
                })
                .collect(),
        ),
        Body::Members(kind @ (Kind::MultiLineString | Kind::MultiPolygon), members) => Body::Members(
            *kind,
            members.iter().map(|member| simplify(member, tolerance)).collect(),
        ),
        other => other.clone(),
    };
    Tree { dimensions, body }
}

fn shape(tree: &Tree) -> Option<Geometry<f64>> {
    Shape::decode(&tree.encode(0)).ok().map(|shape| shape.geometry)
}

fn kept(points: &[Ordinates], geometry: &Option<Geometry<f64>>, tolerance: f64) -> Vec<Ordinates> {
    let coords = match geometry {
        Some(Geometry::LineString(line)) => line.simplify(tolerance).0,
        Some(Geometry::Polygon(polygon)) => polygon.simplify(tolerance).exterior().0.clone(),
        _ => return points.to_vec(),
    };
    // What is kept is in the order of what was given.
    let mut rest = points.iter();
    let mut found: Vec<Ordinates> = coords
        .iter()
        .filter_map(|coord| rest.find(|point| point.x == coord.x && point.y == coord.y).copied())
        .collect();
    // The end of a ring or line is its own last vertex.
    if let (Some(last), Some(own)) = (found.last_mut(), points.last())
        && last.is_at(own)
    {
        *last = *own;
    }
    found
}

/// Gives the vertices of a computed geometry the Z and M of the vertices it was computed from; a new vertex on an edge gets
/// what is between the edge's ends.
pub fn lifted(made: &[u8], from: &[Tree]) -> Result<Tree, GeometryError> {
    let (mut tree, _) = Tree::decode(made)?;
    let dimensions = from
        .iter()
        .map(|tree| tree.dimensions)
        .fold(Dimensions::default(), Dimensions::or);
    if dimensions == Dimensions::default() {
        return Ok(tree);
    }
    let mut known = HashMap::new();
    let mut edges = Vec::new();
    for tree in from {
        for vertex in tree.vertices() {
            known.entry(same_place_key(vertex.x, vertex.y)).or_insert(vertex);
        }
        gather_edges(tree, &mut edges);
    }
    tree.for_each(&mut |vertex| {
        let source = known.get(&same_place_key(vertex.x, vertex.y)).copied();
        let source = source.or_else(|| between(vertex, &edges));
        vertex.z = dimensions
            .z
            .then(|| source.and_then(|source| source.z).unwrap_or(f64::NAN));
        vertex.m = dimensions
            .m
            .then(|| source.and_then(|source| source.m).unwrap_or(f64::NAN));
    });
    set_dimensions(&mut tree, dimensions);
    Ok(tree)
}

fn set_dimensions(tree: &mut Tree, dimensions: Dimensions) {
    tree.dimensions = dimensions;
    if let Body::Members(_, members) = &mut tree.body {
        members.iter_mut().for_each(|member| set_dimensions(member, dimensions));
    }
}

fn gather_edges(tree: &Tree, edges: &mut Vec<(Ordinates, Ordinates)>) {
    let mut of_line = |points: &[Ordinates]| edges.extend(points.windows(2).map(|pair| (pair[0], pair[1])));
    match &tree.body {
        Body::Point(_) => {}
        Body::Line(points) => of_line(points),
        Body::Polygon(rings) => rings.iter().for_each(|ring| of_line(ring)),
        Body::Members(_, members) => members.iter().for_each(|member| gather_edges(member, edges)),
    }
}

/// The place on the nearest edge, with the ordinates between those of its ends.
fn between(vertex: &Ordinates, edges: &[(Ordinates, Ordinates)]) -> Option<Ordinates> {
    let along = |(a, b): &(Ordinates, Ordinates)| {
        let (dx, dy) = (b.x - a.x, b.y - a.y);
        let length2 = dx * dx + dy * dy;
        let share = if length2 > 0.0 {
            (((vertex.x - a.x) * dx + (vertex.y - a.y) * dy) / length2).clamp(0.0, 1.0)
        } else {
            0.0
        };
        let off = (a.x + share * dx - vertex.x).hypot(a.y + share * dy - vertex.y);
        (off, share)
    };
    let nearest = edges.iter().map(|edge| (along(edge), edge));
    let ((_, share), (a, b)) = nearest.min_by(|(one, _), (other, _)| one.0.total_cmp(&other.0))?;
    let mix = |a: Option<f64>, b: Option<f64>| Some(a? + share * (b? - a?));
    Some(Ordinates {
        x: vertex.x,
        y: vertex.y,
        z: mix(a.z, b.z),
        m: mix(a.m, b.m),
    })
}
