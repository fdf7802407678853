//! Going back to a backup: everything is loaded beside what is there, and takes its place in one operation.

use std::{collections::BTreeSet, io::Read, path::PathBuf, time::Instant};

use anyhow::{Context, Result, bail};

pub use super::piece::Piece;
use super::{
    Attr, BackupId, Key, Mode, Outcome, ProjectName, ProjectSpec, Reader, Reason, Scope, Session, Stored,
    choose,
    database::{self, Loaded},
    known,
    leftover::{clear, mark},
    objects, redis,
    retreat::Onto,
    write::{Entry, PROJECT, write_with},
};
use crate::{
    domain::{
        env::{EnvKey, EnvText},
        fault::{Code, Fault},
        layout::host,
        secret::Secret,
    },
    event::Event,
    operation::{
        HostState,
        deploy::verdict,
        environment::Draft,
        handover::{Change, hand_over},
        lifecycle::{self, Farewell, retire},
        provision::{Ask, Wish, provision},
        redis::Asked,
        storage::beside::is_own,
    },
    plan::Foreign,
    project::{Phase, redis::Home, storage::Place},
    resource::{Any, TreeSwap},
    system::{
        Vault,
        backup::{Opened, Part, cause, open_path},
    },
};

/// What was gone back to.
#[derive(Clone, Debug)]
pub struct Restored {
    /// The backup.
    pub id: BackupId,
    /// What was replaced.
    pub pieces: Vec<Piece>,
    /// A backup of what was there before.
    pub safety: Option<Stored>,
}

/// Where a backup is.
#[derive(Clone, Debug)]
pub enum Origin {
    /// Among those of a project, which may have been deleted.
    Project {
        /// The project.
        name: ProjectName,
        /// The backup, or the newest.
        id: Option<BackupId>,
    },
    /// In a file, perhaps of another host.
    File {
        /// The file.
        file: PathBuf,
        /// The master key of the host that made it.
        key: Option<PathBuf>,
    },
}

/// Finds a backup and opens it.
fn find(session: &mut Session<'_>, origin: &Origin, scope: Scope) -> Result<(BackupId, Opened)> {
    match origin {
        Origin::Project { name, id } => {
            let (name, uid) = known(session, name)?;
            choose(session, &name, uid, scope, id.as_ref())
        }
        Origin::File { file, key } => {
            let key = match key {
                Some(path) => Key::of(&Vault::new(path.clone()))?,
                None => Key::of(&session.host.vault)?,
            };
            let reader = Reader::open(open_path(file)?, &key)?;
            Ok((reader.header.id.parse()?, reader))
        }
    }
}

/// Goes back to a backup or a checkpoint of a project: to all that is in it, or to some of it.
pub fn restore(
    session: &mut Session<'_>,
    name: &ProjectName,
    scope: Scope,
    origin: &Origin,
    only: &BTreeSet<Piece>,
) -> Result<(Outcome, Restored)> {
    let _held = session.enter(name.as_str(), "restore")?;
    let spec = session.project(name)?.spec;
    let (id, mut reader) = find(session, origin, scope)?;
    let theirs = &reader.header.project;
    if *theirs != name.as_str() {
        bail!(
            Fault::new(
                Code::InvalidBackup,
                format!("the backup is one of the project `{theirs}`, not of `{name}`")
            )
            .next("give `--as` to make a new project of it")
        );
    }
    replace(
        session,
        &spec,
        id,
        &mut reader,
        only,
        Terms { safety: Some(scope), vault: Vec::new(), onto: None },
    )
}

