//! When an application counts as healthy, and how long one that ends is given: who says what.

use super::config::HealthConfig;

/// How long requests may take that an ending process still answers, in seconds.
pub(super) const DRAIN: u32 = 30;

impl HealthConfig {
    /// The same, with what it leaves open filled in by the next in line: the administrator comes before
    /// the release, and the release before HostKit.
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
