//! How a source becomes what runs: the commands that make it, and those that change its data.

use serde::{Deserialize, Serialize};

use super::limits::Limits;
use crate::domain::command::StartCommand;

/// What detection says has to be done with a source. Every command is an argument vector: no shell reads
/// it. All of them run in the release's tree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipe {
    /// The framework in words for people (`Next.js (standalone)`); empty where there is none.
    pub framework: String,
    /// Fetch what the application depends on, one after the other.
    pub install: Vec<StartCommand>,
    /// The files that decide what `install` fetches, relative to the tree: as long as these are the same,
    /// so is what it makes.
    pub lockfiles: Vec<String>,
    /// What `install` makes, relative to the tree (`node_modules`, `.venv`).
    pub installed: Vec<String>,
    /// Make the release out of the source, one after the other.
    pub build: Vec<StartCommand>,
    /// How much both may use.
    #[serde(default)]
    pub limits: Limits,
    /// Change the database to what the release expects, once, before it runs.
    pub migrations: Vec<Migration>,
    /// How long each of these may take, in seconds, when the source says so.
    #[serde(default)]
    pub migration_timeout: Option<u32>,
}

/// One command of the release phase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Migration {
    /// The tool in words for people (`Prisma`), or where the command was found (`Procfile`).
    pub tool: String,
    /// What is run, as the project's account, in the release's tree.
    pub command: StartCommand,
}

impl Recipe {
    /// Whether there is anything to run before the release can be sealed.
    pub fn is_empty(&self) -> bool {
        self.install.is_empty() && self.build.is_empty()
    }
}
