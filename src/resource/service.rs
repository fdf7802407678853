//! A process that runs what is configured now, and answers.
//!
//! Not a handler that fires after a change: whether the process is older than what it was started
//! from is a fact that can be observed, so a crash between writing a file and restarting is found by
//! the next plan.

use std::{
    collections::BTreeSet,
    io::{Read, Seek, SeekFrom},
    time::Duration,
};

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use super::{Resource, State, unit::reload_if_due};
use crate::{
    domain::{
        fault::{Code, Fault},
        layout::{HostPath, UnitName, host},
    },
    system::{
        Host, Remark, Script, UnitStatus, process,
        systemd::{Invocation, Postmortem, invocation},
    },
};

/// How long to wait between two looks.
const PACE: Duration = Duration::from_millis(5);
/// How long to wait after an answer that was not the right one, unless the project says otherwise.
const INTERVAL: Duration = Duration::from_millis(100);
/// How long one health request may take.
const REQUEST: Duration = Duration::from_secs(5);
/// How much of a failed process's last words goes into the error, in lines and bytes.
const LAST_WORDS: usize = 20;
const LOG_TAIL: u64 = 8192;

/// What must answer before a process counts as healthy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// The port it listens on.
    pub port: u16,
    /// The account that must hold the port.
    pub uid: u32,
    /// The name the request is for.
    pub host: String,
    /// The path that must answer 200; `None`: `/`, and anything but a server's error will do.
    pub path: Option<String>,
    /// How long it may take, in seconds.
    pub timeout: u32,
    /// The status that counts as good, if not those that the path decides.
    #[serde(default)]
    pub status: Option<u16>,
    /// How long to wait after an answer that is not good, in seconds.
    #[serde(default)]
    pub interval: Option<u32>,
    /// How long it must go on after its first good answer, in seconds.
    #[serde(default)]
    pub grace: u32,
    /// Where its scripts lie, when it speaks `FastCGI` and not HTTP.
    #[serde(default)]
    pub scripts: Option<String>,
}

impl Health {
    /// The status of an answer to `GET path`.
    pub fn ask(&self, host: &Host, path: &str, patience: Duration) -> Result<u16> {
        match &self.scripts {
            Some(root) => host.net.run(self.port, &Script { root, host: &self.host, path }, patience),
            None => host.net.get(self.port, &self.host, path, patience),
        }
    }
}

/// The main process of a unit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Service {
    /// Its unit.
    pub unit: UnitName,
    /// Whether it should run.
    pub running: bool,
    /// What it is started from: it must be younger than all of these.
    pub inputs: Vec<HostPath>,
    /// When it counts as healthy; `None` for what answers nobody, and counts as soon as it runs.
    #[serde(default)]
    pub health: Option<Health>,
    /// Where it writes its complaints.
    pub log: HostPath,
}

/// A process as it was found.
#[expect(clippy::struct_excessive_bools, reason = "these are what was seen, each for itself")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// It runs.
    pub running: bool,
    /// It was started after the last change to what it is started from.
    pub fresh: bool,
    /// It is down, and systemd will start it again by itself.
    pub waiting: bool,
    /// The same, and it answers nobody and has ended without an error: it had nothing more to do.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ended: bool,
}

impl Service {
    /// Starts or restarts it, and waits until it is healthy.
    fn start(&self, host: &mut Host) -> Result<()> {
        {
            let _held = host.hold("systemd")?;
            reload_if_due(host)?;
        }
        let Some(health) = &self.health else { return host.systemd.restart(&self.unit) };
        if invocation(&host.root, &self.unit)?.is_none() {
            refuse_taken_port(health, host)?;
        }
        let log_from = host.root.meta(&self.log)?.map_or(0, |m| m.size);
        let before = host.net.ports_of(health.uid)?;
        let since = host.clock.elapsed();
        host.systemd.restart(&self.unit)?;
        let status = await_health(&self.unit, health, host)
            .map_err(|e| wrong_port(e, health, &before, host))
            .map_err(|e| self.explain(e, log_from, host))?;
        let took = host.clock.elapsed().saturating_sub(since);
        let path = health.path.as_deref().unwrap_or("/");
        let detail = format!("healthy after {:.1} s: GET {path} {status}", took.as_secs_f64());
        host.remarks.push(Remark { what: "health", detail, took });
        Ok(())
    }

