//! Pages: headers, elements, and the two meta pages.

/// The size of the pages written. Those read may have another.
pub(super) const PAGE_BYTES: usize = 4096;
/// Page number, flags, count of elements, number of pages that follow as part of this one.
pub(super) const HEADER_BYTES: usize = 16;
/// Both kinds of elements have this size.
pub(super) const ELEMENT_BYTES: usize = 16;
/// A meta page up to its checksum.
const META_CHECKED_BYTES: usize = 56;
pub(super) const META_BYTES: usize = META_CHECKED_BYTES + 8;
/// A bucket's root page and sequence: the value under its name.
pub(super) const BUCKET_BYTES: usize = 16;

pub(super) const BRANCH: u16 = 0x01;
pub(super) const LEAF: u16 = 0x02;
const META: u16 = 0x04;
const FREELIST: u16 = 0x10;
/// A leaf's element that is a bucket.
pub(super) const IS_BUCKET: u32 = 0x01;

const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;
/// The pages that are no part of a tree: two metas and the list of free pages.
pub(super) const FIRST_FREE_PAGE: u64 = 3;
const FREELIST_PAGE: u64 = 2;
/// Page sizes that a machine may have had on which a file was made.
pub(super) const PAGE_BYTES_RANGE: std::ops::RangeInclusive<u32> = 1024..=65_536;

pub(super) fn header(id: u64, flags: u16, count: usize, overflow: usize) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&id.to_le_bytes());
    header[8..10].copy_from_slice(&flags.to_le_bytes());
    let count = u16::try_from(count).expect("a page has no room for more elements");
    header[10..12].copy_from_slice(&count.to_le_bytes());
    let overflow = u32::try_from(overflow).expect("a request is far smaller than u32::MAX pages");
    header[12..].copy_from_slice(&overflow.to_le_bytes());
    header
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// The part of a meta page that matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meta {
    pub page_bytes: u32,
    /// The root page of the tree of buckets.
    pub root: u64,
    /// The number of pages.
    pub pages: u64,
    pub transaction: u64,
}

impl Meta {
    /// The page of its own, 0 or 1.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut page = Vec::with_capacity(PAGE_BYTES);
        page.extend_from_slice(&header(self.transaction % 2, META, 0, 0));
        for number in [MAGIC, VERSION, self.page_bytes, 0] {
            page.extend_from_slice(&number.to_le_bytes());
        }
        // The root bucket's page and sequence, the list of free pages, the number of pages, the transaction.
        for number in [self.root, 0, FREELIST_PAGE, self.pages, self.transaction] {
            page.extend_from_slice(&number.to_le_bytes());
        }
        let checksum = fnv1a(&page[HEADER_BYTES..HEADER_BYTES + META_CHECKED_BYTES]);
        page.extend_from_slice(&checksum.to_le_bytes());
        page.resize(PAGE_BYTES, 0);
        page
    }

    /// Reads what stands behind the page's header; `None` where it is not valid.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let checked = bytes.get(..META_CHECKED_BYTES)?;
        let meta = Self {
            page_bytes: u32_at(bytes, 8)?,
            root: u64_at(bytes, 16)?,
            pages: u64_at(bytes, 40)?,
            transaction: u64_at(bytes, 48)?,
        };
        let valid = u32_at(bytes, 0)? == MAGIC
            && u32_at(bytes, 4)? == VERSION
            && u64_at(bytes, META_CHECKED_BYTES)? == fnv1a(checked)
            && meta.page_bytes.is_power_of_two()
            && PAGE_BYTES_RANGE.contains(&meta.page_bytes);
        valid.then_some(meta)
    }
}

/// An empty list of free pages.
pub(super) fn freelist() -> Vec<u8> {
    let mut page = header(FREELIST_PAGE, FREELIST, 0, 0).to_vec();
    page.resize(PAGE_BYTES, 0);
    page
}

/// FNV-1a with 64 bits, the format's checksum.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
