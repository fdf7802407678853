//! A project's `.env`: HostKit's own keys in it, and nobody else's.
//!
//! Other lines, comments and order stay as they are. Only HostKit's keys are observed, so no secret
//! that somebody wrote into the file ever reaches a plan or the journal.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::{Resource, State};
use crate::{
    domain::{
        env::{EnvKey, EnvText},
        layout::HostPath,
    },
    system::{Attr, Host},
};

/// Larger than any environment a process can be given, in bytes.
const LIMIT: u64 = 4 << 20;

/// The keys of HostKit's in an environment file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EnvFile {
    /// Where it lies.
    pub path: HostPath,
    /// The group that may read it; the owner is root.
    pub gid: u32,
    /// HostKit's keys. Never a secret.
    pub keys: BTreeMap<EnvKey, String>,
}

/// An environment file as it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The keys that this resource would set, as far as they are there.
    keys: BTreeMap<EnvKey, String>,
    uid: u32,
    gid: u32,
    mode: u32,
}

/// Readable by the project, written by root.
const MODE: u32 = 0o640;

impl EnvFile {
    fn text(&self, host: &Host) -> Result<EnvText> {
        let bytes = host.root.read(&self.path, LIMIT)?.unwrap_or_default();
        let text = String::from_utf8(bytes).with_context(|| format!("`{}` is not UTF-8", self.path))?;
        EnvText::parse(&text).with_context(|| format!("reading `{}`", self.path))
    }

    /// Gives HostKit's keys these values; takes those away that have none.
    fn write(&self, keys: &BTreeMap<EnvKey, String>, attr: Attr, host: &mut Host) -> Result<()> {
        let mut text = self.text(host)?;
        for key in self.keys.keys().filter(|k| !keys.contains_key(*k)) {
            text.unset(key);
        }
        for (key, value) in keys {
            if text.get(key) != Some(value) {
                text.set(key, value)?;
            }
        }
        host.root.replace(&self.path, text.to_string().as_bytes(), attr)
    }
}

impl Resource for EnvFile {
    const KIND: &'static str = "env";
    type Found = Option<Found>;

    fn name(&self) -> String {
        self.path.to_string()
    }
    fn observe(&self, host: &Host) -> Result<Option<Found>> {
        let Some(meta) = host.root.meta(&self.path)? else { return Ok(None) };
        let text = self.text(host)?;
        let has = |key: &EnvKey| text.get(key).map(|v| (key.clone(), v.to_owned()));
        let Attr { uid, gid, mode } = meta.attr;
        Ok(Some(Found { keys: self.keys.keys().filter_map(has).collect(), uid, gid, mode }))
    }
    fn compare(&self, found: &Option<Found>) -> State {
        let Some(found) = found else { return State::Missing };
        if let Some((key, _)) = self.keys.iter().find(|(k, v)| found.keys.get(*k) != Some(v)) {
            State::Differs(format!("`{key}` is not as HostKit set it"))
        } else if (found.uid, found.gid, found.mode) != (0, self.gid, MODE) {
            State::Differs(format!(
                "mode {:04o} {}:{} → {MODE:04o} 0:{}",
                found.mode, found.uid, found.gid, self.gid
            ))
        } else {
            State::Satisfied
        }
    }
    fn apply(&self, host: &mut Host) -> Result<()> {
        self.write(&self.keys, Attr { uid: 0, gid: self.gid, mode: MODE }, host)
    }
    fn restore(&self, found: &Option<Found>, host: &mut Host) -> Result<()> {
        host.root.tidy(&self.path)?;
        match found {
            None => host.root.remove(&self.path),
            Some(_) if self.observe(host)? == *found => Ok(()),
            Some(f) => self.write(&f.keys, Attr { uid: f.uid, gid: f.gid, mode: f.mode }, host),
        }
    }
    fn place(&self) -> Option<&HostPath> {
        Some(&self.path)
    }
    #[cfg(test)]
    fn sample() -> Option<Self> {
        let keys = [("PORT".parse().expect("a key"), "8001".to_owned())].into();
        Some(Self { path: HostPath::fixed("/home/.env"), gid: 0, keys })
    }
}
