//! Where the links of a built tree may lead: to the tree, to what releases share, and to the system's
//! Python from a virtual environment.

use std::{collections::BTreeMap, os::fd::OwnedFd};

use anyhow::Result;
use rustix::{
    fs::{Mode, OFlags, ResolveFlags},
    io::Errno,
};

use super::refuse;
use crate::domain::layout::HostPath;

/// What lies around a tree.
#[derive(Clone, Debug)]
pub struct Outside {
    /// Where the tree will lie.
    pub place: HostPath,
    /// What its links may lead to besides.
    pub shared: HostPath,
}

/// Refuses a link that leads out of the tree.
pub(super) fn check<'t>(
    root: &OwnedFd,
    links: impl Iterator<Item = (&'t str, &'t str)>,
    outside: &Outside,
) -> Result<()> {
    let all: BTreeMap<_, _> = links.collect();
    for (&path, &target) in &all {
        if is_python(path, target, &all) || is_shared(path, target, outside) {
            continue;
        }
        let inner = |at: &std::path::Path| at.to_str().map(str::to_owned);
        // An absolute path of the tree itself: right as soon as the tree is in its place.
        let below = std::path::Path::new(target).strip_prefix(outside.place.as_path()).ok().and_then(inner);
        let place = match &below {
            Some(below) if climbs("", below) => return Err(leads_out(path, target)),
            Some(below) if below.is_empty() => ".",
            Some(below) => below,
            None if target.starts_with('/') || climbs(parent(path), target) => {
                return Err(leads_out(path, target));
            }
            None => path,
        };
        resolve(root, place, path, target)?;
    }
    Ok(())
}

fn leads_out(path: &str, target: &str) -> anyhow::Error {
    let shown: String = target.chars().take(120).flat_map(char::escape_debug).collect();
    refuse(path, format!("is a link that leads out of the release, to `{shown}`"))
        .next("link to files of the release only, or to `shared` directories")
        .into()
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

/// The interpreter of a virtual environment: `bin/python3 -> /usr/bin/python3.11`, and beside it
/// `bin/python -> python3`.
fn is_python(path: &str, target: &str, all: &BTreeMap<&str, &str>) -> bool {
    let bin = parent(path);
    let named = path.rsplit('/').next().is_some_and(|name| name.starts_with("python"));
    if !named || bin.rsplit('/').next() != Some("bin") {
        return false;
    }
    let mut target = target.to_owned();
    // Virtual environments have three such links; a longer chain is a loop or a game.
    for _ in 0..8 {
        let version =
            ["/usr/bin/python3", "/usr/local/bin/python3"].iter().find_map(|p| target.strip_prefix(p));
        if let Some(version) = version {
            return version.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        }
        match all.get(format!("{bin}/{target}").as_str()) {
            Some(next) if !target.contains('/') => (*next).clone_into(&mut target),
            _ => return false,
        }
    }
    false
}

/// Whether the target, by its text alone, is one of the directories that releases share, or in one.
fn is_shared(path: &str, target: &str, outside: &Outside) -> bool {
    let start = outside.place.as_path().join(parent(path)).join(target);
    let mut at = std::path::PathBuf::new();
    for part in start.components() {
        match part {
            std::path::Component::ParentDir => {
                at.pop();
            }
            part => at.push(part),
        }
    }
    at.strip_prefix(outside.shared.as_path()).is_ok_and(|below| below.components().next().is_some())
}

/// Whether a relative path, read by its text from `dir`, is ever above the tree.
fn climbs(dir: &str, target: &str) -> bool {
    let mut depth = dir.split('/').filter(|part| !part.is_empty()).count();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." if depth == 0 => return true,
            ".." => depth -= 1,
            _ => depth += 1,
        }
    }
    false
}

/// Lets the kernel walk: no reading of the texts says where links end that lead through each other. One
/// that leads nowhere is fine, for nothing will ever come to be there.
fn resolve(root: &OwnedFd, place: &str, path: &str, target: &str) -> Result<()> {
    let flags = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    let mut attempts = 0;
    let walked = loop {
        match rustix::fs::openat2(root, place, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), flags) {
            // A rename anywhere on the host makes the kernel unsure about `..`.
            Err(Errno::AGAIN | Errno::INTR) if attempts < 1000 => attempts += 1,
            other => break other,
        }
    };
    match walked {
        Ok(_) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG) => Ok(()),
        // Through an interpreter's or a shared directory's link, which were let pass.
        Err(Errno::XDEV) => Err(leads_out(path, target)),
        Err(errno) => Err(anyhow::Error::new(errno).context(format!("cannot follow the link `{path}`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_judged_by_where_they_stand() {
        let outside = Outside {
            place: HostPath::fixed("/home/p/releases/r"),
            shared: HostPath::fixed("/home/p/shared"),
        };
        assert!(is_shared("uploads", "../../shared/uploads", &outside));
        assert!(is_shared("a/uploads", "/home/p/shared/uploads", &outside));
        for no in ["../../shared", "../../shared/../.env", "../../.env", "/home/q/shared/x"] {
            assert!(!is_shared("uploads", no, &outside), "{no}");
        }
        let all = BTreeMap::from([("v/bin/python3", "/usr/bin/python3"), ("v/bin/python4", "python4")]);
        for (path, target, wanted) in [
            (".venv/bin/python3", "/usr/bin/python3.11", true),
            ("v/bin/python", "python3", true),
            ("v/bin/python", "python4", false),
            (".venv/bin/python", "python3", false),
            (".venv/bin/python3", "/usr/bin/python3/../../../etc/passwd", false),
            ("python3", "/usr/bin/python3", false),
        ] {
            assert_eq!(is_python(path, target, &all), wanted, "{path} -> {target}");
        }
        assert!(climbs("a", "../../x") && climbs("", "..") && !climbs("a/b", "../../x"));
    }
}
