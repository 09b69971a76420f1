//! Files that appear whole or not at all.
//!
//! DataFusion's sinks write to the place that COPY and INSERT name, and close their files also where the rows that they
//! were to get failed halfway: what was there before would be gone. [`Staged`] lets them write to hidden names beside the
//! final ones and renames when all is written. What a failed, cancelled or killed statement leaves is at most a hidden
//! file, which no table reads.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use bytes::Bytes;
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::{Result, not_impl_err};
use datafusion::datasource::file_format::csv::CsvSink;
use datafusion::datasource::file_format::json::JsonSink;
use datafusion::datasource::file_format::parquet::ParquetSink;
use datafusion::datasource::file_format::write::demux::DemuxedStreamReceiver;
use datafusion::datasource::physical_plan::{FileSink, FileSinkConfig};
use datafusion::datasource::sink::{DataSink, DataSinkExec};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan};
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, UploadPart,
};

use super::geoparquet::GeoParquetSink;

/// A sink whose files appear when all of them are written.
pub struct Staged {
    /// The node that holds the sink.
    plan: Arc<dyn ExecutionPlan>,
}

impl Staged {
    /// The same write, staged. A plan that does not end in a sink of files is given back.
    pub fn wrap(plan: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        let Some(exec) = plan.downcast_ref::<DataSinkExec>() else {
            return plan;
        };
        if file_sink(exec.sink()).is_none() {
            return plan;
        }
        let (input, order) = (Arc::clone(exec.input()), exec.sort_order().clone());
        let staged = Staged { plan };
        Arc::new(DataSinkExec::new(input, Arc::new(staged), order))
    }

    fn sink(&self) -> Result<&dyn FileSink> {
        match self
            .plan
            .downcast_ref::<DataSinkExec>()
            .and_then(|exec| file_sink(exec.sink()))
        {
            Some(sink) => Ok(sink),
            None => not_impl_err!("this sink does not write files"),
        }
    }
}

fn file_sink(sink: &dyn DataSink) -> Option<&dyn FileSink> {
    let any: &dyn std::any::Any = sink;
    if let Some(sink) = any.downcast_ref::<GeoParquetSink>() {
        Some(sink)
    } else if let Some(sink) = any.downcast_ref::<ParquetSink>() {
        Some(sink)
    } else if let Some(sink) = any.downcast_ref::<CsvSink>() {
        Some(sink)
    } else if let Some(sink) = any.downcast_ref::<JsonSink>() {
        Some(sink)
    } else {
        None
    }
}

impl fmt::Debug for Staged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Staged")
    }
}

impl DisplayAs for Staged {
    fn fmt_as(&self, kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sink() {
            Ok(sink) => sink.fmt_as(kind, f),
            Err(_) => Ok(()),
        }
    }
}

#[async_trait]
impl DataSink for Staged {
    fn metrics(&self) -> Option<MetricsSet> {
        self.sink().ok()?.metrics()
    }

    fn schema(&self) -> &SchemaRef {
        match self.plan.downcast_ref::<DataSinkExec>() {
            Some(exec) => exec.sink().schema(),
            None => unreachable!("a staged sink is made of a DataSinkExec only"),
        }
    }

    async fn write_all(&self, data: SendableRecordBatchStream, context: &Arc<TaskContext>) -> Result<u64> {
        FileSink::write_all(self, data, context).await
    }
}

#[async_trait]
impl FileSink for Staged {
    fn config(&self) -> &FileSinkConfig {
        match self.sink() {
            Ok(sink) => sink.config(),
            Err(_) => unreachable!("a staged sink is made of a sink of files only"),
        }
    }

    async fn spawn_writer_tasks_and_join(
        &self,
        context: &Arc<TaskContext>,
        demux_task: SpawnedTask<Result<()>>,
        file_stream_rx: DemuxedStreamReceiver,
        object_store: Arc<dyn ObjectStore>,
    ) -> Result<u64> {
        let staging = Arc::new(Staging::new(object_store));
        // Also where this future is dropped: the statement was cancelled.
        let guard = Cleanup(Arc::clone(&staging));
        let store: Arc<dyn ObjectStore> = Arc::clone(&staging) as Arc<dyn ObjectStore>;
        let written = async {
            let sink = self.sink()?;
            let rows = sink.spawn_writer_tasks_and_join(context, demux_task, file_stream_rx, store);
            let rows = rows.await?;
            super::interrupt::Interrupt::of(context.session_config().options()).check()?;
            staging.publish().await?;
            Ok(rows)
        };
        let written = written.await;
        // Before the statement ends: with it the process may, and what is left to a task would stay.
        staging.discard().await;
        drop(guard);
        written
    }
}

/// A store in which files are written under hidden names.
#[derive(Debug)]
struct Staging {
    store: Arc<dyn ObjectStore>,
    number: u64,
    /// (hidden, final) names of what was written.
    files: Mutex<Vec<(Path, Path)>>,
    unfinished: Arc<Unfinished>,
}

