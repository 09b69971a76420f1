//! The four codecs of record batches, all in safe or audited Rust.
//!
//! Readers are bounded: a batch that unpacks to more than the caller allows is refused before the memory is taken.
//! Zstandard is written at its fastest level only.

use std::io::{self, BufRead, BufReader, Read, Write};

/// How the records of a batch are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Codec {
    #[default]
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// The header of snappy-java's stream, which Kafka's clients write; a raw snappy block is read as well.
const XERIAL_MAGIC: &[u8; 8] = b"\x82SNAPPY\0";
/// Version and oldest compatible version, both 1.
const XERIAL_VERSIONS: &[u8; 8] = &[0, 0, 0, 1, 0, 0, 0, 1];
/// Uncompressed bytes a block, snappy-java's default.
const XERIAL_BLOCK_LEN: usize = 32 << 10;
/// A snappy byte expands to less than this many: the densest copy is 64 bytes from 3.
const SNAPPY_EXPANSION_MAX: usize = 64;

impl Codec {
    pub fn from_number(number: i16) -> Option<Self> {
        Some(match number {
            0 => Codec::None,
            1 => Codec::Gzip,
            2 => Codec::Snappy,
            3 => Codec::Lz4,
            4 => Codec::Zstd,
            _ => return None,
        })
    }

    /// The codec of this name in Kafka's properties.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "uncompressed" => Codec::None,
            "gzip" => Codec::Gzip,
            "snappy" => Codec::Snappy,
            "lz4" => Codec::Lz4,
            "zstd" => Codec::Zstd,
            _ => return None,
        })
    }

    pub fn number(self) -> i16 {
        self as i16
    }

    /// Compresses `bytes`.
    ///
    /// # Errors
    /// When the codec fails.
    pub fn compress(self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Codec::None => Ok(bytes.to_vec()),
            Codec::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(bytes)?;
                encoder.finish()
            }
            Codec::Snappy => compress_xerial(bytes),
            Codec::Lz4 => {
                let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
                encoder.write_all(bytes)?;
                encoder.finish().map_err(io::Error::other)
            }
            Codec::Zstd => Ok(ruzstd::encoding::compress_to_vec(
                bytes,
                ruzstd::encoding::CompressionLevel::Fastest,
            )),
        }
    }

    /// Unpacks `bytes`, to at most `len_max` bytes.
    ///
    /// # Errors
    /// When they are not of this codec, or unpack to more.
    pub fn decompress(self, bytes: &[u8], len_max: usize) -> io::Result<Vec<u8>> {
        match self {
            Codec::None => Ok(bytes.to_vec()),
            Codec::Gzip => read_bounded(flate2::read::MultiGzDecoder::new(bytes), len_max),
            Codec::Snappy => decompress_snappy(bytes, len_max),
            Codec::Lz4 => read_bounded(lz4_flex::frame::FrameDecoder::new(bytes), len_max),
            Codec::Zstd => decompress_zstd(bytes, len_max),
        }
    }
}

impl Codec {
    /// Unpacks `bytes` as a stream, through a buffer of a bounded size; whoever reads stops at `len_max` bytes.
    ///
    /// # Errors
    /// When they do not begin as this codec does.
    pub fn reader(self, bytes: &[u8], len_max: u64) -> io::Result<Box<dyn BufRead + '_>> {
        Ok(match self {
            Codec::None => Box::new(bytes),
            Codec::Gzip => Box::new(BufReader::new(flate2::read::MultiGzDecoder::new(bytes))),
            Codec::Snappy => Box::new(SnappyReader::new(bytes, len_max)?),
            Codec::Lz4 => Box::new(lz4_flex::frame::FrameDecoder::new(bytes)),
            Codec::Zstd => Box::new(BufReader::new(ZstdReader {
                rest: bytes,
                frame: None,
            })),
        })
    }
}

/// Reads Zstandard frames, one behind the other.
struct ZstdReader<'a> {
    rest: &'a [u8],
    frame: Option<ZstdFrame<'a>>,
}