/// Makes a new project of a backup, with an account, a port and passwords of its own.
pub fn adopt(
    session: &mut Session<'_>,
    origin: &Origin,
    name: &ProjectName,
    only: &BTreeSet<Piece>,
) -> Result<(Outcome, Restored)> {
    let (id, mut reader) = find(session, origin, Scope::Backup)?;
    if session.store.project(name)?.is_some() {
        bail!(
            Fault::new(Code::NameTaken, format!("a project `{name}` exists"))
                .next(format!("hostkit backup restore {name} --file FILE    # puts its own backup back"))
        );
    }
    // All of it, before anything is made.
    let mut entry = None;
    reader.each(|part, from| {
        if part.name == PROJECT {
            entry = Some(serde_json::from_reader::<_, Entry>(from)?);
        }
        Ok(())
    })?;
    let Some(Entry { spec, vault }) = entry else {
        bail!(Fault::new(Code::InvalidBackup, "it says nothing of its project: is it a checkpoint?"))
    };
    let quota = match spec.storage.as_ref().map(|storage| &storage.place) {
        Some(Place::Own { quota }) => Some(*quota),
        Some(Place::Elsewhere { .. }) | None => None,
    };
    let stocked = (only.is_empty() || only.contains(&Piece::Objects))
        && reader.manifest.contents.objects.as_ref().is_some_and(|stock| stock.objects > 0);
    let wish = Wish {
        name: name.clone(),
        runtime: spec.asked.or_else(|| spec.runtime().filter(|_| spec.framework.is_none())),
        framework: spec.framework,
        start: spec.start.clone(),
        database: spec.database.is_some(),
        redis: spec.redis.as_ref().map(|redis| match redis.home {
            Home::Shared(_) => Asked::Any,
            Home::Dedicated { memory } => Asked::Dedicated(memory),
        }),
        // A bucket elsewhere is the old project's: the provider says who opens it.
        storage: match quota {
            Some(_) if stocked => Ask::Yes,
            Some(_) => Ask::IfThere,
            None => Ask::No,
        },
        quota,
        backups: spec.backups.is_some(),
        port: None,
        foreign: Foreign::Refuse,
    };
    let (outcome, made) = provision(session, &wish)?;
    if session.mode == Mode::DryRun {
        return Ok((outcome, Restored { id, pieces: Vec::new(), safety: None }));
    }
    let held = session.enter(name.as_str(), "restore")?;
    let vault = vault.into_iter().map(|(key, value)| (key, Secret::new(value))).collect();
    let done = replace(session, &made, id, &mut reader, only, Terms { safety: None, vault, onto: None });
    drop(held);
    done.map_err(|error| {
        match lifecycle::delete(session, name, Farewell::NONE).and_then(|_| lifecycle::purge(session, name)) {
            Ok(_) => error,
            Err(undoing) => error.context(HostState(format!(
                "`{name}` was made and is without data, and could not be removed: {undoing:#}"
            ))),
        }
    })
}

/// What is done besides.
pub(super) struct Terms {
    /// What is made first of what there is, to go forward to.
    pub(super) safety: Option<Scope>,
    /// What the vault is to hold, for a project that is new.
    pub(super) vault: Vec<(EnvKey, Secret)>,
    /// Where the code goes at the same time, if it does.
    pub(super) onto: Option<Onto>,
}

