//! GeoParquet 1.1: what makes a Parquet file one with geometries (<https://geoparquet.org/releases/v1.1.0/>).
//!
//! The file's key `geo` holds, for each geometry column, the encoding (WKB), the kinds of geometry, the bounding box and
//! the reference system as PROJJSON. Kinds and box are known at the end only, so [`Columns`] watches the batches go by,
//! takes the SRID out of their bytes (the format wants ISO WKB) and gives the text when the file is closed.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::common::config::TableParquetOptions;
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::{DataFusionError, Result, exec_err, plan_err};
use datafusion::datasource::file_format::write::demux::DemuxedStreamReceiver;
use datafusion::datasource::file_format::write::get_writer_schema;
use datafusion::datasource::physical_plan::{FileSink, FileSinkConfig};
use datafusion::datasource::sink::DataSink;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType};
use object_store::ObjectStore;
use object_store::buffered::BufWriter;
use parquet::arrow::AsyncArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterPropertiesBuilder;
use serde_json::{Map, Value, json};

use crate::spatial::functions::crs::{Crs, geometry_crs};
use crate::spatial::functions::geometry_column;
use crate::spatial::geometry::{Bounds, GeometryError, Tree, bounds, wkb};

/// The key of the file's metadata.
pub const KEY: &str = "geo";
/// PROJJSON of the reference systems that are written without a file to copy them from, by EPSG code.
const DEFINITIONS: &str = include_str!("crs.json");

pub fn is_binary(kind: &DataType) -> bool {
    matches!(kind, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
}

/// The geometry columns of a file with their reference systems, from the text of its key `geo`.
pub fn columns(text: &str, file: &str) -> Result<Vec<(String, Option<Crs>)>> {
    let geo: Value = match serde_json::from_str(text) {
        Ok(geo) => geo,
        Err(error) => return plan_err!("{file}: its GeoParquet metadata is not JSON: {error}"),
    };
    let Some(columns) = geo["columns"].as_object() else {
        return plan_err!("{file}: its GeoParquet metadata has no columns");
    };
    let of_column = |(name, column): (&String, &Value)| match column["encoding"].as_str() {
        Some("WKB") => Some((
            name.clone(),
            match column.get("crs") {
                None => Some(Crs::longitude_latitude()),
                Some(crs) => Crs::of_value(crs.clone()),
            },
        )),
        // Native encodings are not geometries to us yet.
        _ => None,
    };
    Ok(columns.iter().filter_map(of_column).collect())
}

/// The geometry columns of one file while it is written.
pub struct Columns {
    columns: Vec<Column>,
    schema: SchemaRef,
}

struct Column {
    at: usize,
    name: String,
    crs: Option<Crs>,
    /// The SRID of a row, where the column does not say.
    srid: Option<u32>,
    kinds: BTreeSet<String>,
    bounds: Option<Bounds>,
    heights: Option<(f64, f64)>,
    flat: bool,
}

impl Columns {
    /// `None`: no column of the schema is a geometry.
    pub fn of(schema: &SchemaRef) -> Option<Columns> {
        let geometries: Vec<_> = schema.fields().iter().map(|field| geometry_crs(field)).collect();
        Columns::new(schema, &geometries)
    }

    /// With what each column of the schema is.
    pub fn new(schema: &SchemaRef, geometries: &[Option<Option<Crs>>]) -> Option<Columns> {
        let mut fields: Vec<Field> = schema.fields().iter().map(|field| Field::clone(field)).collect();
        let mut columns = Vec::new();
        for (at, crs) in geometries.iter().enumerate() {
            let (Some(crs), Some(field)) = (crs, fields.get_mut(at)) else {
                continue;
            };
            *field = Field::new(field.name(), DataType::Binary, field.is_nullable());
            columns.push(Column {
                at,
                name: field.name().clone(),
                crs: crs.clone(),
                srid: None,
                kinds: BTreeSet::new(),
                bounds: None,
                heights: None,
                flat: false,
            });
        }
        (!columns.is_empty()).then(|| Columns {
            columns,
            schema: Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone())),
        })
    }

    /// The schema of the file.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The batch as it goes into the file.
    pub fn convert(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let mut arrays = batch.columns().to_vec();
        for column in &mut self.columns {
            arrays[column.at] = column.convert(batch.column(column.at))?;
        }
        Ok(RecordBatch::try_new(self.schema(), arrays)?)
    }

    /// What goes under [`KEY`].
    pub fn text(&self) -> Result<KeyValue> {
        let mut columns = Map::new();
        for column in &self.columns {
            columns.insert(column.name.clone(), column.value()?);
        }
        let primary = self
            .columns
            .iter()
            .find(|column| column.name == "geometry")
            .or(self.columns.first());
        let geo = json!({
            "version": "1.1.0",
            "primary_column": primary.map(|column| column.name.clone()),
            "columns": columns,
        });
        Ok(KeyValue::new(KEY.to_owned(), geo.to_string()))
    }
}

