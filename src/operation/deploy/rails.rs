//! Guard rails: a pipeline that deploys again and again, or fails again and again, is made to wait.
//!
//! What counts is in the history alone: the deploys that were done, and those that failed. One that was
//! refused before anything began (a bad archive, no right to it) costs the host nothing and counts for
//! nothing; neither does one that somebody stopped.

use anyhow::{Result, bail};
use jiff::{SignedDuration, Timestamp};

use crate::{
    domain::{
        fault::{Code, Fault},
        name::ProjectName,
    },
    event::Event,
    operation::session::{Mode, Outcome, Session},
    project::{ProjectSpec, Rails},
    store::{OperationRow, Work},
};

/// The command in the history.
const VERB: &str = "deploy";
/// So many failures, one after the other, and there is a rest.
const STREAK: usize = 3;
const REST: SignedDuration = SignedDuration::from_mins(5);
/// So many failures within so long pause a project that wants to be paused.
const MANY: usize = 5;
const SHORT: SignedDuration = SignedDuration::from_mins(10);
const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// A deploy that was let through.
pub(super) struct Counted {
    name: ProjectName,
    /// The newest operation before it.
    before: i64,
}

/// A deploy of the past.
struct Past {
    at: Timestamp,
    failed: bool,
}

/// The deploys of a project that are known, newest first.
fn past(session: &Session<'_>, spec: &ProjectSpec) -> Result<Vec<Past>> {
    let since = spec.rails.resumed.as_ref().and_then(|at| at.parse::<Timestamp>().ok());
    let most = usize::try_from(spec.rails.hourly)?.max(MANY) + 1;
    let rows = session.store.operations(spec.name.as_str(), VERB, most)?;
    let read = |row: OperationRow| {
        let at: Timestamp = row.ended_at.unwrap_or(row.started_at).parse().ok()?;
        let stopped = row.outcome.is_some_and(|why| why.contains("interrupted"));
        Some(Past { at, failed: row.state == "undone" && !stopped })
    };
    Ok(rows.into_iter().filter_map(read).filter(|past| since.is_none_or(|since| past.at > since)).collect())
}

/// Lets a deploy through, or says when it is possible again. What is overridden is recorded.
pub(super) fn check(session: &mut Session<'_>, spec: &ProjectSpec, over: bool) -> Result<Counted> {
    let before = session.store.operations(spec.name.as_str(), VERB, 1)?.first().map_or(0, |row| row.id);
    let counted = Counted { name: spec.name.clone(), before };
    let Some(fault) = refusal(session, spec)? else { return Ok(counted) };
    if session.mode == Mode::DryRun {
        session.ui.emit(Event::Warned { message: &fault.message });
        return Ok(counted);
    }
    if !over {
        bail!(fault)
    }
    session.note(spec.name.as_str(), "override", &fault.message)?;
    session.ui.emit(Event::Warned { message: &format!("{}; overridden", fault.message) });
    Ok(counted)
}

fn refusal(session: &Session<'_>, spec: &ProjectSpec) -> Result<Option<Fault>> {
    let (name, now) = (&spec.name, session.host.clock.now());
    if let Some(since) = &spec.rails.paused {
        let message = format!(
            "deploys of `{name}` are paused since {since}: {MANY} failed within {} minutes",
            SHORT.as_mins()
        );
        return Ok(Some(Fault::new(Code::Paused, message).next(format!("hostkit resume {name}"))));
    }
    let past = past(session, spec)?;
    let later = |what: String, again: Timestamp| {
        let wait = again.duration_since(now).as_secs().max(1);
        let message = format!("{what}; the next deploy of `{name}` is possible in {wait} s, at {again:.0}");
        Fault::new(Code::RateLimited, message)
            .next(format!("hostkit history {name}"))
            .next(format!("hostkit deploy {name} --override-ratelimit …    # as an administrator"))
    };
    let streak: Vec<&Past> = past.iter().take_while(|past| past.failed).take(STREAK).collect();
    if let [newest, ..] = streak.as_slice()
        && streak.len() == STREAK
        && now < newest.at + REST
    {
        return Ok(Some(later(format!("the last {STREAK} deploys failed"), newest.at + REST)));
    }
    let hourly = usize::try_from(spec.rails.hourly)?;
    if hourly > 0
        && let Some(first) = past.get(hourly - 1)
        && now < first.at + HOUR
    {
        return Ok(Some(later(format!("there were {hourly} deploys within an hour"), first.at + HOUR)));
    }
    Ok(None)
}

