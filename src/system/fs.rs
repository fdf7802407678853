//! Files below a root, opened so that no link on the way is followed.
//!
//! Every operation opens the parent directory with `openat2` (no symbolic links, no magic links, never
//! out of the root) and works relative to that descriptor, so a project that flips a directory for a
//! link wins nothing. Every change is complete, synced and renamed into place, or not there at all.

use std::{
    cell::RefCell,
    ffi::OsString,
    io::{Read, Write},
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use rustix::{
    fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Uid, XattrFlags},
    io::Errno,
};

use super::Tripwire;
use crate::domain::{
    fault::{Code, Fault},
    layout::HostPath,
};

/// Temporary names end in this; whatever carries it is left over from a dead process.
const NEW: &str = ".hostkit-new";
const ACL: &str = "system.posix_acl_access";

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

    // ---- looking -------------------------------------------------------------------------------

    /// What is at `path`, if anything.
    pub fn meta(&self, path: &HostPath) -> Result<Option<Meta>> {
        let path = &self.looking(path);
        let Some(dir) = self.dir(&path.parent())? else { return Ok(None) };
        match rustix::fs::statat(&dir, path.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(meta_of(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(e).with_context(|| format!("looking at `{path}`")),
        }
    }

    /// A regular file for reading, if it exists.
    pub fn open_file(&self, path: &HostPath) -> Result<Option<std::fs::File>> {
        let path = &self.looking(path);
        let Some(dir) = self.dir(&path.parent())? else { return Ok(None) };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = match rustix::fs::openat(&dir, path.file_name(), flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => bail!("`{path}` is a symbolic link"),
            Err(e) => return Err(e).with_context(|| format!("opening `{path}`")),
        };
        if FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode) != FileType::RegularFile {
            bail!("`{path}` is not a regular file");
        }
        Ok(Some(fd.into()))
    }

    /// The content of a regular file of at most `limit` bytes, if it exists.
    pub fn read(&self, path: &HostPath, limit: u64) -> Result<Option<Vec<u8>>> {
        let Some(file) = self.open_file(path)? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes).with_context(|| format!("reading `{path}`"))?;
        if bytes.len() as u64 > limit {
            bail!("`{path}` is larger than {limit} bytes");
        }
        Ok(Some(bytes))
    }

    /// Where a symbolic link points, if there is one.
    pub fn target(&self, path: &HostPath) -> Result<Option<String>> {
        let path = &self.looking(path);
        let Some(dir) = self.dir(&path.parent())? else { return Ok(None) };
        match rustix::fs::readlinkat(&dir, path.file_name(), Vec::new()) {
            Ok(target) => Ok(Some(target.to_string_lossy().into_owned())),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(e).with_context(|| format!("reading the link `{path}`")),
        }
    }

    /// The names in a directory; none when it does not exist.
    pub fn list(&self, path: &HostPath) -> Result<Vec<String>> {
        let Some(dir) = self.dir(&self.looking(path))? else { return Ok(Vec::new()) };
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::new(dir)? {
            let name = entry
                .with_context(|| format!("listing `{path}`"))?
                .file_name()
                .to_string_lossy()
                .into_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// The account that may pass through a directory besides its owner and group.
    pub fn visitor(&self, path: &HostPath) -> Result<Option<u32>> {
        let Some(dir) = self.dir(&self.looking(path))? else { return Ok(None) };
        let mut value = [0_u8; 256];
        match rustix::fs::fgetxattr(&dir, ACL, &mut value) {
            Ok(length) => Ok(decode_acl(&value[..length])),
            Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
            Err(e) => Err(e).with_context(|| format!("reading the access list of `{path}`")),
        }
    }

    /// What is left on the filesystem that holds `path`.
    pub fn space(&self, path: &HostPath) -> Result<Space> {
        let fd = match self.dir(path)? {
            Some(fd) => fd,
            None => self.at.try_clone()?,
        };
        let stat = rustix::fs::fstatvfs(&fd).with_context(|| format!("measuring the space at `{path}`"))?;
        Ok(Space {
            bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
            total: stat.f_blocks.saturating_mul(stat.f_frsize),
            inodes: (stat.f_files > 0).then_some(stat.f_favail),
        })
    }

    // ---- touching ------------------------------------------------------------------------------

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
            Some(uid) => rustix::fs::fsetxattr(&made, ACL, &encode_acl(attr.mode, uid), XattrFlags::empty())
                .with_context(|| format!("setting the access list of `{path}`"))?,
            None => match rustix::fs::fremovexattr(&made, ACL) {
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
        let rm = super::exec::Tool::find("rm", "coreutils")?;
        rm.run(["-rf".as_ref(), "--one-file-system".as_ref(), "--".as_ref(), self.real(path).as_os_str()])?;
        self.wire.cross("shred:after")
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
    }
}

fn fresh_name(path: &HostPath) -> OsString {
    format!(".{}{NEW}", path.file_name()).into()
}

/// Removes a temporary entry that a dead process may have left.
fn clear(dir: &OwnedFd, name: &OsString) -> Result<()> {
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(e).context("removing a leftover"),
    }
}

fn own(fd: impl AsFd, attr: Attr) -> Result<()> {
    rustix::fs::fchown(&fd, Some(Uid::from_raw(attr.uid)), Some(Gid::from_raw(attr.gid)))?;
    rustix::fs::fchmod(&fd, Mode::from_raw_mode(attr.mode))?;
    Ok(())
}

/// Names a full disk for what it is.
fn full(error: anyhow::Error) -> anyhow::Error {
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

// The kernel's format: a version, then (tag, permissions, id) by rising tag.
const ACL_VERSION: u32 = 2;
const NO_ID: u32 = u32::MAX;
const TAG_USER: u16 = 2;

/// An access list that adds `--x` for one account to what `mode` says.
fn encode_acl(mode: u32, visitor: u32) -> Vec<u8> {
    let bits = |shift: u32| u16::try_from((mode >> shift) & 7).unwrap_or(0);
    let entries = [
        (1_u16, bits(6), NO_ID),
        (TAG_USER, 1, visitor),
        (4, bits(3), NO_ID),
        (0x10, bits(3) | 1, NO_ID),
        (0x20, bits(0), NO_ID),
    ];
    let mut out = ACL_VERSION.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        out.extend(tag.to_le_bytes());
        out.extend(permissions.to_le_bytes());
        out.extend(id.to_le_bytes());
    }
    out
}

fn decode_acl(value: &[u8]) -> Option<u32> {
    value.get(4..)?.chunks_exact(8).find_map(|entry| {
        let (tag, id) = (entry.get(..2)?, entry.get(4..8)?);
        (u16::from_le_bytes(tag.try_into().ok()?) == TAG_USER)
            .then(|| id.try_into().ok().map(u32::from_le_bytes))
            .flatten()
    })
}