impl Column {
    fn convert(&mut self, array: &ArrayRef) -> Result<ArrayRef> {
        let bytes = geometry_column(array)?;
        let mut rows: Vec<Option<Vec<u8>>> = Vec::with_capacity(array.len());
        for row in 0..array.len() {
            rows.push(match bytes(row) {
                Some(bytes) => Some(self.row(bytes)?),
                None => None,
            });
        }
        Ok(Arc::new(BinaryArray::from_iter(rows)))
    }

    fn row(&mut self, bytes: Vec<u8>) -> Result<Vec<u8>> {
        let bad = |error: GeometryError| DataFusionError::Execution(format!("column {}: {error}", self.name));
        let header = wkb::header(&bytes).map_err(bad)?;
        let (tree, srid) = Tree::decode(&bytes).map_err(bad)?;
        let bounds = bounds(&bytes).map_err(bad)?;
        let known = self.crs.as_ref().map_or(self.srid, |crs| Some(crs.srid()));
        match known {
            Some(known) if srid != 0 && known != srid => {
                let name = self
                    .crs
                    .as_ref()
                    .map_or(format!("EPSG:{known}"), |crs| crs.name().to_owned());
                return exec_err!(
                    "the rows of the column {} have different reference systems, {name} and EPSG:{srid}: a file has one",
                    self.name
                );
            }
            None => self.srid = Some(srid),
            Some(_) => {}
        }
        let z = if header.dimensions.z { " Z" } else { "" };
        self.kinds.insert(format!("{}{z}", header.kind.name()));
        if let Some(bounds) = bounds {
            self.bounds = Some(self.bounds.map_or(bounds, |known| known.union(bounds)));
            self.flat |= !header.dimensions.z;
            for z in tree
                .vertices()
                .iter()
                .filter_map(|vertex| vertex.z)
                .filter(|z| z.is_finite())
            {
                let (low, high) = self.heights.unwrap_or((z, z));
                self.heights = Some((low.min(z), high.max(z)));
            }
        }
        Ok(tree.encode(0))
    }

    fn value(&self) -> Result<Value> {
        let mut value = json!({ "encoding": "WKB", "geometry_types": self.kinds });
        let crs = match (&self.crs, self.srid) {
            (Some(crs), _) => Some(crs.clone()),
            (None, Some(srid)) => Crs::of_srid(srid),
            (None, None) => None,
        };
        // Without the member it would be longitude and latitude.
        value["crs"] = match crs {
            None => Value::Null,
            Some(crs) => definition(&crs)?,
        };
        if let Some(bounds) = self.bounds {
            let Bounds {
                min_x,
                min_y,
                max_x,
                max_y,
            } = bounds;
            value["bbox"] = match self.heights.filter(|_| !self.flat) {
                Some((low, high)) => json!([min_x, min_y, low, max_x, max_y, high]),
                None => json!([min_x, min_y, max_x, max_y]),
            };
        }
        Ok(value)
    }
}

