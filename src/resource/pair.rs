//! A certificate and its key: made elsewhere, and put in their place together.

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use super::{Resource, State, release::shift};
use crate::{
    domain::{
        fault::{Code, Fault},
        layout::HostPath,
    },
    system::Host,
};

/// The directory of a certificate and its key. What is in it never changes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pair {
    /// Where it lies.
    pub path: HostPath,
    /// Where it was made, and checked, before the operation began.
    pub staging: HostPath,
    /// Where it goes when it is taken away.
    pub trash: HostPath,
}

impl Resource for Pair {
    const KIND: &'static str = "certificate";
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
            Fault::new(Code::CertificateMissing, format!("the certificate `{}` is gone", self.path))
                .next("hostkit ssl provision DOMAIN")
        )
    }
    fn restore(&self, found: &bool, host: &mut Host) -> Result<()> {
        let (from, to) = if *found { (&self.trash, &self.path) } else { (&self.path, &self.trash) };
        if !shift(from, to, host)? && *found {
            bail!("`{}` is gone", self.path);
        }
        Ok(())
    }
    fn place(&self) -> Option<&HostPath> {
        Some(&self.path)
    }
    #[cfg(test)]
    fn sample() -> Option<Self> {
        None // needs a staged pair
    }
}