type ZstdFrame<'a> = ruzstd::decoding::StreamingDecoder<&'a [u8], ruzstd::decoding::FrameDecoder>;

impl Read for ZstdReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(frame) = &mut self.frame {
                let read = frame.read(buffer)?;
                if read > 0 || buffer.is_empty() {
                    return Ok(read);
                }
                self.rest = frame.get_ref();
                self.frame = None;
            }
            if self.rest.is_empty() {
                return Ok(0);
            }
            let frame = ruzstd::decoding::StreamingDecoder::new(self.rest)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            self.frame = Some(frame);
        }
    }
}

/// Reads blocks of snappy, each unpacked as a whole.
struct SnappyReader<'a> {
    /// Blocks behind their lengths; or the one block, where there is no stream around it.
    rest: &'a [u8],
    framed: bool,
    block: Vec<u8>,
    read: usize,
    len_max: usize,
}

impl<'a> SnappyReader<'a> {
    fn new(bytes: &'a [u8], len_max: u64) -> io::Result<Self> {
        let framed = bytes.strip_prefix(XERIAL_MAGIC);
        let rest = match framed {
            None => bytes,
            Some(framed) => framed
                .get(XERIAL_VERSIONS.len()..)
                .ok_or(io::ErrorKind::UnexpectedEof)?,
        };
        Ok(Self {
            rest,
            framed: framed.is_some(),
            block: Vec::new(),
            read: 0,
            len_max: usize::try_from(len_max).unwrap_or(usize::MAX),
        })
    }
}

impl Read for SnappyReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for SnappyReader<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.read == self.block.len() && !self.rest.is_empty() {
            let block = if self.framed {
                let (length, rest) = self.rest.split_first_chunk().ok_or(io::ErrorKind::UnexpectedEof)?;
                let length = u32::from_be_bytes(*length) as usize;
                let (block, rest) = rest.split_at_checked(length).ok_or(io::ErrorKind::UnexpectedEof)?;
                self.rest = rest;
                block
            } else {
                std::mem::take(&mut self.rest)
            };
            self.block.clear();
            self.read = 0;
            snappy_block(block, &mut self.block, self.len_max)?;
        }
        Ok(&self.block[self.read..])
    }

    fn consume(&mut self, bytes: usize) {
        self.read = (self.read + bytes).min(self.block.len());
    }
}

fn too_long(len_max: usize) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the batch unpacks to more than {len_max} bytes"),
    )
}

fn read_bounded(reader: impl Read, len_max: usize) -> io::Result<Vec<u8>> {
    let mut unpacked = Vec::new();
    reader.take(len_max as u64 + 1).read_to_end(&mut unpacked)?;
    if unpacked.len() > len_max {
        Err(too_long(len_max))
    } else {
        Ok(unpacked)
    }
}

/// Zstandard frames, one behind the other.
fn decompress_zstd(mut bytes: &[u8], len_max: usize) -> io::Result<Vec<u8>> {
    let mut unpacked = Vec::new();
    while !bytes.is_empty() {
        let decoder = ruzstd::decoding::StreamingDecoder::new(&mut bytes)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
        unpacked.extend(read_bounded(decoder, len_max - unpacked.len())?);
    }
    Ok(unpacked)
}

fn compress_xerial(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut packed = [XERIAL_MAGIC.as_slice(), XERIAL_VERSIONS].concat();
    let mut encoder = snap::raw::Encoder::new();
    for block in bytes.chunks(XERIAL_BLOCK_LEN) {
        let block = encoder.compress_vec(block)?;
        packed.extend_from_slice(&(block.len() as u32).to_be_bytes());
        packed.extend_from_slice(&block);
    }
    Ok(packed)
}

