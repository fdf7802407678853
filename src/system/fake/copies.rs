//! A fake of the programs that copy data: a database is one text, a tree is copied as it is.

use std::{
    io::{Read, Write},
    path::Path,
};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::Fake;
use crate::system::backup::{Copies, Door, Table};

/// What a dump begins with.
const MAGIC: &str = "PGDMP ";

fn counted(text: &str) -> Vec<Table> {
    let rows = text.lines().count() as u64;
    let sum = Sha256::digest(text).iter().map(|b| format!("{b:02x}")).collect();
    vec![Table { name: "public.rows".into(), rows, sum }]
}

impl Fake {
    fn content(&self, database: &str) -> Result<String> {
        let state = self.world.state();
        state
            .contents
            .get(database)
            .cloned()
            .with_context(|| format!("database \"{database}\" does not exist"))
    }
}

impl Copies for Fake {
    fn dump(&self, door: &Door, out: &mut dyn Write) -> Result<(Vec<Table>, String)> {
        let text = self.content(&door.database)?;
        write!(out, "{MAGIC}{text}")?;
        Ok((counted(&text), "15.0".into()))
    }
    fn tables(&self, door: &Door) -> Result<Vec<Table>> {
        Ok(counted(&self.content(&door.database)?))
    }
    fn load(&mut self, door: &Door, from: &mut dyn Read) -> Result<()> {
        let mut text = String::new();
        from.read_to_string(&mut text)?;
        let Some(text) = text.strip_prefix(MAGIC) else {
            bail!("pg_restore: error: input file does not appear to be a valid archive");
        };
        if !self.content(&door.database)?.is_empty() {
            bail!("pg_restore: error: relation \"rows\" already exists");
        }
        self.effect("pg_restore", |state| {
            state.contents.insert(door.database.clone(), text.to_owned());
            Ok(())
        })
    }
    fn pack(&self, at: &Path, _account: (u32, u32), out: &mut dyn Write) -> Result<()> {
        // Not by the real program: a test that runs beside this one would find its locks held by a
        // child that has not yet become `tar`.
        let mut tar = tar::Builder::new(out);
        tar.follow_symlinks(false);
        tar.append_dir_all(".", at)?;
        Ok(tar.finish()?)
    }
    fn unpack(&mut self, at: &Path, _account: (u32, u32), from: &mut dyn Read) -> Result<()> {
        self.effect("tar", |_| {
            let mut tar = tar::Archive::new(from);
            tar.set_preserve_permissions(true);
            Ok(tar.unpack(at)?)
        })
    }
}
