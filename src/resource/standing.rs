//! A process that goes on as it is while what it was started from changes.
//!
//! Nothing is done to it. But when the change is undone, what it was started from looks newer than the
//! process, though it is the same again. So undoing notes that the process that was found is still as good
//! as then; the note counts only for that very start of it, and lies in `/run`.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Resource, State, service::is_fresh};
use crate::{
    domain::layout::{HostPath, UnitName, host},
    system::{Host, systemd::invocation},
};

/// A process that is left alone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Standing {
    /// Its unit.
    pub unit: UnitName,
    /// What it was started from.
    pub inputs: Vec<HostPath>,
}

/// The process as it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Which start of the unit runs; empty when none does.
    id: String,
    /// Whether it was started after the last change to its inputs.
    fresh: bool,
}

impl Resource for Standing {
    const KIND: &'static str = "standing";
    type Found = Found;

    fn name(&self) -> String {
        self.unit.to_string()
    }
    fn observe(&self, host: &Host) -> Result<Found> {
        let Some(start) = invocation(&host.root, &self.unit)? else { return Ok(Found::default()) };
        Ok(Found { fresh: is_fresh(&self.unit, &start, &self.inputs, host)?, id: start.id })
    }
    fn compare(&self, _: &Found) -> State {
        State::Differs("goes on as it is".into())
    }
    fn apply(&self, _: &mut Host) -> Result<()> {
        Ok(())
    }
    fn restore(&self, found: &Found, host: &mut Host) -> Result<()> {
        let now = self.observe(host)?;
        if found.fresh && now.id == found.id && !now.fresh {
            return host.root.link(&host::vouched(&self.unit), &found.id);
        }
        Ok(())
    }
    fn title(&self, _removing: bool) -> Option<&'static str> {
        None
    }
    #[cfg(test)]
    fn sample() -> Option<Self> {
        None
    }
}
