//! The two kinds of file system behind a path: this machine's, through [`disk::Disk`], and `hdfs://`.
//!
//! Files are written in one go and made durable before `write_new` returns, so a write that failed half way can simply
//! be made again. HDFS is asked again for [`RETRY_FOR`] where it does not answer: name nodes and data nodes get restarted
//! while jobs run. A local error is final at once.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use disk::{Disk, DiskFile, Mode};
use hdfs_native::{Client, ClientBuilder, HdfsError, WriteOptions};

use crate::Error;
use crate::connector::discovery;

/// How long an HDFS call is repeated while nothing answers.
const RETRY_FOR: Duration = Duration::from_secs(60);
/// The pause between two attempts.
const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// A file system.
#[derive(Debug, Clone)]
pub enum Store {
    Local(Arc<dyn Disk>),
    Hdfs(Arc<Client>),
}

/// A path with its file system.
#[derive(Debug, Clone)]
pub struct Location {
    pub store: Store,
    /// Absolute within the store, or relative to the working directory; without a `/` at the end.
    pub path: String,
}

/// A file that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileInfo {
    pub path: String,
    /// Bytes.
    pub len: u64,
    /// Milliseconds since 1970.
    pub modified_ms: i64,
}

/// Refuses what [`Location::open`] would not open.
pub fn check_path(url: &str) -> Result<(), Error> {
    if url.trim().is_empty() {
        return Err(Error::validate(
            "The option 'path' is empty. Name a file or a directory.",
        ));
    }
    match url.split_once("://") {
        None | Some(("file", _)) => Ok(()),
        Some(("hdfs", rest)) if !rest.is_empty() && !rest.starts_with('/') => Ok(()),
        Some(("hdfs", _)) => Err(Error::validate(format!(
            "The path '{url}' names no name node. Write hdfs://HOST:PORT/DIRECTORY."
        ))),
        Some((scheme, _)) => Err(Error::unsupported(format!(
            "Could not find a file system implementation for scheme '{scheme}'. Use a local path, file:// or hdfs://."
        ))),
    }
}

impl Location {
    /// Opens the store of a path or URL; `local` serves the paths of this machine. Connects to nothing yet.
    pub fn open(url: &str, local: &Arc<dyn Disk>) -> Result<Self, Error> {
        check_path(url)?;
        let (store, path) = match url.split_once("://") {
            Some(("hdfs", rest)) => {
                let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
                let found = discovery::name_node(host);
                let client = ClientBuilder::new()
                    .with_url(format!("hdfs://{}", found.as_deref().unwrap_or(host)))
                    .build()
                    .map_err(|e| Error::validate(format!("The path '{url}' cannot be used: {e}.")))?;
                (Store::Hdfs(Arc::new(client)), format!("/{path}"))
            }
            Some((_, path)) => (Store::Local(local.clone()), path.to_owned()),
            None => (
                Store::Local(local.clone()),
                url.strip_prefix("file:").unwrap_or(url).to_owned(),
            ),
        };
        let trimmed = path.trim_end_matches('/');
        let path = if trimmed.is_empty() {
            "/".to_owned()
        } else {
            trimmed.to_owned()
        };
        Ok(Self { store, path })
    }
}

impl Store {
    /// All files at or below `path`, sorted by path. Names that start with `.` or `_` are hidden, at any depth, and left
    /// out unless `hidden`. `None` where there is nothing at `path`.
    pub async fn files(&self, path: &str, hidden: bool) -> Result<Option<Vec<FileInfo>>, Error> {
        let mut found = match self {
            Self::Local(disk) => {
                let (root, disk) = (PathBuf::from(path), disk.clone());
                blocking(path, move || list_local(disk.as_ref(), &root, hidden)).await?
            }
            Self::Hdfs(client) => retried(path, || list_hdfs(client, path, hidden)).await?,
        };
        if let Some(files) = &mut found {
            files.sort_by(|a, b| a.path.cmp(&b.path));
        }
        Ok(found)
    }

