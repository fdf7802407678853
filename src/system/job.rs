//! Programs that systemd runs once, each in a unit of its own, and what they say while they run. What such a
//! program may see and do is the caller's matter: it is in the settings of its unit.

mod lines;

use std::{
    io::{self, Read},
    process::{Child, ExitStatus},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use self::lines::Lines;
use super::{exec::Tool, process, systemd::Postmortem};
use crate::domain::layout::UnitName;

/// Starts another program and becomes it. `systemd-run` looks for the program in its own tree of files,
/// and the job may have another one.
const STARTER: [&str; 4] = ["/usr/bin/nice", "-n", "0", "--"];
/// How often a program is looked after while it is silent.
const PACE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// How often to look whether one has ended that has nothing more to say.
const SOON: Duration = Duration::from_millis(5);
/// How long a unit that was told to stop may take; systemd kills what is left before that.
const END: Duration = Duration::from_mins(3);
/// How often systemd is asked again to forget a unit.
const REMIND: Duration = Duration::from_millis(500);
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
    /// This signal ended it.
    Signal(String),
    /// It was ended because it took too long.
    Late,
    /// It was ended because it took too much memory.
    OutOfMemory,
    /// It was ended because whoever looked after it wanted that.
    Cut,
    /// It could not be started: what was said of it.
    Never(String),
}

impl End {
    /// What systemd's two words on the end of a unit mean; `last` is what was said last.
    fn of(end: &Postmortem, last: Option<&str>) -> Self {
        let number = end.status.rsplit(' ').next().unwrap_or_default();
        match end.result.as_str() {
            "timeout" => Self::Late,
            "oom-kill" => Self::OutOfMemory,
            // A shell and its like say so when the kernel has killed what they had started.
            "exit-code" => Self::Status(number.parse().unwrap_or(1)),
            "signal" | "core-dump" => Self::Signal(number.to_owned()),
            // Stopped from outside: as good as a signal.
            "success" if end.status.starts_with("signal") => Self::Signal(number.to_owned()),
            other => {
                let last = last.unwrap_or("it said nothing");
                Self::Never(if other.is_empty() { last.to_owned() } else { format!("{last} ({other})") })
            }
        }
    }

    /// In words, to follow "it".
    pub fn words(&self) -> String {
        match self {
            Self::Well => "ended well".to_owned(),
            Self::Status(status) => format!("ended with exit status {status}"),
            Self::Signal(number) => format!("was ended by signal {number}"),
            Self::Late => "took too long and was ended".to_owned(),
            Self::OutOfMemory => "took more memory than there was and was ended".to_owned(),
            Self::Cut => "was ended".to_owned(),
            Self::Never(why) => format!("could not be started: {why}"),
        }
    }
}

/// Runs a job to its end, handing on every line it writes; nothing of its unit is left when this returns,
/// however it returns. `look` is asked again and again whether it has to end; so is whoever may have asked
/// this process to stop.
pub(super) fn run(
    job: &Job,
    said: &mut dyn FnMut(&str),
    look: &mut dyn FnMut() -> Result<bool>,
) -> Result<End> {
    // One that was killed with its caller may be remembered still, and would be in the way.
    forget(&job.unit)?;
    let (mut child, output) = Tool::find("systemd-run", "systemd")?.start_merged(words(job))?;
    let mut lines = Lines::default();
    let ended = listen(job, &mut child, output, &mut lines, said, look);
    if ended.is_err() {
        // It lives on without whoever started it.
        let _ = child.kill();
        let _ = child.wait();
        stop(&job.unit)?;
    }
    let (status, cut) = ended?;
    lines.finish(said);
    // One that failed stays until somebody has looked.
    let end = if status.success() {
        End::Well
    } else {
        End::of(&super::systemd::postmortem(&job.unit)?, lines.last.as_deref())
    };
    forget(&job.unit)?;
    process::keep_going()?;
    Ok(if cut { End::Cut } else { end })
}

/// The words after `systemd-run`. The unit is one that ends: for a daemon it would be a success to be ended
/// by a signal.
fn words(job: &Job) -> Vec<String> {
    let mut words = ["--quiet", "--pipe", "--wait", "--service-type=oneshot"].map(str::to_owned).to_vec();
    words.push(format!("--unit={}", job.unit));
    words.push(format!("--description={}", job.description));
    words.push(format!("--property=TimeoutStartSec={}", job.patience.as_secs().max(1)));
    words.extend(job.settings.iter().map(|line| format!("--property={line}")));
    words.push("--".to_owned());
    words.extend(STARTER.map(str::to_owned));
    words.extend(job.argv.iter().cloned());
    words
}

