//! Descriptions of tables that all rooms share: the leaf below sql, graph, connector and format.
//!
//! [`TableSpec`] is a table as its CREATE TABLE declared it, [`Options`] reads its `WITH` clause by type and refuses what
//! was not read, [`RowKind`] is what a row of a changelog means. This room opens nothing and imports no other room.

mod options;
mod row_kind;
mod spec;

pub use options::Options;
pub use row_kind::RowKind;
pub use spec::{MetadataColumn, TableSpec};
