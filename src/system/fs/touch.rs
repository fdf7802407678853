//! Changing files: complete, synced and renamed into place, or not at all.

use std::{
    ffi::OsString,
    io::Write,
    os::fd::{AsFd, OwnedFd},
};

use anyhow::{Context, Result};
use rustix::{
    fs::{AtFlags, Gid, Mode, OFlags, Uid, XattrFlags},
    io::Errno,
};

use super::{Attr, Root, acl};
use crate::{
    domain::{
        fault::{Code, Fault},
        layout::HostPath,
    },
    system::exec::Tool,
};

/// A file that grows by lines while others read it.
#[derive(Debug)]
pub struct Growing(std::fs::File);

impl Write for Growing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

impl Growing {
    /// Writes it to the disk.
    pub fn sync(&self) -> std::io::Result<()> {
        self.0.sync_data()
    }
}

/// Temporary names end in this; whatever carries it is left over from a dead process.
const NEW: &str = ".hostkit-new";

impl Root {
    /// Replaces `path` so that a reader, and a power cut, see the old file or the new one.
    pub fn replace(&mut self, path: &HostPath, bytes: &[u8], attr: Attr) -> Result<()> {
        let dir = self.home_of(path)?;
        let new = fresh_name(path);
        self.wire.cross("replace:before")?;
        let write = || -> Result<()> {
            clear(&dir, &new)?;
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = rustix::fs::openat(&dir, &new, flags, Mode::RUSR | Mode::WUSR)?;
            let mut file = std::fs::File::from(fd);
            file.write_all(bytes)?;
            own(&file, attr)?;
            file.sync_all()?;
            Ok(())
        };
        write().map_err(full).with_context(|| format!("writing `{path}`"))?;
        self.wire.cross("replace:written")?;
        rustix::fs::renameat(&dir, &new, &dir, path.file_name())
            .with_context(|| format!("replacing `{path}`"))?;
        rustix::fs::fsync(&dir)?;
        self.wire.cross("replace:renamed")
    }

    /// Writes a file that is complete only after [`Root::sync`]: for what has no meaning before that.
    pub fn write(&mut self, path: &HostPath, bytes: &[u8], attr: Attr) -> Result<()> {
        let dir = self.home_of(path)?;
        let name = path.file_name();
        self.wire.cross("write:before")?;
        let write = || -> Result<()> {
            clear(&dir, &name.into())?;
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = rustix::fs::openat(&dir, name, flags, Mode::RUSR | Mode::WUSR)?;
            let mut file = std::fs::File::from(fd);
            file.write_all(bytes)?;
            own(&file, attr)
        };
        write().map_err(full).with_context(|| format!("writing `{path}`"))?;
        self.wire.cross("write:after")
    }

