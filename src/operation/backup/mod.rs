//! Backups and checkpoints: making them, looking into them, and letting old ones go.
//!
//! A backup lies in a file that says itself what it is: there is no other record of it, so a file that
//! was copied to another server is worth as much there.

mod database;
mod redis;
pub mod restore;
pub mod schedule;
pub mod verify;
mod write;

use anyhow::{Result, bail};

use super::session::{Mode, Outcome, Session};
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

pub(super) use self::write::write;

/// A backup that lies on this host.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its name.
    pub id: BackupId,
    /// How much is in it.
    pub scope: Scope,
    /// Where it lies.
    pub path: HostPath,
    /// Its size in bytes.
    pub bytes: u64,
    /// Why it was made, and what is inside; or why that cannot be said.
    pub inside: std::result::Result<(Reason, Manifest), String>,
}

/// Makes a backup or a checkpoint of a project.
pub fn create(session: &mut Session<'_>, name: &ProjectName, scope: Scope, reason: Reason) -> Result<Stored> {
    let _held = session.enter(name.as_str(), scope.word())?;
    let spec = session.project(name)?.spec;
    write(session, &spec, scope, reason)
}

/// The backups and checkpoints of a project, newest first.
pub fn list(session: &Session<'_>, name: &ProjectName) -> Result<Vec<Stored>> {
    let (name, uid) = known(session, name)?;
    stored(session, &name, uid)
}

