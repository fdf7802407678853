//! Backups and checkpoints: making them, looking into them, and letting old ones go.
//!
//! A backup lies in a file that says itself what it is: there is no other record of it, so a file that
//! was copied to another server is worth as much there.

mod database;
mod farewell;
pub(super) mod leftover;
mod objects;
pub mod offsite;
mod piece;
mod redis;
pub mod restore;
pub mod retreat;
pub mod schedule;
pub mod verify;
mod write;

use anyhow::{Result, bail};
use serde::Serialize;

use super::{
    session::{Mode, Outcome, Session},
    storage::beside::is_own,
};
use crate::{
    domain::{
        backup::{BackupId, Reason, Scope, spare},
        fault::{Code, Fault},
        layout::{HostPath, host},
        name::ProjectName,
    },
    event::Event,
    project::ProjectSpec,
    system::{
        Attr,
        backup::{Contents, Header, Key, Manifest, Opened, Reader, cause},
    },
};

use self::write::write_with;
pub(super) use self::{
    farewell::{farewell, last, outlive, reclaim, revive, revived, saved},
    write::write,
};

/// Where a backup lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// On this host.
    Here,
    /// At the target for copies alone.
    Offsite,
    /// On this host, with a copy at the target.
    Both,
}

/// A backup that lies on this host, or a copy of one that once did.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its name.
    pub id: BackupId,
    /// How much is in it.
    pub scope: Scope,
    /// Where it lies, or would if it were here.
    pub path: HostPath,
    /// Its size in bytes.
    pub bytes: u64,
    /// Why it was made, and what is inside; or why that cannot be said.
    pub inside: std::result::Result<(Reason, Manifest), String>,
    /// Where it lies.
    pub place: Place,
}

/// Makes a backup or a checkpoint of a project.
pub fn create(session: &mut Session<'_>, name: &ProjectName, scope: Scope, reason: Reason) -> Result<Stored> {
    create_with(session, name, scope, reason, false)
}

/// The same, with what lies in the project's bucket.
pub fn create_with(
    session: &mut Session<'_>,
    name: &ProjectName,
    scope: Scope,
    reason: Reason,
    stock: bool,
) -> Result<Stored> {
    let held = session.enter(name.as_str(), scope.word())?;
    let spec = session.project(name)?.spec;
    if stock {
        let without = format!("hostkit {} create {name}    # does without the objects", scope.word());
        objects::require(session, &spec, &[without, "df -h".to_owned()])?;
    }
    let mut backup = write_with(session, &spec, scope, reason, stock)?;
    // It is whole: nobody needs to wait for the copy.
    drop(held);
    if scope == Scope::Backup && offsite::copy(session, name, spec.uid) {
        backup.place = Place::Both;
    }
    Ok(backup)
}

/// The backups and checkpoints of a project, newest first.
pub fn list(session: &Session<'_>, name: &ProjectName) -> Result<Vec<Stored>> {
    let (name, uid) = known(session, name)?;
    stored(session, &name, uid)
}

/// The backups of a project here and at the target for copies, newest first; and why the target could not
/// be looked at.
pub fn survey(session: &Session<'_>, name: &ProjectName) -> Result<(Vec<Stored>, Option<String>)> {
    let (name, uid) = known(session, name)?;
    let mut all = stored(session, &name, uid)?;
    let away = offsite::merge(session, &name, uid, &mut all);
    Ok((all, away.err().map(|error| format!("copies offsite cannot be looked at: {error:#}"))))
}

/// A project that exists, or the one of this name that was deleted last. Of one that this host knows
/// nothing of, copies may lie at the target: those of the host it stands for.
fn known(session: &Session<'_>, name: &ProjectName) -> Result<(ProjectName, u32)> {
    if session.store.project(name)?.is_none()
        && let Some(row) = session.store.trash()?.into_iter().find(|row| row.spec.name == *name)
    {
        return Ok((name.clone(), row.spec.uid));
    }
    if session.store.project(name)?.is_none()
        && let Ok(Some(uid)) = offsite::uid_of(session, name)
    {
        return Ok((name.clone(), uid));
    }
    Ok((name.clone(), session.project(name)?.spec.uid))
}

