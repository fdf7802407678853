//! Work that outlives whoever asked for it: a connection that drops, a terminal that closes.
//!
//! The process that was called decides who may do what, and has systemd start the same program in a unit of
//! its own, with the same words. What that says is written into a file, line by line, which the first
//! process shows as it grows; so does `hostkit attach`, from anywhere. The file's first line is what was
//! called and by whom. Only root can write it, and the hidden verb is refused to whoever comes through
//! `sudo`; the unit decides again who may do what.

use std::{
    ffi::{OsStr, OsString},
    io::{Read, Seek, SeekFrom},
    os::unix::ffi::{OsStrExt, OsStringExt},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use clap::FromArgMatches;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::{
    Cli, Verb,
    answer::Answer,
    command,
    context::{Context, Environment},
    report::{Failure, understand},
};
use crate::{
    domain::{
        fault::{Code, Fault},
        layout::{UnitName, host},
        name::ProjectName,
    },
    event::{Event, Heard, Ui},
    system::{Attr, Host, Job, process, systemd::invocation},
    ui::Recorder,
};

/// The hidden verb.
pub(super) const WORK: &str = "__work";
/// How many calls of a project are kept.
const KEPT: usize = 20;
/// How often to look what is new.
const PACE: Duration = Duration::from_millis(15);
/// How often a unit that is not there is looked for again before it counts as gone: it may not have begun.
const PATIENCE: u32 = 200;
/// The longest first line of a file, in bytes.
const LIMIT: u64 = 1 << 20;

/// What was called, and by whom.
#[derive(Debug, Serialize, Deserialize)]
struct Request {
    argv: Vec<Vec<u8>>,
    sudo_uid: Option<String>,
    directory: Option<Vec<u8>>,
    agreed: bool,
}

/// How it ended: the last line.
#[derive(Debug, Serialize, Deserialize)]
struct Ended {
    ended: std::result::Result<Answer, Failure>,
}

/// A call as it can be found again.
#[derive(Clone, Debug)]
pub(super) struct Call {
    name: ProjectName,
    uid: u32,
    id: String,
}

impl Call {
    fn unit(&self) -> UnitName {
        self.name.call_unit(&self.id)
    }
}

/// `deploy attach NAME` is `attach NAME`: `deploy` itself takes a project and flags.
pub(super) fn rename(argv: &mut Vec<OsString>) {
    let is_attach = |words: &[OsString]| {
        words[0] == "deploy" && words[1] == "attach" && !words[2].as_bytes().starts_with(b"-")
    };
    if let Some(at) = argv.windows(3).position(is_attach) {
        argv.remove(at);
    }
}

/// The number of a project's account, which its calls lie under.
fn uid_of(cx: &mut Context, name: &ProjectName) -> Result<u32> {
    cx.look(|session| Ok(session.project(name)?.spec.uid))
}

/// Has a unit of its own do what was called, and shows what it says.
pub(super) fn hand_over<V: Verb>(cx: &mut Context, verb: &V) -> Result<Answer> {
    let name = verb.project().context("what survives is about a project")?.clone();
    let uid = uid_of(cx, &name)?;
    let mut host = cx.host()?;
    let call = begin(cx, &mut host, name, uid)?;
    let job = Job {
        unit: call.unit(),
        description: format!("HostKit: {} {}", V::NAME, call.name),
        settings: [
            // What it started is asked to end by itself; whatever is left is ended with it.
            "KillMode=mixed",
            "TimeoutStopSec=120",
            // A child that takes too much memory is a failure to tell of, and no reason to end.
            "OOMPolicy=continue",
        ]
        .map(str::to_owned)
        .to_vec(),
        argv: vec![program()?, WORK.to_owned(), "--".to_owned(), call.name.to_string(), call.id.clone()],
        patience: Duration::ZERO,
    };
    host.systemd.detach(&job, verb.reads_stdin())?;
    let ended = follow(cx, &mut host, &call, true);
    // What was sent away at the door is no record, and those that are would have to go for it.
    if ended.as_ref().is_err_and(|error| was_sent_away(understand(error).code())) {
        host.root.remove(&call.name.call(uid, &call.id))?;
    }
    ended
}

/// Whether a call was refused before anything began: somebody else is at work, or it has to wait.
fn was_sent_away(code: Code) -> bool {
    matches!(code, Code::Busy | Code::RateLimited | Code::Paused)
}

fn program() -> Result<String> {
    let path = process::program()?;
    path.into_os_string().into_string().ok().context("the path of this program is text")
}

/// Writes the first line of a new file, and lets the oldest go.
fn begin(cx: &Context, host: &mut Host, name: ProjectName, uid: u32) -> Result<Call> {
    for dir in [host::calls(), name.calls(uid)] {
        if host.root.meta(&dir)?.is_none() {
            host.root.mkdir(&dir, Attr::root(0o700), None)?;
        }
    }
    let known = calls(host, &name, uid)?;
    for old in known.iter().rev().skip(KEPT - 1) {
        host.root.remove(&name.call(uid, old))?;
    }
    let now = host.clock.now().to_zoned(TimeZone::UTC).strftime("%Y%m%d-%H%M%S");
    let call = Call { id: format!("{now}-{}", std::process::id()), name, uid };
    let environment = cx.environment();
    let request = Request {
        argv: environment.argv.iter().map(|word| word.as_bytes().to_vec()).collect(),
        sudo_uid: environment.sudo_uid.clone(),
        directory: environment.directory.as_ref().map(|path| path.as_os_str().as_bytes().to_vec()),
        agreed: cx.agreed,
    };
    let file = host.root.append(&call.name.call(uid, &call.id), Attr::root(0o600))?;
    Recorder::new(file).write(&request);
    Ok(call)
}

/// The names of a project's calls, oldest first.
fn calls(host: &Host, name: &ProjectName, uid: u32) -> Result<Vec<String>> {
    let mut ids: Vec<String> = host
        .root
        .list(&name.calls(uid))?
        .into_iter()
        .filter_map(|entry| entry.strip_suffix(".jsonl").map(str::to_owned))
        .collect();
    ids.sort();
    Ok(ids)
}

/// The named call of a project, the one that is at work, or the newest.
pub(super) fn find(cx: &mut Context, name: &ProjectName, id: Option<&str>) -> Result<Call> {
    let uid = uid_of(cx, name)?;
    let host = cx.host()?;
    let known = calls(&host, name, uid)?;
    // A call that came later may have been refused because of the one that is at work.
    let works = |id: &&String| {
        let call = Call { name: name.clone(), uid, id: (*id).clone() };
        invocation(&host.root, &call.unit()).is_ok_and(|invocation| invocation.is_some())
    };
    let found = match id {
        Some(id) => known.iter().find(|known| *known == id),
        None => known.iter().rfind(works).or(known.last()),
    };
    let found = found.cloned();
    let id = found.ok_or_else(|| {
        let message = match id {
            Some(id) => format!("`{name}` has no call `{}`", id.escape_debug()),
            None => format!("nothing was ever deployed to `{name}` that could be attached to"),
        };
        Fault::new(Code::ReleaseNotFound, message).next(format!("hostkit history {name}"))
    })?;
    Ok(Call { name: name.clone(), uid, id })
}

/// Shows what a call says, from its beginning, and how it ends. One who `owns` it may interrupt it; others
/// only stop looking.
pub(super) fn follow(cx: &Context, host: &mut Host, call: &Call, owns: bool) -> Result<Answer> {
    let mut file = host
        .root
        .open_file(&call.name.call(call.uid, &call.id))?
        .context("the call's file was just there")?;
    let mut ui = cx.ui();
    let (mut at, mut rest, mut missed, mut asked) = (0_u64, Vec::new(), 0, false);
    loop {
        // Before the file: what it says last is written while it is still there.
        let runs = invocation(&host.root, &call.unit())?.is_some();
        file.seek(SeekFrom::Start(at))?;
        at += file.read_to_end(&mut rest)? as u64;
        let whole = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let lines: Vec<u8> = rest.drain(..whole).collect();
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            if let Ok(Ended { ended }) = serde_json::from_slice(line) {
                return ended.map_err(Into::into);
            }
            if let Ok(event) = serde_json::from_slice::<Heard>(line) {
                missed = PATIENCE - 1;
                event.tell(&mut ui);
            }
        }
        if runs {
            // From here on, to be gone is to have ended.
            missed = PATIENCE - 2;
        } else {
            missed += 1;
            if missed > PATIENCE {
                bail!(died(call))
            }
        }
        if let Err(stopped) = process::keep_going() {
            if !owns {
                return Err(stopped);
            }
            if !asked {
                asked = true;
                host.systemd.interrupt(&call.unit())?;
                let message = "stopping; what is past its commit point is finished first";
                ui.emit(Event::Warned { message });
            }
        }
        host.clock.sleep(PACE);
    }
}

