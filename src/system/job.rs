//! Programs that systemd runs once, each in a unit of its own, and what they say while they run.

use std::{
    io::{self, Read},
    os::unix::process::ExitStatusExt,
    process::Child,
    sync::mpsc::{self, RecvTimeoutError, Sender},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{exec::Tool, process, systemd::Postmortem};
use crate::domain::layout::UnitName;

/// How long a line may be before it is cut into several, in bytes.
const LONGEST: usize = 4096;
/// Starts another program and becomes it. `systemd-run` looks for the program in its own tree of files,
/// and the job may have another one.
const STARTER: [&str; 4] = ["/usr/bin/nice", "-n", "0", "--"];
/// How often to look whether somebody wants to stop.
const PACE: Duration = Duration::from_millis(100);
/// How long systemd may need to forget a unit that has ended.
const FORGOTTEN_WITHIN: Duration = Duration::from_secs(30);

/// A program that runs once.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its unit; gone when it has ended.
    pub unit: UnitName,
    /// What it is, for whoever lists units.
    pub description: String,
    /// Lines of a unit's `[Service]`, such as `User=blog`.
    pub settings: Vec<String>,
    /// The program, an absolute path, and its arguments. `${NAME}` is a variable of its environment and
    /// `$$` is a `$`.
    pub argv: Vec<String>,
    /// How long it may take.
    pub patience: Duration,
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It did what it should.
    Well,
    /// It ended with this exit status.
    Status(i32),
    /// It was ended because it took too long.
    Late,
    /// It was ended because it took too much memory.
    OutOfMemory,
    /// Something else ended it, or kept it from starting: what systemd says of it.
    Otherwise(String),
}

impl End {
    /// What systemd's two words on the end of a unit mean.
    fn of(end: &Postmortem) -> Self {
        match end.result.as_str() {
            "timeout" => Self::Late,
            "oom-kill" => Self::OutOfMemory,
            _ => match end.status.strip_prefix("exit status ").and_then(|number| number.parse().ok()) {
                Some(status) if status != 0 => Self::Status(status),
                _ => Self::Otherwise(format!("{}, {}", end.result, end.status)),
            },
        }
    }

    /// In words, to follow "it".
    pub fn words(&self) -> String {
        match self {
            Self::Well => "ended well".to_owned(),
            Self::Status(status) => format!("ended with exit status {status}"),
            Self::Late => "took too long and was ended".to_owned(),
            Self::OutOfMemory => "took more memory than there was and was ended".to_owned(),
            Self::Otherwise(what) => format!("ended ({what})"),
        }
    }
}

/// Runs a job with `systemd-run`, handing on every line it writes, and waits until nothing of it is left.
/// Ends it when somebody asks this process to stop.
pub(super) fn run(job: &Job, said: &mut dyn FnMut(&str)) -> Result<End> {
    let mut arguments: Vec<String> =
        ["--quiet", "--pipe", "--wait", "--service-type=exec"].map(str::to_owned).to_vec();
    arguments.push(format!("--unit={}", job.unit));
    arguments.push(format!("--description={}", job.description));
    arguments.push(format!("--property=RuntimeMaxSec={}", job.patience.as_secs()));
    arguments.extend(job.settings.iter().map(|line| format!("--property={line}")));
    arguments.push("--".to_owned());
    arguments.extend(STARTER.map(str::to_owned));
    arguments.extend(job.argv.iter().cloned());
    // One that was killed with its caller may be remembered still.
    forget(&job.unit)?;
    let (child, output) = Tool::find("systemd-run", "systemd")?.start_merged(&arguments)?;
    let ended = listen(child, output, said);
    if ended.is_err() {
        // It lives on without whoever started it.
        stop(&job.unit)?;
    }
    let status = ended?;
    if status.success() {
        forget(&job.unit)?;
        return Ok(End::Well);
    }
    // One that failed stays until somebody has looked.
    let end = super::systemd::postmortem(&job.unit)?;
    forget(&job.unit)?;
    if end.result.is_empty() || end.result == "success" {
        // Never started: `systemd-run` has said why.
        return Ok(match status.code() {
            Some(code) => End::Status(code),
            None => End::Otherwise(format!("signal {}", status.signal().unwrap_or_default())),
        });
    }
    Ok(End::of(&end))
}

/// Starts a job that goes on whatever becomes of this process. With `stdin` it reads what this process
/// would have read; it writes nowhere.
pub(super) fn detach(job: &Job, stdin: bool) -> Result<()> {
    let mut arguments: Vec<String> =
        ["--quiet", "--collect", "--service-type=simple"].map(str::to_owned).to_vec();
    if stdin {
        // `systemd-run` hands its own on, and stays until the unit ends.
        arguments.push("--pipe".to_owned());
    }
    arguments.push(format!("--unit={}", job.unit));
    arguments.push(format!("--description={}", job.description));
    arguments.extend(job.settings.iter().map(|line| format!("--property={line}")));
    arguments.push("--".to_owned());
    arguments.extend(job.argv.iter().cloned());
    let run = Tool::find("systemd-run", "systemd")?;
    if stdin { run.leave(&arguments) } else { run.run(&arguments).map(drop) }
        .context("starting a unit for the work")
}

