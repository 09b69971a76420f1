//! Chunk checksums: CRC32 or CRC32C of every `bytes_per_checksum` bytes, and the header of a replica's meta file.

use crate::Error;
use crate::proto::hdfs::{ChecksumProto, ChecksumTypeProto};

/// The smallest and largest chunk that is accepted; the usual one is 512 bytes.
pub const CHUNK_BYTES_MIN: u32 = 16;
pub const CHUNK_BYTES_MAX: u32 = 1 << 20;
/// Bytes of one checksum.
pub const CRC_BYTES: usize = 4;
/// Bytes of a meta file before its checksums: u16 version 1, u8 type, u32 bytes per checksum.
pub const META_HEADER_BYTES: usize = 7;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Null,
    Crc32,
    Crc32c,
}

/// How a block is checksummed. It belongs to the block: its writer chose it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checksum {
    pub kind: Kind,
    /// Bytes per checksum.
    pub chunk: u32,
}

impl Default for Checksum {
    fn default() -> Self {
        Self {
            kind: Kind::Crc32c,
            chunk: 512,
        }
    }
}

impl Checksum {
    pub fn from_proto(message: &ChecksumProto) -> Result<Self, Error> {
        let kind = match message.r#type() {
            ChecksumTypeProto::ChecksumNull => Kind::Null,
            ChecksumTypeProto::ChecksumCrc32 => Kind::Crc32,
            ChecksumTypeProto::ChecksumCrc32c => Kind::Crc32c,
        };
        Self::checked(kind, message.bytes_per_checksum)
    }

    fn checked(kind: Kind, chunk: u32) -> Result<Self, Error> {
        if !(CHUNK_BYTES_MIN..=CHUNK_BYTES_MAX).contains(&chunk) {
            return Err(Error::Malformed("bytes per checksum must be between 16 and 1048576"));
        }
        Ok(Self { kind, chunk })
    }

    pub fn to_proto(self) -> ChecksumProto {
        ChecksumProto {
            r#type: self.proto_kind() as i32,
            bytes_per_checksum: self.chunk,
        }
    }

    pub fn proto_kind(self) -> ChecksumTypeProto {
        match self.kind {
            Kind::Null => ChecksumTypeProto::ChecksumNull,
            Kind::Crc32 => ChecksumTypeProto::ChecksumCrc32,
            Kind::Crc32c => ChecksumTypeProto::ChecksumCrc32c,
        }
    }

    /// Bytes per checksum, 0 where there are none.
    pub fn crc_bytes(self) -> usize {
        if self.kind == Kind::Null { 0 } else { CRC_BYTES }
    }

    /// How many checksums `length` bytes have that start on a chunk boundary.
    pub fn chunks(self, length: u64) -> u64 {
        length.div_ceil(self.chunk.into())
    }

    /// The checksum of one chunk.
    pub fn crc(self, data: &[u8]) -> u32 {
        match self.kind {
            Kind::Null => 0,
            Kind::Crc32 => crc32fast::hash(data),
            Kind::Crc32c => crc32c::crc32c(data),
        }
    }

    /// The checksums of `data`, which starts on a chunk boundary.
    pub fn compute(self, data: &[u8]) -> Vec<u8> {
        if self.kind == Kind::Null {
            return Vec::new();
        }
        data.chunks(self.chunk as usize)
            .flat_map(|chunk| self.crc(chunk).to_be_bytes())
            .collect()
    }

    /// True if `crcs` are the checksums of `data`, counted from the start of `data`.
    pub fn verify(self, data: &[u8], crcs: &[u8]) -> bool {
        if self.kind == Kind::Null {
            return true;
        }
        let mut expected = crcs.chunks_exact(CRC_BYTES);
        expected.len() * CRC_BYTES == crcs.len()
            && expected.len() as u64 == self.chunks(data.len() as u64)
            && data
                .chunks(self.chunk as usize)
                .all(|chunk| expected.next().is_some_and(|crc| self.crc(chunk).to_be_bytes() == crc))
    }

    pub fn meta_header(self) -> [u8; META_HEADER_BYTES] {
        let chunk = self.chunk.to_be_bytes();
        [0, 1, self.proto_kind() as u8, chunk[0], chunk[1], chunk[2], chunk[3]]
    }

    pub fn parse_meta_header(bytes: &[u8; META_HEADER_BYTES]) -> Result<Self, Error> {
        if bytes[..2] != [0, 1] {
            return Err(Error::Malformed("the meta file's version is not 1"));
        }
        let kind = match bytes[2] {
            0 => Kind::Null,
            1 => Kind::Crc32,
            2 => Kind::Crc32c,
            _ => return Err(Error::Malformed("the meta file has an unknown kind of checksum")),
        };
        Self::checked(kind, u32::from_be_bytes([bytes[3], bytes[4], bytes[5], bytes[6]]))
    }
}

/// CRC of two adjacent pieces from the CRCs of each: `combine(crc(a), crc(b), b.len()) == crc(ab)`.
///
/// Multiplies by x^(8·length) modulo the polynomial, square and multiply, in the reflected representation.
pub fn combine(kind: Kind, first: u32, second: u32, second_length: u64) -> u32 {
    let polynomial = match kind {
        Kind::Null => return 0,
        Kind::Crc32 => 0xEDB8_8320,
        Kind::Crc32c => 0x82F6_3B78,
    };
    let mut power = 0x0080_0000; // x^8: one byte.
    let mut shift = 0x8000_0000; // 1
    let mut length = second_length;
    while length > 0 {
        if length & 1 == 1 {
            shift = multiply(shift, power, polynomial);
        }
        power = multiply(power, power, polynomial);
        length >>= 1;
    }
    multiply(first, shift, polynomial) ^ second
}

fn multiply(a: u32, mut b: u32, polynomial: u32) -> u32 {
    let mut product = 0;
    for bit in (0..32).rev() {
        if a & (1 << bit) != 0 {
            product ^= b;
        }
        b = if b & 1 == 1 { (b >> 1) ^ polynomial } else { b >> 1 };
    }
    product
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn meta_headers_round_trip() {
        let checksum = Checksum {
            kind: Kind::Crc32,
            chunk: 4096,
        };
        assert_eq!(Checksum::parse_meta_header(&checksum.meta_header()).unwrap(), checksum);
        assert!(Checksum::parse_meta_header(&[0, 2, 1, 0, 0, 2, 0]).is_err());
        assert!(Checksum::parse_meta_header(&[0, 1, 1, 0, 0, 0, 0]).is_err());
    }

    #[test]
    fn one_flipped_bit_is_noticed() {
        let checksum = Checksum::default();
        let mut data = vec![3; 1300];
        let crcs = checksum.compute(&data);
        assert_eq!(crcs.len(), 12);
        assert!(checksum.verify(&data, &crcs));
        data[1299] ^= 1;
        assert!(!checksum.verify(&data, &crcs));
        assert!(!checksum.verify(&data[..1024], &crcs));
    }

    proptest! {
        #[test]
        fn combined_checksums_are_those_of_the_whole(
            a in proptest::collection::vec(any::<u8>(), 0..300), b in proptest::collection::vec(any::<u8>(), 0..300)
        ) {
            let whole = [a.clone(), b.clone()].concat();
            for kind in [Kind::Crc32, Kind::Crc32c] {
                let checksum = Checksum { kind, chunk: 512 };
                prop_assert_eq!(combine(kind, checksum.crc(&a), checksum.crc(&b), b.len() as u64), checksum.crc(&whole));
            }
        }
    }
}
