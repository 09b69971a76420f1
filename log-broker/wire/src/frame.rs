//! What stands around a body: a 4-byte length, then a header, then the body.

use bytes::Bytes;

use crate::messages::ApiKey;
use crate::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use crate::{At, Error, Field, Message, Reader, Request, Segment, Writer};

/// Largest frame, in bytes: Kafka's default `socket.request.max.bytes`.
pub const FRAME_BYTES_MAX: usize = 100 << 20;

/// Headers are never compact in their client id, whatever the version.
const PLAIN: At = At {
    version: 0,
    flexible: false,
    nullable: true,
};

/// The header of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    pub key: i16,
    pub version: i16,
    pub correlation_id: i32,
    pub client_id: Option<String>,
}

/// Reads the header of a request; what it returns besides is the body.
///
/// A request of a call or version that the table does not have yields its key, version and correlation id, and no body,
/// because the shape of the rest is unknown.
///
/// # Errors
/// When the frame ends within the header.
pub fn read_request(frame: Bytes) -> Result<(RequestHeader, Option<Bytes>), Error> {
    let mut input = Reader::new(frame);
    let key = i16::decode(&mut input, PLAIN)?;
    let version = i16::decode(&mut input, PLAIN)?;
    let correlation_id = i32::decode(&mut input, PLAIN)?;
    let mut header = RequestHeader {
        key,
        version,
        correlation_id,
        client_id: None,
    };
    let Some(api) = ApiKey::from_key(key).filter(|api| api.versions().contains(&version)) else {
        return Ok((header, None));
    };
    header.client_id = Option::<String>::decode(&mut input, PLAIN)?;
    if api.is_flexible(version) {
        input.tagged(|_, _| Ok(()))?;
    }
    Ok((header, Some(input.into_rest())))
}

/// A whole request frame, its length included.
pub fn write_request<R: Request>(request: &R, version: i16, correlation_id: i32, client_id: &str) -> Vec<Bytes> {
    let mut out = Writer::default();
    R::KEY.encode(&mut out, PLAIN);
    version.encode(&mut out, PLAIN);
    correlation_id.encode(&mut out, PLAIN);
    Some(client_id.to_owned()).encode(&mut out, PLAIN);
    if R::is_flexible(version) {
        out.put_unsigned_varint(0);
    }
    request.encode(&mut out, version);
    in_memory(with_length(out))
}

/// A whole response frame, its length included.
pub fn write_response<M: Message>(response: &M, version: i16, correlation_id: i32) -> Vec<Bytes> {
    in_memory(write_response_segments(response, version, correlation_id))
}

/// A whole response frame, its length included, with gaps for what is elsewhere.
pub fn write_response_segments<M: Message>(response: &M, version: i16, correlation_id: i32) -> Vec<Segment> {
    let mut out = Writer::default();
    correlation_id.encode(&mut out, PLAIN);
    if has_tagged_header::<M>(version) {
        out.put_unsigned_varint(0);
    }
    response.encode(&mut out, version);
    with_length(out)
}

/// Reads the response to a request of type `R`.
///
/// # Errors
/// When it answers another request, or is no such response.
pub fn read_response<R: Request>(frame: Bytes, version: i16, correlation_id: i32) -> Result<R::Response, Error> {
    let mut input = Reader::new(frame);
    let got = i32::decode(&mut input, PLAIN)?;
    if got != correlation_id {
        return Err(Error::Correlation {
            got,
            expected: correlation_id,
        });
    }
    if has_tagged_header::<R::Response>(version) {
        input.tagged(|_, _| Ok(()))?;
    }
    R::Response::decode(input.into_rest(), version)
}

/// The response to ApiVersions keeps the oldest header for ever: whoever asks does not know yet what is spoken.
fn has_tagged_header<M: Message>(version: i16) -> bool {
    M::KEY != ApiVersionsRequest::KEY && M::is_flexible(version)
}

/// The answer to an ApiVersions of a version that is not known: error 35 in a body of version 0.
pub fn write_unknown_api_versions(response: &ApiVersionsResponse, correlation_id: i32) -> Vec<Bytes> {
    write_response(response, 0, correlation_id)
}

fn with_length(out: Writer) -> Vec<Segment> {
    let length = i32::try_from(out.len()).unwrap_or(i32::MAX);
    let mut segments = vec![Segment::Bytes(Bytes::copy_from_slice(&length.to_be_bytes()))];
    segments.extend(out.into_segments());
    segments
}

/// The segments of a message all of which is here.
fn in_memory(segments: Vec<Segment>) -> Vec<Bytes> {
    let bytes = segments.into_iter().filter_map(|segment| match segment {
        Segment::Bytes(bytes) => Some(bytes),
        Segment::Elsewhere(_) => None,
    });
    bytes.collect()
}
