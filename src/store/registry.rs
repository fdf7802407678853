//! Projects, their releases, what is owned, and the trash. Written only when an operation closes.

use anyhow::{Context, Result};
use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::Store;
use crate::{
    domain::{
        fault::{Code, Fault},
        name::ProjectName,
        release::{ReleaseId, ReleaseState},
    },
    project::{Launch, Phase, ProjectSpec},
    resource::Any,
};

/// A project as the registry has it.
#[derive(Clone, Debug)]
pub struct ProjectRow {
    /// All that is needed to make it.
    pub spec: ProjectSpec,
    /// When it was made.
    pub created_at: String,
    /// Who made it.
    pub created_by: String,
}

/// A release as the registry has it.
#[derive(Clone, Debug)]
pub struct ReleaseRow {
    /// Its name.
    pub id: ReleaseId,
    /// Where it stands.
    pub state: ReleaseState,
    /// How it runs.
    pub launch: Launch,
    /// The version of the environment it ran with last.
    pub env: Option<u32>,
    /// What was done to the project's data before it went live.
    pub phase: Phase,
    /// Where it came from.
    pub source: String,
    /// Regular files in it.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When it was made.
    pub created_at: String,
    /// Who made it.
    pub created_by: String,
}

/// A deleted project that can still be had back.
#[derive(Clone, Debug)]
pub struct TrashRow {
    /// All that is needed to make it again.
    pub spec: ProjectSpec,
    /// What it owned.
    pub resources: Vec<Any>,
    /// When it was made.
    pub created_at: String,
    /// Who made it.
    pub created_by: String,
    /// When it was deleted.
    pub deleted_at: String,
    /// When it is lost.
    pub expires_at: String,
}

/// Writing, inside the transaction that closes an operation.
#[derive(Debug)]
pub struct Registry<'a> {
    pub(super) tx: &'a Transaction<'a>,
}

impl<'a> Registry<'a> {
    pub(super) fn new(tx: &'a Transaction<'a>) -> Self {
        Self { tx }
    }

