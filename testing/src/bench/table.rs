//! What was measured, as a table for people and as JSON for programs.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::median;

/// Width of a cell with a figure.
const CELL: usize = 10;
/// Width of a contender's name.
const NAME: usize = 12;

/// A measurement with several figures per round, such as rate, latency and CPU time.
#[derive(Debug)]
pub struct Row {
    /// What is measured, by column: operation, clients, nodes…; the columns of [`Table::new`].
    labels: Vec<String>,
    /// By contender, by round, by figure.
    rounds: Vec<Vec<Vec<Option<f64>>>>,
}

impl Row {
    pub fn new(labels: impl IntoIterator<Item = impl ToString>, contenders: usize) -> Self {
        Self {
            labels: labels.into_iter().map(|label| label.to_string()).collect(),
            rounds: vec![Vec::new(); contenders],
        }
    }

    /// Adds one round; a figure that a contender does not have is `None`.
    pub fn add(&mut self, contender: usize, figures: impl IntoIterator<Item = Option<f64>>) {
        self.rounds[contender].push(figures.into_iter().collect());
    }

    fn median(&self, contender: usize, figure: usize) -> Option<f64> {
        let rounds = self.rounds[contender].iter();
        median(rounds.filter_map(|round| *round.get(figure)?).collect())
    }
}

/// One figure of each contender, measured once.
#[derive(Debug)]
pub struct Line {
    title: String,
    unit: &'static str,
    values: Vec<Option<f64>>,
}

impl Line {
    pub fn new(title: impl Into<String>, unit: &'static str, contenders: usize) -> Self {
        Self {
            title: title.into(),
            unit,
            values: vec![None; contenders],
        }
    }

    pub fn set(&mut self, contender: usize, value: f64) {
        self.values[contender] = Some(value);
    }
}

/// Rows and lines of all contenders, ours first.
#[derive(Debug)]
pub struct Table {
    /// Title and width of each label.
    labels: Vec<(&'static str, usize)>,
    /// Title in the table and name in JSON of each figure.
    figures: Vec<(&'static str, &'static str)>,
    contenders: Vec<String>,
    rows: Vec<Row>,
    lines: Vec<Line>,
}

impl Table {
    pub fn new(
        labels: &[(&'static str, usize)],
        figures: &[(&'static str, &'static str)],
        contenders: Vec<String>,
    ) -> Self {
        Self {
            labels: labels.to_vec(),
            figures: figures.to_vec(),
            contenders,
            rows: Vec::new(),
            lines: Vec::new(),
        }
    }

    pub fn row(&mut self, row: Row) {
        self.rows.push(row);
    }

    pub fn line(&mut self, line: Line) {
        self.lines.push(line);
    }

    /// The medians of all rounds. With two contenders, the ratio is the first one's to the second one's.
    pub fn text(&self) -> String {
        let mut text = String::new();
        if !self.rows.is_empty() {
            let labels = self
                .labels
                .iter()
                .map(|(title, _)| (*title).to_owned())
                .collect::<Vec<_>>();
            let titles = self.figures.iter().map(|(title, _)| (*title).to_owned());
            self.print(&mut text, &labels, "server", titles);
        }
        for row in &self.rows {
            let none = vec![String::new(); self.labels.len()];
            let figures = 0..self.figures.len();
            for (place, name) in self.contenders.iter().enumerate() {
                let labels = if place == 0 { &row.labels } else { &none };
                let medians = figures.clone().map(|figure| shown(row.median(place, figure), ""));
                self.print(&mut text, labels, name, medians);
            }
            if self.contenders.len() == 2 {
                let ratios = figures.map(|figure| shown(ratio(row.median(0, figure), row.median(1, figure)), "×"));
                self.print(&mut text, &none, "ratio", ratios);
            }
        }
        for Line { title, unit, values } in &self.lines {
            let width = self.labels.iter().map(|(_, width)| width + 1).sum::<usize>().max(40);
            let _ = write!(text, "{:<width$}", format!("{title}, {unit}"));
            for (name, value) in self.contenders.iter().zip(values) {
                let _ = write!(text, "{name} {:>CELL$} ", shown(*value, ""));
            }
            if let [ours, original] = values.as_slice() {
                let _ = write!(text, "ratio {:>CELL$}", shown(ratio(*ours, *original), "×"));
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        text
    }

    fn print(&self, text: &mut String, labels: &[String], name: &str, cells: impl Iterator<Item = String>) {
        for ((_, width), label) in self.labels.iter().zip(labels) {
            let _ = write!(text, "{label:<width$} ");
        }
        let _ = write!(text, "{name:<NAME$}");
        for cell in cells {
            let _ = write!(text, " {cell:>CELL$}");
        }
        text.push('\n');
    }

    /// One object: `rows`, each with its labels (numbers where they are numbers) and every contender's medians, and `figures`.
    pub fn json(&self) -> String {
        let rows: Vec<Value> = self.rows.iter().map(|row| self.json_row(row)).collect();
        let lines: Vec<Value> = self
            .lines
            .iter()
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

    fn json_row(&self, row: &Row) -> Value {
        let labels = self.labels.iter().zip(&row.labels);
        let mut object: Map<String, Value> = labels
            .map(|((title, _), label)| {
                let number = label.parse::<u64>().map(Value::from);
                ((*title).to_owned(), number.unwrap_or_else(|_| json!(label)))
            })
            .collect();
        for (place, name) in self.contenders.iter().enumerate() {
            let figures = self.figures.iter().enumerate();
            let medians: Map<String, Value> = figures
                .map(|(figure, (_, name))| ((*name).to_owned(), json!(row.median(place, figure))))
                .collect();
            object.insert(name.clone(), Value::Object(medians));
        }
        Value::Object(object)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let figures = [("rate /s", "rate"), ("syncs/op", "syncs")];
        let names = vec!["ours".to_owned(), "etcd".to_owned()];
        let mut table = Table::new(&[("operation", 10), ("clients", 7)], &figures, names);
        let mut row = Row::new(["put", "64"], 2);
        for (ours, theirs) in [(200.0, 100.0), (260.0, 90.0), (180.0, 110.0)] {
            row.add(0, [Some(ours), Some(0.5)]);
            row.add(1, [Some(theirs), None]);
        }
        table.row(row);
        let mut line = Line::new("start", "ms", 2);
        line.set(0, 12.0);
        table.line(line);
        table
    }

    #[test]
    fn the_text_shows_medians_and_ratios() {
        let expected = "\
operation  clients server          rate /s   syncs/op
put        64      ours                200      0.500
                   etcd                100          -
                   ratio             2.00×          -
start, ms                               ours      12.00 etcd          - ratio          -
";
        assert_eq!(table().text(), expected);
    }

    #[test]
    fn the_json_has_the_same_medians() {
        let json: Value = serde_json::from_str(&table().json()).unwrap();
        assert_eq!(json["rows"][0]["ours"]["rate"], 200.0);
        assert_eq!(json["rows"][0]["etcd"]["syncs"], Value::Null);
        assert_eq!(json["rows"][0]["clients"], 64);
        assert_eq!(json["rows"][0]["operation"], "put");
        assert_eq!(json["figures"][0]["ours"], 12.0);
    }
}