/// Has what a backup holds take the place of what a project has. The caller holds its lock.
pub(super) fn replace(
    session: &mut Session<'_>,
    spec: &ProjectSpec,
    id: BackupId,
    reader: &mut Opened,
    only: &BTreeSet<Piece>,
    terms: Terms,
) -> Result<(Outcome, Restored)> {
    let pieces = pieces(session, spec, reader, only)?;
    // All of it, before anything changes.
    reader.check()?;
    if session.mode == Mode::DryRun {
        return Ok((Outcome::WouldChange, Restored { id, pieces, safety: None }));
    }
    require_room(session, reader, &pieces)?;
    let stock = pieces.contains(&Piece::Objects);
    let safe = |scope| write_with(session, spec, scope, Reason::Restore, stock);
    let safety = terms.safety.map(safe).transpose()?;
    let words: Vec<&str> = pieces.iter().map(|piece| piece.word()).collect();
    let note = mark(session, spec, &words.join(" "))?;
    let held = if pieces.contains(&Piece::Redis) { redis::take(session, spec)? } else { None };
    let began = Instant::now();
    session.ui.emit(Event::Began { what: "loading", detail: id.as_str() });
    let mut loaded = Loaded { vault: terms.vault, ..Loaded::default() };
    let done = load(session, spec, reader, &pieces, &mut loaded).map_err(cause).and_then(|()| {
        let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        session.ui.emit(Event::Finished { what: "loading", detail: id.as_str(), ms });
        swap(session, spec, &id, &loaded, terms.onto.as_ref())
    });
    // On either way: what was made and is not wanted, or what was there and is no longer wanted. Unless
    // putting back did not finish: then it may be what is to be put back.
    let open = session.store.open_operations()?.iter().any(|open| open.owner == spec.name.as_str());
    let mut cleared = Ok(());
    if !open {
        cleared = clear(session, spec);
        if held.is_some() {
            cleared = cleared.and(redis::clear(session, spec));
        }
        if stock {
            cleared = cleared.and_then(|()| objects::clear(session, spec));
        }
        cleared = cleared.and_then(|()| session.host.root.remove(&note));
    }
    drop(held);
    match (done, cleared) {
        (Err(error), _) if error.downcast_ref::<HostState>().is_some() => Err(error),
        (Err(error), _) => Err(error.context(HostState("nothing was changed".to_owned()))),
        (Ok(_), Err(error)) => {
            let message =
                format!("it is done, and something is left over that `hostkit gc` removes: {error:#}");
            session.ui.emit(Event::Warned { message: &message });
            Ok((Outcome::Changed, Restored { id, pieces, safety }))
        }
        (Ok(outcome), Ok(())) => Ok((outcome, Restored { id, pieces, safety })),
    }
}

/// Refuses a backup that comes out larger than what there is room for beside what is there.
pub(super) fn require_room(session: &Session<'_>, reader: &Opened, pieces: &[Piece]) -> Result<()> {
    session.require_space()?;
    let parts = reader.manifest.parts.iter();
    let all: u64 =
        parts.filter(|part| pieces.iter().any(|p| p.word() == part.name)).map(|part| part.bytes).sum();
    for place in [host::homes(), host::state()] {
        let free = session.host.root.space(&place)?.bytes;
        if all > free {
            bail!(
                Fault::new(
                    Code::DiskFull,
                    format!("the backup holds {} MiB, and `{place}` has {} MiB left", all >> 20, free >> 20)
                )
                .next("hostkit gc    # empties the trash")
                .next("df -h")
            );
        }
    }
    Ok(())
}

/// What of a backup is to be gone back to; refuses what it does not hold or the project has no place for.
fn pieces(
    session: &Session<'_>,
    spec: &ProjectSpec,
    reader: &Opened,
    only: &BTreeSet<Piece>,
) -> Result<Vec<Piece>> {
    let holds = |piece: Piece| reader.manifest.parts.iter().any(|part| part.name == piece.word());
    if let Some(missing) = only.iter().find(|piece| !holds(**piece)) {
        bail!(
            Fault::new(Code::InvalidValue, format!("the backup holds no part `{}`", missing.word()))
                .next(format!("hostkit backup list {}", spec.name))
        );
    }
    let wanted = |piece: &Piece| holds(*piece) && (only.is_empty() || only.contains(piece));
    let mut pieces: Vec<Piece> = Piece::ALL.into_iter().filter(wanted).collect();
    if pieces.contains(&Piece::Database) && database::door(session, spec)?.is_none() {
        bail!(
            Fault::new(Code::WrongState, format!("`{}` has no database to put the backup's into", spec.name))
                .next(format!("hostkit db create {}", spec.name))
        );
    }
    if pieces.contains(&Piece::Redis) && spec.redis.is_none() {
        if only.contains(&Piece::Redis) {
            bail!(
                Fault::new(
                    Code::WrongState,
                    format!("`{}` has no Redis to put the backup's keys into", spec.name)
                )
                .next(format!("hostkit provision {}", spec.name))
            );
        }
        pieces.retain(|piece| *piece != Piece::Redis);
    }
    if pieces.contains(&Piece::Objects) && !is_own(spec) {
        let fault = Fault::new(
            Code::WrongState,
            format!(
                "`{}` has no bucket in this host's own store to put the backup's objects into",
                spec.name
            ),
        );
        let others = Piece::ALL.iter().filter(|p| **p != Piece::Objects && holds(**p));
        let others: Vec<&str> = others.map(|piece| piece.word()).collect();
        bail!(
            fault
                .next(format!("hostkit provision {}    # where the host has a store", spec.name))
                .next(format!("or do without: --only {}", others.join(",")))
        );
    }
    Ok(pieces)
}

