//! Proving a backup: everything in it is read, and its database is loaded and counted.

use std::{io, time::Instant};

use anyhow::{Result, bail};

use super::{
    BackupId, Mode, ProjectName, ProjectSpec, Scope, Session, choose, database,
    leftover::{clear, mark},
    write::DATABASE,
};
use crate::{
    domain::fault::{Code, Fault},
    event::Event,
    system::backup::{Opened, Table, cause},
};

/// What was proven of a backup.
#[derive(Clone, Debug)]
pub struct Verified {
    /// The backup.
    pub id: BackupId,
    /// How many bytes were read, as they were before they were packed.
    pub bytes: u64,
    /// The tables that came out of it as they went in; `None` when there was no database to load.
    pub tables: Option<Vec<Table>>,
}

/// Reads all of a backup, loads its database beside the project's, compares the tables, and drops it.
pub fn verify(session: &mut Session<'_>, name: &ProjectName, id: Option<&BackupId>) -> Result<Verified> {
    let _held = session.enter(name.as_str(), "backup")?;
    let spec = session.project(name)?.spec;
    let (id, mut reader) = choose(session, name, spec.uid, Scope::Backup, id)?;
    let bytes = reader.manifest.parts.iter().map(|part| part.bytes).sum();
    let holds = reader.manifest.parts.iter().any(|part| part.name == DATABASE);
    if session.mode == Mode::DryRun || !holds || spec.database.is_none() {
        reader.check()?;
        return Ok(Verified { id, bytes, tables: None });
    }
    session.require_space()?;
    let began = Instant::now();
    session.ui.emit(Event::Began { what: "loading", detail: id.as_str() });
    let note = mark(session, &spec, DATABASE)?;
    let compared = load(session, &spec, &mut reader);
    clear(session, &spec)?;
    session.host.root.remove(&note)?;
    let tables = compared?;
    let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    session.ui.emit(Event::Finished { what: "loading", detail: id.as_str(), ms });
    Ok(Verified { id, bytes, tables: Some(tables) })
}

fn load(session: &mut Session<'_>, spec: &ProjectSpec, reader: &mut Opened) -> Result<Vec<Table>> {
    clear(session, spec)?;
    let mut door = None;
    let read = reader.each(|part, from| {
        if part.name == DATABASE {
            door = Some(database::load(session, spec, from)?);
        } else {
            io::copy(from, &mut io::sink())?;
        }
        Ok(())
    });
    read.map_err(cause)?;
    let Some(door) = door else { return Ok(Vec::new()) };
    let found = session.host.copies.tables(&door)?;
    compare(&reader.manifest.contents.tables, &found)?;
    Ok(found)
}

/// Fails at the first table that is not as it was.
fn compare(wanted: &[Table], found: &[Table]) -> Result<()> {
    let unlike = |why: String| {
        Fault::new(Code::InvalidBackup, format!("the database does not come out as it went in: {why}"))
            .next("hostkit backup create NAME    # makes another one")
    };
    for table in wanted {
        match found.iter().find(|f| f.name == table.name) {
            None => bail!(unlike(format!("the table {} is missing", table.name))),
            Some(f) if f.rows != table.rows => {
                bail!(unlike(format!("the table {} has {} rows, and had {}", table.name, f.rows, table.rows)))
            }
            Some(f) if f.sum != table.sum => {
                bail!(unlike(format!("rows of the table {} are otherwise", table.name)))
            }
            Some(_) => {}
        }
    }
    match found.iter().find(|f| !wanted.iter().any(|w| w.name == f.name)) {
        Some(more) => bail!(unlike(format!("there was no table {}", more.name))),
        None => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_is_missing_shorter_longer_changed_or_new_is_named() {
        let table = |name: &str, rows, sum: &str| Table { name: name.into(), rows, sum: sum.into() };
        let was = [table("public.a", 2, "x"), table("public.b", 0, "0")];
        assert!(compare(&was, &was).is_ok());
        for bad in [
            vec![table("public.b", 0, "0")],
            vec![table("public.a", 1, "x"), table("public.b", 0, "0")],
            vec![table("public.a", 2, "y"), table("public.b", 0, "0")],
        ] {
            assert!(compare(&was, &bad).unwrap_err().to_string().contains("public.a"));
        }
        let more = [was.to_vec(), vec![table("public.c", 0, "0")]].concat();
        assert!(compare(&was, &more).unwrap_err().to_string().contains("public.c"));
    }
}
