//! What lies in a project's bucket, in a backup. It is loaded into a bucket beside the project's, which takes
//! the name.

use std::io::{Read, Write};

use anyhow::{Result, bail};

use super::{ProjectSpec, Session, host};
use crate::{
    domain::fault::{Code, Fault},
    operation::storage::{
        self,
        beside::{NEW, OLD, SPENT, beside, erase, fill, is_own, spend},
    },
    project::{Storage, storage::Place},
    resource::{Any, BucketSwap},
    system::objects::{
        Rights,
        bundle::{self, Stock},
    },
};

/// Refuses a backup with the objects of a project that has no bucket here, or whose objects the disk has no
/// room for once more; `next` does without.
pub(super) fn require(session: &Session<'_>, spec: &ProjectSpec, next: &[String]) -> Result<()> {
    let Some(Storage { bucket, .. }) = spec.storage.as_ref().filter(|_| is_own(spec)) else {
        let name = &spec.name;
        let message =
            format!("`{name}` has no bucket in this host's own store, whose objects a backup could hold");
        bail!(Fault::new(Code::WrongState, message).next(format!("hostkit storage info {name}")))
    };
    let Some(found) = session.host.buckets.bucket(bucket)? else { return Ok(()) };
    let backups = spec.name.backups(spec.uid);
    let known = session.host.root.meta(&backups)?.is_some();
    let place = if known { backups } else { host::state() };
    let free = session.host.root.space(&place)?.bytes;
    if found.bytes <= free {
        return Ok(());
    }
    let (objects, bytes) = (found.objects, found.bytes);
    let fault = Fault::new(
        Code::DiskFull,
        format!(
            "the {objects} objects in the bucket `{bucket}` have {bytes} bytes, and `{place}` has {free} bytes left \
             for a backup of them"
        ),
    );
    Err(next.iter().fold(fault, |fault, next| fault.next(next.clone())).into())
}

/// Writes what lies in a project's bucket; says what that was.
pub(super) fn dump(session: &Session<'_>, spec: &ProjectSpec, out: &mut dyn Write) -> Result<Stock> {
    bundle::pack(&*session.host.objects, &storage::access(session, spec)?, out)
}

/// Loads objects into a bucket beside the project's, which its keys open from then on.
pub(super) fn load(
    session: &mut Session<'_>,
    spec: &ProjectSpec,
    from: &mut dyn Read,
) -> Result<Option<Any>> {
    let Some(Storage { place: Place::Own { quota }, bucket, key, retiring }) = &spec.storage else {
        return Ok(None);
    };
    let incoming = beside(spec, NEW);
    fill(session, spec, &incoming, from)?;
    session.host.buckets.limit(&incoming, Some(*quota))?;
    for key in retiring.iter().chain([key]) {
        let rights = Rights { read: true, write: true, owner: false };
        session.host.buckets.permit(&key.id, &incoming, rights)?;
    }
    Ok(Some(BucketSwap { bucket: bucket.clone(), incoming, aside: beside(spec, OLD) }.into()))
}

/// Removes what a restore has left beside a project's bucket.
pub(super) fn clear(session: &mut Session<'_>, spec: &ProjectSpec) -> Result<()> {
    if !is_own(spec) {
        return Ok(());
    }
    [NEW, OLD].iter().try_for_each(|what| erase(session, &spec.name, &beside(spec, what)))
}

/// Loads a deleted project's objects to where they would lie had they been kept; whether that was to be done.
/// They are not called so before all of them are there.
pub(super) fn revive(session: &mut Session<'_>, spec: &ProjectSpec, from: &mut dyn Read) -> Result<bool> {
    let trash = Storage::trash_of(&spec.name, spec.uid);
    if !is_own(spec) || session.host.buckets.bucket(&trash)?.is_some() {
        return Ok(false);
    }
    let spent = beside(spec, SPENT);
    if let Err(error) = fill(session, spec, &spent, from) {
        // What is called so is removed by `gc` too.
        let _ = erase(session, &spec.name, &spent);
        return Err(error);
    }
    session.host.buckets.rename(&spent, &trash)?;
    Ok(true)
}

/// Removes what [`revive`] loaded for a project that did not come back.
pub(super) fn dismiss(session: &mut Session<'_>, spec: &ProjectSpec) -> Result<()> {
    spend(session, spec, &Storage::trash_of(&spec.name, spec.uid))
}
