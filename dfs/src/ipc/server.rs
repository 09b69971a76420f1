//! The server's side of a connection.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dfs_wire::proto::common::rpc_response_header_proto::RpcErrorCodeProto;
use dfs_wire::proto::common::{IpcConnectionContextProto, RpcRequestHeaderProto};
use dfs_wire::rpc;
use futures::FutureExt;
use host::{Listener, Shutdown, bounded};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Semaphore, mpsc};

use crate::Error;

/// Calls of one connection that are being answered. hdfs-native sends hundreds at once.
const CALLS_MAX: usize = 1024;
/// A connection must say what it is within this time.
const GREETING_TIMEOUT: Duration = Duration::from_secs(20);
/// A frame that was begun must be complete within this time.
const FRAME_TIMEOUT: Duration = Duration::from_secs(60);
/// A client that does not read its answers for so long is cut off.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// One call.
#[derive(Debug, Clone)]
pub struct Call {
    /// Which connection it came on; the same for all calls of one.
    pub connection: u64,
    pub user: Arc<str>,
    pub peer: SocketAddr,
    /// This server's address that the caller connected to.
    pub reached: IpAddr,
    pub client_id: Vec<u8>,
    pub call_id: i32,
    pub protocol: String,
    pub method: String,
    pub argument: Bytes,
}

/// What answers calls.
pub trait Service: Send + Sync + 'static {
    /// The encoded response, or the exception.
    fn call(self: Arc<Self>, call: Call) -> impl Future<Output = Result<Bytes, Error>> + Send;

    /// Fails unless `real` may act for `effective`.
    fn check_impersonation(&self, real: &str, effective: &str, ip: &str) -> Result<(), Error> {
        let _ = (real, effective, ip);
        Ok(())
    }

    /// A connection was closed.
    fn closed(&self, connection: u64) {
        let _ = connection;
    }
}

/// Answers connections until `shutdown`.
pub async fn serve<S: Service>(listener: Listener, service: Arc<S>, shutdown: Shutdown) {
    for number in 0.. {
        let (stream, peer, permit) = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.requested() => return,
        };
        let (service, shutdown) = (Arc::clone(&service), shutdown.clone());
        tokio::spawn(async move {
            let _permit = permit;
            tokio::select! {
                outcome = connection(stream, peer, number, Arc::clone(&service)) => if let Err(error) = outcome {
                    tracing::debug!(%peer, %error, "rpc connection closed");
                },
                () = shutdown.requested() => {}
            }
            service.closed(number);
        });
    }
}

async fn connection<S: Service>(
    mut stream: TcpStream,
    peer: SocketAddr,
    number: u64,
    service: Arc<S>,
) -> Result<(), Error> {
    let mut preamble = [0; rpc::PREAMBLE_BYTES];
    tokio::time::timeout(GREETING_TIMEOUT, stream.read_exact(&mut preamble))
        .await
        .map_err(|_| Error::Io("no greeting in time".to_owned()))??;
    if preamble.starts_with(b"GET ") || preamble.starts_with(b"POST") || preamble.starts_with(b"PUT ") {
        stream.write_all(rpc::HTTP_ANSWER).await?;
        return Ok(());
    }
    rpc::parse_preamble(&preamble)?;
    let reached = stream.local_addr().map_or(peer.ip(), |address| address.ip());
    let ends = (peer, reached.to_canonical());
    let (reader, writer) = stream.into_split();
    let (answers, queue) = mpsc::channel(CALLS_MAX);
    let writing = tokio::spawn(write_answers(writer, queue));
    let outcome = read_calls(reader, (number, ends), service, answers).await;
    // Calls that are still being answered hold a sender; the writer ends with the last of them.
    let _ = writing.await;
    outcome
}

async fn write_answers(mut writer: OwnedWriteHalf, mut queue: mpsc::Receiver<Bytes>) {
    let mut batch = Vec::new();
    while queue.recv_many(&mut batch, 64).await > 0 {
        let whole = if batch.len() == 1 {
            batch.remove(0)
        } else {
            Bytes::from(batch.concat())
        };
        batch.clear();
        match tokio::time::timeout(WRITE_TIMEOUT, writer.write_all(&whole)).await {
            Ok(Ok(())) => {}
            _ => return,
        }
    }
}

