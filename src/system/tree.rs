//! Looking into one tree, and adding to it, without ever leaving it.

use std::{
    io::{Read, Write},
    os::fd::OwnedFd,
};

use anyhow::{Context, Result};
use rustix::{
    fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Uid},
    io::Errno,
};

use crate::domain::files::Files;

/// A tree below an open directory.
#[derive(Debug)]
pub struct Tree {
    at: OwnedFd,
}

/// The largest text that is reworded, in bytes.
const SMALL: usize = 1 << 20;

/// More than a tick of the clock that stamps files.
const TICK: std::time::Duration = std::time::Duration::from_millis(11);

/// For what is made: a link on the way could lead to another depth than it seems.
const PLAIN: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS);
const INSIDE: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

impl Tree {
    /// The tree below `at`.
    pub fn new(at: OwnedFd) -> Self {
        Self { at }
    }

    /// The tree below a path, which may lead through links.
    pub fn at(path: &std::path::Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self::new(rustix::fs::open(path, flags, Mode::empty())?))
    }

    fn open(&self, path: &str, flags: OFlags, resolve: ResolveFlags) -> std::result::Result<OwnedFd, Errno> {
        // A fifo must not hold us up; a mere look at the path takes no other flags.
        let more =
            if flags.contains(OFlags::PATH) { OFlags::CLOEXEC } else { OFlags::CLOEXEC | OFlags::NONBLOCK };
        rustix::fs::openat2(&self.at, path, flags | more, Mode::empty(), resolve)
    }

    fn stat(&self, path: &str) -> Option<Stat> {
        let fd = self.open(path, OFlags::PATH, INSIDE).ok()?;
        rustix::fs::fstat(&fd).ok()
    }

    /// Makes a directory and those above it; fine when they exist.
    pub fn mkdir(&self, path: &str, gid: u32) -> Result<()> {
        let mut below = String::new();
        for part in path.split('/') {
            let parent = if below.is_empty() { ".".to_owned() } else { below.clone() };
            let dir = self
                .open(&parent, OFlags::DIRECTORY, PLAIN)
                .with_context(|| format!("opening `{parent}`"))?;
            match rustix::fs::mkdirat(&dir, part, Mode::RWXU) {
                Ok(()) => {
                    let made =
                        rustix::fs::openat(&dir, part, OFlags::DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?;
                    rustix::fs::fchown(&made, Some(Uid::ROOT), Some(Gid::from_raw(gid)))?;
                    rustix::fs::fchmod(&made, Mode::from_raw_mode(0o750))?;
                }
                Err(Errno::EXIST) => {}
                Err(e) => return Err(e).with_context(|| format!("making `{path}`")),
            }
            below = if below.is_empty() { part.to_owned() } else { format!("{below}/{part}") };
        }
        Ok(())
    }

    /// Makes a directory and those above it for an account; those that exist stay whose they are.
    pub fn mkdir_for(&self, path: &str, uid: u32) -> Result<()> {
        let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
        for end in ends {
            let dir = &path[..end];
            if !self.is_taken(dir) {
                self.mkdir(dir, uid)?;
                let made = self.open(dir, OFlags::DIRECTORY, PLAIN)?;
                rustix::fs::fchown(&made, Some(Uid::from_raw(uid)), Some(Gid::from_raw(uid)))?;
            }
        }
        Ok(())
    }

    /// Puts `to` in the place of `from` in the texts that lie in a directory. A file that another tree has
    /// too stays there as it is.
    pub fn reword(&self, dir: &str, from: &str, to: &str) -> Result<()> {
        let Ok(at) = self.open(dir, OFlags::DIRECTORY, PLAIN) else { return Ok(()) };
        for name in self.list(dir) {
            let path = format!("{dir}/{name}");
            let stat = rustix::fs::statat(&at, &name, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                continue;
            }
            let text = self.read(&path, SMALL + 1)?.filter(|bytes| bytes.len() <= SMALL);
            let Some(text) = text.and_then(|bytes| String::from_utf8(bytes).ok()) else { continue };
            if !text.contains(from) {
                continue;
            }
            rustix::fs::unlinkat(&at, &name, AtFlags::empty())?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mut file = std::fs::File::from(rustix::fs::openat(&at, &name, flags, Mode::RUSR)?);
            file.write_all(text.replace(from, to).as_bytes()).with_context(|| format!("writing `{path}`"))?;
            rustix::fs::fchown(&file, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
            rustix::fs::fchmod(&file, Mode::from_raw_mode(stat.st_mode & 0o777))?;
        }
        Ok(())
    }

    /// Makes a link; the directory it lies in must exist, and nothing may be in its place.
    pub fn link(&self, path: &str, target: &str) -> Result<()> {
        let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
        let dir =
            self.open(parent, OFlags::DIRECTORY, PLAIN).with_context(|| format!("opening `{parent}`"))?;
        rustix::fs::symlinkat(target, &dir, name).with_context(|| format!("linking `{path}`"))
    }

    /// Writes a small file that does not exist yet.
    pub fn write(&self, path: &str, text: &str, gid: u32) -> Result<()> {
        let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
        let dir =
            self.open(parent, OFlags::DIRECTORY, PLAIN).with_context(|| format!("opening `{parent}`"))?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = std::fs::File::from(rustix::fs::openat(&dir, name, flags, Mode::RUSR)?);
        file.write_all(text.as_bytes()).with_context(|| format!("writing `{path}`"))?;
        rustix::fs::fchown(&file, Some(Uid::ROOT), Some(Gid::from_raw(gid)))?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(0o640))?;
        Ok(())
    }

    /// Gives everything in the tree, and its root, this group. Links keep theirs: nobody looks at it.
    pub fn regroup(&self, gid: u32) -> Result<()> {
        let root = self.open(".", OFlags::DIRECTORY, INSIDE)?;
        regroup(&root, Gid::from_raw(gid)).context("giving the release to the web server's group")
    }

    /// Gives everything in the tree, and its root, to this account and its group. A file that another tree
    /// has too gets a copy of its own first. Whatever is touched after this is stamped later.
    pub fn give(&self, uid: u32) -> Result<()> {
        let root = self.open(".", OFlags::DIRECTORY, INSIDE)?;
        give(&root, uid).context("giving the tree to the build's account")?;
        std::thread::sleep(TICK);
        Ok(())
    }

    /// Whether there is anything at `path`, a link that leads nowhere included.
    pub fn is_taken(&self, path: &str) -> bool {
        let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
        self.open(parent, OFlags::DIRECTORY, PLAIN)
            .is_ok_and(|dir| rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW).is_ok())
    }

    /// Removes a directory that holds nothing, or nothing but the files that keep empty directories in a
    /// repository; says whether it did.
    pub fn clear(&self, path: &str) -> bool {
        const KEEPERS: [&str; 3] = [".gitignore", ".gitkeep", ".keep"];
        let Ok(dir) = self.open(path, OFlags::DIRECTORY, PLAIN) else { return false };
        let names = self.list(path);
        let is_keeper =
            |name: &String| KEEPERS.contains(&name.as_str()) && self.is_file(&format!("{path}/{name}"));
        let is_empty = |name: &String| is_keeper(name) || self.is_bare(&format!("{path}/{name}"), &KEEPERS);
        if !names.iter().all(is_empty) {
            return false;
        }
        for name in &names {
            let gone = if is_keeper(name) {
                rustix::fs::unlinkat(&dir, name.as_str(), AtFlags::empty()).is_ok()
            } else {
                self.clear(&format!("{path}/{name}"))
            };
            if !gone {
                return false;
            }
        }
        self.rmdir(path)
    }

    /// Whether a directory holds nothing but these files and directories of which the same is true.
    fn is_bare(&self, path: &str, keepers: &[&str]) -> bool {
        self.open(path, OFlags::DIRECTORY, PLAIN).is_ok()
            && self.list(path).iter().all(|name| {
                let below = format!("{path}/{name}");
                keepers.contains(&name.as_str()) && self.is_file(&below) || self.is_bare(&below, keepers)
            })
    }

    /// Removes a file or a link; fine when there is none.
    pub fn unlink(&self, path: &str) -> Result<()> {
        let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
        let Ok(dir) = self.open(parent, OFlags::DIRECTORY, PLAIN) else { return Ok(()) };
        match rustix::fs::unlinkat(&dir, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(e).with_context(|| format!("removing `{path}`")),
        }
    }

    /// Removes an empty directory; says whether it did.
    pub fn rmdir(&self, path: &str) -> bool {
        let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
        self.open(parent, OFlags::DIRECTORY, PLAIN)
            .is_ok_and(|dir| rustix::fs::unlinkat(&dir, name, AtFlags::REMOVEDIR).is_ok())
    }
}

