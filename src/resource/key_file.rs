//! A file with a secret that HostKit makes and nobody chooses: the master key, a daemon's password.
//!
//! Its text is in no plan and no journal: what counts is that there is one, and that only root reads it.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Resource, State};
use crate::{
    domain::layout::HostPath,
    system::{Attr, Host, vault},
};

/// A file with a random key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeyFile {
    /// Where it lies.
    pub path: HostPath,
    /// The group that may read it; 0 for root alone.
    pub gid: u32,
}

/// Owner, group and mode of a key file as it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    uid: u32,
    gid: u32,
    mode: u32,
}

impl KeyFile {
    fn attr(&self) -> Attr {
        Attr { uid: 0, gid: self.gid, mode: if self.gid == 0 { 0o600 } else { 0o640 } }
    }
    /// Where a key is kept that was taken away: nothing that was sealed with it must be lost.
    fn aside(&self) -> HostPath {
        self.path.parent().join(&format!("{}.gone", self.path.file_name()))
    }
}

impl Resource for KeyFile {
    const KIND: &'static str = "key-file";
    type Found = Option<Found>;

    fn name(&self) -> String {
        self.path.to_string()
    }
    fn observe(&self, host: &Host) -> Result<Option<Found>> {
        let meta = host.root.meta(&self.path)?;
        Ok(meta.map(|m| Found { uid: m.attr.uid, gid: m.attr.gid, mode: m.attr.mode }))
    }
    fn compare(&self, found: &Option<Found>) -> State {
        let Attr { uid, gid, mode } = self.attr();
        match found {
            None => State::Missing,
            Some(f) if *f == (Found { uid, gid, mode }) => State::Satisfied,
            Some(f) => {
                State::Differs(format!("mode {:04o} {}:{} → {mode:04o} {uid}:{gid}", f.mode, f.uid, f.gid))
            }
        }
    }
    fn apply(&self, host: &mut Host) -> Result<()> {
        if host.root.meta(&self.path)?.is_none() {
            if host.root.meta(&self.aside())?.is_some() {
                host.root.rename(&self.aside(), &self.path)?;
            } else {
                let text = format!("{}\n", vault::key()?.reveal());
                return host.root.replace(&self.path, text.as_bytes(), self.attr());
            }
        }
        if self.compare(&self.observe(host)?) == State::Satisfied {
            return Ok(());
        }
        host.root.set_attr(&self.path, self.attr())
    }
    fn restore(&self, found: &Option<Found>, host: &mut Host) -> Result<()> {
        host.root.tidy(&self.path)?;
        let now = self.observe(host)?;
        match found {
            None if now.is_none() => Ok(()),
            None => host.root.rename(&self.path, &self.aside()),
            Some(f) => {
                if now.is_none() && host.root.meta(&self.aside())?.is_some() {
                    host.root.rename(&self.aside(), &self.path)?;
                }
                if self.observe(host)?.as_ref() == Some(f) {
                    return Ok(());
                }
                host.root.set_attr(&self.path, Attr { uid: f.uid, gid: f.gid, mode: f.mode })
            }
        }
    }
    fn place(&self) -> Option<&HostPath> {
        Some(&self.path)
    }
    #[cfg(test)]
    fn sample() -> Option<Self> {
        Some(Self { path: HostPath::fixed("/home/some.key"), gid: 0 })
    }
}
