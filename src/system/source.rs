//! Where an upload comes from: read by a child process with the caller's own permissions.
//!
//! HostKit runs as root and the caller may not: whatever `--source` names is opened by somebody who
//! can read no more than the caller could.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read, Write},
    os::{fd::AsFd, unix::process::CommandExt},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{
    archive::{self, Leaving},
    invoker::Caller,
    process,
};
use crate::domain::{
    fault::{Code, Fault},
    secret::Secret,
};

/// How long a reader whose work is over may take to end.
const FINISH_TRIES: u32 = 2000;
const FINISH_PACE: Duration = Duration::from_millis(5);

/// An archive that is being read.
pub trait Source: Read {
    /// Ends the reading; fails when whoever made the archive failed.
    fn finish(&mut self) -> Result<()>;
}

/// An archive from any reader.
#[derive(Debug)]
pub struct Stream<R>(pub R);

impl<R: Read> Read for Stream<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl<R: Read> Source for Stream<R> {
    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

/// A child that packs a directory, or copies a file, as the caller.
#[derive(Debug)]
pub struct Packer {
    child: Child,
    stdout: Option<ChildStdout>,
}

/// How a child says what went wrong.
#[derive(Serialize, Deserialize)]
struct Word {
    code: String,
    message: String,
    next: Vec<String>,
}

impl Packer {
    /// Starts a child that reads `path` as `caller`. `verb` is the hidden command that calls [`serve`].
    pub fn start(verb: &str, path: &OsStr, caller: &Caller) -> Result<Self> {
        let program = std::env::current_exe().context("finding this program")?;
        let mut command = Command::new(program);
        command.arg(verb).arg("--").arg(path).env_clear();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if caller.privileged && caller.uid != 0 {
            // The standard library also gives up the supplementary groups.
            command.uid(caller.uid).gid(caller.gid);
        }
        let mut child = command.spawn().context("starting a reader for the source")?;
        let stdout = child.stdout.take();
        Ok(Self { child, stdout })
    }
}

impl Read for Packer {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Some(out) = self.stdout.as_mut() else { return Ok(0) };
        await_bytes(&*out)?;
        out.read(into)
    }
}

/// Standard input, which whoever feeds it may leave open for ever.
#[derive(Debug)]
pub struct Stdin(io::Stdin);

impl Default for Stdin {
    fn default() -> Self {
        Self(io::stdin())
    }
}

impl Read for Stdin {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        await_bytes(&self.0)?;
        // Past the buffer of the standard library, which `await_bytes` could not see into.
        rustix::io::read(&self.0, into).map_err(Into::into)
    }
}

impl Source for Stdin {
    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

/// The content of a file that `caller` may read, or the beginning of it when it is larger than `limit`
/// bytes. `verb` is the hidden command that calls [`serve`] for files.
pub fn read_as(verb: &str, path: &OsStr, caller: &Caller, limit: usize) -> Result<Zeroizing<Vec<u8>>> {
    let mut packer = Packer::start(verb, path, caller)?;
    let bytes = take(&mut packer, limit)?;
    packer.finish()?;
    Ok(bytes)
}

/// What is on standard input, or the beginning of it when it is larger than `limit` bytes.
pub fn read_stdin(limit: usize) -> Result<Zeroizing<Vec<u8>>> {
    take(&mut Stdin::default(), limit)
}

/// Reads until the end, or until it is more than `limit` bytes.
pub(super) fn take(from: &mut impl Read, limit: usize) -> Result<Zeroizing<Vec<u8>>> {
    // As large as it will become: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(limit + 1));
    let mut piece = Zeroizing::new([0; 1 << 12]);
    loop {
        let read = from.read(&mut *piece);
        process::keep_going()?;
        match read.context("reading")? {
            0 => return Ok(bytes),
            n => {
                let room = limit + 1 - bytes.len();
                bytes.extend_from_slice(&piece[..n.min(room)]);
            }
        }
        if bytes.len() > limit {
            return Ok(bytes);
        }
    }
}

/// A terminal that shows what is typed again when this value goes.
struct Blind(Termios);

impl Blind {
    fn begin() -> Result<Self> {
        let before = tcgetattr(io::stdin()).context("looking at the terminal")?;
        let mut silent = before.clone();
        silent.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(io::stdin(), SetArg::TCSAFLUSH, &silent).context("silencing the terminal")?;
        Ok(Self(before))
    }
}

impl Drop for Blind {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &self.0);
        let _ = writeln!(io::stderr());
    }
}

/// One line that is typed without being shown.
pub fn ask_unseen() -> Result<Secret> {
    let _blind = Blind::begin()?;
    Ok(Secret::new(ask()?))
}

/// One line of an answer, typed by somebody who may also press Ctrl-C.
pub fn ask() -> Result<String> {
    let mut line = Vec::new();
    let mut piece = [0];
    let mut stdin = Stdin::default();
    loop {
        match stdin.read(&mut piece) {
            Ok(0) => break,
            Ok(_) if piece[0] == b'\n' => break,
            Ok(_) => line.push(piece[0]),
            Err(error) => {
                process::keep_going()?;
                return Err(error).context("reading the answer");
            }
        }
    }
    Ok(String::from_utf8_lossy(&line).trim().to_owned())
}

