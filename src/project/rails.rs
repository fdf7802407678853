//! What keeps a deploy from doing harm when nobody looks: how many there may be, when they stop, and how
//! long a new release is watched.

use serde::{Deserialize, Serialize};

use super::limits::Limits;

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
    /// How long a migration may take, in seconds; what a release says of its own counts before the usual.
    pub release_timeout: u32,
    /// The most that its builds may use.
    pub build: Limits,
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

impl Rails {
    /// How long a migration may take unless somebody says otherwise, in seconds.
    pub const RELEASE_TIMEOUT: u32 = 600;

    /// How long a migration may take: as the administrator says, else as the release says, else as is usual.
    pub fn patience(&self, said: Option<u32>) -> u32 {
        match self.release_timeout {
            Self::RELEASE_TIMEOUT => said.unwrap_or(Self::RELEASE_TIMEOUT),
            given => given,
        }
    }
}

impl Default for Rails {
    fn default() -> Self {
        Self {
            hourly: 10,
            pause: false,
            probation: 5,
            release_timeout: Self::RELEASE_TIMEOUT,
            build: Limits::default(),
            paused: None,
            resumed: None,
            fallen: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_administrator_says_of_migrations_comes_before_the_release() {
        let usual = Rails::default();
        assert_eq!((usual.patience(None), usual.patience(Some(1800))), (Rails::RELEASE_TIMEOUT, 1800));
        let given = Rails { release_timeout: 60, ..Rails::default() };
        assert_eq!((given.patience(None), given.patience(Some(1800))), (60, 60));
    }
}