    /// What the owner owns from now on.
    pub fn own<'r>(&self, owner: &str, resources: impl Iterator<Item = &'r Any>) -> Result<()> {
        let all: Vec<&Any> = resources.collect();
        self.tx.execute(
            "INSERT INTO owned (owner, resources) VALUES (?1, ?2)
             ON CONFLICT (owner) DO UPDATE SET resources = excluded.resources",
            params![owner, serde_json::to_string(&all)?],
        )?;
        Ok(())
    }

    /// Enters a project.
    pub fn add_project(&self, spec: &ProjectSpec, created_at: &str, created_by: &str) -> Result<()> {
        let written = self.tx.execute(
            "INSERT INTO project (name, uid, port, spec, created_at, created_by) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                spec.name.as_str(),
                spec.uid,
                spec.port.number(),
                serde_json::to_string(spec)?,
                created_at,
                created_by
            ],
        );
        written.map_err(|e| taken(e, spec))?;
        self.answer(spec)
    }

    /// Writes what a project is now.
    pub fn put_project(&self, spec: &ProjectSpec) -> Result<()> {
        let written = self.tx.execute(
            "UPDATE project SET port = ?2, spec = ?3 WHERE name = ?1",
            params![spec.name.as_str(), spec.port.number(), serde_json::to_string(spec)?],
        );
        written.map_err(|e| taken(e, spec))?;
        self.answer(spec)?;
        if let Some(id) = spec.live_release() {
            self.ran_with(spec.uid, id, spec.env)?;
        }
        Ok(())
    }

    /// Remembers that numbers up to `uid` have been given out.
    pub fn raise_uid(&self, uid: u32) -> Result<()> {
        self.tx.execute(
            "INSERT INTO setting (key, value) VALUES ('highest_uid', ?1)
             ON CONFLICT (key) DO UPDATE SET value = max(CAST(value AS INTEGER), CAST(excluded.value AS INTEGER))",
            [uid.to_string()],
        )?;
        Ok(())
    }

    /// Sets one of the host's settings.
    pub fn set(&self, key: &str, value: &str) -> Result<()> {
        self.tx.execute(
            "INSERT INTO setting (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            [key, value],
        )?;
        Ok(())
    }

    /// Forgets one of the host's settings.
    pub fn unset(&self, key: &str) -> Result<()> {
        self.tx.execute("DELETE FROM setting WHERE key = ?1", [key])?;
        Ok(())
    }

    /// Enters a release.
    pub fn put_release(&self, uid: u32, row: &ReleaseRow) -> Result<()> {
        self.tx.execute(
            "INSERT INTO release (uid, id, state, app, source, files, bytes, created_at, created_by, env, phase)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            params![
                uid,
                row.id.as_str(),
                row.state.text(),
                serde_json::to_string(&row.launch)?,
                row.source,
                i64::try_from(row.files)?,
                i64::try_from(row.bytes)?,
                row.created_at,
                row.created_by,
                row.env,
                serde_json::to_string(&row.phase)?
            ],
        )?;
        Ok(())
    }

    /// Writes anew what was done to the project's data for a release.
    pub fn put_phase(&self, uid: u32, id: &ReleaseId, phase: &Phase) -> Result<()> {
        self.tx.execute(
            "UPDATE release SET phase = ?3 WHERE uid = ?1 AND id = ?2",
            params![uid, id.as_str(), serde_json::to_string(phase)?],
        )?;
        Ok(())
    }

    /// Moves a release to another state.
    pub fn mark_release(&self, uid: u32, id: &ReleaseId, state: ReleaseState) -> Result<()> {
        self.tx.execute(
            "UPDATE release SET state = ?3 WHERE uid = ?1 AND id = ?2",
            params![uid, id.as_str(), state.text()],
        )?;
        Ok(())
    }

    /// Makes a release the live one; the one before retires.
    pub fn go_live(&self, uid: u32, id: &ReleaseId) -> Result<()> {
        self.tx.execute("UPDATE release SET state = 'retired' WHERE uid = ?1 AND state = 'live'", [uid])?;
        self.mark_release(uid, id, ReleaseState::Live)
    }

    /// Takes a project out of the registry and into the trash.
    pub fn trash(&self, row: &TrashRow) -> Result<()> {
        self.tx.execute(
            "INSERT INTO trash (uid, name, spec, resources, created_at, created_by, deleted_at, expires_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                row.spec.uid,
                row.spec.name.as_str(),
                serde_json::to_string(&row.spec)?,
                serde_json::to_string(&row.resources)?,
                row.created_at,
                row.created_by,
                row.deleted_at,
                row.expires_at
            ],
        )?;
        self.tx.execute("DELETE FROM project WHERE name = ?1", [row.spec.name.as_str()])?;
        self.tx.execute("DELETE FROM owned WHERE owner = ?1", [row.spec.name.as_str()])?;
        self.silence(&row.spec.name)
    }

    /// Takes a project out of the trash.
    pub fn untrash(&self, uid: u32) -> Result<()> {
        self.tx.execute("DELETE FROM trash WHERE uid = ?1", [uid])?;
        Ok(())
    }

    /// Forgets the releases of a project that is gone for good.
    pub fn forget_releases(&self, uid: u32) -> Result<()> {
        self.tx.execute("DELETE FROM release WHERE uid = ?1", [uid])?;
        Ok(())
    }
}

/// Names what a UNIQUE constraint stands for.
fn taken(error: rusqlite::Error, spec: &ProjectSpec) -> anyhow::Error {
    let text = error.to_string();
    if text.contains("project.port") {
        let port = spec.port;
        return Fault::new(Code::PortTaken, format!("port {port} belongs to another project"))
            .next("leave `--port` out and HostKit chooses a free one")
            .into();
    }
    anyhow::Error::new(error).context("writing the registry")
}

impl Store {
    /// What the owner owns: the resources of its last operation that closed.
    pub fn owned(&self, owner: &str) -> Result<Vec<Any>> {
        let text: Option<String> = self
            .db
            .query_row("SELECT resources FROM owned WHERE owner = ?1", [owner], |r| r.get(0))
            .optional()?;
        text.map_or_else(
            || Ok(Vec::new()),
            |t| serde_json::from_str(&t).context("reading the registry; was it written by a newer hostkit?"),
        )
    }

