//! A geometry with every ordinate, for functions that take geometries apart and put them together.
//!
//! [`Shape`](super::Shape) is x and y alone, in the form that computing wants. What only moves vertices around works on a
//! [`Tree`] instead and so keeps Z and M, empty members, and members of another dimension than their collection.

use super::GeometryError;
use super::wkb::{self, Dimensions, Header, Kind, Ordinates, Visitor};

#[derive(Debug, Clone, PartialEq)]
pub struct Tree {
    pub dimensions: Dimensions,
    pub body: Body,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// `None`: the empty point.
    Point(Option<Ordinates>),
    Line(Vec<Ordinates>),
    Polygon(Vec<Vec<Ordinates>>),
    /// A multi-geometry or a collection.
    Members(Kind, Vec<Tree>),
}

impl Tree {
    /// The geometry and its SRID (0: none).
    pub fn decode(bytes: &[u8]) -> Result<(Tree, u32), GeometryError> {
        let mut builder = Builder::default();
        wkb::walk(bytes, &mut builder)?;
        let tree = builder.done.ok_or(GeometryError::Wkb {
            at: 0,
            why: "there is no geometry",
        })?;
        Ok((tree, builder.srid))
    }

    pub fn encode(&self, srid: u32) -> Vec<u8> {
        let mut out = Vec::new();
        self.put(&mut out, Some(srid));
        out
    }

    pub fn point(ordinates: Ordinates) -> Tree {
        Tree {
            dimensions: ordinates.dimensions(),
            body: Body::Point(Some(ordinates)),
        }
    }

    pub fn line(dimensions: Dimensions, points: Vec<Ordinates>) -> Tree {
        Tree {
            dimensions,
            body: Body::Line(points),
        }
    }

    /// A multi-geometry or collection; all members of a multi-geometry get the same dimensions, NaN where they had none.
    pub fn members(kind: Kind, mut members: Vec<Tree>) -> Tree {
        let all = members.iter().map(|member| member.dimensions);
        let dimensions = all.fold(Dimensions::default(), Dimensions::or);
        if kind != Kind::Collection {
            members.iter_mut().for_each(|member| member.widen(dimensions));
        }
        Tree {
            dimensions,
            body: Body::Members(kind, members),
        }
    }

    pub fn kind(&self) -> Kind {
        match &self.body {
            Body::Point(_) => Kind::Point,
            Body::Line(_) => Kind::LineString,
            Body::Polygon(_) => Kind::Polygon,
            Body::Members(kind, _) => *kind,
        }
    }

    pub fn is_empty(&self) -> bool {
        match &self.body {
            Body::Point(point) => point.is_none(),
            Body::Line(points) => points.is_empty(),
            Body::Polygon(rings) => rings.iter().all(Vec::is_empty),
            Body::Members(_, members) => members.iter().all(Tree::is_empty),
        }
    }

    /// Every vertex, in order.
    pub fn vertices(&self) -> Vec<Ordinates> {
        match &self.body {
            Body::Point(point) => point.iter().copied().collect(),
            Body::Line(points) => points.clone(),
            Body::Polygon(rings) => rings.concat(),
            Body::Members(_, members) => members.iter().flat_map(Tree::vertices).collect(),
        }
    }

    pub fn for_each(&mut self, change: &mut impl FnMut(&mut Ordinates)) {
        match &mut self.body {
            Body::Point(point) => point.iter_mut().for_each(change),
            Body::Line(points) => points.iter_mut().for_each(change),
            Body::Polygon(rings) => rings.iter_mut().flatten().for_each(change),
            Body::Members(_, members) => members.iter_mut().for_each(|member| member.for_each(change)),
        }
    }

    /// Adds the ordinates that are missing, as NaN.
    fn widen(&mut self, to: Dimensions) {
        self.dimensions = self.dimensions.or(to);
        if let Body::Members(_, members) = &mut self.body {
            members.iter_mut().for_each(|member| member.widen(to));
        }
    }

    fn put(&self, out: &mut Vec<u8>, srid: Option<u32>) {
        wkb::put_header(out, self.kind(), self.dimensions, srid);
        match &self.body {
            Body::Point(Some(point)) => self.put_ordinates(out, point),
            Body::Point(None) => (0..self.dimensions.count()).for_each(|_| wkb::put_float(out, f64::NAN)),
            Body::Line(points) => self.put_points(out, points),
            Body::Polygon(rings) => {
                wkb::put_count(out, rings.len());
                rings.iter().for_each(|ring| self.put_points(out, ring));
            }
            Body::Members(_, members) => {
                wkb::put_count(out, members.len());
                members.iter().for_each(|member| member.put(out, None));
            }
        }
    }

    fn put_points(&self, out: &mut Vec<u8>, points: &[Ordinates]) {
        wkb::put_count(out, points.len());
        points.iter().for_each(|point| self.put_ordinates(out, point));
    }

    fn put_ordinates(&self, out: &mut Vec<u8>, point: &Ordinates) {
        wkb::put_float(out, point.x);
        wkb::put_float(out, point.y);
        if self.dimensions.z {
            wkb::put_float(out, point.z.unwrap_or(f64::NAN));
        }
        if self.dimensions.m {
            wkb::put_float(out, point.m.unwrap_or(f64::NAN));
        }
    }
}

#[derive(Default)]
struct Builder {
    open: Vec<Frame>,
    done: Option<Tree>,
    srid: u32,
}

#[derive(Default)]
struct Frame {
    point: Option<Ordinates>,
    lines: Vec<Vec<Ordinates>>,
    members: Vec<Tree>,
}

impl Visitor for Builder {
    fn begin(&mut self, header: &Header) {
        if self.open.is_empty() {
            self.srid = header.srid.unwrap_or(0);
        }
        self.open.push(Frame::default());
    }

    fn points(&mut self, count: usize) {
        if let Some(frame) = self.open.last_mut() {
            frame.lines.push(Vec::with_capacity(count));
        }
    }

    fn coordinate(&mut self, ordinates: Ordinates) {
        let Some(frame) = self.open.last_mut() else { return };
        match frame.lines.last_mut() {
            Some(line) => line.push(ordinates),
            None => frame.point = Some(ordinates),
        }
    }

    fn end(&mut self, header: &Header) {
        let Some(mut frame) = self.open.pop() else { return };
        let body = match header.kind {
            Kind::Point => Body::Point(frame.point),
            Kind::LineString => Body::Line(frame.lines.pop().unwrap_or_default()),
            Kind::Polygon => Body::Polygon(frame.lines),
            kind => Body::Members(kind, frame.members),
        };
        let tree = Tree {
            dimensions: header.dimensions,
            body,
        };
        match self.open.last_mut() {
            Some(parent) => parent.members.push(tree),
            None => self.done = Some(tree),
        }
    }
}
