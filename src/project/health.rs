//! When an application counts as healthy, and how long one that ends is given.

use serde::{Deserialize, Serialize};

/// How long a release may take to become healthy unless somebody says otherwise, in seconds.
pub const TIMEOUT: u32 = 120;
/// How long requests may take that an ending process still answers, in seconds.
pub const DRAIN: u32 = 30;

/// What is said about an application's health. What is left open is for the next in line to say: the
/// administrator, the release, HostKit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HealthSettings {
    /// The path that is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The status it must answer with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// How long it may take to become healthy, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u32>,
    /// How long to wait after an answer that is not the right one, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<u32>,
    /// How long it must go on running after its first good answer, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace: Option<u32>,
    /// How long a process that ends may go on with what it is answering, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<u32>,
}

impl HealthSettings {
    /// The same, with what is left open filled in.
    #[must_use]
    pub fn or(self, next: &Self) -> Self {
        Self {
            path: self.path.or_else(|| next.path.clone()),
            status: self.status.or(next.status),
            timeout: self.timeout.or(next.timeout),
            interval: self.interval.or(next.interval),
            grace: self.grace.or(next.grace),
            drain: self.drain.or(next.drain),
        }
    }
}
