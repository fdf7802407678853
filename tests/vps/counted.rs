//! What noise cannot touch: how many processes a command starts, and that systemd is not told to read
//! everything again. Counted with strace, from outside the server.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use crate::{
    server::{collect, typed},
    source::Source,
    vps::Vps,
};

/// The processes a command started.
struct Count {
    /// Every program that ran, with its arguments, `hostkit` itself left out.
    programs: Vec<String>,
    /// Processes that `hostkit` started itself.
    children: usize,
    /// Those, and what they started.
    descendants: usize,
}

/// Runs `hostkit ARGS` on the server under strace.
fn count(vps: &Vps, args: &[&str]) -> Count {
    let call: Vec<String> = ["hostkit"].iter().chain(args).map(|&w| w.to_owned()).collect();
    let trace = std::env::temp_dir().join(format!("{}.strace", vps.server().id));
    let mut command = Command::new("strace");
    command.args([
        "-f",
        "-qq",
        "-s",
        "300",
        "-e",
        "trace=execve,clone,clone3,fork,vfork",
        "-e",
        "signal=none",
        "-o",
    ]);
    let inner = vps.server().enter(&call);
    command.arg(&trace).arg(inner.get_program()).args(inner.get_args());
    let left = collect(command, Vec::new());
    let said = String::from_utf8_lossy(&left.stderr).into_owned();
    assert!(left.status.success(), "`{}` under strace failed:\n{said}", typed(&call));
    let text = std::fs::read_to_string(&trace).expect("strace wrote its file");
    let _ = std::fs::remove_file(&trace);
    read(&text)
}

/// Understands lines such as `123 execve("/usr/bin/id", ["id"], …) = 0` and `123 clone(…) = 124`, also when
/// they come in two halves.
fn read(trace: &str) -> Count {
    let mut halves: BTreeMap<&str, String> = BTreeMap::new();
    let mut top = None;
    let mut family: BTreeSet<String> = BTreeSet::new();
    // A thread of hostkit's is hostkit.
    let mut threads: BTreeSet<String> = BTreeSet::new();
    let mut count = Count { programs: Vec::new(), children: 0, descendants: 0 };
    for line in trace.lines() {
        let Some((pid, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        let whole = if let Some(start) = rest.strip_suffix("<unfinished ...>") {
            halves.insert(pid, start.to_owned());
            // What a new process does may be written before its parent's call is.
            continue;
        } else if rest.starts_with("<... ") {
            let end = rest.split_once("resumed>").map_or("", |(_, end)| end);
            halves.remove(pid).unwrap_or_default() + end
        } else {
            rest.to_owned()
        };
        let Some(result) = whole.rsplit("= ").next() else { continue };
        if whole.starts_with("execve(") && result.trim() == "0" {
            if top.is_none() && whole.contains("/hostkit\"") {
                top = Some(pid.to_owned());
                threads.insert(pid.to_owned());
            } else if top.is_some() && top.as_deref() != Some(pid) {
                count.programs.push(whole);
            }
        } else if whole.starts_with("clone") || whole.starts_with("vfork") || whole.starts_with("fork") {
            let child = result.split(' ').next().unwrap_or_default().to_owned();
            if whole.contains("CLONE_THREAD") {
                if threads.contains(pid) {
                    threads.insert(child);
                } else if family.contains(pid) {
                    family.insert(child);
                }
            } else if threads.contains(pid) {
                count.children += 1;
                count.descendants += 1;
                family.insert(child);
            } else if family.contains(pid) {
                count.descendants += 1;
                family.insert(child);
            }
        }
    }
    assert!(top.is_some(), "hostkit does not occur in the trace:\n{trace}");
    count
}

impl Count {
    fn report(&self, what: &str, most: usize) {
        println!("{what}: {} children (at most {most}), {} with theirs", self.children, self.descendants);
        for program in &self.programs {
            println!("    {program}");
        }
        let reload = self.programs.iter().find(|p| p.contains("daemon-reload"));
        assert!(reload.is_none(), "{what} has systemd read everything again: {reload:?}");
        assert!(
            self.children <= most,
            "{what} starts {} processes, not {most}: {:#?}",
            self.children,
            self.programs
        );
    }
}

#[test]
fn few_processes_are_started_and_systemd_is_never_reloaded() {
    let Some(vps) = Vps::boot() else { return };
    if !Command::new("strace").arg("-V").output().is_ok_and(|o| o.status.success()) {
        assert!(std::env::var_os("CI").is_none(), "strace is not installed: in CI nothing is skipped");
        eprintln!("SKIPPED: strace is not installed (apt-get install strace)");
        return;
    }
    count(&vps, &["provision", "blog", "--node"]).report("provision", 9);
    vps.put("/root/v1", &Source::example("node"));
    vps.put("/root/v2", &Source::example("node").version(2));
    // In this process, where they can be counted.
    count(&vps, &["--foreground", "deploy", "blog", "--source", "/root/v1"]).report("first deploy", 6);
    // A handover: two starts, a stop and two loads of nginx, so that nobody waits; and a look at what systemd
    // has. With the reader of the source, the timer that watches the new release, and asking Node for its version,
    // it is three more.
    count(&vps, &["--foreground", "deploy", "blog", "--source", "/root/v2"]).report("deploy", 9);
    count(&vps, &["--foreground", "rollback", "blog"]).report("rollback", 6);
    vps.expect_answer("blog", "Version 1");
    count(&vps, &["provision", "shop", "--static"]).report("provision of a static site", 9);
    count(&vps, &["status"]).report("status", 1);
}
