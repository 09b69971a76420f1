//! The streams that other members open to this one.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;

use super::Transport;
use super::connect::{Accept, CONNECT_TIMEOUT, Connection, Door, Stream};
use super::frame::{Frame, FrameReader, GREETING_BYTES, Greeting, Purpose, Verdict, Welcome};
use super::peer::hex;
use super::transport::{ASK_TIMEOUT, Shared};

/// Connections to the peers' port: each member has one or two, and questions are short.
const CONNECTIONS_MAX: usize = 256;
/// How long accepting rests after an error instead of spinning.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Calls of one member that may be worked on at a time.
const CALLS_MAX: usize = 1_024;

impl Transport {
    /// Accepts members' streams until the task is aborted.
    pub async fn listen(self, door: impl Into<Door>, accept: Arc<dyn Accept>) {
        let door = door.into();
        let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let connection = match door.accept().await {
                Ok(connection) => connection,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a member's connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let peer = connection.peer();
            let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
                tracing::warn!(?peer, "too many connections to the peers' port; closed this one");
                continue;
            };
            let (shared, accept) = (Arc::clone(&self.shared), Arc::clone(&accept));
            tokio::spawn(async move {
                if let Err(error) = serve(&shared, &*accept, connection).await {
                    tracing::debug!(?peer, %error, "a member's connection ended");
                }
                drop(permit);
            });
        }
    }
}

async fn serve(shared: &Arc<Shared>, accept: &dyn Accept, connection: Connection) -> io::Result<()> {
    let (stream, greeting) = match tokio::time::timeout(CONNECT_TIMEOUT, welcome(shared, accept, connection)).await {
        Ok(welcomed) => welcomed?,
        Err(_) => return Err(io::ErrorKind::TimedOut.into()),
    };
    match greeting.purpose {
        Purpose::Stream => listen_to(shared, greeting.from, stream).await,
        Purpose::Ask => match tokio::time::timeout(ASK_TIMEOUT, answer(shared, stream)).await {
            Ok(answered) => answered,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        },
    }
}

/// Answers the greeting; an error where it was not welcome.
async fn welcome(shared: &Shared, accept: &dyn Accept, connection: Connection) -> io::Result<(Stream, Greeting)> {
    let mut stream = accept.accept(connection).await?;
    let mut bytes = [0; GREETING_BYTES];
    stream.read_exact(&mut bytes).await?;
    let greeting = Greeting::decode(&bytes)?;
    let identity = shared.identity;
    let is_removed = || shared.inbox().is_some_and(|inbox| inbox.is_removed(greeting.from));
    let verdict = match greeting.purpose {
        Purpose::Ask => Verdict::Welcome,
        Purpose::Stream if greeting.cluster != identity.cluster => Verdict::OtherCluster,
        Purpose::Stream if greeting.to != identity.member => Verdict::OtherMember,
        Purpose::Stream if is_removed() => Verdict::Removed,
        Purpose::Stream => Verdict::Welcome,
    };
    let welcome = Welcome {
        verdict,
        cluster: identity.cluster,
        member: identity.member,
    };
    stream.write_all(&welcome.encode()).await?;
    stream.flush().await?;
    if verdict == Verdict::OtherCluster {
        tracing::warn!(
            local = %hex(identity.cluster), remote = %hex(greeting.cluster), member = %hex(greeting.from),
            "request cluster ID mismatch"
        );
    }
    if verdict == Verdict::Welcome {
        Ok((stream, greeting))
    } else {
        Err(io::Error::other(format!("not welcome: {verdict:?}")))
    }
}

async fn answer(shared: &Shared, stream: Stream) -> io::Result<()> {
    let mut reader = FrameReader::new(stream);
    let Some(Frame::Call { id, body }) = reader.next().await? else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let Some(inbox) = shared.inbox() else {
        return Ok(());
    };
    let body = inbox.ask(body).await;
    let mut bytes = BytesMut::new();
    Frame::Answer { id, body }.encode(&mut bytes);
    let mut stream = reader.into_inner();
    stream.write_all(&bytes).await?;
    stream.shutdown().await
}

/// Takes in what a member says until it ends.
async fn listen_to(shared: &Arc<Shared>, from: u64, stream: Stream) -> io::Result<()> {
    let mut reader = FrameReader::new(stream);
    let calls = Arc::new(Semaphore::new(CALLS_MAX));
    while let Some(frame) = reader.next().await? {
        let Some(inbox) = shared.inbox() else {
            return Ok(());
        };
        if inbox.is_removed(from) {
            return Err(io::Error::other("it was removed meanwhile"));
        }
        if let Some(peer) = shared.peer(from) {
            peer.note_heard(Instant::now());
        }
        inbox.observe_traffic(from, 0, frame.weight());
        match frame {
            Frame::Message(bytes) => inbox.message(from, bytes).await,
            Frame::Call { id, body } => {
                let Ok(permit) = Arc::clone(&calls).acquire_owned().await else {
                    return Ok(());
                };
                let shared = Arc::clone(shared);
                tokio::spawn(async move {
                    let body = inbox.call(from, body).await;
                    // Where the stream back is gone the caller finds out by its time.
                    let _sent = shared.send(from, Frame::Answer { id, body });
                    drop(permit);
                });
            }
            Frame::Answer { id, body } => shared.answered(id, body),
            Frame::SnapshotBegin { transfer, about } => shared.transfers.begin(shared, from, transfer, about),
            Frame::SnapshotChunk {
                transfer,
                number,
                last,
                data,
            } => shared.transfers.chunk(from, transfer, number, last, data).await,
            Frame::SnapshotProgress { transfer, progress } => shared.transfers.progress(transfer, progress),
            // That it was heard is noted above.
            Frame::Alive => {}
        }
    }
    Ok(())
}
