//! Buckets and keys that were taken away: what becomes of them.

use anyhow::{Context, Result};

use super::{identifier, store};
use crate::{
    domain::name::ProjectName,
    event::Event,
    operation::session::{Mode, Session},
    project::{
        ProjectSpec, Storage,
        storage::{LABEL, Place, S3_PORT, TRASH},
    },
    resource::Any,
    system::{
        objects::{self, Access, Rights},
        vault,
    },
};

/// What the label of a key begins with that HostKit empties a bucket with.
const SWEEP: &str = "hostkit-sweep:";

/// Removes the keys of a project that has just been deleted, and its bucket when nothing lies in it. What
/// lies in it stays, where nobody has a key to, as long as the project can be had back. A failure costs
/// nothing: [`collect`] comes back to it.
pub(in crate::operation) fn forget(session: &mut Session<'_>, spec: &ProjectSpec) {
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
pub(in crate::operation) fn shred(session: &mut Session<'_>, spec: &ProjectSpec) {
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
pub(in crate::operation) fn collect(session: &mut Session<'_>) -> usize {
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
