//! What somebody has added to a tree whose beginning is known.

use std::{
    collections::{HashMap, HashSet},
    os::fd::OwnedFd,
};

use anyhow::Result;
use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat},
    io::Errno,
};

use crate::system::archive::{Kind, Manifest};

/// A moment as files are stamped with: seconds and nanoseconds.
type Stamp = (i64, i64);

/// The most names that are looked at.
const NAMES: usize = 100_000;
/// The most paths that are worth knowing.
const PATHS: usize = 256;

/// What has become of a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grown {
    /// Paths that were not there, sorted: whole directories, files and links.
    pub new: Vec<String>,
    /// Paths that were there and are not what they were, or are gone; sorted.
    pub changed: Vec<String>,
}

/// What has become of the tree below `root`, which held what `source` says and has not been touched but from
/// `since` on. `None` where that
/// is too much to be written down. Nobody works on the tree meanwhile; no link is followed.
pub fn grown(root: &OwnedFd, source: &Manifest, since: Stamp) -> Result<Option<Grown>> {
    let known: HashMap<&str, &Kind> =
        source.entries.iter().map(|entry| (entry.path.as_str(), &entry.kind)).collect();
    let directories = source.entries.iter().filter(|entry| matches!(entry.kind, Kind::Directory { .. }));
    let mut grown = Grown::default();
    let mut seen: HashSet<String> = HashSet::new();
    let mut names = 0;
    for dir in std::iter::once("").chain(directories.map(|entry| entry.path.as_str())) {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let at = if dir.is_empty() { "." } else { dir };
        let fd = match rustix::fs::openat2(root, at, flags, Mode::empty(), resolve) {
            Ok(fd) => fd,
            // It is found missing, or to be something else, where it lies.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
            Err(e) => return Err(e.into()),
        };
        for entry in Dir::read_from(&fd)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let Ok(name) = name.to_str() else { return Ok(None) };
            let path = if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") };
            names += 1;
            match known.get(path.as_str()) {
                None => grown.new.push(path),
                Some(kind) => {
                    let stat = rustix::fs::statat(&fd, name, AtFlags::SYMLINK_NOFOLLOW)?;
                    if !is_still(kind, &stat, since) {
                        grown.changed.push(path.clone());
                    }
                    seen.insert(path);
                }
            }
            if names > NAMES || grown.new.len() + grown.changed.len() > PATHS {
                return Ok(None);
            }
        }
    }
    let gone = known.keys().filter(|path| !seen.contains(**path)).map(|path| (*path).to_owned());
    grown.changed.extend(gone);
    grown.new.sort_unstable();
    grown.changed.sort_unstable();
    Ok((grown.new.len() + grown.changed.len() <= PATHS).then_some(grown))
}

/// Whether it is of the same kind, and a file or a link has not been touched. A directory changes with what
/// lies in it, which is looked at by itself.
fn is_still(kind: &Kind, stat: &Stat, since: Stamp) -> bool {
    let touched = (stat.st_ctime, i64::try_from(stat.st_ctime_nsec).unwrap_or(i64::MAX));
    let touched = touched >= since;
    match (kind, FileType::from_raw_mode(stat.st_mode)) {
        (Kind::Directory { .. }, FileType::Directory) => true,
        (Kind::File { .. }, FileType::RegularFile) | (Kind::Link { .. }, FileType::Symlink) => !touched,
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{fs, os::unix::fs::MetadataExt, thread::sleep, time::Duration};

    use super::*;
    use crate::system::archive::Entry;

    #[test]
    fn what_was_added_changed_and_taken_away_is_known_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        for path in ["packages/a", "packages/b"] {
            fs::create_dir_all(at(path)).unwrap();
        }
        let files = ["index.js", "lock", "gone", "packages/a/package.json"];
        for path in files {
            fs::write(at(path), path).unwrap();
        }
        let file = |path: &str| Entry {
            path: path.to_owned(),
            kind: Kind::File { mode: 0o640, size: 1, sha256: [0; 32] },
        };
        let directory = |path: &str| Entry { path: path.to_owned(), kind: Kind::Directory { mode: 0o750 } };
        let entries = files
            .map(file)
            .into_iter()
            .chain(["packages", "packages/a", "packages/b"].map(directory))
            .collect();
        let source = Manifest::new(entries, Vec::new());
        sleep(Duration::from_millis(20));
        fs::write(at("mark"), "").unwrap();
        let mark = fs::metadata(at("mark")).unwrap();
        let since = (mark.ctime(), mark.ctime_nsec());
        fs::remove_file(at("mark")).unwrap();
        sleep(Duration::from_millis(20));
        let root = OwnedFd::from(fs::File::open(dir.path()).unwrap());
        assert_eq!(grown(&root, &source, since).unwrap(), Some(Grown::default()));

        fs::create_dir_all(at("node_modules/x/y")).unwrap();
        fs::create_dir_all(at("packages/a/node_modules")).unwrap();
        std::os::unix::fs::symlink("/etc", at("packages/b/out")).unwrap();
        fs::write(at("lock"), "another").unwrap();
        fs::remove_file(at("gone")).unwrap();
        let found = grown(&root, &source, since).unwrap().unwrap();
        assert_eq!(found.new, ["node_modules", "packages/a/node_modules", "packages/b/out"]);
        assert_eq!(found.changed, ["gone", "lock"]);

        // A directory that became a link is not looked through.
        fs::remove_dir_all(at("packages")).unwrap();
        std::os::unix::fs::symlink("/etc", at("packages")).unwrap();
        let found = grown(&root, &source, since).unwrap().unwrap();
        assert_eq!(found.new, ["node_modules"]);
        assert!(found.changed.contains(&"packages".to_owned()), "{found:?}");

        for n in 0..300 {
            fs::write(at(&format!("{n}")), "").unwrap();
        }
        assert_eq!(grown(&root, &source, since).unwrap(), None, "too much to be written down");
    }
}
