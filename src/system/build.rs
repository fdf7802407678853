//! Running a stranger's programs: one command of a build, in a transient unit that sees hardly anything.
//!
//! The unit runs under the project's build account, which owns nothing but the tree that is built and a
//! cache. The tree is seen where the release will lie, so that paths that are written into it are right.

mod bounds;
mod sandbox;
mod watch;

use std::{
    io::Read,
    process::Child,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

pub use self::bounds::{Bounds, memory_at_hand};
use self::watch::Watch;
use super::{
    accounts::end_processes,
    exec::Tool,
    job::forget,
    process,
    systemd::{Postmortem, Systemctl, Systemd, systemctl},
};
use crate::domain::layout::{HostPath, UnitName};

/// How long a line may be; the rest of a longer one is the next.
const LINE: usize = 8 << 10;
/// How often a build is looked after while it is silent.
const PACE: Timespec = Timespec { tv_sec: 0, tv_nsec: 250_000_000 };
/// How long a unit that was told to end may take; systemd kills what is left after 5 s.
const END: Duration = Duration::from_secs(20);

/// One command of a build.
#[derive(Clone, Debug)]
pub struct Job {
    /// The unit it runs in.
    pub unit: UnitName,
    /// The account it runs as.
    pub account: String,
    /// The account's number.
    pub uid: u32,
    /// The tree that is built; the account's.
    pub tree: HostPath,
    /// Where the command sees the tree.
    pub place: HostPath,
    /// The account's home, which outlives the build.
    pub home: HostPath,
    /// A file that only root can read, with the command's environment.
    pub environment: HostPath,
    /// The program and its arguments, each to be taken as it is. The program is looked up inside.
    pub argv: Vec<String>,
    /// What it may use.
    pub bounds: Bounds,
}

/// How a command of a build ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Well.
    Done,
    /// With this exit status.
    Failed(i32),
    /// By this signal, which was not sent by HostKit.
    Killed(String),
    /// It needed more memory than it may use.
    OutOfMemory,
    /// It took longer than it may.
    TimedOut,
    /// The tree and the cache together grew larger than they may.
    TooLarge,
    /// The filesystem has hardly any space left.
    DiskFull,
}

/// Runs a command to its end. Nothing of it is left when this returns, however it returns.
pub(super) fn run(job: &Job, hear: &mut dyn FnMut(&str)) -> Result<Ending> {
    // One that failed before is remembered by systemd, and would be in the way.
    forget(&job.unit)?;
    let unit = Unit(job);
    let mut watch = Watch::begin(job)?;
    let args = sandbox::arguments(job);
    let (mut running, mut output) = Tool::find("systemd-run", "systemd")?.start_merged(&args)?;
    let mut lines = Lines::default();
    let mut piece = [0; 16 << 10];
    let mut cut: Option<(Option<Ending>, Instant)> = None;
    loop {
        match poll(&mut [PollFd::new(&output, PollFlags::IN)], Some(&PACE)) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => match output.read(&mut piece) {
                Ok(0) => break,
                Ok(n) => lines.add(&piece[..n], hear),
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e).context("reading what the build writes"),
            },
            Err(e) => return Err(e).context("waiting for what the build writes"),
        }
        match &cut {
            Some((_, since)) if since.elapsed() > END => bail!("`{}` does not end", job.unit),
            Some(_) => {}
            // Asked to stop, or over its bounds: ended at once, and heard to its end.
            None => {
                let stopped = process::keep_going().is_err().then_some(None);
                if let Some(ending) = stopped.or(watch.look(job)?.map(Some)) {
                    unit.end()?;
                    cut = Some((ending, Instant::now()));
                }
            }
        }
    }
    lines.finish(hear);
    let well = finish(&mut running)?;
    end_processes(job.uid)?;
    let end = Systemctl.postmortem(&job.unit)?;
    forget(&job.unit)?;
    process::keep_going()?;
    if let Some((Some(ending), _)) = cut {
        return Ok(ending);
    }
    if well {
        return Ok(Ending::Done);
    }
    judge(&end, watch.starved, lines.last.as_deref())
}