    /// What it has complained of since it was started.
    fn last_words(&self, log_from: u64, host: &Host) -> Result<String> {
        let Some(mut log) = host.root.open_file(&self.log)? else { return Ok(String::new()) };
        let end = log.seek(SeekFrom::End(0))?;
        log.seek(SeekFrom::Start(log_from.max(end.saturating_sub(LOG_TAIL))))?;
        let mut bytes = Vec::new();
        log.take(LOG_TAIL).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Adds the process's last words to what went wrong.
    fn explain(&self, error: anyhow::Error, log_from: u64, host: &Host) -> anyhow::Error {
        let said = self.last_words(log_from, host).unwrap_or_default();
        let lines: Vec<&str> = said.lines().collect();
        let last = lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n");
        match error.downcast::<Fault>() {
            Ok(mut fault) if !last.is_empty() => {
                fault.message = format!("{}\n{last}", fault.message);
                fault.into()
            }
            Ok(fault) => fault.into(),
            Err(error) => error,
        }
    }
}

/// Says of a process that does not answer on which other port it has begun to listen.
fn wrong_port(error: anyhow::Error, health: &Health, before: &BTreeSet<u16>, host: &Host) -> anyhow::Error {
    let mut fault = match error.downcast::<Fault>() {
        Ok(fault) if fault.code == Code::Unhealthy && fault.why.is_none() => fault,
        Ok(fault) => return fault.into(),
        Err(error) => return error,
    };
    let now = host.net.ports_of(health.uid).unwrap_or_default();
    if !now.contains(&health.port)
        && let Some(other) = now.difference(before).next()
    {
        fault.why = Some(format!("it listens on port {other}, and $PORT is {}", health.port));
    }
    fault.into()
}

/// Why a process ended, where systemd's word on it leaves no doubt.
fn cause(end: &Postmortem) -> Option<String> {
    let why = match (end.result.as_str(), end.status.as_str()) {
        ("oom-kill", _) => "it took more memory than there was (OOM)",
        (_, "exit status 203") => "the program of its start command is not there, or cannot be executed",
        (_, "exit status 200") => "the directory it starts in is not there",
        (_, "signal 31") => "it made a system call that its sandbox forbids (signal 31)",
        (_, "signal 11") => "it crashed: an invalid use of memory (signal 11)",
        (_, "signal 6") => "it gave up by itself (signal 6)",
        _ => return None,
    };
    Some(why.to_owned())
}

fn refuse_taken_port(health: &Health, host: &Host) -> Result<()> {
    let port = health.port;
    match host.net.listener(port)? {
        Some(uid) if uid != health.uid => {
            bail!(
                Fault::new(Code::PortTaken, format!("port {port} is held by a process of the account {uid}"))
                    .next(format!("ss -ltnp 'sport = :{port}'"))
            )
        }
        _ => Ok(()),
    }
}

/// Whether a unit was started after the last change to these, or was seen to be as good as that since.
pub(super) fn is_fresh(
    unit: &UnitName,
    start: &Invocation,
    inputs: &[HostPath],
    host: &Host,
) -> Result<bool> {
    let note = host::vouched(unit);
    let mut since = start.meta.changed;
    if host.root.target(&note)?.as_ref() == Some(&start.id) {
        since = host.root.meta(&note)?.map_or(since, |note| note.changed.max(since));
    }
    let now = host.clock.now();
    let now = (now.as_second(), i64::from(now.subsec_nanosecond()));
    let mut fresh = true;
    for input in inputs {
        // What claims to be from the future says nothing about when it changed.
        fresh &= host.root.meta(input)?.is_some_and(|m| m.changed <= since || m.changed > now);
    }
    Ok(fresh)
}

/// Waits until a started unit is healthy, and lasts; fails at once when its process ends. Says what it
/// answered.
fn await_health(unit: &UnitName, health: &Health, host: &Host) -> Result<u16> {
    let started = invocation(&host.root, unit)?.map(|i| i.id);
    let deadline = host.clock.elapsed() + Duration::from_secs(health.timeout.into());
    let interval = health.interval.map_or(INTERVAL, |seconds| Duration::from_secs(seconds.into()));
    let mut asked_at: Option<Duration> = None;
    loop {
        process::keep_going()?;
        require_running(unit, started.as_ref(), host)?;
        let now = host.clock.elapsed();
        let mut reason = None;
        // Whether anything listens may be asked often; what listens and is not ready has better things to
        // do than to say so.
        if asked_at.is_none_or(|at| now >= at + interval) {
            match probe(health, host) {
                Ok(status) => {
                    await_grace(unit, started.as_ref(), health, host)?;
                    return Ok(status);
                }
                Err(error) => {
                    asked_at = (!error.is::<NobodyListens>()).then_some(now);
                    reason = Some(error);
                }
            }
        }
        if now >= deadline {
            let reason = match reason {
                Some(reason) => reason,
                None => match probe(health, host) {
                    Ok(status) => return Ok(status),
                    Err(reason) => reason,
                },
            };
            let port = health.port;
            bail!(
                Fault::new(
                    Code::Unhealthy,
                    format!("not healthy on 127.0.0.1:{port} within {} s: {reason:#}", health.timeout)
                )
                .next("have the process listen on $HOST and $PORT, which HostKit gives it")
            );
        }
        host.clock.sleep(PACE);
    }
}

/// Fails when the process that was started is not there any more.
fn require_running(unit: &UnitName, started: Option<&String>, host: &Host) -> Result<()> {
    let now = invocation(&host.root, unit)?.map(|i| i.id);
    if now.is_some() && now.as_ref() == started {
        return Ok(());
    }
    let end = host.systemd.postmortem(unit)?;
    bail!(
        Fault::new(
            Code::Unhealthy,
            format!("the process of `{unit}` ended ({}, {})", end.result, end.status)
        )
        .because(cause(&end))
    )
}

/// Sees that a process which has answered goes on for as long as it must.
fn await_grace(unit: &UnitName, started: Option<&String>, health: &Health, host: &Host) -> Result<()> {
    let grace = Duration::from_secs(health.grace.into());
    let until = host.clock.elapsed() + grace;
    while host.clock.elapsed() < until {
        host.clock.sleep(INTERVAL);
        process::keep_going()?;
        require_running(unit, started, host)?;
    }
    match health.grace {
        0 => Ok(()),
        seconds => probe(health, host).map(drop).map_err(|reason| {
            let message = format!("it was healthy, and is not any more after {seconds} s: {reason:#}");
            Fault::new(Code::Unhealthy, message).into()
        }),
    }
}

/// Gives a process that is put back the time it needs until it answers anything at all. Whether it is
/// healthy is not asked: it runs what it ran before.
fn await_answer(unit: &UnitName, health: &Health, host: &Host) {
    let deadline = host.clock.elapsed() + Duration::from_secs(health.timeout.into());
    while host.clock.elapsed() < deadline {
        let up = invocation(&host.root, unit).is_ok_and(|now| now.is_some());
        // One that has ended again will not answer sooner for being waited for.
        if !up || health.ask(host, "/", REQUEST).is_ok() {
            return;
        }
        host.clock.sleep(PACE);
    }
}

/// Why a process is not healthy that does not even listen.
#[derive(Debug)]
struct NobodyListens(u16);

impl std::fmt::Display for NobodyListens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "nothing listens on port {}", self.0)
    }
}

