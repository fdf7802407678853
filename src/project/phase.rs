//! What is done to a project's data before a release goes live.

use serde::{Deserialize, Serialize};

use crate::domain::backup::BackupId;

/// The release phase of a release, for its record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Phase {
    /// What ran, one after the other.
    pub ran: Vec<Ran>,
    /// The database as it was before.
    pub checkpoint: Option<BackupId>,
    /// Whether there was something to run that somebody left out.
    pub skipped: bool,
    /// Whether what it did was taken back since, with the database.
    pub undone: bool,
}

/// A migration that ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ran {
    /// The tool in words for people.
    pub tool: String,
    /// What was called.
    pub command: String,
    /// How long it took, in milliseconds.
    pub ms: u64,
    /// How it ended, if not well.
    pub failed: Option<String>,
}

impl Phase {
    /// Whether the database may be another one than before.
    pub fn changed(&self) -> bool {
        !self.ran.is_empty()
    }

    /// What ran, in words: each tool once.
    pub fn tools(&self) -> String {
        let mut tools: Vec<&str> = self.ran.iter().map(|ran| ran.tool.as_str()).collect();
        tools.dedup();
        tools.join(", ")
    }
}