/// Uploads that were dropped before they were complete; a store keeps what they have written until they are aborted.
type Unfinished = Mutex<Vec<Box<dyn MultipartUpload>>>;

/// An upload that is not forgotten where its writer fails.
#[derive(Debug)]
struct Upload {
    inner: Option<Box<dyn MultipartUpload>>,
    complete: bool,
    unfinished: Arc<Unfinished>,
}

impl Upload {
    fn inner(&mut self) -> &mut dyn MultipartUpload {
        match &mut self.inner {
            Some(inner) => inner.as_mut(),
            None => unreachable!("an upload is taken away when it is dropped only"),
        }
    }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.inner().put_part(data)
    }

    async fn complete(&mut self) -> object_store::Result<PutResult> {
        let result = self.inner().complete().await?;
        self.complete = true;
        Ok(result)
    }

    async fn abort(&mut self) -> object_store::Result<()> {
        self.complete = true;
        self.inner().abort().await
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take().filter(|_| !self.complete) {
            self.unfinished
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(inner);
        }
    }
}

impl Staging {
    fn new(store: Arc<dyn ObjectStore>) -> Staging {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Staging {
            store,
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            files: Mutex::default(),
            unfinished: Arc::default(),
        }
    }

    /// The hidden name beside a final one.
    fn hidden(&self, location: &Path) -> Path {
        let mut parts: Vec<String> = location.parts().map(|part| part.as_ref().to_owned()).collect();
        let name = parts.pop().unwrap_or_default();
        parts.push(format!(".{name}.{}-{}.tmp", std::process::id(), self.number));
        let hidden = Path::from_iter(parts);
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if !files.iter().any(|(known, _)| *known == hidden) {
            files.push((hidden.clone(), location.clone()));
        }
        hidden
    }

    fn take(&self) -> Vec<(Path, Path)> {
        std::mem::take(&mut *self.files.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Removes what was not published, and waits for it.
    async fn discard(&self) {
        let unfinished = std::mem::take(&mut *self.unfinished.lock().unwrap_or_else(PoisonError::into_inner));
        for mut upload in unfinished {
            let _nothing_there = upload.abort().await;
        }
        for (hidden, _) in self.take() {
            let _never_there = self.store.delete(&hidden).await;
        }
    }

    async fn publish(&self) -> Result<()> {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (hidden, location) in files {
            self.store.rename(&hidden, &location).await?;
        }
        let _published = self.take();
        Ok(())
    }
}

/// Removes what was not published.
struct Cleanup(Arc<Staging>);

impl Drop for Cleanup {
    fn drop(&mut self) {
        let unfinished = self.0.unfinished.lock().unwrap_or_else(PoisonError::into_inner).len();
        let files = self.0.files.lock().unwrap_or_else(PoisonError::into_inner).len();
        if let (Ok(runtime), true) = (tokio::runtime::Handle::try_current(), files + unfinished > 0) {
            let staging = Arc::clone(&self.0);
            runtime.spawn(async move { staging.discard().await });
        }
    }
}

impl fmt::Display for Staging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Staging({})", self.store)
    }
}

#[async_trait]
impl ObjectStore for Staging {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> object_store::Result<PutResult> {
        self.store.put_opts(&self.hidden(location), payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        let inner = self.store.put_multipart_opts(&self.hidden(location), opts).await?;
        Ok(Box::new(Upload {
            inner: Some(inner),
            complete: false,
            unfinished: Arc::clone(&self.unfinished),
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.store.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> object_store::Result<Vec<Bytes>> {
        self.store.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.store.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.store.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.store.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> object_store::Result<()> {
        self.store.rename_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use object_store::local::LocalFileSystem;

    use super::*;

    /// As after a write that failed because the disk was full.
    #[tokio::test]
    async fn an_upload_that_was_given_up_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let staging = Staging::new(Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap()));
        let files = || std::fs::read_dir(folder.path()).unwrap().count();
        let mut upload = staging.put_multipart(&Path::from("a.parquet")).await.unwrap();
        upload.put_part(PutPayload::from_static(b"half of it")).await.unwrap();
        drop(upload);
        assert_eq!(files(), 1, "the store keeps what was written");
        staging.discard().await;
        assert_eq!(files(), 0);
        let mut upload = staging.put_multipart(&Path::from("a.parquet")).await.unwrap();
        upload.put_part(PutPayload::from_static(b"all of it")).await.unwrap();
        upload.complete().await.unwrap();
        drop(upload);
        staging.publish().await.unwrap();
        staging.discard().await;
        assert_eq!(std::fs::read(folder.path().join("a.parquet")).unwrap(), b"all of it");
        assert_eq!(files(), 1);
    }
}
