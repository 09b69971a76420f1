//! The fast path of a unary call: from the bytes of a request to those of its answer, without a queue, a codec's buffers or a
//! router between.
//!
//! Calls of the service KV are most of what a coordinator is asked, and what they do is done in a microsecond or two. On the
//! way that generated code takes, through a router and a codec with buffers of 8 KiB on both sides, a get costs a third
//! more. The format is gRPC's: one byte that says whether the message is compressed, its length in four bytes, the message
//! (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>). What is not plain enough, such as a compressed request,
//! falls back to the router ([`is_plain`]).

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame};
use tonic::Status;
use tonic::metadata::MetadataMap;

/// The byte for compression, and the length.
const PREFIX_BYTES: usize = 5;
const CONTENT_TYPE: &str = "application/grpc";
/// The digits that gRPC allows a timeout.
const TIMEOUT_DIGITS_MAX: usize = 8;

/// Whether a call may go the fast path.
pub(in crate::server) fn is_plain<B>(request: &Request<B>) -> bool {
    let value = |name: &str| request.headers().get(name).map(HeaderValue::as_bytes);
    let content = value("content-type").unwrap_or_default();
    request.method() == Method::POST
        && (content == CONTENT_TYPE.as_bytes() || content == b"application/grpc+proto")
        && value("grpc-encoding").is_none_or(|encoding| encoding == b"identity")
}

/// How long the client waits (`grpc-timeout`), if it says so.
pub(in crate::server) fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > TIMEOUT_DIGITS_MAX || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3_600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

/// The fast path of one call: `answers` makes the answer of what was asked.
pub(in crate::server) async fn call<Q, A, B, F>(
    request: Request<B>,
    received_max: usize,
    answers: impl FnOnce(tonic::Request<Q>) -> F,
) -> Response<Body>
where
    Q: prost::Message + Default,
    A: prost::Message,
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
    F: Future<Output = Result<tonic::Response<A>, Status>>,
{
    match question(request, received_max).await {
        Ok(question) => answer(answers(question).await),
        Err(status) => status.into_http(),
    }
}

/// Reads a call's message, of `received_max` bytes at most.
///
/// # Errors
/// The status that the call ends with: the message is too large, is not one, or the client went away.
pub(in crate::server) async fn question<Q, B>(
    request: Request<B>,
    received_max: usize,
) -> Result<tonic::Request<Q>, Status>
where
    Q: prost::Message + Default,
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let (parts, body) = request.into_parts();
    let message = message(body, received_max).await?;
    let question =
        Q::decode(message).map_err(|error| Status::internal(format!("grpc: error unmarshalling request: {error}")))?;
    let metadata = MetadataMap::from_headers(parts.headers);
    Ok(tonic::Request::from_parts(metadata, parts.extensions, question))
}

async fn message<B>(mut body: B, received_max: usize) -> Result<Bytes, Status>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let mut read = Bytes::new();
    while !body.is_end_stream() {
        let Some(frame) = body.frame().await else { break };
        let frame = frame.map_err(|error| Status::cancelled(error.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        // Nearly always the first frame has all.
        read = if read.is_empty() {
            data
        } else {
            [read, data].concat().into()
        };
        if let Some(length) = announced(&read)? {
            check_length(length, received_max)?;
            if read.len() > PREFIX_BYTES + length {
                return Err(Status::internal("grpc: a unary call has one message"));
            }
        }
    }
    match announced(&read)? {
        Some(length) if read.len() == PREFIX_BYTES + length => {
            read.advance(PREFIX_BYTES);
            Ok(read)
        }
        _ => Err(Status::internal("grpc: the message ends before its length")),
    }
}

/// The length that the prefix says, once it is there.
fn announced(read: &[u8]) -> Result<Option<usize>, Status> {
    let Some((prefix, _)) = read.split_first_chunk::<PREFIX_BYTES>() else {
        return Ok(None);
    };
    let [compressed, length @ ..] = *prefix;
    if compressed != 0 {
        return Err(Status::internal(
            "grpc: compressed flag set with identity or empty encoding",
        ));
    }
    Ok(Some(u32::from_be_bytes(length) as usize))
}

fn check_length(length: usize, max: usize) -> Result<(), Status> {
    if length <= max {
        return Ok(());
    }
    Err(Status::resource_exhausted(format!(
        "grpc: received message larger than max ({length} vs. {max})"
    )))
}

/// Writes what a call ended with.
pub(in crate::server) fn answer<A: prost::Message>(outcome: Result<tonic::Response<A>, Status>) -> Response<Body> {
    match outcome.and_then(|answer| framed(&answer.into_inner())) {
        Ok(message) => {
            let mut response = Response::new(Body::Unary(Some(message)));
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
            response
        }
        Err(status) => status.into_http(),
    }
}

fn framed(message: &impl prost::Message) -> Result<Bytes, Status> {
    let length = message.encoded_len();
    let announced = u32::try_from(length)
        .map_err(|_| Status::resource_exhausted(format!("grpc: message too large ({length} bytes)")))?;
    let mut bytes = BytesMut::with_capacity(PREFIX_BYTES + length);
    bytes.put_u8(0);
    bytes.put_u32(announced);
    message
        .encode(&mut bytes)
        .map_err(|error| Status::internal(error.to_string()))?;
    Ok(bytes.freeze())
}

/// The body of an answer.
#[derive(Default)]
pub(in crate::server) enum Body {
    /// One message, then the status of a call that went well.
    Unary(Option<Bytes>),
    /// Nothing (more).
    #[default]
    Ended,
    /// What the router gave.
    Routed(axum::body::Body),
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = match &mut *self {
            Self::Routed(body) => return Pin::new(body).poll_frame(context),
            Self::Ended => return Poll::Ready(None),
            Self::Unary(message) => match message.take() {
                Some(message) => return Poll::Ready(Some(Ok(Frame::data(message)))),
                None => Frame::trailers(went_well()),
            },
        };
        *self = Self::Ended;
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Unary(_) => false,
            Self::Ended => true,
            Self::Routed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        match self {
            // A length in the headers is not gRPC's manner.
            Self::Unary(_) => hyper::body::SizeHint::default(),
            Self::Ended => hyper::body::SizeHint::with_exact(0),
            Self::Routed(body) => body.size_hint(),
        }
    }
}

