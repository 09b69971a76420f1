//! Plain HTTP/1.1 for tests: one request on a connection of its own.

use std::io::{Error, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};

use crate::wait::DEADLINE;

/// A response: its status code and its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub body: String,
}

/// GET; the body, whatever the status code.
///
/// # Errors
/// When the server cannot be reached or closes the connection early.
pub fn get(address: SocketAddr, path: &str) -> Result<String> {
    Ok(request(address, "GET", path, "")?.body)
}

/// One request, with a JSON body if `body` is not empty.
///
/// # Errors
/// When the server cannot be reached, closes the connection early, or does not answer with HTTP and UTF-8.
pub fn request(address: SocketAddr, method: &str, path: &str, body: &str) -> Result<Response> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    let content_type = if body.is_empty() {
        ""
    } else {
        "Content-Type: application/json\r\n"
    };
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n{content_type}\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    parse(&answer).ok_or_else(|| Error::other(format!("not an HTTP response: {answer:?}")))
}

fn parse(answer: &str) -> Option<Response> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some(Response {
        status,
        body: body.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_request_has_its_method_path_and_body() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut seen = Vec::new();
            while !seen.ends_with(b"{}") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                seen.extend(byte);
            }
            stream.write_all(b"HTTP/1.1 404 Not Found\r\nx: y\r\n\r\nno").unwrap();
            String::from_utf8(seen).unwrap()
        });
        let response = request(address, "PUT", "/x", "{}").unwrap();
        assert_eq!((response.status, response.body.as_str()), (404, "no"));
        let seen = server.join().unwrap();
        assert!(
            seen.starts_with("PUT /x HTTP/1.1\r\n") && seen.contains("Content-Length: 2\r\n"),
            "{seen}"
        );
    }

    #[test]
    fn a_connection_that_is_closed_early_is_an_error() {
        assert_eq!(parse("HTTP/1.1 200 OK\r\n"), None);
        assert_eq!(parse("SSH-2.0-x\r\n\r\n"), None);
    }
}