fn died(call: &Call) -> Fault {
    let name = &call.name;
    Fault::new(
        Code::Unfinished,
        format!("the work on `{name}` ended without a word: it was killed, or never began"),
    )
    .next(format!("hostkit repair {name}    # undoes what it left, as the next command would"))
    .next(format!("journalctl -u {}", call.unit()))
}

/// Does what was handed over. Whether it went well.
pub(super) fn work(name: &OsStr, id: &OsStr) -> bool {
    let Some((name, id)) = name.to_str().and_then(|name| name.parse().ok()).zip(id.to_str()) else {
        return false;
    };
    take_up(&name, id).unwrap_or_default()
}

fn take_up(name: &ProjectName, id: &str) -> Result<bool> {
    if !id.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
        bail!("`{id}` is not the name of a call");
    }
    let mut host = Host::real()?;
    let store = crate::store::Store::look(&host.root.real(&host::registry()))?;
    let row = store.context("there is no registry")?.project(name)?.context("there is no such project")?;
    let path = name.call(row.spec.uid, id);
    let mut first = String::new();
    host.root.open_file(&path)?.context("there is no such call")?.take(LIMIT).read_to_string(&mut first)?;
    let request: Request = serde_json::from_str(first.lines().next().unwrap_or_default())?;
    let recorder = Recorder::new(host.root.append(&path, Attr::root(0o600))?);
    let mut last = Recorder::new(host.root.append(&path, Attr::root(0o600))?);
    drop(host);
    let ended = carry_out(request, recorder).map_err(|error| understand(&error));
    let well = ended.is_ok();
    last.write(&Ended { ended });
    Ok(well)
}

