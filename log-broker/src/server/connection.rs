//! One client: frames in, answers out, in order.
//!
//! Two tasks: one reads frames and begins what must happen in order (appending), one finishes and writes. Between them is
//! a short queue, so a client may have several requests under way, and one that sends without reading is made to wait.
//!
//! What it stops: a frame that is longer than allowed, or that is announced and does not come; a client that does not take
//! its answers; one that is silent for too long. Memory for a frame is taken as its bytes arrive, within what
//! [`RequestMemory`] has for all clients: what is only announced costs nothing. An answer's records are taken from their
//! file as the client takes them, so a slow reader holds no memory.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use host::{Permit, Shutdown};
use log_broker_wire::frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::broker::Broker;
use super::dispatch::{self, Begun, Client, Piece};
use super::off_worker;
use super::request_memory::{Held, RequestMemory};
use crate::log::Extent;

/// Requests of one client that may wait for their turn.
const PIPELINE_MAX: usize = 16;

/// Frames up to this many bytes are not counted: the number of connections bounds them.
const SMALL_FRAME_BYTES: usize = 64 << 10;

/// Bytes of a file that are sent, or read where the socket takes no files, at a time.
const FILE_CHUNK_BYTES: usize = 256 << 10;

/// How often the pace of a frame under way is measured.
const PACE_TIME: Duration = Duration::from_millis(500);

/// How long a frame may take to arrive, besides its length at [`FRAME_BYTES_PER_SECOND`].
const FRAME_TIME: Duration = Duration::from_secs(10);
/// The slowest sender that is waited for.
const FRAME_BYTES_PER_SECOND: usize = 1 << 20;

/// How long a client may take no byte of its answer.
const WRITE_STALL_MAX: Duration = Duration::from_secs(60);

/// How long the answers under way are finished for a client that has stopped sending.
const FINISH_TIME: Duration = Duration::from_secs(3);

/// Bytes reserved for a frame before any arrived.
const FRAME_RESERVE: usize = 64 << 10;

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("the client closed the connection")]
    Closed,
    #[error("shutdown")]
    Shutdown,
    #[error("idle for too long")]
    Idle,
    #[error("a frame of {0} bytes is announced, which is not within 8 and {1}")]
    Length(i32, usize),
    #[error("a frame did not arrive in time")]
    Slow,
    #[error("a frame arrives slowly while others wait for memory")]
    Crowded,
    #[error(transparent)]
    Request(#[from] dispatch::Error),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// An answer to be finished and written, with what its request holds.
struct Queued {
    begun: Begun,
    _memory: Held,
}

pub(super) async fn run(broker: Arc<Broker>, stream: TcpStream, peer: SocketAddr, permit: Permit, shutdown: Shutdown) {
    broker.metrics().connections.inc();
    let reached = stream.local_addr().map_or(peer.ip(), |address| address.ip());
    let (reader, writer) = stream.into_split();
    let (queue, queued) = mpsc::channel(PIPELINE_MAX);
    let under_way = Arc::new(AtomicUsize::new(0));
    let mut writing = tokio::spawn(write_answers(
        Arc::clone(&broker),
        queued,
        writer,
        Arc::clone(&under_way),
    ));
    let client = Client {
        host: peer.ip().to_string(),
        reached: reached.to_canonical(),
    };
    let end = tokio::select! {
        end = read_requests(&broker, reader, &client, queue, &under_way) => end,
        () = shutdown.requested() => End::Shutdown,
        // The client does not take its answers, or a request could not be answered.
        ended = &mut writing => End::Io(ended.map_or_else(io::Error::other, |end| end.err().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into()))),
    };
    match end {
        End::Closed | End::Shutdown | End::Idle => tracing::debug!(%peer, %end, "connection ended"),
        _ => tracing::info!(%peer, %end, "connection closed"),
    }
    if !writing.is_finished() && timeout(FINISH_TIME, &mut writing).await.is_err() {
        writing.abort();
    }
    broker.metrics().connections.dec();
    drop(permit);
}

/// Reads and begins requests until the connection ends.
async fn read_requests(
    broker: &Arc<Broker>,
    mut reader: OwnedReadHalf,
    client: &Client,
    queue: mpsc::Sender<Queued>,
    under_way: &AtomicUsize,
) -> End {
    let own = RequestMemory::of_connection();
    loop {
        let (bytes, memory) = match read_frame(broker, &own, &mut reader, under_way).await {
            Ok(read) => read,
            Err(end) => return end,
        };
        let begun = match dispatch::begin(broker, bytes, client).await {
            Ok(begun) => begun,
            Err(error) => return error.into(),
        };
        under_way.fetch_add(1, Ordering::Relaxed);
        if queue.send(Queued { begun, _memory: memory }).await.is_err() {
            return End::Closed;
        }
    }
}

async fn read_frame(
    broker: &Broker,
    own: &RequestMemory,
    reader: &mut OwnedReadHalf,
    under_way: &AtomicUsize,
) -> Result<(Bytes, Held), End> {
    let length = read_length(broker, reader, under_way).await?;
    let length_max = usize::try_from(broker.properties.number("socket.request.max.bytes")).unwrap_or(0);
    // The shortest request is key, version and correlation id.
    let len = usize::try_from(length)
        .ok()
        .filter(|len| (8..=length_max.min(frame::FRAME_BYTES_MAX)).contains(len))
        .ok_or(End::Length(length, length_max))?;
    let mut memory = Held::default();
    if len > SMALL_FRAME_BYTES {
        // Of this connection's own: a client with much under way waits for its answers.
        own.take(&mut memory, len).await;
    }
    let limit = FRAME_TIME + Duration::from_secs((len / FRAME_BYTES_PER_SECOND) as u64);
    let arriving = Arriving {
        memory: &broker.request_memory,
        held: &mut memory,
        measured: Instant::now(),
        measured_len: 0,
    };
    let bytes = timeout(limit, arriving.read(reader, len))
        .await
        .map_err(|_| End::Slow)??;
    Ok((bytes, memory))
}

