//! What a program consists of.

use sqlparser::ast::{Expr, Ident, Query};
use sqlparser::tokenizer::Location;

use super::data_type::SqlType;

/// A statement and the place of its first word.
#[derive(Debug, Clone)]
pub struct Located {
    pub statement: Statement,
    pub start: Location,
}

#[derive(Debug, Clone)]
pub enum Statement {
    CreateTable(Box<CreateTable>),
    CreateView(Box<CreateView>),
    Drop(Drop),
    /// `INSERT INTO`; a statement set has several, run as one job.
    Insert(Vec<Insert>),
    Query(Box<Query>),
    Set {
        key: String,
        value: String,
    },
    /// Lists the session's options.
    ShowSet,
    /// Without a key, all options.
    Reset {
        key: Option<String>,
    },
    ShowTables,
    ShowViews,
    Describe(Name),
    ShowJobs,
    DescribeJob(String),
    StopJob {
        id: String,
        savepoint: bool,
        drain: bool,
    },
}

/// A table's or view's name and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    pub text: String,
    pub place: Location,
}

#[derive(Debug, Clone)]
pub struct CreateTable {
    pub name: Name,
    pub temporary: bool,
    pub if_not_exists: bool,
    pub columns: Vec<Column>,
    pub watermark: Option<Watermark>,
    pub primary_key: Vec<Ident>,
    pub partition_keys: Vec<Ident>,
    pub options: Vec<(String, String)>,
    pub like: Option<Like>,
    pub query: Option<Box<Query>>,
}

#[derive(Debug, Clone)]
pub struct Column {
    pub name: Ident,
    pub kind: ColumnKind,
}

#[derive(Debug, Clone)]
pub enum ColumnKind {
    Physical(SqlType),
    Computed(Box<Expr>),
    Metadata {
        data_type: SqlType,
        key: Option<String>,
        is_virtual: bool,
    },
}

#[derive(Debug, Clone)]
pub struct Watermark {
    pub column: Ident,
    pub expr: Expr,
}

/// `LIKE t (INCLUDING …, EXCLUDING …)`: which parts of `t` come along.
#[derive(Debug, Clone)]
pub struct Like {
    pub source: Name,
    pub watermarks: bool,
    pub options: bool,
    pub generated: bool,
    pub metadata: bool,
    pub constraints: bool,
    pub partitions: bool,
}

#[derive(Debug, Clone)]
pub struct CreateView {
    pub name: Name,
    pub temporary: bool,
    pub if_not_exists: bool,
    pub columns: Vec<Ident>,
    pub query: Box<Query>,
}

#[derive(Debug, Clone)]
pub struct Drop {
    pub name: Name,
    pub is_view: bool,
    pub temporary: bool,
    pub if_exists: bool,
}

#[derive(Debug, Clone)]
pub struct Insert {
    pub table: Name,
    /// Columns named behind the table; empty means all of them.
    pub columns: Vec<Ident>,
    /// `PARTITION (column = literal, …)`.
    pub partition: Vec<(Ident, Expr)>,
    pub query: Box<Query>,
}
