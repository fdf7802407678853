//! A project's database: its own role may work in it, and nobody else may even connect.
//!
//! It belongs to the superuser, so that the project cannot open it to others. The role is let in last:
//! until then nobody could have written there, and the superuser enters only a database like that.
//!
//! What a project has written is never dropped here: taking the database away renames it to `gone` and
//! ends its connections, and undoing renames it back. One that is empty goes at once.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Resource, State};
use crate::{
    domain::sql_name::SqlName,
    system::{
        Host,
        postgres::{self, CONNECTIONS, SUPERUSER},
    },
};

/// What the role may do with the database itself.
const RIGHTS: [&str; 3] = ["CONNECT", "CREATE", "TEMPORARY"];

/// A database.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Database {
    /// Its name.
    pub name: SqlName,
    /// The role that works in it.
    pub role: SqlName,
    /// What it is called once it has been taken away.
    pub gone: SqlName,
}

/// A database as it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    here: Option<postgres::Database>,
    /// It was taken away, with what is in it.
    gone: bool,
}

impl Database {
    fn wanted(&self) -> postgres::Database {
        postgres::Database {
            owner: SUPERUSER.to_owned(),
            connections: CONNECTIONS,
            open: true,
            access: RIGHTS.iter().map(|right| (self.role.to_string(), (*right).to_owned())).collect(),
        }
    }

    /// Makes it what `wanted` says, from whatever is there.
    fn put(&self, wanted: &postgres::Database, host: &mut Host) -> Result<()> {
        let mut now = self.observe(host)?;
        if now.here.is_none() && now.gone {
            host.postgres.rename_database(&self.gone, &self.name)?;
        } else if now.here.is_none() {
            host.postgres.create_database(&self.name)?;
        }
        now = self.observe(host)?;
        let let_in = |d: &postgres::Database| d.access.iter().any(|(role, _)| *role == self.role.as_str());
        if !now.here.as_ref().is_some_and(let_in) && !host.postgres.is_written(&self.name)? {
            let empty = postgres::Database { access: postgres::Access::new(), ..self.wanted() };
            host.postgres.put_database(self.name.as_str(), &empty)?;
            host.postgres.hand_over(&self.name, &self.role)?;
        }
        if now.here.as_ref() != Some(wanted) {
            host.postgres.put_database(self.name.as_str(), wanted)?;
        }
        Ok(())
    }
}

impl Resource for Database {
    const KIND: &'static str = "database";
    type Found = Found;

    fn name(&self) -> String {
        self.name.to_string()
    }
    fn observe(&self, host: &Host) -> Result<Found> {
        let here = host.postgres.database(self.name.as_str())?;
        let gone = here.is_none() && host.postgres.database(self.gone.as_str())?.is_some();
        Ok(Found { here, gone })
    }
    fn compare(&self, found: &Found) -> State {
        let Some(here) = &found.here else { return State::Missing };
        let wanted = self.wanted();
        if here.owner != wanted.owner {
            State::Differs(format!("owner {} → {}", here.owner, wanted.owner))
        } else if let Some((who, right)) = here.access.difference(&wanted.access).next() {
            let who = if who.is_empty() { "everybody" } else { who };
            State::Differs(format!("{who} has {right}"))
        } else if let Some((_, right)) = wanted.access.difference(&here.access).next() {
            State::Differs(format!("its role has no {right}"))
        } else if *here != wanted {
            State::Differs(if here.open { "another limit" } else { "closed to all" }.into())
        } else {
            State::Satisfied
        }
    }
    fn apply(&self, host: &mut Host) -> Result<()> {
        self.put(&self.wanted(), host)
    }
    fn restore(&self, found: &Found, host: &mut Host) -> Result<()> {
        if let Some(here) = &found.here {
            return self.put(here, host);
        }
        let Some(here) = self.observe(host)?.here else { return Ok(()) };
        // Nobody comes in, and nobody is there any more: what was written is seen by the question below.
        if here.open {
            let closed = postgres::Database { open: false, ..here };
            host.postgres.put_database(self.name.as_str(), &closed)?;
        }
        host.postgres.dismiss(&self.name, None)?;
        if found.gone || host.postgres.is_written(&self.name)? {
            host.postgres.rename_database(&self.name, &self.gone)
        } else {
            host.postgres.drop_database(&self.name)
        }
    }
    #[cfg(test)]
    fn sample() -> Option<Self> {
        let name = SqlName::own("sample_db");
        // The one role that is there on every server.
        Some(Self { gone: name.gone(2000), name, role: SqlName::own(SUPERUSER) })
    }
}
