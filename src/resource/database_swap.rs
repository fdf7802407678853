//! A database that takes the name of another, in one step, and can give it back in one.
//!
//! Which of the two has the name is told by what is there besides: the one that waits is called
//! `incoming`, the one that had the name before is called `aside`.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::{Resource, State};
use crate::{
    domain::sql_name::SqlName,
    system::{Host, postgres::Database},
};

/// One database in the place of another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DatabaseSwap {
    /// The name.
    pub name: SqlName,
    /// What the database is called that is to have it.
    pub incoming: SqlName,
    /// What the one is called that had it.
    pub aside: SqlName,
}

/// Whether a database still waits to have the name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    waiting: bool,
}

impl DatabaseSwap {
    /// Lets in whoever may work in the database, or nobody at all.
    fn open(&self, open: bool, host: &mut Host) -> Result<()> {
        let name = self.name.as_str();
        let now = host.postgres.database(name)?.with_context(|| format!("there is no database `{name}`"))?;
        if now.open == open { Ok(()) } else { host.postgres.put_database(name, &Database { open, ..now }) }
    }
}

impl Resource for DatabaseSwap {
    const KIND: &'static str = "database-swap";
    type Found = Found;

    fn name(&self) -> String {
        self.name.to_string()
    }
    fn observe(&self, host: &Host) -> Result<Found> {
        Ok(Found { waiting: host.postgres.database(self.incoming.as_str())?.is_some() })
    }
    fn compare(&self, found: &Found) -> State {
        if found.waiting { State::Differs("is replaced".into()) } else { State::Satisfied }
    }
    fn apply(&self, host: &mut Host) -> Result<()> {
        if self.observe(host)?.waiting {
            // A pool that opens its connections again at once would never let go of it.
            self.open(false, host)?;
            host.postgres.swap_databases(&self.name, &self.incoming, &self.aside)?;
        }
        self.open(true, host)
    }
    fn restore(&self, found: &Found, host: &mut Host) -> Result<()> {
        if !found.waiting {
            return Ok(());
        }
        if !self.observe(host)?.waiting {
            self.open(false, host)?;
            host.postgres.swap_databases(&self.name, &self.aside, &self.incoming)?;
        }
        self.open(true, host)
    }
    #[cfg(test)]
    fn sample() -> Option<Self> {
        None
    }
}
