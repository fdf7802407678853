//! Having a directory of a sealed tree in another tree too.

use std::{ffi::CStr, os::fd::OwnedFd};

use anyhow::{Context, Result};
use rustix::{
    fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Uid},
    io::Errno,
};

use super::crew::go_through;

/// How files come to be in the other tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// As the very same files: for a tree that nobody will write to.
    Link,
    /// As copies that belong to this account: for one that is still worked on.
    Copy(u32),
}

const INSIDE: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_XDEV);
const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Clones the directory, file or link `path` of `from` into `to`, where nothing may be at `path`.
///
/// `from` is a sealed tree, and nobody works on `to` meanwhile.
pub fn clone(from: &OwnedFd, to: &OwnedFd, path: &str, way: Way) -> Result<()> {
    let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
    let parent = rustix::fs::openat2(to, parent, DIRECTORY, Mode::empty(), INSIDE)
        .with_context(|| format!("opening the directory of `{path}`"))?;
    let (above, _) = path.rsplit_once('/').unwrap_or((".", path));
    let old = rustix::fs::openat2(from, above, DIRECTORY, Mode::empty(), INSIDE)?;
    let stat = rustix::fs::statat(&old, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let c_name = std::ffi::CString::new(name)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {}
        FileType::Symlink => return link(&old, &parent, &c_name, way),
        _ => return file(&old, &parent, &c_name, way).with_context(|| format!("cloning `{path}`")),
    }
    make(&parent, name.as_bytes(), way).with_context(|| format!("making `{path}`"))?;
    go_through(path, || vec![0; 64 << 10], |_, dir| directory(from, to, dir, way))?;
    Ok(())
}

fn make(parent: &OwnedFd, name: &[u8], way: Way) -> Result<()> {
    rustix::fs::mkdirat(parent, name, Mode::RWXU)?;
    let made = rustix::fs::openat(parent, name, DIRECTORY, Mode::empty())?;
    own(&made, way)?;
    rustix::fs::fchmod(&made, Mode::from_raw_mode(0o750))?;
    Ok(())
}

fn own(fd: &OwnedFd, way: Way) -> Result<()> {
    if let Way::Copy(uid) = way {
        rustix::fs::fchown(fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(uid)))?;
    }
    Ok(())
}

/// Clones what lies in a directory; gives the directories among it, which are made.
fn directory(from: &OwnedFd, to: &OwnedFd, path: &str, way: Way) -> Result<Vec<String>> {
    let open = |root| rustix::fs::openat2(root, path, DIRECTORY, Mode::empty(), INSIDE);
    let old = open(from).with_context(|| format!("opening `{path}`"))?;
    let new = open(to).with_context(|| format!("opening `{path}`"))?;
    let mut below = Vec::new();
    for entry in Dir::read_from(&old)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => {
                let stat = rustix::fs::statat(&old, name, AtFlags::SYMLINK_NOFOLLOW)?;
                FileType::from_raw_mode(stat.st_mode)
            }
            kind => kind,
        };
        match kind {
            FileType::Directory => {
                make(&new, name.to_bytes(), way)?;
                below.push(format!("{path}/{}", name.to_str()?));
            }
            FileType::Symlink => link(&old, &new, name, way)?,
            FileType::RegularFile => {
                file(&old, &new, name, way).with_context(|| format!("cloning a file of `{path}`"))?;
            }
            // A sealed tree holds nothing else.
            _ => {}
        }
    }
    Ok(below)
}

fn link(old: &OwnedFd, new: &OwnedFd, name: &CStr, way: Way) -> Result<()> {
    let target = rustix::fs::readlinkat(old, name, Vec::new())?;
    rustix::fs::symlinkat(&target, new, name)?;
    if let Way::Copy(uid) = way {
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(uid)));
        rustix::fs::chownat(new, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

fn file(old: &OwnedFd, new: &OwnedFd, name: &CStr, way: Way) -> Result<()> {
    if way == Way::Link {
        match rustix::fs::linkat(old, name, new, name, AtFlags::empty()) {
            // It has as many names as the filesystem allows.
            Err(Errno::MLINK) => {}
            other => return Ok(other?),
        }
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut source = std::fs::File::from(rustix::fs::openat(old, name, flags, Mode::empty())?);
    let stat = rustix::fs::fstat(&source)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut copy = std::fs::File::from(rustix::fs::openat(new, name, flags, Mode::RUSR | Mode::WUSR)?);
    std::io::copy(&mut source, &mut copy)?;
    let copy = OwnedFd::from(copy);
    match way {
        Way::Copy(_) => own(&copy, way)?,
        Way::Link => rustix::fs::fchown(&copy, None, Some(Gid::from_raw(stat.st_gid)))?,
    }
    rustix::fs::fchmod(&copy, Mode::from_raw_mode(stat.st_mode & 0o777))?;
    Ok(())
}