    /// Makes an empty file, or gives an existing one these attributes and leaves what is in it.
    pub fn touch(&mut self, path: &HostPath, attr: Attr) -> Result<()> {
        let dir = self.home_of(path)?;
        self.wire.cross("touch:before")?;
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&dir, path.file_name(), flags, Mode::RUSR | Mode::WUSR)
            .map_err(|e| full(e.into()))
            .with_context(|| format!("making `{path}`"))?;
        own(&file, attr).with_context(|| format!("setting the mode of `{path}`"))?;
        rustix::fs::fsync(&dir)?;
        self.wire.cross("touch:after")
    }

    /// Opens a file for adding to its end, and makes it if there is none. Nothing is synced: for what is
    /// said, not for what counts.
    pub fn append(&mut self, path: &HostPath, attr: Attr) -> Result<Growing> {
        let dir = self.home_of(path)?;
        self.wire.cross("append:before")?;
        let flags = OFlags::CREATE
            | OFlags::RDWR
            | OFlags::APPEND
            | OFlags::NOFOLLOW
            | OFlags::NONBLOCK
            | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&dir, path.file_name(), flags, Mode::RUSR | Mode::WUSR)
            .map_err(|e| full(e.into()))
            .with_context(|| format!("opening `{path}`"))?;
        own(&file, attr).with_context(|| format!("setting the mode of `{path}`"))?;
        self.wire.cross("append:after")?;
        Ok(Growing(file.into()))
    }

    /// Points a symbolic link at `target`, in one step for whoever reads it.
    pub fn link(&mut self, path: &HostPath, target: &str) -> Result<()> {
        let dir = self.home_of(path)?;
        let new = fresh_name(path);
        self.wire.cross("link:before")?;
        clear(&dir, &new)?;
        rustix::fs::symlinkat(target, &dir, &new)
            .map_err(|e| full(e.into()))
            .with_context(|| format!("linking `{path}`"))?;
        self.wire.cross("link:made")?;
        rustix::fs::renameat(&dir, &new, &dir, path.file_name())
            .with_context(|| format!("replacing the link `{path}`"))?;
        rustix::fs::fsync(&dir)?;
        self.wire.cross("link:renamed")
    }

    /// Removes what a process that died while it replaced `path` has left beside it.
    pub fn tidy(&mut self, path: &HostPath) -> Result<()> {
        let Some(dir) = self.dir(&path.parent())? else { return Ok(()) };
        let new = fresh_name(path);
        if rustix::fs::statat(&dir, &new, AtFlags::SYMLINK_NOFOLLOW).is_err() {
            return Ok(());
        }
        self.wire.cross("tidy:before")?;
        clear(&dir, &new)?;
        rustix::fs::fsync(&dir)?;
        self.wire.cross("tidy:after")
    }

    /// Removes a file or a link; fine when there is none.
    pub fn remove(&mut self, path: &HostPath) -> Result<()> {
        let Some(dir) = self.dir(&path.parent())? else { return Ok(()) };
        self.wire.cross("remove:before")?;
        clear(&dir, &fresh_name(path))?;
        if rustix::fs::statat(&dir, path.file_name(), AtFlags::SYMLINK_NOFOLLOW).is_err() {
            return self.wire.cross("remove:after");
        }
        match rustix::fs::unlinkat(&dir, path.file_name(), AtFlags::empty()) {
            Ok(()) => rustix::fs::fsync(&dir)?,
            Err(Errno::NOENT) => {}
            Err(e) => return Err(e).with_context(|| format!("removing `{path}`")),
        }
        self.wire.cross("remove:after")
    }

    /// Makes a directory, or gives an existing one these attributes.
    ///
    /// `visitor` is an account that may pass through it without being able to list it.
    pub fn mkdir(&mut self, path: &HostPath, attr: Attr, visitor: Option<u32>) -> Result<()> {
        let dir = self.home_of(path)?;
        self.wire.cross("mkdir:before")?;
        match rustix::fs::mkdirat(&dir, path.file_name(), Mode::RWXU) {
            Ok(()) => rustix::fs::fsync(&dir)?,
            Err(Errno::EXIST) => {}
            Err(e) => return Err(full(e.into())).with_context(|| format!("making the directory `{path}`")),
        }
        self.wire.cross("mkdir:made")?;
        let made = self.dir(path)?.with_context(|| format!("`{path}` is not a directory"))?;
        own(&made, attr)?;
        match visitor {
            Some(uid) => {
                rustix::fs::fsetxattr(&made, acl::NAME, &acl::encode(attr.mode, uid), XattrFlags::empty())
                    .with_context(|| format!("setting the access list of `{path}`"))?;
            }
            None => match rustix::fs::fremovexattr(&made, acl::NAME) {
                Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
                Err(e) => return Err(e).with_context(|| format!("removing the access list of `{path}`")),
            },
        }
        // Removing or setting the list rewrites the group bits.
        own(&made, attr)?;
        rustix::fs::fsync(&made)?;
        self.wire.cross("mkdir:owned")
    }

    /// Removes an empty directory. Says `false` when it is not empty, `true` when it is gone.
    pub fn rmdir(&mut self, path: &HostPath) -> Result<bool> {
        let Some(dir) = self.dir(&path.parent())? else { return Ok(true) };
        self.wire.cross("rmdir:before")?;
        let gone = match rustix::fs::unlinkat(&dir, path.file_name(), AtFlags::REMOVEDIR) {
            Ok(()) => {
                rustix::fs::fsync(&dir)?;
                true
            }
            Err(Errno::NOENT) => true,
            Err(Errno::NOTEMPTY | Errno::EXIST) => false,
            Err(e) => return Err(e).with_context(|| format!("removing the directory `{path}`")),
        };
        self.wire.cross("rmdir:after")?;
        Ok(gone)
    }

    /// Moves an entry; both parents must be on one filesystem. Never replaces anything but an empty
    /// directory or a file of its own kind.
    pub fn rename(&mut self, from: &HostPath, to: &HostPath) -> Result<()> {
        let (old, new) = (self.home_of(from)?, self.home_of(to)?);
        self.wire.cross("rename:before")?;
        rustix::fs::renameat(&old, from.file_name(), &new, to.file_name())
            .with_context(|| format!("moving `{from}` to `{to}`"))?;
        rustix::fs::fsync(&old)?;
        rustix::fs::fsync(&new)?;
        self.wire.cross("rename:after")
    }

    /// Has two entries of one filesystem change places, in one step for whoever looks.
    pub fn exchange(&mut self, one: &HostPath, other: &HostPath) -> Result<()> {
        let (here, there) = (self.home_of(one)?, self.home_of(other)?);
        self.wire.cross("exchange:before")?;
        let flags = rustix::fs::RenameFlags::EXCHANGE;
        rustix::fs::renameat_with(&here, one.file_name(), &there, other.file_name(), flags)
            .with_context(|| format!("exchanging `{one}` and `{other}`"))?;
        rustix::fs::fsync(&here)?;
        rustix::fs::fsync(&there)?;
        self.wire.cross("exchange:after")
    }

    /// Gives a directory its attributes.
    pub fn set_attr(&mut self, path: &HostPath, attr: Attr) -> Result<()> {
        let fd = self.dir(path)?.with_context(|| format!("`{path}` is not a directory"))?;
        own(&fd, attr).with_context(|| format!("setting the mode of `{path}`"))
    }

    /// Writes everything of the filesystem that holds `path` to the disk.
    pub fn sync(&mut self, path: &HostPath) -> Result<()> {
        let fd = self.dir(path)?.with_context(|| format!("`{path}` does not exist"))?;
        rustix::fs::syncfs(&fd).map_err(|e| full(e.into())).with_context(|| format!("syncing `{path}`"))
    }

    /// A descriptor of a directory, for a walk that stays below it.
    pub fn open_dir(&self, path: &HostPath) -> Result<OwnedFd> {
        self.dir(path)?.with_context(|| format!("`{path}` does not exist"))
    }

    /// Deletes a tree for good. Only for what already lies in a place of root's alone.
    ///
    /// `rm` and not our own walk: it copes with trees deeper than there are descriptors.
    pub fn shred(&mut self, path: &HostPath) -> Result<()> {
        if self.meta(path)?.is_none() {
            return Ok(());
        }
        self.wire.cross("shred:before")?;
        let rm = Tool::find("rm", "coreutils")?;
        rm.run(["-rf".as_ref(), "--one-file-system".as_ref(), "--".as_ref(), self.real(path).as_os_str()])?;
        self.wire.cross("shred:after")
    }
}

