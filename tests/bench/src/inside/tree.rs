//! Deploying a large tree of static files, beside copying it.

use std::{fs, path::Path, time::Duration};

use super::{floor, hostkit, in_turn, run, say_note, timed, words};
use crate::{Error, stats};

/// How many files the tree has.
pub(crate) const FILES: usize = 5000;
const PER_DIRECTORY: usize = 50;
/// Fewer rounds than elsewhere: the files of all of them are deleted with the server, and ext4 lets
/// whoever makes files next pay for that.
const ROUNDS: usize = 5;
const TRIES: usize = 2;
/// How long a copy takes at most on a disk that is not busy with deleted files; usually a third of it.
const CALM: Duration = Duration::from_millis(500);
const PROBES: usize = 12;
const TREE: &str = "/root/bench/tree";
/// The project of HostKit's, and the floor's place.
const OURS: &str = "tree-ours";
const FLOORS: &str = "/home/tree-floor";
/// `www-data` on Debian, who serves static files.
const WEB: &str = "33";

/// A next release of a static site: nothing about the site itself changes.
pub(super) fn deploy(rounds: usize) -> Result<(), Error> {
    let bytes = grow()?;
    say_note(&format!("tree: {FILES} files, {} MiB", bytes >> 20));
    run(&words(&hostkit(&["provision", OURS, "--static", "--source", TREE])))?;
    fs::create_dir_all(format!("{FLOORS}/releases"))?;
    let mut number = 0;
    let mut by_hand = |threads: &str| -> Result<Duration, Error> {
        number += 1;
        timed(&words(&floor(&["deploy", threads, FLOORS, &format!("release-{number}"), WEB, TREE])))
    };
    if !calm(|| by_hand("2"))? {
        say_note("tree: the disk is still busy with deleted files; the ratio of `deploy` says little");
    }
    // One after the other, or two side by side: whichever is faster here is the floor.
    let (mut one, mut two) = (Vec::new(), Vec::new());
    for _ in 0..TRIES {
        one.push(by_hand("1")?);
        two.push(by_hand("2")?);
    }
    let (one, two) = (stats::median(&one), stats::median(&two));
    say_note(&format!(
        "floor, copying: 1 thread {:.0} ms, 2 threads {:.0} ms",
        stats::ms(one),
        stats::ms(two)
    ));
    let threads = if two < one { "2" } else { "1" };
    in_turn(
        "deploy",
        rounds.min(ROUNDS),
        |_| timed(&words(&hostkit(&["deploy", "--override-ratelimit", OURS, "--source", TREE]))),
        |_| by_hand(threads),
    )?;
    let live = [format!("/home/{OURS}/app"), format!("{FLOORS}/app")].map(|app| count(Path::new(&app)));
    let [ours, floors] = live;
    let (ours, floors) = (ours?, floors?);
    if ours != floors || ours.0 != FILES {
        return Err(format!("the trees differ: (files, bytes) {ours:?} and {floors:?}").into());
    }
    Ok(())
}

/// Copies until making files is no longer slowed down by those that were deleted before: ext4 passes
/// over inodes that were freed within the last minute, one by one, and that hides all differences.
fn calm(mut copy: impl FnMut() -> Result<Duration, Error>) -> Result<bool, Error> {
    for _ in 0..PROBES {
        if copy()? < CALM {
            return Ok(true);
        }
        std::thread::sleep(Duration::from_secs(10));
    }
    Ok(false)
}

/// Makes the tree, always the same: many small files, some middle ones, few large ones.
fn grow() -> Result<u64, Error> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        // xorshift: no two blocks alike, nothing that compresses.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut total = 0;
    for n in 0..FILES {
        let size = match n % 20 {
            0..12 => 512 + next() % 3584,
            12..19 => 4096 + next() % 12_288,
            _ => 30_000 + next() % 70_000,
        };
        let mut content: Vec<u8> = Vec::new();
        while (content.len() as u64) < size {
            content.extend(next().to_le_bytes());
        }
        let directory = format!("{TREE}/part-{}/{}", n / 500, n / PER_DIRECTORY);
        if n % PER_DIRECTORY == 0 {
            fs::create_dir_all(&directory)?;
        }
        total += content.len() as u64;
        let name = if n == 0 { format!("{TREE}/index.html") } else { format!("{directory}/{n}.bin") };
        fs::write(name, content)?;
    }
    run(&["/bin/sync"])?;
    Ok(total)
}

/// Files and their bytes.
fn count(directory: &Path) -> Result<(usize, u64), Error> {
    let mut sum = (0, 0);
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let more =
            if entry.file_type()?.is_dir() { count(&entry.path())? } else { (1, entry.metadata()?.len()) };
        sum = (sum.0 + more.0, sum.1 + more.1);
    }
    Ok(sum)
}
