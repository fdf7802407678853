//! A sealed tree that another one may share files with.

use std::{
    collections::HashMap,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat},
    io::Errno,
};

use crate::system::archive::{Kind, Manifest};

const INSIDE: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

/// A sealed tree, and what is known to be in it. Its files are root's and never change, so that another
/// tree can have the very same ones by a link.
#[derive(Debug)]
pub struct Kin {
    root: OwnedFd,
    /// When it was sealed: what was written to later is not what was recorded.
    sealed: (i64, i64),
    files: HashMap<String, File>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct File {
    mode: u32,
    size: u64,
    sha256: [u8; 32],
}

impl Kin {
    /// The sealed tree below `root`, which held this at that moment.
    pub fn new(root: OwnedFd, manifest: Manifest, sealed: (i64, i64)) -> Self {
        let files = manifest.entries.into_iter().filter_map(|entry| match entry.kind {
            Kind::File { mode, size, sha256 } => Some((entry.path, File { mode, size, sha256 })),
            _ => None,
        });
        Self { root, sealed, files: files.collect() }
    }

    /// Whether it has a file of this size and mode at `path`; a look at the content may be worth while.
    pub fn resembles(&self, path: &str, mode: u32, size: u64) -> bool {
        self.files.get(path).is_some_and(|file| (file.mode, file.size) == (mode, size))
    }

    /// The content's digest of a file that is known.
    pub fn digest(&self, path: &str) -> Option<[u8; 32]> {
        self.files.get(path).map(|file| file.sha256)
    }

    /// The content's digest of a file that it has lent, as far as it is what was sealed.
    pub fn lent(&self, path: &str, stat: &Stat) -> Option<[u8; 32]> {
        let size = u64::try_from(stat.st_size).ok();
        self.digest(path).filter(|_| !self.is_later(stat) && self.files.get(path).map(|f| f.size) == size)
    }

    /// Whether somebody has written to a file since it was sealed: somebody with root's rights.
    fn is_later(&self, stat: &Stat) -> bool {
        (stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or(0)) > self.sealed
    }

    /// Gives its file at `path` the name `name` in `dir` too, where nothing may be, if it is this very
    /// content with this mode and group. Says whether it did.
    pub fn lend(
        &self,
        path: &str,
        wanted: (u32, u64, [u8; 32]),
        gid: u32,
        dir: impl AsFd,
        name: &str,
    ) -> Result<bool, Errno> {
        let (mode, size, sha256) = wanted;
        if self.files.get(path) != Some(&File { mode, size, sha256 }) {
            return Ok(false);
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // What is recorded and what is there must agree: somebody with root's rights may have changed it.
        let Ok(file) = rustix::fs::openat2(&self.root, path, flags, Mode::empty(), INSIDE) else {
            return Ok(false);
        };
        let stat = rustix::fs::fstat(&file)?;
        if self.is_later(&stat) || !is_sealed(&stat, mode, size, gid) {
            return Ok(false);
        }
        match rustix::fs::linkat(&file, "", dir, name, AtFlags::EMPTY_PATH) {
            Ok(()) => Ok(true),
            // It has as many names as the filesystem allows, or lies on another one.
            Err(Errno::MLINK | Errno::XDEV | Errno::PERM) => Ok(false),
            Err(e) => Err(e),
        }
    }
}

fn is_sealed(stat: &Stat, mode: u32, size: u64, gid: u32) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
        && (stat.st_uid, stat.st_gid) == (0, gid)
        && stat.st_mode & 0o7777 == mode
        && u64::try_from(stat.st_size) == Ok(size)
}
