//! A conversation with one server, which may say what it likes: every answer has a deadline and a greatest
//! length, and a long value goes on to where it is wanted piece by piece.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    sync::mpsc,
    time::{Duration, Instant},
};

use redis::{Cmd, FromRedisValue, Value};

use crate::system::process;

/// How long a server may take to let HostKit in, and to answer.
const CONNECT: Duration = Duration::from_secs(5);
pub(super) const ANSWER: Duration = Duration::from_secs(10);
/// The longest answer, in bytes; keys and values that are dumped are counted by themselves.
const LONGEST: usize = 64 << 20;
/// The longest line and the deepest list of an answer.
const LINE: usize = 64 << 10;
const DEEPEST: usize = 8;
/// How much is read or written at a time, in bytes.
const PIECE: usize = 64 << 10;

/// What went wrong: with the server, or with what is read or written.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Nobody listens, or the connection has ended.
    Gone,
    /// There is no answer in time.
    Late,
    /// The server refuses, in its own words.
    Refused(String),
    /// This is no answer that a Redis server gives.
    Nonsense(&'static str),
    /// It has nothing to do with the server.
    Other(anyhow::Error),
}

impl Trouble {
    /// Whether nobody listened.
    pub(super) const fn is_down(&self) -> bool {
        matches!(self, Self::Gone)
    }
    /// Whether the server does not know who asks.
    pub(super) fn is_shut(&self) -> bool {
        matches!(self, Self::Refused(said) if said.starts_with("WRONGPASS") || said.starts_with("NOAUTH"))
    }
}

impl From<anyhow::Error> for Trouble {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

/// An error of a connection.
fn broken(error: &io::Error) -> Trouble {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Trouble::Late,
        _ => Trouble::Gone,
    }
}

/// What a connection goes over.
trait Stream: Read + Write {
    fn patience(&self, read: Option<Duration>, write: Option<Duration>) -> io::Result<()>;
}

impl Stream for UnixStream {
    fn patience(&self, read: Option<Duration>, write: Option<Duration>) -> io::Result<()> {
        self.set_read_timeout(read).and_then(|()| self.set_write_timeout(write))
    }
}

impl Stream for TcpStream {
    fn patience(&self, read: Option<Duration>, write: Option<Duration>) -> io::Result<()> {
        self.set_read_timeout(read).and_then(|()| self.set_write_timeout(write))
    }
}

/// A connection.
pub(super) struct Link {
    stream: Box<dyn Stream>,
    read: Vec<u8>,
    at: usize,
    /// When the answer that is being read must be whole.
    end: Instant,
    patience: Duration,
}

impl Link {
    /// Over a socket, as a user with a password.
    pub(super) fn at(socket: &Path, user: &str, password: &str) -> Result<Self, Trouble> {
        // Whoever listens and takes nobody in is not waited for without an end.
        let (done, wait) = mpsc::channel();
        let socket = socket.to_owned();
        std::thread::spawn(move || drop(done.send(UnixStream::connect(socket))));
        let stream =
            wait.recv_timeout(CONNECT).map_err(|_| Trouble::Late)?.map_err(|error| broken(&error))?;
        let mut link = Self::over(Box::new(stream));
        link.tell(Cmd::new().arg("AUTH").arg(user).arg(password))?;
        Ok(link)
    }