    /// Writes a new file and its directories durably; what stands under the name is replaced.
    pub async fn write_new(&self, path: &str, content: Bytes) -> Result<(), Error> {
        match self {
            Self::Local(disk) => {
                let (file, disk) = (PathBuf::from(path), disk.clone());
                blocking(path, move || write_local(disk.as_ref(), &file, &content)).await
            }
            Self::Hdfs(client) => {
                retried(path, || async {
                    let options = WriteOptions::default().overwrite(true).create_parent(true);
                    let mut file = client.create(path, options).await?;
                    file.write(content.clone()).await?;
                    file.close().await
                })
                .await
            }
        }
    }

    /// Renames a file within its directory, durably. Done already (`from` is gone, `to` is there) is done; both there is
    /// an error, as is neither.
    pub async fn rename_once(&self, from: &str, to: &str) -> Result<(), Error> {
        match (self.exists(from).await?, self.exists(to).await?) {
            (true, false) => {}
            (false, true) => return Ok(()),
            (true, true) => {
                return Err(Error::runtime(format!(
                    "'{to}' is already there, so '{from}' cannot be published. Move one of them away."
                )));
            }
            (false, false) => {
                return Err(Error::runtime(format!(
                    "'{from}' is gone, and so is '{to}': rows of a finished checkpoint are lost. Restore the file or \
                     start the job without its state directory."
                )));
            }
        }
        match self {
            Self::Local(disk) => {
                let (from, to, disk) = (PathBuf::from(from), PathBuf::from(to), disk.clone());
                let path = to.clone();
                blocking(&path.to_string_lossy(), move || {
                    disk.rename(&from, &to)?;
                    disk.sync_dir(parent(&to))
                })
                .await
            }
            Self::Hdfs(client) => {
                retried(to, || async {
                    match client.rename(from, to, false).await {
                        // The answer to an earlier attempt was lost.
                        Err(error) if client.get_file_info(from).await.is_err() => {
                            client.get_file_info(to).await.map(|_| ()).map_err(|_| error)
                        }
                        result => result,
                    }
                })
                .await
            }
        }
    }

    pub async fn exists(&self, path: &str) -> Result<bool, Error> {
        match self {
            Self::Local(disk) => {
                let (file, disk) = (PathBuf::from(path), disk.clone());
                blocking(path, move || disk.exists(&file)).await
            }
            Self::Hdfs(client) => {
                retried(path, || async {
                    match client.get_file_info(path).await {
                        Ok(_) => Ok(true),
                        Err(HdfsError::FileNotFound(_)) => Ok(false),
                        Err(error) => Err(error),
                    }
                })
                .await
            }
        }
    }

    /// Removes a file; it need not be there.
    pub async fn remove(&self, path: &str) -> Result<(), Error> {
        match self {
            Self::Local(disk) => {
                let (file, disk) = (PathBuf::from(path), disk.clone());
                blocking(path, move || match disk.remove_file(&file) {
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                    result => result,
                })
                .await
            }
            Self::Hdfs(client) => retried(path, || async { client.delete(path, false).await.map(|_| ()) }).await,
        }
    }

    /// Opens a file for reading at any place.
    pub async fn open(&self, path: &str) -> Result<Reader, Error> {
        match self {
            Self::Local(disk) => {
                let (file, disk) = (PathBuf::from(path), disk.clone());
                Ok(Reader::Local(
                    blocking(path, move || disk.open(&file, Mode::Read)).await?,
                    path.to_owned(),
                ))
            }
            Self::Hdfs(client) => Ok(Reader::Hdfs(client.clone(), path.to_owned())),
        }
    }
}

/// An open file.
#[derive(Debug, Clone)]
pub enum Reader {
    Local(Arc<dyn DiskFile>, String),
    Hdfs(Arc<Client>, String),
}

impl Reader {
    /// The bytes `offset..offset + len`; an error where the file is shorter.
    pub async fn read(&self, offset: u64, len: usize) -> Result<Bytes, Error> {
        match self {
            Self::Local(file, path) => {
                let file = file.clone();
                blocking(path, move || {
                    let mut buffer = vec![0; len];
                    file.read_exact_at(&mut buffer, offset)?;
                    Ok(Bytes::from(buffer))
                })
                .await
            }
            Self::Hdfs(client, path) => {
                retried(path, || async {
                    let reader = client.read(path).await?;
                    if (reader.file_length() as u64) < offset + len as u64 {
                        return Err(HdfsError::OperationFailed("the file has become shorter".to_owned()));
                    }
                    reader.read_range(offset as usize, len).await
                })
                .await
            }
        }
    }
}

