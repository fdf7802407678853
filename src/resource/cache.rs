//! A directory of things that can be had again: whoever it belongs to keeps there what saves time.

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use super::{Resource, State};
use crate::{
    domain::layout::HostPath,
    system::{Attr, FileKind, Host},
};

/// A cache of one account's. Taking it away deletes it, for nothing in it is worth keeping; undoing that
/// makes an empty one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cache {
    /// Where it lies.
    pub path: HostPath,
    /// Its owner and group.
    pub uid: u32,
}

/// A cache as it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found(Option<(u32, u32, u32)>);

impl Cache {
    const MODE: u32 = 0o700;

    fn make(&self, uid: u32, gid: u32, mode: u32, host: &mut Host) -> Result<()> {
        if host.root.meta(&self.path)?.is_some_and(|meta| meta.kind != FileKind::Dir) {
            bail!("`{}` is in the way: it is not a directory", self.path);
        }
        host.root.mkdir(&self.path, Attr { uid, gid, mode }, None)
    }
}

impl Resource for Cache {
    const KIND: &'static str = "cache";
    type Found = Found;

    fn name(&self) -> String {
        self.path.to_string()
    }
    fn observe(&self, host: &Host) -> Result<Found> {
        let meta = host.root.meta(&self.path)?;
        Ok(Found(meta.map(|m| (m.attr.uid, m.attr.gid, m.attr.mode))))
    }
    fn compare(&self, found: &Found) -> State {
        match found.0 {
            None => State::Missing,
            Some(found) if found == (self.uid, self.uid, Self::MODE) => State::Satisfied,
            Some(_) => State::Differs("owner or mode".into()),
        }
    }
    fn apply(&self, host: &mut Host) -> Result<()> {
        self.make(self.uid, self.uid, Self::MODE, host)
    }
    fn restore(&self, found: &Found, host: &mut Host) -> Result<()> {
        match found.0 {
            Some((uid, gid, mode)) => self.make(uid, gid, mode, host),
            None => host.root.shred(&self.path),
        }
    }
    fn place(&self) -> Option<&HostPath> {
        Some(&self.path)
    }
    #[cfg(test)]
    fn sample() -> Option<Self> {
        Some(Self { path: HostPath::fixed("/var/lib/sample"), uid: 2000 })
    }
}
