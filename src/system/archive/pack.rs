//! Packing a source directory: what a deploy from a path sends.
//!
//! Runs in a process with the permissions of whoever asks, against a tree that may change under it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use tar::{Builder, EntryType, Header};

use super::ignore::{self, Ignored};
use super::{Limits, quoted};
use crate::domain::fault::{Code, Fault};

/// What went into an archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PackReport {
    /// Regular files.
    pub files: u64,
    /// Directories, the root not among them.
    pub directories: u64,
    /// Symbolic links.
    pub links: u64,
    /// Bytes in all files together.
    pub bytes: u64,
    /// Paths that were left out: `.git`, and what is ignored.
    pub skipped: Vec<String>,
}

/// What of a directory is left out besides `.git`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// What `.gitignore` and `.hostkitignore` name: a source.
    Ignored,
    /// What `.hostkitignore` names: what has been built is seldom in the repository.
    OwnIgnored,
}

/// Writes the tree below a directory as an uncompressed tar, sorted, the same for the same tree.
///
/// Links are packed, never followed; only the path of the directory itself may lead through links.
pub fn pack(dir: &Path, leaving: Leaving, out: impl Write) -> anyhow::Result<PackReport> {
    let shown = dir.as_os_str().as_bytes();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root =
        rustix::fs::open(dir, flags, Mode::empty()).map_err(|errno| unreadable(shown, &errno.into()))?;
    let mut packer = Packer {
        out: Builder::new(out),
        report: PackReport::default(),
        path: Vec::new(),
        depth: 0,
        leaving,
        ignored: Ignored::default(),
    };
    packer.directory(&root)?;
    if packer.report.files + packer.report.links == 0 {
        let message = format!("{} holds no files", quoted(&String::from_utf8_lossy(shown)));
        return Err(Fault::new(Code::InvalidSource, message).into());
    }
    packer.out.into_inner().and_then(|mut out| out.flush()).map_err(cannot_send)?;
    Ok(packer.report)
}

struct Packer<W: Write> {
    out: Builder<W>,
    report: PackReport,
    /// The path of the entry at hand, relative to the root.
    path: Vec<u8>,
    depth: usize,
    leaving: Leaving,
    ignored: Ignored,
}

impl<W: Write> Packer<W> {
    /// Packs what a directory holds, in the order of the names.
    fn directory(&mut self, dir: &OwnedFd) -> anyhow::Result<()> {
        // The same depth that `extract` takes; and one descriptor is open for each.
        if self.depth > Limits::default().depth {
            return Err(self.refuse("lies too deep").into());
        }
        let texts = self.ignore_files(dir)?;
        // With the slash that ends it the path is no longer the directory's.
        let here = self.path.clone();
        self.ignored.enter(&here, &texts);
        for name in self.names(dir)? {
            let length = self.path.len();
            if length > 0 {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(&name);
            if name == b".git" {
                self.report.skipped.push(String::from_utf8_lossy(&self.path).into_owned());
            } else {
                self.entry(dir, &name)?;
            }
            self.path.truncate(length);
        }
        self.ignored.leave();
        Ok(())
    }

    /// What the files of this directory say about what is left out.
    fn ignore_files(&self, dir: &OwnedFd) -> anyhow::Result<Vec<Vec<u8>>> {
        let names: &[&str] = match self.leaving {
            Leaving::Ignored => &[ignore::GIT, ignore::OWN],
            Leaving::OwnIgnored => &[ignore::OWN],
        };
        let mut texts = Vec::new();
        for name in names {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let Ok(file) = rustix::fs::openat(dir, *name, flags, Mode::empty()) else { continue };
            if FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) != FileType::RegularFile {
                continue;
            }
            let mut text = Vec::new();
            File::from(file).take(ignore::LIMIT as u64).read_to_end(&mut text)?;
            texts.push(text);
        }
        Ok(texts)
    }

