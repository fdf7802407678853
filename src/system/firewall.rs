//! The kernel's packet filter: a table of HostKit's own, beside whatever else is filtered.

use std::{fmt, io::Write, process::Stdio};

use anyhow::{Context, Result};

use super::exec::Tool;

/// The name of HostKit's table.
pub const TABLE: &str = "inet hostkit";

/// Looking at HostKit's table, and changing it.
pub trait Firewall: fmt::Debug {
    /// The table as the kernel has it, if it does.
    fn table(&self) -> Result<Option<String>>;
    /// Puts these rules in the table's place, all at once.
    fn load(&mut self, rules: &str) -> Result<()>;
    /// Takes the table away; fine when there is none.
    fn unload(&mut self) -> Result<()>;
}

/// `nft`.
#[derive(Debug)]
pub struct Nft;

fn nft() -> Result<Tool> {
    Tool::find("nft", "nftables")
}

impl Firewall for Nft {
    fn table(&self) -> Result<Option<String>> {
        // Without the program there can be no table; whoever wants one is told then.
        let Ok(nft) = nft() else { return Ok(None) };
        let ran = nft.output(["--stateless", "list", "table", "inet", "hostkit"])?;
        if ran.status.success() {
            return Ok(Some(ran.stdout));
        }
        if ran.stderr.contains("No such file or directory") {
            return Ok(None);
        }
        anyhow::bail!("`nft` failed ({}): {}", ran.status, super::exec::tail(&ran.stderr))
    }
    fn load(&mut self, rules: &str) -> Result<()> {
        // Added first, so that there is something to delete; the kernel takes all of it or nothing.
        feed(&format!("add table {TABLE}\ndelete table {TABLE}\n{rules}"))
    }
    fn unload(&mut self) -> Result<()> {
        feed(&format!("add table {TABLE}\ndelete table {TABLE}\n"))
    }
}

fn feed(rules: &str) -> Result<()> {
    let mut running = nft()?.start(["-f", "-"], Stdio::piped(), Stdio::null())?;
    let mut stdin = running.stdin.take().context("its standard input")?;
    let fed = stdin.write_all(rules.as_bytes());
    drop(stdin);
    running.finish().context("loading the rules of the packet filter")?;
    fed.context("handing the rules to `nft`")
}
