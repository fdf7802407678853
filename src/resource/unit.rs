//! A unit file, whether it starts at boot, and systemd's knowledge of both.
//!
//! systemd reads a unit it has never seen when the unit is started, so a new file needs no
//! `daemon-reload`. A file that is changed or removed does. That one is due is written down before
//! the file is touched, and crossed out after the reload; so a crash in between is not forgotten.
//! The note lies in `/run`: a reboot reads everything anew by itself.

use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Resource, State, file::LIMIT};
use crate::{
    domain::layout::{HostPath, UnitName, host},
    system::{Attr, Host, systemd::invocation},
};

/// A unit file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Unit {
    /// Its name.
    pub unit: UnitName,
    /// Where it lies; follows from the name.
    pub path: HostPath,
    /// All of it.
    pub body: String,
    /// Whether it starts at boot.
    pub enabled: bool,
    /// What wants it at boot, such as `multi-user.target`.
    pub wanted_by: String,
}

/// A unit as it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    body: Option<String>,
    mode: u32,
    enabled: bool,
}

const MODE: u32 = 0o644;
/// How often systemd is told again to forget a unit, and how long it is given before.
const FORGET_TRIES: usize = 5;
const FORGET_PACE: Duration = Duration::from_millis(100);

impl Unit {
    /// A unit file with this text, for a unit that `wanted_by` starts.
    pub fn new(unit: UnitName, body: String, enabled: bool, wanted_by: &str) -> Self {
        Self { path: unit.file(), unit, body, enabled, wanted_by: wanted_by.to_owned() }
    }

    /// A piece of somebody else's unit, which systemd has surely read already.
    fn is_drop_in(&self) -> bool {
        self.unit.as_str().contains('/')
    }

    fn wants(&self) -> HostPath {
        host::unit(&format!("{}.wants", self.wanted_by)).join(self.unit.as_str())
    }

    /// Has systemd forget a unit whose file is gone. It keeps one whose last process it has not yet
    /// seen to be gone when it reads its files, and does not come back to that by itself.
    fn forget(&self, host: &mut Host) -> Result<()> {
        for _ in 0..FORGET_TRIES {
            if !host.systemd.list()?.contains_key(self.unit.as_str()) {
                break;
            }
            host.clock.sleep(FORGET_PACE);
            host.systemd.reload()?;
        }
        Ok(())
    }

    fn enable(&self, enabled: bool, host: &mut Host) -> Result<()> {
        let wants = self.wants();
        let target = self.path.to_string();
        if !enabled {
            return host.root.remove(&wants);
        }
        if host.root.meta(&wants.parent())?.is_none() {
            host.root.mkdir(&wants.parent(), Attr::root(0o755), None)?;
        }
        if host.root.target(&wants)?.as_deref() == Some(target.as_str()) {
            return Ok(());
        }
        host.root.link(&wants, &target)
    }
}

/// Has systemd read its unit files again if a change of ours is waiting for that.
pub(super) fn reload_if_due(host: &mut Host) -> Result<()> {
    if host.root.meta(&host::reload_pending())?.is_some() {
        host.systemd.reload()?;
        host.root.remove(&host::reload_pending())?;
    }
    Ok(())
}

fn reload_is_due(host: &mut Host) -> Result<()> {
    if host.root.meta(&host::run())?.is_none() {
        host.root.mkdir(&host::run(), Attr::root(0o711), None)?;
    }
    host.root.replace(&host::reload_pending(), b"", Attr::root(0o600))
}

impl Resource for Unit {
    const KIND: &'static str = "unit";
    type Found = Found;

    fn name(&self) -> String {
        self.unit.to_string()
    }
    fn observe(&self, host: &Host) -> Result<Found> {
        let body = host.root.read(&self.path, LIMIT)?.map(|b| String::from_utf8_lossy(&b).into_owned());
        let mode = host.root.meta(&self.path)?.map_or(0, |m| m.attr.mode);
        Ok(Found { body, mode, enabled: host.root.meta(&self.wants())?.is_some() })
    }
    fn compare(&self, found: &Found) -> State {
        match &found.body {
            None => State::Missing,
            Some(body) if *body != self.body => State::Differs("content".into()),
            Some(_) if found.mode != MODE => State::Differs(format!("mode {:04o} → {MODE:04o}", found.mode)),
            Some(_) if found.enabled != self.enabled => {
                State::Differs(if self.enabled { "does not start at boot" } else { "starts at boot" }.into())
            }
            Some(_) => State::Satisfied,
        }
    }
    fn apply(&self, host: &mut Host) -> Result<()> {
        // Another project's reload must not take away the note between it and the write.
        let _held = host.hold("systemd")?;
        let now = self.observe(host)?;
        if now.body.as_ref() != Some(&self.body) || now.mode != MODE {
            // Known to systemd: as it was, or as missing where the file went while it ran.
            let known = now.body.is_some() || invocation(&host.root, &self.unit)?.is_some();
            if known || self.is_drop_in() {
                reload_is_due(host)?;
            }
            host.root.replace(&self.path, self.body.as_bytes(), Attr::root(MODE))?;
        }
        self.enable(self.enabled, host)?;
        reload_if_due(host)
    }
    fn restore(&self, found: &Found, host: &mut Host) -> Result<()> {
        let _held = host.hold("systemd")?;
        host.root.tidy(&self.path)?;
        host.root.tidy(&self.wants())?;
        host.root.tidy(&host::reload_pending())?;
        let now = self.observe(host)?;
        if now != *found {
            reload_is_due(host)?;
            self.enable(found.enabled, host)?;
            match &found.body {
                None => host.root.remove(&self.path)?,
                Some(body) => host.root.replace(&self.path, body.as_bytes(), Attr::root(found.mode))?,
            }
        }
        reload_if_due(host)?;
        if found.body.is_none() { self.forget(host) } else { Ok(()) }
    }
    fn place(&self) -> Option<&HostPath> {
        Some(&self.path)
    }
    #[cfg(test)]
    fn sample() -> Option<Self> {
        Some(Self::new(
            UnitName::own("hostkit-sample.service"),
            "[Service]\n".into(),
            true,
            "multi-user.target",
        ))
    }
}