pub(super) fn stored(session: &Session<'_>, name: &ProjectName, uid: u32) -> Result<Vec<Stored>> {
    let mut all = Vec::new();
    for entry in session.host.root.list(&name.backups(uid))? {
        let Some((id, word)) = entry.split_once('.') else { continue };
        let scope = [Scope::Backup, Scope::Checkpoint].into_iter().find(|s| s.word() == word);
        let (Ok(id), Some(scope)) = (id.parse::<BackupId>(), scope) else { continue };
        let path = name.backup(uid, &id, scope);
        let bytes = session.host.root.meta(&path)?.map_or(0, |m| m.size);
        let inside =
            open(session, &path).and_then(|reader| Ok((reader.header.reason.parse()?, reader.manifest)));
        all.push(Stored {
            id,
            scope,
            path,
            bytes,
            inside: inside.map_err(|e| format!("{e:#}")),
            place: Place::Here,
        });
    }
    all.sort_by(|a, b| b.id.cmp(&a.id));
    Ok(all)
}

/// Opens one of this host's backups.
fn open(session: &Session<'_>, path: &HostPath) -> Result<Opened> {
    let Some(file) = session.host.root.open_file(path)? else {
        bail!(Fault::new(Code::BackupNotFound, format!("there is no `{path}`")))
    };
    Reader::open(file, &Key::of(&session.host.vault)?)
}

/// The newest backup of a project on this host. One that cannot be read is not passed over in silence: what
/// came after the one before it would be lost.
fn newest(session: &Session<'_>, name: &ProjectName, uid: u32, scope: Scope) -> Result<Option<Stored>> {
    let all: Vec<Stored> = stored(session, name, uid)?.into_iter().filter(|s| s.scope == scope).collect();
    let Some(newest) = all.first() else { return Ok(None) };
    if newest.inside.is_ok() {
        return Ok(Some(newest.clone()));
    }
    let Err(error) = open(session, &newest.path) else { return Ok(Some(newest.clone())) };
    let word = scope.word();
    let whole = all.iter().find(|s| s.inside.is_ok());
    match error.downcast::<Fault>() {
        Ok(fault) if fault.code == Code::InvalidBackup => {
            let (id, why) = (&newest.id, fault.message);
            let (before, next) = match whole {
                Some(whole) => (
                    format!("the newest that can be read is `{}`", whole.id),
                    format!("hostkit {word} restore {name} {}", whole.id),
                ),
                None => ("there is no other".to_owned(), format!("hostkit {word} create {name}")),
            };
            let message = format!("the newest {word} of `{name}`, `{id}`, is damaged ({why}); {before}");
            Err(Fault::new(Code::InvalidBackup, message)
                .next(next)
                .next(format!("hostkit {word} delete {name} {id}"))
                .into())
        }
        Ok(fault) => Err(fault.into()),
        Err(error) => Err(error),
    }
}

/// The named backup of a project, or its newest one. One that lies only at the target
/// for copies is fetched.
fn choose(
    session: &mut Session<'_>,
    name: &ProjectName,
    uid: u32,
    scope: Scope,
    id: Option<&BackupId>,
) -> Result<(BackupId, Opened)> {
    // Without it none can be read, which says nothing of the backups.
    Key::of(&session.host.vault)?;
    let here = if let Some(id) = id {
        let path = name.backup(uid, id, scope);
        session.host.root.meta(&path)?.map(|_| path)
    } else {
        newest(session, name, uid, scope)?.map(|s| s.path)
    };
    let found = match here {
        Some(path) => Some(open(session, &path)?),
        None if scope == Scope::Backup => offsite::fetch(session, name, uid, id)?,
        None => None,
    };
    let Some(reader) = found else { bail!(missing(name, scope, id)) };
    if reader.header.project != name.as_str() || reader.header.uid != uid {
        let (project, uid) = (&reader.header.project, reader.header.uid);
        let message =
            format!("it is a backup of the project `{project}` (uid {uid}), and lies in the wrong place");
        bail!(Fault::new(Code::InvalidBackup, message).next(format!("hostkit {} list {name}", scope.word())));
    }
    Ok((reader.header.id.parse()?, reader))
}

