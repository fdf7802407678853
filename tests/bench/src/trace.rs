//! What a command did, as strace saw it: its processes, its syncs, and where it waited.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::{Command, Stdio},
};

use crate::{Error, server::Server};

/// Calls that start, end, wait or reach the disk. Few, so that tracing does not slow the command much.
const CALLS: &str = "trace=execve,clone,clone3,fork,vfork,exit_group,fsync,fdatasync,syncfs,wait4,waitid,\
                     clock_nanosleep,futex,poll,ppoll,read,recvfrom,flock";

/// One command's trace.
#[derive(Default)]
pub(crate) struct Trace {
    /// Processes that it started itself.
    pub(crate) children: usize,
    /// Syncs of its own, without its children's.
    pub(crate) syncs: usize,
    /// Syncs of its children.
    pub(crate) child_syncs: usize,
    /// Every program that ran, with its arguments and its milliseconds.
    pub(crate) programs: Vec<(String, f64)>,
    /// Milliseconds that it spent in each call itself, with their number.
    pub(crate) calls: BTreeMap<String, (f64, usize)>,
    /// All of it, in milliseconds; tracing makes it longer.
    pub(crate) total: f64,
}

impl Trace {
    /// Whether systemd was told to read everything again.
    pub(crate) fn reloads(&self) -> usize {
        self.programs.iter().filter(|(program, _)| program.contains("daemon-reload")).count()
    }
}

/// Runs `hostkit ARGS` on the server under strace, from outside: the server needs no tools for it.
pub(crate) fn trace(server: &Server, args: &[&str]) -> Result<Trace, Error> {
    let file = std::env::temp_dir().join(format!("hostkit-bench-{}.strace", std::process::id()));
    let inner = server.enter(&[&["hostkit"], args].concat());
    let left = Command::new("strace")
        .args([
            "-f",
            "--seccomp-bpf",
            "--decode-pids=pidns",
            "-qq",
            "-ttt",
            "-T",
            "-s",
            "200",
            "-e",
            "signal=none",
            "-e",
            CALLS,
            "-o",
        ])
        .arg(&file)
        .arg(inner.get_program())
        .args(inner.get_args())
        .stdin(Stdio::null())
        .output()?;
    let text = std::fs::read_to_string(&file)?;
    std::fs::remove_file(&file)?;
    if !left.status.success() {
        return Err(format!("hostkit {args:?}: {}", String::from_utf8_lossy(&left.stderr)).into());
    }
    read(&text).ok_or_else(|| format!("hostkit {args:?} does not occur in its trace").into())
}

/// One call of one process.
struct Event<'a> {
    pid: &'a str,
    /// Seconds.
    start: f64,
    end: f64,
    /// All of it, put together from its halves.
    call: String,
}

impl Event<'_> {
    fn name(&self) -> &str {
        self.call.split('(').next().unwrap_or_default()
    }

    fn result(&self) -> &str {
        self.call.rsplit_once(" = ").map_or("", |(_, r)| r.split(' ').next().unwrap_or_default())
    }

    /// The process or thread that this call started, by its number outside the server.
    fn started(&self) -> Option<&str> {
        let starts = ["clone", "clone3", "fork", "vfork"].contains(&self.name());
        let outside = self.call.rsplit_once("/* ").and_then(|(_, comment)| comment.split_once(" in strace"));
        let number = outside.map_or_else(|| self.result(), |(number, _)| number);
        (starts && number.parse::<u32>().is_ok()).then_some(number)
    }

    fn is_sync(&self) -> bool {
        ["fsync", "fdatasync", "syncfs"].contains(&self.name())
    }
}

/// Understands lines such as `12 1700000000.5 execve("/usr/bin/id", ["id"], …) = 0 <0.001>`, also when
/// they come in two halves.
fn events(text: &str) -> Vec<Event<'_>> {
    let mut halves: BTreeMap<&str, (f64, String)> = BTreeMap::new();
    let mut events = Vec::new();
    for line in text.lines() {
        let Some((pid, rest)) = line.split_once(' ') else { continue };
        let Some((time, call)) = rest.trim_start().split_once(' ') else { continue };
        let (Ok(time), call) = (time.parse(), call.trim_start()) else { continue };
        if let Some(half) = call.strip_suffix("<unfinished ...>") {
            halves.insert(pid, (time, half.to_owned()));
            continue;
        }
        let (start, call) = match call.strip_prefix("<... ") {
            None => (time, call.to_owned()),
            Some(rest) => {
                let (start, half) = halves.remove(pid).unwrap_or((time, String::new()));
                (start, half + rest.split_once("resumed>").map_or("", |(_, end)| end))
            }
        };
        let lasted: Option<f64> =
            call.rsplit_once('<').and_then(|(_, seconds)| seconds.trim_end_matches('>').parse().ok());
        events.push(Event { pid, start, end: start + lasted.unwrap_or_default(), call });
    }
    events
}

