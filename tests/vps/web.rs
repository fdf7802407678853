//! A visitor: asks nginx over the network, from outside the server.

use std::{
    fmt,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// What the visitor got.
#[must_use]
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The status; 0 when there was no answer at all.
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// Whether it is a success and holds this text.
    pub(crate) fn says(&self, text: &str) -> bool {
        self.status == 200 && self.body.contains(text)
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body: String = self.body.chars().take(600).collect();
        write!(f, "status {}\n{}\n\n{body}", self.status, self.head)
    }
}

/// `GET path` for this host name.
pub(crate) fn get(address: &str, host: &str, path: &str) -> Answer {
    // HTTP/1.0: nginx answers with a plain body and closes, so that the end is the end.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {host}\r\nUser-Agent: tests/vps\r\n\r\n");
    match exchange(address, request.as_bytes()) {
        Ok(bytes) => parse(&String::from_utf8_lossy(&bytes)),
        Err(error) => Answer { head: error.to_string(), ..Answer::default() },
    }
}

fn exchange(address: &str, request: &[u8]) -> std::io::Result<Vec<u8>> {
    let ip = address.parse().map_err(std::io::Error::other)?;
    let mut stream = TcpStream::connect_timeout(&SocketAddr::new(ip, 80), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(request)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

fn parse(text: &str) -> Answer {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}
