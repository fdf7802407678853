//! Copies of backups in a bucket at an S3 provider, so that a host that is lost takes none along.
//!
//! A copy is sealed as the backup is: the provider learns names, sizes and times. What lies there is read
//! from the bucket each time, so a copy that somebody removed is missed, and a host that is set up anew
//! with the old master key finds them all.

mod target;

use std::{collections::BTreeSet, time::Instant};

use anyhow::{Result, bail};
use jiff::{SignedDuration, Timestamp};

use super::{
    BackupId, Key, Mode, Opened, Place, ProjectName, ProjectSpec, Reader, Scope, Session, Stored,
    schedule::LATE, stored,
};
use crate::{
    domain::{
        fault::{Code, Fault},
        layout::host,
    },
    event::Event,
    system::objects::{Access, BATCH, Headers},
};

pub use self::target::{Target, aim, target, unset};

/// How long a copy is kept.
const KEPT: SignedDuration = SignedDuration::from_hours(24 * 30);
/// How many operations of a project are looked through for its end.
const LOOK: usize = 1000;

/// What all keys of this host begin with: its master key opens what lies there.
fn prefix(session: &Session<'_>) -> Result<String> {
    Ok(format!("hostkit/{}/", session.host.vault.fingerprint()?))
}

/// What the copies of a project are kept under.
fn owner(name: &ProjectName, uid: u32) -> String {
    format!("{name}.{uid}")
}

/// A copy at the target.
#[derive(Clone, Debug)]
struct Copied {
    owner: String,
    id: BackupId,
    bytes: u64,
}

/// What lies at the target.
#[derive(Debug)]
pub(in crate::operation) struct Shelf {
    at: Access,
    prefix: String,
    since: String,
    copies: Vec<Copied>,
}

impl Shelf {
    /// Looks at the copies of one owner, or of all; `None` when there is no target.
    pub(in crate::operation) fn look(session: &Session<'_>, owner: Option<&str>) -> Result<Option<Self>> {
        let Some(target) = target(session)? else { return Ok(None) };
        let at = target.open(&session.host.vault)?;
        let prefix = prefix(session)?;
        let below = owner.map_or_else(|| prefix.clone(), |owner| format!("{prefix}{owner}/"));
        let (mut copies, mut from) = (Vec::new(), None);
        loop {
            let page = session.host.objects.list(&at, &below, from.as_deref(), BATCH)?;
            copies.extend(page.entries.iter().filter_map(|entry| {
                let (owner, file) = entry.key.strip_prefix(&prefix)?.split_once('/')?;
                let id = file.strip_suffix(".backup")?.parse().ok()?;
                Some(Copied { owner: owner.to_owned(), id, bytes: entry.size })
            }));
            from = page.next;
            if from.is_none() {
                return Ok(Some(Self { at, prefix, since: target.since, copies }));
            }
        }
    }

    fn key(&self, owner: &str, id: &BackupId) -> String {
        format!("{}{owner}/{id}.backup", self.prefix)
    }

    fn holds(&self, owner: &str, backup: &Stored) -> bool {
        let same = |copy: &Copied| copy.id == backup.id && copy.bytes == backup.bytes;
        self.of(owner).any(same)
    }

    fn of(&self, owner: &str) -> impl Iterator<Item = &Copied> {
        self.copies.iter().filter(move |copy| copy.owner == owner)
    }

    /// The copies whose time is over. The newest one of each owner stays, in case no new ones come, except of
    /// those that are gone for good.
    fn spent(&self, now: Timestamp, gone: &BTreeSet<&str>) -> Vec<&Copied> {
        let newer = |copy: &Copied| self.of(&copy.owner).any(|other| other.id > copy.id);
        let spare = |copy: &Copied| newer(copy) || gone.contains(copy.owner.as_str());
        self.copies.iter().filter(|copy| lapsed(&copy.id, now) && spare(copy)).collect()
    }

    /// The owners that were deleted for good on this host. Of what it knows nothing, it may be the registry
    /// that is wrong.
    fn gone(&self, session: &Session<'_>) -> Result<BTreeSet<&str>> {
        let mut known: Vec<ProjectSpec> = session.store.projects()?.into_iter().map(|row| row.spec).collect();
        known.extend(session.store.trash()?.into_iter().map(|row| row.spec));
        let known: BTreeSet<String> = known.iter().map(|spec| owner(&spec.name, spec.uid)).collect();
        let mut gone = BTreeSet::new();
        for copy in self.copies.iter().filter(|copy| !known.contains(&copy.owner)) {
            let name = copy.owner.split('.').next();
            if session.store.history(name, LOOK)?.iter().any(|row| row.verb == "purge" && row.state == "done")
            {
                gone.insert(copy.owner.as_str());
            }
        }
        Ok(gone)
    }

