//! Where copies of backups go: a bucket at an S3 provider, which is tried before it is taken.

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::prefix;
use crate::{
    domain::{
        fault::{Code, Fault},
        secret::{Sealed, Secret},
    },
    operation::session::{Mode, Outcome, Session},
    system::{
        Vault,
        objects::{Access, Headers},
        vault,
    },
};

/// The setting that says where copies go.
const TARGET: &str = "backup_target";
/// What the key's secret is sealed for. No project's secret is: none has an empty name.
const PURPOSE: &str = "/backup target";
/// Where copies of backups go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The provider's address.
    pub endpoint: String,
    /// The region, as the provider calls it.
    pub region: String,
    /// The bucket.
    pub bucket: String,
    /// The identifier of the key that opens it.
    pub key: String,
    secret: Sealed,
    /// Since when: before that none can be missing.
    pub since: String,
}

impl Target {
    pub(super) fn open(&self, vault: &Vault) -> Result<Access> {
        Ok(Access {
            endpoint: self.endpoint.clone(),
            region: self.region.clone(),
            bucket: self.bucket.clone(),
            key: self.key.clone(),
            secret: vault.open(PURPOSE, &self.secret)?,
        })
    }
}

/// Where copies of backups go, if anywhere.
pub fn target(session: &Session<'_>) -> Result<Option<Target>> {
    let text = session.store.setting(TARGET)?;
    text.map(|text| serde_json::from_str(&text).context("reading where copies of backups go")).transpose()
}

/// Has backups copied to a bucket from now on. An object must go in, come out and go away with its key.
pub fn aim(session: &mut Session<'_>, at: Access) -> Result<Outcome> {
    let _held = session.enter("", "backup target")?;
    at.check().map_err(|fault| fault.next("hostkit backup target --help"))?;
    if session.mode == Mode::DryRun {
        session.host.objects.list(&at, "", None, 1).context("trying the bucket with its key")?;
        return Ok(Outcome::WouldChange);
    }
    attempt(session, &at).context("trying the bucket with its key")?;
    let old = target(session)?;
    let same = |old: &&Target| old.endpoint == at.endpoint && old.bucket == at.bucket;
    let since = match old.as_ref().filter(same) {
        Some(old) => old.since.clone(),
        None => format!("{:.0}", session.host.clock.now()),
    };
    let secret = session.host.vault.seal(PURPOSE, &at.secret)?;
    let new =
        Target { endpoint: at.endpoint, region: at.region, bucket: at.bucket, key: at.key, secret, since };
    if old.as_ref() == Some(&new) {
        return Ok(Outcome::Unchanged);
    }
    let text = serde_json::to_string(&new)?;
    session.store.change(|registry| registry.set(TARGET, &text))?;
    session.note("", "backup target", &format!("copies go to `{}` at {}", new.bucket, new.endpoint))?;
    Ok(Outcome::Changed)
}

/// Writes, reads and deletes a small object.
fn attempt(session: &mut Session<'_>, at: &Access) -> Result<()> {
    let text = vault::password()?;
    let key = format!("{}trial", prefix(session)?);
    session.host.objects.put(at, &key, &Headers::new(), &mut text.reveal().as_bytes())?;
    let mut back = Vec::new();
    let read = session.host.objects.get(at, &key, &mut back);
    session.host.objects.delete(at, &[key])?;
    read?;
    let back = String::from_utf8(back).map(Secret::new);
    if back.is_ok_and(|back| back == text) {
        return Ok(());
    }
    bail!(Fault::new(Code::StorageRefused, "what comes out of the bucket is not what went in"))
}

/// Has backups copied nowhere any more. What lies there stays.
pub fn unset(session: &mut Session<'_>) -> Result<Outcome> {
    let _held = session.enter("", "backup target")?;
    match target(session)? {
        None => Ok(Outcome::Unchanged),
        Some(_) if session.mode == Mode::DryRun => Ok(Outcome::WouldChange),
        Some(old) => {
            session.store.change(|registry| registry.unset(TARGET))?;
            let what = format!("no copies go to `{}` at {} any more", old.bucket, old.endpoint);
            session.note("", "backup target", &what)?;
            Ok(Outcome::Changed)
        }
    }
}
