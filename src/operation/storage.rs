//! Object storage: giving a project a bucket, changing its key, looking into it, and what becomes of
//! buckets and keys that were taken away.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::{
    lifecycle::{Power, power, retire, settle},
    provision::{Ask, Wish},
    session::{Mode, Outcome, Session},
};
use crate::{
    domain::{
        fault::{Code, Fault},
        layout::{HostPath, host},
        name::ProjectName,
        secret::Secret,
    },
    event::Event,
    plan::{Foreign, Plan},
    project::{
        ProjectSpec, Storage, StorageKey,
        storage::{LABEL, Place, QUOTA, S3_PORT, SECRET_KEY, TRASH},
    },
    resource::Any,
    system::{
        objects::{self, ADMIN_PORT, Access, Bucket, Entry, Rights, Verb},
        systemd::invocation,
        vault,
    },
};

/// The setting that says where the program of the host's own store is; there is a store when it is set.
pub(super) const STORE: &str = "object_store";
/// What the label of a key begins with that HostKit empties a bucket with.
const SWEEP: &str = "hostkit-sweep:";

// --- the host's own store -----------------------------------------------------------------------------

/// Where the program of the host's own store is, if the host has one.
pub fn store(session: &Session<'_>) -> Result<Option<HostPath>> {
    Ok(session.store.setting(STORE)?.map(HostPath::fixed))
}

