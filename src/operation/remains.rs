//! What a deploy, a backup or a restore that died has left outside of every operation: processes that
//! nobody waits for any more, trees and files that are half-made. `doctor` names them; the next command that
//! changes the project takes them away.

use anyhow::Result;

use super::session::Session;
use crate::{
    domain::{layout::HostPath, name::ProjectName},
    system::systemd::invocation,
};

/// Something that was left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Remain {
    /// A build at work, or the file that says that one had begun.
    Build,
    /// What a fetch has brought, with the key that it was fetched with, and maybe the fetch itself.
    Fetch,
    /// A migration at work.
    Migration,
    /// A release that never became one.
    Tree(HostPath),
    /// A file that was not finished, or belongs to nothing.
    File(HostPath),
}

impl Remain {
    /// What it is, in words.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Build => "a build that nobody waits for any more".to_owned(),
            Self::Fetch => "a fetch that nobody waits for any more".to_owned(),
            Self::Migration => "a migration that nobody waits for any more".to_owned(),
            Self::Tree(path) => format!("a release that was not finished, `{path}`"),
            Self::File(path) => format!("a file that was not finished, `{path}`"),
        }
    }

    /// What is done with it.
    pub(super) fn done(&self) -> &'static str {
        match self {
            Self::Build | Self::Fetch | Self::Migration => "was ended",
            Self::Tree(_) | Self::File(_) => "was removed",
        }
    }

    /// Takes it away.
    pub(super) fn clear(&self, session: &mut Session<'_>, name: &ProjectName) -> Result<()> {
        let host = &mut session.host;
        match self {
            Self::Build => {
                host.systemd.forget(&name.build_unit())?;
                host.root.remove(&name.build_env())
            }
            Self::Fetch => {
                host.systemd.forget(&name.fetch_unit())?;
                host.root.shred(&name.fetched())
            }
            Self::Migration => host.systemd.stop(&name.release_unit()),
            Self::Tree(path) => host.root.shred(path),
            Self::File(path) => host.root.remove(path),
        }
    }
}

/// What was left of a project's commands, in the order in which it is to be taken away: who writes goes
/// before what is written to. Means something only while the project's lock says that nobody is at work.
pub(super) fn find(session: &Session<'_>, name: &ProjectName) -> Result<Vec<Remain>> {
    const HALF: &str = ".hostkit-new";
    let root = &session.host.root;
    let mut found = Vec::new();
    // The file says that a build has begun and nobody saw its end.
    if root.meta(&name.build_env())?.is_some() || invocation(root, &name.build_unit())?.is_some() {
        found.push(Remain::Build);
    }
    if root.meta(&name.fetched())?.is_some() {
        found.push(Remain::Fetch);
    }
    if invocation(root, &name.release_unit())?.is_some() {
        found.push(Remain::Migration);
    }
    let backups = name.backups(session.project(name)?.spec.uid);
    let half = root.list(&backups)?.into_iter().filter(|entry| entry.ends_with(HALF));
    found.extend(half.map(|entry| Remain::File(backups.join(&entry))));
    let releases = name.releases();
    for entry in root.list(&releases)? {
        let path = releases.join(&entry);
        let release = entry.strip_prefix('.').and_then(|entry| entry.strip_suffix(".manifest"));
        if entry.starts_with(".staging-") {
            found.push(Remain::Tree(path));
        } else if entry.ends_with(HALF) {
            found.push(Remain::File(path));
        } else if let Some(release) = release
            && root.meta(&releases.join(release))?.is_none()
        {
            found.push(Remain::File(path));
        }
    }
    Ok(found)
}
