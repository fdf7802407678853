//! Making entries, remembering them, and writing them to the disk in the cheapest way.

use std::{
    collections::BTreeSet,
    fs::{DirBuilder, File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown, fchown, symlink},
    path::{Path, PathBuf},
    str::FromStr,
};

/// How what was made gets to the disk; which is faster depends on the disk and on what else waits for
/// it, so the measurement tries both and takes the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sync {
    /// Everything of the filesystem at once.
    Whole,
    /// Entry by entry: the first takes the others' names along, so the rest is cheap.
    Each,
}

impl Sync {
    pub(crate) const ALL: [Self; 2] = [Self::Whole, Self::Each];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Each => "each",
        }
    }
}

impl FromStr for Sync {
    type Err = String;
    fn from_str(word: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|s| s.word() == word).ok_or_else(|| format!("no way to sync: `{word}`"))
    }
}

/// Owner, group and permission bits.
pub(super) type Attr = (u32, u32, u32);

/// What was made, and is not surely on the disk yet.
#[derive(Default)]
pub(super) struct Made {
    /// Files, and directories in which something was made.
    places: BTreeSet<PathBuf>,
}

impl Made {
    fn note(&mut self, path: &Path, itself: bool) {
        if itself {
            self.places.insert(path.to_owned());
        }
        self.places.extend(path.parent().map(Path::to_owned));
    }

    /// Something that somebody else made.
    pub(super) fn saw(&mut self, path: &Path) {
        self.note(path, true);
    }

    /// A directory that is not there yet.
    pub(super) fn directory(&mut self, path: &Path, (uid, gid, mode): Attr) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(path)?;
        if (uid, gid) != (0, 0) {
            chown(path, Some(uid), Some(gid))?;
        }
        std::fs::set_permissions(path, Permissions::from_mode(mode))?;
        self.note(path, true);
        Ok(())
    }

    /// A file that is not there yet. Nobody reads it before the record says that it is complete.
    pub(super) fn file(&mut self, path: &Path, text: &[u8], (uid, gid, mode): Attr) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(text)?;
        if (uid, gid) != (0, 0) {
            fchown(&file, Some(uid), Some(gid))?;
        }
        self.note(path, true);
        Ok(())
    }

    /// A link that is not there yet.
    pub(super) fn link(&mut self, path: &Path, target: &str) -> io::Result<()> {
        symlink(target, path)?;
        self.note(path, false);
        Ok(())
    }

    /// Writes it all to the disk.
    pub(super) fn sync(&self, how: Sync) -> io::Result<()> {
        match how {
            Sync::Whole => Ok(rustix::fs::syncfs(File::open("/")?)?),
            Sync::Each => self.places.iter().try_for_each(|place| File::open(place)?.sync_all()),
        }
    }
}

/// The last thing, after everything is on the disk: one durable line that says it was done.
pub(super) fn record(name: &str, what: &str) -> io::Result<()> {
    let path = Path::new(super::RECORDS).join(name);
    let mut file = OpenOptions::new().append(true).create(true).open(&path)?;
    file.write_all(format!("{what}\n").as_bytes())?;
    file.sync_all()?;
    File::open(super::RECORDS)?.sync_all()
}