    /// One of the host's settings.
    pub fn setting(&self, key: &str) -> Result<Option<String>> {
        Ok(self.db.query_row("SELECT value FROM setting WHERE key = ?1", [key], |r| r.get(0)).optional()?)
    }

    /// The highest account number ever given out.
    pub fn highest_uid(&self) -> Result<Option<u32>> {
        Ok(self.setting("highest_uid")?.and_then(|v| v.parse().ok()))
    }

    /// One project.
    pub fn project(&self, name: &ProjectName) -> Result<Option<ProjectRow>> {
        let sql = "SELECT spec, created_at, created_by FROM project WHERE name = ?1";
        let row = self.db.query_row(sql, [name.as_str()], raw_project).optional()?;
        row.map(parse_project).transpose()
    }

    /// All projects by name.
    pub fn projects(&self) -> Result<Vec<ProjectRow>> {
        let mut query = self.db.prepare("SELECT spec, created_at, created_by FROM project ORDER BY name")?;
        let rows: Vec<_> = query.query_map([], raw_project)?.collect::<std::result::Result<_, _>>()?;
        rows.into_iter().map(parse_project).collect()
    }

    /// The ports that projects have.
    pub fn ports(&self) -> Result<std::collections::BTreeSet<u16>> {
        let mut query = self.db.prepare("SELECT port FROM project")?;
        Ok(query.query_map([], |r| r.get(0))?.collect::<std::result::Result<_, _>>()?)
    }

    /// The releases of a project, newest first, whatever their state.
    pub fn releases(&self, uid: u32) -> Result<Vec<ReleaseRow>> {
        let mut query = self.db.prepare(
            "SELECT id, state, app, source, files, bytes, created_at, created_by, env, phase FROM release
             WHERE uid = ?1 ORDER BY id DESC",
        )?;
        let raw = |r: &Row<'_>| {
            let texts: [String; 6] = [r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?, r.get(6)?, r.get(7)?];
            let phase: Option<String> = r.get(9)?;
            Ok((texts, r.get::<_, i64>(4)?, r.get::<_, i64>(5)?, r.get::<_, Option<u32>>(8)?, phase))
        };
        let rows: Vec<_> = query.query_map([uid], raw)?.collect::<std::result::Result<_, _>>()?;
        let parse = |([id, state, app, source, created_at, created_by], files, bytes, env, phase): (
            [String; 6],
            i64,
            i64,
            _,
            Option<String>,
        )| {
            let phase = phase.map(|text| serde_json::from_str(&text)).transpose();
            Ok(ReleaseRow {
                id: id.parse()?,
                state: state.parse()?,
                launch: serde_json::from_str(&app).context("reading a release's row")?,
                env,
                phase: phase.context("reading a release's row")?.unwrap_or_default(),
                source,
                files: u64::try_from(files)?,
                bytes: u64::try_from(bytes)?,
                created_at,
                created_by,
            })
        };
        rows.into_iter().map(parse).collect()
    }

    /// The deleted projects, newest first.
    pub fn trash(&self) -> Result<Vec<TrashRow>> {
        let mut query = self.db.prepare(
            "SELECT spec, resources, created_at, created_by, deleted_at, expires_at FROM trash ORDER BY deleted_at DESC, uid DESC",
        )?;
        let raw = |r: &Row<'_>| Ok([r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?, r.get(5)?]);
        let rows: Vec<[String; 6]> = query.query_map([], raw)?.collect::<std::result::Result<_, _>>()?;
        let parse = |[spec, resources, created_at, created_by, deleted_at, expires_at]: [String; 6]| {
            Ok(TrashRow {
                spec: serde_json::from_str(&spec).context("reading a deleted project's row")?,
                resources: serde_json::from_str(&resources).context("reading a deleted project's row")?,
                created_at,
                created_by,
                deleted_at,
                expires_at,
            })
        };
        rows.into_iter().map(parse).collect()
    }
}

fn raw_project(row: &Row<'_>) -> rusqlite::Result<(String, String, String)> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}

fn parse_project((spec, created_at, created_by): (String, String, String)) -> Result<ProjectRow> {
    let spec =
        serde_json::from_str(&spec).context("reading a project's row; was it written by a newer hostkit?")?;
    Ok(ProjectRow { spec, created_at, created_by })
}
