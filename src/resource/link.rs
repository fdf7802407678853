//! A symbolic link, replaced in one step.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Resource, State};
use crate::{
    domain::layout::HostPath,
    system::{FileKind, Host},
};

/// A symbolic link.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Link {
    /// Where it lies.
    pub path: HostPath,
    /// Where it points.
    pub target: String,
}

/// What was found in a link's place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Found {
    /// Nothing.
    #[default]
    Nothing,
    /// A link to this.
    Link(String),
    /// A file or directory.
    Other,
}

impl Resource for Link {
    const KIND: &'static str = "link";
    type Found = Found;

    fn name(&self) -> String {
        self.path.to_string()
    }
    fn observe(&self, host: &Host) -> Result<Found> {
        Ok(match host.root.meta(&self.path)? {
            None => Found::Nothing,
            Some(meta) if meta.kind == FileKind::Link => {
                host.root.target(&self.path)?.map_or(Found::Nothing, Found::Link)
            }
            Some(_) => Found::Other,
        })
    }
    fn compare(&self, found: &Found) -> State {
        match found {
            Found::Nothing => State::Missing,
            Found::Link(target) if *target == self.target => State::Satisfied,
            Found::Link(target) => State::Differs(format!("{target} → {}", self.target)),
            Found::Other => State::Differs("is not a link".into()),
        }
    }
    fn apply(&self, host: &mut Host) -> Result<()> {
        host.root.link(&self.path, &self.target)
    }
    fn restore(&self, found: &Found, host: &mut Host) -> Result<()> {
        host.root.tidy(&self.path)?;
        match found {
            Found::Nothing => host.root.remove(&self.path),
            _ if self.observe(host)? == *found => Ok(()),
            Found::Link(target) => host.root.link(&self.path, target),
            Found::Other => Ok(()),
        }
    }
    fn place(&self) -> Option<&HostPath> {
        Some(&self.path)
    }
    #[cfg(test)]
    fn sample() -> Option<Self> {
        Some(Self { path: HostPath::fixed("/home/sample"), target: "releases/1".into() })
    }
}
