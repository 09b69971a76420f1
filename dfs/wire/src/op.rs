//! Operations of the data transfer protocol: `u16 version 28 | u8 operation | delimited message`.

use prost::Message;

use crate::proto::hdfs::{BlockOpResponseProto, Status};
use crate::{Error, proto};

pub const VERSION: u16 = 28;
/// Bytes before the delimited message: version and operation.
pub const PREFIX_BYTES: usize = 3;
/// The longest operation or answer to one. Hadoop's own are below 10 KB, block tokens included.
pub const MESSAGE_BYTES_MAX: u64 = 1 << 20;

/// What a client asks of a data node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    WriteBlock = 80,
    ReadBlock = 81,
    BlockChecksum = 85,
    TransferBlock = 86,
}

impl Op {
    /// `Ok(None)` is an operation that exists but is not served.
    pub fn parse(prefix: [u8; PREFIX_BYTES]) -> Result<Option<Self>, Error> {
        if u16::from_be_bytes([prefix[0], prefix[1]]) != VERSION {
            return Err(Error::Malformed(
                "only version 28 of the data transfer protocol is spoken here",
            ));
        }
        Ok(match prefix[2] {
            80 => Some(Self::WriteBlock),
            81 => Some(Self::ReadBlock),
            85 => Some(Self::BlockChecksum),
            86 => Some(Self::TransferBlock),
            82..=84 | 87..=90 | 127 => None,
            _ => return Err(Error::Malformed("an unknown data transfer operation")),
        })
    }

    /// The bytes that open this operation with `message`.
    pub fn encode(self, message: &impl Message) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(PREFIX_BYTES + message.encoded_len() + 5);
        bytes.extend_from_slice(&VERSION.to_be_bytes());
        bytes.push(self as u8);
        bytes.extend_from_slice(&message.encode_length_delimited_to_vec());
        bytes
    }
}

/// Decodes a varint byte by byte: feed bytes until it returns a length.
#[derive(Debug, Default)]
pub struct LengthReader {
    value: u64,
    shift: u32,
}

impl LengthReader {
    /// `Some(length)` after the last byte; an error if it is longer than `max`.
    pub fn push(&mut self, byte: u8, max: u64) -> Result<Option<usize>, Error> {
        if self.shift > 28 {
            return Err(Error::Malformed("a length has too many bytes"));
        }
        self.value |= u64::from(byte & 0x7f) << self.shift;
        self.shift += 7;
        if byte & 0x80 != 0 {
            return Ok(None);
        }
        if self.value > max {
            return Err(Error::TooLong {
                what: "a data transfer message",
                length: self.value,
                max,
            });
        }
        Ok(Some(self.value as usize))
    }
}

/// The delimited answer to an operation that failed.
pub fn failure(status: Status, message: &str) -> Vec<u8> {
    BlockOpResponseProto {
        status: status as i32,
        message: Some(message.to_owned()),
        ..Default::default()
    }
    .encode_length_delimited_to_vec()
}

/// The delimited answer to a write whose pipeline stands, or fails at `first_bad_link`.
pub fn write_answer(status: Status, first_bad_link: &str) -> Vec<u8> {
    BlockOpResponseProto {
        status: status as i32,
        first_bad_link: Some(first_bad_link.to_owned()),
        ..Default::default()
    }
    .encode_length_delimited_to_vec()
}

/// A block token: with security off its fields are there and empty.
pub fn no_token() -> proto::common::TokenProto {
    proto::common::TokenProto::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_told_apart() {
        assert_eq!(Op::parse([0, 28, 81]).unwrap(), Some(Op::ReadBlock));
        assert_eq!(Op::parse([0, 28, 87]).unwrap(), None);
        assert!(Op::parse([0, 27, 81]).is_err());
        assert!(Op::parse([b'G', b'E', b'T']).is_err());
    }

    #[test]
    fn a_length_is_bounded_before_it_is_believed() {
        let mut reader = LengthReader::default();
        assert_eq!(reader.push(0x85, 1000).unwrap(), None);
        assert_eq!(reader.push(0x01, 1000).unwrap(), Some(133));
        let mut reader = LengthReader::default();
        let results: Vec<_> = [0xff, 0xff, 0xff, 0xff, 0x7f]
            .map(|byte| reader.push(byte, 1000))
            .into();
        assert!(results.last().unwrap().is_err());
    }
}
