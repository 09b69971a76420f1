//! Well-known text: to WKB by recursive descent, from WKB by a visitor.

use std::fmt::Write;

use super::GeometryError;
use super::wkb::{self, Dimensions, Header, Kind, Ordinates, Visitor};

/// As for WKB: collections of collections must not exhaust the stack.
const DEPTH_MAX: usize = 32;

/// Parses `[SRID=n;]KIND [Z|M|ZM] (…)` to WKB.
///
/// Without Z and M the first coordinate tells: three numbers are x, y and z, four are x, y, z and m, as PostGIS and GEOS
/// read it. Members of a collection have the dimensions of its tag; a collection without a tag has those of any of its members.
pub fn from_wkt(text: &str) -> Result<Vec<u8>, GeometryError> {
    let mut parser = Parser {
        text,
        at: 0,
        out: Vec::with_capacity(text.len()),
    };
    let srid = parser.srid()?;
    parser.geometry(srid, None, 0)?;
    parser.blank();
    if parser.at != text.len() {
        return Err(parser.bad("there is more after the geometry"));
    }
    Ok(parser.out)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    out: Vec<u8>,
}

impl<'a> Parser<'a> {
    fn bad(&self, why: impl Into<String>) -> GeometryError {
        GeometryError::Wkt {
            at: self.at,
            why: why.into(),
        }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn blank(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    /// Takes the characters that `wanted` accepts.
    fn span(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        self.blank();
        let rest = self.rest();
        let end = rest.find(|c| !wanted(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn word(&mut self) -> &'a str {
        self.span(|c| c.is_ascii_alphabetic())
    }

    fn next_is(&mut self, c: char) -> bool {
        self.blank();
        self.rest().starts_with(c)
    }

    fn take(&mut self, c: char) -> bool {
        let found = self.next_is(c);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, c: char) -> Result<(), GeometryError> {
        if self.take(c) {
            Ok(())
        } else {
            Err(self.bad(format!("'{c}' is expected")))
        }
    }

    fn srid(&mut self) -> Result<Option<u32>, GeometryError> {
        self.blank();
        if !self
            .rest()
            .get(..5)
            .is_some_and(|head| head.eq_ignore_ascii_case("SRID="))
        {
            return Ok(None);
        }
        self.at += 5;
        let number = self.span(|c| c.is_ascii_digit());
        let srid = number.parse().map_err(|_| self.bad("the SRID is not a number"))?;
        self.expect(';')?;
        Ok(Some(srid))
    }

    /// `inherited`: the dimensions in the tag of the collection around it.
    fn geometry(
        &mut self,
        srid: Option<u32>,
        inherited: Option<Dimensions>,
        depth: usize,
    ) -> Result<Dimensions, GeometryError> {
        if depth > DEPTH_MAX {
            return Err(self.bad("collections are nested too deeply"));
        }
        self.blank();
        let start = self.at;
        let word = self.word();
        let kind = Kind::from_word(word).map(|kind| (kind, None)).or_else(|| {
            // Some writers put the dimensions right behind the word: POINTZ.
            let (word, dimensions) = split_dimensions(word)?;
            Kind::from_word(word).map(|kind| (kind, Some(dimensions)))
        });
        let Some((kind, mut said)) = kind else {
            self.at = start;
            return Err(self.bad(format!("'{word}' is no kind of geometry")));
        };
        let before = self.at;
        let mut word = self.word();
        if let Some(("", found)) = split_dimensions(word) {
            said = Some(found);
            word = self.word();
        }
        let empty = word.eq_ignore_ascii_case("EMPTY");
        if !empty && !word.is_empty() {
            self.at = before;
            return Err(self.bad(format!("'{word}' is not expected here")));
        }
        let said = said.or(inherited);
        let dimensions = match said {
            Some(dimensions) => dimensions,
            None if empty || kind == Kind::Collection => Dimensions::default(),
            None => self.counted()?,
        };
        let head = self.out.len();
        wkb::put_header(&mut self.out, kind, dimensions, srid);
        if empty {
            self.empty(kind, dimensions)?;
            return Ok(dimensions);
        }
        if kind != Kind::Collection {
            self.body(kind, dimensions)?;
            return Ok(dimensions);
        }
        let mut of_members = dimensions;
        self.list(|parser| {
            of_members = of_members.or(parser.geometry(None, said, depth + 1)?);
            Ok(())
        })?;
        if said.is_none() && of_members != dimensions {
            let mut right = Vec::new();
            wkb::put_header(&mut right, kind, of_members, srid);
            self.out[head..head + right.len()].copy_from_slice(&right);
        }
        Ok(of_members)
    }

    /// The dimensions that the numbers of the first coordinate ahead show.
    fn counted(&mut self) -> Result<Dimensions, GeometryError> {
        // Not beyond this geometry: the next member of a collection may have others.
        let mut depth = 0usize;
        let mut first = None;
        for (at, c) in self.rest().char_indices() {
            match c {
                '(' => depth += 1,
                ')' if depth <= 1 => break,
                ')' => depth -= 1,
                '0'..='9' | '+' | '-' | '.' => {
                    first = Some(at);
                    break;
                }
                _ => {}
            }
        }
        let Some(first) = first else {
            return Ok(Dimensions::default());
        };
        let tail = &self.rest()[first..];
        let end = tail.find([',', '(', ')']).unwrap_or(tail.len());
        match tail[..end].split_whitespace().count() {
            0..=2 => Ok(Dimensions::default()),
            3 => Ok(Dimensions { z: true, m: false }),
            4 => Ok(Dimensions { z: true, m: true }),
            more => Err(self.bad(format!("a coordinate has two to four numbers, not {more}"))),
        }
    }

    fn empty(&mut self, kind: Kind, dimensions: Dimensions) -> Result<(), GeometryError> {
        match kind {
            Kind::Point => (0..dimensions.count()).for_each(|_| wkb::put_float(&mut self.out, f64::NAN)),
            _ => wkb::put_count(&mut self.out, 0),
        }
        Ok(())
    }

    fn body(&mut self, kind: Kind, dimensions: Dimensions) -> Result<(), GeometryError> {
        match kind {
            Kind::Point => {
                self.expect('(')?;
                self.coordinate(dimensions)?;
                self.expect(')')
            }
            Kind::LineString => self.list(|parser| parser.coordinate(dimensions)),
            Kind::Polygon => self.list(|parser| parser.list(|parser| parser.coordinate(dimensions))),
            // Its members say themselves what they are.
            Kind::Collection => Err(self.bad("a collection is not expected here")),
            Kind::MultiPoint | Kind::MultiLineString | Kind::MultiPolygon => {
                let member = kind.member().unwrap_or(Kind::Point);
                self.list(|parser| {
                    wkb::put_header(&mut parser.out, member, dimensions, None);
                    if parser.next_is('(') {
                        return parser.body(member, dimensions);
                    }
                    let before = parser.at;
                    if parser.word().eq_ignore_ascii_case("EMPTY") {
                        return parser.empty(member, dimensions);
                    }
                    parser.at = before;
                    // The points of a multi-point may stand without their own parentheses.
                    if member == Kind::Point {
                        parser.coordinate(dimensions)
                    } else {
                        Err(parser.bad("'(' is expected"))
                    }
                })
            }
        }
    }

    /// `( item, item … )`, with the count written in front when it is known.
    fn list(&mut self, mut item: impl FnMut(&mut Self) -> Result<(), GeometryError>) -> Result<(), GeometryError> {
        self.expect('(')?;
        let count_at = self.out.len();
        wkb::put_count(&mut self.out, 0);
        let mut count = 0u32;
        loop {
            item(self)?;
            count += 1;
            if !self.take(',') {
                break;
            }
        }
        self.out[count_at..count_at + 4].copy_from_slice(&count.to_le_bytes());
        self.expect(')')
    }

    fn coordinate(&mut self, dimensions: Dimensions) -> Result<(), GeometryError> {
        for at in 0..dimensions.count() {
            let number = self.span(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
            let value: f64 = match number.parse() {
                Ok(value) if number.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) => value,
                // An ordinate that is not known.
                Ok(value) if at >= 2 && number.eq_ignore_ascii_case("nan") => value,
                _ => return Err(self.bad(format!("'{number}' is not a number"))),
            };
            wkb::put_float(&mut self.out, value);
        }
        Ok(())
    }
}

/// `POINTZM` -> `POINT` and both; `Z` -> nothing and z.
fn split_dimensions(word: &str) -> Option<(&str, Dimensions)> {
    let ends = |tail: &str| {
        let split = word.len().checked_sub(tail.len())?;
        word[split..].eq_ignore_ascii_case(tail).then(|| &word[..split])
    };
    if let Some(rest) = ends("ZM") {
        return Some((rest, Dimensions { z: true, m: true }));
    }
    if let Some(rest) = ends("Z") {
        return Some((rest, Dimensions { z: true, m: false }));
    }
    ends("M").map(|rest| (rest, Dimensions { z: false, m: true }))
}

/// The text of a WKB geometry, numbers with as many digits as it takes to read them back.
pub fn to_wkt(bytes: &[u8]) -> Result<String, GeometryError> {
    let mut writer = Writer {
        out: String::with_capacity(bytes.len()),
        ..Writer::default()
    };
    wkb::walk(bytes, &mut writer)?;
    Ok(writer.out)
}

#[derive(Default)]
struct Writer {
    out: String,
    /// The kinds of the geometries that are open.
    open: Vec<Kind>,
    /// The next item is the first of its list.
    first: bool,
}

impl Writer {
    fn comma(&mut self) {
        if !std::mem::take(&mut self.first) {
            self.out.push(',');
        }
    }
}

impl Visitor for Writer {
    fn begin(&mut self, header: &Header) {
        let parent = self.open.last().copied();
        if parent.is_some() {
            self.comma();
        }
        if parent.is_none_or(|kind| kind == Kind::Collection) {
            self.out.push_str(header.kind.word());
            self.out.push_str(match (header.dimensions.z, header.dimensions.m) {
                (false, false) => "",
                (true, false) => " Z",
                (false, true) => " M",
                (true, true) => " ZM",
            });
            if header.count == 0 || header.dimensions != Dimensions::default() {
                self.out.push(' ');
            }
        }
        self.open.push(header.kind);
        if header.count == 0 {
            self.out.push_str("EMPTY");
        } else if header.kind != Kind::LineString {
            // A line string's parentheses come with its points.
            self.out.push('(');
        }
        self.first = true;
    }

    fn points(&mut self, count: usize) {
        if self.open.last() == Some(&Kind::Polygon) {
            self.comma();
        }
        if count > 0 {
            self.out.push('(');
        } else if self.open.last() == Some(&Kind::Polygon) {
            self.out.push_str("EMPTY");
        }
        self.first = true;
    }

    fn coordinate(&mut self, ordinates: Ordinates) {
        self.comma();
        let _infallible = write!(self.out, "{} {}", ordinates.x, ordinates.y);
        for more in [ordinates.z, ordinates.m].into_iter().flatten() {
            let _infallible = write!(self.out, " {more}");
        }
    }

    fn points_end(&mut self) {
        if !self.first {
            self.out.push(')');
        }
        self.first = false;
    }

    fn end(&mut self, header: &Header) {
        if header.count > 0 && header.kind != Kind::LineString {
            self.out.push(')');
        }
        self.open.pop();
        self.first = false;
    }
}