/// The program for a store of the host's own: the one that is named, or the one that is installed.
pub fn program(session: &Session<'_>, named: Option<&str>) -> Result<HostPath> {
    let Some(named) = named else {
        let known = store(session)?;
        return known.map_or_else(|| session.host.locate("garage"), |p| Ok(Some(p)))?.ok_or_else(|| {
            Fault::new(Code::ProgramMissing, "the program `garage` is not installed")
                .next("cargo install garage --version 2.5.0 --locked --root /usr/local")
                .next("hostkit init --with-storage --garage FILE    # when it lies elsewhere")
                .into()
        });
    };
    let bad = |why: &str| {
        Fault::new(
            Code::InvalidValue,
            format!("`{}` cannot be started as a service: {why}", named.escape_debug()),
        )
        .next("install -m 0755 FILE /usr/local/bin/garage")
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._+-".contains(c);
    if !named.starts_with('/') || !named.chars().all(plain) || named.split('/').any(|part| part == "..") {
        bail!(bad("it must be an absolute path of letters, digits and `._+-`"));
    }
    if ["/home/", "/root/", "/tmp/", "/var/tmp/", "/run/"].iter().any(|place| named.starts_with(place)) {
        bail!(bad("services do not see what lies there"));
    }
    let path = HostPath::fixed(named);
    match session.host.root.meta(&path)? {
        None => bail!(bad("there is no such file")),
        Some(meta) if meta.attr.uid != 0 || meta.attr.mode & 0o022 != 0 => {
            bail!(bad("others than root can change it"))
        }
        Some(meta) if meta.attr.mode & 0o111 == 0 => bail!(bad("it is no program")),
        Some(_) => Ok(path),
    }
}

/// Refuses to make a store whose ports somebody else has.
pub(super) fn require_ports(session: &Session<'_>) -> Result<()> {
    if invocation(&session.host.root, &host::store_unit())?.is_some() {
        return Ok(());
    }
    for port in S3_PORT..=ADMIN_PORT {
        if let Some(uid) = session.host.net.listener(port)? {
            bail!(
                Fault::new(
                    Code::PortTaken,
                    format!("port {port}, which the object storage needs, is held by a process of the account {uid}")
                )
                .next(format!("ss -ltnp 'sport = :{port}'"))
            );
        }
    }
    Ok(())
}

// --- a project's bucket -------------------------------------------------------------------------------

/// Gives a project the object storage that is asked for. Nothing is made yet.
pub(super) fn furnish(session: &Session<'_>, spec: &mut ProjectSpec, wish: &Wish) -> Result<()> {
    if let Some(Storage { place: Place::Own { quota }, .. }) = &mut spec.storage {
        *quota = wish.quota.unwrap_or(*quota);
    }
    if spec.storage.is_some() || wish.storage == Ask::No {
        return Ok(());
    }
    if store(session)?.is_none() {
        if wish.storage == Ask::IfThere {
            return Ok(());
        }
        bail!(
            Fault::new(Code::NotInitialised, "this host has no object storage of its own")
                .next("hostkit init --with-storage")
                .next(format!(
                    "hostkit storage attach {} --endpoint URL --bucket BUCKET --access-key ID    # a bucket elsewhere",
                    spec.name
                ))
        );
    }
    spec.storage = Some(Storage {
        place: Place::Own { quota: wish.quota.unwrap_or(QUOTA) },
        bucket: Storage::bucket_of(&spec.name),
        key: new_key(session, &spec.name)?,
        retiring: None,
    });
    Ok(())
}

/// Gives a project that comes back a new key: the store never takes an old one again.
pub(super) fn readmit(session: &Session<'_>, spec: &mut ProjectSpec) -> Result<()> {
    let name = spec.name.clone();
    if let Some(storage) = &mut spec.storage
        && matches!(storage.place, Place::Own { .. })
    {
        storage.key = new_key(session, &name)?;
        storage.retiring = None;
    }
    Ok(())
}

/// A key that nobody has had. Its identifier follows from its secret.
fn new_key(session: &Session<'_>, name: &ProjectName) -> Result<StorageKey> {
    let secret = vault::password()?;
    Ok(StorageKey { id: identifier(&secret), secret: seal(session, name, &secret)? })
}

fn identifier(secret: &Secret) -> String {
    let hash = Sha256::digest(secret.reveal());
    hash.iter().take(12).fold("GK".to_owned(), |id, byte| id + &format!("{byte:02x}"))
}

fn seal(session: &Session<'_>, name: &ProjectName, secret: &Secret) -> Result<crate::domain::secret::Sealed> {
    session.host.vault.seal(&vault::context(name.as_str(), SECRET_KEY), secret)
}

/// Its storage, or a fault that says how to get some.
fn owned(spec: &ProjectSpec) -> Result<&Storage> {
    spec.storage.as_ref().ok_or_else(|| {
        Fault::new(Code::WrongState, format!("`{}` has no object storage", spec.name))
            .next(format!("hostkit provision {}    # where the host has a store", spec.name))
            .into()
    })
}

/// The bucket of a project with the key that opens it.
pub fn access(session: &Session<'_>, spec: &ProjectSpec) -> Result<Access> {
    let storage = owned(spec)?;
    let context = vault::context(spec.name.as_str(), SECRET_KEY);
    Ok(Access {
        endpoint: storage.endpoint(),
        region: storage.region().to_owned(),
        bucket: storage.bucket.clone(),
        key: storage.key.id.clone(),
        secret: session.host.vault.open(&context, &storage.key.secret)?,
    })
}

/// What a project's storage is, and how full; how full only in the host's own store.
pub fn info(session: &Session<'_>, name: &ProjectName) -> Result<(Storage, Option<Bucket>)> {
    let spec = session.project(name)?.spec;
    let storage = owned(&spec)?.clone();
    let bucket = match storage.place {
        Place::Own { .. } => session.host.buckets.bucket(&storage.bucket)?,
        Place::Elsewhere { .. } => None,
    };
    Ok((storage, bucket))
}

/// The objects in a project's bucket whose keys begin with `prefix`, `limit` at most; whether there are more.
pub fn list(
    session: &Session<'_>,
    name: &ProjectName,
    prefix: &str,
    limit: usize,
) -> Result<(Vec<Entry>, bool)> {
    let at = access(session, &session.project(name)?.spec)?;
    let (mut all, mut from) = (Vec::new(), None);
    loop {
        let left = (limit - all.len()).min(objects::BATCH);
        let page = session.host.objects.list(&at, prefix, from.as_deref(), left)?;
        all.extend(page.entries);
        from = page.next;
        if from.is_none() || all.len() >= limit {
            all.truncate(limit);
            return Ok((all, from.is_some()));
        }
    }
}

/// An address by which anybody may read or write one object for a while.
pub fn presign(
    session: &Session<'_>,
    name: &ProjectName,
    verb: Verb,
    key: &str,
    expires: Duration,
) -> Result<String> {
    let at = access(session, &session.project(name)?.spec)?;
    at.presign(verb, key, expires, session.host.clock.now())
}

/// Gives a project a new key. The one before opens the bucket too, until the process has been started
/// anew; with `now` it is started anew at once.
pub fn rotate(session: &mut Session<'_>, name: &ProjectName, now: bool) -> Result<(Outcome, Storage)> {
    let (outcome, spec) = {
        let _held = session.enter(name.as_str(), "storage rotate")?;
        let mut spec = session.project(name)?.spec;
        let storage = owned(&spec)?;
        if matches!(storage.place, Place::Elsewhere { .. }) {
            bail!(
                Fault::new(
                    Code::WrongState,
                    format!("the keys of `{name}` are made at {}", storage.endpoint())
                )
                .next(format!("hostkit storage attach {name} --access-key ID …    # with a new key"))
            );
        }
        if storage.retiring.is_some() {
            bail!(
                Fault::new(
                    Code::WrongState,
                    format!("`{name}` may still run with the key from before the last rotation")
                )
                .next(format!("hostkit restart {name}"))
            );
        }
        let key = new_key(session, name)?;
        if let Some(storage) = &mut spec.storage {
            storage.retiring = Some(std::mem::replace(&mut storage.key, key));
        }
        (change(session, "storage rotate", &spec)?, spec)
    };
    let runs = spec.running && spec.live.as_ref().is_some_and(|(_, launch)| launch.exec.is_some());
    if session.mode == Mode::Run && !runs {
        // Nobody has the old one.
        let _held = session.enter(name.as_str(), "storage rotate")?;
        retire(session, name);
    } else if session.mode == Mode::Run && now {
        power(session, name, Power::Restart)?;
    }
    let spec = if session.mode == Mode::Run { session.project(name)?.spec } else { spec };
    Ok((outcome, owned(&spec)?.clone()))
}

/// Gives a project a bucket that was made, with a key, at a provider. The bucket must open with it.
pub fn attach(session: &mut Session<'_>, name: &ProjectName, at: Access) -> Result<(Outcome, Storage)> {
    let _held = session.enter(name.as_str(), "storage attach")?;
    let mut spec = session.project(name)?.spec;
    if let Some(Storage { place: Place::Own { .. }, bucket, .. }) = &spec.storage {
        bail!(
            Fault::new(
                Code::WrongState,
                format!("`{name}` has the bucket `{bucket}` in this host's own store, and what lies in it")
            )
            .next(format!("hostkit storage info {name}"))
        );
    }
    at.check().map_err(|fault| fault.next(format!("hostkit storage attach {name} --help")))?;
    session.host.objects.list(&at, "", None, 1).context("trying the bucket with its key")?;
    let key = StorageKey { secret: seal(session, name, &at.secret)?, id: at.key };
    let place = Place::Elsewhere { endpoint: at.endpoint, region: at.region };
    let storage = Storage { place, bucket: at.bucket, key, retiring: None };
    spec.storage = Some(storage.clone());
    Ok((change(session, "storage attach", &spec)?, storage))
}

/// Carries out a change of a project's storage, and of nothing else: its process goes on.
fn change(session: &mut Session<'_>, verb: &'static str, spec: &ProjectSpec) -> Result<Outcome> {
    let concerned = |r: &Any| matches!(r, Any::Bucket(_) | Any::BucketKey(_) | Any::EnvFile(_));
    let all = session.wanted(spec)?;
    let owned = session.store.owned(spec.name.as_str())?.into_iter().filter(concerned).collect();
    let wanted = all.iter().filter(|r| concerned(r)).cloned().collect();
    let plan = Plan::between(owned, wanted, Foreign::Refuse, &session.host)?;
    settle(session, verb, spec, &plan, &all)
}

// --- what was taken away ------------------------------------------------------------------------------

/// Removes the keys of a project that has just been deleted, and its bucket when nothing lies in it. What
/// lies in it stays, where nobody has a key to, as long as the project can be had back. A failure costs
/// nothing: [`collect`] comes back to it.
pub(super) fn forget(session: &mut Session<'_>, spec: &ProjectSpec) {
    let Some(storage) = spec.storage.as_ref().filter(|s| matches!(s.place, Place::Own { .. })) else {
        return;
    };
    let trash = Storage::trash_of(&spec.name, spec.uid);
    let done = [&storage.key]
        .into_iter()
        .chain(&storage.retiring)
        .try_for_each(|key| session.host.buckets.forget(&key.id));
    let done = done.and_then(|()| match session.host.buckets.bucket(&trash)? {
        Some(bucket) if bucket.objects == 0 => erase(session, &spec.name, &trash),
        _ => Ok(()),
    });
    complain(session, done);
}

/// Deletes what lay in the bucket of a project that nobody can have back any more.
pub(super) fn shred(session: &mut Session<'_>, spec: &ProjectSpec) {
    if spec.storage.as_ref().is_some_and(|s| matches!(s.place, Place::Own { .. })) {
        let done = erase(session, &spec.name, &Storage::trash_of(&spec.name, spec.uid));
        complain(session, done);
    }
}

fn complain(session: &mut Session<'_>, done: Result<()>) {
    if let Err(error) = done {
        let message = format!("what was taken away in the object storage is still there: {error:#}");
        session.ui.emit(Event::Warned { message: &message });
    }
}

/// Empties a bucket and removes it, with a key made for that.
fn erase(session: &mut Session<'_>, owner: &ProjectName, bucket: &str) -> Result<()> {
    let host = &mut session.host;
    let Some(found) = host.buckets.bucket(bucket)? else { return Ok(()) };
    let secret = vault::password()?;
    let id = identifier(&secret);
    host.buckets.import(&id, &secret, &format!("{SWEEP}{owner}"))?;
    host.buckets.permit(&id, bucket, Rights { read: true, write: true, owner: false })?;
    let (endpoint, region) =
        (format!("http://127.0.0.1:{S3_PORT}"), crate::project::storage::REGION.to_owned());
    let at = Access { endpoint, region, bucket: bucket.to_owned(), key: id.clone(), secret };
    let emptied = objects::empty(&mut *host.objects, &at);
    let removed = emptied.and_then(|_| host.buckets.remove(bucket));
    host.buckets.forget(&id)?;
    removed.with_context(|| format!("removing the bucket `{bucket}` ({} bytes)", found.bytes))
}

/// Removes what nobody can have back: keys that no project has, and buckets of projects that are gone. What
/// belongs to an operation that runs is left for the next time. Says how many things went.
pub(super) fn collect(session: &mut Session<'_>) -> usize {
    let mut gone = 0;
    let done = sweep(session, &mut gone);
    complain(session, done);
    gone
}

fn sweep(session: &mut Session<'_>, gone: &mut usize) -> Result<()> {
    if store(session)?.is_none() {
        return Ok(());
    }
    let kept: Vec<u32> = session.store.trash()?.into_iter().map(|row| row.spec.uid).collect();
    for key in session.host.buckets.keys()? {
        let owner = key.label.strip_prefix(SWEEP).or_else(|| key.label.strip_prefix(LABEL));
        let Some(owner) = owner.and_then(|name| name.parse::<ProjectName>().ok()) else { continue };
        let used = |session: &Session<'_>| -> Result<bool> {
            let ours = session.store.owned(owner.as_str())?;
            Ok(ours.iter().any(|r| matches!(r, Any::BucketKey(ours) if ours.id == key.id)))
        };
        if used(session)? {
            continue;
        }
        if session.mode == Mode::DryRun {
            *gone += 1;
        } else if let Ok(_held) = session.enter(owner.as_str(), "gc")
            && !used(session)?
        {
            session.host.buckets.forget(&key.id)?;
            *gone += 1;
        }
    }
    for bucket in session.host.buckets.buckets()? {
        let Some((owner, uid)) = trashed(&bucket) else { continue };
        if kept.contains(&uid) {
            continue;
        }
        if session.mode == Mode::DryRun {
            *gone += 1;
        } else if let Ok(_held) = session.enter(owner.as_str(), "gc") {
            erase(session, &owner, &bucket)?;
            *gone += 1;
        }
    }
    Ok(())
}

/// Whose a bucket was that has been taken away.
fn trashed(bucket: &str) -> Option<(ProjectName, u32)> {
    let (name, uid) = bucket.strip_suffix(TRASH)?.rsplit_once('.')?;
    Some((name.strip_suffix("-assets")?.parse().ok()?, uid.parse().ok()?))
}
