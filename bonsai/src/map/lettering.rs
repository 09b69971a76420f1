//! Labels: as text in the SVG that people get, whose words can be found and copied; as outlines of glyphs in the SVG that is
//! rendered, so that the renderer needs no engine for text (which is most of one, to build).

use std::fmt::Write as _;

use ttf_parser::{Face, FaceParsingError, GlyphId, OutlineBuilder};

use super::svg::escaped;

/// Why the font that comes with the program cannot be read: a defect of ours.
pub type FontError = FaceParsingError;

/// Which point of a label lies on its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    Start,
    Middle,
}

/// Where a label stands and how it looks; sizes in paper units.
#[derive(Debug, Clone, Copy)]
pub struct Label<'a> {
    x: f64,
    baseline: f64,
    size: f64,
    anchor: Anchor,
    fill: Option<&'a str>,
}

impl<'a> Label<'a> {
    pub fn new(x: f64, baseline: f64, size: f64) -> Self {
        Self {
            x,
            baseline,
            size,
            anchor: Anchor::Start,
            fill: None,
        }
    }

    pub fn fill(self, fill: &'a str) -> Self {
        Self {
            fill: Some(fill),
            ..self
        }
    }

    pub fn anchor(self, anchor: Anchor) -> Self {
        Self { anchor, ..self }
    }
}

/// What becomes of the labels.
pub enum Lettering {
    Text,
    Outlines(Box<Face<'static>>),
}

impl Lettering {
    /// Outlines of the font that comes with the program.
    pub fn outlines() -> Result<Self, FontError> {
        let face = Face::parse(epaint_default_fonts::UBUNTU_LIGHT, 0)?;
        Ok(Self::Outlines(Box::new(face)))
    }

    pub fn write(&self, svg: &mut String, label: &Label<'_>, text: &str) {
        let Label { x, baseline, size, .. } = *label;
        let fill = label.fill.map(|fill| format!(r#" fill="{fill}""#)).unwrap_or_default();
        match self {
            Self::Text => {
                let anchor = match label.anchor {
                    Anchor::Start => "",
                    Anchor::Middle => r#" text-anchor="middle""#,
                };
                let _ = writeln!(
                    svg,
                    r#"<text x="{x:.1}" y="{baseline:.1}" font-size="{size}"{fill}{anchor}>{}</text>"#,
                    escaped(text)
                );
            }
            Self::Outlines(face) => {
                let outline = Outline::of(face, label, text);
                let _ = writeln!(svg, r#"<path{fill} d="{}"/>"#, outline.path);
            }
        }
    }
}

/// The outlines of a label's glyphs, one after another, as the data of a path.
struct Outline {
    path: String,
    scale: f64,
    x: f64,
    baseline: f64,
}

impl Outline {
    fn of(face: &Face<'_>, label: &Label<'_>, text: &str) -> Self {
        let scale = label.size / f64::from(face.units_per_em());
        // What the font does not have is drawn as its box for such, as everywhere.
        let glyphs: Vec<GlyphId> = text
            .chars()
            .map(|letter| face.glyph_index(letter).unwrap_or_default())
            .collect();
        let advance = |glyph: &GlyphId| f64::from(face.glyph_hor_advance(*glyph).unwrap_or(0)) * scale;
        let start = match label.anchor {
            Anchor::Start => label.x,
            Anchor::Middle => label.x - glyphs.iter().map(advance).sum::<f64>() / 2.0,
        };
        let mut outline = Self {
            path: String::new(),
            scale,
            x: start,
            baseline: label.baseline,
        };
        for glyph in &glyphs {
            // A blank has no outline.
            let _ = face.outline_glyph(*glyph, &mut outline);
            outline.x += advance(glyph);
        }
        outline
    }

    fn command(&mut self, letter: char, points: &[(f32, f32)]) {
        self.path.push(letter);
        for (x, y) in points {
            let x = self.x + f64::from(*x) * self.scale;
            let y = self.baseline - f64::from(*y) * self.scale;
            let _ = write!(self.path, "{x:.2} {y:.2} ");
        }
    }
}

impl OutlineBuilder for Outline {
    fn move_to(&mut self, x: f32, y: f32) {
        self.command('M', &[(x, y)]);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        self.command('L', &[(x, y)]);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        self.command('Q', &[(x1, y1), (x, y)]);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        self.command('C', &[(x1, y1), (x2, y2), (x, y)]);
    }

    fn close(&mut self) {
        self.path.push('Z');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(lettering: &Lettering, label: &Label<'_>, text: &str) -> String {
        let mut svg = String::new();
        lettering.write(&mut svg, label, text);
        svg
    }

    #[test]
    fn text_is_text() {
        let label = Label::new(1.0, 2.0, 13.0).fill("#000").anchor(Anchor::Middle);
        assert_eq!(
            written(&Lettering::Text, &label, "a<b"),
            "<text x=\"1.0\" y=\"2.0\" font-size=\"13\" fill=\"#000\" text-anchor=\"middle\">a&lt;b</text>\n"
        );
    }

    #[test]
    fn an_outline_stands_on_its_baseline_and_around_its_middle() {
        let outlines = Lettering::outlines().unwrap();
        let label = Label::new(100.0, 50.0, 20.0).anchor(Anchor::Middle);
        let path = written(&outlines, &label, "HHH");
        let numbers: Vec<f64> = path
            .split(|letter: char| !letter.is_ascii_digit() && letter != '.')
            .filter_map(|number| number.parse().ok())
            .collect();
        let (xs, ys): (Vec<f64>, Vec<f64>) = numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).unzip();
        let (left, right) = xs.iter().fold((f64::MAX, f64::MIN), |(a, b), x| (a.min(*x), b.max(*x)));
        let (top, bottom) = ys.iter().fold((f64::MAX, f64::MIN), |(a, b), y| (a.min(*y), b.max(*y)));
        assert!(((left + right) / 2.0 - 100.0).abs() < 0.5, "{left} {right}");
        assert!(
            (bottom - 50.0).abs() < 0.1 && (30.0..40.0).contains(&top),
            "{top} {bottom}"
        );
        assert!(written(&outlines, &label, " ").contains("d=\"\""));
    }
}