/// Why a project cannot be deployed at the moment, and from when on it can; nothing when it can.
pub fn rest(session: &Session<'_>, spec: &ProjectSpec) -> Result<Option<String>> {
    Ok(refusal(session, spec)?.map(|fault| fault.message))
}

impl Counted {
    /// Enters a failure into the history, unless its operation did, and pauses the project if it wants that.
    pub(super) fn count(&self, session: &mut Session<'_>, error: &anyhow::Error) {
        if session.mode == Mode::Run
            && counts(error)
            && let Err(complaint) = self.enter(session, error)
        {
            let message = format!("the failure is not in the history: {complaint:#}");
            session.ui.emit(Event::Warned { message: &message });
        }
    }

    fn enter(&self, session: &mut Session<'_>, error: &anyhow::Error) -> Result<()> {
        let name = self.name.as_str();
        let newest = session.store.operations(name, VERB, 1)?.first().map_or(0, |row| row.id);
        if newest == self.before {
            let now = session.host.clock.now();
            let work = Work { verb: VERB, owner: name.to_owned(), caller: session.caller.clone(), now };
            let why = error.chain().find_map(|e| e.downcast_ref::<Fault>()).map_or_else(
                || format!("{error:#}"),
                |fault| fault.message.lines().next().unwrap_or_default().to_owned(),
            );
            session.store.fail(&work, &why)?;
        }
        let Some(mut spec) = session.store.project(&self.name)?.map(|row| row.spec) else { return Ok(()) };
        let now = session.host.clock.now();
        let recent = |past: &&Past| past.failed && now.duration_since(past.at) < SHORT;
        if spec.rails.pause && past(session, &spec)?.iter().filter(recent).count() >= MANY {
            spec.rails.paused = Some(format!("{now:.0}"));
            session.store.change(|registry| registry.put_project(&spec))?;
            let message = format!("deploys of `{name}` are paused: {MANY} failed; `hostkit resume {name}`");
            session.ui.emit(Event::Warned { message: &message });
        }
        Ok(())
    }
}

/// Whether a failure is the application's: what was refused for what it is cost nothing.
fn counts(error: &anyhow::Error) -> bool {
    let code = error.chain().find_map(|e| e.downcast_ref::<Fault>()).map(|fault| fault.code);
    code.is_none_or(|code| matches!(code.exit(), 1 | 8..=11))
}

/// Changes a project's guard rails.
pub fn set_rails(
    session: &mut Session<'_>,
    name: &ProjectName,
    change: impl FnOnce(&mut Rails),
) -> Result<(Outcome, ProjectSpec)> {
    let _held = session.enter(name.as_str(), "rails")?;
    let mut spec = session.project(name)?.spec;
    let before = spec.clone();
    change(&mut spec.rails);
    if spec == before {
        return Ok((Outcome::Unchanged, spec));
    }
    if session.mode == Mode::DryRun {
        return Ok((Outcome::WouldChange, spec));
    }
    session.note(name.as_str(), "rails", "what keeps its deploys from doing harm")?;
    session.store.change(|registry| registry.put_project(&spec))?;
    Ok((Outcome::Changed, spec))
}

/// Lets a project be deployed again: what failed until now does not count any more.
pub fn resume(session: &mut Session<'_>, name: &ProjectName) -> Result<(Outcome, ProjectSpec)> {
    let _held = session.enter(name.as_str(), "resume")?;
    let mut spec = session.project(name)?.spec;
    let waits = spec.rails.paused.is_some() || refusal(session, &spec)?.is_some();
    if !waits {
        return Ok((Outcome::Unchanged, spec));
    }
    if session.mode == Mode::DryRun {
        return Ok((Outcome::WouldChange, spec));
    }
    spec.rails.paused = None;
    spec.rails.resumed = Some(format!("{:.0}", session.host.clock.now()));
    session.note(name.as_str(), "resume", "deploys are possible again")?;
    session.store.change(|registry| registry.put_project(&spec))?;
    Ok((Outcome::Changed, spec))
}