fn is_hidden(name: &str) -> bool {
    name.starts_with(['.', '_'])
}

fn list_local(disk: &dyn Disk, path: &Path, hidden: bool) -> std::io::Result<Option<Vec<FileInfo>>> {
    if !disk.exists(path)? {
        return Ok(None);
    }
    let mut found = Vec::new();
    if !std::fs::metadata(path)?.is_dir() {
        found.push(local_info(disk, path.to_owned())?);
        return Ok(Some(found));
    }
    let mut directories = vec![path.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in disk.list(&directory)? {
            let path = directory.join(&entry.name);
            match (entry.is_dir, hidden || !is_hidden(&entry.name)) {
                (_, false) => {}
                (true, true) => directories.push(path),
                (false, true) => found.push(local_info(disk, path)?),
            }
        }
    }
    Ok(Some(found))
}

fn local_info(disk: &dyn Disk, path: PathBuf) -> std::io::Result<FileInfo> {
    let len = disk.open(&path, Mode::Read)?.len()?;
    let modified = std::fs::metadata(&path)?.modified()?;
    let modified_ms = modified
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis() as i64;
    let path = path
        .to_str()
        .ok_or_else(|| std::io::Error::other("the name of a file is not UTF-8"))?
        .to_owned();
    Ok(FileInfo { path, len, modified_ms })
}

async fn list_hdfs(client: &Client, path: &str, hidden: bool) -> Result<Option<Vec<FileInfo>>, HdfsError> {
    let all = match client.list_status(path, true).await {
        Ok(all) => all,
        Err(HdfsError::FileNotFound(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let visible = |found: &str| {
        let below = found.strip_prefix(path).unwrap_or(found);
        hidden || !below.split('/').any(is_hidden)
    };
    Ok(Some(
        all.into_iter()
            .filter(|status| !status.isdir && visible(&status.path))
            .map(|status| FileInfo {
                len: status.length as u64,
                modified_ms: status.modification_time as i64,
                path: status.path,
            })
            .collect(),
    ))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn write_local(disk: &dyn Disk, path: &Path, content: &[u8]) -> std::io::Result<()> {
    let directory = parent(path);
    if !disk.exists(directory)? {
        disk.create_dir_all(directory)?;
        if let Some(above) = directory.parent().filter(|above| !above.as_os_str().is_empty()) {
            disk.sync_dir(above)?;
        }
    }
    let file = disk.open(path, Mode::Write)?;
    file.set_len(0)?;
    file.write_at(content, 0)?;
    file.sync_data()?;
    disk.sync_dir(directory)
}

async fn blocking<T: Send + 'static>(
    path: &str,
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(|error| Error::runtime(format!("File '{path}': {error}."))),
        Err(error) => Err(Error::runtime(format!(
            "File '{path}': the thread that handled it died: {error}."
        ))),
    }
}

/// Repeats a call while HDFS is away; what HDFS refuses is final.
async fn retried<T, F: Future<Output = Result<T, HdfsError>>>(
    path: &str,
    mut call: impl FnMut() -> F,
) -> Result<T, Error> {
    let since = Instant::now();
    loop {
        let error = match call().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        if !is_passing(&error) || since.elapsed() > RETRY_FOR {
            return Err(Error::runtime(format!("File '{path}' in HDFS: {error}.")));
        }
        tracing::warn!(path, %error, "HDFS does not answer; asking again");
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

/// Whether the same call may succeed later.
fn is_passing(error: &HdfsError) -> bool {
    match error {
        HdfsError::IOError(_)
        | HdfsError::DataTransferError(_)
        | HdfsError::ChecksumError
        | HdfsError::OperationFailed(_)
        | HdfsError::BlocksNotFound(_)
        | HdfsError::InvalidRPCResponse(_)
        | HdfsError::FatalRPCError(..) => true,
        // Safe mode after a restart, no data node back yet, a lease of the attempt before.
        HdfsError::RPCError(class, message) => {
            [
                "SafeMode",
                "Standby",
                "Retriable",
                "AlreadyBeingCreated",
                "RecoveryInProgress",
                "NotReplicatedYet",
            ]
            .iter()
            .any(|passing| class.contains(passing))
                || message.contains("could only be")
                || message.contains("safe mode")
        }
        _ => false,
    }
}
