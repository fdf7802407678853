//! The paths that an archive has named so far, and what stands there.

use std::collections::BTreeMap;

use super::manifest::{Entry, Kind, Manifest};
use super::path::too_much;
use super::staging::Digest;
use super::{Limits, refuse};
use crate::domain::fault::{Code, Fault};

/// What stands at a path.
#[derive(Debug)]
struct Node {
    kind: Kind,
    /// A directory that was made because something lies in it, and may still be named itself.
    implied: bool,
}

/// What stands at each path; every path is claimed before anything is written there.
#[derive(Debug)]
pub(super) struct Nodes<'a> {
    by_path: BTreeMap<String, Node>,
    /// Bytes of all paths and targets together.
    names: usize,
    limits: &'a Limits,
}

impl<'a> Nodes<'a> {
    pub(super) fn new(limits: &'a Limits) -> Self {
        Self { by_path: BTreeMap::new(), names: 0, limits }
    }

    /// What stands at a path.
    pub(super) fn kind(&self, path: &str) -> Option<&Kind> {
        self.by_path.get(path).map(|node| &node.kind)
    }

    /// Takes a path that nothing has taken before.
    pub(super) fn claim(&mut self, path: &str, kind: Kind) -> Result<(), Fault> {
        self.insert(path, kind, false)
    }

    /// Takes the path of a directory that is not named itself, not yet at least.
    pub(super) fn imply(&mut self, path: &str, mode: u32) -> Result<(), Fault> {
        self.insert(path, Kind::Directory { mode }, true)
    }

    /// Whether a directory was implied until now, when it is named.
    pub(super) fn was_implied(&mut self, path: &str) -> bool {
        self.by_path.get_mut(path).is_some_and(|node| std::mem::take(&mut node.implied))
    }

    fn insert(&mut self, path: &str, kind: Kind, implied: bool) -> Result<(), Fault> {
        if self.by_path.contains_key(path) {
            return Err(refuse(path, "is in the archive twice"));
        }
        self.names += path.len();
        if let Kind::Link { target } = &kind {
            self.names += target.len();
        }
        if self.by_path.len() >= self.limits.entries {
            return Err(too_much(&format!("it holds more than {} entries", self.limits.entries), path));
        }
        if self.names > self.limits.names {
            return Err(too_much("its paths are too long altogether", path));
        }
        self.by_path.insert(path.to_owned(), Node { kind, implied });
        Ok(())
    }

    /// Notes the digest of a file that has been written.
    pub(super) fn seal(&mut self, path: &str, digest: Digest) {
        if let Some(Node { kind: Kind::File { sha256, .. }, .. }) = self.by_path.get_mut(path) {
            *sha256 = digest;
        }
    }

    /// The links and their targets, sorted by path.
    pub(super) fn links(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        self.by_path.iter().filter_map(|(path, node)| match &node.kind {
            Kind::Link { target } => Some((path.as_str(), target.as_str())),
            _ => None,
        })
    }

    /// The manifest of it all, unless there are only directories.
    pub(super) fn into_manifest(self, notes: Vec<String>) -> Result<Manifest, Fault> {
        if self.by_path.values().all(|node| matches!(node.kind, Kind::Directory { .. })) {
            return Err(Fault::new(Code::InvalidSource, "the archive holds no files"));
        }
        let entries = self.by_path.into_iter().map(|(path, node)| Entry { path, kind: node.kind });
        Ok(Manifest::new(entries.collect(), notes))
    }
}