/// The archive's limit on depth bounds the recursion.
fn give(dir: &OwnedFd, uid: u32) -> Result<()> {
    let (owner, group) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(uid)));
    for entry in rustix::fs::Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                give(&rustix::fs::openat(dir, name, flags, Mode::empty())?, uid)?;
            }
            kind => {
                if kind == FileType::RegularFile && stat.st_nlink > 1 {
                    part(dir, name, stat.st_mode)?;
                }
                rustix::fs::chownat(dir, name, owner, group, AtFlags::SYMLINK_NOFOLLOW)?;
            }
        }
    }
    // Last: until then nobody else gets in.
    rustix::fs::fchown(dir, owner, group)?;
    Ok(())
}

/// Puts a copy of a file in its place, so that what becomes of it becomes of no other tree's.
fn part(dir: &OwnedFd, name: &std::ffi::CStr, mode: u32) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut old = std::fs::File::from(rustix::fs::openat(dir, name, flags, Mode::empty())?);
    rustix::fs::unlinkat(dir, name, AtFlags::empty())?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut new = std::fs::File::from(rustix::fs::openat(dir, name, flags, Mode::RUSR | Mode::WUSR)?);
    std::io::copy(&mut old, &mut new)?;
    rustix::fs::fchmod(&new, Mode::from_raw_mode(mode & 0o777))?;
    Ok(())
}

