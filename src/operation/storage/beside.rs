//! Buckets beside a project's own: filled, looked into and emptied with a key that is made for that and
//! removed again, so that nobody else ever has one to them.

use anyhow::{Context, Result};

use super::{gone::SWEEP, identifier};
use crate::{
    domain::{name::ProjectName, secret::Secret},
    operation::session::Session,
    project::{
        ProjectSpec, Storage,
        storage::{Place, REGION, S3_PORT, TRASH},
    },
    system::{
        objects::{
            self, Access, Rights,
            bundle::{self, Stock},
        },
        vault,
    },
};

/// What a bucket is called that waits to take the place of a project's.
pub(in crate::operation) const NEW: &str = "new";
/// What the one is called whose place was taken.
pub(in crate::operation) const OLD: &str = "old";
/// What one is called that nobody can have back.
pub(in crate::operation) const SPENT: &str = "spent";

/// The name of a bucket beside a project's own. What is called so is removed by whoever meets it.
pub(in crate::operation) fn beside(spec: &ProjectSpec, what: &str) -> String {
    format!("{}.{}.{what}{TRASH}", Storage::bucket_of(&spec.name), spec.uid)
}

/// Whether a project's bucket is in this host's own store.
pub(in crate::operation) fn is_own(spec: &ProjectSpec) -> bool {
    spec.storage.as_ref().is_some_and(|storage| matches!(storage.place, Place::Own { .. }))
}

/// Does something in a bucket, with a key that opens it for as long as that takes.
fn within<T>(
    session: &mut Session<'_>,
    owner: &ProjectName,
    bucket: &str,
    work: impl FnOnce(&mut Session<'_>, &Access) -> Result<T>,
) -> Result<T> {
    let secret: Secret = vault::password()?;
    let key = identifier(&secret);
    session.host.buckets.import(&key, &secret, &format!("{SWEEP}{owner}"))?;
    let rights = Rights { read: true, write: true, owner: false };
    let endpoint = format!("http://127.0.0.1:{S3_PORT}");
    let at = Access { endpoint, region: REGION.to_owned(), bucket: bucket.to_owned(), key, secret };
    let permitted = session.host.buckets.permit(&at.key, bucket, rights);
    let done = permitted.and_then(|()| work(session, &at));
    let forgotten = session.host.buckets.forget(&at.key);
    done.and_then(|value| forgotten.map(|()| value))
}

/// What lies in a bucket that is there.
pub(in crate::operation) fn stock(
    session: &mut Session<'_>,
    owner: &ProjectName,
    bucket: &str,
) -> Result<Stock> {
    within(session, owner, bucket, |session, at| bundle::stock(&*session.host.objects, at))
}

/// Makes a bucket of what [`bundle::pack`] wrote. What is called so already goes.
pub(in crate::operation) fn fill(
    session: &mut Session<'_>,
    spec: &ProjectSpec,
    bucket: &str,
    from: &mut dyn std::io::Read,
) -> Result<()> {
    erase(session, &spec.name, bucket)?;
    session.host.buckets.create(bucket)?;
    within(session, &spec.name, bucket, |session, at| bundle::unpack(&mut *session.host.objects, at, from))?;
    Ok(())
}

/// Empties a bucket and removes it, if it is there.
pub(in crate::operation) fn erase(
    session: &mut Session<'_>,
    owner: &ProjectName,
    bucket: &str,
) -> Result<()> {
    let Some(found) = session.host.buckets.bucket(bucket)? else { return Ok(()) };
    let emptied =
        within(session, owner, bucket, |session, at| objects::empty(&mut *session.host.objects, at));
    let removed = emptied.and_then(|_| session.host.buckets.remove(bucket));
    removed.with_context(|| format!("removing the bucket `{bucket}` ({} bytes)", found.bytes))
}

/// Removes a bucket that a project had. First it is called what nobody can have back, so that half of it is
/// never taken for all of it.
pub(in crate::operation) fn spend(session: &mut Session<'_>, spec: &ProjectSpec, bucket: &str) -> Result<()> {
    let spent = beside(spec, SPENT);
    erase(session, &spec.name, &spent)?;
    session.host.buckets.rename(bucket, &spent)?;
    erase(session, &spec.name, &spent)
}
