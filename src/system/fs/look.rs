//! Looking at files. Nothing here changes any.

use std::io::Read;

use anyhow::{Context, Result, bail};
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags},
    io::Errno,
};

use super::{Meta, Root, Space, acl, meta_of};
use crate::domain::layout::HostPath;

impl Root {
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
        match rustix::fs::fgetxattr(&dir, acl::NAME, &mut value) {
            Ok(length) => Ok(acl::decode(&value[..length])),
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
}
