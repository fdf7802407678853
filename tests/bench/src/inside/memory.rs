//! How much memory each command takes at its peak.

use std::process::{Command, Stdio};

use super::{HOSTKIT, kit::SOURCES, say_value};
use crate::Error;

/// Commands that change nothing.
const LOOKING: [&str; 5] = ["--version", "--help", "status", "doctor", "history"];
const TRIES: usize = 30;

/// Looks at the commands one after the other.
pub(super) fn measure() -> Result<(), Error> {
    let node = SOURCES[0];
    let commands: &[&[&str]] = &[
        &["--version"],
        &["--help"],
        &["provision", "memory", "--node"],
        &["--foreground", "deploy", "--override-ratelimit", "memory", "--source", node],
        &["--foreground", "deploy", "--override-ratelimit", "memory", "--source", SOURCES[1]],
        &["rollback", "memory"],
        &["restart", "memory"],
        &["status"],
        &["doctor"],
        &["repair"],
        &["history"],
        &["--foreground", "deploy", "--override-ratelimit", "tree-ours", "--source", "/root/bench/tree"],
        &["project", "delete", "memory", "--confirm", "memory"],
    ];
    for args in commands {
        say(args)?;
    }
    Ok(())
}

/// Measures one command, and says so. What only looks is run several times: it may be over before its
/// memory was looked at.
pub(super) fn say(args: &[&str]) -> Result<(), Error> {
    let looks = LOOKING.contains(&args[0]);
    let mut seen = peak(args)?;
    for _ in 1..if looks { TRIES } else { 1 } {
        seen = seen.max(peak(args)?);
    }
    say_value(&format!("memory {}", args.join(" ")), seen);
    Ok(())
}

/// The peak of `hostkit ARGS`, and of the helper it starts from itself, in KiB.
///
/// The kernel's own account of a child would count what its children took too, such as `nginx -t`. So
/// its high-water mark is read again and again until it ends: it only rises.
fn peak(args: &[&str]) -> Result<u64, Error> {
    let mut child = Command::new(HOSTKIT)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let pid = child.id().to_string();
    let mut peak = 0;
    loop {
        let now = high_water(&pid);
        peak = now.into_iter().chain([peak]).chain(helpers(&pid)).max().unwrap_or(0);
        if let Some(status) = child.try_wait()? {
            // A doctor that found something has still been measured.
            if status.code().is_none_or(|code| code == 2) {
                return Err(format!("hostkit {args:?} ended with {status}").into());
            }
            return Ok(peak);
        }
    }
}

fn high_water(pid: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    // Between fork and exec it is not the program yet.
    if !status.starts_with("Name:\thostkit\n") {
        return None;
    }
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

fn helpers(pid: &str) -> Vec<u64> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_ascii_whitespace().filter_map(high_water).collect()
}