    /// What is wrong with the copies of a project; nothing, if nothing is.
    pub(in crate::operation) fn behind(
        &self,
        session: &Session<'_>,
        spec: &ProjectSpec,
    ) -> Result<Option<String>> {
        let owner = owner(&spec.name, spec.uid);
        let now = session.host.clock.now();
        let since = self.since.parse::<Timestamp>().unwrap_or(Timestamp::UNIX_EPOCH);
        let due = |s: &Stored| s.scope == Scope::Backup && s.inside.is_ok() && s.id.at() >= since;
        let missing = |s: &Stored| due(s) && !lapsed(&s.id, now) && !self.holds(&owner, s);
        // The newest first: older ones that are missing follow it with the next backup.
        if !stored(session, &spec.name, spec.uid)?.iter().find(|s| due(s)).is_some_and(missing) {
            return Ok(None);
        }
        let newest = self.of(&owner).map(|copy| copy.id.at()).max();
        let hours = now.duration_since(newest.unwrap_or(since)).as_hours();
        let late = now.duration_since(newest.unwrap_or(since)) > LATE;
        Ok(late.then(|| match newest {
            Some(_) => format!("the last copy offsite that succeeded is {hours} hours old"),
            None => format!("no copy offsite has succeeded since {}", self.since),
        }))
    }
}

fn lapsed(id: &BackupId, now: Timestamp) -> bool {
    now.duration_since(id.at()) > KEPT
}

/// Copies to the target what lies here and not there; says whether all of it lies there now. A failure
/// costs the backups nothing: it is warned of, and made good for with the next backup.
pub(in crate::operation) fn copy(session: &mut Session<'_>, name: &ProjectName, uid: u32) -> bool {
    send(session, name, uid).unwrap_or_else(|error| {
        let message =
            format!("the copy offsite was not made, and is tried again with the next backup: {error:#}");
        session.ui.emit(Event::Warned { message: &message });
        false
    })
}

fn send(session: &mut Session<'_>, name: &ProjectName, uid: u32) -> Result<bool> {
    let owner = owner(name, uid);
    let Some(shelf) = Shelf::look(session, Some(&owner))? else { return Ok(false) };
    let now = session.host.clock.now();
    for backup in stored(session, name, uid)? {
        let fit = backup.scope == Scope::Backup && backup.inside.is_ok() && !lapsed(&backup.id, now);
        if !fit || shelf.holds(&owner, &backup) {
            continue;
        }
        let Some(mut file) = session.host.root.open_file(&backup.path)? else { continue };
        let began = Instant::now();
        let detail = backup.id.as_str();
        session.ui.emit(Event::Began { what: "copying offsite", detail });
        let sent = session.host.objects.put(
            &shelf.at,
            &shelf.key(&owner, &backup.id),
            &Headers::new(),
            &mut file,
        )?;
        if sent != backup.bytes {
            bail!("the backup {detail} changed while it was copied");
        }
        let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        session.ui.emit(Event::Finished { what: "copying offsite", detail, ms });
    }
    Ok(true)
}

/// The copies of a project, and which of these lie there too.
pub(super) fn merge(
    session: &Session<'_>,
    name: &ProjectName,
    uid: u32,
    all: &mut Vec<Stored>,
) -> Result<()> {
    let owner = owner(name, uid);
    let Some(shelf) = Shelf::look(session, Some(&owner))? else { return Ok(()) };
    for backup in all.iter_mut().filter(|s| s.scope == Scope::Backup && shelf.holds(&owner, s)) {
        backup.place = Place::Both;
    }
    let here: Vec<BackupId> = all.iter().filter(|s| s.scope == Scope::Backup).map(|s| s.id.clone()).collect();
    all.extend(shelf.of(&owner).filter(|copy| !here.contains(&copy.id)).map(|copy| away(name, uid, copy)));
    all.sort_by(|a, b| b.id.cmp(&a.id));
    Ok(())
}

/// A copy of which there is nothing here.
fn away(name: &ProjectName, uid: u32, copy: &Copied) -> Stored {
    Stored {
        id: copy.id.clone(),
        scope: Scope::Backup,
        path: name.backup(uid, &copy.id, Scope::Backup),
        bytes: copy.bytes,
        inside: Err("only offsite".to_owned()),
        place: Place::Offsite,
    }
}

