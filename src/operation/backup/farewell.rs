//! The last backup of what is deleted, and bringing back from it.

use anyhow::Result;

use super::{
    Event, Fault, Key, Mode, ProjectSpec, Reason, Scope, Session, Stored, cause, database, is_own, newest,
    objects, offsite, open, redis, restore, stored,
    write::{self, write, write_with},
};
use crate::system::objects::bundle::Stock;

/// The last backup of a project that is to be deleted; with `stock`, what lies in its bucket is in it, and what
/// that was is returned.
pub(in crate::operation) fn last(
    session: &mut Session<'_>,
    spec: &ProjectSpec,
    stock: bool,
) -> Result<Option<Stock>> {
    let name = &spec.name;
    let stock = stock && is_own(spec);
    if stock {
        let kept = format!("hostkit project delete {name} --objects keep    # they stay, closed, for 7 days");
        let lost = format!("hostkit project delete {name} --objects drop    # they are lost");
        objects::require(session, spec, &[kept, lost])?;
    }
    if session.mode == Mode::DryRun {
        return Ok(None);
    }
    let without = format!("hostkit project delete {name} --no-backup");
    let backup = write_with(session, spec, Scope::Backup, Reason::Final, stock)
        .map_err(|e| unmade(e, "the last backup", &without))?;
    offsite::copy(session, name, spec.uid);
    Ok(backup.inside.ok().and_then(|(_, manifest)| manifest.contents.objects))
}

/// What the last backup of a deleted project holds of its bucket.
pub(in crate::operation) fn saved(session: &Session<'_>, spec: &ProjectSpec) -> Result<Option<Stock>> {
    let last = last_of(session, spec)?;
    Ok(last.and_then(|last| last.inside.ok()).and_then(|(_, manifest)| manifest.contents.objects))
}

/// The last backup of a deleted project that can be read.
fn last_of(session: &Session<'_>, spec: &ProjectSpec) -> Result<Option<Stored>> {
    let is_last = |s: &Stored| s.inside.as_ref().is_ok_and(|(reason, _)| *reason == Reason::Final);
    Ok(stored(session, &spec.name, spec.uid)?.into_iter().find(is_last))
}

/// A checkpoint of a database that is to be deleted.
pub(in crate::operation) fn farewell(session: &mut Session<'_>, spec: &ProjectSpec) -> Result<()> {
    let without = format!("hostkit db delete {} --no-backup", spec.name);
    write(session, spec, Scope::Checkpoint, Reason::Delete)
        .map(drop)
        .map_err(|e| unmade(e, "a checkpoint of it", &without))
}

/// Why something is not deleted, and what does without a backup.
fn unmade(error: anyhow::Error, what: &str, without: &str) -> anyhow::Error {
    match error.downcast::<Fault>() {
        Ok(mut fault) => {
            fault.message = format!("{what} cannot be made: {}", fault.message);
            fault.next(format!("{without}    # its data is lost then")).into()
        }
        Err(error) => error.context(format!("{what} cannot be made; `{without}` does without")),
    }
}

/// Loads the database of a deleted project from its last backup, to where one lies that was taken away:
/// bringing the project back takes it from there. Redis and the bucket likewise; says whether a bucket was
/// loaded.
pub(in crate::operation) fn revive(session: &mut Session<'_>, spec: &ProjectSpec) -> Result<bool> {
    let serves = spec.database.is_some() || spec.redis.is_some();
    if !serves && !is_own(spec) {
        return Ok(false);
    }
    // One that cannot be read may be the last: nothing comes back empty for that.
    Key::of(&session.host.vault)?;
    newest(session, &spec.name, spec.uid, Scope::Backup)?;
    let Some(backup) = last_of(session, spec)? else {
        let message = "there is no last backup: database and Redis come back empty";
        if serves {
            session.ui.emit(Event::Warned { message });
        }
        return Ok(false);
    };
    let mut reader = open(session, &backup.path)?;
    reader.check()?;
    restore::require_room(session, &reader, &restore::Piece::ALL)?;
    database::clear(session, spec)?;
    let mut stocked = false;
    let loaded = reader.each(|part, from| match part.name.as_str() {
        write::DATABASE if spec.database.is_some() => database::revive(session, spec, from),
        write::REDIS => redis::revive(session, spec, from),
        write::OBJECTS => {
            stocked = objects::revive(session, spec, from)?;
            Ok(())
        }
        _ => Ok(()),
    });
    loaded.map_err(cause)?;
    Ok(stocked)
}

/// Makes way for what [`revive`] loads, which an earlier one may have loaded before it died.
pub(in crate::operation) fn reclaim(session: &mut Session<'_>, spec: &ProjectSpec) -> Result<()> {
    if session.mode == Mode::Run { redis::reclaim(session, spec) } else { Ok(()) }
}

/// Settles what [`revive`] has loaded, a bucket perhaps among it, once the project is back, or is not.
pub(in crate::operation) fn revived(
    session: &mut Session<'_>,
    spec: &ProjectSpec,
    stocked: bool,
    back: bool,
) {
    if stocked
        && !back
        && let Err(error) = objects::dismiss(session, spec)
    {
        let message = format!("what was loaded into the object storage is still there: {error:#}");
        session.ui.emit(Event::Warned { message: &message });
    }
    if session.mode == Mode::Run
        && let Err(error) = redis::revived(session, spec, back)
    {
        session.ui.emit(Event::Warned { message: &format!("Redis could not be tidied up: {error:#}") });
    }
}

/// Lets the backups go of a project whose time in the trash is over, except those that somebody wanted.
pub(in crate::operation) fn outlive(session: &mut Session<'_>, spec: &ProjectSpec) -> Result<()> {
    for backup in stored(session, &spec.name, spec.uid)? {
        if !matches!(backup.inside, Ok((Reason::Manual, _))) {
            session.host.root.remove(&backup.path)?;
        }
    }
    session.host.root.rmdir(&spec.name.backups(spec.uid)).map(drop)
}