/// The refusal of a backup that is not there.
fn missing(name: &ProjectName, scope: Scope, id: Option<&BackupId>) -> Fault {
    let word = scope.word();
    match id {
        Some(id) => Fault::new(Code::BackupNotFound, format!("`{name}` has no {word} `{id}`"))
            .next(format!("hostkit {word} list {name}")),
        None => Fault::new(Code::BackupNotFound, format!("`{name}` has no {word}"))
            .next(format!("hostkit {word} create {name}")),
    }
}

/// Deletes one backup or checkpoint, with its copy.
pub fn delete(session: &mut Session<'_>, name: &ProjectName, scope: Scope, id: &BackupId) -> Result<Outcome> {
    let _held = session.enter(name.as_str(), scope.word())?;
    let (name, uid) = known(session, name)?;
    let path = name.backup(uid, id, scope);
    let here = session.host.root.meta(&path)?.is_some();
    let copied = match scope {
        Scope::Backup => offsite::remove(session, &name, uid, id),
        Scope::Checkpoint => Ok(false),
    };
    match copied {
        Ok(false) if !here => bail!(missing(&name, scope, Some(id))),
        Err(error) if !here => return Err(error),
        Ok(_) => {}
        Err(error) => {
            let message = format!("a copy that may lie offsite was not deleted: {error:#}");
            session.ui.emit(Event::Warned { message: &message });
        }
    }
    if session.mode == Mode::DryRun {
        return Ok(Outcome::WouldChange);
    }
    session.host.root.remove(&path)?;
    Ok(Outcome::Changed)
}

/// Those whose time is over. One that cannot be read is nobody's to judge.
fn lapsed(session: &Session<'_>, all: &[Stored], scope: Scope) -> Vec<Stored> {
    let of = all.iter().filter(|s| s.scope == scope);
    let known: Vec<(BackupId, Reason)> =
        of.clone().filter_map(|s| Some((s.id.clone(), s.inside.as_ref().ok()?.0))).collect();
    let spare = spare(&known, session.host.clock.now());
    of.filter(|s| spare.contains(&s.id)).cloned().collect()
}

/// Deletes the checkpoints whose time is over, before another one is made. The caller holds the lock.
pub(super) fn lapse(session: &mut Session<'_>, spec: &ProjectSpec) -> Result<()> {
    let all = stored(session, &spec.name, spec.uid)?;
    for checkpoint in lapsed(session, &all, Scope::Checkpoint) {
        session.host.root.remove(&checkpoint.path)?;
    }
    Ok(())
}

/// Deletes the backups and checkpoints whose time is over; says which.
pub fn prune(session: &mut Session<'_>, name: &ProjectName) -> Result<Vec<Stored>> {
    let _held = session.enter(name.as_str(), "backup")?;
    let uid = session.project(name)?.spec.uid;
    let all = stored(session, name, uid)?;
    let mut gone = lapsed(session, &all, Scope::Backup);
    gone.extend(lapsed(session, &all, Scope::Checkpoint));
    if session.mode == Mode::Run {
        for backup in &gone {
            session.host.root.remove(&backup.path)?;
        }
    }
    match offsite::prune(session, name, uid) {
        Ok(copies) => gone.extend(copies),
        Err(error) => {
            let message = format!("copies offsite whose time is over may be left: {error:#}");
            session.ui.emit(Event::Warned { message: &message });
        }
    }
    Ok(gone)
}
