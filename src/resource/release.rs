//! A sealed release: a tree that was made elsewhere and is put in its place whole.

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use super::{Resource, State};
use crate::{
    domain::{
        fault::{Code, Fault},
        layout::HostPath,
    },
    system::Host,
};

/// A release's tree and its manifest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Release {
    /// Where it lies.
    pub path: HostPath,
    /// What it holds, beside it.
    pub manifest: HostPath,
    /// Where it was made; sealed and synced before the operation began.
    pub staging: HostPath,
    /// Where it goes when it is taken away.
    pub trash: HostPath,
}

impl Release {
    fn trashed_manifest(&self) -> HostPath {
        self.trash.parent().join(&format!("{}.manifest", self.trash.file_name()))
    }
}

/// Moves an entry if it is there; fine when an earlier try has already moved it.
pub(super) fn shift(from: &HostPath, to: &HostPath, host: &mut Host) -> Result<bool> {
    if host.root.meta(from)?.is_none() {
        return Ok(host.root.meta(to)?.is_some());
    }
    host.root.rename(from, to)?;
    Ok(true)
}

impl Resource for Release {
    const KIND: &'static str = "release";
    /// Whether it is in its place.
    type Found = bool;

    fn name(&self) -> String {
        self.path.to_string()
    }
    fn observe(&self, host: &Host) -> Result<bool> {
        Ok(host.root.meta(&self.path)?.is_some())
    }
    fn compare(&self, found: &bool) -> State {
        if *found { State::Satisfied } else { State::Missing }
    }
    fn apply(&self, host: &mut Host) -> Result<()> {
        if host.root.meta(&self.path)?.is_some() || shift(&self.staging, &self.path, host)? {
            return Ok(());
        }
        bail!(
            Fault::new(Code::ReleaseNotFound, format!("`{}` is gone and cannot be made again", self.path))
                .next("deploy the source once more")
        )
    }
    fn restore(&self, found: &bool, host: &mut Host) -> Result<()> {
        if *found {
            if !shift(&self.trash, &self.path, host)? {
                bail!("`{}` is gone", self.path);
            }
            shift(&self.trashed_manifest(), &self.manifest, host)?;
        } else {
            shift(&self.path, &self.trash, host)?;
            shift(&self.manifest, &self.trashed_manifest(), host)?;
        }
        Ok(())
    }
    fn place(&self) -> Option<&HostPath> {
        Some(&self.path)
    }
    #[cfg(test)]
    fn sample() -> Option<Self> {
        None // needs a staged tree
    }
}
