//! What two members say to each other, as bytes.
//!
//! ```text
//!  greeting   magic (8) | version u16 | purpose u8 | cluster u64 | from u64 | to u64
//!  welcome    verdict u8 | cluster u64 | member u64
//!  frame      length u32 | kind u8 | body (length - 1)
//! ```
//!
//! Numbers are big-endian. A stream carries the frames of the member that opened it; what is answered comes on the stream
//! that the other one opens. No length is believed beyond [`FRAME_BYTES_MAX`], and the memory for a long frame grows with
//! the bytes that came, not with those that were announced.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::consensus::MESSAGE_BYTES_MAX;

/// The longest frame, in bytes: the longest message of consensus and what is around it.
pub const FRAME_BYTES_MAX: usize = MESSAGE_BYTES_MAX + 1_024;
/// How much room for a frame is made ahead of its bytes.
const READ_BYTES: usize = 256 << 10;
const LENGTH_BYTES: usize = 4;

const MAGIC: &[u8; 8] = b"bonsai-p";
const VERSION: u16 = 1;
pub(super) const GREETING_BYTES: usize = 35;
pub(super) const WELCOME_BYTES: usize = 17;

/// Why a member connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To be a member's stream.
    Stream,
    /// To ask one question, perhaps without knowing the cluster yet.
    Ask,
}

/// The first bytes of the one that connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Greeting {
    pub purpose: Purpose,
    pub cluster: u64,
    pub from: u64,
    pub to: u64,
}

/// What is answered to a greeting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Welcome,
    OtherCluster,
    OtherMember,
    /// Anyone who greets was removed from the cluster.
    Removed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Welcome {
    pub verdict: Verdict,
    pub cluster: u64,
    pub member: u64,
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the other end sent {what}"))
}

impl Greeting {
    pub fn encode(&self) -> [u8; GREETING_BYTES] {
        let mut bytes = [0; GREETING_BYTES];
        let mut rest = &mut bytes[..];
        rest.put_slice(MAGIC);
        rest.put_u16(VERSION);
        rest.put_u8(match self.purpose {
            Purpose::Stream => 1,
            Purpose::Ask => 2,
        });
        rest.put_u64(self.cluster);
        rest.put_u64(self.from);
        rest.put_u64(self.to);
        bytes
    }

    pub fn decode(bytes: &[u8; GREETING_BYTES]) -> io::Result<Self> {
        let mut rest = &bytes[..];
        if &rest.copy_to_bytes(MAGIC.len())[..] != MAGIC {
            return Err(malformed("something that is not a member's greeting"));
        }
        let version = rest.get_u16();
        if version != VERSION {
            return Err(malformed(&format!("a greeting of version {version}, not {VERSION}")));
        }
        let purpose = match rest.get_u8() {
            1 => Purpose::Stream,
            2 => Purpose::Ask,
            _ => return Err(malformed("a greeting for an unknown purpose")),
        };
        Ok(Self {
            purpose,
            cluster: rest.get_u64(),
            from: rest.get_u64(),
            to: rest.get_u64(),
        })
    }
}

impl Welcome {
    pub fn encode(&self) -> [u8; WELCOME_BYTES] {
        let mut bytes = [0; WELCOME_BYTES];
        let mut rest = &mut bytes[..];
        rest.put_u8(match self.verdict {
            Verdict::Welcome => 0,
            Verdict::OtherCluster => 1,
            Verdict::OtherMember => 2,
            Verdict::Removed => 3,
        });
        rest.put_u64(self.cluster);
        rest.put_u64(self.member);
        bytes
    }

    pub fn decode(bytes: &[u8; WELCOME_BYTES]) -> io::Result<Self> {
        let mut rest = &bytes[..];
        let verdict = match rest.get_u8() {
            0 => Verdict::Welcome,
            1 => Verdict::OtherCluster,
            2 => Verdict::OtherMember,
            3 => Verdict::Removed,
            _ => return Err(malformed("an unknown answer to the greeting")),
        };
        Ok(Self {
            verdict,
            cluster: rest.get_u64(),
            member: rest.get_u64(),
        })
    }
}

