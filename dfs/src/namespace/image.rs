//! The image: the whole namespace in one file, so that the edit log can be cut.
//!
//! A magic, then delimited messages: one header, then the inodes, each after its parent; then a CRC32C of all before it.

use bytes::{Buf, BufMut};
use prost::Message;

use super::apply::{ID_MAX, Misfit};
use super::edit::EditBlock;
use super::inode::{Block, File, Inode, Kind};
use super::{BlockChange, Namespace, ROOT};

const MAGIC: &[u8; 8] = b"BDFSIMG1";

/// What of an image is not a namespace.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Header {
    /// The last transaction that is in it.
    #[prost(uint64, tag = "1")]
    pub transaction: u64,
    /// The last record of the edit log that is in it.
    #[prost(uint64, tag = "2")]
    pub log_index: u64,
    #[prost(string, tag = "3")]
    pub pool_id: String,
    #[prost(uint64, tag = "4")]
    pub next_inode: u64,
    #[prost(uint64, tag = "5")]
    pub next_block: u64,
    #[prost(uint64, tag = "6")]
    pub generation_stamp: u64,
    #[prost(uint64, tag = "7")]
    pub inodes: u64,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct ImageInode {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    parent: u64,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    owner: String,
    #[prost(string, tag = "5")]
    group: String,
    #[prost(uint32, tag = "6")]
    permission: u32,
    #[prost(uint64, tag = "7")]
    modified: u64,
    #[prost(uint64, tag = "8")]
    accessed: u64,
    #[prost(message, optional, tag = "9")]
    file: Option<ImageFile>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct ImageFile {
    #[prost(uint32, tag = "1")]
    replication: u32,
    #[prost(uint64, tag = "2")]
    block_size: u64,
    #[prost(message, repeated, tag = "3")]
    blocks: Vec<EditBlock>,
    #[prost(string, optional, tag = "4")]
    holder: Option<String>,
    #[prost(bool, tag = "5")]
    last_open: bool,
    /// While it is being truncated: the length of its last block afterwards.
    #[prost(uint64, optional, tag = "6")]
    truncation: Option<u64>,
}

/// Why an image cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    #[error("it is not an image, or it is cut off")]
    Foreign,
    #[error("its checksum is wrong")]
    Checksum,
    #[error("it cannot be decoded: {0}")]
    Decode(#[from] prost::DecodeError),
    #[error(transparent)]
    Misfit(#[from] Misfit),
}

impl Namespace {
    /// Writes everything; `header`'s counters are filled in.
    pub fn to_image(&self, mut header: Header) -> Vec<u8> {
        header.next_inode = self.next_inode;
        header.next_block = self.next_block;
        header.generation_stamp = self.generation_stamp;
        header.inodes = self.inode_count();
        let mut bytes = Vec::with_capacity(64 + self.inodes.len() * 96);
        bytes.put_slice(MAGIC);
        bytes.put_slice(&header.encode_length_delimited_to_vec());
        let mut pending = vec![ROOT];
        while let Some(id) = pending.pop() {
            let inode = &self.inodes[&id];
            bytes.put_slice(&self.image_inode(inode).encode_length_delimited_to_vec());
            if let Kind::Directory(children) = &inode.kind {
                pending.extend(children.values());
            }
        }
        let crc = crc32c::crc32c(&bytes);
        bytes.put_u32(crc);
        bytes
    }

    fn image_inode(&self, inode: &Inode) -> ImageInode {
        ImageInode {
            id: inode.id,
            parent: inode.parent,
            name: inode.name.to_string(),
            owner: self.owner_of(inode).to_owned(),
            group: self.group_of(inode).to_owned(),
            permission: inode.permission.into(),
            modified: inode.modified,
            accessed: inode.accessed,
            file: inode.as_file().map(|file| ImageFile {
                replication: file.replication.into(),
                block_size: file.block_size,
                blocks: file.blocks.iter().map(|block| (*block).into()).collect(),
                holder: file.holder.as_deref().map(str::to_owned),
                last_open: file.last_open,
                truncation: self.truncation(inode.id),
            }),
        }
    }

    /// Reads what [`Namespace::to_image`] wrote. The block changes that come with it tell of every block.
    pub fn from_image(bytes: &[u8], now: u64) -> Result<(Self, Header), ImageError> {
        let Some((body, crc)) = bytes.split_at_checked(bytes.len().saturating_sub(4)) else {
            return Err(ImageError::Foreign);
        };
        if !body.starts_with(MAGIC) {
            return Err(ImageError::Foreign);
        }
        if crc != crc32c::crc32c(body).to_be_bytes() {
            return Err(ImageError::Checksum);
        }
        let mut rest = &body[MAGIC.len()..];
        let header = Header::decode_length_delimited(&mut rest)?;
        let mut namespace = Self::new("", "", now);
        namespace.inodes.clear();
        while rest.has_remaining() {
            let message = ImageInode::decode_length_delimited(&mut rest)?;
            namespace.load(message, now)?;
        }
        if namespace.inode_count() != header.inodes || !namespace.inodes.contains_key(&ROOT) {
            return Err(ImageError::Misfit(Misfit(
                "the image does not hold as many inodes as it says",
            )));
        }
        namespace.check_issued(&header)?;
        namespace.next_inode = header.next_inode;
        namespace.next_block = header.next_block;
        namespace.generation_stamp = header.generation_stamp;
        namespace.changes.push(BlockChange::Issued {
            next_block: header.next_block,
            generation_stamp: header.generation_stamp,
        });
        Ok((namespace, header))
    }

    /// No inode, block or stamp may be one that was never given out.
    fn check_issued(&self, header: &Header) -> Result<(), Misfit> {
        let counters = [header.next_inode, header.next_block, header.generation_stamp];
        let blocks = self.inodes.values().filter_map(Inode::as_file).flat_map(|f| &f.blocks);
        let issued = counters.iter().all(|counter| *counter < ID_MAX)
            && self.inodes.keys().all(|id| *id < header.next_inode)
            && blocks
                .into_iter()
                .all(|block| block.id < header.next_block && block.generation_stamp <= header.generation_stamp);
        match issued {
            true => Ok(()),
            false => Err(Misfit("the image holds an id or stamp that it did not give out")),
        }
    }

    fn load(&mut self, message: ImageInode, now: u64) -> Result<(), Misfit> {
        let id = message.id;
        if self.inodes.contains_key(&id) {
            return Err(Misfit("the image holds an inode twice"));
        }
        if id != ROOT {
            let parent = self
                .inodes
                .get_mut(&message.parent)
                .ok_or(Misfit("an inode has no parent"))?;
            let Kind::Directory(children) = &mut parent.kind else {
                return Err(Misfit("a parent is a file"));
            };
            if children.insert(message.name.as_str().into(), id).is_some() {
                return Err(Misfit("the image holds a name twice"));
            }
        }
        let kind = match message.file {
            None => Kind::Directory(Default::default()),
            Some(file) => Kind::File(self.load_file(id, file, now)),
        };
        let inode = Inode {
            id,
            parent: message.parent,
            name: message.name.into(),
            owner: self.names.intern(&message.owner),
            group: self.names.intern(&message.group),
            permission: message.permission as u16,
            modified: message.modified,
            accessed: message.accessed,
            kind,
        };
        self.inodes.insert(id, inode);
        Ok(())
    }

    fn load_file(&mut self, id: u64, file: ImageFile, now: u64) -> File {
        self.files += 1;
        let replication = file.replication as u16;
        if let Some(holder) = &file.holder {
            self.leases.add(holder, id, now);
        }
        if let Some(length) = file.truncation {
            self.truncations.insert(id, length);
        }
        let open = if file.last_open {
            file.blocks.last().map(|block| block.id)
        } else {
            None
        };
        for block in &file.blocks {
            let block = Block::from(*block);
            self.changes.push(BlockChange::Added {
                block,
                inode: id,
                replication,
            });
            if Some(block.id) != open {
                self.changes.push(BlockChange::Completed { block });
            }
        }
        File {
            replication,
            block_size: file.block_size,
            blocks: file.blocks.into_iter().map(Block::from).collect(),
            holder: file.holder.map(Into::into),
            last_open: file.last_open,
        }
    }
}
