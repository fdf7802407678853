//! Which symbolic links an archive may hold: those that end at something inside of it.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::path::split;
use super::staging::Writer;
use super::{quoted, refuse};
use crate::domain::fault::Fault;

/// Makes these links, given with their targets and sorted by path, and refuses one that leads outside.
///
/// Everything else has been written: nothing may be written once there are links.
pub(super) fn make<'t>(
    links: impl Iterator<Item = (&'t str, &'t str)> + Clone,
    root: BorrowedFd<'_>,
    writer: &mut Writer<'_>,
) -> anyhow::Result<()> {
    let all: HashMap<_, _> = links.clone().collect();
    let mut inner = Vec::new();
    for (path, target) in links {
        if !is_interpreter(path, &all) {
            check_target(path, target)?;
            inner.push((path, target));
        }
        writer.link(path, target)?;
    }
    for (path, target) in inner {
        check_resolves(root, path, target)?;
    }
    Ok(())
}

/// Whether a link is the interpreter of a virtual environment, the one thing that may lie outside.
///
/// `bin/python3 -> /usr/bin/python3.11` is; so is `bin/python -> python3` beside it.
fn is_interpreter(path: &str, links: &HashMap<&str, &str>) -> bool {
    let (bin, _) = split(path);
    let (environment, name) = split(bin);
    if name != "bin" || !matches!(split(environment).1, "venv" | ".venv") {
        return false;
    }
    let mut path = path.to_owned();
    // Venvs have three such links; a longer chain is a loop or a game.
    for _ in 0..8 {
        let Some(target) = links.get(path.as_str()) else { return false };
        if let Some(version) = target.strip_prefix("/usr/bin/python3") {
            return version.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        }
        if target.contains('/') {
            return false;
        }
        path = format!("{bin}/{target}");
    }
    false
}

/// Refuses a link, by its text alone, that cannot be right.
fn check_target(path: &str, target: &str) -> Result<(), Fault> {
    if target.is_empty() {
        return Err(refuse(path, "is a link without a target"));
    }
    if target.starts_with('/') {
        return Err(refuse(path, format!("is a link to the absolute path {}", quoted(target))));
    }
    Ok(())
}

/// Lets the kernel walk a link that has been made, and refuses one that does not end inside.
///
/// No reading of the text can decide this: `a -> .` and `b -> a/..` are each harmless, together not.
fn check_resolves(root: BorrowedFd<'_>, path: &str, target: &str) -> anyhow::Result<()> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    let mut attempts = 0;
    let walked = loop {
        match rustix::fs::openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve) {
            // A rename anywhere on the host makes the kernel unsure about `..`; it asks to be asked again.
            Err(Errno::AGAIN | Errno::INTR) if attempts < 1000 => attempts += 1,
            other => break other,
        }
    };
    let target = quoted(target);
    let why = match walked {
        Ok(_) => return Ok(()),
        Err(Errno::XDEV) => format!("is a link that leads out of the archive: {target}"),
        Err(Errno::NOENT | Errno::NOTDIR) => format!("is a link to something that does not exist: {target}"),
        Err(Errno::LOOP) => format!("is a link that leads in a circle: {target}"),
        Err(Errno::NAMETOOLONG) => format!("is a link with a target that is too long: {target}"),
        Err(errno) => {
            return Err(anyhow::Error::new(errno).context(format!("cannot follow the link {}", quoted(path))));
        }
    };
    Err(refuse(path, why).into())
}
