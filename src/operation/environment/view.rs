//! Looking at a project's environment, as it is and as it was.

use anyhow::Result;

use super::{no_version, open, seal};
use crate::{
    domain::{
        env::{EnvKey, EnvText},
        name::ProjectName,
        secret::Sealed,
    },
    operation::session::Session,
    project::{ProjectSpec, env},
};

/// Where a variable comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// HostKit sets it.
    HostKit,
    /// It is in the vault.
    Vault,
    /// It is the project's.
    Project,
}

/// A project's environment as it is.
#[derive(Debug)]
pub struct View {
    /// The project.
    pub spec: ProjectSpec,
    /// HostKit's part, and the project's.
    pub whole: EnvText,
    /// The project's part alone.
    pub part: EnvText,
    /// The project's part, sealed: to tell later whether it is still the same.
    pub seen: Sealed,
}

impl View {
    /// Where a variable that is there comes from.
    pub fn from(&self, key: &EnvKey) -> From {
        let project = self.part.get(key).is_some();
        match (project, self.spec.injected.contains_key(key)) {
            (true, _) => From::Project,
            (_, true) => From::Vault,
            _ => From::HostKit,
        }
    }
}

/// Looks at a project's environment.
pub fn view(session: &Session<'_>, name: &ProjectName) -> Result<View> {
    let spec = session.project(name)?.spec;
    let file = env(&spec)?;
    let (whole, part) = (file.read(&session.host)?, file.part(&session.host)?.without(&file.own()));
    let seen = seal(&session.host, name, &part)?;
    Ok(View { spec, whole, part, seen })
}

/// The project's part as a version had it.
pub fn version(session: &Session<'_>, spec: &ProjectSpec, version: u32) -> Result<EnvText> {
    match session.store.environment(spec.uid, version)? {
        Some(row) => open(&session.host, &spec.name, &row.text),
        None => Err(no_version(&spec.name, version).into()),
    }
}
