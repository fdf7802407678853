//! A log that a project's process writes and its account can only read.
//!
//! systemd would make it with the service's group and umask, and the project could then rewrite what
//! its process has said; so it is made beforehand.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Resource, State};
use crate::{
    domain::layout::HostPath,
    system::{Attr, FileKind, Host},
};

const MODE: u32 = 0o640;

/// A log file. What is in it is nobody's business here.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LogFile {
    /// Where it lies.
    pub path: HostPath,
    /// Whose it is: root's, unless a daemon that runs as somebody else makes it anew.
    #[serde(default)]
    pub uid: u32,
    /// The group that may read it.
    pub gid: u32,
}

/// A log file as it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    uid: u32,
    gid: u32,
    mode: u32,
    file: bool,
}

impl LogFile {
    fn attr(&self) -> Attr {
        Attr { uid: self.uid, gid: self.gid, mode: MODE }
    }
}

impl Resource for LogFile {
    const KIND: &'static str = "log";
    type Found = Option<Found>;

    fn name(&self) -> String {
        self.path.to_string()
    }
    fn observe(&self, host: &Host) -> Result<Option<Found>> {
        let meta = host.root.meta(&self.path)?;
        Ok(meta.map(|m| Found {
            uid: m.attr.uid,
            gid: m.attr.gid,
            mode: m.attr.mode,
            file: m.kind == FileKind::File,
        }))
    }
    fn compare(&self, found: &Option<Found>) -> State {
        match found {
            None => State::Missing,
            Some(f) if !f.file => State::Differs("is not a file".into()),
            Some(f) if (Attr { uid: f.uid, gid: f.gid, mode: f.mode }) == self.attr() => State::Satisfied,
            Some(f) => {
                let Self { uid, gid, .. } = self;
                State::Differs(format!("mode {:04o} {}:{} → {MODE:04o} {uid}:{gid}", f.mode, f.uid, f.gid))
            }
        }
    }
    fn apply(&self, host: &mut Host) -> Result<()> {
        host.root.touch(&self.path, self.attr())
    }
    fn restore(&self, found: &Option<Found>, host: &mut Host) -> Result<()> {
        match found {
            None => host.root.remove(&self.path),
            Some(f) if f.file => host.root.touch(&self.path, Attr { uid: f.uid, gid: f.gid, mode: f.mode }),
            Some(_) => Ok(()),
        }
    }
    fn place(&self) -> Option<&HostPath> {
        Some(&self.path)
    }
    #[cfg(test)]
    fn sample() -> Option<Self> {
        Some(Self { path: HostPath::fixed("/var/log/sample.log"), uid: 0, gid: 2000 })
    }
}
