//! Buckets and keys that were taken away: what becomes of them.

use anyhow::Result;

use super::{
    beside::{NEW, OLD, SPENT, beside, erase, is_own, spend, stock},
    store,
};
use crate::{
    domain::name::ProjectName,
    event::Event,
    operation::{
        backup,
        session::{Mode, Session},
    },
    project::{
        ProjectSpec, Storage,
        storage::{LABEL, TRASH},
    },
    resource::Any,
    system::objects::bundle::Stock,
};

/// What the label of a key begins with that HostKit fills, reads or empties a bucket with.
pub(super) const SWEEP: &str = "hostkit-sweep:";

/// What becomes of the objects in the bucket of a project that is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The last backup takes them in, and they go.
    Saved,
    /// They stay, where nobody has a key to, as long as the project can be had back.
    Kept,
    /// They are lost.
    Lost,
}

/// Removes the keys of a project that has just been deleted, and its bucket, unless something lies in it that
/// is not in the last backup. A failure costs nothing: [`collect`] comes back to it.
pub(in crate::operation) fn forget(session: &mut Session<'_>, spec: &ProjectSpec, saved: Option<&Stock>) {
    let Some(storage) = spec.storage.as_ref().filter(|_| is_own(spec)) else { return };
    let keys = [&storage.key].into_iter().chain(&storage.retiring);
    let mut done = keys.into_iter().try_for_each(|key| session.host.buckets.forget(&key.id));
    done = done.and_then(|()| erase(session, &spec.name, &beside(spec, SPENT)));
    match done.and_then(|()| depart(session, spec, saved)) {
        Ok(Departed::Gone) => {}
        Ok(Departed::Closed) if saved.is_none() => {}
        Ok(Departed::Closed) => {
            let message = format!(
                "`{}` wrote to its bucket while the last backup was made; what lies in it stays, closed, as \
                 long as the project can be had back",
                spec.name
            );
            session.ui.emit(Event::Warned { message: &message });
        }
        Err(error) => complain(session, Err(error)),
    }
}

/// Has the bucket of a project that is about to be deleted be called, among the resources that go, what nobody
/// can have back.
pub(in crate::operation) fn give_up(
    session: &mut Session<'_>,
    spec: &ProjectSpec,
    going: &mut [Any],
) -> Result<()> {
    if !is_own(spec) {
        return Ok(());
    }
    let spent = beside(spec, SPENT);
    if session.mode == Mode::Run {
        erase(session, &spec.name, &spent)?;
    }
    for resource in going {
        if let Any::Bucket(bucket) = resource {
            bucket.trash.clone_from(&spent);
        }
    }
    Ok(())
}

/// What became of a bucket.
#[derive(PartialEq, Eq)]
enum Departed {
    /// It is not there.
    Gone,
    /// It stays as long as the project can be had back.
    Closed,
}

/// Removes the bucket of a deleted project if all that lies in it was saved. What was written since shows in
/// the list of what lies there.
fn depart(session: &mut Session<'_>, spec: &ProjectSpec, saved: Option<&Stock>) -> Result<Departed> {
    let trash = Storage::trash_of(&spec.name, spec.uid);
    if session.host.buckets.bucket(&trash)?.is_none() {
        return Ok(Departed::Gone);
    }
    let now = stock(session, &spec.name, &trash)?;
    if now.objects > 0 && saved.is_none_or(|saved| saved.sum != now.sum) {
        return Ok(Departed::Closed);
    }
    spend(session, spec, &trash)?;
    Ok(Departed::Gone)
}

/// Deletes what lay in the bucket of a project that nobody can have back any more.
pub(in crate::operation) fn shred(session: &mut Session<'_>, spec: &ProjectSpec) {
    if is_own(spec) {
        let done = [Storage::trash_of(&spec.name, spec.uid), beside(spec, SPENT)]
            .iter()
            .try_for_each(|bucket| erase(session, &spec.name, bucket));
        complain(session, done);
    }
}

fn complain(session: &mut Session<'_>, done: Result<()>) {
    if let Err(error) = done {
        let message = format!("what was taken away in the object storage is still there: {error:#}");
        session.ui.emit(Event::Warned { message: &message });
    }
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
    let kept: Vec<ProjectSpec> = session.store.trash()?.into_iter().map(|row| row.spec).collect();
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
        let Some((owner, uid, whole)) = trashed(&bucket) else { continue };
        let spec = kept.iter().find(|spec| whole && spec.uid == uid);
        if session.mode == Mode::DryRun {
            *gone += usize::from(spec.is_none());
            continue;
        }
        let Ok(_held) = session.enter(owner.as_str(), "gc") else { continue };
        // What could not be undone may be what it is to be undone with.
        if session.store.open_operations()?.iter().any(|open| open.owner == owner.as_str()) {
            continue;
        }
        match spec {
            None => erase(session, &owner, &bucket)?,
            // Whoever deleted it may have died before it came to this.
            Some(spec) => match backup::saved(session, spec)? {
                Some(saved) if depart(session, spec, Some(&saved))? == Departed::Gone => {}
                _ => continue,
            },
        }
        *gone += 1;
    }
    Ok(())
}

/// Whose a bucket was that has been taken away, and whether it is all that the project had.
fn trashed(bucket: &str) -> Option<(ProjectName, u32, bool)> {
    let (name, rest) = bucket.strip_suffix(TRASH)?.split_once('.')?;
    let (uid, what) = rest.split_once('.').map_or((rest, ""), |(uid, what)| (uid, what));
    let known = ["", NEW, OLD, SPENT].contains(&what);
    let name = name.strip_suffix("-assets").filter(|_| known)?;
    Some((name.parse().ok()?, uid.parse().ok()?, what.is_empty()))
}
