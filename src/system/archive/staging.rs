//! Where an archive is written: a tree that is sealed as it grows.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, ResolveFlags, Uid};
use sha2::{Digest as _, Sha256};

use super::path::split;
use super::write_failed;
use crate::system::seal::Kin;

/// A name that no entry of an archive can have: it is not printable.
const LENT: &str = "\u{1}lent";

/// A SHA-256.
pub(super) type Digest = [u8; 32];

/// An empty directory that nobody else can reach, and the owner of everything that goes into it.
#[derive(Debug)]
pub struct Staging {
    root: OwnedFd,
    uid: Uid,
    gid: Gid,
    kin: Option<Kin>,
}

impl Staging {
    /// Everything written below `root` will belong to this user and group.
    pub fn new(root: OwnedFd, uid: u32, gid: u32) -> Self {
        Self { root, uid: Uid::from_raw(uid), gid: Gid::from_raw(gid), kin: None }
    }

    /// The same, and a file that `kin` has already is not written once more. Only for what will be sealed
    /// as it is: the file stays that of both.
    pub fn sharing(self, kin: Option<Kin>) -> Self {
        Self { kin, ..self }
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Gives what was just made with this mode to its owner.
    pub(super) fn own(&self, fd: impl AsFd, mode: u32) -> io::Result<()> {
        // This order: changing the owner may clear bits of the mode.
        rustix::fs::fchown(&fd, Some(self.uid), Some(self.gid))?;
        // A umask or the parent may have changed the mode too. They seldom do, and looking is cheap.
        if rustix::fs::fstat(&fd)?.st_mode & 0o7777 != mode {
            rustix::fs::fchmod(&fd, Mode::from_raw_mode(mode))?;
        }
        Ok(())
    }
}

/// Opens one name below a directory, never through a link and never out of it.
fn open_inside(parent: impl AsFd, name: &str, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat2(parent, name, flags, mode, resolve)?)
}

/// Writes entries below a [`Staging`], keeping the directories on the way to the last one open.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    staging: &'a Staging,
    /// The names of the directory entered last and their descriptors, outermost first.
    entered: Vec<(String, OwnedFd)>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(staging: &'a Staging) -> Self {
        Self { staging, entered: Vec::new() }
    }

    /// Makes a directory whose parent exists.
    pub(super) fn directory(&mut self, path: &str, mode: u32) -> anyhow::Result<()> {
        let failed = |error| write_failed(error, path);
        let (parent, name) = split(path);
        let parent = self.enter(parent).map_err(failed)?;
        rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(mode)).map_err(|errno| failed(errno.into()))?;
        let child =
            open_inside(parent, name, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).map_err(failed)?;
        self.staging.own(&child, mode).map_err(failed)
    }

    /// Writes a file whose directory exists; gives its SHA-256.
    pub(super) fn small(&mut self, path: &str, mode: u32, content: &[u8]) -> anyhow::Result<Digest> {
        let failed = |error| write_failed(error, path);
        let sha256: Digest = Sha256::digest(content).into();
        if self.borrow(path, (mode, content.len() as u64, sha256), split(path).1).map_err(failed)? {
            return Ok(sha256);
        }
        let mut file = self.create(path, mode).map_err(failed)?;
        file.write_all(content).map_err(failed)?;
        self.staging.own(&file, mode).map_err(failed)?;
        Ok(sha256)
    }

    /// Writes a file whose directory exists as it is read; gives how much there was of it and its SHA-256.
    ///
    /// `unreadable` tells what an error of the content means.
    pub(super) fn large(
        &mut self,
        path: &str,
        mode: u32,
        content: &mut impl Read,
        unreadable: impl Fn(&io::Error) -> anyhow::Error,
    ) -> anyhow::Result<(u64, Digest)> {
        let failed = |error| write_failed(error, path);
        let mut file = self.create(path, mode).map_err(failed)?;
        let mut buffer = vec![0; 64 * 1024];
        let mut digest = Sha256::new();
        let mut size = 0;
        loop {
            let count = match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) => return Err(unreadable(&error)),
            };
            file.write_all(&buffer[..count]).map_err(failed)?;
            digest.update(&buffer[..count]);
            size += count as u64;
        }
        self.staging.own(&file, mode).map_err(failed)?;
        let sha256: Digest = digest.finalize().into();
        if self.borrow(path, (mode, size, sha256), LENT).map_err(failed)? {
            let (parent, name) = split(path);
            let parent = self.enter(parent).map_err(failed)?;
            rustix::fs::renameat(parent, LENT, parent, name).map_err(|errno| failed(errno.into()))?;
        }
        Ok((size, sha256))
    }

    /// Takes the kin's file at `path`, under this name beside it, if it is the same.
    fn borrow(&mut self, path: &str, wanted: (u32, u64, Digest), name: &str) -> io::Result<bool> {
        let staging = self.staging;
        let Some(kin) = &staging.kin else { return Ok(false) };
        if staging.uid != Uid::ROOT || !kin.resembles(path, wanted.0, wanted.1) {
            return Ok(false);
        }
        let parent = self.enter(split(path).0)?;
        Ok(kin.lend(path, wanted, staging.gid.as_raw(), parent, name)?)
    }

    fn create(&mut self, path: &str, mode: u32) -> io::Result<File> {
        let (parent, name) = split(path);
        let parent = self.enter(parent)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        Ok(File::from(open_inside(parent, name, flags, Mode::from_raw_mode(mode))?))
    }

    /// Makes a symbolic link whose directory exists. Nothing may be written after the first link.
    pub(super) fn link(&mut self, path: &str, target: &str) -> anyhow::Result<()> {
        let failed = |errno: rustix::io::Errno| write_failed(errno.into(), path);
        let (uid, gid) = (self.staging.uid, self.staging.gid);
        let (parent, name) = split(path);
        let parent = self.enter(parent).map_err(|error| write_failed(error, path))?;
        rustix::fs::symlinkat(target, parent, name).map_err(failed)?;
        rustix::fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).map_err(failed)
    }

    /// The descriptor of a directory, by way of those that are open already.
    fn enter(&mut self, path: &str) -> io::Result<BorrowedFd<'_>> {
        let names: Vec<&str> = if path.is_empty() { Vec::new() } else { path.split('/').collect() };
        let common = self.entered.iter().zip(&names).take_while(|((open, _), name)| open == *name).count();
        self.entered.truncate(common);
        for name in &names[common..] {
            let parent = self.entered.last().map_or(self.staging.root(), |(_, fd)| fd.as_fd());
            let fd = open_inside(parent, name, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
            self.entered.push(((*name).to_owned(), fd));
        }
        Ok(self.entered.last().map_or(self.staging.root(), |(_, fd)| fd.as_fd()))
    }
}
