//! Reading: a file from somewhere else, of which nothing is believed.

use disk::DiskFile;

use super::page::{
    BRANCH, BUCKET_BYTES, ELEMENT_BYTES, HEADER_BYTES, IS_BUCKET, LEAF, META_BYTES, Meta, PAGE_BYTES_RANGE, u16_at,
    u32_at, u64_at,
};
use super::{Bucket, SnapshotError, Visit};

/// More levels than any tree has whose branches have two children.
const DEPTH_MAX: usize = 64;
/// SHA-256 behind the file; its length alone tells, since pages are multiples of 512 bytes.
const CHECKSUM_BYTES: u64 = 32;

/// A snapshot file that was opened.
#[derive(Debug)]
pub struct Reader<'a> {
    file: &'a dyn DiskFile,
    /// The length without the checksum.
    bytes: u64,
    meta: Meta,
}

/// An element of a leaf.
struct Pair<'a> {
    is_bucket: bool,
    key: &'a [u8],
    value: &'a [u8],
}

/// Where a tree begins: at a page, or inside the value itself where the bucket is small.
enum Root {
    Page(u64),
    Inline(Vec<u8>),
}

fn damaged(page: u64, what: &'static str) -> SnapshotError {
    SnapshotError::Damaged { page, what }
}

/// The length of the file itself, and whether a checksum stands behind it.
pub fn split_checksum(bytes: u64) -> (u64, bool) {
    match bytes % 512 {
        CHECKSUM_BYTES => (bytes - CHECKSUM_BYTES, true),
        _ => (bytes, false),
    }
}

impl<'a> Reader<'a> {
    /// Looks for a valid meta page; the one of the later transaction counts.
    pub fn open(file: &'a dyn DiskFile) -> Result<Self, SnapshotError> {
        let (bytes, _) = split_checksum(file.len()?);
        let read = |offset: u64| -> Result<Option<Meta>, SnapshotError> {
            let mut page = [0; META_BYTES];
            if offset + (HEADER_BYTES + META_BYTES) as u64 > bytes {
                return Ok(None);
            }
            file.read_exact_at(&mut page, offset + HEADER_BYTES as u64)?;
            Ok(Meta::decode(&page))
        };
        let mut found: Vec<Meta> = read(0)?.into_iter().collect();
        let mut page_bytes = *PAGE_BYTES_RANGE.start();
        while PAGE_BYTES_RANGE.contains(&page_bytes) {
            found.extend(read(u64::from(page_bytes))?.filter(|meta| meta.page_bytes == page_bytes));
            page_bytes *= 2;
        }
        let meta = found.into_iter().max_by_key(|meta| meta.transaction);
        let meta = meta.ok_or_else(|| damaged(0, "no valid meta page: this is no etcd snapshot"))?;
        Ok(Self { file, bytes, meta })
    }

    /// The length of the file without the checksum.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Shows the pairs of a bucket; none where there is no such bucket.
    pub fn scan(&self, bucket: Bucket, visit: &mut Visit<'_>) -> Result<(), SnapshotError> {
        let mut root = None;
        self.walk(&Root::Page(self.meta.root), &mut |page, pair| {
            if pair.is_bucket && pair.key == bucket.name().as_bytes() {
                root = Some(bucket_root(page, pair.value)?);
            }
            Ok(())
        })?;
        let Some(root) = root else { return Ok(()) };
        self.walk(&root, &mut |_page, pair| {
            // Buckets within buckets are none of etcd's.
            if pair.is_bucket {
                Ok(())
            } else {
                visit(pair.key, pair.value)
            }
        })
    }

