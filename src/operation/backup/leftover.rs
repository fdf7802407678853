//! What lies beside a project's data while it is restored or checked, and is taken away should that die.

use anyhow::Result;

use super::{
    Attr, ProjectSpec, Session, database, objects, redis,
    write::{OBJECTS, REDIS, directories},
};
use crate::domain::layout::HostPath;

/// A note of what is under way is shorter than this, in bytes.
const NOTE: u64 = 64;

/// Says that something is about to lie beside a project's data, so that the next command finds it should this
/// one die. `what` are words: those of the parts that have daemons of their own are looked for.
pub(super) fn mark(session: &mut Session<'_>, spec: &ProjectSpec, what: &str) -> Result<HostPath> {
    let note = spec.name.restoring(spec.uid);
    directories(session, &spec.name, spec.uid)?;
    session.host.root.replace(&note, what.as_bytes(), Attr::root(0o600))?;
    Ok(note)
}

/// Removes what a restore, or the check of a backup, that died has left. Its operation is undone or done by now.
pub(in crate::operation) fn settle(session: &mut Session<'_>, spec: &ProjectSpec) -> Result<()> {
    let note = spec.name.restoring(spec.uid);
    let Some(what) = session.host.root.read(&note, NOTE)? else { return Ok(()) };
    clear(session, spec)?;
    let what = String::from_utf8_lossy(&what);
    let holds = |part| what.split(' ').any(|word| word == part);
    if holds(REDIS) {
        let _held = redis::take(session, spec)?;
        redis::clear(session, spec)?;
    }
    if holds(OBJECTS) {
        objects::clear(session, spec)?;
    }
    session.host.root.remove(&note)
}

/// Removes what a restore has left beside the project's data, or one that died. The data that was
/// replaced is among it.
pub(in crate::operation) fn clear(session: &mut Session<'_>, spec: &ProjectSpec) -> Result<()> {
    session.host.root.shred(&spec.name.incoming_shared())?;
    database::clear(session, spec)
}
