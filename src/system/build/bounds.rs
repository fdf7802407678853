//! How much a build may use.

use std::time::Duration;

/// What a build may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Memory in bytes; never any swap.
    pub memory: u64,
    /// What the tree and the cache may hold together, in bytes.
    pub disk: u64,
    /// How long it may take.
    pub time: Duration,
    /// Processes and threads.
    pub tasks: u32,
    /// Hundredths of a processor.
    pub cpu: u32,
}
