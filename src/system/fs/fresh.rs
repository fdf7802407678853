//! A long file that is written piece by piece and is there only when it is whole.

use std::{
    ffi::OsString,
    io::{self, Write},
    os::fd::OwnedFd,
};

use anyhow::{Context, Result};
use rustix::fs::{AtFlags, Mode, OFlags};

use super::{Attr, Root, Tripwire, touch};
use crate::domain::layout::HostPath;

/// A file that is being written under another name, beside its own. Dropping it removes it.
#[derive(Debug)]
pub struct Fresh {
    file: std::fs::File,
    dir: OwnedFd,
    new: OsString,
    path: HostPath,
    wire: Tripwire,
    kept: bool,
}

impl Root {
    /// Begins a file that will lie at `path`.
    pub fn begin(&mut self, path: &HostPath, attr: Attr) -> Result<Fresh> {
        let dir = self.home_of(path)?;
        let new = touch::fresh_name(path);
        self.wire.cross("begin:before")?;
        touch::clear(&dir, &new)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&dir, &new, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|e| touch::full(e.into()))
            .with_context(|| format!("making `{path}`"))?;
        let file = std::fs::File::from(fd);
        touch::own(&file, attr).with_context(|| format!("setting the mode of `{path}`"))?;
        let wire = self.wire.clone();
        let fresh = Fresh { file, dir, new, path: path.clone(), wire, kept: false };
        fresh.wire.cross("begin:made")?;
        Ok(fresh)
    }

    /// A file without a name in a directory, for root alone: it goes with whoever has it open.
    pub fn scratch(&mut self, dir: &HostPath) -> Result<std::fs::File> {
        let path = dir.join("scratch");
        let (dir, new) = (self.home_of(&path)?, touch::fresh_name(&path));
        let make = || -> Result<_> {
            touch::clear(&dir, &new)?;
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = rustix::fs::openat(&dir, &new, flags, Mode::RUSR | Mode::WUSR)?;
            rustix::fs::unlinkat(&dir, &new, AtFlags::empty())?;
            Ok(std::fs::File::from(fd))
        };
        make().map_err(touch::full).with_context(|| format!("making a file in `{}`", path.parent()))
    }
}

impl Fresh {
    /// Writes all of it to the disk and gives it its name; an older file of that name is gone then.
    pub fn keep(mut self) -> Result<()> {
        let path = self.path.clone();
        self.wire.cross("keep:before")?;
        self.file
            .sync_all()
            .map_err(|e| touch::full(e.into()))
            .with_context(|| format!("writing `{path}`"))?;
        rustix::fs::renameat(&self.dir, &self.new, &self.dir, path.file_name())
            .with_context(|| format!("naming `{path}`"))?;
        self.kept = true;
        rustix::fs::fsync(&self.dir)?;
        self.wire.cross("keep:after")
    }
}

impl Write for Fresh {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        // A process that died removes nothing; whoever comes after it does.
        if !self.kept && !self.wire.died() {
            let _ = rustix::fs::unlinkat(&self.dir, &self.new, AtFlags::empty());
        }
    }
}
