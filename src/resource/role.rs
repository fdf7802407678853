//! A role in PostgreSQL: who logs in to a project's database, and who owns what is in it.
//!
//! A role that owns something cannot be dropped, and what it owns may be all a project has. So taking it
//! away renames it to `gone`, and undoing renames it back. What is `gone` is dropped when nobody can have
//! it back. Of its password only a verifier is known here, and that is enough to put it back exactly.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Resource, State};
use crate::{
    domain::sql_name::SqlName,
    system::{Host, postgres},
};

/// How many connections one role may have at a time.
const CONNECTIONS: i32 = 20;

/// A role.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Role {
    /// Its name.
    pub name: SqlName,
    /// What it is called once it has been taken away.
    pub gone: SqlName,
    /// What its password is compared with; without one nobody logs in as it.
    pub verifier: Option<String>,
    /// The roles it is a member of.
    pub within: BTreeSet<SqlName>,
    /// Settings of its sessions.
    pub settings: BTreeMap<String, String>,
}

/// A role as it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    here: Option<postgres::Role>,
    /// It was taken away, and what it owns is still there.
    gone: bool,
}

impl Role {
    fn wanted(&self) -> postgres::Role {
        postgres::Role {
            login: self.verifier.is_some(),
            powers: BTreeSet::new(),
            verifier: self.verifier.clone(),
            connections: CONNECTIONS,
            within: self.within.iter().map(ToString::to_string).collect(),
            settings: self.settings.iter().map(|(k, v)| (k.clone(), Some(v.clone()))).collect(),
        }
    }

    fn keys(&self) -> BTreeSet<String> {
        self.settings.keys().cloned().collect()
    }

    /// Makes it what `wanted` says, from whatever is there.
    fn put(&self, wanted: &postgres::Role, host: &mut Host) -> Result<()> {
        let now = self.observe(host)?;
        if now.here.is_none() && now.gone {
            host.postgres.rename_role(&self.gone, &self.name)?;
        }
        if now.here.as_ref() != Some(wanted) {
            host.postgres.put_role(&self.name, wanted)?;
        }
        Ok(())
    }
}

impl Resource for Role {
    const KIND: &'static str = "role";
    type Found = Found;

    fn name(&self) -> String {
        self.name.to_string()
    }
    fn observe(&self, host: &Host) -> Result<Found> {
        let here = host.postgres.role(&self.name, &self.keys())?;
        let gone = here.is_none() && host.postgres.role(&self.gone, &BTreeSet::new())?.is_some();
        Ok(Found { here, gone })
    }
    fn compare(&self, found: &Found) -> State {
        let Some(here) = &found.here else { return State::Missing };
        let wanted = self.wanted();
        if here.powers != wanted.powers {
            State::Differs("has powers that no project has".into())
        } else if here.within != wanted.within {
            State::Differs("is a member of other roles".into())
        } else if (here.login, &here.verifier) != (wanted.login, &wanted.verifier) {
            State::Differs(if here.verifier.is_some() { "another password" } else { "no password" }.into())
        } else if *here != wanted {
            State::Differs("other limits".into())
        } else {
            State::Satisfied
        }
    }
    fn apply(&self, host: &mut Host) -> Result<()> {
        self.put(&self.wanted(), host)
    }
    fn restore(&self, found: &Found, host: &mut Host) -> Result<()> {
        match &found.here {
            Some(here) => self.put(here, host),
            None if self.observe(host)?.here.is_none() => Ok(()),
            None if host.postgres.is_owner(&self.name)? => host.postgres.rename_role(&self.name, &self.gone),
            None => host.postgres.drop_role(&self.name),
        }
    }
    #[cfg(test)]
    fn sample() -> Option<Self> {
        Some(Self {
            name: SqlName::own("sample_db"),
            gone: SqlName::own("sample_db").gone(2000),
            verifier: Some("SCRAM-SHA-256$4096:c2FtcGxl$c2FtcGxl:c2FtcGxl".into()),
            within: BTreeSet::new(),
            settings: [("temp_file_limit".to_owned(), "1GB".to_owned())].into(),
        })
    }
}
