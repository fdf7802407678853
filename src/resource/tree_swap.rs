//! A tree that takes the place of another, in one step, and can be changed back in one.
//!
//! What was in the place lies where the new tree was, until the operation is over.

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use super::{Resource, State};
use crate::{domain::layout::HostPath, system::Host};

/// One tree in the place of another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TreeSwap {
    /// The place.
    pub path: HostPath,
    /// Where the new tree was made, and the old one goes.
    pub incoming: HostPath,
    /// The new tree's number on the filesystem, which tells it from the old one wherever they are.
    pub inode: u64,
}

impl TreeSwap {
    /// Has the tree of this number in its place, wherever it is now.
    fn put(&self, inode: u64, host: &mut Host) -> Result<()> {
        let at = |path, host: &Host| Ok::<_, anyhow::Error>(host.root.meta(path)?.map(|m| m.inode));
        let (here, there) = (at(&self.path, host)?, at(&self.incoming, host)?);
        match (here, there) {
            (Some(here), _) if here == inode => Ok(()),
            (Some(_), Some(there)) if there == inode => host.root.exchange(&self.path, &self.incoming),
            (None, Some(there)) if there == inode => host.root.rename(&self.incoming, &self.path),
            _ => {
                bail!("the tree that belongs at `{}` is neither there nor at `{}`", self.path, self.incoming)
            }
        }
    }
}

impl Resource for TreeSwap {
    const KIND: &'static str = "tree-swap";
    type Found = Option<u64>;

    fn name(&self) -> String {
        self.path.to_string()
    }
    fn observe(&self, host: &Host) -> Result<Option<u64>> {
        Ok(host.root.meta(&self.path)?.map(|m| m.inode))
    }
    fn compare(&self, found: &Option<u64>) -> State {
        match found {
            None => State::Missing,
            Some(inode) if *inode == self.inode => State::Satisfied,
            Some(_) => State::Differs("is replaced".into()),
        }
    }
    fn apply(&self, host: &mut Host) -> Result<()> {
        self.put(self.inode, host)
    }
    fn restore(&self, found: &Option<u64>, host: &mut Host) -> Result<()> {
        match found {
            Some(inode) => self.put(*inode, host),
            None if self.observe(host)?.is_some() => host.root.rename(&self.path, &self.incoming),
            None => Ok(()),
        }
    }
    #[cfg(test)]
    fn sample() -> Option<Self> {
        None
    }
}
