//! Having backups made every day, and seeing that they are.

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};

use super::{BackupId, Key, Outcome, ProjectName, ProjectSpec, Reason, Scope, Session, stored};
use crate::{
    operation::lifecycle::settle,
    plan::{Foreign, Plan},
    project::schedule::{Clock, Schedule},
};

/// How old the newest backup of a project may be that has one made every day.
pub(super) const LATE: SignedDuration = SignedDuration::from_hours(36);

/// Has a project's backups made every day at this time, or no longer.
pub fn schedule(
    session: &mut Session<'_>,
    name: &ProjectName,
    at: Option<Clock>,
) -> Result<(Outcome, ProjectSpec)> {
    let _held = session.enter(name.as_str(), "backup schedule")?;
    let mut spec = session.project(name)?.spec;
    let now = format!("{:.0}", session.host.clock.now());
    spec.backups = at.map(|at| {
        let since = spec.backups.as_ref().map_or(now, |schedule| schedule.since.clone());
        Schedule { at, since }
    });
    let all = session.wanted(&spec)?;
    let owned = session.store.owned(name.as_str())?;
    let plan = Plan::between(owned, all.clone(), Foreign::Refuse, &session.host)?;
    let outcome = settle(session, "backup schedule", &spec, &plan, &all)?;
    Ok((outcome, spec))
}

/// What is wrong with the backups of a project that has them made every day; nothing, if nothing is.
pub(in crate::operation) fn overdue(session: &Session<'_>, spec: &ProjectSpec) -> Result<Option<String>> {
    let Some(schedule) = &spec.backups else { return Ok(None) };
    let now = session.host.clock.now();
    let made = |reason: Reason| matches!(reason, Reason::Schedule | Reason::Manual);
    let newest = stored(session, &spec.name, spec.uid)?
        .into_iter()
        .find(|s| s.scope == Scope::Backup && s.inside.as_ref().is_ok_and(|(reason, _)| made(*reason)));
    match newest {
        Some(backup) if now.duration_since(backup.id.at()) > LATE => {
            let hours = now.duration_since(backup.id.at()).as_hours();
            Ok(Some(format!("the last one that succeeded is {hours} hours old")))
        }
        Some(_) => Ok(None),
        None => {
            let since = schedule.since.parse::<Timestamp>().unwrap_or(Timestamp::UNIX_EPOCH);
            let late = now.duration_since(since) > LATE;
            Ok(late.then(|| format!("none has succeeded since {}", schedule.since)))
        }
    }
}

/// The newest backup of a project when it cannot be read, and why. Without the master key none can, which is
/// found by itself.
pub(in crate::operation) fn damaged(
    session: &Session<'_>,
    spec: &ProjectSpec,
) -> Result<Option<(BackupId, String)>> {
    if Key::of(&session.host.vault).is_err() {
        return Ok(None);
    }
    let newest = stored(session, &spec.name, spec.uid)?.into_iter().find(|s| s.scope == Scope::Backup);
    Ok(newest.and_then(|s| Some((s.id, s.inside.err()?))))
}
