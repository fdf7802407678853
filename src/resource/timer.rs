//! A timer that runs, by the definition it has now.
//!
//! Like a process, it is older or younger than its unit file; when it is older, systemd still goes by
//! what it once read.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Resource, State, unit::reload_if_due};
use crate::{
    domain::layout::{HostPath, UnitName},
    system::{Host, systemd::invocation},
};

/// A running timer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Timer {
    /// Its unit.
    pub unit: UnitName,
    /// The files it goes by.
    pub inputs: Vec<HostPath>,
}

/// A timer as it was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    running: bool,
    fresh: bool,
}

impl Resource for Timer {
    const KIND: &'static str = "timer";
    type Found = Found;

    fn name(&self) -> String {
        self.unit.to_string()
    }
    fn observe(&self, host: &Host) -> Result<Found> {
        let Some(start) = invocation(&host.root, &self.unit)? else { return Ok(Found::default()) };
        let mut fresh = true;
        for input in &self.inputs {
            fresh &= host.root.meta(input)?.is_some_and(|m| m.changed <= start.meta.changed);
        }
        Ok(Found { running: true, fresh })
    }
    fn compare(&self, found: &Found) -> State {
        match (found.running, found.fresh) {
            (false, _) => State::Missing,
            (true, true) => State::Satisfied,
            (true, false) => State::Differs("is older than its definition".into()),
        }
    }
    fn apply(&self, host: &mut Host) -> Result<()> {
        {
            let _held = host.hold("systemd")?;
            reload_if_due(host)?;
        }
        host.systemd.restart(&self.unit)
    }
    fn restore(&self, found: &Found, host: &mut Host) -> Result<()> {
        let now = self.observe(host)?;
        match (found.running, now.running && now.fresh) {
            (false, _) if now.running => host.systemd.stop(&self.unit),
            (false, _) | (true, true) => Ok(()),
            (true, false) => self.apply(host),
        }
    }
    fn follows(&self) -> &[HostPath] {
        &self.inputs
    }
    #[cfg(test)]
    fn sample() -> Option<Self> {
        None
    }
}