/// The archive's limit on depth bounds the recursion.
fn regroup(dir: &OwnedFd, gid: Gid) -> Result<()> {
    rustix::fs::fchown(dir, None, Some(gid))?;
    for entry in rustix::fs::Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                regroup(&rustix::fs::openat(dir, name, flags, Mode::empty())?, gid)?;
            }
            FileType::RegularFile => {
                if stat.st_nlink > 1 {
                    part(dir, name, stat.st_mode)?;
                }
                rustix::fs::chownat(dir, name, None, Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
            }
            _ => {}
        }
    }
    Ok(())
}

impl Files for Tree {
    fn read(&self, path: &str, limit: usize) -> Result<Option<Vec<u8>>> {
        let Ok(fd) = self.open(path, OFlags::RDONLY, INSIDE) else { return Ok(None) };
        if FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode) != FileType::RegularFile {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        std::fs::File::from(fd)
            .take(limit as u64)
            .read_to_end(&mut bytes)
            .with_context(|| format!("reading `{path}`"))?;
        Ok(Some(bytes))
    }
    fn is_file(&self, path: &str) -> bool {
        self.stat(path).is_some_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::RegularFile)
    }
    fn is_dir(&self, path: &str) -> bool {
        self.stat(path).is_some_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::Directory)
    }
    fn is_executable(&self, path: &str) -> bool {
        self.stat(path).is_some_and(|s| {
            FileType::from_raw_mode(s.st_mode) == FileType::RegularFile && s.st_mode & 0o100 != 0
        })
    }
    fn list(&self, path: &str) -> Vec<String> {
        let Ok(dir) = self.open(path, OFlags::DIRECTORY, INSIDE) else { return Vec::new() };
        let Ok(entries) = rustix::fs::Dir::read_from(&dir) else { return Vec::new() };
        let names = entries.flatten().filter_map(|entry| entry.file_name().to_str().ok().map(str::to_owned));
        let mut names: Vec<String> = names.filter(|name| name != "." && name != "..").take(1000).collect();
        names.sort_unstable();
        names
    }
}
