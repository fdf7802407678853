//! Whether a part of a tree holds a certain word.

use std::{io::Read, os::fd::OwnedFd, path::Path};

use anyhow::Result;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};

use super::crew::go_through;

/// Of a larger file only the beginning is read, in bytes.
const LARGEST: u64 = 64 << 20;
const INSIDE: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_XDEV);

/// Whether a file below `path`, or the file there, holds `word`; or a link leads by it. The directories of
/// `but` are left out, and so is what says for itself only where it was once compiled. Nobody works on the
/// tree meanwhile.
pub fn mentions(root: &OwnedFd, path: &str, word: &str, but: &[String]) -> Result<bool> {
    let word = word.as_bytes();
    let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let parent = rustix::fs::openat2(root, parent, flags, Mode::empty(), INSIDE)?;
    let stat = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return holds(&parent, name, word);
    }
    let found = go_through(
        path,
        || false,
        |found, dir| {
            let mut below = Vec::new();
            if *found || but.iter().any(|but| but == dir) {
                return Ok(below);
            }
            let fd = rustix::fs::openat2(root, dir, flags, Mode::empty(), INSIDE)?;
            for entry in Dir::read_from(&fd)? {
                let entry = entry?;
                let Ok(name) = entry.file_name().to_str() else { return Ok(Vec::new()) };
                let stat = rustix::fs::statat(&fd, name, AtFlags::SYMLINK_NOFOLLOW)?;
                match FileType::from_raw_mode(stat.st_mode) {
                    _ if [".", "..", "pyvenv.cfg"].contains(&name) => {}
                    _ if Path::new(name).extension().is_some_and(|kind| kind == "pyc") => {}
                    FileType::Directory => below.push(format!("{dir}/{name}")),
                    _ => *found |= holds(&fd, name, word)?,
                }
            }
            Ok(below)
        },
    )?;
    Ok(found.into_iter().any(|found| found))
}

fn holds(dir: &OwnedFd, name: &str, word: &[u8]) -> Result<bool> {
    let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let mut bytes = Vec::new();
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = std::fs::File::from(rustix::fs::openat(dir, name, flags, Mode::empty())?);
            file.take(LARGEST).read_to_end(&mut bytes)?;
        }
        FileType::Symlink => bytes = rustix::fs::readlinkat(dir, name, Vec::new())?.into_bytes(),
        _ => {}
    }
    Ok(bytes.windows(word.len()).any(|part| part == word))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_word_is_found_in_files_and_links_but_not_where_it_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let root = OwnedFd::from(fs::File::open(dir.path()).unwrap());
        fs::create_dir_all(dir.path().join("venv/bin")).unwrap();
        fs::create_dir_all(dir.path().join("venv/lib/x")).unwrap();
        let but = ["venv/bin".to_owned()];
        let found = || mentions(&root, "venv", "20261120", &but).unwrap();
        for harmless in ["venv/bin/pip", "venv/pyvenv.cfg", "venv/lib/x/a.pyc"] {
            fs::write(dir.path().join(harmless), "#!/home/blog/releases/20261120/python").unwrap();
        }
        assert!(!found());
        fs::write(dir.path().join("venv/lib/x/lib.so"), b"\x7fELF /releases/20261120/lib\0").unwrap();
        assert!(found());
        fs::remove_file(dir.path().join("venv/lib/x/lib.so")).unwrap();
        std::os::unix::fs::symlink("/home/blog/releases/20261120/y", dir.path().join("venv/lib/y")).unwrap();
        assert!(found());
        assert!(mentions(&root, "venv/bin/pip", "20261120", &but).unwrap());
    }
}