/// Waits until there is something to read, or somebody asks this process to stop.
fn await_bytes(from: impl AsFd) -> io::Result<()> {
    let patience = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
    loop {
        process::keep_going().map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(&from, PollFlags::IN)], Some(&patience)) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(e) => return Err(e.into()),
        }
    }
}

impl Source for Packer {
    fn finish(&mut self) -> Result<()> {
        // A child that still writes ends by itself once nobody reads; one that hangs does not.
        self.stdout = None;
        let mut left = FINISH_TRIES;
        while self.child.try_wait().context("waiting for the source's reader")?.is_none() {
            left -= 1;
            if left == 0 || process::keep_going().is_err() {
                self.child.kill().context("ending the source's reader")?;
                break;
            }
            std::thread::sleep(FINISH_PACE);
        }
        let status = self.child.wait().context("waiting for the source's reader")?;
        process::keep_going()?;
        if status.success() {
            return Ok(());
        }
        let mut said = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut said).context("hearing from the source's reader")?;
        }
        match serde_json::from_str::<Word>(said.trim()) {
            Ok(word) => {
                let code =
                    Code::ALL.iter().copied().find(|c| c.text() == word.code).unwrap_or(Code::Internal);
                Err(Fault { code, message: word.message, next: word.next, why: None }.into())
            }
            Err(_) => bail!("the source's reader failed: {}", said.trim()),
        }
    }
}

/// What a child reads, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// An archive of a source: a directory without what is ignored, or a file.
    Source,
    /// An archive of what has been built.
    Artifact,
    /// A file as it is.
    File,
}

/// The child's work: writes the archive of `path`, or only a file, to standard output. On failure a
/// [`Fault`] goes to standard error, and the answer is `false`.
pub fn serve(path: &Path, reading: Reading) -> bool {
    told(match reading {
        Reading::Source => send(path, Leaving::Ignored),
        Reading::Artifact => send(path, Leaving::OwnIgnored),
        Reading::File => send_file(path),
    })
}

/// Writes a child's answer.
pub fn answer(bytes: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

/// Says what went wrong to whoever started this child; whether nothing did.
pub fn told(done: Result<()>) -> bool {
    let Err(error) = done else { return true };
    let gone = error
        .chain()
        .filter_map(|e| e.downcast_ref::<io::Error>())
        .any(|e| e.kind() == io::ErrorKind::BrokenPipe);
    if gone {
        return true;
    }
    let fault = error.downcast_ref::<Fault>().cloned();
    let fault = fault.unwrap_or_else(|| Fault::new(Code::InvalidSource, format!("{error:#}")));
    let word = Word { code: fault.code.text().to_owned(), message: fault.message, next: fault.next };
    let text = serde_json::to_string(&word).unwrap_or_default();
    // Nobody to tell if this fails.
    let _ = writeln!(io::stderr(), "{text}");
    false
}

fn send(path: &Path, leaving: Leaving) -> Result<()> {
    let shown = path.display();
    let refuse = |why: String| {
        Fault::new(Code::InvalidSource, format!("the source `{shown}` {why}"))
            .next("give a directory, a .tar.gz, .tar.zst or .zip file, or `-` for standard input")
    };
    let meta = std::fs::metadata(path).map_err(|e| refuse(format!("cannot be read: {e}")))?;
    let mut out = io::BufWriter::with_capacity(1 << 16, io::stdout().lock());
    if meta.is_dir() {
        archive::pack(path, leaving, &mut out)?;
    } else if meta.is_file() {
        let mut file = File::open(path).map_err(|e| unreadable(path, &e))?;
        let mut beginning = Vec::new();
        (&mut file).take(4).read_to_end(&mut beginning).map_err(|e| unreadable(path, &e))?;
        if archive::is_zip(&beginning) {
            archive::zip_to_tar(io::BufReader::new(file), &mut out)?;
        } else {
            copy(path, &mut out)?;
        }
    } else {
        bail!(refuse("is neither a directory nor a file".to_owned()));
    }
    out.flush()?;
    Ok(())
}

fn send_file(path: &Path) -> Result<()> {
    let shown = path.display();
    let meta = std::fs::metadata(path).map_err(|e| unreadable(path, &e))?;
    if !meta.is_file() {
        bail!(
            Fault::new(Code::InvalidSource, format!("`{shown}` is not a file"))
                .next("give a file, or `-` for standard input")
        );
    }
    let mut out = io::BufWriter::new(io::stdout().lock());
    copy(path, &mut out)?;
    out.flush()?;
    Ok(())
}

fn unreadable(path: &Path, error: &io::Error) -> Fault {
    Fault::new(Code::InvalidSource, format!("`{}` cannot be read: {error}", path.display()))
        .next("give a file that you can read, or `-` for standard input")
}

fn copy(path: &Path, out: &mut impl Write) -> Result<()> {
    let mut file = File::open(path).map_err(|e| unreadable(path, &e))?;
    let mut piece = vec![0; 1 << 16];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(n) => out.write_all(&piece[..n])?,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => bail!(unreadable(path, &e)),
        }
    }
}
