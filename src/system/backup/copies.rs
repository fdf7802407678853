//! The copies of a project's data: taken from where they live, and put there.

use std::{
    fmt,
    io::{self, Read, Write},
    path::Path,
};

use anyhow::{Context, Result};

use super::{Table, database, tree};
use crate::system::{exec::Running, postgres::Login, process};

/// Taking copies of what a project stores, and putting them back into places made for them.
pub trait Copies: fmt::Debug {
    /// Writes a dump of a database. Says what tables it holds, and the server's version.
    fn dump(&self, who: &Login, out: &mut dyn Write) -> Result<(Vec<Table>, String)>;
    /// The tables of a database, counted.
    fn tables(&self, who: &Login) -> Result<Vec<Table>>;
    /// Loads a dump into an empty database.
    fn load(&mut self, who: &Login, from: &mut dyn Read) -> Result<()>;
    /// Writes what is below a directory, as an account with its group.
    fn pack(&self, tree: &Path, account: (u32, u32), out: &mut dyn Write) -> Result<()>;
    /// Puts what [`Self::pack`] wrote into an empty directory of the account's.
    fn unpack(&mut self, tree: &Path, account: (u32, u32), from: &mut dyn Read) -> Result<()>;
}

/// The programs of this host.
#[derive(Debug)]
pub struct Programs;

impl Copies for Programs {
    fn dump(&self, who: &Login, out: &mut dyn Write) -> Result<(Vec<Table>, String)> {
        database::dump(who, out).context("dumping the database")
    }
    fn tables(&self, who: &Login) -> Result<Vec<Table>> {
        database::tables(who).context("counting the rows of the database")
    }
    fn load(&mut self, who: &Login, from: &mut dyn Read) -> Result<()> {
        database::load(who, from).context("loading the database")
    }
    fn pack(&self, at: &Path, account: (u32, u32), out: &mut dyn Write) -> Result<()> {
        tree::pack(at, Some(account), out).with_context(|| format!("packing `{}`", at.display()))
    }
    fn unpack(&mut self, at: &Path, account: (u32, u32), from: &mut dyn Read) -> Result<()> {
        tree::unpack(at, Some(account), from).with_context(|| format!("unpacking `{}`", at.display()))
    }
}

/// How much is moved at a time, in bytes.
const PIECE: usize = 256 << 10;

/// Moves everything from one end to the other, unless somebody asks this process to stop.
pub(super) fn flow(from: &mut dyn Read, to: &mut dyn Write) -> Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        process::keep_going()?;
        match from.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(count) => to.write_all(&piece[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Has a program read everything, and waits for its end.
pub(super) fn feed(mut running: Running, from: &mut dyn Read) -> Result<()> {
    let mut stdin = running.stdin.take().context("its standard input")?;
    let fed = flow(from, &mut stdin);
    drop(stdin);
    match fed {
        // It stopped reading, and says why.
        Err(error) if is_broken_pipe(&error) => {
            running.finish()?;
            Err(error)
        }
        // What it was given was not whole; what it makes of that does not matter.
        Err(error) => Err(error),
        Ok(()) => running.finish(),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}
