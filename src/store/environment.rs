//! Versions of environments, and the vault's rows. Texts and values come and go sealed.

use anyhow::Result;
use rusqlite::{OptionalExtension, Row, params};

use super::{Registry, Store};
use crate::{
    domain::{env::EnvKey, release::ReleaseId, secret::Sealed},
    project::ProjectSpec,
};

/// How many versions of an environment are kept besides those that can be gone back to.
const KEPT: u32 = 100;

/// The project's part of an environment at one time.
#[derive(Clone, Debug)]
pub struct EnvironmentRow {
    /// Its number; the first is 1.
    pub version: u32,
    /// The text, sealed.
    pub text: Sealed,
    /// When it came about.
    pub changed_at: String,
    /// Who made it.
    pub changed_by: String,
    /// Which variables changed; never their values.
    pub what: String,
}

/// One version of a secret.
#[derive(Clone, Debug)]
pub struct SecretRow {
    /// Its name: the variable it becomes.
    pub name: EnvKey,
    /// Its number; the first is 1.
    pub version: u32,
    /// The value, sealed for project, name and version.
    pub value: Sealed,
    /// When it was set.
    pub changed_at: String,
    /// Who set it.
    pub changed_by: String,
}

impl Registry<'_> {
    /// Keeps a version of an environment, and forgets the oldest that nothing refers to.
    pub fn add_environment(&self, spec: &ProjectSpec, row: &EnvironmentRow) -> Result<()> {
        self.tx.execute(
            "INSERT INTO environment (uid, version, text, changed_at, changed_by, what)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![spec.uid, row.version, row.text.as_str(), row.changed_at, row.changed_by, row.what],
        )?;
        let needed: Vec<u32> = spec.lineage.iter().filter_map(|stand| stand.env).chain(spec.env).collect();
        self.tx.execute(
            "DELETE FROM environment WHERE uid = ?1 AND version <= ?2
             AND version NOT IN (SELECT value FROM json_each(?3))
             AND version NOT IN (SELECT env FROM release WHERE uid = ?1 AND env IS NOT NULL)",
            params![spec.uid, row.version.saturating_sub(KEPT), serde_json::to_string(&needed)?],
        )?;
        Ok(())
    }

    /// Remembers which environment a release ran with last.
    pub fn ran_with(&self, uid: u32, id: &ReleaseId, version: Option<u32>) -> Result<()> {
        self.tx.execute(
            "UPDATE release SET env = ?3 WHERE uid = ?1 AND id = ?2",
            params![uid, id.as_str(), version],
        )?;
        Ok(())
    }

    /// Puts a secret into the vault.
    pub fn put_secret(&self, uid: u32, row: &SecretRow) -> Result<()> {
        self.tx.execute(
            "INSERT INTO secret (uid, name, version, value, changed_at, changed_by)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![uid, row.name.as_str(), row.version, row.value.as_str(), row.changed_at, row.changed_by],
        )?;
        Ok(())
    }

    /// Takes the versions of a secret before `version` out of the vault.
    pub fn drop_secret(&self, uid: u32, name: &EnvKey, version: u32) -> Result<()> {
        self.tx.execute(
            "DELETE FROM secret WHERE uid = ?1 AND name = ?2 AND version < ?3",
            params![uid, name.as_str(), version],
        )?;
        Ok(())
    }

    /// Forgets the environments and the secrets of a project that is gone for good.
    pub fn forget_environment(&self, uid: u32) -> Result<()> {
        self.tx.execute("DELETE FROM environment WHERE uid = ?1", [uid])?;
        self.tx.execute("DELETE FROM secret WHERE uid = ?1", [uid])?;
        Ok(())
    }
}

impl Store {
    /// The versions of a project's environment, newest first.
    pub fn environments(&self, uid: u32) -> Result<Vec<EnvironmentRow>> {
        let mut query = self.db.prepare(
            "SELECT version, text, changed_at, changed_by, what FROM environment
             WHERE uid = ?1 ORDER BY version DESC",
        )?;
        let rows = query.query_map([uid], environment)?;
        Ok(rows.collect::<std::result::Result<_, _>>()?)
    }

    /// One version of a project's environment.
    pub fn environment(&self, uid: u32, version: u32) -> Result<Option<EnvironmentRow>> {
        let sql = "SELECT version, text, changed_at, changed_by, what FROM environment
                   WHERE uid = ?1 AND version = ?2";
        Ok(self.db.query_row(sql, [uid, version], environment).optional()?)
    }

    /// The number of the newest version of a project's environment; 0 when there is none.
    pub fn newest_environment(&self, uid: u32) -> Result<u32> {
        let sql = "SELECT coalesce(max(version), 0) FROM environment WHERE uid = ?1";
        Ok(self.db.query_row(sql, [uid], |r| r.get(0))?)
    }

    /// All that the vault has of a project: by name, newest first.
    pub fn secrets(&self, uid: u32) -> Result<Vec<SecretRow>> {
        let mut query = self.db.prepare(
            "SELECT name, version, value, changed_at, changed_by FROM secret
             WHERE uid = ?1 ORDER BY name, version DESC",
        )?;
        let raw = |r: &Row<'_>| {
            Ok((r.get::<_, String>(0)?, r.get(1)?, r.get::<_, String>(2)?, r.get(3)?, r.get(4)?))
        };
        let rows: Vec<_> = query.query_map([uid], raw)?.collect::<std::result::Result<_, _>>()?;
        let parse =
            |(name, version, value, changed_at, changed_by): (String, u32, String, String, String)| {
                let value = Sealed::from_text(value);
                Ok(SecretRow { name: name.parse()?, version, value, changed_at, changed_by })
            };
        rows.into_iter().map(parse).collect()
    }
}

fn environment(row: &Row<'_>) -> rusqlite::Result<EnvironmentRow> {
    Ok(EnvironmentRow {
        version: row.get(0)?,
        text: Sealed::from_text(row.get(1)?),
        changed_at: row.get(2)?,
        changed_by: row.get(3)?,
        what: row.get(4)?,
    })
}
