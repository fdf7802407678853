//! Writing a backup of a project.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    time::Instant,
};

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use super::{
    Attr, BackupId, Contents, Header, Key, Place, ProjectName, ProjectSpec, Reason, Scope, Session, Stored,
    host, objects, redis, stored,
};
use crate::{
    domain::{
        env::EnvKey,
        fault::{Code, Fault},
        secret::Secret,
    },
    event::Event,
    operation::secrets,
    project::env,
    system::{
        Fresh,
        backup::{Packing, Writer, cause},
        postgres::Login,
    },
};

/// The parts of a backup, in the order they are in it.
pub(super) const PROJECT: &str = "project";
pub(super) const ENV: &str = "env";
pub(super) const SHARED: &str = "shared";
pub(super) const DATABASE: &str = "database";
pub(super) const REDIS: &str = "redis";
pub(super) const OBJECTS: &str = "objects";

/// What the registry says of a project, fit to be read on another host.
#[derive(Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) spec: ProjectSpec,
    /// What the vault has for it, opened: another host has another key.
    pub(super) vault: BTreeMap<EnvKey, String>,
}

/// Writes a backup. The caller holds the project's lock.
pub(in crate::operation) fn write(
    session: &mut Session<'_>,
    spec: &ProjectSpec,
    scope: Scope,
    reason: Reason,
) -> Result<Stored> {
    write_with(session, spec, scope, reason, false)
}

/// The same, with what lies in the project's bucket.
pub(super) fn write_with(
    session: &mut Session<'_>,
    spec: &ProjectSpec,
    scope: Scope,
    reason: Reason,
    stock: bool,
) -> Result<Stored> {
    let began = Instant::now();
    let name = &spec.name;
    let door = super::database::door(session, spec)?;
    if scope == Scope::Checkpoint && door.is_none() {
        bail!(
            Fault::new(Code::WrongState, format!("`{name}` has no database to make a checkpoint of"))
                .next(format!("hostkit backup create {name}"))
        );
    }
    session.require_space()?;
    let key = Key::of(&session.host.vault)?;
    let id = fresh_id(session, name, spec.uid)?;
    let path = name.backup(spec.uid, &id, scope);
    session.ui.emit(Event::Began { what: scope.word(), detail: id.as_str() });
    directories(session, name, spec.uid)?;
    let file = session.host.root.begin(&path, Attr::root(0o600))?;
    let header = Header {
        id: id.to_string(),
        project: name.to_string(),
        uid: spec.uid,
        reason: reason.word().to_owned(),
        key: String::new(),
        salt: String::new(),
    };
    let looking: &Session<'_> = session;
    let mut writer =
        Writer::begin(Careful { file, session: looking, since: 0 }, &key, header).map_err(cause)?;
    let contents = parts(looking, spec, scope, door.as_ref(), stock, &mut writer).map_err(cause)?;
    let (out, manifest) = writer.finish(contents).map_err(cause)?;
    out.file.keep()?;
    let bytes = session.host.root.meta(&path)?.map_or(0, |m| m.size);
    let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    session.ui.emit(Event::Finished { what: scope.word(), detail: id.as_str(), ms });
    Ok(Stored { id, scope, path, bytes, inside: Ok((reason, manifest)), place: Place::Here })
}

/// Makes the directory that a project's backups lie in.
pub(super) fn directories(session: &mut Session<'_>, name: &ProjectName, uid: u32) -> Result<()> {
    for dir in [host::backups(), name.backups(uid)] {
        if session.host.root.meta(&dir)?.is_none() {
            session.host.root.mkdir(&dir, Attr::root(0o700), None)?;
        }
    }
    Ok(())
}

fn fresh_id(session: &Session<'_>, name: &ProjectName, uid: u32) -> Result<BackupId> {
    let others = stored(session, name, uid)?.into_iter().map(|s| s.id);
    Ok(BackupId::next(session.host.clock.now(), others))
}

/// Writes the parts; says what they are of.
fn parts<W: Write>(
    session: &Session<'_>,
    spec: &ProjectSpec,
    scope: Scope,
    door: Option<&Login>,
    stock: bool,
    writer: &mut Writer<W>,
) -> Result<Contents> {
    let mut contents = Contents {
        at: format!("{:.0}", session.host.clock.now()),
        by: session.caller.clone(),
        hostkit: env!("CARGO_PKG_VERSION").to_owned(),
        release: spec.live_release().map(ToString::to_string),
        ..Contents::default()
    };
    if scope == Scope::Backup {
        let entry = serde_json::to_vec(&entry(session, spec)?)?;
        writer.part(PROJECT, Packing::Zstd, |out| Ok(out.write_all(&entry)?))?;
        let users = env(spec)?.part(&session.host)?.to_string();
        writer.part(ENV, Packing::Zstd, |out| Ok(out.write_all(users.as_bytes())?))?;
        let tree = session.host.root.real(&spec.name.shared());
        let account = (spec.uid, spec.uid);
        writer.part(SHARED, Packing::Zstd, |out| session.host.copies.pack(&tree, account, out))?;
    }
    if scope == Scope::Backup && spec.redis.is_some() {
        let dump = |out: &mut dyn Write| redis::dump(session, spec, out);
        contents.redis_keys = Some(writer.part(REDIS, Packing::Zstd, dump)?);
    }
    if let Some(door) = door {
        let dump = |out: &mut dyn Write| session.host.copies.dump(door, out);
        let (tables, version) = writer.part(DATABASE, Packing::Zstd, dump)?;
        (contents.tables, contents.postgres) = (tables, Some(version));
    }
    // Last: what a row names was in the bucket before the row was there.
    if stock {
        let dump = |out: &mut dyn Write| objects::dump(session, spec, out);
        contents.objects = Some(writer.part(OBJECTS, Packing::Zstd, dump)?);
    }
    Ok(contents)
}

fn entry(session: &Session<'_>, spec: &ProjectSpec) -> Result<Entry> {
    let open = |(key, secret): (EnvKey, Secret)| (key, secret.reveal().to_owned());
    let vault = secrets::entries(session, spec)?.into_iter().map(open).collect();
    Ok(Entry { spec: spec.clone(), vault })
}

/// Writes on only as long as the host has room left for itself.
struct Careful<'a, 'b> {
    file: Fresh,
    session: &'a Session<'b>,
    /// Bytes since the last look.
    since: u64,
}

/// How much is written between two looks, in bytes.
const LOOK: u64 = 16 << 20;

impl Write for Careful<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.since >= LOOK {
            self.since = 0;
            let space = self.session.require_space();
            space.map_err(|e| e.downcast::<Fault>().map_or_else(io::Error::other, io::Error::other))?;
        }
        let count = self.file.write(bytes)?;
        self.since += count as u64;
        Ok(count)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
