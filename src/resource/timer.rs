//! A timer that runs.
//!
//! systemd keeps no link for a timer as it does for a service, so it is asked. Whether the timer goes by
//! the definition it has now cannot be seen: whatever changes that starts the timer anew.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Resource, State, unit::reload_if_due};
use crate::{
    domain::layout::{HostPath, UnitName},
    system::Host,
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
}

impl Resource for Timer {
    const KIND: &'static str = "timer";
    type Found = Found;

    fn name(&self) -> String {
        self.unit.to_string()
    }
    fn observe(&self, host: &Host) -> Result<Found> {
        let known = host.systemd.list()?;
        Ok(Found { running: known.get(self.unit.as_str()).is_some_and(|status| status.active == "active") })
    }
    fn compare(&self, found: &Found) -> State {
        if found.running { State::Satisfied } else { State::Missing }
    }
    fn apply(&self, host: &mut Host) -> Result<()> {
        {
            let _held = host.hold("systemd")?;
            reload_if_due(host)?;
        }
        host.systemd.restart(&self.unit)
    }
    fn restore(&self, found: &Found, host: &mut Host) -> Result<()> {
        if found.running {
            return self.apply(host);
        }
        if self.observe(host)?.running { host.systemd.stop(&self.unit) } else { Ok(()) }
    }
    fn follows(&self) -> &[HostPath] {
        &self.inputs
    }
    #[cfg(test)]
    fn sample() -> Option<Self> {
        None
    }
}
