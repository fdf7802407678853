//! The builds there were, what they wrote, and ending the one that runs.

use anyhow::{Result, bail};

use super::diary::{DONE, FAILED};
use crate::{
    domain::{
        fault::{Code, Fault},
        name::ProjectName,
        release::ReleaseId,
    },
    operation::session::{Mode, Outcome, Session},
    system::{Attr, systemd::invocation},
};

/// How much of a log is read, in bytes: a little more than is ever written.
const LARGEST: u64 = 17 << 20;

/// What became of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It is at work.
    Running,
    /// It ended well, after this.
    Done(String),
    /// It failed: after how long, and why.
    Failed(String),
    /// Nobody has written its end: it died with whoever had begun it.
    Dead,
}

/// A build there was, or is.
#[derive(Clone, Debug)]
pub struct Past {
    /// The release it was to become.
    pub id: ReleaseId,
    /// What became of it.
    pub state: State,
    /// How much it wrote, in bytes.
    pub size: u64,
}

/// The builds whose logs are kept, newest first.
pub fn list(session: &Session<'_>, name: &ProjectName) -> Result<Vec<Past>> {
    session.project(name)?;
    let mut all: Vec<(ReleaseId, String)> = Vec::new();
    for entry in session.host.root.list(&name.build_logs())? {
        if let Some(id) = entry.strip_suffix(".log").and_then(|id| id.parse().ok()) {
            all.push(log(session, name, Some(&id))?);
        }
    }
    let running = invocation(&session.host.root, &name.build_unit())?.is_some();
    // Newest first; only the newest can be the one that runs.
    let past = |(rank, (id, text)): (usize, (ReleaseId, String))| {
        let last = text.lines().next_back().unwrap_or_default();
        let state = if let Some(after) = last.strip_prefix(DONE) {
            State::Done(after.to_owned())
        } else if let Some(why) = last.strip_prefix(FAILED) {
            State::Failed(why.to_owned())
        } else if running && rank == 0 {
            State::Running
        } else {
            State::Dead
        };
        Past { id, state, size: text.len() as u64 }
    };
    Ok(all.into_iter().rev().enumerate().map(past).collect())
}

/// What a build wrote: that of a release, or the newest.
pub fn log(session: &Session<'_>, name: &ProjectName, id: Option<&ReleaseId>) -> Result<(ReleaseId, String)> {
    session.project(name)?;
    let missing =
        |what: String| Fault::new(Code::ReleaseNotFound, what).next(format!("hostkit builds list {name}"));
    let id = if let Some(id) = id {
        id.clone()
    } else {
        let all = session.host.root.list(&name.build_logs())?;
        let newest = all.iter().rev().find_map(|entry| entry.strip_suffix(".log")?.parse().ok());
        newest.ok_or_else(|| missing(format!("nothing of `{name}` has been built yet")))?
    };
    match session.host.root.read(&name.build_log(&id), LARGEST)? {
        Some(bytes) => Ok((id, String::from_utf8_lossy(&bytes).into_owned())),
        None => bail!(missing(format!("there is no log of a build of the release `{id}`"))),
    }
}

/// Ends the build that runs. The deploy it belongs to fails, and what is live stays live.
pub fn cancel(session: &mut Session<'_>, name: &ProjectName) -> Result<Outcome> {
    session.project(name)?;
    let unit = name.build_unit();
    if invocation(&session.host.root, &unit)?.is_none() {
        bail!(
            Fault::new(Code::WrongState, format!("no build of `{name}` is running"))
                .next(format!("hostkit builds list {name}"))
        );
    }
    if session.mode == Mode::DryRun {
        return Ok(Outcome::WouldChange);
    }
    // First the reason: the deploy looks for it as soon as the unit has ended.
    session.host.root.replace(&name.build_cancelled(), b"", Attr::root(0o600))?;
    session.host.systemd.stop(&unit)?;
    Ok(Outcome::Changed)
}
