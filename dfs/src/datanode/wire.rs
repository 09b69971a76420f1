//! Blocking reads and writes of the data transfer protocol.
//!
//! Block contents move on threads of their own with blocking sockets: a thread that waits for the disk holds nobody up,
//! and `sendfile` needs no ceremony.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::Bytes;
use dfs_wire::op::{LengthReader, MESSAGE_BYTES_MAX};
use dfs_wire::packet::{Header, LENGTHS_BYTES, Lengths};
use host::bounded;
use prost::Message;

/// Writers send a heartbeat every 30 s; one that is silent for four of them is gone.
pub const READ_TIMEOUT: Duration = Duration::from_secs(120);
/// A peer that takes nothing for so long is gone.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(120);
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A data node that says nothing for so long has failed: the default of HDFS' `dfs.client.socket-timeout`.
pub const NODE_TIMEOUT: Duration = Duration::from_secs(60);
/// And for each node behind it so much longer: HDFS' `READ_TIMEOUT_EXTENSION`.
const NODE_TIMEOUT_EXTENSION: Duration = Duration::from_secs(5);

/// How long the next of `nodes` data nodes in a pipeline may be silent, where one alone may be for `base`. The further
/// down the pipeline, the shorter: so the node right before the one that does not answer is the first to give up, and names it. A client that writes to three nodes
/// waits for 75 s, the first of them for 70 s, the second for 65 s.
pub fn node_timeout(base: Duration, nodes: usize) -> Duration {
    base + NODE_TIMEOUT_EXTENSION * nodes.min(100) as u32
}

pub fn invalid(error: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

/// Connects to a data node, whose answers may take so long.
pub fn connect_within(address: &str, read_timeout: Duration) -> io::Result<TcpStream> {
    let stream = connect(address)?;
    stream.set_read_timeout(Some(read_timeout))?;
    Ok(stream)
}

/// Connects to the address of a data node.
pub fn connect(address: &str) -> io::Result<TcpStream> {
    let resolved = std::net::ToSocketAddrs::to_socket_addrs(address)?
        .next()
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{address} has no address")))?;
    let stream = TcpStream::connect_timeout(&resolved, CONNECT_TIMEOUT)?;
    prepare(&stream)?;
    Ok(stream)
}

pub fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(READ_TIMEOUT))?;
    stream.set_write_timeout(Some(WRITE_TIMEOUT))
}

/// Reads a delimited message.
pub fn read_message<M: Message + Default>(stream: &mut impl Read) -> io::Result<M> {
    let mut length = LengthReader::default();
    let length = loop {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        if let Some(length) = length.push(byte[0], MESSAGE_BYTES_MAX).map_err(invalid)? {
            break length;
        }
    };
    let mut bytes = Vec::new();
    bounded::read_blocking(stream, length, &mut bytes)?;
    M::decode(Bytes::from(bytes)).map_err(invalid)
}

/// A packet as it came: the raw bytes can be passed on.
#[derive(Debug, Default)]
pub struct Packet {
    /// Lengths and header.
    pub head: Vec<u8>,
    /// Checksums and data.
    pub body: Vec<u8>,
    crc_bytes: usize,
}

impl Packet {
    /// Reads the next packet into this one's buffers.
    pub fn read(&mut self, stream: &mut impl Read) -> io::Result<Header> {
        let mut lengths = [0; LENGTHS_BYTES];
        stream.read_exact(&mut lengths)?;
        let parsed = Lengths::parse(lengths).map_err(invalid)?;
        self.head.clear();
        self.head.extend_from_slice(&lengths);
        self.head.resize(LENGTHS_BYTES + parsed.header, 0);
        stream.read_exact(&mut self.head[LENGTHS_BYTES..])?;
        let header = Header::parse(&self.head[LENGTHS_BYTES..], parsed.body).map_err(invalid)?;
        bounded::read_blocking(stream, parsed.body, &mut self.body)?;
        self.crc_bytes = parsed.body - header.data_bytes;
        Ok(header)
    }

    pub fn crcs(&self) -> &[u8] {
        &self.body[..self.crc_bytes]
    }

    pub fn data(&self) -> &[u8] {
        &self.body[self.crc_bytes..]
    }

    pub fn forward(&self, stream: &mut impl Write) -> io::Result<()> {
        write_both(stream, &self.head, &self.body)
    }
}

/// Writes two pieces with as few system calls as it takes.
pub fn write_both(stream: &mut impl Write, first: &[u8], second: &[u8]) -> io::Result<()> {
    let slices = [io::IoSlice::new(first), io::IoSlice::new(second)];
    let written = stream.write_vectored(&slices)?;
    if written < first.len() {
        stream.write_all(&first[written..])?;
        return stream.write_all(second);
    }
    stream.write_all(&second[written - first.len()..])
}
