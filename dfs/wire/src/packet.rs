//! Packets of a block's contents.
//!
//! `u32 payload = 4 + checksums + data | u16 header length | PacketHeaderProto | checksums | data`

use prost::Message;

use crate::Error;
use crate::proto::hdfs::PacketHeaderProto;

/// Bytes of the two lengths before the header.
pub const LENGTHS_BYTES: usize = 6;
/// The longest payload: Hadoop's `PacketReceiver.MAX_PACKET_SIZE`.
pub const PAYLOAD_BYTES_MAX: u32 = 16 << 20;
/// The longest header. The usual ones have 25 and 27 bytes.
pub const HEADER_BYTES_MAX: u16 = 256;
/// The sequence number of a heartbeat, which carries nothing and only keeps the connection.
pub const HEARTBEAT_SEQNO: i64 = -1;

/// What the first six bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lengths {
    pub header: usize,
    /// Checksums and data together.
    pub body: usize,
}

impl Lengths {
    pub fn parse(bytes: [u8; LENGTHS_BYTES]) -> Result<Self, Error> {
        let payload = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let header = u16::from_be_bytes([bytes[4], bytes[5]]);
        if payload > PAYLOAD_BYTES_MAX {
            let (length, max) = (payload.into(), PAYLOAD_BYTES_MAX.into());
            return Err(Error::TooLong {
                what: "a packet",
                length,
                max,
            });
        }
        if header > HEADER_BYTES_MAX {
            let (length, max) = (header.into(), HEADER_BYTES_MAX.into());
            return Err(Error::TooLong {
                what: "a packet's header",
                length,
                max,
            });
        }
        if payload < 4 {
            return Err(Error::Malformed("a packet's payload is shorter than its own length"));
        }
        Ok(Self {
            header: header.into(),
            body: payload as usize - 4,
        })
    }
}

/// A packet's header, checked against the length of its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Where its data stands in the block.
    pub offset: u64,
    pub seqno: i64,
    pub last: bool,
    pub data_bytes: usize,
    /// The writer wants everything so far on disk before the acknowledgement.
    pub sync: bool,
}

impl Header {
    pub fn parse(bytes: &[u8], body: usize) -> Result<Self, Error> {
        let message = PacketHeaderProto::decode(bytes)?;
        let data_bytes = usize::try_from(message.data_len).map_err(|_| Error::Malformed("negative packet length"))?;
        if data_bytes > body {
            return Err(Error::Malformed("a packet's data is longer than the packet"));
        }
        let offset = u64::try_from(message.offset_in_block).map_err(|_| Error::Malformed("negative packet offset"))?;
        if offset > 1 << 50 {
            return Err(Error::Malformed("a packet's offset is beyond any block"));
        }
        Ok(Self {
            offset,
            seqno: message.seqno,
            last: message.last_packet_in_block,
            data_bytes,
            sync: message.sync_block(),
        })
    }

    /// Lengths and header, ready to be followed by `checksum_bytes` of checksums and the data.
    pub fn encode(&self, checksum_bytes: usize) -> Vec<u8> {
        let message = PacketHeaderProto {
            offset_in_block: self.offset as i64,
            seqno: self.seqno,
            last_packet_in_block: self.last,
            data_len: self.data_bytes as i32,
            sync_block: self.sync.then_some(true),
        };
        let mut bytes = Vec::with_capacity(LENGTHS_BYTES + 27);
        bytes.extend_from_slice(&((4 + checksum_bytes + self.data_bytes) as u32).to_be_bytes());
        bytes.extend_from_slice(&(message.encoded_len() as u16).to_be_bytes());
        bytes.extend_from_slice(&message.encode_to_vec());
        bytes
    }

    pub fn is_heartbeat(&self) -> bool {
        self.seqno == HEARTBEAT_SEQNO
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn headers_have_hadoops_lengths() {
        let mut header = Header {
            offset: 512,
            seqno: 3,
            last: false,
            data_bytes: 1000,
            sync: false,
        };
        assert_eq!(header.encode(8).len(), LENGTHS_BYTES + 25);
        header.sync = true;
        assert_eq!(header.encode(8).len(), LENGTHS_BYTES + 27);
    }

    #[test]
    fn lengths_are_bounded() {
        assert!(Lengths::parse([0x7f, 0xff, 0xff, 0xff, 0, 25]).is_err());
        assert!(Lengths::parse([0, 0, 0, 100, 0xff, 0xff]).is_err());
        assert!(Lengths::parse([0, 0, 0, 3, 0, 25]).is_err());
    }

    proptest! {
        #[test]
        fn headers_round_trip(offset in 0u64..1 << 40, seqno in -1i64..1 << 40, last: bool, sync: bool, data in 0usize..65536) {
            let header = Header { offset, seqno, last, data_bytes: data, sync };
            let bytes = header.encode(12);
            let lengths = Lengths::parse(bytes[..LENGTHS_BYTES].try_into().unwrap()).unwrap();
            prop_assert_eq!(lengths.body, 12 + data);
            prop_assert_eq!(Header::parse(&bytes[LENGTHS_BYTES..], lengths.body).unwrap(), header);
        }

        #[test]
        fn garbage_is_an_error_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), body in 0usize..100) {
            let _ = Header::parse(&bytes, body);
        }
    }
}