impl std::error::Error for NobodyListens {}

/// Asks once whether a process is healthy, and says what it answered; the error says why it is not.
pub fn probe(health: &Health, host: &Host) -> Result<u16> {
    let path = health.path.as_deref().unwrap_or("/");
    // Asked first: a refused connection is known in microseconds, the list of sockets takes
    // milliseconds.
    let answer = health.ask(host, path, REQUEST);
    if refused(&answer) {
        bail!(NobodyListens(health.port));
    }
    match host.net.listener(health.port)? {
        None => bail!(NobodyListens(health.port)),
        Some(uid) if uid != health.uid => bail!("port {} is held by the account {uid}", health.port),
        Some(_) => {}
    }
    let status = answer?;
    let good = match health.status {
        Some(wanted) => status == wanted,
        None if health.path.is_some() => status == 200,
        None => status < 500,
    };
    if good { Ok(status) } else { bail!("`GET {path}` answered {status}") }
}

fn refused(answer: &Result<u16>) -> bool {
    let error = answer.as_ref().err().and_then(|e| e.downcast_ref::<std::io::Error>());
    error.is_some_and(|e| e.kind() == std::io::ErrorKind::ConnectionRefused)
}

impl Resource for Service {
    const KIND: &'static str = "service";
    type Found = Found;

