//! A bucket that takes the name of another, and can give it back.
//!
//! The store takes a name away before it gives it to another bucket, so for a moment nothing is called so.
//! Which of the two has the name is told by what is there besides: the one that waits is called `incoming`,
//! the one that had the name before is called `aside`.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Resource, State};
use crate::system::Host;

/// One bucket in the place of another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BucketSwap {
    /// The name.
    pub bucket: String,
    /// What the bucket is called that is to have it.
    pub incoming: String,
    /// What the one is called that had it.
    pub aside: String,
}

/// Whether a bucket still waits to have the name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    waiting: bool,
}

impl Resource for BucketSwap {
    const KIND: &'static str = "bucket-swap";
    type Found = Found;

    fn name(&self) -> String {
        self.bucket.clone()
    }
    fn observe(&self, host: &Host) -> Result<Found> {
        Ok(Found { waiting: host.buckets.bucket(&self.incoming)?.is_some() })
    }
    fn compare(&self, found: &Found) -> State {
        if found.waiting { State::Differs("is replaced".into()) } else { State::Satisfied }
    }
    fn apply(&self, host: &mut Host) -> Result<()> {
        host.buckets.exchange(&self.bucket, &self.incoming, &self.aside)
    }
    fn restore(&self, found: &Found, host: &mut Host) -> Result<()> {
        if found.waiting { host.buckets.exchange(&self.bucket, &self.aside, &self.incoming) } else { Ok(()) }
    }
    #[cfg(test)]
    fn sample() -> Option<Self> {
        None // needs two buckets
    }
}
