//! The names that an expression may use.

use arrow::datatypes::DataType;
use sqlparser::ast::Ident;
use sqlparser::tokenizer::Span;

use super::facts::Facts;
use super::parse::place;
use crate::Error;

/// What a column is to event time and windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Plain,
    /// A time attribute: the column that the watermark is about.
    Rowtime,
    WindowStart,
    WindowEnd,
    /// The last millisecond of the window; a time attribute too.
    WindowTime,
}

impl Role {
    pub fn is_time(self) -> bool {
        matches!(self, Self::Rowtime | Self::WindowTime)
    }
}

#[derive(Debug, Clone)]
pub struct ScopeColumn {
    /// The table's name or alias.
    pub qualifier: Option<String>,
    pub name: String,
    pub data: DataType,
    pub facts: Facts,
    pub role: Role,
}

impl ScopeColumn {
    pub fn with(self, facts: Facts) -> Self {
        Self { facts, ..self }
    }
}

/// The columns of a relation, in their order. Names are case-sensitive, as in Flink.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    pub columns: Vec<ScopeColumn>,
}

impl Scope {
    /// The column that `parts` begin with, and how many of them name it; the others are fields within it.
    pub fn resolve(&self, parts: &[Ident]) -> Result<(usize, usize), Error> {
        let Some(first) = parts.first() else {
            return Err(Error::validate("an empty column name"));
        };
        if let Some(second) = parts.get(1) {
            let qualified = |column: &ScopeColumn| {
                column.qualifier.as_deref() == Some(first.value.as_str()) && column.name == second.value
            };
            if let Some(index) = self.one(qualified, second)? {
                return Ok((index, 2));
            }
        }
        if let Some(index) = self.one(|column| column.name == first.value, first)? {
            return Ok((index, 1));
        }
        let known_table = self
            .columns
            .iter()
            .any(|column| column.qualifier.as_deref() == Some(first.value.as_str()));
        Err(match parts.get(1) {
            Some(second) if known_table => not_found("Column", &second.value, first.span),
            Some(_) => not_found("Table", &first.value, first.span),
            None => not_found("Column", &first.value, first.span),
        })
    }

    fn one(&self, matches: impl Fn(&ScopeColumn) -> bool, name: &Ident) -> Result<Option<usize>, Error> {
        let mut found = (0..self.columns.len()).filter(|index| matches(&self.columns[*index]));
        let first = found.next();
        if found.next().is_some() {
            return Err(Error::validate(format!(
                "Column '{}' is ambiguous{}",
                name.value,
                place(name.span.start)
            )));
        }
        Ok(first)
    }

    /// The same columns under another table name, and other column names if `columns` has any.
    pub fn renamed(mut self, qualifier: &str, columns: &[String]) -> Result<Self, Error> {
        if !columns.is_empty() && columns.len() != self.columns.len() {
            return Err(Error::validate(format!(
                "List of column aliases of '{qualifier}' must have same degree as table; table has {} columns, alias \
                 list has {}",
                self.columns.len(),
                columns.len()
            )));
        }
        for (index, column) in self.columns.iter_mut().enumerate() {
            column.qualifier = Some(qualifier.to_owned());
            if let Some(name) = columns.get(index) {
                column.name.clone_from(name);
            }
        }
        Ok(self)
    }
}

fn not_found(what: &str, name: &str, span: Span) -> Error {
    Error::validate(format!("{what} '{name}' not found{}", place(span.start)))
}
