//! What the session holds, as Flight SQL's metadata tables.

use arrow::record_batch::RecordBatch;
use arrow_flight::error::Result;
use arrow_flight::sql::metadata::{SqlInfoData, SqlInfoDataBuilder};
use arrow_flight::sql::{CommandGetCatalogs, CommandGetDbSchemas, CommandGetTableTypes, CommandGetTables, SqlInfo};
use datafusion::logical_expr::TableType;
use datafusion::prelude::SessionContext;
use futures::FutureExt;
use futures::future::BoxFuture;

/// Names of the kinds of tables, as JDBC has them.
const TABLE: &str = "TABLE";
const VIEW: &str = "VIEW";
const TEMPORARY: &str = "LOCAL TEMPORARY";

fn kind(table_type: TableType) -> &'static str {
    match table_type {
        TableType::Base => TABLE,
        TableType::View => VIEW,
        TableType::Temporary => TEMPORARY,
    }
}

pub fn server_info() -> Result<SqlInfoData> {
    let mut builder = SqlInfoDataBuilder::new();
    builder.append(SqlInfo::FlightSqlServerName, "Bonsai batch");
    builder.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    builder.append(SqlInfo::FlightSqlServerArrowVersion, "1.3");
    builder.append(SqlInfo::FlightSqlServerReadOnly, false);
    builder.build()
}

pub fn catalogs(context: &SessionContext, query: CommandGetCatalogs) -> Result<RecordBatch> {
    let mut builder = query.into_builder();
    for catalog in context.catalog_names() {
        builder.append(catalog);
    }
    builder.build()
}

pub fn schemas(context: &SessionContext, query: CommandGetDbSchemas) -> Result<RecordBatch> {
    let mut builder = query.into_builder();
    for catalog in context.catalog_names() {
        for schema in context
            .catalog(&catalog)
            .map(|found| found.schema_names())
            .unwrap_or_default()
        {
            builder.append(&catalog, schema);
        }
    }
    builder.build()
}

/// Boxed, so that the compiler proves once that it is `Send`, and not in each method of the service.
pub fn tables(context: SessionContext, query: CommandGetTables) -> BoxFuture<'static, Result<RecordBatch>> {
    list(context, query).boxed()
}

async fn list(context: SessionContext, query: CommandGetTables) -> Result<RecordBatch> {
    let mut builder = query.into_builder();
    for catalog_name in context.catalog_names() {
        let Some(catalog) = context.catalog(&catalog_name) else {
            continue;
        };
        for schema_name in catalog.schema_names() {
            let Some(schema) = catalog.schema(&schema_name) else {
                continue;
            };
            for table_name in schema.table_names() {
                // Dropped meanwhile, or broken: a listing leaves it out.
                let Ok(Some(table)) = schema.table(&table_name).await else {
                    continue;
                };
                let columns = table.schema();
                builder.append(
                    &catalog_name,
                    &schema_name,
                    &table_name,
                    kind(table.table_type()),
                    &columns,
                )?;
            }
        }
    }
    builder.build()
}

pub fn table_types(query: CommandGetTableTypes) -> Result<RecordBatch> {
    let mut builder = query.into_builder();
    for name in [TABLE, VIEW, TEMPORARY] {
        builder.append(name);
    }
    builder.build()
}
