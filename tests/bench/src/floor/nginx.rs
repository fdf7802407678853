//! Loading a site as HostKit promises it: when this returns, no visitor meets the old configuration.

use std::{io, process::Command};

use rustix::process::{Pid, Signal, kill_process};

use crate::web;

/// Tests the configuration, has nginx load it, and waits until it serves the new site and the old
/// workers accept nobody any more. nginx keeps those for 100 ms, whoever asks.
pub(super) fn load(site: &str, fingerprint: &str) -> io::Result<()> {
    let tested = Command::new("/usr/sbin/nginx").args(["-t", "-q"]).output()?;
    if !tested.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&tested.stderr).into_owned()));
    }
    let master: i32 = std::fs::read_to_string("/run/nginx.pid")?.trim().parse().map_err(io::Error::other)?;
    let old = workers(master)?;
    let pid = Pid::from_raw(master).ok_or_else(|| io::Error::other("nginx has no process number"))?;
    kill_process(pid, Signal::HUP)?;
    web::until("nginx to load a site", || {
        web::loaded(site).as_deref() == Some(fingerprint) && !old.iter().any(|pid| is_accepting(pid))
    })
}

/// The workers that accept connections.
fn workers(master: i32) -> io::Result<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{master}/task/{master}/children"))?;
    Ok(text.split_ascii_whitespace().filter(|pid| is_accepting(pid)).map(str::to_owned).collect())
}

/// A worker that was told to go says so in its title.
fn is_accepting(worker: &str) -> bool {
    std::fs::read(format!("/proc/{worker}/cmdline"))
        .is_ok_and(|title| !title.is_empty() && !String::from_utf8_lossy(&title).contains("shutting down"))
}
