//! The image of what is replicated, written while it changes.
//!
//! The namespace gives its inodes in the order of their ids, and keeps what changes before its turn as it was
//! ([`crate::namespace::image`]); the answers of the retry cache follow. The parts are small, so that the lock is held shortly.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::BufMut;
use disk::{Disk, DiskFile, Mode};
use prost::Message;

use super::execute::Replicated;
use crate::Error;
use crate::namespace::image::Header;

/// An answer of the retry cache.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ImageAnswer {
    #[prost(bytes = "vec", tag = "1")]
    pub client_id: Vec<u8>,
    #[prost(sint32, tag = "2")]
    pub call_id: i32,
    #[prost(uint64, tag = "3")]
    pub at: u64,
    #[prost(bytes = "vec", tag = "4")]
    pub response: Vec<u8>,
}

/// How far an image is.
#[derive(Debug)]
pub struct ImageInProgress {
    /// The last record of the log that is in it.
    pub log_index: u64,
    inodes_left: bool,
    /// Numbers of the retry cache's answers: the next one, and the one after the last.
    answers: (u32, u32),
    answers_left: bool,
}

impl ImageInProgress {
    pub fn is_complete(&self) -> bool {
        !self.inodes_left && !self.answers_left
    }
}

impl Replicated {
    /// Starts an image of the present state; also gives its first bytes.
    pub fn begin_image(&mut self) -> (Vec<u8>, ImageInProgress) {
        let header = Header {
            transaction: self.transaction,
            log_index: self.log_index,
            pool_id: self.pool_id.clone(),
            ..Default::default()
        };
        let head = self.names.begin_image(header);
        let image = ImageInProgress {
            log_index: self.log_index,
            inodes_left: true,
            answers: self.retries.numbers(),
            answers_left: true,
        };
        (head, image)
    }

    /// The next part of the image: at most `limit` inodes or answers.
    pub fn image_part(&mut self, image: &mut ImageInProgress, limit: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        if image.inodes_left {
            image.inodes_left = self.names.image_part(limit, &mut bytes);
        } else if image.answers_left {
            image.answers_left = self.retries.image_part(&mut image.answers, limit, |answer| {
                bytes.put_slice(&answer.encode_length_delimited_to_vec());
            });
        }
        Ok(bytes)
    }
}

/// A new image beside the one that it replaces.
#[derive(Debug)]
pub struct ImageFile {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    beside: PathBuf,
    file: Arc<dyn DiskFile>,
    length: u64,
    crc: u32,
}

impl ImageFile {
    pub fn create(disk: &Arc<dyn Disk>, path: &Path) -> std::io::Result<Self> {
        let beside = path.with_extension("new");
        let file = disk.open(&beside, Mode::Write)?;
        file.set_len(0)?;
        Ok(Self {
            disk: Arc::clone(disk),
            path: path.to_owned(),
            beside,
            file,
            length: 0,
            crc: 0,
        })
    }

    pub fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.file.write_at(bytes, self.length)?;
        self.length += bytes.len() as u64;
        self.crc = crc32c::crc32c_append(self.crc, bytes);
        Ok(())
    }

    /// Makes it durable and puts it in the former one's place. Returns its length in bytes.
    pub fn finish(self) -> std::io::Result<u64> {
        self.file.write_at(&self.crc.to_be_bytes(), self.length)?;
        self.file.sync_data()?;
        self.disk.rename(&self.beside, &self.path)?;
        if let Some(directory) = self.path.parent() {
            self.disk.sync_dir(directory)?;
        }
        Ok(self.length + 4)
    }
}