    fn names(&self, dir: &OwnedFd) -> Result<Vec<Vec<u8>>, Fault> {
        let failed = |errno: rustix::io::Errno| self.unreadable(errno);
        let mut names = Vec::new();
        for entry in Dir::read_from(dir).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn entry(&mut self, dir: &OwnedFd, name: &[u8]) -> anyhow::Result<()> {
        let failed = |errno: rustix::io::Errno| self.unreadable(errno);
        let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if self.ignored.leaves_out(&self.path, kind == FileType::Directory) {
            self.report.skipped.push(String::from_utf8_lossy(&self.path).into_owned());
            return Ok(());
        }
        match kind {
            FileType::Directory => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let child = rustix::fs::openat(dir, name, flags, Mode::empty()).map_err(failed)?;
                self.path.push(b'/');
                self.append(header(EntryType::Directory, 0o755, 0), io::empty())?;
                self.path.pop();
                self.report.directories += 1;
                self.depth += 1;
                self.directory(&child)?;
                self.depth -= 1;
                Ok(())
            }
            FileType::RegularFile => self.file(dir, name),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(dir, name, Vec::new()).map_err(failed)?;
                self.link(target.as_bytes())
            }
            FileType::Fifo => Err(self.refuse("is a named pipe").into()),
            FileType::Socket => Err(self.refuse("is a socket").into()),
            _ => Err(self.refuse("is a device").into()),
        }
    }

    fn file(&mut self, dir: &OwnedFd, name: &[u8]) -> anyhow::Result<()> {
        // It may have become something else since it was looked at: a link is refused by NOFOLLOW, and
        // opening a pipe must not wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(dir, name, flags, Mode::empty()).map_err(|e| self.unreadable(e))?;
        let stat: Stat = rustix::fs::fstat(file.as_fd()).map_err(|e| self.unreadable(e))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(self.refuse("changed while it was read").into());
        }
        if stat.st_mode & 0o6000 != 0 {
            return Err(self.refuse("is set to run as its owner or group (setuid, setgid)").into());
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let mode = if stat.st_mode & 0o100 == 0 { 0o644 } else { 0o755 };
        let content = Steady { file: File::from(file), left: size, path: self.path.clone() };
        self.append(header(EntryType::Regular, mode, size), content)?;
        self.report.files += 1;
        self.report.bytes += size;
        Ok(())
    }

    fn link(&mut self, target: &[u8]) -> anyhow::Result<()> {
        let mut header = header(EntryType::Symlink, 0o777, 0);
        // The literal form: the other one tidies the target up.
        if header.set_link_name_literal(target).is_ok() {
            self.append(header, io::empty())?;
        } else {
            let path = std::ffi::OsStr::from_bytes(&self.path);
            let target = std::ffi::OsStr::from_bytes(target);
            self.out.append_link(&mut header, path, target).map_err(cannot_send)?;
        }
        self.report.links += 1;
        Ok(())
    }

    fn append(&mut self, mut header: Header, content: impl Read) -> anyhow::Result<()> {
        let path = std::ffi::OsStr::from_bytes(&self.path);
        self.out.append_data(&mut header, path, content).map_err(cannot_send)
    }

    fn refuse(&self, why: &str) -> Fault {
        let path = quoted(&String::from_utf8_lossy(&self.path));
        Fault::new(Code::InvalidSource, format!("the source cannot be packed: {path} {why}"))
            .next("remove it from the source")
    }

    fn unreadable(&self, errno: rustix::io::Errno) -> Fault {
        unreadable(if self.path.is_empty() { b"." } else { &self.path }, &errno.into())
    }
}

/// A header of which only what matters is filled in, so that equal trees make equal archives.
pub(super) fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// The content of a file that has to stay as long as it was when it was opened.
struct Steady {
    file: File,
    left: u64,
    path: Vec<u8>,
}

impl Read for Steady {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            _ => io::Error::other(unreadable(&self.path, &error)),
        };
        let changed = |how: &str| {
            let path = quoted(&String::from_utf8_lossy(&self.path));
            let fault = Fault::new(Code::InvalidSource, format!("{path} {how} while it was read"));
            io::Error::other(fault.next("wait until nothing writes to the source, and deploy again"))
        };
        if self.left == 0 {
            // One byte past the end tells whether the file has grown.
            return match self.file.read(&mut [0]).map_err(failed)? {
                0 => Ok(0),
                _ => Err(changed("grew")),
            };
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        match self.file.read(&mut buffer[..most]).map_err(failed)? {
            0 => Err(changed("shrank")),
            count => {
                self.left -= count as u64;
                Ok(count)
            }
        }
    }
}

fn unreadable(path: &[u8], error: &io::Error) -> Fault {
    let path = quoted(&String::from_utf8_lossy(path));
    let reason = match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
        Some(rustix::io::Errno::NOENT) => "it does not exist".to_owned(),
        Some(rustix::io::Errno::NOTDIR) => "it is not a directory".to_owned(),
        Some(rustix::io::Errno::ACCESS | rustix::io::Errno::PERM) => "you may not read it".to_owned(),
        _ => error.to_string(),
    };
    Fault::new(Code::InvalidSource, format!("cannot read {path}: {reason}"))
}

/// An error while writing, unless it is a fault about the file being read.
pub(super) fn cannot_send(error: io::Error) -> anyhow::Error {
    match error.downcast::<Fault>() {
        Ok(fault) => fault.into(),
        Err(error) => anyhow::Error::new(error).context("cannot pass the packed source on"),
    }
}
