//! One client: frames in, answers out, in order.
//!
//! Two tasks: one reads frames and begins what must happen in order (appending), one finishes and writes. Between them is
//! a short queue, so a client may have several requests under way, and one that sends without reading is made to wait.
//!
//! What it stops: a frame that is longer than allowed, or that is announced and does not come; more announced bytes, over
//! all clients, than there is memory for (what counts is what is announced, before any of it is there); a client that
//! does not take its answers; one that is silent for too long. Memory for a frame is taken as its bytes arrive.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use host::{Permit, Shutdown};
use log_broker_wire::frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;

use super::broker::{ANNOUNCED_UNIT, Broker};
use super::dispatch::{self, Begun, Client};

/// Requests of one client that may wait for their turn.
const PIPELINE_MAX: usize = 16;

/// Frames up to this many bytes are not counted against the announced bytes: connections bound them.
const SMALL_FRAME_BYTES: usize = 64 << 10;

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
    #[error("too many bytes are announced by all clients")]
    Crowded,
    #[error(transparent)]
    Request(#[from] dispatch::Error),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// An answer to be finished and written, with what its request holds.
struct Queued {
    begun: Begun,
    _announced: Option<OwnedSemaphorePermit>,
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
    loop {
        let (bytes, announced) = match read_frame(broker, &mut reader, under_way).await {
            Ok(read) => read,
            Err(end) => return end,
        };
        let begun = match dispatch::begin(broker, bytes, client) {
            Ok(begun) => begun,
            Err(error) => return error.into(),
        };
        under_way.fetch_add(1, Ordering::Relaxed);
        if queue
            .send(Queued {
                begun,
                _announced: announced,
            })
            .await
            .is_err()
        {
            return End::Closed;
        }
    }
}

async fn read_frame(
    broker: &Broker,
    reader: &mut OwnedReadHalf,
    under_way: &AtomicUsize,
) -> Result<(Bytes, Option<OwnedSemaphorePermit>), End> {
    let length = read_length(broker, reader, under_way).await?;
    let length_max = usize::try_from(broker.properties.number("socket.request.max.bytes")).unwrap_or(0);
    // The shortest request is key, version and correlation id.
    let len = usize::try_from(length)
        .ok()
        .filter(|len| (8..=length_max.min(frame::FRAME_BYTES_MAX)).contains(len))
        .ok_or(End::Length(length, length_max))?;
    let announced = if len > SMALL_FRAME_BYTES {
        let units = (len / ANNOUNCED_UNIT) as u32;
        let permit = timeout(FRAME_TIME, Arc::clone(&broker.announced).acquire_many_owned(units)).await;
        Some(permit.map_err(|_| End::Crowded)?.map_err(|_| End::Crowded)?)
    } else {
        None
    };
    let limit = FRAME_TIME + Duration::from_secs((len / FRAME_BYTES_PER_SECOND) as u64);
    let bytes = timeout(limit, read_exactly(reader, len))
        .await
        .map_err(|_| End::Slow)??;
    Ok((bytes, announced))
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

async fn read_exactly(reader: &mut OwnedReadHalf, len: usize) -> Result<Bytes, End> {
    let mut frame = BytesMut::with_capacity(len.min(FRAME_RESERVE));
    while frame.len() < len {
        if frame.capacity() == frame.len() {
            frame.reserve((len - frame.len()).min(frame.len()));
        }
        let mut rest = (&mut *reader).take((len - frame.len()) as u64);
        if rest.read_buf(&mut frame).await? == 0 {
            return Err(End::Closed);
        }
    }
    Ok(frame.freeze())
}

async fn write_answers(
    broker: Arc<Broker>,
    mut queued: mpsc::Receiver<Queued>,
    mut writer: OwnedWriteHalf,
    under_way: Arc<AtomicUsize>,
) -> io::Result<()> {
    while let Some(Queued { begun, _announced }) = queued.recv().await {
        let answer = begun.finish(&broker).await.map_err(io::Error::other)?;
        write_segments(&mut writer, &answer).await?;
        under_way.fetch_sub(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Writes all segments, as many at a time as the kernel takes.
async fn write_segments(writer: &mut OwnedWriteHalf, segments: &[Bytes]) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = segments.iter().map(|segment| IoSlice::new(segment)).collect();
    let mut left = slices.as_mut_slice();
    while !left.is_empty() {
        let written = timeout(WRITE_STALL_MAX, writer.write_vectored(left)).await;
        match written.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the client takes no answer"))?? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => IoSlice::advance_slices(&mut left, written),
        }
    }
    Ok(())
}
