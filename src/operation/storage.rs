//! Object storage: giving a project a bucket, changing its key, and looking into it.

pub(super) mod beside;
mod gone;
mod store;

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
        name::ProjectName,
        secret::Secret,
    },
    plan::{Foreign, Plan},
    project::{
        ProjectSpec, Storage, StorageKey,
        storage::{Place, QUOTA, SECRET_KEY},
    },
    resource::Any,
    system::{
        objects::{self, Access, Bucket, Entry, Verb},
        vault,
    },
};

pub use self::{
    gone::Fate,
    store::{program, store},
};
pub(super) use self::{
    gone::{collect, forget, give_up, shred},
    store::require_ports,
};

/// The setting that says where the program of the host's own store is; there is a store when it is set.
pub(super) const STORE: &str = "object_store";

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
