//! Taking a database back together with the code: it is loaded beside, and both change in one operation.

use anyhow::Result;
use jiff::Timestamp;

use super::{BackupId, Outcome, ProjectSpec, Scope, Session, choose, database};
use crate::{
    operation::backup::restore::{Piece, Restored, Terms, replace},
    project::{Launch, Stand},
};

/// How many tables are named one by one.
const NAMED: usize = 12;

/// What is in the database and not in a checkpoint of it, or the other way round.
#[derive(Clone, Debug)]
pub struct Loss {
    /// The checkpoint.
    pub checkpoint: BackupId,
    /// How old it is, in seconds.
    pub age: i64,
    /// Tables with the rows they have now and had then, where the two differ or their content does.
    pub tables: Vec<(String, u64, u64)>,
}

impl Loss {
    /// For whoever has to agree to it.
    pub fn words(&self) -> String {
        let minutes = self.age / 60;
        let age = match minutes {
            0 => format!("{} s", self.age),
            1..120 => format!("{minutes} min"),
            120..2880 => format!("{} h", minutes / 60),
            _ => format!("{} days", minutes / 1440),
        };
        let mut text = format!("\nit goes back to the checkpoint {}, made {age} ago; ", self.checkpoint);
        if self.tables.is_empty() {
            text.push_str("no table is otherwise now");
            return text;
        }
        text.push_str("what was written since is lost:");
        for (table, now, then) in self.tables.iter().take(NAMED) {
            text.push_str(&format!("\n  {table}  {now} rows now, {then} then"));
        }
        if let Some(more) = self.tables.len().checked_sub(NAMED).filter(|more| *more > 0) {
            text.push_str(&format!("\n  and {more} more tables"));
        }
        text
    }
}

/// What would be lost if the database went back to a checkpoint.
pub fn loss(session: &mut Session<'_>, spec: &ProjectSpec, id: &BackupId) -> Result<Loss> {
    let (_, reader) = choose(session, &spec.name, spec.uid, Scope::Checkpoint, Some(id))?;
    let then = &reader.manifest.contents.tables;
    let now = match database::door(session, spec)? {
        Some(door) => session.host.copies.tables(&door)?,
        None => Vec::new(),
    };
    let mut tables = Vec::new();
    for table in &now {
        let before = then.iter().find(|other| other.name == table.name);
        if before.is_none_or(|before| before != table) {
            tables.push((table.name.clone(), table.rows, before.map_or(0, |before| before.rows)));
        }
    }
    for table in then.iter().filter(|table| now.iter().all(|other| other.name != table.name)) {
        tables.push((table.name.clone(), 0, table.rows));
    }
    let made: Timestamp = id.at();
    Ok(Loss {
        checkpoint: id.clone(),
        age: session.host.clock.now().duration_since(made).as_secs().max(0),
        tables,
    })
}

/// Where the code goes at the same time.
#[derive(Clone, Debug)]
pub(in crate::operation) struct Onto {
    /// How many stands of the lineage stay below it.
    pub(in crate::operation) below: usize,
    /// The release and its environment.
    pub(in crate::operation) stand: Stand,
    /// How it runs.
    pub(in crate::operation) launch: Launch,
    /// Releases whose changes to the database are taken back.
    pub(in crate::operation) undone: Vec<crate::store::ReleaseRow>,
}

/// Takes the database and the code back, both or neither. The caller holds the project's lock.
pub(in crate::operation) fn retreat(
    session: &mut Session<'_>,
    spec: &ProjectSpec,
    id: &BackupId,
    onto: Onto,
) -> Result<(Outcome, Restored)> {
    let (id, mut reader) = choose(session, &spec.name, spec.uid, Scope::Checkpoint, Some(id))?;
    let only = std::iter::once(Piece::Database).collect();
    let terms = Terms { safety: Some(Scope::Checkpoint), vault: Vec::new(), onto: Some(onto) };
    replace(session, spec, id, &mut reader, &only, terms)
}
