//! Files that are written by several threads: what comes of it must not show it.

use std::io::{Read, repeat};
use std::process::Command;
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use super::*;
use crate::system::archive::extract::extract_with;
use crate::system::archive::{batch, crew};

const THREADS: std::ops::RangeInclusive<usize> = 1..=4;

fn name(n: usize) -> String {
    format!("d{}/f{n:05}", n / 150)
}

fn content(n: usize) -> Vec<u8> {
    let length = match n {
        // Around what fits into a batch, and what is written while it is read.
        700 => batch::BYTES - 1,
        701 => batch::BYTES,
        1100 => batch::BYTES + 1,
        1101 => 3 * batch::BYTES,
        _ => (n * 37) % 3000,
    };
    n.to_le_bytes().into_iter().cycle().take(length).collect()
}

/// An archive of many files, one after another, as long as anybody reads it.
struct Endless {
    next: usize,
    ready: std::io::Cursor<Vec<u8>>,
    read: u64,
}

impl Endless {
    fn new() -> Self {
        Self { next: 0, ready: std::io::Cursor::default(), read: 0 }
    }
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.ready.position() == self.ready.get_ref().len() as u64 {
            self.ready =
                std::io::Cursor::new(Tar::default().file(&format!("f{:05}", self.next), &"x".repeat(5000)).0);
            self.next += 1;
        }
        let count = self.ready.read(buffer)?;
        self.read += count as u64;
        Ok(count)
    }
}

/// What a crew of any size says about an archive when files are in the way of it, again and again.
fn assert_told(obstacles: &[usize], archive: &[u8], words: &str) {
    for threads in THREADS.cycle().take(8) {
        let place = Place::new();
        for n in obstacles {
            fs::create_dir(place.root().join(format!("f{n:05}"))).unwrap();
        }
        let error = extract_with(threads, archive, &place.staging(), &Limits::default()).unwrap_err();
        assert!(format!("{error:#}").contains(words), "{threads} threads: {error:#}");
        place.assert_nothing_escaped();
    }
}

fn flat(files: usize) -> Tar {
    (0..files).fold(Tar::default(), |tar, n| tar.file(&format!("f{n:05}"), "x"))
}