fn went_well() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    trailers
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use coordinator_wire::etcdserverpb::RangeRequest;
    use http_body_util::{Full, StreamBody};

    use super::*;

    const MAX: usize = 64;

    async fn read(bytes: &[u8]) -> Result<RangeRequest, Status> {
        let request = Request::new(Full::new(Bytes::copy_from_slice(bytes)));
        question(request, MAX).await.map(tonic::Request::into_inner)
    }

    fn range(key: &[u8]) -> RangeRequest {
        RangeRequest {
            key: Bytes::copy_from_slice(key),
            ..Default::default()
        }
    }

    #[tokio::test]
    async fn what_is_framed_is_read_however_it_is_cut() {
        let bytes = framed(&range(b"key")).expect("short");
        assert_eq!(read(&bytes).await.expect("whole"), range(b"key"));
        for cut in 0..bytes.len() {
            let (first, second) = (bytes.slice(..cut), bytes.slice(cut..));
            let frames = [first, second].map(|part| Ok::<_, Infallible>(Frame::data(part)));
            let request = Request::new(StreamBody::new(futures::stream::iter(frames)));
            let read = question::<RangeRequest, _>(request, MAX).await;
            assert_eq!(read.expect("whole").into_inner(), range(b"key"), "cut at {cut}");
        }
    }

    #[tokio::test]
    async fn what_is_no_message_ends_the_call() {
        let bytes = framed(&range(b"key")).expect("short");
        for cut in 0..bytes.len() {
            let status = read(&bytes[..cut]).await.expect_err("cut off");
            assert_eq!(status.code(), tonic::Code::Internal, "{cut}: {status}");
        }
        let twice = [&bytes[..], &bytes[..]].concat();
        assert_eq!(read(&twice).await.expect_err("two").code(), tonic::Code::Internal);
        let compressed = [&[1], &bytes[1..]].concat();
        assert_eq!(
            read(&compressed).await.expect_err("packed").code(),
            tonic::Code::Internal
        );
        let garbage = read(b"\0\0\0\0\x02\xff\xff").await;
        assert_eq!(garbage.expect_err("garbage").code(), tonic::Code::Internal);
    }

    #[tokio::test]
    async fn a_length_is_refused_before_the_message_comes() {
        let status = read(b"\0\xff\xff\xff\xff").await.expect_err("four gigabytes");
        assert_eq!(
            status.message(),
            "grpc: received message larger than max (4294967295 vs. 64)"
        );
        assert_eq!(status.code(), tonic::Code::ResourceExhausted);
    }

    #[tokio::test]
    async fn an_answer_is_a_message_and_a_status() {
        let response = answer(Ok(tonic::Response::new(range(b"key"))));
        assert_eq!(response.headers()[header::CONTENT_TYPE], CONTENT_TYPE);
        let body = response.into_body().collect().await.expect("no error");
        assert_eq!(body.trailers().expect("trailers")["grpc-status"], "0");
        assert_eq!(body.to_bytes(), framed(&range(b"key")).expect("short"));
        let refused = answer::<RangeRequest>(Err(Status::not_found("gone")));
        assert_eq!(refused.headers()["grpc-status"], "5");
        assert!(refused.into_body().is_end_stream());
    }

    #[test]
    fn timeouts_have_their_units() {
        let parsed = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", HeaderValue::from_static(text));
            timeout(&headers)
        };
        assert_eq!(parsed("5S"), Some(Duration::from_secs(5)));
        assert_eq!(parsed("99999999H"), Some(Duration::from_secs(99_999_999 * 3_600)));
        assert_eq!(parsed("20m"), Some(Duration::from_millis(20)));
        for wrong in ["", "S", "5", "5s", "-5S", "+5S", "999999999S", "5 S"] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_plain_calls_go_the_short_way() {
        let request = |encoding: Option<&str>, content: &str| {
            let mut request = Request::post("/").header("content-type", content);
            if let Some(encoding) = encoding {
                request = request.header("grpc-encoding", encoding);
            }
            is_plain(&request.body(()).expect("a request"))
        };
        assert!(request(None, "application/grpc") && request(Some("identity"), "application/grpc+proto"));
        assert!(!request(Some("gzip"), "application/grpc"));
        assert!(!request(None, "application/grpc-web") && !request(None, "application/json"));
    }
}
