//! Probation: a release that crashes again and again in its first minutes is taken back by itself, once.
//!
//! Nobody waits for it: a timer of systemd's, which is there for these minutes only, has HostKit look how
//! often systemd had to start the process again. The database stays as it is.

use std::{io::Write, time::Duration};

use anyhow::{Context, Result};
use jiff::SignedDuration;

use super::{
    rollback::{Swapped, With, rollback},
    session::Session,
};
use crate::{
    domain::{name::ProjectName, release::ReleaseId},
    event::Event,
    project::{ProjectSpec, rails::Fallen},
    system::Job,
};

/// How often to look.
const PACE: Duration = Duration::from_secs(15);
/// So many starts by systemd itself are no accident any more.
const CRASHES: u32 = 3;
/// Who takes a release back, in the records.
const CALLER: &str = "probation";

/// What a look led to.
#[derive(Debug)]
pub enum Watched {
    /// The release runs, as far as can be seen.
    Well,
    /// There is nothing to watch any more.
    Over,
    /// It was taken back.
    TakenBack(Box<Swapped>),
}

/// Has a release watched that has just gone live, if there is one to go back to. Not to be able to is no
/// reason to take it back.
pub(super) fn begin(session: &mut Session<'_>, spec: &ProjectSpec) {
    let Some((id, launch)) = &spec.live else { return };
    if spec.rails.probation == 0 || launch.exec.is_none() || earlier(spec, id).is_none() {
        return;
    }
    if let Err(error) = watch_on(session, spec, id) {
        let message = format!("the release is not watched, and stays even if it crashes: {error:#}");
        session.ui.emit(Event::Warned { message: &message });
    }
}

fn watch_on(session: &mut Session<'_>, spec: &ProjectSpec, id: &ReleaseId) -> Result<()> {
    let name = &spec.name;
    let program = crate::system::process::program()?.into_os_string().into_string();
    let program = program.ok().context("the path of this program is text")?;
    let words = ["--foreground", "--quiet", "rollback", name.as_str(), "--probation", id.as_str()];
    session.host.systemd.repeat(
        &Job {
            unit: name.probation_unit(id),
            description: format!("HostKit: watch the new release of {name}"),
            settings: Vec::new(),
            argv: std::iter::once(program.as_str()).chain(words).map(str::to_owned).collect(),
            patience: Duration::ZERO,
        },
        PACE,
    )
}

/// The release before another one.
fn earlier(spec: &ProjectSpec, id: &ReleaseId) -> Option<ReleaseId> {
    spec.stood(|stand| stand.release != *id).map(|at| spec.lineage[at].release.clone())
}

/// Looks at a release that is watched, and takes it back if it crashes again and again.
pub fn watch(session: &mut Session<'_>, name: &ProjectName, id: &ReleaseId) -> Result<Watched> {
    let spec = session.project(name)?.spec;
    let row = session.store.releases(spec.uid)?.into_iter().find(|row| row.id == *id);
    let began = row.and_then(|row| row.created_at.parse::<jiff::Timestamp>().ok());
    let window = SignedDuration::from_mins(spec.rails.probation.into());
    let young = began.is_some_and(|began| session.host.clock.now().duration_since(began) <= window);
    let before = earlier(&spec, id).filter(|_| young && spec.live_release() == Some(id) && spec.running);
    let Some(before) = before else {
        session.host.systemd.stop(&name.probation_timer(id))?;
        return Ok(Watched::Over);
    };
    let crashes = session.host.systemd.restarts(&name.unit())?;
    if crashes < CRASHES {
        return Ok(Watched::Well);
    }
    // Once: whatever comes of it, nobody looks again.
    session.host.systemd.stop(&name.probation_timer(id))?;
    CALLER.clone_into(&mut session.caller);
    let why = format!("its process crashed {crashes} times in its first {} minutes", spec.rails.probation);
    session.note(name.as_str(), "probation", &format!("{id}: {why}; going back to {before}"))?;
    tell(session, name, &format!("HostKit: the release {id} is taken back for {before}: {why}"))?;
    let (_, swapped) = rollback(session, name, Some(&before), With::Its)?;
    let mut spec = session.project(name)?.spec;
    let at = format!("{:.0}", session.host.clock.now());
    spec.rails.fallen = Some(Fallen { release: id.to_string(), at, why });
    session.store.change(|registry| registry.put_project(&spec))?;
    Ok(Watched::TakenBack(Box::new(swapped)))
}

/// Adds a line to the project's log, where somebody looks who asks why.
fn tell(session: &mut Session<'_>, name: &ProjectName, line: &str) -> Result<()> {
    let path = name.logs().join("error.log");
    if let Some(meta) = session.host.root.meta(&path)? {
        writeln!(session.host.root.append(&path, meta.attr)?, "{line}")
            .context("writing the project's log")?;
    }
    Ok(())
}
