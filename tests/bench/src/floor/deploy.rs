//! A static site's next release by hand: copy, own, sync, swap.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, chown, fchown, symlink},
    path::{Path, PathBuf},
    thread,
};

use super::disk::record;

/// How a tree is copied.
#[derive(Clone, Copy)]
pub(super) struct Copy {
    /// Who may read it besides root.
    pub(super) group: u32,
    /// With more than one, files are copied side by side.
    pub(super) threads: usize,
}

impl Copy {
    /// Copies a tree of files and directories; `saw` hears of every entry that was made.
    pub(super) fn tree(self, from: &Path, to: &Path, mut saw: impl FnMut(&Path)) -> io::Result<()> {
        let mut files = Vec::new();
        self.directories(from, to, &mut files, &mut saw)?;
        let share = files.len().div_ceil(self.threads).max(1);
        thread::scope(|threads| {
            let work = |part| {
                let mut buffer = Vec::with_capacity(1 << 17);
                <[(PathBuf, PathBuf)]>::iter(part).try_for_each(|(from, to)| self.file(from, to, &mut buffer))
            };
            let workers: Vec<_> = files.chunks(share).map(|part| threads.spawn(move || work(part))).collect();
            workers
                .into_iter()
                .try_for_each(|w| w.join().map_err(|_| io::Error::other("a copier panicked"))?)
        })?;
        for (_, to) in &files {
            saw(to);
        }
        Ok(())
    }

    fn directories(
        self,
        from: &Path,
        to: &Path,
        files: &mut Vec<(PathBuf, PathBuf)>,
        saw: &mut impl FnMut(&Path),
    ) -> io::Result<()> {
        DirBuilder::new().mode(0o750).create(to)?;
        chown(to, Some(0), Some(self.group))?;
        for entry in std::fs::read_dir(from)? {
            let entry = entry?;
            let (from, to) = (entry.path(), to.join(entry.file_name()));
            if entry.file_type()?.is_dir() {
                self.directories(&from, &to, files, saw)?;
                saw(&to);
            } else {
                files.push((from, to));
            }
        }
        Ok(())
    }

    fn file(self, from: &Path, to: &Path, buffer: &mut Vec<u8>) -> io::Result<()> {
        let mut source = File::open(from)?;
        let executable = source.metadata()?.mode() & 0o100 != 0;
        let mode = if executable { 0o750 } else { 0o640 };
        let mut copy = OpenOptions::new().write(true).create_new(true).mode(mode).open(to)?;
        buffer.clear();
        source.read_to_end(buffer)?;
        copy.write_all(buffer)?;
        fchown(&copy, Some(0), Some(self.group))
    }
}

/// Makes `source` the live release of the project at `home`.
pub(super) fn switch(home: &Path, release: &str, source: &Path, copy: Copy) -> io::Result<()> {
    let releases = home.join("releases");
    let staging = releases.join(".staging");
    copy.tree(source, &staging, |_| {})?;
    rustix::fs::syncfs(File::open(home)?)?;
    std::fs::rename(&staging, releases.join(release))?;
    symlink(format!("releases/{release}"), home.join(".app-new"))?;
    std::fs::rename(home.join(".app-new"), home.join("app"))?;
    File::open(&releases)?.sync_all()?;
    File::open(home)?.sync_all()?;
    let name = home.file_name().unwrap_or_default().to_string_lossy().into_owned();
    record(&name, release)
}
