//! A key to a bucket of the host's own object store.
//!
//! The store uses the identifier of a key once for ever: one that was removed cannot be made again. So
//! a key that goes only loses its rights, which can be undone, and is removed after the operation is
//! closed. Its identifier follows from its secret, so that what has the one has the other.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Resource, State};
use crate::{
    domain::secret::Sealed,
    system::{Host, objects::Rights},
};

/// What a project may do in its bucket: all with the objects, nothing with the bucket itself.
const RIGHTS: Rights = Rights { read: true, write: true, owner: false };

/// A key that opens one bucket.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BucketKey {
    /// Its identifier.
    pub id: String,
    /// Its secret.
    pub secret: Sealed,
    /// What the secret is sealed for.
    pub context: String,
    /// What it is called in the store, for people.
    pub label: String,
    /// The bucket it opens.
    pub bucket: String,
}

impl BucketKey {
    fn make(&self, rights: Rights, host: &mut Host) -> Result<()> {
        let secret = host.vault.open(&self.context, &self.secret)?;
        host.buckets.import(&self.id, &secret, &self.label)?;
        host.buckets.permit(&self.id, &self.bucket, rights)
    }
}

impl Resource for BucketKey {
    const KIND: &'static str = "bucket-key";
    type Found = Option<Rights>;

    fn name(&self) -> String {
        self.id.clone()
    }
    fn observe(&self, host: &Host) -> Result<Option<Rights>> {
        let rights = host.buckets.rights(&self.id, &self.bucket)?;
        Ok((rights != Rights::default()).then_some(rights))
    }
    fn compare(&self, found: &Option<Rights>) -> State {
        match found {
            None => State::Missing,
            Some(rights) if *rights == RIGHTS => State::Satisfied,
            Some(_) => State::Differs(format!("may do something else in `{}`", self.bucket)),
        }
    }
    fn apply(&self, host: &mut Host) -> Result<()> {
        self.make(RIGHTS, host)
    }
    fn restore(&self, found: &Option<Rights>, host: &mut Host) -> Result<()> {
        match found {
            Some(rights) => self.make(*rights, host),
            None if self.observe(host)?.is_none() => Ok(()),
            None => host.buckets.permit(&self.id, &self.bucket, Rights::default()),
        }
    }
    #[cfg(test)]
    fn sample() -> Option<Self> {
        None // needs its bucket
    }
}
