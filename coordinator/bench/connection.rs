//! A connection that gRPC's generated clients can use, without the queue and the worker of tonic's own channel.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response, Uri};

use crate::Result;

/// One HTTP/2 connection; clones share it.
#[derive(Debug, Clone)]
pub struct Connection {
    sender: http2::SendRequest<Body>,
    pub origin: Uri,
}

impl Connection {
    pub async fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, driver) = http2::Builder::new(TokioExecutor::new())
            .max_concurrent_streams(4_096)
            .initial_max_send_streams(4_096)
            .handshake(TokioIo::new(stream))
            .await?;
        // Its end is seen by the one that sends.
        tokio::spawn(driver);
        let origin = format!("http://{address}").parse()?;
        Ok(Self { sender, origin })
    }

    /// Several, to be shared by many clients.
    pub async fn open_many(address: &str, count: usize) -> Result<Vec<Self>> {
        let mut connections = Vec::with_capacity(count);
        for _ in 0..count {
            connections.push(Self::open(address).await?);
        }
        Ok(connections)
    }
}

impl Service<Request<Body>> for Connection {
    type Response = Response<hyper::body::Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = std::result::Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<std::result::Result<(), Self::Error>> {
        self.sender.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.sender.send_request(request))
    }
}

/// What a page over plain HTTP says; an error also where its status is not 200.
pub async fn page(address: &str, path: &str) -> Result<String> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(driver);
    let request = Request::get(path).header("host", address).body(Body::empty())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = http_body_util::BodyExt::collect(response.into_body()).await?.to_bytes();
    driver.abort();
    if status != 200 {
        return Err(format!("http://{address}{path} answers {status}").into());
    }
    Ok(String::from_utf8_lossy(&body).into_owned())
}