    fn walk(
        &self,
        root: &Root,
        visit: &mut dyn FnMut(u64, &Pair<'_>) -> Result<(), SnapshotError>,
    ) -> Result<(), SnapshotError> {
        let mut walk = Walk {
            reader: self,
            visited: 0,
            last: None,
            visit,
        };
        match root {
            Root::Page(page) => walk.page(*page, 0),
            Root::Inline(bytes) => walk.elements(0, bytes, 0),
        }
    }

    /// A page with what overflows it.
    fn page(&self, id: u64) -> Result<Vec<u8>, SnapshotError> {
        let page_bytes = u64::from(self.meta.page_bytes);
        let in_file = |pages: u64| {
            let end = id.checked_add(pages)?;
            (id >= 2 && end <= self.meta.pages && end.checked_mul(page_bytes)? <= self.bytes).then_some(())
        };
        in_file(1).ok_or_else(|| damaged(id, "it is outside the file"))?;
        let mut header = [0; HEADER_BYTES];
        self.file.read_exact_at(&mut header, id * page_bytes)?;
        if u64_at(&header, 0) != Some(id) {
            return Err(damaged(id, "it says to be another page"));
        }
        let overflow = u64::from(u32_at(&header, 12).unwrap_or(0));
        in_file(1 + overflow).ok_or_else(|| damaged(id, "it is longer than the file"))?;
        // Not more than the file has, which is here.
        let length = usize::try_from((1 + overflow) * page_bytes).map_err(|_| damaged(id, "it is too large"))?;
        let mut page = vec![0; length];
        self.file.read_exact_at(&mut page, id * page_bytes)?;
        Ok(page)
    }
}

fn bucket_root(page: u64, value: &[u8]) -> Result<Root, SnapshotError> {
    match u64_at(value, 0) {
        Some(0) => value.get(BUCKET_BYTES..).map(|inline| Root::Inline(inline.to_vec())),
        Some(root) => Some(Root::Page(root)),
        None => None,
    }
    .ok_or_else(|| damaged(page, "a bucket has no root"))
}

/// A walk through one tree.
struct Walk<'a> {
    reader: &'a Reader<'a>,
    /// Pages seen so far; a tree that has more than the file goes round in circles.
    visited: u64,
    last: Option<Vec<u8>>,
    visit: &'a mut dyn FnMut(u64, &Pair<'_>) -> Result<(), SnapshotError>,
}

impl Walk<'_> {
    fn page(&mut self, id: u64, depth: usize) -> Result<(), SnapshotError> {
        self.visited += 1;
        if self.visited > self.reader.meta.pages || depth > DEPTH_MAX {
            return Err(damaged(id, "the tree goes round in circles"));
        }
        let page = self.reader.page(id)?;
        self.elements(id, &page, depth)
    }

    fn elements(&mut self, id: u64, page: &[u8], depth: usize) -> Result<(), SnapshotError> {
        let (Some(flags), Some(count)) = (u16_at(page, 8), u16_at(page, 10)) else {
            return Err(damaged(id, "it is cut off"));
        };
        for number in 0..usize::from(count) {
            let at = HEADER_BYTES + number * ELEMENT_BYTES;
            let element = page.get(at..).ok_or_else(|| damaged(id, "it is cut off"))?;
            match flags {
                LEAF => {
                    let pair = leaf_pair(element).ok_or_else(|| damaged(id, "an element is outside the page"))?;
                    self.ascends(id, pair.key)?;
                    (self.visit)(id, &pair)?;
                }
                BRANCH => {
                    let child = u64_at(element, 8).ok_or_else(|| damaged(id, "it is cut off"))?;
                    self.page(child, depth + 1)?;
                }
                _ => return Err(damaged(id, "it is neither branch nor leaf")),
            }
        }
        Ok(())
    }

    fn ascends(&mut self, id: u64, key: &[u8]) -> Result<(), SnapshotError> {
        if self.last.as_deref().is_some_and(|last| last >= key) {
            return Err(damaged(id, "keys do not ascend"));
        }
        self.last = Some(key.to_vec());
        Ok(())
    }
}

fn leaf_pair(element: &[u8]) -> Option<Pair<'_>> {
    let number = |at: usize| u32_at(element, at).and_then(|number| usize::try_from(number).ok());
    let (flags, position, key_bytes, value_bytes) = (u32_at(element, 0)?, number(4)?, number(8)?, number(12)?);
    let value_at = position.checked_add(key_bytes)?;
    Some(Pair {
        is_bucket: flags & IS_BUCKET != 0,
        key: element.get(position..value_at)?,
        value: element.get(value_at..value_at.checked_add(value_bytes)?)?,
    })
}
