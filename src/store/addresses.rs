//! What projects answer to, and what became of asking for certificates.

use anyhow::Result;
use jiff::Timestamp;
use rusqlite::{ErrorCode, OptionalExtension, params};

use super::{Registry, Store};
use crate::{
    domain::{
        address::Address,
        fault::{Code, Fault},
        name::ProjectName,
    },
    project::ProjectSpec,
};

/// A try to get a certificate that failed.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// For which address.
    pub address: String,
    /// When.
    pub at: Timestamp,
    /// Why it failed.
    pub problem: String,
}

impl Registry<'_> {
    /// Has a project answer to its addresses, and to no others; one that another project has is refused.
    pub(super) fn answer(&self, spec: &ProjectSpec) -> Result<()> {
        let project = spec.name.as_str();
        self.tx.execute("DELETE FROM address WHERE project = ?1", [project])?;
        for address in spec.addresses() {
            let written = self.tx.execute(
                "INSERT INTO address (name, project) VALUES (?1, ?2)",
                [&address.to_string(), project],
            );
            match written {
                Err(rusqlite::Error::SqliteFailure(error, _))
                    if error.code == ErrorCode::ConstraintViolation =>
                {
                    return Err(Fault::new(
                        Code::DomainTaken,
                        format!("`{address}` belongs to another project"),
                    )
                    .next("hostkit domain list")
                    .into());
                }
                other => other?,
            };
        }
        Ok(())
    }

    /// Nobody answers to what a project did.
    pub(super) fn silence(&self, project: &ProjectName) -> Result<()> {
        self.tx.execute("DELETE FROM address WHERE project = ?1", [project.as_str()])?;
        self.tx.execute("DELETE FROM attempt WHERE project = ?1", [project.as_str()])?;
        Ok(())
    }

    /// Records that a certificate was not to be had, and why; `project` is empty for the host.
    pub fn failed(&self, address: &Address, project: &str, at: Timestamp, problem: &str) -> Result<()> {
        self.tx.execute(
            "INSERT INTO attempt (address, project, at, problem) VALUES (?1, ?2, ?3, ?4)",
            params![address.to_string(), project, format!("{at:.0}"), problem],
        )?;
        Ok(())
    }

    /// Forgets the tries for an address.
    pub fn succeeded(&self, address: &Address) -> Result<()> {
        self.tx.execute("DELETE FROM attempt WHERE address = ?1", [address.to_string()])?;
        Ok(())
    }
}

impl Store {
    /// The project that answers to an address.
    pub fn holder(&self, address: &Address) -> Result<Option<String>> {
        let found =
            self.db.query_row("SELECT project FROM address WHERE name = ?1", [address.to_string()], |row| {
                row.get(0)
            });
        Ok(found.optional()?)
    }

    /// The tries of a project that failed, the last one first; of the host with an empty name.
    pub fn attempts(&self, project: &str) -> Result<Vec<Attempt>> {
        let mut query = self.db.prepare(
            "SELECT address, at, problem FROM attempt WHERE project = ?1 ORDER BY at DESC, rowid DESC",
        )?;
        let raw = |row: &rusqlite::Row<'_>| Ok([row.get(0)?, row.get(1)?, row.get(2)?]);
        let rows: Vec<[String; 3]> =
            query.query_map([project], raw)?.collect::<std::result::Result<_, _>>()?;
        rows.into_iter()
            .map(|[address, at, problem]| Ok(Attempt { address, at: at.parse()?, problem }))
            .collect()
    }
}