/// How far the receiver of a snapshot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Send the chunk with this number and those behind it.
    Wants(u64),
    /// All of it is there, durably.
    Complete,
    /// Something went wrong there; begin again later.
    Refused,
}

/// One thing said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    /// Of consensus.
    Message(Bytes),
    /// To be answered with the same id.
    Call {
        id: u64,
        body: Bytes,
    },
    Answer {
        id: u64,
        body: Bytes,
    },
    /// A snapshot's chunks follow; `about` says what it is.
    SnapshotBegin {
        transfer: u64,
        about: Bytes,
    },
    SnapshotChunk {
        transfer: u64,
        number: u64,
        last: bool,
        data: Bytes,
    },
    SnapshotProgress {
        transfer: u64,
        progress: Progress,
    },
    /// Nothing else was said for a while.
    Alive,
}

impl Frame {
    /// Bytes of what it carries: for bounds on queues.
    pub fn weight(&self) -> usize {
        match self {
            Self::Message(body) | Self::Call { body, .. } | Self::Answer { body, .. } => body.len(),
            Self::SnapshotBegin { about, .. } => about.len(),
            Self::SnapshotChunk { data, .. } => data.len(),
            Self::SnapshotProgress { .. } | Self::Alive => 0,
        }
    }

    /// Appends the frame's bytes.
    pub fn encode(&self, buffer: &mut BytesMut) {
        let start = buffer.len();
        buffer.put_u32(0);
        match self {
            Self::Message(body) => {
                buffer.put_u8(1);
                buffer.put_slice(body);
            }
            Self::Call { id, body } => {
                buffer.put_u8(2);
                buffer.put_u64(*id);
                buffer.put_slice(body);
            }
            Self::Answer { id, body } => {
                buffer.put_u8(3);
                buffer.put_u64(*id);
                buffer.put_slice(body);
            }
            Self::SnapshotBegin { transfer, about } => {
                buffer.put_u8(4);
                buffer.put_u64(*transfer);
                buffer.put_slice(about);
            }
            Self::SnapshotChunk {
                transfer,
                number,
                last,
                data,
            } => {
                buffer.put_u8(5);
                buffer.put_u64(*transfer);
                buffer.put_u64(*number);
                buffer.put_u8(u8::from(*last));
                buffer.put_slice(data);
            }
            Self::SnapshotProgress { transfer, progress } => {
                buffer.put_u8(6);
                buffer.put_u64(*transfer);
                let (state, wants) = match progress {
                    Progress::Wants(number) => (0, *number),
                    Progress::Complete => (1, 0),
                    Progress::Refused => (2, 0),
                };
                buffer.put_u8(state);
                buffer.put_u64(wants);
            }
            Self::Alive => buffer.put_u8(7),
        }
        let length =
            u32::try_from(buffer.len() - start - LENGTH_BYTES).expect("a frame is at most FRAME_BYTES_MAX long");
        buffer[start..start + LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
    }

    /// The frame within `body`, which is what stood behind its length.
    pub fn decode(mut body: Bytes) -> io::Result<Self> {
        let short = |_| malformed("a frame that is too short");
        let kind = body.try_get_u8().map_err(short)?;
        Ok(match kind {
            1 => Self::Message(body),
            2 => Self::Call {
                id: body.try_get_u64().map_err(short)?,
                body,
            },
            3 => Self::Answer {
                id: body.try_get_u64().map_err(short)?,
                body,
            },
            4 => Self::SnapshotBegin {
                transfer: body.try_get_u64().map_err(short)?,
                about: body,
            },
            5 => Self::SnapshotChunk {
                transfer: body.try_get_u64().map_err(short)?,
                number: body.try_get_u64().map_err(short)?,
                last: body.try_get_u8().map_err(short)? != 0,
                data: body,
            },
            6 => {
                let transfer = body.try_get_u64().map_err(short)?;
                let state = body.try_get_u8().map_err(short)?;
                let wants = body.try_get_u64().map_err(short)?;
                let progress = match state {
                    0 => Progress::Wants(wants),
                    1 => Progress::Complete,
                    2 => Progress::Refused,
                    _ => return Err(malformed("an unknown state of a snapshot")),
                };
                Self::SnapshotProgress { transfer, progress }
            }
            7 => Self::Alive,
            _ => return Err(malformed(&format!("a frame of the unknown kind {kind}"))),
        })
    }
}

/// Takes frames off a stream.
#[derive(Debug)]
pub(super) struct FrameReader<R> {
    stream: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub fn new(stream: R) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
        }
    }

    pub fn into_inner(self) -> R {
        self.stream
    }

    /// The next frame; `None` at the end of the stream.
    pub async fn next(&mut self) -> io::Result<Option<Frame>> {
        loop {
            let mut wanted = LENGTH_BYTES;
            if let Some(length) = self.buffer.get(..LENGTH_BYTES) {
                let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize;
                if length > FRAME_BYTES_MAX {
                    return Err(malformed(&format!(
                        "a frame of {length} bytes, more than {FRAME_BYTES_MAX}"
                    )));
                }
                wanted += length;
                if self.buffer.len() >= wanted {
                    self.buffer.advance(LENGTH_BYTES);
                    return Frame::decode(self.buffer.split_to(length).freeze()).map(Some);
                }
            }
            self.buffer
                .reserve((wanted - self.buffer.len()).clamp(4096, READ_BYTES));
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames() -> Vec<Frame> {
        let body = Bytes::from_static(b"some body");
        vec![
            Frame::Message(body.clone()),
            Frame::Call {
                id: 7,
                body: body.clone(),
            },
            Frame::Answer {
                id: 8,
                body: Bytes::new(),
            },
            Frame::SnapshotBegin {
                transfer: 1,
                about: body.clone(),
            },
            Frame::SnapshotChunk {
                transfer: 1,
                number: 3,
                last: true,
                data: body,
            },
            Frame::SnapshotProgress {
                transfer: 1,
                progress: Progress::Wants(9),
            },
            Frame::SnapshotProgress {
                transfer: 1,
                progress: Progress::Complete,
            },
            Frame::SnapshotProgress {
                transfer: 1,
                progress: Progress::Refused,
            },
        ]
    }

    #[tokio::test]
    async fn frames_come_back_in_order_however_they_are_cut() {
        let mut bytes = BytesMut::new();
        for frame in frames() {
            frame.encode(&mut bytes);
        }
        for piece in 1..bytes.len() {
            let (mut near, far) = tokio::io::duplex(piece);
            let sent = bytes.clone();
            let writing = tokio::spawn(async move { tokio::io::AsyncWriteExt::write_all(&mut near, &sent).await });
            let mut reader = FrameReader::new(far);
            for expected in frames() {
                assert_eq!(reader.next().await.unwrap(), Some(expected));
            }
            assert_eq!(reader.next().await.unwrap(), None);
            writing.await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn a_length_beyond_the_limit_is_refused_before_it_is_believed() {
        let mut reader = FrameReader::new(&[0xFF, 0xFF, 0xFF, 0xFF, 1][..]);
        let error = reader.next().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(reader.buffer.capacity() <= READ_BYTES);
    }

    #[test]
    fn greetings_come_back() {
        let greeting = Greeting {
            purpose: Purpose::Ask,
            cluster: 1,
            from: 2,
            to: u64::MAX,
        };
        assert_eq!(Greeting::decode(&greeting.encode()).unwrap(), greeting);
        for verdict in [
            Verdict::Welcome,
            Verdict::OtherCluster,
            Verdict::OtherMember,
            Verdict::Removed,
        ] {
            let welcome = Welcome {
                verdict,
                cluster: 5,
                member: 6,
            };
            assert_eq!(Welcome::decode(&welcome.encode()).unwrap(), welcome);
        }
        let mut http = [b' '; GREETING_BYTES];
        http[..14].copy_from_slice(b"GET / HTTP/1.1");
        assert!(Greeting::decode(&http).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_decoding_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _decoded_or_refused = Frame::decode(Bytes::from(bytes));
        }
    }
}