/// The length that begins a frame. A client that waits for an answer is not idle.
async fn read_length(broker: &Broker, reader: &mut OwnedReadHalf, under_way: &AtomicUsize) -> Result<i32, End> {
    let idle_ms = broker.properties.number("connections.max.idle.ms");
    let idle = Duration::from_millis(u64::try_from(idle_ms).unwrap_or(1));
    let mut bytes = [0; 4];
    let mut read = 0;
    while read < bytes.len() {
        match timeout(idle, reader.read(&mut bytes[read..])).await {
            Ok(Ok(0)) => return Err(End::Closed),
            Ok(Ok(n)) => read += n,
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => return Err(End::Closed),
            Ok(Err(error)) => return Err(error.into()),
            Err(_) if under_way.load(Ordering::Relaxed) > 0 => {}
            Err(_) => return Err(End::Idle),
        }
    }
    Ok(i32::from_be_bytes(bytes))
}

/// A frame that is arriving.
struct Arriving<'a> {
    memory: &'a RequestMemory,
    held: &'a mut Held,
    /// When its pace was last measured, and how much was there.
    measured: Instant,
    measured_len: usize,
}

impl Arriving<'_> {
    async fn read(mut self, reader: &mut OwnedReadHalf, len: usize) -> Result<Bytes, End> {
        let mut frame = BytesMut::with_capacity(len.min(FRAME_RESERVE));
        while frame.len() < len {
            if frame.capacity() == frame.len() {
                let more = (len - frame.len()).min(frame.len());
                self.memory.take(self.held, more).await;
                frame.reserve(more);
                // What it waited for memory is not its sender's fault.
                self.measured = Instant::now();
                self.measured_len = frame.len();
            }
            let mut rest = (&mut *reader).take((len - frame.len()) as u64);
            match timeout(PACE_TIME, rest.read_buf(&mut frame)).await {
                Ok(Ok(0)) => return Err(End::Closed),
                Ok(read) => {
                    read?;
                }
                Err(_nothing_came) => {}
            }
            if self.is_slow(frame.len()) && self.memory.is_short() && !self.held.is_empty() {
                return Err(End::Crowded);
            }
        }
        Ok(frame.freeze())
    }

    /// Whether its sender has not kept the pace since that was last measured.
    fn is_slow(&mut self, arrived: usize) -> bool {
        if self.measured.elapsed() < PACE_TIME {
            return false;
        }
        let expected = PACE_TIME.as_secs_f64() * FRAME_BYTES_PER_SECOND as f64;
        let is_slow = ((arrived - self.measured_len) as f64) < expected;
        self.measured = Instant::now();
        self.measured_len = arrived;
        is_slow
    }
}

async fn write_answers(
    broker: Arc<Broker>,
    mut queued: mpsc::Receiver<Queued>,
    mut writer: OwnedWriteHalf,
    under_way: Arc<AtomicUsize>,
) -> io::Result<()> {
    while let Some(Queued { begun, _memory }) = queued.recv().await {
        let answer = begun.finish(&broker).await.map_err(io::Error::other)?;
        write_pieces(&mut writer, answer).await?;
        under_way.fetch_sub(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Writes an answer: what is in memory, and what is in files.
async fn write_pieces(writer: &mut OwnedWriteHalf, pieces: Vec<Piece>) -> io::Result<()> {
    let mut in_memory = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Bytes(bytes) => in_memory.push(bytes),
            Piece::File(extent) => {
                write_segments(writer, &in_memory).await?;
                in_memory.clear();
                send_file(writer, extent).await?;
            }
        }
    }
    write_segments(writer, &in_memory).await
}

/// Sends a part of a file, chunk by chunk as the client takes it: from the page cache to the socket, where that is possible.
async fn send_file(writer: &mut OwnedWriteHalf, extent: Extent) -> io::Result<()> {
    let Extent {
        file,
        mut position,
        mut len,
    } = extent;
    while len > 0 {
        let chunk = len.min(FILE_CHUNK_BYTES);
        if !file.is_cached(position, chunk) {
            // Brings it into the page cache.
            off_worker(|| file.read_exact_at(&mut vec![0; chunk], position))?;
        }
        let stream = writer.as_ref();
        let send = stream.async_io(Interest::WRITABLE, || file.send_to(stream.as_fd(), position, chunk));
        let sent = match within_stall(send).await? {
            Some(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Some(sent) => sent,
            None => {
                let mut bytes = vec![0; chunk];
                file.read_exact_at(&mut bytes, position)?;
                write_segments(writer, &[bytes.into()]).await?;
                chunk
            }
        };
        position += sent as u64;
        len -= sent;
    }
    Ok(())
}

async fn within_stall<T>(write: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let written = timeout(WRITE_STALL_MAX, write).await;
    written.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the client takes no answer"))?
}

/// Writes all segments, as many at a time as the kernel takes.
async fn write_segments(writer: &mut OwnedWriteHalf, segments: &[Bytes]) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = segments.iter().map(|segment| IoSlice::new(segment)).collect();
    let mut left = slices.as_mut_slice();
    while !left.is_empty() {
        match within_stall(writer.write_vectored(left)).await? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => IoSlice::advance_slices(&mut left, written),
        }
    }
    Ok(())
}