/// Hears a program to its end; says whether it was made to end.
fn listen(
    job: &Job,
    child: &mut Child,
    output: io::PipeReader,
    lines: &mut Lines,
    said: &mut dyn FnMut(&str),
    look: &mut dyn FnMut() -> Result<bool>,
) -> Result<(ExitStatus, bool)> {
    let mut output = Some(output);
    let mut piece = [0; 16 << 10];
    let mut told: Option<Instant> = None;
    loop {
        if let Some(pipe) = &mut output {
            match poll(&mut [PollFd::new(pipe, PollFlags::IN)], Some(&PACE)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => match pipe.read(&mut piece) {
                    Ok(0) => output = None,
                    Ok(count) => lines.add(&piece[..count], said),
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(e) => return Err(e).context("reading what a program says"),
                },
                Err(e) => return Err(e).context("waiting for what a program says"),
            }
        } else if let Some(status) = child.try_wait().context("waiting for a program")? {
            return Ok((status, told.is_some()));
        } else {
            // The pipe may be closed long before the unit is gone.
            std::thread::sleep(SOON);
        }
        match told {
            Some(since) if since.elapsed() > END => bail!("`{}` does not end", job.unit),
            Some(_) => {}
            None => {
                if process::keep_going().is_err() || look()? {
                    // It is heard to its end: until then it may have to write.
                    systemctl()?.output(["stop", "--no-block", "--quiet", job.unit.as_str()])?;
                    told = Some(Instant::now());
                }
            }
        }
    }
}

/// Starts a job that goes on whatever becomes of this process. With `stdin` it reads what this process
/// would have read; it writes nowhere.
pub(super) fn detach(job: &Job, stdin: bool) -> Result<()> {
    let arguments = detached(job, stdin);
    let run = Tool::find("systemd-run", "systemd")?;
    if stdin { run.leave(&arguments) } else { run.run(&arguments).map(drop) }
        .context("starting a unit for the work")
}

/// The words of that. The unit counts as started at once: one that waits until the program runs takes it
/// for a failure when the program ends before systemd has looked.
fn detached(job: &Job, stdin: bool) -> Vec<String> {
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
    arguments
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
    let since = Instant::now();
    let mut asked: Option<Instant> = None;
    loop {
        if asked.is_none_or(|asked| asked.elapsed() > REMIND) {
            if asked.is_some() {
                // systemd looks once whether a control group is empty, and the kernel takes a dead process
                // out of it a little later. A unit that was looked at too early is kept until there is
                // something to do with it; to stop what has stopped is that.
                systemctl()?.output(["stop", "--no-block", "--quiet", unit.as_str()])?;
            }
            // Again and again: one that is on its way down may become a failed one only then. It says that
            // there is nothing to forget, mostly.
            systemctl()?.output(["reset-failed", unit.as_str()])?;
            asked = Some(Instant::now());
        }
        let known = systemctl()?.run(["list-units", "--all", "--plain", "--no-legend", unit.as_str()])?;
        let known = known.stdout.trim();
        if known.is_empty() {
            return Ok(());
        }
        if since.elapsed() > FORGOTTEN_WITHIN {
            bail!("systemd does not forget the unit `{unit}`: {known}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn systemctl() -> Result<Tool> {
    Tool::find("systemctl", "systemd")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_it_ended_is_told_apart() {
        let end = |result: &str, status: &str| {
            End::of(&Postmortem { result: result.into(), status: status.into() }, Some("no such user"))
        };
        assert_eq!(end("timeout", "signal 15"), End::Late);
        assert_eq!(end("oom-kill", "signal 9"), End::OutOfMemory);
        assert_eq!(end("exit-code", "exit status 3"), End::Status(3));
        assert_eq!(end("signal", "signal 11"), End::Signal("11".into()));
        assert_eq!(end("success", "signal 15"), End::Signal("15".into()));
        assert_eq!(end("", "exit status 0"), End::Never("no such user".into()));
        assert_eq!(end("resources", "exit status 0"), End::Never("no such user (resources)".into()));
    }

    #[test]
    fn a_unit_that_ends_by_a_signal_has_failed_and_one_that_never_ends_is_late() {
        let job = Job {
            unit: "blog".parse::<crate::domain::name::ProjectName>().expect("a name").build_unit(),
            description: "a test".into(),
            settings: vec!["User=blog".into()],
            argv: vec!["/bin/true".into(), "a b".into()],
            patience: Duration::from_mins(1),
        };
        let words = words(&job);
        for word in [
            "--service-type=oneshot",
            "--property=TimeoutStartSec=60",
            "--property=User=blog",
            "--pipe",
            "--wait",
        ] {
            assert!(words.iter().any(|w| w == word), "{word}: {words:?}");
        }
        assert_eq!(words[words.len() - 2..], ["/bin/true", "a b"]);
    }

    #[test]
    fn work_that_outlives_its_caller_counts_as_started_at_once() {
        let job = Job {
            unit: "blog".parse::<crate::domain::name::ProjectName>().expect("a name").build_unit(),
            description: "a test".into(),
            settings: Vec::new(),
            argv: vec!["/bin/true".into()],
            patience: Duration::ZERO,
        };
        for stdin in [false, true] {
            let words = detached(&job, stdin);
            assert!(words.contains(&"--service-type=simple".to_owned()), "{words:?}");
            assert_eq!(words.contains(&"--pipe".to_owned()), stdin);
        }
    }
}
