//! Reading a number of bytes that a peer announced, without trusting the announcement.
//!
//! A frame's length comes before the frame. A peer that announces 100 MB and sends nothing must not cost 100 MB, so memory
//! grows only with what has arrived: each step reserves at most [`STEP_BYTES`], or as much as is already there. A frame of
//! honest size up to that is read with one allocation. The caller has compared `length` with its own limit before.

use std::io::{self, Read};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Memory that a peer gets for an announcement alone: one page table's worth more than ordinary requests.
pub const STEP_BYTES: usize = 64 << 10;

/// How much more room a buffer gets that holds `filled` of `length` bytes.
fn step(filled: usize, length: usize) -> usize {
    (length - filled).min(STEP_BYTES.max(filled))
}

/// Reads exactly `length` bytes.
///
/// # Errors
/// `UnexpectedEof` when the peer closes before; whatever the stream fails with.
///
/// # Cancellation
/// Not cancel safe: what was read is lost when the future is dropped.
pub async fn read(stream: &mut (impl AsyncRead + Unpin), length: usize) -> io::Result<Bytes> {
    let mut buffer = BytesMut::new();
    while buffer.len() < length {
        if buffer.len() == buffer.capacity() {
            buffer.reserve(step(buffer.len(), length));
        }
        let missing = (length - buffer.len()) as u64;
        if (&mut *stream).take(missing).read_buf(&mut buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(buffer.freeze())
}

/// Reads exactly `length` bytes into `buffer`, in place of what it holds, on a thread that may block.
///
/// # Errors
/// As [`read`].
pub fn read_blocking(stream: &mut impl Read, length: usize, buffer: &mut Vec<u8>) -> io::Result<()> {
    buffer.clear();
    while buffer.len() < length {
        let filled = buffer.len();
        // Room that the buffer has from before costs nothing.
        let room = step(filled, length).max(buffer.capacity().min(length) - filled);
        buffer.resize(filled + room, 0);
        stream.read_exact(&mut buffer[filled..])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|index| (index % 251) as u8).collect()
    }

    #[tokio::test]
    async fn every_length_is_read_exactly() {
        for length in [0, 1, STEP_BYTES - 1, STEP_BYTES, STEP_BYTES + 1, 5 * STEP_BYTES + 7] {
            let mut sent = bytes(length);
            sent.extend_from_slice(b"next");
            let mut stream = &sent[..];
            assert_eq!(read(&mut stream, length).await.unwrap(), bytes(length));
            assert_eq!(stream, b"next", "what follows stays in the stream");
            let (mut stream, mut buffer) = (&sent[..], b"old".to_vec());
            read_blocking(&mut stream, length, &mut buffer).unwrap();
            assert_eq!((buffer, stream), (bytes(length), &b"next"[..]));
        }
    }

    #[tokio::test]
    async fn a_peer_that_closes_early_is_an_error() {
        let sent = bytes(100);
        let early = read(&mut &sent[..], 101).await.unwrap_err();
        assert_eq!(early.kind(), io::ErrorKind::UnexpectedEof);
        let early = read_blocking(&mut &sent[..], 101, &mut Vec::new()).unwrap_err();
        assert_eq!(early.kind(), io::ErrorKind::UnexpectedEof);
    }

    /// Counts what a reader is offered; gives a byte at a time.
    struct Dripping {
        left: usize,
        offered_max: usize,
    }

    impl Read for Dripping {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.offered_max = self.offered_max.max(buffer.len());
            if self.left == 0 {
                return Ok(0);
            }
            self.left -= 1;
            buffer[0] = 0;
            Ok(1)
        }
    }

    #[test]
    fn an_announcement_alone_costs_one_step() {
        let mut stream = Dripping {
            left: 10,
            offered_max: 0,
        };
        let mut buffer = Vec::new();
        assert!(read_blocking(&mut stream, 1 << 30, &mut buffer).is_err());
        assert_eq!(stream.offered_max, STEP_BYTES);
        assert!(buffer.capacity() <= 2 * STEP_BYTES);
    }

    #[test]
    fn memory_is_at_most_twice_what_arrived_and_a_step() {
        let (length, mut filled) = (100_000_000, 0);
        while filled < length {
            let room = filled + step(filled, length);
            assert!(room <= (2 * filled).max(STEP_BYTES) && room <= length);
            filled = room;
        }
    }
}
