//! One call: HTTP in, gRPC to ourselves, HTTP out.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method as HttpMethod, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{Buf, Bytes, BytesMut};
use futures::{StreamExt, stream};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tonic::codegen::Service;
use tonic::{Code, Status};

use super::CallState;
use super::messages::Method;

/// gRPC's head of a message: a flag and the length.
const FRAME_HEAD_BYTES: usize = 5;

/// What a path calls.
pub(super) struct Call {
    pub(super) services: Router,
    pub(super) method: Method,
    /// The most bytes of a request's JSON that are kept.
    pub(super) received_max: usize,
}

pub(super) async fn answer(call: CallState, request: Request) -> Response {
    let call = Arc::clone(&call.0);
    let (parts, body) = request.into_parts();
    let messages = if call.method.takes_many() {
        call.many_requests(body)
    } else {
        match call.one_request(body).await {
            Ok(frame) => Body::from(frame),
            Err(status) => return refusal(&status),
        }
    };
    let response = match call.grpc(&parts.headers, messages).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    let (head, body) = response.into_parts();
    // A call that is refused at once has its status in front.
    if let Some(status) = Status::from_header_map(&head.headers).filter(|status| status.code() != Code::Ok) {
        return match call.method.gives_many() {
            true => stream_refusal(&status),
            false => refusal(&status),
        };
    }
    let mut answers = Answers {
        body,
        buffer: BytesMut::new(),
        method: call.method.clone(),
    };
    if call.method.gives_many() {
        return many_answers(answers).await;
    }
    match answers.next().await {
        Some(Ok(answer)) => json_response(StatusCode::OK, Body::from(answer.to_string())),
        Some(Err(status)) => refusal(&status),
        None => refusal(&Status::internal("the call was not answered")),
    }
}

/// As grpc-gateway says it.
pub(super) async fn not_a_post() -> Response {
    refusal(&Status::unimplemented("Method Not Allowed"))
}

pub(super) async fn unknown() -> Response {
    refusal(&Status::not_found("Not Found"))
}

impl Call {
    async fn grpc(&self, headers: &HeaderMap, messages: Body) -> Result<Response, Infallible> {
        let mut request = Request::new(messages);
        *request.method_mut() = HttpMethod::POST;
        *request.uri_mut() = self.method.path().parse().expect("a service's path is one");
        let to = request.headers_mut();
        to.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        to.insert(header::TE, HeaderValue::from_static("trailers"));
        // Others go by the name that grpc-gateway has for them.
        for (from, name) in [
            (header::AUTHORIZATION.as_str(), "authorization"),
            ("grpc-metadata-token", "token"),
            ("grpc-metadata-hasleader", "hasleader"),
        ] {
            if let Some(value) = headers.get(from) {
                to.insert(header::HeaderName::from_static(name), value.clone());
            }
        }
        self.services.clone().call(request).await
    }

    async fn one_request(&self, body: Body) -> Result<Bytes, Status> {
        let received = http_body_util::Limited::new(body, self.received_max).collect().await;
        let received = received.map_err(|_| too_large())?.to_bytes();
        let json = if received.trim_ascii().is_empty() {
            json!({})
        } else {
            serde_json::from_slice(&received).map_err(|error| Status::invalid_argument(error.to_string()))?
        };
        self.method.request(json).map_err(Status::invalid_argument)
    }

    /// JSON values as they come in, as gRPC's messages. What is wrong ends the stream of requests with its status, behind
    /// those that were right; the service answers them first and passes the status on.
    fn many_requests(&self, body: Body) -> Body {
        let (method, received_max) = (self.method.clone(), self.received_max);
        let mut received = BytesMut::new();
        let pieces = body.into_data_stream().map(Some).chain(stream::iter([None]));
        let frames = pieces.map(move |piece| {
            let is_last = piece.is_none();
            if let Some(piece) = piece {
                match piece {
                    Ok(piece) => received.extend_from_slice(&piece),
                    Err(error) => return stream::iter(vec![Err(Status::cancelled(error.to_string()))]),
                }
            }
            let mut values = complete_values(&received);
            received.advance(values.used);
            if values.wrong.is_none() && received.len() > received_max {
                values.wrong = Some(too_large());
            }
            if values.wrong.is_none() && is_last && !received.trim_ascii().is_empty() {
                values.wrong = Some(Status::invalid_argument("unexpected end of JSON input"));
            }
            let requests = values.complete.into_iter();
            let mut frames: Vec<Result<Bytes, Status>> = requests
                .map(|value| method.request(value).map_err(Status::invalid_argument))
                .collect();
            frames.extend(values.wrong.map(Err));
            stream::iter(frames)
        });
        // What comes behind the first that is wrong is not looked at.
        let frames = frames.flatten().scan(false, |ended, frame| {
            let goes_on = !*ended;
            *ended = frame.is_err();
            std::future::ready(goes_on.then_some(frame))
        });
        Body::from_stream(frames)
    }
}

/// What stands in the bytes received so far.
struct Values {
    complete: Vec<Value>,
    /// The bytes that they take.
    used: usize,
    /// Why what follows is no JSON, if it cannot become any.
    wrong: Option<Status>,
}