/// The number of the account of the last project of this name that has copies.
pub(super) fn uid_of(session: &Session<'_>, name: &ProjectName) -> Result<Option<u32>> {
    let Some(shelf) = Shelf::look(session, None)? else { return Ok(None) };
    let uid = |copy: &Copied| {
        let (project, uid) = copy.owner.rsplit_once('.')?;
        if project == name.as_str() { uid.parse().ok() } else { None }
    };
    Ok(shelf.copies.iter().filter_map(uid).max())
}

/// Fetches a copy, or the newest, into a file without a name, and opens it; `None` when there is none.
pub(super) fn fetch(
    session: &mut Session<'_>,
    name: &ProjectName,
    uid: u32,
    id: Option<&BackupId>,
) -> Result<Option<Opened>> {
    let owner = owner(name, uid);
    let Some(shelf) = Shelf::look(session, Some(&owner))? else { return Ok(None) };
    let wanted = |copy: &&Copied| id.is_none_or(|id| copy.id == *id);
    let Some(copy) = shelf.of(&owner).filter(wanted).max_by_key(|copy| &copy.id) else { return Ok(None) };
    let detail = copy.id.as_str();
    session.require_space()?;
    let free = session.host.root.space(&host::state())?.bytes;
    if free < copy.bytes {
        let (free, need) = (free >> 20, (copy.bytes >> 20) + 1);
        bail!(
            Fault::new(
                Code::DiskFull,
                format!("the backup {detail} has {need} MiB, and {free} MiB are left to fetch it to")
            )
            .next("hostkit gc    # empties the trash")
        );
    }
    let began = Instant::now();
    session.ui.emit(Event::Began { what: "fetching", detail });
    let mut file = session.host.root.scratch(&host::state())?;
    session.host.objects.get(&shelf.at, &shelf.key(&owner, &copy.id), &mut file)?;
    let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    session.ui.emit(Event::Finished { what: "fetching", detail, ms });
    let reader = Reader::open(file, &Key::of(&session.host.vault)?)?;
    // Whoever has the bucket can put another one of the same project in its place.
    if reader.header.id != detail {
        let theirs = &reader.header.id;
        bail!(Fault::new(
            Code::InvalidBackup,
            format!("what lies offsite as {detail} is the backup {theirs}")
        ));
    }
    Ok(Some(reader))
}

/// Deletes a copy; says whether there was one.
pub(super) fn remove(session: &mut Session<'_>, name: &ProjectName, uid: u32, id: &BackupId) -> Result<bool> {
    let owner = owner(name, uid);
    let Some(shelf) = Shelf::look(session, Some(&owner))? else { return Ok(false) };
    let there = shelf.of(&owner).any(|copy| copy.id == *id);
    if there && session.mode == Mode::Run {
        session.host.objects.delete(&shelf.at, &[shelf.key(&owner, id)])?;
    }
    Ok(there)
}

/// Deletes the copies of a project whose time is over; says which.
pub(super) fn prune(session: &mut Session<'_>, name: &ProjectName, uid: u32) -> Result<Vec<Stored>> {
    let Some(shelf) = Shelf::look(session, Some(&owner(name, uid)))? else { return Ok(Vec::new()) };
    let spent = shelf.spent(session.host.clock.now(), &BTreeSet::new());
    discard(session, &shelf, &spent)?;
    Ok(spent.into_iter().map(|copy| away(name, uid, copy)).collect())
}

fn discard(session: &mut Session<'_>, shelf: &Shelf, spent: &[&Copied]) -> Result<()> {
    let keys: Vec<String> = spent.iter().map(|copy| shelf.key(&copy.owner, &copy.id)).collect();
    if session.mode == Mode::Run && !keys.is_empty() {
        session.host.objects.delete(&shelf.at, &keys)?;
    }
    Ok(())
}

/// The same for all projects, with what deleted ones could not copy yet; says how many went.
pub(in crate::operation) fn collect(session: &mut Session<'_>) -> Result<usize> {
    if target(session)?.is_none() {
        return Ok(0);
    }
    if session.mode == Mode::Run {
        for row in session.store.trash()? {
            copy(session, &row.spec.name, row.spec.uid);
        }
    }
    let Some(shelf) = Shelf::look(session, None)? else { return Ok(0) };
    let spent = shelf.spent(session.host.clock.now(), &shelf.gone(session)?);
    discard(session, &shelf, &spent)?;
    Ok(spent.len())
}
