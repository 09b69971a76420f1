//! The data transfer port: connections wait here between operations, without a thread; an operation gets one.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use dfs_wire::op::{LengthReader, MESSAGE_BYTES_MAX, Op, PREFIX_BYTES};
use dfs_wire::proto::hdfs::{OpBlockChecksumProto, OpReadBlockProto, OpTransferBlockProto, OpWriteBlockProto, Status};
use host::{Listener, Shutdown};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::wire::{invalid, prepare};
use super::{DataNode, STACK_BYTES, receive, send, transfer};

/// A new connection must begin an operation within this time.
const FIRST_TIMEOUT: Duration = Duration::from_secs(60);
/// So long a connection is kept for another operation: longer than stock clients keep theirs, which is 3 s.
const KEEP_TIMEOUT: Duration = Duration::from_secs(5);
/// An operation that was begun must be complete within this time.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(20);

/// An operation with its argument.
enum Operation {
    Write(Box<OpWriteBlockProto>),
    Read(Box<OpReadBlockProto>),
    Checksum(Box<OpBlockChecksumProto>),
    Transfer(Box<OpTransferBlockProto>),
}

pub async fn serve(listener: Listener, node: Arc<DataNode>, shutdown: Shutdown) {
    loop {
        let (stream, peer, permit) = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.requested() => return,
        };
        let node = Arc::clone(&node);
        tokio::spawn(async move {
            let _permit = permit;
            node.connections.fetch_add(1, Ordering::Relaxed);
            if let Err(error) = connection(stream, &node).await {
                tracing::debug!(%peer, %error, "data connection closed");
            }
            node.connections.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

async fn connection(mut stream: TcpStream, node: &Arc<DataNode>) -> io::Result<()> {
    let mut wait = FIRST_TIMEOUT;
    loop {
        let mut prefix = [0; PREFIX_BYTES];
        match tokio::time::timeout(wait, stream.read_exact(&mut prefix)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Ok(Err(error)) => return Err(error),
            Err(_) => return Ok(()),
        }
        let op = Op::parse(prefix).map_err(invalid)?;
        let message = tokio::time::timeout(MESSAGE_TIMEOUT, read_message(&mut stream)).await??;
        let operation = match op {
            Some(Op::WriteBlock) => Operation::Write(Box::new(OpWriteBlockProto::decode(message)?)),
            Some(Op::ReadBlock) => Operation::Read(Box::new(OpReadBlockProto::decode(message)?)),
            Some(Op::BlockChecksum) => Operation::Checksum(Box::new(OpBlockChecksumProto::decode(message)?)),
            Some(Op::TransferBlock) => Operation::Transfer(Box::new(OpTransferBlockProto::decode(message)?)),
            None => {
                let answer = dfs_wire::op::failure(Status::ErrorUnsupported, "this operation is not supported");
                stream.write_all(&answer).await?;
                return Ok(());
            }
        };
        stream = on_thread(stream, Arc::clone(node), operation).await?;
        wait = KEEP_TIMEOUT;
    }
}

async fn read_message(stream: &mut TcpStream) -> io::Result<Bytes> {
    let mut reader = LengthReader::default();
    let length = loop {
        if let Some(length) = reader
            .push(stream.read_u8().await?, MESSAGE_BYTES_MAX)
            .map_err(invalid)?
        {
            break length;
        }
    };
    host::bounded::read(stream, length).await
}

/// Runs an operation on a thread of its own and gives the connection back.
async fn on_thread(stream: TcpStream, node: Arc<DataNode>, operation: Operation) -> io::Result<TcpStream> {
    let mut stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    prepare(&stream)?;
    let (done, waiting) = tokio::sync::oneshot::channel();
    std::thread::Builder::new()
        .name("dn-transfer".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            let outcome = match operation {
                Operation::Write(asked) => receive::serve(&node, &mut stream, *asked),
                Operation::Read(asked) => send::serve(&node, &mut stream, &asked),
                Operation::Checksum(asked) => send::serve_checksum(&node, &mut stream, &asked),
                Operation::Transfer(asked) => transfer::serve(&node, &mut stream, &asked),
            };
            // The receiver waits as long as this connection's task lives, which ends with the process only.
            let _ = done.send(outcome.map(|()| stream));
        })?;
    let stream = waiting
        .await
        .map_err(|_| io::Error::other("a transfer thread died"))??;
    stream.set_nonblocking(true)?;
    TcpStream::from_std(stream)
}
