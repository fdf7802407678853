//! The walk: every entry is looked at, given to root, and written down.

use std::{
    ffi::CStr,
    io::Read,
    os::fd::OwnedFd,
    sync::atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context, Result};
use rustix::{
    fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Uid},
    io::Errno,
};
use sha2::{Digest as _, Sha256};

use super::{DEPTH, ENTRIES, Seal, crew::go_through, modes, refuse};
use crate::{
    domain::fault::{Code, Fault},
    system::archive::{Entry, Kind},
};

/// Files up to this size are read in one piece.
const PIECE: usize = 256 << 10;

/// What those who walk share.
struct Walk<'a> {
    root: &'a OwnedFd,
    how: &'a Seal<'a>,
    entries: AtomicUsize,
}

/// Everything in the tree, in no order, after it has been sealed.
pub(super) fn walk(root: &OwnedFd, how: &Seal<'_>) -> Result<Vec<Entry>> {
    let walk = Walk { root, how, entries: AtomicUsize::new(0) };
    let all = go_through(
        "",
        || (Vec::new(), vec![0; PIECE]),
        |(found, buffer): &mut (Vec<Entry>, Vec<u8>), dir| {
            let before = found.len();
            walk.directory(dir, found, buffer)?;
            let new = &found[before..];
            if walk.entries.fetch_add(new.len(), Ordering::Relaxed) + new.len() > ENTRIES {
                let why = format!("the build left more than {ENTRIES} files and directories");
                return Err(Fault::new(Code::BuildFailed, why).into());
            }
            let below = new.iter().filter(|entry| matches!(entry.kind, Kind::Directory { .. }));
            Ok(below.map(|entry| entry.path.clone()).collect())
        },
    )?;
    Ok(all.into_iter().flat_map(|(found, _)| found).collect())
}

