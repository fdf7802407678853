//! What keeps a deploy from doing harm when nobody looks: how many there may be, when they stop, and how
//! long a new release is watched.

use serde::{Deserialize, Serialize};

/// A project's guard rails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rails {
    /// How many deploys there may be in an hour.
    pub hourly: u32,
    /// Whether many failures in a short time pause the project's deploys until somebody resumes them.
    pub pause: bool,
    /// How long a new release is watched for crashing again and again, in minutes; 0 is not at all.
    pub probation: u32,
    /// How long a migration may take, in seconds.
    pub release_timeout: u32,
    /// Since when deploys are paused, if they are.
    pub paused: Option<String>,
    /// When somebody resumed them: what failed before does not count.
    pub resumed: Option<String>,
    /// The release that was taken back last because it crashed again and again, until the next deploy.
    pub fallen: Option<Fallen>,
}

/// A release that was taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fallen {
    /// The release.
    pub release: String,
    /// When.
    pub at: String,
    /// What it did.
    pub why: String,
}

impl Default for Rails {
    fn default() -> Self {
        Self {
            hourly: 10,
            pause: false,
            probation: 5,
            release_timeout: 600,
            paused: None,
            resumed: None,
            fallen: None,
        }
    }
}
