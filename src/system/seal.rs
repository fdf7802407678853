//! Making a tree that a stranger has built into one that is root's and never changes again.
//!
//! Whoever built it must be dead: an open descriptor outlives a change of owner. Everything is done
//! relative to descriptors, and no link is ever followed, so it does not matter what the tree has become.

mod clone;
mod crew;
mod grown;
mod kin;
mod links;
mod mentions;
mod modes;
mod walk;

use std::os::fd::OwnedFd;

use anyhow::Result;

pub use self::{
    clone::{Way, clone},
    grown::{Grown, grown},
    kin::Kin,
    links::Outside,
    mentions::mentions,
};
use super::archive::{Entry, Kind, Manifest};
use crate::domain::fault::{Code, Fault};

/// How a tree is sealed.
#[derive(Debug)]
pub struct Seal<'a> {
    /// The group that may read it.
    pub gid: u32,
    /// Where the tree will lie, and what its links may lead to besides itself.
    pub outside: Outside,
    /// A sealed tree whose files take the place of those that are the same.
    pub kin: Option<&'a Kin>,
    /// The directory that the web server reads, which is not in that group; empty for the tree itself. It
    /// gets to no other part, and sees no program's text.
    pub public: Option<&'a str>,
}

/// The most entries of a tree.
const ENTRIES: usize = 400_000;
/// How deep a tree may be.
const DEPTH: usize = 64;

/// Seals the tree below `root`; gives what is in it.
pub fn seal(root: &OwnedFd, how: &Seal<'_>) -> Result<Manifest> {
    let mut entries = walk::walk(root, how)?;
    entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    let found = entries.iter().filter_map(|Entry { path, kind }| match kind {
        Kind::Link { target } => Some((path.as_str(), target.as_str())),
        _ => None,
    });
    links::check(root, found, &how.outside)?;
    Ok(Manifest::new(entries, Vec::new()))
}

/// The refusal of what a build has left behind.
fn refuse(path: &str, why: impl std::fmt::Display) -> Fault {
    let shown: String = path.chars().take(120).flat_map(char::escape_debug).collect();
    Fault::new(Code::BuildFailed, format!("the build left `{shown}`, which {why}"))
}

#[cfg(test)]
mod tests;