/// How a unit that failed ended, by what systemd says of it.
fn judge(end: &Postmortem, starved: bool, last: Option<&str>) -> Result<Ending> {
    if starved {
        return Ok(Ending::OutOfMemory);
    }
    let number = end.status.rsplit(' ').next().unwrap_or_default();
    Ok(match end.result.as_str() {
        "oom-kill" => Ending::OutOfMemory,
        "timeout" => Ending::TimedOut,
        // A shell and its like say so when the kernel has killed what they had started.
        "exit-code" => Ending::Failed(number.parse().unwrap_or(1)),
        "signal" | "core-dump" => Ending::Killed(number.to_owned()),
        // Stopped from outside: as good as a signal.
        "success" if end.status.starts_with("signal") => Ending::Killed(number.to_owned()),
        other => bail!("the build's unit could not be run ({other}): {}", last.unwrap_or("it said nothing")),
    })
}

fn finish(running: &mut Child) -> Result<bool> {
    let since = Instant::now();
    loop {
        if let Some(status) = running.try_wait().context("waiting for `systemd-run`")? {
            return Ok(status.success());
        }
        if since.elapsed() > END {
            bail!("`systemd-run` does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The unit while it runs: dropping it ends it.
struct Unit<'a>(&'a Job);

impl Unit<'_> {
    fn end(&self) -> Result<()> {
        let unit = self.0.unit.as_str();
        systemctl()?.output(["kill", "--signal=SIGKILL", unit])?;
        Ok(())
    }
}

impl Drop for Unit<'_> {
    fn drop(&mut self) {
        // One that has ended is not there to be stopped, and says so.
        if let Ok(systemctl) = systemctl() {
            let _ = systemctl.output(["stop", self.0.unit.as_str()]);
        }
    }
}

/// Bytes on their way to lines.
#[derive(Default)]
struct Lines {
    half: Vec<u8>,
    last: Option<String>,
}

impl Lines {
    fn add(&mut self, mut bytes: &[u8], hear: &mut dyn FnMut(&str)) {
        while let Some(end) = bytes.iter().position(|b| *b == b'\n') {
            self.half.extend_from_slice(&bytes[..end]);
            self.say(hear);
            bytes = &bytes[end + 1..];
        }
        self.half.extend_from_slice(bytes);
        while self.half.len() > LINE {
            let rest = self.half.split_off(LINE);
            self.say(hear);
            self.half = rest;
        }
    }
    fn say(&mut self, hear: &mut dyn FnMut(&str)) {
        let line = String::from_utf8_lossy(&self.half);
        // What a progress bar has drawn over its line before.
        let line = line.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default().to_owned();
        self.half.clear();
        hear(&line);
        self.last = Some(line);
    }
    fn finish(&mut self, hear: &mut dyn FnMut(&str)) {
        if !self.half.is_empty() {
            self.say(hear);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(pieces: &[&str]) -> Vec<String> {
        let mut all = Vec::new();
        let mut lines = Lines::default();
        let mut hear = |line: &str| all.push(line.to_owned());
        for piece in pieces {
            lines.add(piece.as_bytes(), &mut hear);
        }
        lines.finish(&mut hear);
        all
    }

    #[test]
    fn output_is_heard_line_by_line_however_it_comes() {
        assert_eq!(heard(&["one\ntw", "o\n", "\nthree"]), ["one", "two", "", "three"]);
        assert_eq!(heard(&["10%\r50%\r100%\ndone\r\n"]), ["100%", "done"]);
        let long = "x".repeat(LINE * 2 + 1);
        assert_eq!(heard(&[&long]).iter().map(String::len).collect::<Vec<_>>(), [LINE, LINE, 1]);
    }

    #[test]
    fn how_it_ended_is_told_apart() {
        let end = |result: &str, status: &str| {
            let end = Postmortem { result: result.into(), status: status.into() };
            judge(&end, false, Some("Failed to start")).map_err(|e| e.to_string())
        };
        assert_eq!(end("oom-kill", "signal 9"), Ok(Ending::OutOfMemory));
        assert_eq!(end("timeout", "signal 15"), Ok(Ending::TimedOut));
        assert_eq!(end("exit-code", "exit status 3"), Ok(Ending::Failed(3)));
        assert_eq!(end("signal", "signal 11"), Ok(Ending::Killed("11".into())));
        assert_eq!(end("success", "signal 15"), Ok(Ending::Killed("15".into())));
        assert!(end("success", "exit status 0").is_err_and(|e| e.contains("Failed to start")));
    }
}