/// A project that exists, or the one of this name that was deleted last.
fn known(session: &Session<'_>, name: &ProjectName) -> Result<(ProjectName, u32)> {
    if session.store.project(name)?.is_none()
        && let Some(row) = session.store.trash()?.into_iter().find(|row| row.spec.name == *name)
    {
        return Ok((name.clone(), row.spec.uid));
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
        all.push(Stored { id, scope, path, bytes, inside: inside.map_err(|e| format!("{e:#}")) });
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

/// The named backup of a project, or its newest one that can be read.
fn choose(
    session: &Session<'_>,
    name: &ProjectName,
    uid: u32,
    scope: Scope,
    id: Option<&BackupId>,
) -> Result<(BackupId, Opened)> {
    let word = scope.word();
    let path = match id {
        Some(id) => name.backup(uid, id, scope),
        None => stored(session, name, uid)?
            .into_iter()
            .find(|s| s.scope == scope && s.inside.is_ok())
            .map(|s| s.path)
            .ok_or_else(|| {
                Fault::new(Code::BackupNotFound, format!("`{name}` has no {word}"))
                    .next(format!("hostkit {word} create {name}"))
            })?,
    };
    if session.host.root.meta(&path)?.is_none() {
        let id = id.map(ToString::to_string).unwrap_or_default();
        bail!(
            Fault::new(Code::BackupNotFound, format!("`{name}` has no {word} `{id}`"))
                .next(format!("hostkit {word} list {name}"))
        );
    }
    let reader = open(session, &path)?;
    if reader.header.project != name.as_str() || reader.header.uid != uid {
        let (project, uid) = (&reader.header.project, reader.header.uid);
        bail!(
            Fault::new(
                Code::InvalidBackup,
                format!(
                    "`{path}` is a backup of the project `{project}` (uid {uid}), and lies in the wrong place"
                )
            )
            .next(format!("hostkit {word} list {name}"))
        );
    }
    Ok((reader.header.id.parse()?, reader))
}

/// Deletes one backup or checkpoint.
pub fn delete(session: &mut Session<'_>, name: &ProjectName, scope: Scope, id: &BackupId) -> Result<Outcome> {
    let _held = session.enter(name.as_str(), scope.word())?;
    let (name, uid) = known(session, name)?;
    let path = name.backup(uid, id, scope);
    if session.host.root.meta(&path)?.is_none() {
        let word = scope.word();
        bail!(
            Fault::new(Code::BackupNotFound, format!("`{name}` has no {word} `{id}`"))
                .next(format!("hostkit {word} list {name}"))
        );
    }
    if session.mode == Mode::DryRun {
        return Ok(Outcome::WouldChange);
    }
    session.host.root.remove(&path)?;
    Ok(Outcome::Changed)
}

/// Deletes the backups and checkpoints whose time is over; says which.
pub fn prune(session: &mut Session<'_>, name: &ProjectName) -> Result<Vec<Stored>> {
    let _held = session.enter(name.as_str(), "backup")?;
    let uid = session.project(name)?.spec.uid;
    let all = stored(session, name, uid)?;
    let mut gone = Vec::new();
    for scope in [Scope::Backup, Scope::Checkpoint] {
        // One that cannot be read is nobody's to judge.
        let known: Vec<(BackupId, Reason)> = all
            .iter()
            .filter(|s| s.scope == scope)
            .filter_map(|s| Some((s.id.clone(), s.inside.as_ref().ok()?.0)))
            .collect();
        let spare = spare(&known, session.host.clock.now());
        gone.extend(all.iter().filter(|s| s.scope == scope && spare.contains(&s.id)).cloned());
    }
    if session.mode == Mode::Run {
        for backup in &gone {
            session.host.root.remove(&backup.path)?;
        }
    }
    Ok(gone)
}

/// The last backup of a project that is to be deleted.
pub(super) fn last(session: &mut Session<'_>, spec: &ProjectSpec) -> Result<()> {
    let name = &spec.name;
    write(session, spec, Scope::Backup, Reason::Final).map(drop).map_err(|error| {
        match error.downcast::<Fault>() {
            Ok(mut fault) => {
                fault.message = format!("the last backup cannot be made: {}", fault.message);
                fault
                    .next(format!("hostkit project delete {name} --no-backup    # its data is lost then"))
                    .into()
            }
            Err(error) => error.context(format!(
                "the last backup cannot be made; `hostkit project delete {name} --no-backup` does without"
            )),
        }
    })
}

/// Loads the database of a deleted project from its last backup, to where one lies that was taken away:
/// bringing the project back takes it from there.
pub(super) fn revive(session: &mut Session<'_>, spec: &ProjectSpec) -> Result<()> {
    if spec.database.is_none() && spec.redis.is_none() {
        return Ok(());
    }
    let is_last = |s: &Stored| s.inside.as_ref().is_ok_and(|(reason, _)| *reason == Reason::Final);
    let Some(backup) = stored(session, &spec.name, spec.uid)?.into_iter().find(is_last) else {
        let message = "there is no last backup: database and Redis come back empty";
        session.ui.emit(Event::Warned { message });
        return Ok(());
    };
    let mut reader = open(session, &backup.path)?;
    reader.check()?;
    database::clear(session, spec)?;
    let loaded = reader.each(|part, from| match part.name.as_str() {
        write::DATABASE if spec.database.is_some() => database::revive(session, spec, from),
        write::REDIS => redis::revive(session, spec, from),
        _ => Ok(()),
    });
    loaded.map_err(cause)
}

/// Makes way for what [`revive`] loads, which an earlier one may have loaded before it died.
pub(super) fn reclaim(session: &mut Session<'_>, spec: &ProjectSpec) -> Result<()> {
    if session.mode == Mode::Run { redis::reclaim(session, spec) } else { Ok(()) }
}

/// Settles what [`revive`] has loaded, once the project is back, or is not.
pub(super) fn revived(session: &mut Session<'_>, spec: &ProjectSpec, back: bool) {
    if session.mode == Mode::Run
        && let Err(error) = redis::revived(session, spec, back)
    {
        session.ui.emit(Event::Warned { message: &format!("Redis could not be tidied up: {error:#}") });
    }
}

/// Lets the backups go of a project whose time in the trash is over, except those that somebody wanted.
pub(super) fn outlive(session: &mut Session<'_>, spec: &ProjectSpec) -> Result<()> {
    for backup in stored(session, &spec.name, spec.uid)? {
        if !matches!(backup.inside, Ok((Reason::Manual, _))) {
            session.host.root.remove(&backup.path)?;
        }
    }
    session.host.root.rmdir(&spec.name.backups(spec.uid)).map(drop)
}
