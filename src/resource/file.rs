//! A text file that HostKit writes whole.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Resource, State};
use crate::{
    domain::layout::HostPath,
    system::{Attr, FileKind, Host},
};

/// Larger than any text HostKit writes, in bytes.
pub(super) const LIMIT: u64 = 1 << 20;

/// A configuration file. Never one with a secret in it: its text is in plans and the journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ManagedFile {
    /// Where it lies.
    pub path: HostPath,
    /// All of it.
    pub body: String,
    /// Its group; the owner is root.
    pub gid: u32,
    /// Its permission bits.
    pub mode: u32,
}

/// A file as it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    body: String,
    uid: u32,
    gid: u32,
    mode: u32,
}

impl Resource for ManagedFile {
    const KIND: &'static str = "file";
    type Found = Option<Found>;

    fn name(&self) -> String {
        self.path.to_string()
    }
    fn observe(&self, host: &Host) -> Result<Option<Found>> {
        let Some(meta) = host.root.meta(&self.path)? else { return Ok(None) };
        let Attr { uid, gid, mode } = meta.attr;
        let body = match meta.kind {
            FileKind::File => host.root.read(&self.path, LIMIT)?.unwrap_or_default(),
            _ => b"(not a regular file)".to_vec(),
        };
        Ok(Some(Found { body: String::from_utf8_lossy(&body).into_owned(), uid, gid, mode }))
    }
    fn compare(&self, found: &Option<Found>) -> State {
        match found {
            None => State::Missing,
            Some(f) if f.body != self.body => State::Differs("content".into()),
            Some(f) if (f.uid, f.gid) != (0, self.gid) => {
                State::Differs(format!("owner {}:{} → 0:{}", f.uid, f.gid, self.gid))
            }
            Some(f) if f.mode != self.mode => {
                State::Differs(format!("mode {:04o} → {:04o}", f.mode, self.mode))
            }
            Some(_) => State::Satisfied,
        }
    }
    fn apply(&self, host: &mut Host) -> Result<()> {
        host.root.replace(&self.path, self.body.as_bytes(), Attr { uid: 0, gid: self.gid, mode: self.mode })
    }
    fn restore(&self, found: &Option<Found>, host: &mut Host) -> Result<()> {
        host.root.tidy(&self.path)?;
        match found {
            None => host.root.remove(&self.path),
            // Untouched: writing it again would only make it look newer.
            Some(_) if self.observe(host)? == *found => Ok(()),
            Some(f) => host.root.replace(
                &self.path,
                f.body.as_bytes(),
                Attr { uid: f.uid, gid: f.gid, mode: f.mode },
            ),
        }
    }
    fn place(&self) -> Option<&HostPath> {
        Some(&self.path)
    }
    #[cfg(test)]
    fn sample() -> Option<Self> {
        Some(Self {
            path: HostPath::fixed("/etc/logrotate.d/sample"),
            body: "x\n".into(),
            gid: 0,
            mode: 0o644,
        })
    }
}
