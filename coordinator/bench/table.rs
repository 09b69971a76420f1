//! What was measured, as a table for people and as JSON for programs.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};

use serde_json::{Value, json};

use crate::load::Round;

/// The figures of one operation, each with what it is called in the table and in JSON.
const FIGURES: [(&str, &str); 5] = [
    ("rate /s", "rate"),
    ("p50 ms", "p50_ms"),
    ("p99 ms", "p99_ms"),
    ("CPU µs/op", "cpu_micros"),
    ("syncs/op", "syncs"),
];

/// An operation under load: all rounds of all contenders.
#[derive(Debug)]
pub struct Row {
    nodes: usize,
    title: &'static str,
    clients: usize,
    rounds: Vec<Vec<Round>>,
}

impl Row {
    pub fn new(nodes: usize, title: &'static str, clients: usize, contenders: usize) -> Self {
        Self {
            nodes,
            title,
            clients,
            rounds: vec![Vec::new(); contenders],
        }
    }

    pub fn add(&mut self, contender: usize, round: Round) {
        self.rounds[contender].push(round);
    }

    /// The medians of one contender, in the order of [`FIGURES`].
    fn medians(&self, contender: usize) -> [Option<f64>; 5] {
        let rounds = &self.rounds[contender];
        let of = |figure: &dyn Fn(&Round) -> Option<f64>| -> Option<f64> {
            let mut values: Vec<f64> = rounds.iter().filter_map(figure).collect();
            (!values.is_empty()).then(|| median(&mut values))
        };
        [
            of(&|round| Some(round.rate())),
            of(&|round| Some(round.p50_ms)),
            of(&|round| Some(round.p99_ms)),
            of(&|round| round.cpu_micros_per_operation),
            of(&|round| Some(round.syncs_per_operation)),
        ]
    }
}

/// One figure of each contender.
#[derive(Debug)]
pub struct Line {
    title: String,
    unit: &'static str,
    values: Vec<Option<f64>>,
}

impl Line {
    pub fn new(title: &str, unit: &'static str, contenders: usize) -> Self {
        Self {
            title: title.to_owned(),
            unit,
            values: vec![None; contenders],
        }
    }

    pub fn set(&mut self, contender: usize, value: f64) {
        self.values[contender] = Some(value);
    }
}

#[derive(Debug)]
pub enum Part {
    Row(Row),
    Line(Line),
}

impl From<Row> for Part {
    fn from(row: Row) -> Self {
        Self::Row(row)
    }
}

impl From<Line> for Part {
    fn from(line: Line) -> Self {
        Self::Line(line)
    }
}

#[derive(Debug)]
pub struct Table {
    contenders: Vec<String>,
    parts: Vec<Part>,
}

impl Table {
    pub fn new(contenders: Vec<String>) -> Self {
        Self {
            contenders,
            parts: Vec::new(),
        }
    }

    pub fn push(&mut self, part: impl Into<Part>) {
        self.parts.push(part.into());
    }

    /// Medians of all rounds; the ratio is ours to the original's.
    pub fn text(&self) -> String {
        let mut text = format!("{:<5} {:<29} {:>7} {:<11}", "nodes", "operation", "clients", "server");
        for (title, _) in FIGURES {
            let _ = write!(text, " {title:>10}");
        }
        text.push('\n');
        for row in self.rows() {
            let mut begin = format!("{:<5} {:<29} {:>7}", row.nodes, row.title, row.clients);
            for (place, name) in self.contenders.iter().enumerate() {
                let figures = row.medians(place).map(|figure| shown(figure, ""));
                let _ = writeln!(text, "{}", line(&begin, name, &figures));
                begin = " ".repeat(43);
            }
            if self.contenders.len() == 2 {
                let (ours, original) = (row.medians(0), row.medians(1));
                let ratios: Vec<String> = ours
                    .iter()
                    .zip(original)
                    .map(|(ours, original)| shown(ratio(*ours, original), "×"))
                    .collect();
                let _ = writeln!(text, "{}", line(&begin, "ratio", &ratios));
            }
        }
        for Line { title, unit, values } in self.lines() {
            let _ = write!(text, "{:<48}", format!("{title}, {unit}"));
            for (name, value) in self.contenders.iter().zip(values) {
                let _ = write!(text, " {name} {:>9}", shown(*value, ""));
            }
            if let [ours, original] = values.as_slice() {
                let _ = write!(text, "  ratio {:>6}", shown(ratio(*ours, *original), "×"));
            }
            text.push('\n');
        }
        text
    }

    /// One object: rows with every contender's medians, and single figures.
    pub fn json(&self) -> String {
        let rows: Vec<Value> = self
            .rows()
            .map(|row| {
                let mut object = json!({ "nodes": row.nodes, "operation": row.title, "clients": row.clients });
                for (place, name) in self.contenders.iter().enumerate() {
                    let figures = FIGURES.iter().zip(row.medians(place));
                    object[name] = figures
                        .map(|((_, name), figure)| ((*name).to_owned(), json!(figure)))
                        .collect();
                }
                object
            })
            .collect();
        let lines: Vec<Value> = self
            .lines()
            .map(|line| {
                let mut object = json!({ "figure": line.title, "unit": line.unit });
                for (name, value) in self.contenders.iter().zip(&line.values) {
                    object[name] = json!(value);
                }
                object
            })
            .collect();
        format!("{}\n", json!({ "rows": rows, "figures": lines }))
    }

    fn rows(&self) -> impl Iterator<Item = &Row> {
        self.parts.iter().filter_map(|part| match part {
            Part::Row(row) => Some(row),
            Part::Line(_) => None,
        })
    }

    fn lines(&self) -> impl Iterator<Item = &Line> {
        self.parts.iter().filter_map(|part| match part {
            Part::Row(_) => None,
            Part::Line(line) => Some(line),
        })
    }
}

fn line(begin: &str, name: &str, cells: &[String]) -> String {
    let mut text = format!("{begin} {name:<11}");
    for cell in cells {
        let _ = write!(text, " {cell:>10}");
    }
    text
}

fn ratio(ours: Option<f64>, original: Option<f64>) -> Option<f64> {
    let (ours, original) = ours.zip(original)?;
    (original > 0.0).then(|| ours / original)
}

fn shown(value: Option<f64>, unit: &str) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value >= 100.0 => format!("{value:.0}{unit}"),
        Some(value) if value >= 1.0 => format!("{value:.2}{unit}"),
        Some(value) => format!("{value:.3}{unit}"),
    }
}

pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values {
        [] => 0.0,
        values if values.len() % 2 == 1 => values[middle],
        values => (values[middle - 1] + values[middle]) / 2.0,
    }
}

/// One line that says what is measured now, on a terminal only.
#[derive(Debug)]
pub struct Progress {
    shown: bool,
}

impl Progress {
    pub fn new() -> Self {
        Self {
            shown: std::io::stderr().is_terminal(),
        }
    }

    pub fn say(&self, what: &str) {
        self.print(&format!("\r\x1b[2K{what} …"));
    }

    pub fn done(&self) {
        self.print("\r\x1b[2K");
    }

    fn print(&self, text: &str) {
        if self.shown {
            let mut stderr = std::io::stderr().lock();
            // Whether anybody reads it does not matter.
            let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
        }
    }
}
