//! Running programs: absolute path, empty environment, no standard input, a deadline. No shell, ever.

use std::{
    ffi::OsStr,
    io::Read,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::domain::fault::{Code, Fault};

/// The only places programs are taken from.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How much of a program's complaints goes into an error, in bytes.
const TAIL: usize = 1024;
/// How long a program may take unless its caller knows better.
const PATIENCE: Duration = Duration::from_secs(90);

/// A program on this host.
#[derive(Clone, Debug)]
pub struct Tool {
    name: &'static str,
    path: PathBuf,
}

/// What a program left.
#[derive(Debug)]
pub struct Ran {
    /// How it ended.
    pub status: ExitStatus,
    /// What it answered.
    pub stdout: String,
    /// What it said.
    pub stderr: String,
}

/// Where the program called `name` is, if it is installed.
pub fn locate(name: &str) -> Option<PathBuf> {
    which::which_in(name, Some(PATH), "/").ok()
}

impl Tool {
    /// Finds a program, or says which Debian package brings it.
    pub fn find(name: &'static str, package: &str) -> Result<Self> {
        let path = locate(name).ok_or_else(|| {
            Fault::new(Code::ProgramMissing, format!("the program `{name}` is not installed"))
                .next(format!("apt-get install {package}"))
        })?;
        Ok(Self { name, path })
    }

    /// A command with the environment and streams every program gets.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.env_clear().env("PATH", PATH).env("LC_ALL", "C").current_dir("/").stdin(Stdio::null());
        command
    }

    /// Runs it and returns what it left, however it ended.
    pub fn output<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Result<Ran> {
        let mut command = self.command();
        command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().with_context(|| format!("starting `{}`", self.path.display()))?;
        within(PATIENCE, child).with_context(|| format!("running `{}`", self.name))
    }

    /// Runs it, and fails with what it said when it fails.
    pub fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Result<Ran> {
        let ran = self.output(args)?;
        if !ran.status.success() {
            bail!("`{}` failed ({}): {}", self.name, ran.status, tail(&ran.stderr));
        }
        Ok(ran)
    }
}

/// The end of what a program said, on as few lines as it has.
pub fn tail(text: &str) -> &str {
    let text = text.trim();
    let mut from = text.len().saturating_sub(TAIL);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}

/// Waits for a child and collects its output; kills it when it takes longer than `patience`.
fn within(patience: Duration, mut child: Child) -> Result<Ran> {
    let pid = Pid::from_raw(i32::try_from(child.id()).context("a process number")?);
    let (ended, wait) = mpsc::channel::<()>();
    let mut stderr = child.stderr.take().context("its standard error")?;
    let mut stdout = child.stdout.take().context("its standard output")?;
    std::thread::scope(|threads| {
        let watch = threads.spawn(move || {
            let late = wait.recv_timeout(patience) == Err(mpsc::RecvTimeoutError::Timeout);
            if late {
                // Not reaped yet, so the number is still the child's.
                let _ = kill(pid, Signal::SIGKILL);
            }
            late
        });
        let errors = threads.spawn(move || {
            let mut text = Vec::new();
            stderr.read_to_end(&mut text).map(|_| text)
        });
        let mut text = Vec::new();
        stdout.read_to_end(&mut text)?;
        let said = errors.join().expect("reading does not panic")?;
        let status = child.wait()?;
        drop(ended);
        if watch.join().expect("waiting does not panic") {
            bail!("no end after {} s; it was killed", patience.as_secs());
        }
        let lossy = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Ran { status, stdout: lossy(text), stderr: lossy(said) })
    })
}