fn complete_values(received: &[u8]) -> Values {
    let mut values = serde_json::Deserializer::from_slice(received).into_iter::<Value>();
    let mut found = Values {
        complete: Vec::new(),
        used: 0,
        wrong: None,
    };
    while let Some(value) = values.next() {
        match value {
            Ok(value) => found.complete.push(value),
            Err(error) if error.is_eof() => break,
            Err(error) => {
                found.wrong = Some(Status::invalid_argument(error.to_string()));
                break;
            }
        }
        found.used = values.byte_offset();
    }
    found
}

fn too_large() -> Status {
    crate::Error::RequestTooLarge.into()
}

/// A call's answers, one JSON value each.
struct Answers {
    body: Body,
    buffer: BytesMut,
    method: Method,
}

impl Answers {
    /// The next answer; none at the good end.
    async fn next(&mut self) -> Option<Result<Value, Status>> {
        loop {
            if let Some(message) = take_message(&mut self.buffer) {
                let json = self.method.response(&message);
                return Some(json.ok_or_else(|| Status::internal("the answer cannot be read")));
            }
            let frame = match self.body.frame().await? {
                Ok(frame) => frame,
                Err(error) => return Some(Err(Status::unavailable(error.to_string()))),
            };
            match frame.into_data() {
                Ok(data) => self.buffer.extend_from_slice(&data),
                Err(other) => {
                    let trailers = other.into_trailers().unwrap_or_default();
                    let status = Status::from_header_map(&trailers)?;
                    return (status.code() != Code::Ok).then_some(Err(status));
                }
            }
        }
    }
}

fn take_message(buffer: &mut BytesMut) -> Option<Bytes> {
    let length = buffer.get(1..FRAME_HEAD_BYTES)?;
    let length = u32::from_be_bytes(length.try_into().ok()?) as usize;
    if buffer.len() < FRAME_HEAD_BYTES + length {
        return None;
    }
    buffer.advance(FRAME_HEAD_BYTES);
    Some(buffer.split_to(length).freeze())
}

/// One line an answer. The first is waited for, since a refusal that comes first is told by the HTTP status.
async fn many_answers(mut answers: Answers) -> Response {
    let first = match answers.next().await {
        Some(Err(status)) => return stream_refusal(&status),
        first => first,
    };
    let rest = stream::unfold(Some(answers), |answers| async move {
        let mut answers = answers?;
        let next = answers.next().await?;
        let more = next.is_ok().then_some(answers);
        Some((next, more))
    });
    let lines = stream::iter(first).chain(rest).map(|answer| {
        let line = match answer {
            Ok(answer) => json!({ "result": answer }),
            Err(status) => json!({ "error": error_json(&status) }),
        };
        Ok::<_, Infallible>(Bytes::from(format!("{line}\n")))
    });
    json_response(StatusCode::OK, Body::from_stream(lines))
}

fn json_response(status: StatusCode, body: Body) -> Response {
    let json = [
        (header::CONTENT_TYPE.as_str(), "application/json"),
        ("grpc-metadata-content-type", "application/grpc"),
    ];
    (status, json, body).into_response()
}

fn error_json(status: &Status) -> Value {
    json!({ "code": i32::from(status.code()), "message": status.message() })
}

/// Without the gRPC headers, as grpc-gateway answers for a call that ended before its headers.
fn refusal(status: &Status) -> Response {
    let json = [(header::CONTENT_TYPE, "application/json")];
    let body = Body::from(error_json(status).to_string());
    (http_status(status.code()), json, body).into_response()
}

/// As a line of a stream is.
fn stream_refusal(status: &Status) -> Response {
    let line = format!("{}\n", json!({ "error": error_json(status) }));
    json_response(http_status(status.code()), Body::from(line))
}

/// The HTTP status that goes with a code, by grpc-gateway's table.
fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Cancelled => StatusCode::from_u16(499).expect("within range"),
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_taken_as_soon_as_they_are_complete() {
        let found = complete_values(br#"{"a":1} {"b":2}{"c"#);
        assert_eq!((found.complete, found.used), (vec![json!({"a":1}), json!({"b":2})], 15));
        assert!(found.wrong.is_none(), "the rest may come");
        let found = complete_values(b"");
        assert_eq!((found.complete, found.used), (vec![], 0));
        let found = complete_values(br#"{"a":1}{"a":}"#);
        assert_eq!(found.complete, [json!({"a":1})], "what is right before it counts");
        assert!(found.wrong.is_some());
    }

    #[test]
    fn messages_are_cut_where_they_end() {
        let mut buffer = BytesMut::from(&[0, 0, 0, 0, 2, 7, 8, 0, 0, 0, 0, 1][..]);
        assert_eq!(take_message(&mut buffer), Some(Bytes::from_static(&[7, 8])));
        assert_eq!(take_message(&mut buffer), None, "its body is still to come");
        buffer.extend_from_slice(&[9]);
        assert_eq!(take_message(&mut buffer), Some(Bytes::from_static(&[9])));
    }
}