async fn read_calls<S: Service>(
    mut reader: OwnedReadHalf,
    (connection, (peer, reached)): (u64, (SocketAddr, IpAddr)),
    service: Arc<S>,
    answers: mpsc::Sender<Bytes>,
) -> Result<(), Error> {
    let mut user: Option<Arc<str>> = None;
    let slots = Arc::new(Semaphore::new(CALLS_MAX));
    loop {
        let length = match reader.read_u32().await {
            Ok(length) => rpc::check_frame_length(length)?,
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let frame = tokio::time::timeout(FRAME_TIMEOUT, bounded::read(&mut reader, length))
            .await
            .map_err(|_| Error::Io("a frame did not arrive in time".to_owned()))??;
        let (header, rest) = rpc::parse_request(frame)?;
        match (header.call_id, &user) {
            (rpc::CALL_SASL, _) => send(&answers, rpc::reply_sasl_success(&header)).await?,
            (rpc::CALL_PING, _) => {}
            (rpc::CALL_CONTEXT, _) => {
                let (effective, real) = parse_context(rest)?;
                let checked = match &real {
                    Some(real) => service.check_impersonation(real, &effective, &peer.ip().to_string()),
                    None => Ok(()),
                };
                if let Err(error) = checked {
                    let code = RpcErrorCodeProto::FatalUnauthorized;
                    send(
                        &answers,
                        rpc::reply_error(&header, true, code, error.java_class(), &error.to_string()),
                    )
                    .await?;
                    return Ok(());
                }
                user = Some(effective);
            }
            (_, Some(user)) => {
                let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
                    return Ok(());
                };
                let (method, argument) = rpc::parse_call(rest)?;
                let call = Call {
                    connection,
                    user: Arc::clone(user),
                    peer,
                    reached,
                    client_id: header.client_id.clone(),
                    call_id: header.call_id,
                    protocol: method.declaring_class_protocol_name,
                    method: method.method_name,
                    argument,
                };
                let (service, answers) = (Arc::clone(&service), answers.clone());
                tokio::spawn(async move {
                    let _slot = slot;
                    let answer = answer(service, &header, call).await;
                    let _ = answers.send(answer).await;
                });
            }
            (_, None) => {
                let code = RpcErrorCodeProto::FatalInvalidRpcHeader;
                let class = "org.apache.hadoop.ipc.RpcServerException";
                let message = "a call came before the connection's context";
                send(&answers, rpc::reply_error(&header, true, code, class, message)).await?;
                return Ok(());
            }
        }
    }
}

async fn send(answers: &mpsc::Sender<Bytes>, answer: Bytes) -> Result<(), Error> {
    answers
        .send(answer)
        .await
        .map_err(|_| Error::Io("the connection is closed".to_owned()))
}

/// The user that a connection acts as, and the one that it acts through if that is another.
fn parse_context(mut rest: Bytes) -> Result<(Arc<str>, Option<Arc<str>>), Error> {
    let context: IpcConnectionContextProto = dfs_wire::take_delimited(&mut rest)?;
    let info = context.user_info.unwrap_or_default();
    // "name/host@REALM" is the user "name", as Hadoop's default rule has it.
    let short = |user: Option<String>| -> Option<Arc<str>> {
        let user = user?;
        let short = user.split(['/', '@']).next().unwrap_or_default();
        (!short.is_empty()).then(|| short.into())
    };
    let (effective, real) = (short(info.effective_user), short(info.real_user));
    Ok(match (effective, real) {
        (Some(effective), real) => (effective, real),
        (None, Some(real)) => (real, None),
        (None, None) => ("anonymous".into(), None),
    })
}

async fn answer<S: Service>(service: Arc<S>, header: &RpcRequestHeaderProto, call: Call) -> Bytes {
    let method = call.method.clone();
    let outcome = AssertUnwindSafe(service.call(call)).catch_unwind().await;
    // A client whose call panicked is answered: it would wait for ever.
    let outcome = outcome.unwrap_or_else(|_| Err(Error::Io(format!("an internal error in {method}: see the log"))));
    match outcome {
        Ok(response) => rpc::reply(header, &response),
        Err(error) => {
            let code = match error {
                Error::NoSuchMethod(..) => RpcErrorCodeProto::ErrorNoSuchMethod,
                Error::NoSuchProtocol(_) => RpcErrorCodeProto::ErrorNoSuchProtocol,
                _ => RpcErrorCodeProto::ErrorApplication,
            };
            rpc::reply_error(header, false, code, error.java_class(), &error.to_string())
        }
    }
}
