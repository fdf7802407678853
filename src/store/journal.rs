//! Operations and their steps: who, when, what, and what was there before.

use anyhow::{Context, Result};
use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, TransactionBehavior, params};
use serde::Serialize;

use super::{Registry, Store};
use crate::plan::{Action, Plan, Step};

/// What an operation is for, and who wants it.
#[derive(Clone, Debug)]
pub struct Work {
    /// The command.
    pub verb: &'static str,
    /// The project, or nothing for the host.
    pub owner: String,
    /// Who called it.
    pub caller: String,
    /// When it began.
    pub now: Timestamp,
}

/// An operation that has not ended.
#[derive(Clone, Debug)]
pub struct OpenOperation {
    /// Its number.
    pub id: i64,
    /// The command.
    pub verb: String,
    /// The project, or nothing for the host.
    pub owner: String,
}

/// One row of the history.
#[derive(Clone, Debug, Serialize)]
pub struct OperationRow {
    /// Its number.
    pub id: i64,
    /// The command.
    pub verb: String,
    /// The project, or nothing for the host.
    pub project: String,
    /// `open`, `done` or `undone`.
    pub state: String,
    /// Who called it.
    pub caller: String,
    /// When it began.
    pub started_at: String,
    /// When it ended.
    pub ended_at: Option<String>,
    /// How it ended, in words.
    pub outcome: Option<String>,
}

impl Store {
    /// Writes the operation and every step with its before-image, in one commit, before anything acts.
    pub fn begin(&mut self, work: &Work, plan: &Plan) -> Result<i64> {
        self.wire.cross("begin:before")?;
        let tx = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        tx.execute(
            "INSERT INTO operation (verb, owner, state, caller, pid, started_at) VALUES (?1, ?2, 'open', ?3, ?4, ?5)",
            params![work.verb, work.owner, work.caller, std::process::id(), format!("{:.0}", work.now)],
        )?;
        let op = tx.last_insert_rowid();
        {
            let mut insert = tx.prepare("INSERT INTO step (operation, seq, body) VALUES (?1, ?2, ?3)")?;
            let due = plan.steps.iter().enumerate().filter(|(_, s)| s.action != Action::Keep);
            for (seq, step) in due {
                insert.execute(params![op, i64::try_from(seq)?, serde_json::to_string(step)?])?;
            }
        }
        tx.commit().context("writing the journal")?;
        self.wire.cross("begin:after")?;
        Ok(op)
    }

    /// Ends the operation and changes the registry in the same transaction: the commit point.
    pub fn close(
        &mut self,
        op: i64,
        state: &str,
        outcome: &str,
        now: Timestamp,
        registry: impl FnOnce(&Registry<'_>) -> Result<()>,
    ) -> Result<()> {
        self.wire.cross("close:before")?;
        let tx = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        registry(&Registry::new(&tx))?;
        let closed = tx.execute(
            "UPDATE operation SET state = ?2, outcome = ?3, ended_at = ?4 WHERE id = ?1 AND state = 'open'",
            params![op, state, outcome, format!("{now:.0}")],
        )?;
        anyhow::ensure!(closed == 1, "operation {op} is closed already");
        // Only an open operation needs its before-images, and they are the bulk of the file.
        tx.execute("DELETE FROM step WHERE operation = ?1", [op])?;
        tx.commit().context("closing the journal")?;
        self.wire.cross("close:after")
    }

    /// Changes the registry outside any operation: nothing on the host goes with it.
    pub fn change(&mut self, registry: impl FnOnce(&Registry<'_>) -> Result<()>) -> Result<()> {
        self.wire.cross("change:before")?;
        let tx = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        registry(&Registry::new(&tx))?;
        tx.commit().context("writing the registry")?;
        self.wire.cross("change:after")
    }

    /// Records something that was done and changed nothing: a secret that was shown.
    pub fn note(&mut self, work: &Work, what: &str) -> Result<()> {
        self.enter(work, "done", what)
    }

    /// Records something that failed before it changed anything.
    pub fn fail(&mut self, work: &Work, why: &str) -> Result<()> {
        self.enter(work, "undone", why)
    }

    fn enter(&mut self, work: &Work, state: &str, what: &str) -> Result<()> {
        self.wire.cross("note:before")?;
        let now = format!("{:.0}", work.now);
        self.db
            .execute(
                "INSERT INTO operation (verb, owner, state, caller, pid, started_at, ended_at, outcome)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7)",
                params![work.verb, work.owner, state, work.caller, std::process::id(), now, what],
            )
            .context("writing the journal")?;
        self.wire.cross("note:after")
    }

    /// The newest operations of one kind on an owner that have ended, newest first.
    pub fn operations(&self, owner: &str, verb: &str, limit: usize) -> Result<Vec<OperationRow>> {
        let mut query = self.db.prepare(
            "SELECT id, verb, owner, state, caller, started_at, ended_at, outcome FROM operation
             WHERE owner = ?1 AND verb = ?2 AND state <> 'open' ORDER BY id DESC LIMIT ?3",
        )?;
        let rows = query.query_map(params![owner, verb, i64::try_from(limit)?], raw_operation)?;
        Ok(rows.collect::<std::result::Result<_, _>>()?)
    }

    /// The operations that have not ended, oldest first.
    pub fn open_operations(&self) -> Result<Vec<OpenOperation>> {
        let mut query =
            self.db.prepare("SELECT id, verb, owner FROM operation WHERE state = 'open' ORDER BY id")?;
        let rows = query
            .query_map([], |r| Ok(OpenOperation { id: r.get(0)?, verb: r.get(1)?, owner: r.get(2)? }))?;
        Ok(rows.collect::<std::result::Result<_, _>>()?)
    }

    /// Whether the operation is still open.
    pub fn is_open(&self, op: i64) -> Result<bool> {
        let state: Option<String> =
            self.db.query_row("SELECT state FROM operation WHERE id = ?1", [op], |r| r.get(0)).optional()?;
        Ok(state.as_deref() == Some("open"))
    }

    /// The steps of an open operation, in the order they were to be done.
    pub fn steps(&self, op: i64) -> Result<Vec<Step>> {
        let mut query = self.db.prepare("SELECT body FROM step WHERE operation = ?1 ORDER BY seq")?;
        let bodies: Vec<String> =
            query.query_map([op], |r| r.get(0))?.collect::<std::result::Result<_, _>>()?;
        bodies
            .iter()
            .map(|b| serde_json::from_str(b).context("reading the journal; is this an older hostkit?"))
            .collect()
    }

    /// The history, newest first.
    pub fn history(&self, project: Option<&str>, limit: usize) -> Result<Vec<OperationRow>> {
        let mut query = self.db.prepare(
            "SELECT id, verb, owner, state, caller, started_at, ended_at, outcome FROM operation
             WHERE ?1 IS NULL OR owner = ?1 ORDER BY id DESC LIMIT ?2",
        )?;
        let rows = query.query_map(params![project, i64::try_from(limit)?], raw_operation)?;
        Ok(rows.collect::<std::result::Result<_, _>>()?)
    }
}

fn raw_operation(row: &Row<'_>) -> rusqlite::Result<OperationRow> {
    Ok(OperationRow {
        id: row.get(0)?,
        verb: row.get(1)?,
        project: row.get(2)?,
        state: row.get(3)?,
        caller: row.get(4)?,
        started_at: row.get(5)?,
        ended_at: row.get(6)?,
        outcome: row.get(7)?,
    })
}