/// Loads the pieces into places of their own, beside what is there.
fn load(
    session: &mut Session<'_>,
    spec: &ProjectSpec,
    reader: &mut Opened,
    pieces: &[Piece],
    loaded: &mut Loaded,
) -> Result<()> {
    clear(session, spec)?;
    reader.each(|Part { name, .. }, from| {
        let piece = pieces.iter().find(|piece| piece.word() == name);
        match piece {
            None => {}
            Some(Piece::Database) => {
                database::load(session, spec, from)?;
                loaded.swaps.push(database::swap(spec));
            }
            Some(Piece::Redis) => loaded.swaps.extend(redis::load(session, spec, from)?),
            Some(Piece::Objects) => loaded.swaps.extend(objects::load(session, spec, from)?),
            Some(Piece::Shared) => loaded.swaps.push(shared(session, spec, from)?),
            Some(Piece::Env) => {
                let mut text = String::new();
                from.read_to_string(&mut text)?;
                loaded.users = Some(Secret::new(text));
            }
        }
        Ok(())
    })
}

fn shared(session: &mut Session<'_>, spec: &ProjectSpec, from: &mut dyn Read) -> Result<Any> {
    let (path, incoming) = (spec.name.shared(), spec.name.incoming_shared());
    let attr = Attr { uid: spec.uid, gid: spec.uid, mode: 0o2770 };
    session.host.root.mkdir(&incoming, attr, None)?;
    let at = session.host.root.real(&incoming);
    session.host.copies.unpack(&at, (spec.uid, spec.uid), from)?;
    // Whatever the archive says of its root.
    session.host.root.set_attr(&incoming, attr)?;
    session.host.root.sync(&incoming)?;
    let inode = session.host.root.meta(&incoming)?.context("the tree was just made")?.inode;
    Ok(TreeSwap { path, incoming, inode }.into())
}

/// The operation: what was loaded takes its place, and the process is started anew and seen to be healthy.
fn swap(
    session: &mut Session<'_>,
    spec: &ProjectSpec,
    id: &BackupId,
    loaded: &Loaded,
    onto: Option<&Onto>,
) -> Result<Outcome> {
    let mut draft = Draft::begin(session, spec)?;
    if let Some(Onto { below, stand, launch, .. }) = onto {
        draft.spec = draft.spec.standing(*below, stand.clone(), launch.clone());
        draft.bring(session)?;
        draft.spec.running = true;
        draft.inject(session)?;
    }
    if let Some(users) = &loaded.users {
        draft.replace(session, EnvText::parse(users.reveal())?, format!("from the backup {id}"))?;
    }
    draft.keep_secrets(session, &loaded.vault)?;
    let change = Change {
        verb: if onto.is_some() { "rollback" } else { "restore" },
        old: spec,
        new: &draft.spec,
        draft: Some(&draft),
        renew: (draft.spec.running && !loaded.swaps.is_empty()).then_some("its data changes"),
        swaps: &loaded.swaps,
        concerned: &|_| true,
    };
    let handed = hand_over(session, &change, |registry| {
        let Some(onto) = onto else { return Ok(()) };
        for row in &onto.undone {
            let phase = Phase { undone: true, ..row.phase.clone() };
            registry.put_phase(spec.uid, &row.id, &phase)?;
        }
        registry.go_live(spec.uid, &onto.stand.release)
    });
    let handed = handed.map_err(|error| verdict(session, spec, error))?;
    if handed.restarted {
        retire(session, &spec.name);
    }
    Ok(handed.outcome)
}