/// Who is who: hostkit's threads, and what it and its children started.
struct Family {
    threads: BTreeSet<String>,
    others: BTreeSet<String>,
}

impl Family {
    /// Looked up before anything is counted: what a new process does may be written before its
    /// parent's call is.
    fn of(events: &[Event<'_>], top: &str) -> Self {
        let mut family = Self { threads: [top.to_owned()].into(), others: BTreeSet::new() };
        let mut known = 0;
        while known < family.threads.len() + family.others.len() {
            known = family.threads.len() + family.others.len();
            for event in events {
                let Some(new) = event.started() else { continue };
                if family.threads.contains(event.pid) && event.call.contains("CLONE_THREAD") {
                    family.threads.insert(new.to_owned());
                } else if family.threads.contains(event.pid) || family.others.contains(event.pid) {
                    family.others.insert(new.to_owned());
                }
            }
        }
        family
    }
}

fn read(text: &str) -> Option<Trace> {
    let events = events(text);
    let is_top = |e: &Event<'_>| e.name() == "execve" && e.call.contains("/hostkit\"") && e.result() == "0";
    let top = events.iter().position(is_top)?;
    let (began, family) = (events[top].start, Family::of(&events[top..], events[top].pid));
    let mut trace = Trace::default();
    let mut running: BTreeMap<&str, (f64, String)> = BTreeMap::new();
    for event in &events[top + 1..] {
        let ours = family.threads.contains(event.pid);
        if !ours && !family.others.contains(event.pid) {
            continue;
        }
        if ours {
            trace.total = trace.total.max((event.end - began) * 1e3);
            trace.children += usize::from(event.started().is_some() && !event.call.contains("CLONE_THREAD"));
            trace.syncs += usize::from(event.is_sync());
            let (sum, number) = trace.calls.entry(event.name().to_owned()).or_default();
            *sum += (event.end - event.start) * 1e3;
            *number += 1;
            continue;
        }
        trace.child_syncs += usize::from(event.is_sync());
        match event.name() {
            "execve" if event.result() == "0" => {
                running.insert(event.pid, (event.start, typed(&event.call)));
            }
            "exit_group" => {
                let ended = running.remove(event.pid);
                trace.programs.extend(ended.map(|(since, what)| (what, (event.start - since) * 1e3)));
            }
            _ => {}
        }
    }
    // A program that was killed, or whose end strace did not see, has run all the same.
    trace.programs.extend(running.into_values().map(|(_, what)| (what, f64::NAN)));
    Some(trace)
}

/// `execve("/usr/bin/id", ["id", "-u"], …` as a person would type it.
fn typed(call: &str) -> String {
    let words =
        call.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map_or("", |(words, _)| words);
    words.split(", ").map(|w| w.trim_matches('"')).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_and_syncs_are_told_apart() {
        let trace = read(
            "7     100.000 execve(\"/bin/sh\", [\"sh\"], 0x1) = 0 <0.001>\n\
             8     100.100 execve(\"/usr/local/bin/hostkit\", [\"hostkit\", \"status\"], 0x1) = 0 <0.001>\n\
             8     100.110 clone(child_stack=0x1, flags=CLONE_VM|CLONE_THREAD) = 2 /* 9 in strace's PID NS */ <0.001>\n\
             9     100.120 fsync(3) = 0 <0.004>\n\
             8     100.130 vfork( <unfinished ...>\n\
             10    100.140 execve(\"/usr/bin/systemctl\", [\"systemctl\", \"daemon-reload\"], 0x1) = 0 <0.001>\n\
             8     100.150 <... vfork resumed>) = 10 <0.020>\n\
             10    100.160 fsync(3) = 0 <0.001>\n\
             10    100.190 exit_group(0) = ?\n\
             8     100.200 exit_group(0) = ?\n",
        )
        .expect("it is there");
        assert_eq!((trace.children, trace.syncs, trace.child_syncs, trace.reloads()), (1, 1, 1, 1));
        assert!((trace.programs[0].1 - 50.0).abs() < 0.1, "{:?}", trace.programs);
        assert_eq!(trace.calls["fsync"].1, 1);
        assert!((trace.total - 100.0).abs() < 0.1, "{}", trace.total);
    }
}
