//! A project's own files as they go into a backup and come out of one: by `tar`, under the project's
//! account, so that nothing is read or written that the project could not.

use std::{
    io::{Read, Write},
    path::Path,
    process::Stdio,
};

use anyhow::{Context, Result};

use super::{feed, flow};
use crate::system::exec::Tool;

/// `tar`, as an account or, where files are nobody's in particular, as ourselves.
fn tar(account: Option<(u32, u32)>) -> Result<Tool> {
    let tar = Tool::find("tar", "tar")?;
    Ok(match account {
        Some((uid, gid)) => tar.by(uid, gid),
        None => tar,
    })
}

/// Writes what is below a directory.
pub(in crate::system) fn pack(tree: &Path, account: Option<(u32, u32)>, out: &mut dyn Write) -> Result<()> {
    let words = ["--create", "--file=-", "--format=posix", "--one-file-system", "--sort=name", "--directory"];
    let arguments = words.iter().map(AsRef::as_ref).chain([tree.as_os_str(), ".".as_ref()]);
    let mut running = tar(account)?.start(arguments, Stdio::null(), Stdio::piped())?;
    let mut stdout = running.stdout.take().context("its standard output")?;
    flow(&mut stdout, out)?;
    drop(stdout);
    // 1: a file changed while it was read, which files of a living application do.
    running.finish_unless(|status| !matches!(status.code(), Some(0 | 1)))
}

/// Puts into a directory what [`pack`] wrote.
pub(in crate::system) fn unpack(tree: &Path, account: Option<(u32, u32)>, from: &mut dyn Read) -> Result<()> {
    let words = [
        "--extract",
        "--file=-",
        "--no-same-owner",
        "--same-permissions",
        "--delay-directory-restore",
        "--directory",
    ];
    let arguments = words.iter().map(AsRef::as_ref).chain([tree.as_os_str()]);
    feed(tar(account)?.start(arguments, Stdio::piped(), Stdio::null())?, from)
}
