//! Hadoop RPC, version 9.
//!
//! ```text
//! client: "hrpc" 9 <service class> <auth: 0 simple, 0xDF SASL>
//! frame : u32 total | delimited RpcRequestHeaderProto | delimited RequestHeaderProto | delimited request
//! reply : u32 total | delimited RpcResponseHeaderProto | delimited response, if it succeeded
//! ```
//! The first frame (call id -3) carries the connection's context: who calls, and which protocol. With auth 0xDF a
//! SASL negotiation (call id -33) comes before it; Java clients ask for it even with security off, as soon as they hold a
//! block token, and wait for ever when it is not answered. We answer SUCCESS, which means "simple is fine".

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

use crate::proto::common::rpc_response_header_proto::{RpcErrorCodeProto, RpcStatusProto};
use crate::proto::common::{
    IpcConnectionContextProto, RequestHeaderProto, RpcKindProto, RpcRequestHeaderProto, RpcResponseHeaderProto,
    RpcSaslProto, rpc_sasl_proto::SaslState,
};
use crate::{Error, take_delimited};

pub const MAGIC: [u8; 4] = *b"hrpc";
pub const VERSION: u8 = 9;
/// Bytes of the preamble: magic, version, service class, authentication.
pub const PREAMBLE_BYTES: usize = 7;
pub const AUTH_NONE: u8 = 0;
pub const AUTH_SASL: u8 = 0xDF;

pub const CALL_CONTEXT: i32 = -3;
pub const CALL_PING: i32 = -4;
pub const CALL_SASL: i32 = -33;

/// The longest frame: what Hadoop's `ipc.maximum.data.length` is by default. A block report of two million replicas fits.
pub const FRAME_BYTES_MAX: u32 = 128 << 20;
/// The longest client id; stock clients send 16 bytes, and retries are told apart by it.
pub const CLIENT_ID_BYTES_MAX: usize = 64;

/// What a client that speaks HTTP to an RPC port is told.
pub const HTTP_ANSWER: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-type: text/plain\r\nConnection: close\r\n\r\n\
It looks like you are making an HTTP request to a Hadoop IPC port. This is not the correct port for the web interface.\r\n";

/// Checks the first bytes of a connection and returns the authentication byte.
pub fn parse_preamble(bytes: &[u8; PREAMBLE_BYTES]) -> Result<u8, Error> {
    if bytes[..4] != MAGIC {
        return Err(Error::Malformed(
            "the connection does not open with Hadoop RPC's \"hrpc\"",
        ));
    }
    if bytes[4] != VERSION {
        return Err(Error::Malformed("only version 9 of Hadoop RPC is spoken here"));
    }
    match bytes[6] {
        auth @ (AUTH_NONE | AUTH_SASL) => Ok(auth),
        _ => Err(Error::Malformed("an unknown kind of authentication was asked for")),
    }
}

/// The preamble of a client.
pub fn preamble() -> [u8; PREAMBLE_BYTES] {
    [MAGIC[0], MAGIC[1], MAGIC[2], MAGIC[3], VERSION, 0, AUTH_NONE]
}

/// Checks the length that a frame claims.
pub fn check_frame_length(length: u32) -> Result<usize, Error> {
    if length > FRAME_BYTES_MAX {
        return Err(Error::TooLong {
            what: "an RPC frame",
            length: length.into(),
            max: FRAME_BYTES_MAX.into(),
        });
    }
    Ok(length as usize)
}

/// Splits a request frame into its header and what follows.
pub fn parse_request(mut frame: Bytes) -> Result<(RpcRequestHeaderProto, Bytes), Error> {
    let header: RpcRequestHeaderProto = take_delimited(&mut frame)?;
    if header.client_id.len() > CLIENT_ID_BYTES_MAX {
        return Err(Error::Malformed("the client id is too long"));
    }
    Ok((header, frame))
}

/// Splits what follows a request's header into the method's header and its argument.
pub fn parse_call(mut rest: Bytes) -> Result<(RequestHeaderProto, Bytes), Error> {
    let header: RequestHeaderProto = take_delimited(&mut rest)?;
    let length = prost::decode_length_delimiter(&mut rest)?;
    if length > rest.len() {
        return Err(Error::Malformed("an argument is longer than its frame"));
    }
    Ok((header, rest.split_to(length)))
}

fn frame(parts: &[&[u8]]) -> Bytes {
    let total: usize = parts.iter().map(|part| part.len()).sum();
    let mut bytes = BytesMut::with_capacity(4 + total);
    bytes.put_u32(u32::try_from(total).unwrap_or(u32::MAX));
    for part in parts {
        bytes.put_slice(part);
    }
    bytes.freeze()
}

fn response_header(request: &RpcRequestHeaderProto, status: RpcStatusProto) -> RpcResponseHeaderProto {
    RpcResponseHeaderProto {
        call_id: request.call_id as u32,
        status: status as i32,
        server_ipc_version_num: Some(VERSION.into()),
        client_id: Some(request.client_id.clone()),
        retry_count: request.retry_count,
        ..Default::default()
    }
}

/// A successful reply; `response` is the encoded message without its length.
pub fn reply(request: &RpcRequestHeaderProto, response: &[u8]) -> Bytes {
    let header = response_header(request, RpcStatusProto::Success).encode_length_delimited_to_vec();
    let mut length = BytesMut::with_capacity(10);
    // A `BytesMut` grows, so this cannot fail.
    let _ = prost::encode_length_delimiter(response.len(), &mut length);
    frame(&[&header, &length, response])
}

