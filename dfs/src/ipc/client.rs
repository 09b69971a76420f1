//! The client's side: one connection, one call at a time, connected anew after an error.

use std::time::Duration;

use dfs_wire::proto::common::rpc_response_header_proto::RpcStatusProto;
use dfs_wire::rpc;
use host::bounded;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The server threw an exception.
    #[error("{message}")]
    Remote { class: String, message: String },
    /// Nobody answered, or not in words that are understood.
    #[error("{0}")]
    Connection(String),
}

impl From<std::io::Error> for CallError {
    fn from(error: std::io::Error) -> Self {
        Self::Connection(error.to_string())
    }
}

impl From<dfs_wire::Error> for CallError {
    fn from(error: dfs_wire::Error) -> Self {
        Self::Connection(error.to_string())
    }
}

impl From<prost::DecodeError> for CallError {
    fn from(error: prost::DecodeError) -> Self {
        Self::Connection(error.to_string())
    }
}

/// Calls one server as one user, in one protocol.
#[derive(Debug)]
pub struct Client {
    address: String,
    user: String,
    real_user: Option<String>,
    protocol: &'static str,
    client_id: [u8; 16],
    next_call: i32,
    stream: Option<TcpStream>,
}

impl Client {
    /// Connects at the first call. `client_id` must be unique among all clients.
    pub fn new(
        address: impl Into<String>,
        user: impl Into<String>,
        protocol: &'static str,
        client_id: [u8; 16],
    ) -> Self {
        Self {
            address: address.into(),
            user: user.into(),
            real_user: None,
            protocol,
            client_id,
            next_call: 0,
            stream: None,
        }
    }

    /// Acts for its user as `real_user`.
    pub fn on_behalf_by(mut self, real_user: Option<String>) -> Self {
        self.real_user = real_user;
        self
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// Calls `method` and waits for its answer. Not cancel safe: a cancelled call closes the connection.
    pub async fn call<R: Message + Default>(&mut self, method: &str, argument: &impl Message) -> Result<R, CallError> {
        self.next_call = self.next_call.wrapping_add(1).max(1);
        let frame = rpc::call(&self.client_id, self.next_call, self.protocol, method, argument);
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.connect().await?,
        };
        let exchange = async {
            stream.write_all(&frame).await?;
            loop {
                let length = rpc::check_frame_length(stream.read_u32().await?)?;
                let (header, response) = rpc::parse_reply(bounded::read(&mut stream, length).await?)?;
                if header.call_id == self.next_call as u32 || header.status() == RpcStatusProto::Fatal {
                    return Ok::<_, CallError>((header, response));
                }
            }
        };
        let (header, response) = tokio::time::timeout(CALL_TIMEOUT, exchange)
            .await
            .map_err(|_| CallError::Connection(format!("{} did not answer {method} in time", self.address)))??;
        if header.status() != RpcStatusProto::Fatal {
            self.stream = Some(stream);
        }
        match header.status() {
            RpcStatusProto::Success => Ok(R::decode(response)?),
            _ => Err(CallError::Remote {
                class: header.exception_class_name().to_owned(),
                message: header.error_msg().to_owned(),
            }),
        }
    }

    async fn connect(&self) -> Result<TcpStream, CallError> {
        let mut stream = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(&self.address))
            .await
            .map_err(|_| CallError::Connection(format!("cannot connect to {} in time", self.address)))?
            .map_err(|error| CallError::Connection(format!("cannot connect to {}: {error}", self.address)))?;
        stream.set_nodelay(true)?;
        stream.write_all(&rpc::preamble()).await?;
        stream
            .write_all(&rpc::context(
                &self.client_id,
                &self.user,
                self.real_user.as_deref(),
                self.protocol,
            ))
            .await?;
        Ok(stream)
    }
}
