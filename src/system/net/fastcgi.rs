//! Asking a process that speaks `FastCGI`, as nginx does: one request, one answer, one connection.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

/// How much of the answer is read to find the end of its head, in bytes.
const HEAD: usize = 64 << 10;

// The protocol's numbers.
const VERSION: u8 = 1;
const BEGIN_REQUEST: u8 = 1;
const END_REQUEST: u8 = 3;
const PARAMS: u8 = 4;
const STDIN: u8 = 5;
const STDOUT: u8 = 6;

/// A request for a script.
#[derive(Clone, Copy, Debug)]
pub struct Script<'a> {
    /// The directory that is served.
    pub root: &'a str,
    /// The name the request is for.
    pub host: &'a str,
    /// The path that is asked for; where it names no script, it is `index.php`'s.
    pub path: &'a str,
}

impl Script<'_> {
    /// What the process is told.
    fn params(&self) -> Vec<(&'static str, String)> {
        let (path, query) = self.path.split_once('?').unwrap_or((self.path, ""));
        let is_script = path.strip_suffix(".php").is_some() && !path.split('/').any(|part| part == "..");
        let name = if is_script { path } else { "/index.php" };
        let fixed = |text: &str| text.to_owned();
        vec![
            ("SCRIPT_FILENAME", format!("{}{name}", self.root)),
            ("SCRIPT_NAME", fixed(name)),
            ("DOCUMENT_ROOT", fixed(self.root)),
            ("DOCUMENT_URI", fixed(name)),
            ("REQUEST_URI", fixed(self.path)),
            ("QUERY_STRING", fixed(query)),
            ("REQUEST_METHOD", fixed("GET")),
            ("CONTENT_TYPE", String::new()),
            ("CONTENT_LENGTH", String::new()),
            ("GATEWAY_INTERFACE", fixed("CGI/1.1")),
            ("SERVER_PROTOCOL", fixed("HTTP/1.1")),
            ("SERVER_SOFTWARE", fixed("nginx")),
            ("SERVER_NAME", fixed(self.host)),
            ("SERVER_ADDR", fixed("127.0.0.1")),
            ("SERVER_PORT", fixed("443")),
            ("REMOTE_ADDR", fixed("127.0.0.1")),
            ("REQUEST_SCHEME", fixed("https")),
            ("HTTPS", fixed("on")),
            ("HTTP_HOST", fixed(self.host)),
            ("HTTP_USER_AGENT", fixed("hostkit-health")),
            ("HTTP_ACCEPT", fixed("*/*")),
            ("HTTP_X_FORWARDED_PROTO", fixed("https")),
        ]
    }

    /// The whole request, in one piece.
    fn request(&self) -> Vec<u8> {
        let mut params = Vec::new();
        for (name, value) in self.params() {
            length(&mut params, name.len());
            length(&mut params, value.len());
            params.extend_from_slice(name.as_bytes());
            params.extend_from_slice(value.as_bytes());
        }
        let mut request = Vec::new();
        // A responder whose connection ends with its answer.
        record(&mut request, BEGIN_REQUEST, &[0, 1, 0, 0, 0, 0, 0, 0]);
        record(&mut request, PARAMS, &params);
        record(&mut request, PARAMS, &[]);
        record(&mut request, STDIN, &[]);
        request
    }
}

fn length(into: &mut Vec<u8>, bytes: usize) {
    match u8::try_from(bytes) {
        Ok(short @ ..128) => into.push(short),
        _ => into.extend((u32::try_from(bytes).unwrap_or(0) | 1 << 31).to_be_bytes()),
    }
}

/// A record of the one request. What is sent here is far below the 64 KiB that one may hold.
fn record(into: &mut Vec<u8>, kind: u8, content: &[u8]) {
    let [high, low] = u16::try_from(content.len()).unwrap_or(0).to_be_bytes();
    into.extend([VERSION, kind, 0, 1, high, low, 0, 0]);
    into.extend_from_slice(content);
}

