//! A fake of the programs that copy data: a database is one text, a tree is copied as it is.

use std::{
    io::{Read, Write},
    path::Path,
};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::Fake;
use crate::system::{
    backup::{Copies, Table},
    postgres::Login,
};

/// What a dump begins with.
const MAGIC: &str = "PGDMP ";

fn counted(contents: &[String]) -> Vec<Table> {
    let sum = Sha256::digest(contents.concat()).iter().map(|b| format!("{b:02x}")).collect();
    vec![Table { name: "public.rows".into(), rows: contents.len() as u64, sum }]
}

/// The database that an address names.
fn named(who: &Login) -> String {
    who.url.reveal().rsplit_once('/').map(|(_, name)| name.to_owned()).unwrap_or_default()
}

impl Fake {
    fn contents(&self, who: &Login) -> Result<Vec<String>> {
        let (state, name) = (self.world.state(), named(who));
        let kept = state.postgres.as_ref().and_then(|cluster| cluster.databases.get(&name));
        Ok(kept.with_context(|| format!("database \"{name}\" does not exist"))?.contents.clone())
    }
}

impl Copies for Fake {
    fn dump(&self, who: &Login, out: &mut dyn Write) -> Result<(Vec<Table>, String)> {
        let contents = self.contents(who)?;
        write!(out, "{MAGIC}{}", serde_json::to_string(&contents)?)?;
        Ok((counted(&contents), "15.0".into()))
    }
    fn tables(&self, who: &Login) -> Result<Vec<Table>> {
        Ok(counted(&self.contents(who)?))
    }
    fn load(&mut self, who: &Login, from: &mut dyn Read) -> Result<()> {
        let mut text = String::new();
        from.read_to_string(&mut text)?;
        let Some(text) = text.strip_prefix(MAGIC) else {
            bail!("pg_restore: error: input file does not appear to be a valid archive");
        };
        if !self.contents(who)?.is_empty() {
            bail!("pg_restore: error: relation \"rows\" already exists");
        }
        let contents: Vec<String> = serde_json::from_str(text)?;
        self.effect("pg_restore", |state| {
            let cluster = state.postgres.as_mut().context("it is installed")?;
            cluster.databases.get_mut(&named(who)).context("it was just there")?.contents = contents;
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
