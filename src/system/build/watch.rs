//! Looking after a build while it runs: what the kernel does not bound by itself.

use std::os::fd::OwnedFd;

use anyhow::{Context, Result};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};

use super::{Ending, Job};

/// What must stay free on the filesystem, whatever a build may use.
const RESERVE: u64 = 200 << 20;
/// So much has to be written, by whomever, before it is worth while to count what the build holds.
const STRIDE: u64 = 128 << 20;
/// What is deeper down is refused at the end anyway.
const DEPTH: u32 = 128;

/// What is known of a running build.
#[derive(Debug)]
pub(super) struct Watch {
    tree: OwnedFd,
    home: OwnedFd,
    /// What must stay free here: a small disk may have had less to begin with.
    reserve: u64,
    /// How much was free when it was last counted.
    free: u64,
    /// Whether the kernel has killed any of it for want of memory.
    pub(super) starved: bool,
}

impl Watch {
    pub(super) fn begin(job: &Job) -> Result<Self> {
        let open = |path: &crate::domain::layout::HostPath| {
            let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::open(path.as_path(), flags, Mode::empty())
                .with_context(|| format!("opening `{path}`"))
        };
        let (tree, home) = (open(&job.tree)?, open(&job.home)?);
        let free = free(&tree)?;
        Ok(Self { tree, home, reserve: RESERVE.min(free / 2), free, starved: false })
    }

    /// Whether it has to end, and why.
    pub(super) fn look(&mut self, job: &Job) -> Result<Option<Ending>> {
        self.starved = self.starved || starved(job);
        let free = free(&self.tree)?;
        if free < self.reserve {
            return Ok(Some(Ending::DiskFull));
        }
        if self.free.saturating_sub(free) < STRIDE {
            return Ok(None);
        }
        self.free = free;
        let held = held(&self.tree) + held(&self.home);
        Ok((held > job.bounds.disk).then_some(Ending::TooLarge))
    }
}

fn free(at: &OwnedFd) -> Result<u64> {
    let stat = rustix::fs::fstatvfs(at).context("measuring the space that is left")?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// What a tree holds on the disk. It may change while it is counted: what has gone meanwhile counts nothing.
pub fn held(dir: &OwnedFd) -> u64 {
    held_to(dir, DEPTH)
}

fn held_to(dir: &OwnedFd, depth: u32) -> u64 {
    let Ok(entries) = Dir::read_from(dir) else { return 0 };
    let mut sum = 0;
    for entry in entries.flatten() {
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let Ok(stat) = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        sum += u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory && depth > 0 {
            let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            if let Ok(inner) = rustix::fs::openat(dir, name, flags, Mode::empty()) {
                sum += held_to(&inner, depth - 1);
            }
        }
    }
    sum
}

/// Whether the kernel has killed any of the unit's processes for want of memory. systemd says so itself
/// where there is one hierarchy of control groups; the counters are gone with the unit.
fn starved(job: &Job) -> bool {
    let unit = &job.unit;
    let counters = [
        format!("/sys/fs/cgroup/system.slice/{unit}/memory.events"),
        format!("/sys/fs/cgroup/memory/system.slice/{unit}/memory.oom_control"),
    ];
    counters.iter().any(|path| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().any(|line| line.strip_prefix("oom_kill ").is_some_and(|n| n.trim() != "0"))
    })
}
