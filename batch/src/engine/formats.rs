//! The file formats: DataFusion's, with staged writes, and Parquet with its geometries' reference systems.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::{GetExt, Result, Statistics, plan_err};
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::datasource::file_format::parquet::{ParquetFormat, ParquetSink};
use datafusion::datasource::file_format::{FileFormat, FileFormatFactory, FileMeta};
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use datafusion::datasource::physical_plan::{FileScanConfig, FileSinkConfig, FileSource};
use datafusion::datasource::sink::DataSinkExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::SessionState;
use datafusion::physical_expr::{LexOrdering, LexRequirement};
use datafusion::physical_plan::ExecutionPlan;
use object_store::{ObjectMeta, ObjectStore};

use super::geoparquet::{self, GeoParquetSink};
use super::write::Staged;
use crate::spatial::functions::crs::{Crs, geometry_crs, with_geometry};

/// Replaces the formats of a session by the ones of this module.
pub fn install(state: &mut SessionState) -> Result<()> {
    for extension in ["parquet", "csv", "json", "arrow"] {
        if let Some(inner) = state.get_file_format_factory(extension) {
            state.register_file_format(Arc::new(Factory { inner }), true)?;
        }
    }
    Ok(())
}

#[derive(Debug)]
struct Factory {
    inner: Arc<dyn FileFormatFactory>,
}

impl FileFormatFactory for Factory {
    fn create(&self, state: &dyn Session, options: &HashMap<String, String>) -> Result<Arc<dyn FileFormat>> {
        Ok(Arc::new(Format {
            inner: self.inner.create(state, options)?,
        }))
    }

    fn default(&self) -> Arc<dyn FileFormat> {
        Arc::new(Format {
            inner: self.inner.default(),
        })
    }
}

impl GetExt for Factory {
    fn get_ext(&self) -> String {
        self.inner.get_ext()
    }
}

#[derive(Debug)]
struct Format {
    inner: Arc<dyn FileFormat>,
}

#[async_trait]
impl FileFormat for Format {
    fn get_ext(&self) -> String {
        self.inner.get_ext()
    }

    fn get_ext_with_compression(&self, compression: &FileCompressionType) -> Result<String> {
        self.inner.get_ext_with_compression(compression)
    }

    fn compression_type(&self) -> Option<FileCompressionType> {
        self.inner.compression_type()
    }

    async fn infer_schema(
        &self,
        state: &dyn Session,
        store: &Arc<dyn ObjectStore>,
        objects: &[ObjectMeta],
    ) -> Result<SchemaRef> {
        let schema = self.inner.infer_schema(state, store, objects).await?;
        if self.inner.downcast_ref::<ParquetFormat>().is_none() {
            return Ok(schema);
        }
        let cache = state.runtime_env().cache_manager.get_file_metadata_cache();
        let mut known: HashMap<String, (Option<Crs>, String)> = HashMap::new();
        for object in objects {
            let metadata = DFParquetMetadata::new(store.as_ref(), object)
                .with_file_metadata_cache(Some(Arc::clone(&cache)))
                .fetch_metadata()
                .await?;
            let pairs = metadata.file_metadata().key_value_metadata();
            let geo = pairs.and_then(|pairs| pairs.iter().find(|pair| pair.key == geoparquet::KEY));
            let Some(geo) = geo.and_then(|pair| pair.value.as_deref()) else {
                continue;
            };
            let file = object.location.to_string();
            for (column, crs) in geoparquet::columns(geo, &file)? {
                match known.get(&column) {
                    None => drop(known.insert(column, (crs, file.clone()))),
                    Some((first, of)) if !Crs::compatible(first.as_ref(), crs.as_ref()) => {
                        let name = |crs: Option<&Crs>| crs.map_or("none", Crs::name).to_owned();
                        return plan_err!(
                            "the files of one table have different reference systems in the column {column}: {} in {of}, {} in \
                             {file}",
                            name(first.as_ref()),
                            name(crs.as_ref())
                        );
                    }
                    Some(_) => {}
                }
            }
        }
        if known.is_empty() {
            return Ok(schema);
        }
        let fields = schema.fields().iter().map(|field| match known.get(field.name()) {
            Some((crs, _)) if field.data_type().is_binary() || geoparquet::is_binary(field.data_type()) => {
                Arc::new(with_geometry(Field::clone(field), crs.as_ref()))
            }
            _ => Arc::clone(field),
        });
        Ok(Arc::new(Schema::new_with_metadata(
            fields.collect::<Vec<_>>(),
            schema.metadata().clone(),
        )))
    }

    async fn infer_stats(
        &self,
        state: &dyn Session,
        store: &Arc<dyn ObjectStore>,
        table_schema: SchemaRef,
        object: &ObjectMeta,
    ) -> Result<Statistics> {
        self.inner.infer_stats(state, store, table_schema, object).await
    }

    async fn infer_ordering(
        &self,
        state: &dyn Session,
        store: &Arc<dyn ObjectStore>,
        table_schema: SchemaRef,
        object: &ObjectMeta,
    ) -> Result<Option<LexOrdering>> {
        self.inner.infer_ordering(state, store, table_schema, object).await
    }

    async fn infer_stats_and_ordering(
        &self,
        state: &dyn Session,
        store: &Arc<dyn ObjectStore>,
        table_schema: SchemaRef,
        object: &ObjectMeta,
    ) -> Result<FileMeta> {
        self.inner
            .infer_stats_and_ordering(state, store, table_schema, object)
            .await
    }

    async fn create_physical_plan(&self, state: &dyn Session, conf: FileScanConfig) -> Result<Arc<dyn ExecutionPlan>> {
        self.inner.create_physical_plan(state, conf).await
    }

    async fn create_writer_physical_plan(
        &self,
        input: Arc<dyn ExecutionPlan>,
        state: &dyn Session,
        conf: FileSinkConfig,
        order_requirements: Option<LexRequirement>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        // The table's schema may not say what the rows that go into it are.
        let input_schema = input.schema();
        let same = input_schema.fields().len() == conf.output_schema().fields().len();
        let geometries: Vec<_> = conf
            .output_schema()
            .fields()
            .iter()
            .enumerate()
            .map(|(at, field)| {
                let given = same.then(|| Arc::clone(&input_schema.fields()[at]));
                geometry_crs(field).or_else(|| geometry_crs(given.as_deref()?))
            })
            .collect();
        let plan = self
            .inner
            .create_writer_physical_plan(input, state, conf.clone(), order_requirements)
            .await?;
        let sink = plan.downcast_ref::<DataSinkExec>().map(|exec| (exec, exec.sink()));
        let parquet = sink.and_then(|(exec, sink)| {
            let sink: &dyn std::any::Any = sink;
            Some((exec, sink.downcast_ref::<ParquetSink>()?))
        });
        if let Some((exec, parquet)) = parquet
            && geometries.iter().any(Option::is_some)
        {
            let sink = GeoParquetSink::new(conf, parquet.parquet_options().clone(), geometries);
            let (input, order) = (Arc::clone(exec.input()), exec.sort_order().clone());
            return Ok(Staged::wrap(Arc::new(DataSinkExec::new(input, Arc::new(sink), order))));
        }
        Ok(Staged::wrap(plan))
    }

    fn file_source(&self, table_schema: TableSchema) -> Arc<dyn FileSource> {
        self.inner.file_source(table_schema)
    }
}
