//! Which partition a row goes to.

use crate::Error;
use crate::table::Options;

/// `sink.partitioner`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Kafka's own: by the hash of the key; without one, a batch to a partition in turn.
    Default,
    /// Each subtask to one partition.
    Fixed,
    RoundRobin,
}

impl Kind {
    pub fn read(options: &Options<'_>, keyed: bool) -> Result<Self, Error> {
        match options.text("sink.partitioner") {
            None | Some("default") => Ok(Self::Default),
            Some("fixed") => Ok(Self::Fixed),
            Some("round-robin") if keyed => Err(Error::validate(
                "Currently 'round-robin' partitioner only works when option 'key.fields' is not specified.",
            )),
            Some("round-robin") => Ok(Self::RoundRobin),
            Some(other) => Err(Error::unsupported(format!(
                "The partitioner '{other}' is not supported. Use default, fixed or round-robin."
            ))),
        }
    }
}

/// The partition of a key as Kafka's Java producer has it.
pub fn of_key(key: &[u8], partitions: i32) -> i32 {
    (murmur2(key) & 0x7fff_ffff) % partitions.max(1)
}

/// Murmur2 by Austin Appleby, with Kafka's seed.
fn murmur2(bytes: &[u8]) -> i32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ bytes.len() as u32;
    let mut words = bytes.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |tail, byte| tail << 8 | u32::from(*byte));
        hash = (hash ^ tail).wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    (hash ^ hash >> 15) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of Kafka's own UtilsTest.testMurmur2.
    #[test]
    fn hashes_are_kafkas() {
        assert_eq!(murmur2(b"21"), -973_932_308);
        assert_eq!(murmur2(b"foobar"), -790_332_482);
        assert_eq!(murmur2(b"a-little-bit-long-string"), -985_981_536);
        assert_eq!(murmur2(b"a-little-bit-longer-string"), -1_486_304_829);
        assert_eq!(
            murmur2(b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8"),
            -58_897_971
        );
        assert_eq!(murmur2(b"abc"), 479_470_107);
        assert!((0..3).contains(&of_key(b"JFK", 3)));
    }
}
