//! The host's own object store, up and answering: the process of its unit, younger than what it was
//! started from.

use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Resource, State, service::is_fresh, unit::reload_if_due};
use crate::{
    domain::layout::{HostPath, UnitName},
    system::{Host, process, systemd::invocation},
};

/// How long it may take until it answers: it reads its tables first.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long to wait between two looks.
const PACE: Duration = Duration::from_millis(50);

/// The process of the object store.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ObjectStore {
    /// Its unit.
    pub unit: UnitName,
    /// What it is started from.
    pub inputs: Vec<HostPath>,
}

/// The process as it was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    running: bool,
    /// It was started after the last change to what it is started from.
    fresh: bool,
}

impl ObjectStore {
    fn start(&self, host: &mut Host) -> Result<()> {
        {
            let _held = host.hold("systemd")?;
            reload_if_due(host)?;
        }
        host.systemd.restart(&self.unit)?;
        let deadline = host.clock.elapsed() + PATIENCE;
        loop {
            process::keep_going()?;
            match host.buckets.ready() {
                Ok(()) => return Ok(()),
                Err(error) if host.clock.elapsed() >= deadline => return Err(error),
                Err(_) => host.clock.sleep(PACE),
            }
        }
    }
}

impl Resource for ObjectStore {
    const KIND: &'static str = "object-store";
    type Found = Found;

    fn name(&self) -> String {
        self.unit.to_string()
    }
    fn observe(&self, host: &Host) -> Result<Found> {
        let Some(start) = invocation(&host.root, &self.unit)? else { return Ok(Found::default()) };
        Ok(Found { running: true, fresh: is_fresh(&self.unit, &start, &self.inputs, host)? })
    }
    fn compare(&self, found: &Found) -> State {
        match (found.running, found.fresh) {
            (false, _) => State::Missing,
            (true, true) => State::Satisfied,
            (true, false) => State::Differs("is older than what it was started from".into()),
        }
    }
    fn apply(&self, host: &mut Host) -> Result<()> {
        self.start(host)
    }
    fn restore(&self, found: &Found, host: &mut Host) -> Result<()> {
        let now = self.observe(host)?;
        if found.running && !(now.running && now.fresh) {
            self.start(host)
        } else if !found.running && host.root.meta(&self.unit.file())?.is_some() {
            host.systemd.stop(&self.unit)
        } else {
            Ok(())
        }
    }
    fn follows(&self) -> &[HostPath] {
        &self.inputs
    }
    #[cfg(test)]
    fn sample() -> Option<Self> {
        None // needs its unit file
    }
}