    /// Over a port of this machine, as nobody.
    pub(super) fn port(port: u16) -> Result<Self, Trouble> {
        let stream = TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, port).into(), CONNECT)
            .map_err(|error| broken(&error))?;
        Ok(Self::over(Box::new(stream)))
    }

    fn over(stream: Box<dyn Stream>) -> Self {
        Self { stream, read: Vec::new(), at: 0, end: Instant::now(), patience: ANSWER }
    }

    /// The same with other patience for each answer.
    pub(super) fn wait(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    // --- asking -----------------------------------------------------------------------------------

    /// Asks one thing.
    pub(super) fn ask<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T, Trouble> {
        let answer = self.ask_all([command])?.pop().unwrap_or(Value::Nil);
        redis::from_redis_value(answer)
            .map_err(|_| Trouble::Nonsense("another kind of answer than was asked for"))
    }

    /// Says one thing.
    pub(super) fn tell(&mut self, command: &Cmd) -> Result<(), Trouble> {
        self.ask_all([command]).map(drop)
    }

    /// Asks several things at once. All their answers together are no longer than one may be.
    pub(super) fn ask_all<'c>(
        &mut self,
        commands: impl IntoIterator<Item = &'c Cmd>,
    ) -> Result<Vec<Value>, Trouble> {
        let (mut text, mut count) = (Vec::new(), 0);
        for command in commands {
            command.write_packed_command(&mut text);
            count += 1;
        }
        self.send(&text)?;
        let mut left = LONGEST;
        (0..count).map(|_| self.answer(&mut left)).collect()
    }

    /// Sends what belongs to a command.
    pub(super) fn send(&mut self, mut bytes: &[u8]) -> Result<(), Trouble> {
        self.stream.patience(None, Some(self.patience)).map_err(|error| broken(&error))?;
        while !bytes.is_empty() {
            match self.stream.write(&bytes[..bytes.len().min(PIECE)]) {
                Ok(0) => return Err(Trouble::Gone),
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => process::keep_going()?,
                Err(error) => return Err(broken(&error)),
            }
        }
        Ok(())
    }

    // --- answers ----------------------------------------------------------------------------------

    /// One answer, which may take `left` bytes.
    pub(super) fn answer(&mut self, left: &mut usize) -> Result<Value, Trouble> {
        self.end = Instant::now() + self.patience;
        self.value(left, 0)
    }

    fn value(&mut self, left: &mut usize, depth: usize) -> Result<Value, Trouble> {
        let line = self.line(left)?;
        let (kind, rest) = line.split_first().ok_or(Trouble::Nonsense("an empty line"))?;
        let text = || String::from_utf8_lossy(rest).into_owned();
        Ok(match kind {
            b'+' if rest == b"OK" => Value::Okay,
            b'+' => Value::SimpleString(text()),
            b'-' if depth == 0 => return Err(Trouble::Refused(text())),
            b':' => Value::Int(number(rest)?),
            b'$' => match number(rest)? {
                -1 => Value::Nil,
                length => {
                    let length =
                        usize::try_from(length).map_err(|_| Trouble::Nonsense("a length below nothing"))?;
                    let mut bytes = Vec::new();
                    self.bulk(spend(left, length)?, &mut |piece| {
                        bytes.extend_from_slice(piece);
                        Ok(())
                    })?;
                    Value::BulkString(bytes)
                }
            },
            b'*' => match number(rest)? {
                -1 => Value::Nil,
                _ if depth == DEEPEST => return Err(Trouble::Nonsense("lists within lists without an end")),
                count => {
                    let mut all = Vec::new();
                    for _ in 0..count {
                        all.push(self.value(left, depth + 1)?);
                    }
                    Value::Array(all)
                }
            },
            _ => return Err(Trouble::Nonsense("something that is no answer")),
        })
    }

    /// The head of an answer that is one long value: its length, or nothing when there is none.
    pub(super) fn long(&mut self) -> Result<Option<u64>, Trouble> {
        self.end = Instant::now() + self.patience;
        let line = self.line(&mut LINE.clone())?;
        match line.split_first() {
            Some((b'$', rest)) => Ok(u64::try_from(number(rest)?).ok()),
            Some((b'-', rest)) => Err(Trouble::Refused(String::from_utf8_lossy(rest).into_owned())),
            _ => Err(Trouble::Nonsense("another kind of answer than was asked for")),
        }
    }

    /// The bytes of such a value. Each piece has the time that an answer has.
    pub(super) fn pass(&mut self, length: u64, out: &mut dyn Write) -> Result<(), Trouble> {
        let mut left = length;
        while left > 0 {
            process::keep_going()?;
            self.end = Instant::now() + self.patience;
            let some = self.some(left)?;
            out.write_all(some).map_err(|error| Trouble::Other(error.into()))?;
            let count = some.len();
            self.at += count;
            left -= count as u64;
        }
        self.newline()
    }

    fn bulk(
        &mut self,
        length: usize,
        take: &mut dyn FnMut(&[u8]) -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        let mut left = length as u64;
        while left > 0 {
            let some = self.some(left)?;
            take(some)?;
            let count = some.len();
            self.at += count;
            left -= count as u64;
        }
        self.newline()
    }

    fn newline(&mut self) -> Result<(), Trouble> {
        for expected in *b"\r\n" {
            if self.some(1)? != [expected] {
                return Err(Trouble::Nonsense("a value that does not end where it says"));
            }
            self.at += 1;
        }
        Ok(())
    }

    fn line(&mut self, left: &mut usize) -> Result<Vec<u8>, Trouble> {
        let mut line = Vec::new();
        loop {
            let byte = self.some(1)?[0];
            self.at += 1;
            spend(left, 1)?;
            match byte {
                b'\n' if line.last() == Some(&b'\r') => {
                    line.pop();
                    return Ok(line);
                }
                _ if line.len() == LINE => return Err(Trouble::Nonsense("a line without an end")),
                byte => line.push(byte),
            }
        }
    }

    /// What has come and was not read yet, `most` bytes of it, at least one.
    fn some(&mut self, most: u64) -> Result<&[u8], Trouble> {
        if self.at == self.read.len() {
            self.read.resize(PIECE, 0);
            self.at = 0;
            let count = self.fill();
            self.read.truncate(*count.as_ref().unwrap_or(&0));
            count?;
        }
        let here = &self.read[self.at..];
        Ok(&here[..usize::try_from(most).map_or(here.len(), |most| most.min(here.len()))])
    }

    fn fill(&mut self) -> Result<usize, Trouble> {
        loop {
            let left = self.end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Trouble::Late);
            }
            self.stream.patience(Some(left), None).map_err(|error| broken(&error))?;
            match self.stream.read(&mut self.read) {
                Ok(0) => return Err(Trouble::Gone),
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => process::keep_going()?,
                Err(error) => return Err(broken(&error)),
            }
        }
    }
}

/// Takes `bytes` from what an answer may have left.
fn spend(left: &mut usize, bytes: usize) -> Result<usize, Trouble> {
    *left = left.checked_sub(bytes).ok_or(Trouble::Nonsense("more than HostKit has asked for"))?;
    Ok(bytes)
}

fn number(text: &[u8]) -> Result<i64, Trouble> {
    std::str::from_utf8(text)
        .ok()
        .and_then(|t| t.parse().ok())
        .ok_or(Trouble::Nonsense("a number that is none"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
