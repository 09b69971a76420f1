//! The image: the whole namespace in one file, so that the edit log can be cut.
//!
//! A magic, then delimited messages: one header, then the inodes in the order of their ids, then what the name node adds;
//! then a CRC32C of all before it. Format 1 had each inode after its parent and nothing behind them; it can be read.
//!
//! # Written while it changes
//! An image is taken in parts ([`Namespace::image_part`]), between which the namespace changes. What changes before its turn
//! is encoded first, as it was when the image began: the image is that of one moment, without a copy of the namespace.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut};
use prost::Message;

use super::apply::{ID_MAX, Misfit};
use super::edit::{AclEdit, EditBlock, XattrEdit};
use super::inode::{Block, File, Inode, Kind};
use super::{BlockChange, InodeId, Namespace, ROOT};

const MAGIC: &[u8; 8] = b"BDFSIMG2";
const MAGIC_1: &[u8; 8] = b"BDFSIMG1";

/// An image that is being taken.
#[derive(Debug)]
pub(super) struct Imaging {
    /// The next id in turn, and the first that was not given out when the image began.
    next: InodeId,
    end: InodeId,
    /// Inodes that changed before their turn, as they were.
    saved: BTreeMap<InodeId, Box<[u8]>>,
}

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
    #[prost(message, repeated, tag = "10")]
    acl: Vec<AclEdit>,
    #[prost(message, repeated, tag = "11")]
    xattrs: Vec<XattrEdit>,
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
    /// The whole image at once; `header`'s counters are filled in.
    pub fn to_image(&mut self, header: Header) -> Vec<u8> {
        let mut bytes = self.begin_image(header);
        while self.image_part(usize::MAX, &mut bytes) {}
        self.end_image();
        let crc = crc32c::crc32c(&bytes);
        bytes.put_u32(crc);
        bytes
    }

    /// Starts an image of the present moment, and gives its first bytes. [`Namespace::image_part`] gives the inodes.
    pub fn begin_image(&mut self, mut header: Header) -> Vec<u8> {
        header.next_inode = self.next_inode;
        header.next_block = self.next_block;
        header.generation_stamp = self.generation_stamp;
        header.inodes = self.inode_count();
        self.imaging = Some(Imaging {
            next: ROOT,
            end: self.next_inode,
            saved: BTreeMap::new(),
        });
        let mut bytes = MAGIC.to_vec();
        bytes.put_slice(&header.encode_length_delimited_to_vec());
        bytes
    }

    /// Appends the inodes among the next `limit` ids; false if those were the last.
    pub fn image_part(&mut self, limit: usize, bytes: &mut Vec<u8>) -> bool {
        let Some(mut imaging) = self.imaging.take() else {
            return false;
        };
        let until = imaging.next.saturating_add(limit as u64).min(imaging.end);
        for id in imaging.next..until {
            if let Some(saved) = imaging.saved.remove(&id) {
                bytes.put_slice(&saved);
            } else if let Some(inode) = self.inodes.get(&id) {
                bytes.put_slice(&self.image_inode(inode).encode_length_delimited_to_vec());
            }
        }
        imaging.next = until;
        let more = until < imaging.end;
        self.imaging = Some(imaging);
        more
    }

    pub fn end_image(&mut self) {
        self.imaging = None;
    }

    /// An inode is about to change: the image that is being taken keeps it as it was.
    pub(super) fn before_change(&mut self, id: InodeId) {
        let due = |imaging: &Imaging| (imaging.next..imaging.end).contains(&id) && !imaging.saved.contains_key(&id);
        if !self.imaging.as_ref().is_some_and(due) {
            return;
        }
        let encoded = match self.inodes.get(&id) {
            Some(inode) => self.image_inode(inode).encode_length_delimited_to_vec(),
            None => return,
        };
        if let Some(imaging) = &mut self.imaging {
            imaging.saved.insert(id, encoded.into());
        }
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
            acl: inode.acl().iter().map(Into::into).collect(),
            xattrs: inode.xattrs().iter().map(Into::into).collect(),
        }
    }

    /// Reads an image; also gives what stands behind the inodes. The block changes that come with it tell of every block.
    pub fn from_image(bytes: &[u8], now: u64) -> Result<(Self, Header, &[u8]), ImageError> {
        let Some((body, crc)) = bytes.split_at_checked(bytes.len().saturating_sub(4)) else {
            return Err(ImageError::Foreign);
        };
        if !body.starts_with(MAGIC) && !body.starts_with(MAGIC_1) {
            return Err(ImageError::Foreign);
        }
        if crc != crc32c::crc32c(body).to_be_bytes() {
            return Err(ImageError::Checksum);
        }
        let mut rest = &body[MAGIC.len()..];
        let header = Header::decode_length_delimited(&mut rest)?;
        let mut namespace = Self::new("", "", now);
        namespace.inodes.clear();
        let mut loaded = Vec::new();
        while rest.has_remaining() && (loaded.len() as u64) < header.inodes {
            let message = ImageInode::decode_length_delimited(&mut rest)?;
            loaded.push(message.id);
            namespace.load(message, now)?;
        }
        if loaded.len() as u64 != header.inodes || !namespace.inodes.contains_key(&ROOT) {
            return Err(ImageError::Misfit(Misfit(
                "the image does not hold as many inodes as it says",
            )));
        }
        for id in loaded {
            namespace.load_child(id)?;
        }
        namespace.check_issued(&header)?;
        namespace.next_inode = header.next_inode;
        namespace.next_block = header.next_block;
        namespace.generation_stamp = header.generation_stamp;
        namespace.changes.push(BlockChange::Issued {
            next_block: header.next_block,
            generation_stamp: header.generation_stamp,
        });
        Ok((namespace, header, rest))
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
        let kind = match message.file {
            None => Kind::Directory(Default::default()),
            Some(file) => Kind::File(self.load_file(id, file, now)),
        };
        let mut inode = Inode {
            id,
            parent: message.parent,
            name: message.name.into(),
            owner: self.names.intern(&message.owner),
            group: self.names.intern(&message.group),
            permission: message.permission as u16,
            modified: message.modified,
            accessed: message.accessed,
            extra: None,
            kind,
        };
        inode.change_extra(|extra| {
            extra.acl = message.acl.iter().map(Into::into).collect();
            extra.xattrs = message.xattrs.iter().map(Into::into).collect();
        });
        self.inodes.insert(id, inode);
        Ok(())
    }

    /// Puts an inode into its directory. The parent may come later in the image: it may have been moved there.
    fn load_child(&mut self, id: InodeId) -> Result<(), Misfit> {
        if id == ROOT {
            return Ok(());
        }
        let inode = self.inodes.get(&id).ok_or(Misfit("an inode is missing"))?;
        let (parent, name) = (inode.parent, inode.name.clone());
        let parent = self.inodes.get_mut(&parent).ok_or(Misfit("an inode has no parent"))?;
        let Kind::Directory(children) = &mut parent.kind else {
            return Err(Misfit("a parent is a file"));
        };
        match children.insert(name, id) {
            Some(_) => Err(Misfit("the image holds a name twice")),
            None => Ok(()),
        }
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
