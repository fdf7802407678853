//! A project's database in a backup: the way into it, and another one beside it.

use std::io::Read;

use anyhow::{Result, bail};

use super::{ProjectSpec, Session};
use crate::{domain::secret::Secret, resource::Any, system::backup::Door};

/// What was loaded, and waits to take its place.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    /// What will change places.
    pub(super) swaps: Vec<Any>,
    /// The project's own variables.
    pub(super) users: Option<Secret>,
}

/// The project's way into its database, if it has one.
pub(super) fn door(_session: &Session<'_>, _spec: &ProjectSpec) -> Result<Option<Door>> {
    Ok(None)
}

/// Loads a dump into a new database beside the project's.
pub(super) fn load(_session: &mut Session<'_>, _spec: &ProjectSpec, _from: &mut dyn Read) -> Result<Any> {
    bail!("there is no database")
}

/// Drops the database that lies beside the project's.
pub(super) fn clear(_session: &mut Session<'_>, _spec: &ProjectSpec) -> Result<()> {
    Ok(())
}