/// The status of the answer.
pub(super) fn get(port: u16, script: &Script<'_>, patience: Duration) -> Result<u16> {
    let until = Instant::now() + patience;
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&at, patience)?;
    stream.set_write_timeout(Some(patience))?;
    stream.write_all(&script.request())?;
    let mut heard = Vec::new();
    let mut piece = [0; 4096];
    loop {
        if let Some(status) = status(&heard)? {
            return Ok(status);
        }
        // One deadline for all of it: an answer that drips must not hold anybody up.
        let left = until.saturating_duration_since(Instant::now());
        ensure!(!left.is_zero(), "no answer within {} s", patience.as_secs());
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut piece) {
            Ok(0) => bail!("the answer is not FastCGI"),
            Ok(n) => heard.extend_from_slice(&piece[..n]),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                bail!("no answer within {} s", patience.as_secs())
            }
            Err(e) => return Err(e.into()),
        }
    }
}

/// The status, as soon as the head of the answer is there.
fn status(heard: &[u8]) -> Result<Option<u16>> {
    let mut rest = heard;
    let mut output = Vec::new();
    while let [version, kind, _, _, high, low, padding, _, content @ ..] = rest {
        ensure!(*version == VERSION, "the answer is not FastCGI");
        let size = usize::from(u16::from_be_bytes([*high, *low]));
        let whole = size + usize::from(*padding);
        match *kind {
            STDOUT => output.extend_from_slice(&content[..size.min(content.len())]),
            END_REQUEST => bail!("the answer ended before it began"),
            // What is complained of goes to the log as well.
            _ => {}
        }
        if let Some(end) = output.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&output[..end]);
            let named = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("status").then(|| value.trim().to_owned())
            });
            // Nothing said means that all is well.
            let Some(named) = named else { return Ok(Some(200)) };
            let number = named.split(' ').next().and_then(|number| number.parse().ok());
            return number.context("the answer has no status").map(Some);
        }
        ensure!(output.len() < HEAD, "the answer has no head");
        if content.len() < whole {
            break;
        }
        rest = &content[whole..];
    }
    Ok(None)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn answer(records: &[(u8, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (kind, content) in records {
            record(&mut bytes, *kind, content);
        }
        bytes
    }

    #[test]
    fn the_status_is_that_of_the_head_and_200_when_none_is_named() {
        let ok = answer(&[(STDOUT, b"Content-type: text/html\r\n\r\nStatus: 404")]);
        assert_eq!(status(&ok).unwrap(), Some(200));
        let split = answer(&[(STDOUT, b"Sta"), (7, b"a warning\r\n\r\n"), (STDOUT, b"tus: 503 No\r\n\r\n")]);
        assert_eq!(status(&split).unwrap(), Some(503));
        assert_eq!(status(&split[..split.len() - 4]).unwrap(), None, "not all of the head is there");
        assert_eq!(status(b"").unwrap(), None);
    }

    #[test]
    fn nonsense_is_not_an_answer() {
        for bytes in [&b"HTTP/1.1 200 OK\r\n"[..], &answer(&[(STDOUT, b"Status: all\r\n\r\n")])] {
            assert!(status(bytes).is_err(), "{bytes:?}");
        }
        assert!(status(&answer(&[(END_REQUEST, &[0; 8])])).is_err());
        assert!(
            status(&answer(&[(STDOUT, &vec![b'x'; HEAD / 2]), (STDOUT, &vec![b'x'; HEAD / 2])])).is_err()
        );
    }

    #[test]
    fn a_script_is_asked_for_by_its_path_and_all_else_is_the_front_controllers() {
        let script = |path| {
            let script = Script { root: "/r/public", host: "a.example", path };
            let named = |key| script.params().into_iter().find(|(name, _)| *name == key).unwrap().1;
            format!("{} {}", named("SCRIPT_FILENAME"), named("REQUEST_URI"))
        };
        assert_eq!(script("/up"), "/r/public/index.php /up");
        assert_eq!(script("/up.php?x=1"), "/r/public/up.php /up.php?x=1");
        assert_eq!(script("/../up.php"), "/r/public/index.php /../up.php");
    }

    #[test]
    fn a_process_is_asked_and_its_answer_awaited() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let script = Script { root: "/r", host: "a.example", path: "/" };
        let whole = script.request().len();
        let served = std::thread::spawn(move || {
            let mut peer = socket.accept().unwrap().0;
            let mut request = vec![0; whole];
            peer.read_exact(&mut request).unwrap();
            assert!(request.windows(12).any(|part| part == b"/r/index.php"));
            for byte in answer(&[(STDOUT, b"Status: 201 Made\r\n\r\n")]) {
                peer.write_all(&[byte]).unwrap();
            }
        });
        assert_eq!(get(port, &script, Duration::from_secs(5)).unwrap(), 201);
        served.join().unwrap();
    }
}