#[test]
fn the_tree_is_the_same_whoever_writes_it() {
    let files = 1500;
    let mut tar = Tar::default().link("to", "d0");
    for n in 0..files {
        tar = tar.raw(
            b'0',
            name(n).as_bytes(),
            [0o644, 0o755][n % 2],
            "",
            content(n).len() as u64,
            &content(n),
        );
    }
    let archive = tar.end();
    let mut packed = Vec::new();
    for threads in THREADS {
        let place = Place::new();
        let manifest = extract_with(threads, &archive[..], &place.staging(), &Limits::default()).unwrap();
        assert!(manifest.entries.is_sorted_by(|a, b| a.path < b.path));
        assert_eq!(manifest.files, files as u64);
        for n in 0..files {
            let at = manifest.entries.binary_search_by_key(&name(n), |entry| entry.path.clone());
            let entry = &manifest.entries[at.unwrap()];
            let (mode, size) = ([0o640, 0o750][n % 2], content(n).len() as u64);
            assert_eq!(entry.kind, Kind::File { mode, size, sha256: Sha256::digest(content(n)).into() });
            let found = place.root().join(name(n));
            assert_eq!(found.metadata().unwrap().mode() & 0o7777, mode);
            assert_eq!(fs::read(found).unwrap(), content(n));
        }
        let mut again = Vec::new();
        pack(&place.root(), Leaving::Ignored, &mut again).unwrap();
        packed.push((manifest, again));
    }
    assert!(packed.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn the_first_file_that_cannot_be_written_is_told() {
    let archive = flat(1000).end();
    assert_told(&[100, 70, 900, 990], &archive, "cannot write `f00070`");
    // It would have come first, too, if all had been written in order.
    assert_told(&[990], &flat(1000).file("../x", "").end(), "cannot write `f00990`");
    assert_told(&[990], &flat(1000).0, "cannot write `f00990`");
    assert_told(&[990], &flat(1000).file("f00001", "").end(), "cannot write `f00990`");
}

#[test]
fn nothing_after_a_refused_entry_is_written() {
    for threads in THREADS {
        let place = Place::new();
        let archive = flat(500).file("../x", "").file("after", "").end();
        let error = extract_with(threads, &archive[..], &place.staging(), &Limits::default()).unwrap_err();
        assert!(error.to_string().contains("`../x` leads out"), "{error}");
        assert_eq!(fs::read_dir(place.root()).unwrap().count(), 500);
    }
}

#[test]
fn reading_stops_soon_after_a_file_could_not_be_written() {
    for threads in THREADS {
        let place = Place::new();
        fs::create_dir(place.root().join("f00500")).unwrap();
        let mut archive = Endless::new();
        let error = extract_with(threads, &mut archive, &place.staging(), &Limits::default()).unwrap_err();
        assert!(format!("{error:#}").contains("cannot write `f00500`: "), "{error:#}");
        assert!(archive.read < 20 << 20, "read {} bytes", archive.read);
    }
    for threads in THREADS {
        let Some(disk) = disk("size=2m") else { return };
        let mut archive = Endless::new();
        let error = extract_with(threads, &mut archive, &disk, &Limits::default()).unwrap_err();
        let fault = error.downcast::<Fault>().unwrap();
        assert_eq!(fault.code, Code::DiskFull);
        assert!(fault.message.contains("no space is left while writing `f"), "{}", fault.message);
        assert!(archive.read < 20 << 20, "read {} bytes", archive.read);
    }
}

/// A disk of its own, if this may mount one. It is gone with the descriptor.
fn disk(options: &str) -> Option<Staging> {
    let dir = tempfile::tempdir().unwrap();
    let run = |program: &str, words: &[&str]| {
        let status = Command::new(program).args(words).arg(dir.path()).output().map(|output| output.status);
        status.is_ok_and(|status| status.success())
    };
    if !run("mount", &["-t", "tmpfs", "-o", options, "tmpfs"]) {
        return None;
    }
    let root = fs::File::open(dir.path());
    assert!(run("umount", &["--lazy"]));
    Some(Staging::new(root.unwrap().into(), 0, 0))
}

#[test]
fn a_helper_that_fails_stops_the_one_who_reads() {
    let place = Place::new();
    fs::create_dir(place.root().join("f00003")).unwrap();
    let staging = place.staging();
    crew::with(2, &staging, |mut crew| {
        // Enough for a first batch to be handed out, and none that the one who reads would write.
        for n in 0..70 {
            crew.small(&format!("f{n:05}"), 0o640, 1, &mut repeat(b'x')).unwrap();
        }
        let patience = Instant::now() + Duration::from_secs(30);
        while !crew.failed() {
            assert!(Instant::now() < patience, "the helper does nothing");
            std::thread::yield_now();
        }
        // This would not end by itself.
        let error =
            crew.large("endless", 0o640, &mut repeat(b'x'), |error| anyhow::Error::msg(error.to_string()));
        let error = crew.finish(error.map(drop)).unwrap_err();
        assert!(format!("{error:#}").contains("cannot write `f00003`: "), "{error:#}");
    });
    assert!(place.root().join("f00002").exists());
    assert!(!place.root().join("f00004").exists());
    assert!(!place.root().join("f00069").exists());
}

#[test]
fn only_so_much_is_in_memory_at_a_time() {
    for threads in THREADS {
        let place = Place::new();
        let staging = place.staging();
        crew::with(threads, &staging, |mut crew| {
            let size = batch::BYTES / 3;
            for n in 0..60 {
                crew.small(&n.to_string(), 0o640, size, &mut repeat(b'x')).unwrap();
                let held = crew.batches() * batch::BYTES;
                assert!(held <= [1, 4, 7, 10][threads - 1] << 20, "{held} bytes with {threads} threads");
                assert!(crew.sealed().count() <= 30);
            }
            crew.finish(Ok(())).unwrap();
        });
        assert_eq!(fs::read_dir(place.root()).unwrap().count(), 60);
    }
}