pub(super) fn fresh_name(path: &HostPath) -> OsString {
    format!(".{}{NEW}", path.file_name()).into()
}

/// Removes a temporary entry that a dead process may have left.
pub(super) fn clear(dir: &OwnedFd, name: &OsString) -> Result<()> {
    // Looked for first: a read-only filesystem refuses to remove even what is not there.
    if matches!(rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW), Err(Errno::NOENT)) {
        return Ok(());
    }
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(e).context("removing a leftover"),
    }
}

pub(super) fn own(fd: impl AsFd, attr: Attr) -> Result<()> {
    rustix::fs::fchown(&fd, Some(Uid::from_raw(attr.uid)), Some(Gid::from_raw(attr.gid)))?;
    rustix::fs::fchmod(&fd, Mode::from_raw_mode(attr.mode))?;
    Ok(())
}

/// Names a full disk for what it is.
pub(crate) fn full(error: anyhow::Error) -> anyhow::Error {
    let number = error.downcast_ref::<Errno>().copied().or_else(|| {
        error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::raw_os_error)
            .map(Errno::from_raw_os_error)
    });
    match number {
        Some(Errno::NOSPC | Errno::DQUOT) => {
            Fault::new(Code::DiskFull, "the disk is full").next("free some space: `df -h`, `df -i`").into()
        }
        _ => error,
    }
}
