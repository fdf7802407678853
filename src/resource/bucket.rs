//! A bucket of the host's own object store, with a quota.
//!
//! What people put into it is never deleted by an operation: a bucket that goes is given another name,
//! under which nobody looks for it, and can be had back under its own. What has such a name is emptied
//! and removed after the operation is closed.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Resource, State};
use crate::system::Host;

/// A bucket.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Bucket {
    /// Its name.
    pub bucket: String,
    /// How many bytes may lie in it.
    pub quota: u64,
    /// Its name when it is taken away.
    pub trash: String,
}

/// A bucket as it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    quota: Option<u64>,
}

impl Bucket {
    fn make(&self, quota: Option<u64>, host: &mut Host) -> Result<()> {
        if host.buckets.bucket(&self.trash)?.is_some() {
            host.buckets.rename(&self.trash, &self.bucket)?;
        }
        host.buckets.create(&self.bucket)?;
        host.buckets.limit(&self.bucket, quota)
    }
}

impl Resource for Bucket {
    const KIND: &'static str = "bucket";
    type Found = Option<Found>;

    fn name(&self) -> String {
        self.bucket.clone()
    }
    fn observe(&self, host: &Host) -> Result<Option<Found>> {
        Ok(host.buckets.bucket(&self.bucket)?.map(|b| Found { quota: b.quota }))
    }
    fn compare(&self, found: &Option<Found>) -> State {
        match found {
            None => State::Missing,
            Some(f) if f.quota == Some(self.quota) => State::Satisfied,
            Some(f) => {
                let before = f.quota.map_or_else(|| "none".to_owned(), |bytes| bytes.to_string());
                State::Differs(format!("quota {before} → {} bytes", self.quota))
            }
        }
    }
    fn apply(&self, host: &mut Host) -> Result<()> {
        self.make(Some(self.quota), host)
    }
    fn restore(&self, found: &Option<Found>, host: &mut Host) -> Result<()> {
        match found {
            Some(f) => self.make(f.quota, host),
            None if host.buckets.bucket(&self.bucket)?.is_none() => Ok(()),
            None => host.buckets.rename(&self.bucket, &self.trash),
        }
    }
    #[cfg(test)]
    fn sample() -> Option<Self> {
        Some(Self { bucket: "blog-assets".into(), quota: 1 << 30, trash: "blog-assets.2000.trash".into() })
    }
}
