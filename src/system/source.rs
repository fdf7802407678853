//! Where an upload comes from: read by a child process with the caller's own permissions.
//!
//! HostKit runs as root and the caller may not: whatever `--source` names is opened by somebody who
//! can read no more than the caller could.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::{archive, invoker::Caller};
use crate::domain::fault::{Code, Fault};

/// An archive that is being read.
pub trait Source: Read {
    /// Ends the reading; fails when whoever made the archive failed.
    fn finish(&mut self) -> Result<()>;
}

/// An archive from a stream that somebody else opened.
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
        self.stdout.as_mut().map_or(Ok(0), |out| out.read(into))
    }
}

impl Source for Packer {
    fn finish(&mut self) -> Result<()> {
        // A child that still writes ends by itself once nobody reads.
        self.stdout = None;
        let mut said = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut said).context("hearing from the source's reader")?;
        }
        if self.child.wait().context("waiting for the source's reader")?.success() {
            return Ok(());
        }
        match serde_json::from_str::<Word>(said.trim()) {
            Ok(word) => {
                let code =
                    Code::ALL.iter().copied().find(|c| c.text() == word.code).unwrap_or(Code::Internal);
                Err(Fault { code, message: word.message, next: word.next }.into())
            }
            Err(_) => bail!("the source's reader failed: {}", said.trim()),
        }
    }
}

/// The child's work: writes the archive of `path` to standard output. On failure a [`Fault`] goes to
/// standard error, and the answer is `false`.
pub fn serve(path: &Path) -> bool {
    let done = send(path);
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

fn send(path: &Path) -> Result<()> {
    let shown = path.display();
    let refuse = |why: String| {
        Fault::new(Code::InvalidSource, format!("the source `{shown}` {why}"))
            .next("give a directory, a `.tar.gz` file, or `-` for standard input")
    };
    let meta = std::fs::metadata(path).map_err(|e| refuse(format!("cannot be read: {e}")))?;
    let mut out = io::BufWriter::with_capacity(1 << 16, io::stdout().lock());
    if meta.is_dir() {
        archive::pack(path, &mut out)?;
    } else if meta.is_file() {
        let mut file = File::open(path).map_err(|e| refuse(format!("cannot be read: {e}")))?;
        io::copy(&mut file, &mut out)?;
    } else {
        bail!(refuse("is neither a directory nor a file".to_owned()));
    }
    out.flush()?;
    Ok(())
}
