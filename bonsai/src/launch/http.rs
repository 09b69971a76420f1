//! One HTTP request to a service of the stack, with a limit on its answer.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What is read of an answer: a list of a few thousand jobs.
const ANSWER_BYTES_MAX: u64 = 4 << 20;

/// The status code and the body.
pub type Answer = (u16, String);

/// `GET /PAGE`.
pub async fn get(address: &str, page: &str) -> io::Result<Answer> {
    request(address, "GET", page, "").await
}

/// A request with a JSON body, or with none.
pub async fn request(address: &str, method: &str, page: &str, body: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(address).await?;
    let length = body.len();
    let request = format!(
        "{method} /{page} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    parse(&String::from_utf8_lossy(&answer)).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn parse(answer: &str) -> Option<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let code = head.split_whitespace().nth(1)?.parse().ok()?;
    Some((code, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_a_status_line_is_none() {
        assert_eq!(
            parse("HTTP/1.1 503 Unavailable\r\nA: b\r\n\r\nsafe mode"),
            Some((503, "safe mode".to_owned()))
        );
        assert_eq!(parse(""), None);
        assert_eq!(parse("nonsense\r\n\r\n"), None);
    }
}
