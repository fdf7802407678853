//! A database of Redis that takes the number of another, in one step, and can give it back in one.
//!
//! The one that was loaded from a backup carries a mark; so where the mark is says which has the number.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Resource, State};
use crate::system::{Host, redis::Door};

/// One database in the place of another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RedisSwap {
    /// The project.
    pub user: String,
    /// The server.
    pub door: Door,
    /// The project's number.
    pub number: u32,
    /// The number under which the other one was loaded.
    pub scratch: u32,
}

/// Whether a database still waits to have the number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    waiting: bool,
}

impl Resource for RedisSwap {
    const KIND: &'static str = "redis-swap";
    type Found = Found;

    fn name(&self) -> String {
        self.user.clone()
    }
    fn observe(&self, host: &Host) -> Result<Found> {
        Ok(Found { waiting: host.redis.is_marked(&self.door, self.scratch)? })
    }
    fn compare(&self, found: &Found) -> State {
        if found.waiting { State::Differs("is replaced".into()) } else { State::Satisfied }
    }
    fn apply(&self, host: &mut Host) -> Result<()> {
        if self.observe(host)?.waiting {
            host.redis.swap(&self.door, self.number, self.scratch)?;
        }
        Ok(())
    }
    fn restore(&self, found: &Found, host: &mut Host) -> Result<()> {
        if found.waiting && host.redis.is_marked(&self.door, self.number)? {
            host.redis.swap(&self.door, self.number, self.scratch)?;
        }
        Ok(())
    }
    #[cfg(test)]
    fn sample() -> Option<Self> {
        None
    }
}
