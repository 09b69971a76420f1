//! Rows as a table for the terminal.

use std::io::Write;

use crate::time::Zone;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::json::write_value as write_json_value;
use crate::Error;
use crate::format::view::{Value, View, views};

/// Wider cells are cut; the whole value is in the JSON output.
const CELL_CHARS_MAX: usize = 60;

/// Writes a table with a header, numbers to the right, null as `<NULL>`, and the count of its rows.
pub fn write_table(out: &mut impl Write, schema: &SchemaRef, batches: &[RecordBatch], zone: Zone) -> Result<(), Error> {
    let mut lines = vec![schema.fields().iter().map(|f| cut(f.name())).collect::<Vec<String>>()];
    for batch in batches {
        let views = views(batch)?;
        for row in 0..batch.num_rows() {
            lines.push(views.iter().map(|view| cell(view, row, zone)).collect());
        }
    }
    let widths: Vec<usize> = (0..schema.fields().len())
        .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0))
        .collect();
    let numeric: Vec<bool> = schema.fields().iter().map(|f| f.data_type().is_numeric()).collect();
    let rule: String = widths
        .iter()
        .map(|width| format!("+{}", "-".repeat(width + 2)))
        .collect::<String>()
        + "+\n";
    let mut text = rule.clone();
    for (number, line) in lines.iter().enumerate() {
        for ((cell, width), numeric) in line.iter().zip(&widths).zip(&numeric) {
            let padding = " ".repeat(width - cell.chars().count());
            text.push_str(&if *numeric {
                format!("| {padding}{cell} ")
            } else {
                format!("| {cell}{padding} ")
            });
        }
        text.push_str("|\n");
        if number == 0 {
            text.push_str(&rule);
        }
    }
    text.push_str(&rule);
    let rows = lines.len() - 1;
    text.push_str(&format!("{rows} row{}\n", if rows == 1 { "" } else { "s" }));
    out.write_all(text.as_bytes())
        .map_err(|error| Error::runtime(format!("The result cannot be written: {error}.")))
}

fn cell(view: &View<'_>, row: usize, zone: Zone) -> String {
    match view.value(row) {
        Value::Null => "<NULL>".to_owned(),
        Value::Text(text) => cut(text),
        value => {
            let mut text = String::new();
            write_json_value(&mut text, value, zone);
            cut(text
                .strip_prefix('"')
                .and_then(|t| t.strip_suffix('"'))
                .unwrap_or(&text))
        }
    }
}

fn cut(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { '␤' } else { c }).collect();
    if plain.chars().count() <= CELL_CHARS_MAX {
        return plain;
    }
    plain.chars().take(CELL_CHARS_MAX - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int32Array, StringArray};

    use super::*;

    #[test]
    fn a_table_is_aligned() {
        let batch = RecordBatch::try_from_iter([
            ("id", Arc::new(Int32Array::from(vec![Some(7), None])) as ArrayRef),
            (
                "name",
                Arc::new(StringArray::from(vec!["ü", "line\nbreak"])) as ArrayRef,
            ),
        ])
        .unwrap();
        let mut out = Vec::new();
        write_table(&mut out, &batch.schema(), std::slice::from_ref(&batch), Zone::UTC).unwrap();
        let want = "\
+--------+------------+
|     id | name       |
+--------+------------+
|      7 | ü          |
| <NULL> | line␤break |
+--------+------------+
2 rows
";
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }
}
