//! A table as its DDL declared it.

use std::collections::BTreeMap;

use arrow::datatypes::SchemaRef;

/// A table as its CREATE TABLE declared it, without computed columns and watermarks.
#[derive(Debug, Clone)]
pub struct TableSpec {
    pub name: String,
    /// Physical and metadata columns in the order of the DDL. `TIMESTAMP_LTZ` is an Arrow timestamp in `UTC`.
    pub physical: SchemaRef,
    /// Which columns of `physical` come from the connector's metadata rather than from the format.
    pub metadata: Vec<MetadataColumn>,
    /// The `WITH` options, keys as written.
    pub options: BTreeMap<String, String>,
    pub partition_keys: Vec<String>,
    pub primary_key: Vec<String>,
}

/// `column type METADATA [FROM 'key'] [VIRTUAL]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataColumn {
    pub column: String,
    /// The connector's name of the value: the `FROM` text, or else the column's name.
    pub key: String,
    /// Read only: not part of the sink's rows.
    pub virtual_: bool,
}

impl TableSpec {
    /// The metadata key that feeds `column`, if it is a metadata column.
    pub fn metadata_key(&self, column: &str) -> Option<&str> {
        self.metadata
            .iter()
            .find(|m| m.column == column)
            .map(|m| m.key.as_str())
    }
}
