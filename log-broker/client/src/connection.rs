//! One connection: requests go out and responses come back in order.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use log_broker_wire::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use log_broker_wire::{Error as WireError, ErrorCode, Request, frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::Error;

/// How long opening a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a broker may take beyond what the request itself allows it to wait.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// Largest response, in bytes; a broker may exceed a fetch's limit by one batch.
const RESPONSE_BYTES_MAX: usize = 2 * frame::FRAME_BYTES_MAX;

#[derive(Debug)]
pub(crate) struct Connection {
    address: String,
    stream: TcpStream,
    client_id: String,
    correlation_id: i32,
    /// What the broker serves: oldest and newest version by key.
    served: BTreeMap<i16, (i16, i16)>,
    /// Whether a call was begun and not finished: such a connection has lost its place and is not used again.
    broken: AtomicBool,
}

impl Connection {
    pub(crate) async fn open(address: &str, client_id: &str) -> Result<Self, Error> {
        let failed = |source| Error::Connection {
            address: address.to_owned(),
            source,
        };
        let stream = match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(stream) => stream.map_err(failed)?,
            Err(_) => return Err(failed(io::Error::new(io::ErrorKind::TimedOut, "it does not answer"))),
        };
        stream.set_nodelay(true).map_err(failed)?;
        let mut connection = Self {
            address: address.to_owned(),
            stream,
            client_id: client_id.to_owned(),
            correlation_id: 0,
            served: BTreeMap::new(),
            broken: AtomicBool::new(false),
        };
        connection.negotiate().await?;
        Ok(connection)
    }

    /// Asks what is served; a broker that does not know our version of the question answers in version 0.
    async fn negotiate(&mut self) -> Result<(), Error> {
        let request = ApiVersionsRequest {
            client_software_name: "bonsai".to_owned(),
            client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let newest = 3; // 4 differs in nothing that is read here.
        let frame = self.exchange(&request, newest, CALL_TIMEOUT).await?;
        let refused = frame
            .get(4..6)
            .is_some_and(|code| code == ErrorCode::UNSUPPORTED_VERSION.0.to_be_bytes());
        let version = if refused { 0 } else { newest };
        let response: ApiVersionsResponse =
            frame::read_response::<ApiVersionsRequest>(frame, version, self.correlation_id)
                .map_err(|e| self.wire(e))?;
        if !refused {
            Error::check(|| "ApiVersions".to_owned(), response.error_code, None)?;
        }
        self.served = response
            .api_keys
            .iter()
            .map(|api| (api.api_key, (api.min_version, api.max_version)))
            .collect();
        Ok(())
    }

    pub(crate) fn is_usable(&self) -> bool {
        if self.broken.load(Ordering::Relaxed) {
            return false;
        }
        // Nothing may arrive unasked: whatever is readable now is the end of the connection, or garbage.
        let mut byte = [0];
        matches!(self.stream.try_read(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// The newest version of `R`, at most `newest`, that both sides know.
    fn version_of<R: Request>(&self, newest: i16) -> Result<i16, Error> {
        let unsupported = Error::Unsupported { api: R::API };
        let Some((oldest_served, newest_served)) = self.served.get(&R::KEY).copied() else {
            return Err(unsupported);
        };
        let version = newest.min(*R::VERSIONS.end()).min(newest_served);
        if version < oldest_served || version < *R::VERSIONS.start() {
            return Err(unsupported);
        }
        Ok(version)
    }

    /// Sends a request in the best version up to `newest` and waits for its response. `wait` is how long the request
    /// allows the broker to hold it.
    pub(crate) async fn call<R: Request>(
        &mut self,
        request: &R,
        newest: i16,
        wait: Duration,
    ) -> Result<R::Response, Error> {
        let version = self.version_of::<R>(newest)?;
        let frame = self.exchange(request, version, wait + CALL_TIMEOUT).await?;
        frame::read_response::<R>(frame, version, self.correlation_id).map_err(|error| self.wire(error))
    }

    /// Sends a request that is not answered (Produce with acks 0).
    pub(crate) async fn send<R: Request>(&mut self, request: &R, newest: i16) -> Result<(), Error> {
        let version = self.version_of::<R>(newest)?;
        self.broken.store(true, Ordering::Relaxed);
        self.write(request, version).await.map_err(|error| self.io(error))?;
        self.broken.store(false, Ordering::Relaxed);
        Ok(())
    }

    async fn exchange<R: Request>(&mut self, request: &R, version: i16, limit: Duration) -> Result<Bytes, Error> {
        self.broken.store(true, Ordering::Relaxed);
        let exchanged = timeout(limit, async {
            self.write(request, version).await?;
            self.read_frame().await
        });
        let frame = match exchanged.await {
            Ok(frame) => frame.map_err(|error| self.io(error))?,
            Err(_) => {
                let reason = format!("no answer to {} within {limit:?}", R::API);
                return Err(self.io(io::Error::new(io::ErrorKind::TimedOut, reason)));
            }
        };
        self.broken.store(false, Ordering::Relaxed);
        Ok(frame)
    }

    async fn write<R: Request>(&mut self, request: &R, version: i16) -> io::Result<()> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        for segment in frame::write_request(request, version, self.correlation_id, &self.client_id) {
            self.stream.write_all(&segment).await?;
        }
        self.stream.flush().await
    }

    async fn read_frame(&mut self) -> io::Result<Bytes> {
        let length = self.stream.read_i32().await?;
        let length = usize::try_from(length)
            .ok()
            .filter(|length| *length <= RESPONSE_BYTES_MAX)
            .ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("a response of {length} bytes is announced"),
                )
            })?;
        let mut frame = Vec::new();
        let read = (&mut self.stream).take(length as u64).read_to_end(&mut frame).await?;
        if read < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(frame.into())
    }

    fn io(&self, source: io::Error) -> Error {
        Error::Connection {
            address: self.address.clone(),
            source,
        }
    }

    fn wire(&self, source: WireError) -> Error {
        Error::Wire {
            address: self.address.clone(),
            source,
        }
    }
}
