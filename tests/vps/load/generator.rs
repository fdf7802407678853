//! Visitors: a steady number of requests a second from outside the server, half of them over connections
//! that are kept open, half over fresh ones. Each visitor is a thread with a timetable of its own, so a
//! slow answer delays nobody else's question.

use std::{
    fmt,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// How many visitors there are, and how often each asks.
const VISITORS: u32 = 40;
const PACE: Duration = Duration::from_millis(200);
/// How long a visitor waits for an answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// What came of one request.
#[derive(Clone)]
struct Sample {
    at: Instant,
    took: Duration,
    /// The connection had been closed while nothing was under way on it, and was opened again.
    reopened: bool,
    failure: Option<String>,
}

/// The visitors of one site.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    visitors: Vec<JoinHandle<Vec<Sample>>>,
}

impl Load {
    /// Begins to visit `host`, whose answers must be successes that say `word`.
    pub(crate) fn begin(address: &str, host: &str, word: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let began = Instant::now();
        let at = SocketAddr::new(address.parse().expect("a server has an address"), 80);
        let visitor = |n: u32| {
            let (stop, host, word) = (Arc::clone(&stop), host.to_owned(), word.to_owned());
            let mut visitor = Visitor { at, host, word, keeps: n.is_multiple_of(2), open: None };
            std::thread::spawn(move || {
                let mut due = began + PACE * n / VISITORS;
                let mut all = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    all.push(visitor.ask(due));
                    // One that was kept waiting does not make up for it by asking faster.
                    due = (due + PACE).max(Instant::now());
                }
                all
            })
        };
        let visitors = (0..VISITORS).map(visitor).collect();
        Self { stop, visitors }
    }

    /// Ends the visits.
    pub(crate) fn end(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let mut samples: Vec<Sample> =
            self.visitors.into_iter().flat_map(|v| v.join().expect("a visitor does not panic")).collect();
        samples.sort_by_key(|sample| sample.at);
        Tally { samples }
    }
}

struct Visitor {
    at: SocketAddr,
    host: String,
    word: String,
    /// Whether it keeps its connection open.
    keeps: bool,
    open: Option<BufReader<TcpStream>>,
}

impl Visitor {
    fn ask(&mut self, due: Instant) -> Sample {
        let kept = self.open.take();
        let mut reopened = false;
        let mut came = match kept {
            Some(stream) => self.exchange(stream),
            None => self.fresh(),
        };
        // A server may close an idle connection at any time; every HTTP client asks again on a new one.
        if matches!(came, Err(Trouble::Closed)) && self.keeps {
            reopened = true;
            came = self.fresh();
        }
        Sample {
            at: due,
            took: due.elapsed(),
            reopened,
            failure: came.err().map(|trouble| trouble.to_string()),
        }
    }

    fn fresh(&mut self) -> Result<(), Trouble> {
        let stream = TcpStream::connect_timeout(&self.at, PATIENCE)
            .map_err(|e| Trouble::Other(format!("connecting: {e}")))?;
        let limit = |e: std::io::Error| Trouble::Other(e.to_string());
        stream.set_read_timeout(Some(PATIENCE)).map_err(limit)?;
        stream.set_nodelay(true).map_err(limit)?;
        match self.exchange(BufReader::new(stream)) {
            // On a new connection that is no idle one that was closed.
            Err(Trouble::Closed) => Err(Trouble::Other("closed without an answer".to_owned())),
            other => other,
        }
    }

    fn exchange(&mut self, mut stream: BufReader<TcpStream>) -> Result<(), Trouble> {
        let how = if self.keeps { "keep-alive" } else { "close" };
        let request = format!("GET / HTTP/1.1\r\nHost: {}\r\nConnection: {how}\r\n\r\n", self.host);
        stream.get_mut().write_all(request.as_bytes()).map_err(|_| Trouble::Closed)?;
        let mut line = String::new();
        match stream.read_line(&mut line) {
            Ok(0) => return Err(Trouble::Closed),
            Ok(_) => {}
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => return Err(Trouble::Closed),
            Err(e) => return Err(Trouble::Other(format!("waiting: {e}"))),
        }
        let status = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let (mut length, mut chunked, mut closes) = (None, false, false);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).map_err(|e| Trouble::Other(format!("in the head: {e}")))? == 0 {
                return Err(Trouble::Other("cut off in the head".to_owned()));
            }
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(number) = line.strip_prefix("content-length:") {
                length = number.trim().parse::<usize>().ok();
            }
            chunked |= line == "transfer-encoding: chunked";
            closes |= line == "connection: close";
        }
        let body =
            body(&mut stream, length, chunked).map_err(|e| Trouble::Other(format!("in the body: {e}")))?;
        if status != "200" || !body.contains(&self.word) {
            let body: String = body.chars().take(80).collect();
            return Err(Trouble::Other(format!("status {status}: {body:?}")));
        }
        if self.keeps && !closes {
            self.open = Some(stream);
        }
        Ok(())
    }
}

fn body(stream: &mut impl BufRead, length: Option<usize>, chunked: bool) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    if let Some(length) = length {
        bytes.resize(length, 0);
        stream.read_exact(&mut bytes)?;
    } else if chunked {
        loop {
            let mut line = String::new();
            stream.read_line(&mut line)?;
            let size = usize::from_str_radix(line.trim(), 16).map_err(std::io::Error::other)?;
            let mut piece = vec![0; size + 2];
            stream.read_exact(&mut piece)?;
            bytes.extend_from_slice(&piece[..size]);
            if size == 0 {
                break;
            }
        }
    } else {
        stream.read_to_end(&mut bytes)?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Why a request was not answered as it should be.
enum Trouble {
    /// The connection was closed before a byte of the answer came.
    Closed,
    Other(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed without an answer"),
            Self::Other(why) => f.write_str(why),
        }
    }
}

/// What the visitors saw.
pub(crate) struct Tally {
    samples: Vec<Sample>,
}

impl Tally {
    pub(crate) fn all(&self) -> usize {
        self.samples.len()
    }

    /// The requests that got no answer, or a wrong one: when, and why.
    pub(crate) fn failures(&self) -> Vec<String> {
        let Some(first) = self.samples.first() else { return Vec::new() };
        let failed = self.samples.iter().filter_map(|s| {
            let why = s.failure.as_ref()?;
            Some(format!("after {:.3} s: {why}", s.at.duration_since(first.at).as_secs_f64()))
        });
        failed.collect()
    }

    /// How often an idle connection had been closed.
    pub(crate) fn reopened(&self) -> usize {
        self.samples.iter().filter(|sample| sample.reopened).count()
    }

    /// The time within which 99 of 100 were answered, of those asked from the one moment to the other.
    pub(crate) fn p99(&self, from: Instant, to: Instant) -> Duration {
        let mut took: Vec<Duration> =
            self.samples.iter().filter(|s| (from..to).contains(&s.at)).map(|s| s.took).collect();
        took.sort_unstable();
        took.get(took.len() * 99 / 100).copied().unwrap_or_default()
    }

    /// The longest time between two good answers.
    pub(crate) fn gap(&self) -> Duration {
        let mut ends: Vec<Instant> =
            self.samples.iter().filter(|s| s.failure.is_none()).map(|s| s.at + s.took).collect();
        ends.sort_unstable();
        ends.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }
}
