//! Probation: a release that crashes again and again in its first minutes is taken back by itself, once.
//!
//! Nobody waits for it: a timer of systemd's, which is there for these minutes only, has HostKit look how
//! often systemd had to start the process again. A boot within these minutes makes the timer anew. The
//! database stays as it is.

use std::{io::Write, time::Duration};

use anyhow::{Context, Result};
use jiff::SignedDuration;

use super::{
    retreat::Data,
    rollback::{self, Swapped, With, swap},
    session::Session,
    survey::is_busy,
};
use crate::{
    domain::{name::ProjectName, release::ReleaseId},
    event::Event,
    project::{ProjectSpec, Stage, rails::Fallen},
    system::{Job, systemd::invocation},
};

/// How often to look.
const PACE: Duration = Duration::from_secs(15);
/// So many starts by systemd itself are no accident any more.
const CRASHES: u32 = 3;
/// Who takes a release back, in the records.
const CALLER: &str = "probation";

/// The hidden verb of this program that looks: `WATCH -- NAME RELEASE`.
pub const WATCH: &str = "__watch";

/// What a look led to.
#[derive(Debug)]
pub enum Watched {
    /// The release runs, as far as can be seen; or nobody can look at the moment.
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

/// Has a release watched again whose timer went with the last boot, if its first minutes are not over.
pub(super) fn go_on(session: &mut Session<'_>, spec: &ProjectSpec) -> Result<()> {
    let Some(id) = spec.live_release() else { return Ok(()) };
    let is_watched = invocation(&session.host.root, &spec.name.probation_timer(id))?.is_some();
    if !is_watched && is_young(session, spec, id)? && spec.rails.fallen.is_none() {
        begin(session, spec);
    }
    Ok(())
}

/// Whether a release is in the minutes in which it is watched.
fn is_young(session: &Session<'_>, spec: &ProjectSpec, id: &ReleaseId) -> Result<bool> {
    let row = session.store.releases(spec.uid)?.into_iter().find(|row| row.id == *id);
    let began = row.and_then(|row| row.created_at.parse::<jiff::Timestamp>().ok());
    let window = SignedDuration::from_mins(spec.rails.probation.into());
    Ok(began.is_some_and(|began| session.host.clock.now().duration_since(began) <= window))
}

fn watch_on(session: &mut Session<'_>, spec: &ProjectSpec, id: &ReleaseId) -> Result<()> {
    let name = &spec.name;
    let program = crate::system::process::program()?.into_os_string().into_string();
    let program = program.ok().context("the path of this program is text")?;
    let words = [WATCH, "--", name.as_str(), id.as_str()];
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
    match look(session, name, id)? {
        Look::Over => {
            session.host.systemd.stop(&name.probation_timer(id))?;
            return Ok(Watched::Over);
        }
        Look::Well => return Ok(Watched::Well),
        Look::Crashes { .. } => {}
    }
    let _held = match session.enter(name.as_str(), rollback::VERB) {
        Ok(held) => held,
        // Whoever is at work may bring another release; if not, the next look will tell.
        Err(error) if is_busy(&error) => return Ok(Watched::Well),
        Err(error) => return Err(error),
    };
    // It may have been another one's turn until the lock was free.
    let Look::Crashes { before, crashes, minutes } = look(session, name, id)? else {
        return Ok(Watched::Well);
    };
    // Once: whatever comes of it, nobody looks again.
    session.host.systemd.stop(&name.probation_timer(id))?;
    CALLER.clone_into(&mut session.caller);
    let why = format!("its process crashed {crashes} times in its first {minutes} minutes");
    session.note(name.as_str(), "probation", &format!("{id}: {why}; going back to {before}"))?;
    tell(session, name, &format!("HostKit: the release {id} is taken back for {before}: {why}"))?;
    let at = format!("{:.0}", session.host.clock.now());
    let fallen = Fallen { release: id.to_string(), at, why };
    let stays = Data::Stays { agreed: true };
    let (_, swapped) = swap(session, name, Some(&before), With::Its, stays, Some(fallen))?;
    Ok(Watched::TakenBack(Box::new(swapped)))
}

/// What there is to see of a release.
enum Look {
    /// It is not live any more, or not young, or there is nothing to go back to.
    Over,
    /// It does not crash, or the handover to it is not done and its process not the last one.
    Well,
    /// It crashes again and again.
    Crashes { before: ReleaseId, crashes: u32, minutes: u32 },
}

fn look(session: &Session<'_>, name: &ProjectName, id: &ReleaseId) -> Result<Look> {
    let spec = session.project(name)?.spec;
    let is_watched = spec.live_release() == Some(id) && spec.running && is_young(session, &spec, id)?;
    let Some(before) = earlier(&spec, id).filter(|_| is_watched) else { return Ok(Look::Over) };
    if spec.stage != Stage::Settled {
        return Ok(Look::Well);
    }
    let crashes = session.host.systemd.restarts(&name.unit())?;
    let minutes = spec.rails.probation;
    Ok(if crashes < CRASHES { Look::Well } else { Look::Crashes { before, crashes, minutes } })
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
