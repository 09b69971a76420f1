//! What HDFS says on its wires: bytes to typed messages and back.
//!
//! Three protocols share this crate. **Hadoop RPC** version 9 ([`rpc`]) carries calls to the name node and to a data
//! node's IPC port: a preamble, then frames of varint-delimited protobuf messages. The **data transfer protocol** ([`op`],
//! [`packet`]) carries block contents: an operation, its answer, then packets that hold data and the checksums of its
//! chunks. [`checksum`] computes those. The messages in [`proto`] are compiled from our own `.proto` files, which use the
//! published names and field numbers and hold only what is served; the calls between data node and name node are our own.
//!
//! No I/O, no clock, no async. Every length that came from the network is bounded here, before anything is allocated.
//! Deliberately missing: SASL and encryption (asked for, we answer "not needed"), short-circuit reads, erasure coding.

pub mod checksum;
pub mod op;
pub mod packet;
pub mod rpc;

/// Messages compiled from `proto/`: RPC headers in `common`, ClientProtocol and data transfer in `hdfs`, data node to name
/// node and data node to data node in `cluster`.
#[allow(clippy::all, clippy::pedantic, missing_docs)]
pub mod proto {
    mod hadoop {
        pub mod common {
            include!(concat!(env!("OUT_DIR"), "/hadoop.common.rs"));
        }
        pub mod hdfs {
            include!(concat!(env!("OUT_DIR"), "/hadoop.hdfs.rs"));
        }
    }
    mod bonsai {
        pub mod dfs {
            include!(concat!(env!("OUT_DIR"), "/bonsai.dfs.rs"));
        }
    }
    pub use bonsai::dfs as cluster;
    pub use hadoop::{common, hdfs};
}

/// What is wrong with bytes from the network. Whoever sent them must change; the connection is closed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("a length of {length} bytes, at most {max} are allowed for {what}")]
    TooLong { what: &'static str, length: u64, max: u64 },
    #[error("{0}")]
    Malformed(&'static str),
    #[error("not a valid message: {0}")]
    Message(#[from] prost::DecodeError),
}

/// Reads a varint-delimited message from the front of `bytes`.
pub fn take_delimited<M: prost::Message + Default>(bytes: &mut bytes::Bytes) -> Result<M, Error> {
    let length = prost::decode_length_delimiter(&mut *bytes)?;
    if length > bytes.len() {
        return Err(Error::Malformed("a message is longer than its frame"));
    }
    Ok(M::decode(bytes.split_to(length))?)
}
