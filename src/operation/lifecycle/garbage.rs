//! What nobody can have back: what a purge leaves, and what `gc` removes.

use anyhow::Result;
use jiff::Timestamp;

use super::{backup, certificates, database, doom, redis, storage};
use crate::{
    domain::{layout::host, release::ReleaseId},
    event::Event,
    operation::session::{Mode, Session},
    project::ProjectSpec,
    store::TrashRow,
};

/// Empties the trash of what nobody can have back: pruned and failed releases, and projects whose
/// time is over. Whatever belongs to an operation that runs is left for the next time.
pub fn collect(session: &mut Session<'_>) -> Result<usize> {
    let _held = session.enter("", "gc")?;
    let now = session.host.clock.now();
    let (lost, kept): (Vec<TrashRow>, Vec<TrashRow>) = session
        .store
        .trash()?
        .into_iter()
        .partition(|row| row.expires_at.parse::<Timestamp>().is_ok_and(|at| at <= now));
    let mut gone = 0;
    for row in &lost {
        if session.mode == Mode::DryRun {
            gone += 1;
        } else if let Ok(_held) = session.enter(row.spec.name.as_str(), "gc") {
            doom(session, row)?;
            backup::outlive(session, &row.spec)?;
            session.host.root.shred(&row.spec.name.calls(row.spec.uid))?;
            redis::shred(session, &row.spec)?;
            gone += 1;
        }
    }
    let mut known: Vec<ProjectSpec> = session.store.projects()?.into_iter().map(|p| p.spec).collect();
    known.extend(kept.into_iter().map(|row| row.spec));
    for uid in database::gone(session)? {
        let Some(owner) = known.iter().find(|spec| spec.uid == uid).map(|spec| spec.name.to_string()) else {
            continue;
        };
        if session.mode == Mode::DryRun {
            gone += 1;
        } else if let Ok(_held) = session.enter(&owner, "gc") {
            // What one project has left behind must not keep the others' from going.
            gone += database::drop_gone(session, uid).unwrap_or_else(|error| {
                let message = format!("a database that `{owner}` had cannot be dropped: {error:#}");
                session.ui.emit(Event::Warned { message: &message });
                0
            });
        }
    }
    gone += storage::collect(session);
    gone += backup::offsite::collect(session).unwrap_or_else(|error| {
        let message = format!("copies of backups whose time is over may be left offsite: {error:#}");
        session.ui.emit(Event::Warned { message: &message });
        0
    });
    gone += certificates::collect(session)?;
    for trash in [host::home_trash(), host::log_trash()] {
        for entry in session.host.root.list(&trash)? {
            let Some(owner) = spare(&entry, &known) else { continue };
            if session.mode == Mode::DryRun {
                gone += 1;
                continue;
            }
            // An operation that runs may still want it back.
            if let Ok(_held) = session.enter(&owner, "gc") {
                session.host.root.shred(&trash.join(&entry))?;
                gone += usize::from(!entry.starts_with(".doomed-"));
            }
        }
    }
    Ok(gone)
}

/// Whose an entry of the trash is that nobody can have back: a tree that was doomed, or a release that a
/// known project does not keep. What the registry knows nothing of is left alone; it may be the registry
/// that is wrong.
fn spare(entry: &str, known: &[ProjectSpec]) -> Option<String> {
    if let Some(tree) = entry.strip_prefix(".doomed-") {
        return tree.split('.').next().map(str::to_owned);
    }
    known.iter().find_map(|spec| {
        let release: ReleaseId = entry
            .strip_prefix(&format!("{}.{}.", spec.name, spec.uid))?
            .trim_end_matches(".manifest")
            .parse()
            .ok()?;
        (!spec.kept.contains(&release)).then(|| spec.name.to_string())
    })
}
