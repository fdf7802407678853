//! Looking at answers, as a visitor and as the one who reloads nginx.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

/// Where the running nginx says which sites it has loaded.
const STATUS_SOCKET: &str = "/run/hostkit/nginx.sock";
const PATIENCE: Duration = Duration::from_secs(20);
const PACE: Duration = Duration::from_millis(1);

/// The status and body of one answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

fn ask(mut stream: impl Read + Write, host: &str, path: &str) -> io::Result<Answer> {
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n").as_bytes())?;
    let mut text = Vec::new();
    stream.take(1 << 16).read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split_ascii_whitespace().nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    Ok(Answer { status, body: body.to_owned() })
}

/// What a process on this server answers on its port.
pub(crate) fn get(port: u16, host: &str, path: &str) -> io::Result<Answer> {
    ask(TcpStream::connect(("127.0.0.1", port))?, host, path)
}

/// The fingerprint of a site in the configuration that nginx runs.
pub(crate) fn loaded(site: &str) -> Option<String> {
    let answer = ask(UnixStream::connect(STATUS_SOCKET).ok()?, site, "/").ok()?;
    (answer.status == 200).then(|| answer.body.trim().to_owned())
}

/// Waits until something is so, looking every millisecond.
pub(crate) fn until(what: &str, is_so: impl Fn() -> bool) -> io::Result<()> {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        if Instant::now() > end {
            let seconds = PATIENCE.as_secs();
            return Err(io::Error::other(format!("waited {seconds} s for {what}")));
        }
        std::thread::sleep(PACE);
    }
    Ok(())
}

/// Waits until a visitor of the site gets this status and these words.
pub(crate) fn until_visited(host: &str, status: u16, words: &str) -> io::Result<()> {
    until(&format!("`{words}` from {host}"), || {
        get(80, host, "/").is_ok_and(|a| a.status == status && a.body.contains(words))
    })
}