fn carry_out(request: Request, recorder: Recorder) -> Result<Answer> {
    let argv: Vec<OsString> = request.argv.into_iter().map(OsString::from_vec).collect();
    let cli = Cli::from_arg_matches(&command().try_get_matches_from(argv)?)?;
    let environment = Environment {
        sudo_uid: request.sudo_uid,
        directory: request.directory.map(|path| OsString::from_vec(path).into()),
        ..Environment::default()
    };
    let mut cx = Context::handed_over(&cli, environment, recorder, request.agreed);
    cx.prepare()?;
    cli.command.run(&mut cx)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn deploy_attach_is_attach_unless_a_project_is_called_so() {
        let renamed = |words: &[&str]| {
            let mut argv: Vec<OsString> = words.iter().map(Into::into).collect();
            rename(&mut argv);
            argv.join(OsStr::new(" ")).into_string().unwrap()
        };
        assert_eq!(renamed(&["hostkit", "deploy", "attach", "blog"]), "hostkit attach blog");
        assert_eq!(
            renamed(&["hostkit", "deploy", "attach", "--source", "."]),
            "hostkit deploy attach --source ."
        );
        assert_eq!(renamed(&["hostkit", "--json", "deploy", "attach", "blog"]), "hostkit --json attach blog");
        assert_eq!(renamed(&["hostkit", "deploy", "blog"]), "hostkit deploy blog");
    }

    #[test]
    fn how_a_call_ended_is_read_as_it_was_written() {
        let fault = Fault::new(Code::Unhealthy, "it does not answer").next("hostkit logs blog");
        let failure = understand(&anyhow::Error::new(fault).context("starting"));
        for ended in [Err(failure), Ok(Answer::new("Live", serde_json::json!({ "release": "x" })))] {
            let text = serde_json::to_string(&Ended { ended }).unwrap();
            let read: Ended = serde_json::from_str(&text).unwrap();
            assert_eq!(serde_json::to_string(&read).unwrap(), text);
        }
        let began = serde_json::json!({ "ms": 3, "event": "began", "what": "build", "detail": "npm" });
        assert!(matches!(serde_json::from_value(began).unwrap(), Heard::Began { .. }));
        let unknown = serde_json::json!({ "ms": 3, "event": "sung", "song": 1 });
        assert!(matches!(serde_json::from_value(unknown).unwrap(), Heard::Other));
    }
}