fn decompress_snappy(bytes: &[u8], len_max: usize) -> io::Result<Vec<u8>> {
    let mut unpacked = Vec::new();
    let Some(framed) = bytes.strip_prefix(XERIAL_MAGIC) else {
        snappy_block(bytes, &mut unpacked, len_max)?;
        return Ok(unpacked);
    };
    let mut blocks = framed
        .get(XERIAL_VERSIONS.len()..)
        .ok_or(io::ErrorKind::UnexpectedEof)?;
    while let Some((length, rest)) = blocks.split_first_chunk() {
        let length = u32::from_be_bytes(*length) as usize;
        let (block, rest) = rest.split_at_checked(length).ok_or(io::ErrorKind::UnexpectedEof)?;
        snappy_block(block, &mut unpacked, len_max)?;
        blocks = rest;
    }
    if blocks.is_empty() {
        Ok(unpacked)
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

fn snappy_block(block: &[u8], unpacked: &mut Vec<u8>, len_max: usize) -> io::Result<()> {
    let length = snap::raw::decompress_len(block)?;
    if length > len_max - unpacked.len() || length > block.len().saturating_mul(SNAPPY_EXPANSION_MAX) {
        return Err(too_long(len_max));
    }
    let start = unpacked.len();
    unpacked.resize(start + length, 0);
    snap::raw::Decoder::new().decompress(block, &mut unpacked[start..])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text() -> Vec<u8> {
        (0..20_000)
            .flat_map(|i| format!("line {} ", i % 977).into_bytes())
            .collect()
    }

    #[test]
    fn what_is_packed_unpacks() {
        for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4] {
            for bytes in [text(), Vec::new(), b"x".to_vec()] {
                let packed = codec.compress(&bytes).unwrap();
                assert_eq!(codec.decompress(&packed, 1 << 20).unwrap(), bytes, "{codec:?}");
            }
        }
    }

    #[test]
    fn zstd_is_read() {
        let packed = ruzstd::encoding::compress_to_vec(text().as_slice(), ruzstd::encoding::CompressionLevel::Fastest);
        assert_eq!(Codec::Zstd.decompress(&packed, 1 << 20).unwrap(), text());
        assert!(Codec::Zstd.decompress(&packed, 1000).is_err());
        assert!(Codec::Zstd.decompress(&packed[..packed.len() / 2], 1 << 20).is_err());
    }

    #[test]
    fn a_stream_reads_what_was_packed() {
        let zstd = |bytes: &[u8]| ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest);
        let raw = snap::raw::Encoder::new().compress_vec(&text()).unwrap();
        for (codec, packed) in [
            (Codec::Gzip, Codec::Gzip.compress(&text()).unwrap()),
            (Codec::Snappy, Codec::Snappy.compress(&text()).unwrap()),
            (Codec::Snappy, raw),
            (Codec::Lz4, Codec::Lz4.compress(&text()).unwrap()),
            (Codec::Zstd, [zstd(&text()[..70_000]), zstd(&text()[70_000..])].concat()),
        ] {
            let mut unpacked = Vec::new();
            codec
                .reader(&packed, 1 << 20)
                .unwrap()
                .read_to_end(&mut unpacked)
                .unwrap();
            assert!(unpacked == text(), "{codec:?}");
            // The last bytes may be an end mark that no reader needs.
            for cut in [1, packed.len() / 3, packed.len() - 9] {
                let read = codec
                    .reader(&packed[..cut], 1 << 20)
                    .and_then(|mut reader| reader.read_to_end(&mut Vec::new()));
                assert!(
                    read.is_err() || read.is_ok_and(|len| len < text().len()),
                    "{codec:?} {cut}"
                );
            }
        }
    }

    #[test]
    fn a_raw_snappy_block_is_read() {
        let packed = snap::raw::Encoder::new().compress_vec(&text()).unwrap();
        assert_eq!(Codec::Snappy.decompress(&packed, 1 << 20).unwrap(), text());
    }

    #[test]
    fn a_bomb_is_refused() {
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4] {
            let packed = codec.compress(&vec![0; 1 << 20]).unwrap();
            assert!(codec.decompress(&packed, 1000).is_err(), "{codec:?}");
        }
        // A snappy block that only claims to be long.
        assert!(Codec::Snappy.decompress(&[0xff, 0xff, 0xff, 0x7f, 0], 1 << 30).is_err());
    }
}