/// Has a timer that is gone after the next boot run a job again and again.
pub(super) fn repeat(job: &Job, every: Duration) -> Result<()> {
    let seconds = every.as_secs();
    let mut arguments = vec![
        "--quiet".to_owned(),
        format!("--unit={}", job.unit),
        format!("--description={}", job.description),
        format!("--on-active={seconds}s"),
        format!("--on-unit-inactive={seconds}s"),
        "--timer-property=AccuracySec=1s".to_owned(),
        "--service-type=oneshot".to_owned(),
    ];
    arguments.extend(job.settings.iter().map(|line| format!("--property={line}")));
    arguments.push("--".to_owned());
    arguments.extend(job.argv.iter().cloned());
    Tool::find("systemd-run", "systemd")?.run(&arguments).map(drop).context("starting a timer")
}

/// Asks the main process of a job to stop.
pub(super) fn interrupt(unit: &UnitName) -> Result<()> {
    systemctl()?.output(["kill", "--kill-who=main", "--signal=SIGINT", unit.as_str()]).map(drop)
}

/// Ends a job, whoever started it.
pub(super) fn stop(unit: &UnitName) -> Result<()> {
    systemctl()?.output(["stop", "--quiet", unit.as_str()])?;
    systemctl()?.output(["reset-failed", unit.as_str()])?;
    Ok(())
}

/// Has systemd forget a unit that has ended. It does so a moment later, and until then no other can have its
/// name.
pub(super) fn forget(unit: &UnitName) -> Result<()> {
    // Says that there is nothing to forget, mostly.
    systemctl()?.output(["reset-failed", unit.as_str()])?;
    let since = Instant::now();
    while since.elapsed() < FORGOTTEN_WITHIN {
        let known = systemctl()?.run(["list-units", "--all", "--plain", "--no-legend", unit.as_str()])?;
        if known.stdout.trim().is_empty() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    bail!("systemd does not forget the unit `{unit}`")
}

fn systemctl() -> Result<Tool> {
    Tool::find("systemctl", "systemd")
}

fn listen(
    mut child: Child,
    output: io::PipeReader,
    said: &mut dyn FnMut(&str),
) -> Result<std::process::ExitStatus> {
    let (sender, lines) = mpsc::channel();
    let reader = std::thread::spawn(move || read_lines(output, &sender));
    loop {
        match lines.recv_timeout(PACE) {
            Ok(line) => said(&line),
            Err(RecvTimeoutError::Timeout) => {
                if let Err(stopped) = process::keep_going() {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(stopped);
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    reader.join().map_err(|_| anyhow::anyhow!("reading what a program says failed"))??;
    // The pipe may be closed a moment before the unit is gone.
    child.wait().context("waiting for a program")
}

/// Cuts what is read into lines, too long ones into several.
fn read_lines(mut output: impl Read, lines: &Sender<String>) -> io::Result<()> {
    let mut piece = [0; 8192];
    let mut line = Vec::new();
    let send = |line: &mut Vec<u8>| {
        let text = String::from_utf8_lossy(line).trim_end_matches('\r').to_owned();
        line.clear();
        lines.send(text).is_ok()
    };
    loop {
        let count = match output.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        for byte in &piece[..count] {
            if *byte != b'\n' {
                line.push(*byte);
            }
            if (*byte == b'\n' || line.len() >= LONGEST) && !send(&mut line) {
                return Ok(());
            }
        }
    }
    if !line.is_empty() {
        send(&mut line);
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn lines(text: &[u8]) -> Vec<String> {
        let (sender, lines) = mpsc::channel();
        read_lines(text, &sender).unwrap();
        drop(sender);
        lines.iter().collect()
    }

    #[test]
    fn what_a_program_says_is_cut_into_lines_however_long_they_are_and_whatever_is_in_them() {
        assert_eq!(lines(b"one\r\n\ntwo"), ["one", "", "two"]);
        assert_eq!(lines(b"\xff\n"), ["\u{fffd}"]);
        let long: Vec<usize> = lines(&[b'x'; 2 * LONGEST + 1]).iter().map(String::len).collect();
        assert_eq!(long, [LONGEST, LONGEST, 1]);
    }

    #[test]
    fn time_memory_status_and_signal_are_told_apart() {
        let end = |result: &str, status: &str| {
            End::of(&Postmortem { result: result.into(), status: status.into() })
        };
        assert_eq!(end("timeout", "signal 15"), End::Late);
        assert_eq!(end("oom-kill", "signal 9"), End::OutOfMemory);
        assert_eq!(end("exit-code", "exit status 3"), End::Status(3));
        assert_eq!(end("signal", "signal 9"), End::Otherwise("signal, signal 9".into()));
    }
}