/// PROJJSON of a reference system.
fn definition(crs: &Crs) -> Result<Value> {
    if crs.value().is_object() {
        return Ok(crs.value().clone());
    }
    let known: Value = serde_json::from_str(DEFINITIONS)
        .map_err(|error| DataFusionError::Internal(format!("the definitions of reference systems: {error}")))?;
    let srid = crs.srid();
    if let Some(found) = known.get(srid.to_string()) {
        return Ok(found.clone());
    }
    // UTM on WGS 84: 32601 to 32660 in the north, 32701 to 32760 in the south.
    let (zone, south) = (srid % 100, srid / 100 == 327);
    if matches!(srid / 100, 326 | 327) && (1..=60).contains(&zone) {
        let mut utm = known["32601"].clone();
        let name = format!("{zone}{}", if south { "S" } else { "N" });
        utm["name"] = json!(format!("WGS 84 / UTM zone {name}"));
        utm["conversion"]["name"] = json!(format!("UTM zone {name}"));
        utm["conversion"]["id"] = json!({"authority": "EPSG", "code": if south { 16100 } else { 16000 } + zone});
        utm["id"]["code"] = json!(srid);
        for parameter in utm["conversion"]["parameters"].as_array_mut().into_iter().flatten() {
            if parameter["name"] == "Longitude of natural origin" {
                parameter["value"] = json!(i64::from(zone) * 6 - 183);
            }
            if parameter["name"] == "False northing" && south {
                parameter["value"] = json!(10_000_000);
            }
        }
        return Ok(utm);
    }
    plan_err!(
        "the definition of {} is not known here, and GeoParquet wants it: write one of EPSG:4326, 3857, 4269, 4258, 3035, 326xx, \
         327xx, take the geometries from a file that has it, or write without with ST_SetSRID(…, 0)",
        crs.name()
    )
}

/// Writes Parquet files with geometry columns.
pub struct GeoParquetSink {
    config: FileSinkConfig,
    options: TableParquetOptions,
    geometries: Vec<Option<Option<Crs>>>,
}

impl GeoParquetSink {
    pub fn new(config: FileSinkConfig, options: TableParquetOptions, geometries: Vec<Option<Option<Crs>>>) -> Self {
        GeoParquetSink {
            config,
            options,
            geometries,
        }
    }
}

impl fmt::Debug for GeoParquetSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GeoParquetSink")
    }
}

impl DisplayAs for GeoParquetSink {
    fn fmt_as(&self, _kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GeoParquetSink")
    }
}

#[async_trait]
impl DataSink for GeoParquetSink {
    fn schema(&self) -> &SchemaRef {
        self.config.output_schema()
    }

    async fn write_all(&self, data: SendableRecordBatchStream, context: &Arc<TaskContext>) -> Result<u64> {
        FileSink::write_all(self, data, context).await
    }
}

#[async_trait]
impl FileSink for GeoParquetSink {
    fn config(&self) -> &FileSinkConfig {
        &self.config
    }

    async fn spawn_writer_tasks_and_join(
        &self,
        context: &Arc<TaskContext>,
        demux_task: SpawnedTask<Result<()>>,
        mut file_stream_rx: DemuxedStreamReceiver,
        object_store: Arc<dyn ObjectStore>,
    ) -> Result<u64> {
        // Without the columns that go into the names of directories.
        let schema = get_writer_schema(&self.config);
        let geometries: Vec<_> = schema
            .fields()
            .iter()
            .map(|field| {
                let at = self.config.output_schema().index_of(field.name()).ok()?;
                self.geometries.get(at)?.clone()
            })
            .collect();
        let buffer = context
            .session_config()
            .options()
            .execution
            .objectstore_writer_buffer_size;
        let mut files = Vec::new();
        while let Some((path, mut batches)) = file_stream_rx.recv().await {
            let Some(mut columns) = Columns::new(&schema, &geometries) else {
                return exec_err!("no column is a geometry");
            };
            let mut options = self.options.clone();
            options.arrow_schema(&columns.schema());
            let properties = WriterPropertiesBuilder::try_from(&options)?.build();
            let out = BufWriter::with_capacity(Arc::clone(&object_store), path.clone(), buffer);
            let settings = ArrowWriterOptions::new()
                .with_properties(properties)
                .with_skip_arrow_metadata(true);
            let mut writer = AsyncArrowWriter::try_new_with_options(out, columns.schema(), settings)?;
            let reservation = MemoryConsumer::new(format!("GeoParquetSink[{path}]")).register(context.memory_pool());
            files.push(SpawnedTask::spawn(async move {
                let mut rows = 0;
                while let Some(batch) = batches.recv().await {
                    rows += batch.num_rows() as u64;
                    writer.write(&columns.convert(&batch)?).await?;
                    reservation.try_resize(writer.memory_size())?;
                }
                writer.append_key_value_metadata(columns.text()?);
                writer.close().await?;
                Ok::<u64, DataFusionError>(rows)
            }));
        }
        let mut rows = 0;
        for file in files {
            rows += file
                .join_unwind()
                .await
                .map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))??;
        }
        demux_task
            .join_unwind()
            .await
            .map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))??;
        Ok(rows)
    }
}
