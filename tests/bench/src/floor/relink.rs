//! A static site's next release by hand, of which little has changed: what looks the same is linked, the
//! rest is copied.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, chown, fchown, symlink},
    path::{Path, PathBuf},
    thread,
};

use super::disk::record;

/// Makes `source` the live release of the project at `home`, with two threads.
pub(super) fn switch(home: &Path, release: &str, source: &Path, group: u32) -> io::Result<()> {
    let releases = home.join("releases");
    let staging = releases.join(".staging");
    let old = std::fs::canonicalize(home.join("app")).ok();
    let mut files = Vec::new();
    directories(source, Path::new(""), &staging, group, &mut files)?;
    thread::scope(|threads| {
        let share = files.len().div_ceil(2).max(1);
        let (old, staging) = (old.as_deref(), staging.as_path());
        let work = move |part: &[PathBuf]| -> io::Result<()> {
            let mut buffer = Vec::new();
            part.iter().try_for_each(|path| file(path, source, old, staging, group, &mut buffer))
        };
        let workers: Vec<_> = files.chunks(share).map(|part| threads.spawn(move || work(part))).collect();
        workers.into_iter().try_for_each(|w| w.join().map_err(|_| io::Error::other("a linker panicked"))?)
    })?;
    rustix::fs::syncfs(File::open(home)?)?;
    std::fs::rename(&staging, releases.join(release))?;
    symlink(format!("releases/{release}"), home.join(".app-new"))?;
    std::fs::rename(home.join(".app-new"), home.join("app"))?;
    File::open(&releases)?.sync_all()?;
    File::open(home)?.sync_all()?;
    let name = home.file_name().unwrap_or_default().to_string_lossy().into_owned();
    record(&name, release)
}

fn directories(
    source: &Path,
    below: &Path,
    to: &Path,
    group: u32,
    files: &mut Vec<PathBuf>,
) -> io::Result<()> {
    DirBuilder::new().mode(0o750).create(to.join(below))?;
    chown(to.join(below), Some(0), Some(group))?;
    for entry in std::fs::read_dir(source.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            directories(source, &path, to, group, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// The size and the time of a file tell whether it is the same; copies keep the time.
fn file(
    path: &Path,
    source: &Path,
    old: Option<&Path>,
    to: &Path,
    group: u32,
    buffer: &mut Vec<u8>,
) -> io::Result<()> {
    let meta = std::fs::symlink_metadata(source.join(path))?;
    if let Some(old) = old.map(|old| old.join(path))
        && let Ok(known) = std::fs::symlink_metadata(&old)
        && (known.size(), known.mtime(), known.mtime_nsec()) == (meta.size(), meta.mtime(), meta.mtime_nsec())
    {
        return std::fs::hard_link(old, to.join(path));
    }
    buffer.clear();
    File::open(source.join(path))?.read_to_end(buffer)?;
    let mut copy = OpenOptions::new().write(true).create_new(true).mode(0o640).open(to.join(path))?;
    copy.write_all(buffer)?;
    fchown(&copy, Some(0), Some(group))?;
    copy.set_modified(meta.modified()?)
}