impl Walk<'_> {
    fn directory(&self, dir: &str, found: &mut Vec<Entry>, buffer: &mut [u8]) -> Result<()> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let at = if dir.is_empty() { "." } else { dir };
        let fd = rustix::fs::openat2(self.root, at, flags, Mode::empty(), resolve)
            .with_context(|| format!("opening `{dir}` of the build"))?;
        self.own(&fd, modes::of_directory(dir, self.how.public))?;
        drop_lists(&fd, true)?;
        for entry in Dir::read_from(&fd)? {
            let entry = entry.with_context(|| format!("listing `{dir}` of the build"))?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let path = join(dir, name)?;
            let kind = self.entry(&fd, name, &path, buffer).with_context(|| format!("sealing `{path}`"))?;
            found.push(Entry { path, kind });
        }
        Ok(())
    }

    fn entry(&self, dir: &OwnedFd, name: &CStr, path: &str, buffer: &mut [u8]) -> Result<Kind> {
        let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory if path.split('/').count() >= DEPTH => {
                Err(refuse(path, format!("is more than {DEPTH} directories deep")).into())
            }
            // It gets its owner when it is walked through.
            FileType::Directory => Ok(Kind::Directory { mode: modes::of_directory(path, self.how.public) }),
            FileType::RegularFile => self.file(dir, name, path, &stat, buffer),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(dir, name, Vec::new())?;
                let target = target.into_string().map_err(|_| refuse(path, "is a link that is not UTF-8"))?;
                let (uid, gid) = (Some(Uid::ROOT), Some(Gid::from_raw(self.how.gid)));
                rustix::fs::chownat(dir, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
                Ok(Kind::Link { target })
            }
            other => Err(refuse(path, format!("is a {}; a release holds none", describe(other)))
                .next("have the build remove it at its end")
                .into()),
        }
    }

    fn file(&self, dir: &OwnedFd, name: &CStr, path: &str, stat: &Stat, buffer: &mut [u8]) -> Result<Kind> {
        let mode = modes::of_file(path, stat.st_mode & 0o100 != 0, self.how.public);
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        // Root's own with more than one name is a file that a sealed release lent: it is sealed already.
        let lent = stat.st_nlink > 1
            && (stat.st_uid, stat.st_gid) == (0, self.how.gid)
            && stat.st_mode & 0o7777 == mode;
        if lent && let Some(sha256) = self.how.kin.and_then(|kin| kin.lent(path, stat)) {
            return Ok(Kind::File { mode, size, sha256 });
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut file = std::fs::File::from(rustix::fs::openat(dir, name, flags, Mode::empty())?);
        let sha256 = digest(&mut file, size, buffer)?;
        if let Some(kin) = self.how.kin
            && kin.resembles(path, mode, size)
            && kin.digest(path) == Some(sha256)
        {
            let name = name.to_str()?;
            rustix::fs::unlinkat(dir, name, AtFlags::empty())?;
            if kin.lend(path, (mode, size, sha256), self.how.gid, dir, name)? {
                return Ok(Kind::File { mode, size, sha256 });
            }
            // It has lost its name, and gets another copy of itself under it.
            self.copy(&mut file, dir, name, mode)?;
        } else if stat.st_nlink > 1 {
            // Another name of it may lie where the build's account still gets.
            rustix::fs::unlinkat(dir, name, AtFlags::empty())?;
            self.copy(&mut file, dir, name.to_str()?, mode)?;
        } else {
            self.own_as(&file, stat.st_mode & 0o7777, mode)?;
            drop_lists(&file, false)?;
        }
        Ok(Kind::File { mode, size, sha256 })
    }

    fn copy(&self, file: &mut std::fs::File, dir: &OwnedFd, name: &str, mode: u32) -> Result<()> {
        use std::io::Seek;
        file.rewind()?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut new = std::fs::File::from(rustix::fs::openat(dir, name, flags, Mode::RUSR | Mode::WUSR)?);
        std::io::copy(file, &mut new)?;
        self.own(&new, mode)
    }

    /// Gives it to root. The owner first: changing it clears bits of the mode.
    fn own(&self, fd: impl std::os::fd::AsFd, mode: u32) -> Result<()> {
        rustix::fs::fchown(&fd, Some(Uid::ROOT), Some(Gid::from_raw(self.how.gid)))?;
        rustix::fs::fchmod(&fd, Mode::from_raw_mode(mode))?;
        Ok(())
    }

    /// The same for what has the mode `has`: one that is right already, and that no change of the owner
    /// touches, is left as it is.
    fn own_as(&self, fd: impl std::os::fd::AsFd, has: u32, mode: u32) -> Result<()> {
        if has != mode {
            return self.own(fd, mode);
        }
        rustix::fs::fchown(&fd, Some(Uid::ROOT), Some(Gid::from_raw(self.how.gid)))?;
        Ok(())
    }
}

/// Takes away the access lists that a build may have left as a way back in.
fn drop_lists(fd: impl std::os::fd::AsFd, directory: bool) -> Result<()> {
    let names: &[&str] = if directory {
        &["system.posix_acl_access", "system.posix_acl_default"]
    } else {
        &["system.posix_acl_access"]
    };
    for name in names {
        match rustix::fs::fremovexattr(&fd, *name) {
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(e) => return Err(e).context("removing an access list"),
        }
    }
    Ok(())
}

fn digest(file: &mut std::fs::File, size: u64, buffer: &mut [u8]) -> Result<[u8; 32]> {
    let mut digest = Sha256::new();
    let mut left = size;
    loop {
        match file.read(buffer) {
            Ok(0) => break,
            Ok(n) => {
                digest.update(&buffer[..n]);
                left = left.saturating_sub(n as u64);
                if left == 0 {
                    break;
                }
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(digest.finalize().into())
}

fn join(dir: &str, name: &CStr) -> Result<String> {
    let name = name.to_str().map_err(|_| refuse(dir, "holds a name that is not UTF-8"))?;
    let path = if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") };
    // As in an archive: whatever shows such a name, on a terminal or in a list of lines, shows another.
    if name.chars().any(char::is_control) {
        return Err(refuse(&path, "has a control character in its name").into());
    }
    Ok(path)
}

fn describe(kind: FileType) -> &'static str {
    match kind {
        FileType::Fifo => "named pipe",
        FileType::Socket => "socket",
        FileType::CharacterDevice | FileType::BlockDevice => "device",
        _ => "thing of an unknown kind",
    }
}