    fn name(&self) -> String {
        self.unit.to_string()
    }
    fn observe(&self, host: &Host) -> Result<Found> {
        let Some(start) = invocation(&host.root, &self.unit)? else {
            // Asking systemd costs a process: only about a unit that there is.
            let exists = host.root.meta(&self.unit.file())?.is_some();
            let waiting =
                exists && host.systemd.list()?.get(self.unit.as_str()).is_some_and(UnitStatus::is_waiting);
            let ended = waiting && self.health.is_none() && host.systemd.postmortem(&self.unit)?.is_well();
            return Ok(Found { waiting, ended, ..Found::default() });
        };
        let fresh = is_fresh(&self.unit, &start, &self.inputs, host)?;
        Ok(Found { running: true, fresh, ..Found::default() })
    }
    fn compare(&self, found: &Found) -> State {
        match (self.running, found.running) {
            (false, false) if found.waiting => State::Differs("is about to be started".into()),
            (false, false) => State::Satisfied,
            (false, true) => State::Differs("runs".into()),
            (true, false) if found.ended => State::Satisfied,
            (true, false) if found.waiting => State::Differs("ends again and again".into()),
            (true, false) => State::Missing,
            (true, true) if found.fresh => State::Satisfied,
            (true, true) => State::Differs("is older than what it was started from".into()),
        }
    }
    fn apply(&self, host: &mut Host) -> Result<()> {
        if self.running { self.start(host) } else { host.systemd.stop(&self.unit) }
    }
    fn restore(&self, found: &Found, host: &mut Host) -> Result<()> {
        {
            let _held = host.hold("systemd")?;
            reload_if_due(host)?;
        }
        match (found.running, self.observe(host)?) {
            (true, now) if now.running && now.fresh => Ok(()),
            (true, _) => {
                host.systemd.restart(&self.unit)?;
                if let Some(health) = &self.health {
                    await_answer(&self.unit, health, host);
                }
                Ok(())
            }
            // It ended again and again, and may go on with that.
            (false, _) if found.waiting => {
                // Whether it lasts this time is not asked either.
                let _ = host.systemd.restart(&self.unit);
                Ok(())
            }
            // Also when it is down only until systemd starts it again.
            (false, _) if host.root.meta(&self.unit.file())?.is_some() => host.systemd.stop(&self.unit),
            (false, _) => Ok(()),
        }
    }
    fn follows(&self) -> &[HostPath] {
        if self.running { &self.inputs } else { &[] }
    }
    fn title(&self, removing: bool) -> Option<&'static str> {
        Some(if removing || !self.running { "stop" } else { "start" })
    }
    fn ends(&self, removing: bool) -> Option<&UnitName> {
        (removing || !self.running || self.health.is_none()).then_some(&self.unit)
    }
    #[cfg(test)]
    fn sample() -> Option<Self> {
        None // needs its unit file and an account
    }
}
