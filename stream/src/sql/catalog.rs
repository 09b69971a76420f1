//! The tables and views that a session knows.

use std::collections::BTreeMap;

use arrow::datatypes::DataType;
use sqlparser::ast::{Ident, Query};

use super::parse::{DATABASE, place};
use super::statement::{Column, ColumnKind, CreateTable, Drop, Name, Watermark};
use crate::Error;

/// A table as it was declared.
#[derive(Debug, Clone)]
pub struct Table {
    pub name: String,
    pub columns: Vec<Column>,
    pub watermark: Option<Watermark>,
    pub primary_key: Vec<Ident>,
    pub partition_keys: Vec<Ident>,
    pub options: BTreeMap<String, String>,
}

/// A view: its query, planned where it is used.
#[derive(Debug, Clone)]
pub struct View {
    pub columns: Vec<String>,
    pub query: Box<Query>,
}

#[derive(Debug, Clone)]
pub enum Entry {
    Table(Box<Table>),
    View(View),
}

/// Names to entries. A temporary entry hides a permanent one of its name.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    permanent: BTreeMap<String, Entry>,
    temporary: BTreeMap<String, Entry>,
}

impl Catalog {
    pub fn find(&self, name: &Name) -> Result<&Entry, Error> {
        self.temporary
            .get(&name.text)
            .or_else(|| self.permanent.get(&name.text))
            .ok_or_else(|| Error::validate(format!("Object '{}' not found{}", name.text, place(name.place))))
    }

    pub fn names(&self, views_only: bool) -> Vec<String> {
        let mut names: Vec<String> = self
            .permanent
            .iter()
            .chain(&self.temporary)
            .filter(|(_, entry)| !views_only || matches!(entry, Entry::View(_)))
            .map(|(name, _)| name.clone())
            .collect();
        names.sort();
        names.dedup();
        names
    }

    pub fn add(&mut self, name: &Name, entry: Entry, temporary: bool, if_not_exists: bool) -> Result<(), Error> {
        let entries = if temporary {
            &mut self.temporary
        } else {
            &mut self.permanent
        };
        if entries.contains_key(&name.text) {
            if if_not_exists {
                return Ok(());
            }
            return Err(Error::validate(format!(
                "Table (or view) {DATABASE}.{} already exists{}",
                name.text,
                place(name.place)
            )));
        }
        entries.insert(name.text.clone(), entry);
        Ok(())
    }

    pub fn drop(&mut self, drop: &Drop) -> Result<(), Error> {
        let entries = if drop.temporary {
            &mut self.temporary
        } else {
            &mut self.permanent
        };
        let fits = entries
            .get(&drop.name.text)
            .is_some_and(|entry| matches!(entry, Entry::View(_)) == drop.is_view);
        if fits {
            entries.remove(&drop.name.text);
            return Ok(());
        }
        if drop.if_exists {
            return Ok(());
        }
        let what = if drop.is_view { "View" } else { "Table" };
        let kind = if drop.temporary { "Temporary " } else { "" };
        Err(Error::validate(format!(
            "{kind}{what} with identifier '{}' does not exist{}",
            drop.name.text,
            place(drop.name.place)
        )))
    }

    /// The declaration of a table, what it takes over by LIKE included.
    pub fn declare(&self, create: &CreateTable) -> Result<Table, Error> {
        let mut table = Table {
            name: create.name.text.clone(),
            columns: create.columns.clone(),
            watermark: create.watermark.clone(),
            primary_key: create.primary_key.clone(),
            partition_keys: create.partition_keys.clone(),
            options: create.options.iter().cloned().collect(),
        };
        if let Some(like) = &create.like {
            let Entry::Table(source) = self.find(&like.source)? else {
                return Err(Error::validate(format!(
                    "LIKE wants a table{}",
                    place(like.source.place)
                )));
            };
            let kept = |column: &&Column| match column.kind {
                ColumnKind::Physical(_) => true,
                ColumnKind::Computed(_) => like.generated,
                ColumnKind::Metadata { .. } => like.metadata,
            };
            let mut columns: Vec<Column> = source.columns.iter().filter(kept).cloned().collect();
            columns.append(&mut table.columns);
            table.columns = columns;
            if like.watermarks {
                if table.watermark.is_some() && source.watermark.is_some() {
                    return Err(Error::validate(format!(
                        "There already exists a watermark on the base table; exclude or overwrite it{}",
                        place(like.source.place)
                    )));
                }
                table.watermark = table.watermark.or_else(|| source.watermark.clone());
            }
            if like.constraints && table.primary_key.is_empty() {
                table.primary_key.clone_from(&source.primary_key);
            }
            if like.partitions && table.partition_keys.is_empty() {
                table.partition_keys.clone_from(&source.partition_keys);
            }
            if like.options {
                for (key, value) in &source.options {
                    table.options.entry(key.clone()).or_insert_with(|| value.clone());
                }
            }
        }
        check(&table, create)?;
        Ok(table)
    }
}

fn check(table: &Table, create: &CreateTable) -> Result<(), Error> {
    let at = place(create.name.place);
    if table.columns.is_empty() {
        return Err(Error::validate(format!("Table '{}' has no columns{at}", table.name)));
    }
    for (index, column) in table.columns.iter().enumerate() {
        if table.columns[..index]
            .iter()
            .any(|other| other.name.value == column.name.value)
        {
            let at = place(column.name.span.start);
            return Err(Error::validate(format!(
                "A column named '{}' already exists in the table{at}",
                column.name.value
            )));
        }
    }
    let physical = |name: &Ident| {
        table
            .columns
            .iter()
            .any(|c| c.name.value == name.value && !matches!(c.kind, ColumnKind::Computed(_)))
    };
    for key in table.primary_key.iter().chain(&table.partition_keys) {
        if !physical(key) {
            let at = place(key.span.start);
            return Err(Error::validate(format!(
                "Key column '{}' is not defined in the table schema{at}",
                key.value
            )));
        }
    }
    if let Some(watermark) = &table.watermark {
        let column = table
            .columns
            .iter()
            .find(|column| column.name.value == watermark.column.value);
        let at = place(watermark.column.span.start);
        let Some(column) = column else {
            return Err(Error::validate(format!(
                "The rowtime attribute field '{}' is not defined in the table schema{at}",
                watermark.column.value
            )));
        };
        if let ColumnKind::Physical(data) | ColumnKind::Metadata { data_type: data, .. } = &column.kind
            && !matches!(data.data, DataType::Timestamp(..))
        {
            return Err(Error::validate(format!(
                "Invalid data type of time field for watermark definition: '{}' must be of type TIMESTAMP(p) or \
                 TIMESTAMP_LTZ(p), the supported precision 'p' is from 0 to 3, but the time field type is {data}{at}",
                watermark.column.value
            )));
        }
    }
    Ok(())
}
