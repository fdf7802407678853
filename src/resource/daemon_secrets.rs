//! The secrets that a daemon is started with, in a file that systemd reads for it and only root can.
//!
//! They are made from the master key, each for its own purpose. So the file can be judged and made
//! again without its text being kept anywhere else.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Resource, State};
use crate::{
    domain::layout::HostPath,
    system::{Attr, Host},
};

/// Larger than any such file, in bytes.
const LIMIT: u64 = 64 << 10;
const MODE: u32 = 0o600;

/// A file of definitions `NAME=secret`, each secret 64 hexadecimal digits.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DaemonSecrets {
    /// Where it lies.
    pub path: HostPath,
    /// The names of the variables.
    pub names: Vec<String>,
}

/// Such a file as it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// It holds the secrets that belong to this host's master key.
    right: bool,
    uid: u32,
    gid: u32,
    mode: u32,
}

impl DaemonSecrets {
    fn text(&self, host: &Host) -> Result<Zeroizing<String>> {
        let mut text = Zeroizing::new(String::new());
        for name in &self.names {
            let key = host.vault.derive(&format!("daemon {} {name}", self.path))?;
            text.push_str(name);
            text.push('=');
            key.iter().for_each(|byte| text.push_str(&format!("{byte:02x}")));
            text.push('\n');
        }
        Ok(text)
    }
}

impl Resource for DaemonSecrets {
    const KIND: &'static str = "daemon-secrets";
    type Found = Option<Found>;

    fn name(&self) -> String {
        self.path.to_string()
    }
    fn observe(&self, host: &Host) -> Result<Option<Found>> {
        let Some(meta) = host.root.meta(&self.path)? else { return Ok(None) };
        let bytes = Zeroizing::new(host.root.read(&self.path, LIMIT)?.unwrap_or_default());
        // A host that is only asked what it would do may have no key yet, and then nothing is right.
        let right = self.text(host).is_ok_and(|text| text.as_bytes() == bytes.as_slice());
        let Attr { uid, gid, mode } = meta.attr;
        Ok(Some(Found { right, uid, gid, mode }))
    }
    fn compare(&self, found: &Option<Found>) -> State {
        match found {
            None => State::Missing,
            Some(f) if !f.right => State::Differs("content".into()),
            Some(f) if (f.uid, f.gid, f.mode) != (0, 0, MODE) => {
                State::Differs(format!("mode {:04o} {}:{} → {MODE:04o} 0:0", f.mode, f.uid, f.gid))
            }
            Some(_) => State::Satisfied,
        }
    }
    fn apply(&self, host: &mut Host) -> Result<()> {
        let text = self.text(host)?;
        host.root.replace(&self.path, text.as_bytes(), Attr::root(MODE))
    }
    fn restore(&self, found: &Option<Found>, host: &mut Host) -> Result<()> {
        host.root.tidy(&self.path)?;
        match found {
            None => host.root.remove(&self.path),
            Some(_) if self.observe(host)? == *found => Ok(()),
            // What it held that was not right is not kept: it opened nothing.
            Some(f) => {
                self.apply(host)?;
                host.root.set_attr(&self.path, Attr { uid: f.uid, gid: f.gid, mode: f.mode })
            }
        }
    }
    fn place(&self) -> Option<&HostPath> {
        Some(&self.path)
    }
    #[cfg(test)]
    fn sample() -> Option<Self> {
        Some(Self { path: HostPath::fixed("/home/some.secrets"), names: vec!["TOKEN".into()] })
    }
}
