//! Garbage on the port: connections are closed, the process serves on, its memory stays flat.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::program::Coordinator;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const IDLE_CONNECTIONS: usize = 500;
/// More than what the first connections cost; far less than any length that the garbage names.
const GROWTH_BYTES_MAX: u64 = 96 << 20;

/// How the requests end that are no garbage.
const WHOLE_REQUEST_END: &[u8] = b"connection: close\r\n\r\n";

fn send(coordinator: &Coordinator, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(coordinator.address).expect("it listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(15)))
        .expect("a timeout");
    let _closed_already = stream.write_all(bytes);
    // A whole request asks for its own end. A client that has said no more to come may be gone, so it would get no answer
    // if the server saw that first.
    if !bytes.ends_with(WHOLE_REQUEST_END) {
        let _no_more = stream.shutdown(std::net::Shutdown::Write);
    }
    let mut answer = Vec::new();
    // Reset is as good an end as any; a timeout is not.
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert!(
            !matches!(
                error.kind(),
                std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
            ),
            "kept open"
        );
    }
    answer
}

/// An HTTP/2 frame with the length it claims.
fn frame(claimed: u32, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = claimed.to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A call of KV.Put whose message claims to be of `claimed` bytes, with headers that any gRPC client sends.
fn call_with_length(claimed: u32) -> Vec<u8> {
    let mut message = vec![0];
    message.extend(claimed.to_be_bytes());
    message.extend([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]);
    call("h", &message)
}

/// A call of KV.Put under some authority.
fn call(authority: &str, message: &[u8]) -> Vec<u8> {
    let literal = |name: &str, value: &str| {
        let mut bytes = vec![0, name.len() as u8];
        bytes.extend(name.as_bytes());
        bytes.push(value.len() as u8);
        bytes.extend(value.as_bytes());
        bytes
    };
    let mut headers = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/etcdserverpb.KV/Put"),
        (":authority", authority),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ] {
        headers.extend(literal(name, value));
    }
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(0, 4, 0, 0, &[]));
    bytes.extend(frame(headers.len() as u32, 1, 4, 1, &headers));
    bytes.extend(frame(message.len() as u32, 0, 1, 1, message));
    bytes
}

/// The kind of the first frame of stream 1 in an answer.
fn first_kind(answer: &[u8]) -> Option<u8> {
    let mut rest = answer;
    while let Some((head, behind)) = rest.split_first_chunk::<9>() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        if head[8] == 1 {
            return Some(head[3]);
        }
        rest = behind.get(length..)?;
    }
    None
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_served_under_any_authority() {
    let data = tempfile::tempdir().expect("a directory");
    let coordinator = Coordinator::start(data.path());
    // grpc-go makes `a%2Fb` of the target `etcd:///a/b`.
    for authority in ["a%2Fb", "a/b", "%", "/", "h:2379"] {
        let key = authority.as_bytes();
        let put = [&[0x0a, key.len() as u8][..], key].concat();
        let message = [&[0, 0, 0, 0, put.len() as u8][..], &put].concat();
        let mut stream = TcpStream::connect(coordinator.address).expect("it listens");
        stream.write_all(&call(authority, &message)).expect("sent");
        let mut answer = Vec::new();
        let mut read = [0; 4096];
        while first_kind(&answer).is_none() {
            let length = stream.read(&mut read).expect("answered");
            assert!(length > 0, "{authority}: the connection was closed");
            answer.extend(&read[..length]);
        }
        assert_eq!(first_kind(&answer), Some(1), "{authority}: HEADERS, no RST_STREAM");
    }
    let client = coordinator.client().await;
    assert!(client.get("a%2Fb").await.expect("it serves").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_is_closed_and_costs_nothing() {
    let data = tempfile::tempdir().expect("a directory");
    let mut coordinator = Coordinator::start(data.path());
    let client = coordinator.client().await;
    client.put("a", "1").await.expect("acknowledged");
    let before = coordinator.resident_bytes();

    let noise: Vec<u8> = (0..64_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let long_header = [b"GET / HTTP/1.1\r\nx: ".as_slice(), &vec![b'y'; 4 << 20]].concat();
    for garbage in [
        &[][..],
        b"\0",
        &[0xff; 64],
        &noise,
        PREFACE,
        &PREFACE[..10],
        &[PREFACE, &frame(0x00ff_ffff, 0, 0, 1, b"short")].concat(),
        &[PREFACE, &frame(0x00ff_ffff, 4, 0, 0, &[0xff; 600])].concat(),
        &call_with_length(2 << 30),
        &call_with_length(u32::MAX),
        &call_with_length(3),
        b"GET /\r\n\r\n",
        b"POST /v3/kv/range HTTP/1.1\r\ncontent-length: 9223372036854775807\r\n\r\n",
        &long_header,
    ] {
        send(&coordinator, garbage);
        assert!(coordinator.is_running());
    }
    let page = send(
        &coordinator,
        b"GET /health HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n",
    );
    assert!(String::from_utf8_lossy(&page).contains(r#"{"health":"true","reason":""}"#));

    let begun = Instant::now();
    let idle: Vec<TcpStream> = (0..IDLE_CONNECTIONS)
        .map(|_| TcpStream::connect(coordinator.address).expect("it listens"))
        .collect();
    client.put("b", "1").await.expect("it serves beside them");
    for mut stream in idle {
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a timeout");
        // 0 bytes, or a reset: closed by the server.
        let read = stream.read(&mut [0; 64]);
        assert!(
            !matches!(&read, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock),
            "kept open"
        );
    }
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_eq!(
        client
            .get("b")
            .await
            .expect("it serves")
            .expect("it is there")
            .value
            .as_ref(),
        b"1"
    );
    let grown = coordinator.resident_bytes().saturating_sub(before);
    assert!(grown < GROWTH_BYTES_MAX, "memory grew by {grown} bytes");
}
