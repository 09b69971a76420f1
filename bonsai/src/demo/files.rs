//! Files in dfs: what the batch job reads, and what it leaves.

use std::time::Duration;

use bytes::Bytes;
use hdfs_native::{Client, ClientBuilder, HdfsError, WriteOptions};
use tokio::time::Instant;

use super::data::DataFile;
use super::error::Error;

/// Everything of the demo is below here.
pub const ROOT: &str = "/flights";
/// A data node registers within a moment; one that was killed is back within seconds.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub struct Files {
    client: Client,
}

impl Files {
    /// `namenode` is `HOST:PORT`.
    pub fn connect(namenode: &str) -> Result<Self, Error> {
        let url = format!("hdfs://{namenode}");
        let client = ClientBuilder::new()
            .with_url(&url)
            .build()
            .map_err(|source| Error::Files {
                what: format!("connect to {url}"),
                source,
            })?;
        Ok(Self { client })
    }

    /// Deletes what an earlier run left.
    pub async fn clear(&self) -> Result<(), Error> {
        retried(&format!("delete {ROOT}"), async || {
            match self.client.delete(ROOT, true).await {
                Err(HdfsError::FileNotFound(_)) => Ok(()),
                other => other.map(|_existed| ()),
            }
        })
        .await
    }

    pub async fn put(&self, path: &str, contents: &Bytes) -> Result<(), Error> {
        retried(&format!("write {path}"), async || {
            let options = WriteOptions::default().overwrite(true).create_parent(true);
            let mut file = self.client.create(path, options).await?;
            file.write(contents.clone()).await?;
            file.close().await
        })
        .await
    }

    pub async fn put_data(&self, file: &DataFile, name: &str) -> Result<u64, Error> {
        self.put(&format!("{ROOT}/data/{name}"), &file.contents).await?;
        Ok(file.contents.len() as u64)
    }

    pub async fn get(&self, path: &str) -> Result<Bytes, Error> {
        retried(&format!("read {path}"), async || {
            let mut file = self.client.read(path).await?;
            let len = file.file_length();
            file.read(len).await
        })
        .await
    }
}

/// Tries again while the file system is being restarted.
async fn retried<T>(what: &str, mut action: impl AsyncFnMut() -> Result<T, HdfsError>) -> Result<T, Error> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match action().await {
            Ok(value) => return Ok(value),
            Err(source) if Instant::now() >= deadline => {
                return Err(Error::Files {
                    what: what.to_owned(),
                    source,
                });
            }
            Err(error) => tracing::debug!(%error, what, "trying again"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}
