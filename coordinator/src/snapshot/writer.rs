//! Writing: leaves as they fill, branches above them, the buckets' own tree last.

use super::page::{
    BRANCH, ELEMENT_BYTES, FIRST_FREE_PAGE, HEADER_BYTES, IS_BUCKET, LEAF, Meta, PAGE_BYTES, freelist, header,
};
use super::{Bucket, SnapshotError, Source};

/// A branch with one child is more than bbolt's own balancing expects.
const CHILDREN_MIN: usize = 2;

/// Where things will stand in a file; see [`measure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    root: u64,
    pages: u64,
}

impl Layout {
    /// The length of the file.
    pub fn bytes(&self) -> u64 {
        self.pages * PAGE_BYTES as u64
    }
}

type Sink<'a> = dyn FnMut(&[u8]) -> Result<(), SnapshotError> + 'a;

/// Finds out how a file of `source` will be laid out.
pub fn measure(source: &dyn Source) -> Result<Layout, SnapshotError> {
    trees(source, &mut |_page| Ok(()))
}

/// Gives the file's bytes to `sink`, in order. `layout` is what [`measure`] said of the same source.
pub fn write(source: &dyn Source, layout: &Layout, sink: &mut Sink<'_>) -> Result<(), SnapshotError> {
    for transaction in [0, 1] {
        let meta = Meta {
            page_bytes: PAGE_BYTES as u32,
            root: layout.root,
            pages: layout.pages,
            transaction,
        };
        sink(&meta.encode())?;
    }
    sink(&freelist())?;
    let written = trees(source, sink)?;
    debug_assert_eq!(written, *layout, "the source is the same each time");
    Ok(())
}

fn trees(source: &dyn Source, sink: &mut Sink<'_>) -> Result<Layout, SnapshotError> {
    let mut pages = Pages {
        next: FIRST_FREE_PAGE,
        sink,
    };
    let mut buckets = Tree::default();
    for bucket in Bucket::ALL {
        let mut tree = Tree::default();
        source.scan(bucket, &mut |key, value| tree.push(&mut pages, 0, key, value))?;
        let mut value = tree.finish(&mut pages)?.to_le_bytes().to_vec();
        // The bucket's sequence, which etcd does not use.
        value.extend_from_slice(&0_u64.to_le_bytes());
        buckets.push(&mut pages, IS_BUCKET, bucket.name().as_bytes(), &value)?;
    }
    let root = buckets.finish(&mut pages)?;
    Ok(Layout {
        root,
        pages: pages.next,
    })
}

/// The file's pages from the first free one on.
struct Pages<'a, 'b> {
    next: u64,
    sink: &'a mut Sink<'b>,
}

impl Pages<'_, '_> {
    /// Writes a page, or several that are one, and returns its number.
    fn put(&mut self, flags: u16, elements: &[u8], count: usize, data: &[u8]) -> Result<u64, SnapshotError> {
        let bytes = HEADER_BYTES + elements.len() + data.len();
        let pages = bytes.div_ceil(PAGE_BYTES).max(1);
        let id = self.next;
        let mut page = Vec::with_capacity(pages * PAGE_BYTES);
        page.extend_from_slice(&header(id, flags, count, pages - 1));
        page.extend_from_slice(elements);
        page.extend_from_slice(data);
        page.resize(pages * PAGE_BYTES, 0);
        (self.sink)(&page)?;
        self.next += pages as u64;
        Ok(id)
    }
}

/// A pair that waits for its leaf to be full: flags, and where key and value end in the data.
struct Waiting {
    flags: u32,
    key_bytes: usize,
    value_bytes: usize,
}

/// A page and its first key.
struct Child {
    key: Vec<u8>,
    page: u64,
}

/// One B+tree in the making.
#[derive(Default)]
struct Tree {
    waiting: Vec<Waiting>,
    data: Vec<u8>,
    children: Vec<Child>,
}

impl Tree {
    fn push(&mut self, pages: &mut Pages<'_, '_>, flags: u32, key: &[u8], value: &[u8]) -> Result<(), SnapshotError> {
        let with_this =
            HEADER_BYTES + (self.waiting.len() + 1) * ELEMENT_BYTES + self.data.len() + key.len() + value.len();
        if with_this > PAGE_BYTES && !self.waiting.is_empty() {
            self.leaf(pages)?;
        }
        self.waiting.push(Waiting {
            flags,
            key_bytes: key.len(),
            value_bytes: value.len(),
        });
        self.data.extend_from_slice(key);
        self.data.extend_from_slice(value);
        Ok(())
    }

    /// Writes what waits as a leaf.
    fn leaf(&mut self, pages: &mut Pages<'_, '_>) -> Result<(), SnapshotError> {
        let elements_bytes = self.waiting.len() * ELEMENT_BYTES;
        let mut elements = Vec::with_capacity(elements_bytes);
        let mut data_at = elements_bytes;
        for pair in &self.waiting {
            // Positions count from the element itself.
            let position = data_at - elements.len();
            for number in [pair.flags, size(position), size(pair.key_bytes), size(pair.value_bytes)] {
                elements.extend_from_slice(&number.to_le_bytes());
            }
            data_at += pair.key_bytes + pair.value_bytes;
        }
        let key_bytes = self.waiting.first().map_or(0, |first| first.key_bytes);
        let page = pages.put(LEAF, &elements, self.waiting.len(), &self.data)?;
        self.children.push(Child {
            key: self.data[..key_bytes].to_vec(),
            page,
        });
        self.waiting.clear();
        self.data.clear();
        Ok(())
    }

    /// Writes what is left and the branches, and returns the root's page.
    fn finish(mut self, pages: &mut Pages<'_, '_>) -> Result<u64, SnapshotError> {
        if !self.waiting.is_empty() || self.children.is_empty() {
            self.leaf(pages)?;
        }
        let mut level = self.children;
        while level.len() > 1 {
            let mut above = Vec::new();
            let mut rest = level.as_slice();
            while !rest.is_empty() {
                let (group, others) = rest.split_at(branch_children(rest));
                above.push(branch(pages, group)?);
                rest = others;
            }
            level = above;
        }
        Ok(level[0].page)
    }
}

/// How many of `children` go into the next branch: as many as fit, at least two, and never all but one.
fn branch_children(children: &[Child]) -> usize {
    let mut bytes = HEADER_BYTES;
    let fitting = children.iter().take_while(|child| {
        bytes += ELEMENT_BYTES + child.key.len();
        bytes <= PAGE_BYTES
    });
    let count = fitting.count().clamp(CHILDREN_MIN, children.len());
    match children.len() - count {
        1 if count > CHILDREN_MIN => count - 1,
        1 => children.len(),
        _ => count,
    }
}

fn branch(pages: &mut Pages<'_, '_>, children: &[Child]) -> Result<Child, SnapshotError> {
    let elements_bytes = children.len() * ELEMENT_BYTES;
    let (mut elements, mut data) = (Vec::with_capacity(elements_bytes), Vec::new());
    for child in children {
        let position = elements_bytes + data.len() - elements.len();
        elements.extend_from_slice(&size(position).to_le_bytes());
        elements.extend_from_slice(&size(child.key.len()).to_le_bytes());
        elements.extend_from_slice(&child.page.to_le_bytes());
        data.extend_from_slice(&child.key);
    }
    let page = pages.put(BRANCH, &elements, children.len(), &data)?;
    Ok(Child {
        key: children[0].key.clone(),
        page,
    })
}

fn size(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("pairs are at most as large as a request")
}