/// A reply that says which Java exception was thrown. A fatal one closes the connection.
pub fn reply_error(
    request: &RpcRequestHeaderProto,
    fatal: bool,
    code: RpcErrorCodeProto,
    class: &str,
    message: &str,
) -> Bytes {
    let status = if fatal {
        RpcStatusProto::Fatal
    } else {
        RpcStatusProto::Error
    };
    let header = RpcResponseHeaderProto {
        exception_class_name: Some(class.to_owned()),
        error_msg: Some(message.to_owned()),
        error_detail: Some(code as i32),
        ..response_header(request, status)
    };
    frame(&[&header.encode_length_delimited_to_vec()])
}

/// The answer to a SASL negotiation: none is needed.
pub fn reply_sasl_success(request: &RpcRequestHeaderProto) -> Bytes {
    let message = RpcSaslProto {
        state: SaslState::Success as i32,
        ..Default::default()
    };
    reply(request, &message.encode_to_vec())
}

fn request_header(call_id: i32, client_id: &[u8]) -> RpcRequestHeaderProto {
    RpcRequestHeaderProto {
        rpc_kind: Some(RpcKindProto::RpcProtocolBuffer as i32),
        rpc_op: Some(0),
        call_id,
        client_id: client_id.to_vec(),
        retry_count: Some(if call_id < 0 { -1 } else { 0 }),
        state_id: None,
    }
}

/// A client's first frame; `real_user` is who acts for `user`, if that is another.
pub fn context(client_id: &[u8], user: &str, real_user: Option<&str>, protocol: &str) -> Bytes {
    let header = request_header(CALL_CONTEXT, client_id).encode_length_delimited_to_vec();
    let context = IpcConnectionContextProto {
        user_info: Some(crate::proto::common::UserInformationProto {
            effective_user: Some(user.to_owned()),
            real_user: real_user.map(str::to_owned),
        }),
        protocol: Some(protocol.to_owned()),
    };
    frame(&[&header, &context.encode_length_delimited_to_vec()])
}

/// A client's call.
pub fn call(client_id: &[u8], call_id: i32, protocol: &str, method: &str, argument: &impl Message) -> Bytes {
    let header = request_header(call_id, client_id).encode_length_delimited_to_vec();
    let method = RequestHeaderProto {
        method_name: method.to_owned(),
        declaring_class_protocol_name: protocol.to_owned(),
        client_protocol_version: 1,
    };
    frame(&[
        &header,
        &method.encode_length_delimited_to_vec(),
        &argument.encode_length_delimited_to_vec(),
    ])
}

/// Splits a reply into its header and the response without its length (empty after an error).
pub fn parse_reply(mut frame: Bytes) -> Result<(RpcResponseHeaderProto, Bytes), Error> {
    let header: RpcResponseHeaderProto = take_delimited(&mut frame)?;
    if frame.is_empty() {
        return Ok((header, frame));
    }
    let length = prost::decode_length_delimiter(&mut frame)?;
    if length > frame.len() {
        return Err(Error::Malformed("a response is longer than its frame"));
    }
    Ok((header, frame.split_to(length)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::hdfs::{MkdirsRequestProto, MkdirsResponseProto};

    #[test]
    fn a_call_and_its_reply_round_trip() {
        let argument = MkdirsRequestProto {
            src: "/a".to_owned(),
            create_parent: true,
            ..Default::default()
        };
        let mut frame = call(&[7; 16], 42, "p", "mkdirs", &argument);
        let length = check_frame_length(bytes::Buf::get_u32(&mut frame)).unwrap();
        assert_eq!(length, frame.len());
        let (header, rest) = parse_request(frame).unwrap();
        assert_eq!((header.call_id, header.client_id.as_slice()), (42, [7; 16].as_slice()));
        let (method, body) = parse_call(rest).unwrap();
        assert_eq!(method.method_name, "mkdirs");
        assert_eq!(MkdirsRequestProto::decode(body).unwrap(), argument);

        let response = MkdirsResponseProto { result: true };
        let (answer, body) = parse_reply(reply(&header, &response.encode_to_vec()).slice(4..)).unwrap();
        assert_eq!((answer.call_id, answer.status()), (42, RpcStatusProto::Success));
        assert_eq!(MkdirsResponseProto::decode(body).unwrap(), response);
    }

    #[test]
    fn an_error_names_its_class() {
        let request = request_header(1, &[0; 16]);
        let bytes = reply_error(
            &request,
            false,
            RpcErrorCodeProto::ErrorApplication,
            "java.io.IOException",
            "no",
        );
        let (header, rest) = parse_reply(bytes.slice(4..)).unwrap();
        assert_eq!(header.exception_class_name(), "java.io.IOException");
        assert!(rest.is_empty());
    }

    #[test]
    fn long_frames_and_foreign_preambles_are_refused() {
        assert!(check_frame_length(0x7fff_ffff).is_err());
        assert!(parse_preamble(b"GET / H").is_err());
        assert_eq!(parse_preamble(&preamble()).unwrap(), AUTH_NONE);
    }

    proptest! {
        #[test]
        fn garbage_is_an_error_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok((_, rest)) = parse_request(Bytes::from(bytes.clone())) {
                let _ = parse_call(rest);
            }
            let _ = parse_reply(Bytes::from(bytes));
        }
    }
}
