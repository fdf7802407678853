//! Files below a root, opened so that no link on the way is followed.
//!
//! Every operation opens the parent directory with `openat2` (no symbolic links, no magic links, never
//! out of the root) and works relative to that descriptor, so a project that flips a directory for a
//! link wins nothing. Every change is complete, synced and renamed into place, or not there at all.

mod acl;
mod fresh;
mod look;
mod touch;

use std::{
    cell::RefCell,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use rustix::{
    fs::{FileType, Mode, OFlags, ResolveFlags},
    io::Errno,
};

pub use self::fresh::Fresh;
pub use self::touch::Growing;
pub(super) use self::touch::full;
use super::Tripwire;
use crate::domain::{
    fault::{Code, Fault},
    layout::HostPath,
};

/// A directory standing for `/`.
#[derive(Debug)]
pub struct Root {
    at: OwnedFd,
    shown: PathBuf,
    wire: Tripwire,
    /// While planning: a tree that will be moved here is looked at where it still is.
    seen_at: RefCell<Vec<(HostPath, HostPath)>>,
}

/// Whose an entry is, and who may do what with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attr {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
}

impl Attr {
    /// Root's, with these permission bits.
    pub const fn root(mode: u32) -> Self {
        Self { uid: 0, gid: 0, mode }
    }
}

/// What kind of entry something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Link,
    /// Anything else.
    Other,
}

/// What is known of an entry without opening it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// What it is.
    pub kind: FileKind,
    /// Whose it is.
    pub attr: Attr,
    /// When its content, or a link's target, last changed: seconds and nanoseconds.
    pub changed: (i64, i64),
    /// Its size in bytes.
    pub size: u64,
    /// Its number on its filesystem: another entry of the same name has another one.
    pub inode: u64,
}

/// What is left on a filesystem for those who are not root's reserve.
#[derive(Clone, Copy, Debug)]
pub struct Space {
    /// Free bytes.
    pub bytes: u64,
    /// All bytes.
    pub total: u64,
    /// Free inodes; `None` where the filesystem makes them as needed.
    pub inodes: Option<u64>,
}

/// Puts the planner's view back to what is.
#[derive(Debug)]
pub struct View<'a>(&'a Root);

impl Drop for View<'_> {
    fn drop(&mut self) {
        self.0.seen_at.borrow_mut().clear();
    }
}

impl Root {
    /// The tree below `at`.
    pub fn open(at: &Path, wire: Tripwire) -> Result<Self> {
        let fd = rustix::fs::open(at, OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY, Mode::empty())
            .with_context(|| format!("opening `{}`", at.display()))?;
        Ok(Self { at: fd, shown: at.to_owned(), wire, seen_at: RefCell::default() })
    }

    /// The path as the operating system sees it; for programs and libraries that want one.
    pub fn real(&self, path: &HostPath) -> PathBuf {
        let path = path.as_path();
        self.shown.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Looks at `now` whenever `later` is asked for, as long as the guard lives.
    pub fn seen_at(&self, trees: Vec<(HostPath, HostPath)>) -> View<'_> {
        self.seen_at.replace(trees);
        View(self)
    }

    fn looking(&self, path: &HostPath) -> HostPath {
        for (later, now) in self.seen_at.borrow().iter() {
            if let Ok(rest) = path.as_path().strip_prefix(later.as_path()) {
                return rest.to_str().filter(|r| !r.is_empty()).map_or_else(|| now.clone(), |r| now.join(r));
            }
        }
        path.clone()
    }

    /// Opens a directory, or says `None` when there is none.
    fn dir(&self, path: &HostPath) -> Result<Option<OwnedFd>> {
        let below = path.as_path().strip_prefix("/").unwrap_or(path.as_path());
        let below = if below.as_os_str().is_empty() { Path::new(".") } else { below };
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY | OFlags::NOFOLLOW;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(&self.at, below, flags, Mode::empty(), resolve) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(Errno::LOOP) => {
                bail!(Fault::new(
                    Code::Foreign,
                    format!("`{path}` leads through a symbolic link; HostKit does not follow it")
                ))
            }
            Err(e) => Err(e).with_context(|| format!("opening `{path}`")),
        }
    }

    /// The directory an entry is to be made in.
    fn home_of(&self, path: &HostPath) -> Result<OwnedFd> {
        let parent = path.parent();
        self.dir(&parent)?.with_context(|| format!("`{parent}` does not exist"))
    }
}

fn meta_of(stat: &rustix::fs::Stat) -> Meta {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => FileKind::File,
        FileType::Directory => FileKind::Dir,
        FileType::Symlink => FileKind::Link,
        _ => FileKind::Other,
    };
    Meta {
        kind,
        attr: Attr { uid: stat.st_uid, gid: stat.st_gid, mode: stat.st_mode & 0o7777 },
        changed: (stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or(0)),
        size: u64::try_from(stat.st_size).unwrap_or(0),
        inode: stat.st_ino,
    }
}
