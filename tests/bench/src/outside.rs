//! The measurement from outside: which servers, which parts, and what is printed at the end.

use std::path::PathBuf;

use crate::{
    Error,
    count::count,
    explain::explain,
    inside::FILES,
    server::Server,
    table::{Measured, Row},
};

const HELP: &str = "\
Measures HostKit on a booted server, beside the fastest way to do the same by hand.

usage: tests/bench/run [--rounds N] [--projects N] [PART]…

  --rounds N      how often each side does its work (9); the first, cold round is not counted
  --projects N    how many projects `scale` provisions (1000; about ten minutes)

parts, all without a word:
  startup     hostkit --version beside /bin/true; the size of the program
  provision   hostkit project create NAME
  data        hostkit provision NAME --no-backup, with a database and Redis
  live        hostkit project create NAME --source DIR with the Node example, until it answers
  rollback    hostkit rollback beside systemctl restart of the same service
  handover    deploy and rollback at 200 requests a second, beside Capistrano and systemctl restart
  count       processes, daemon-reloads and syncs of each command, with strace
  deploy      hostkit deploy of a static tree of 5,000 files
  build       30,000 files of which 1 % has changed; sealing 20,000; installing 30,000 once
  memory      the peak of each command
  backup      hostkit backup create of a database of 1 GB, and its peak
  scale       the last of many projects beside the first, and `status` of them all

HOSTKIT_BINARY names the program to measure (target/release/hostkit). HOSTKIT_BENCH_LAYER names a layer with
further tools: with `vps-tools`, which the test suite makes, `build` installs with a real npm. Times over their target are
printed as OVER, with where they go. Only what is counted makes the exit status 1.
";

const PARTS: [&str; 12] = [
    "startup",
    "provision",
    "data",
    "live",
    "rollback",
    "handover",
    "count",
    "deploy",
    "build",
    "memory",
    "backup",
    "scale",
];

const ROWS: &[Row] = &[
    row("provision", "project create", "by hand", Some(1.5)),
    row("data", "provision with database and Redis", "by hand", Some(1.5)),
    row("live", "project create --source, answers", "by hand", None),
    row("deploy", "deploy of 5,000 files", "copied by hand", Some(1.5)),
    row("changed", "deploy of 30,000 files, 1 % new", "linked by hand", Some(1.3)),
    row("sealing", "sealing 20,000 files", "chown -R, sync", Some(1.5)),
    row("second", "the same deployed again", "the first time", Some(0.2)),
    // The one starts the process twice and lets nobody wait, the other once and does.
    row("rollback", "rollback, settled", "systemctl restart, answers", None),
    // Again twice: what nobody waits for may take its time.
    row("handover", "deploy under load", "cap deploy and restart", None),
    row("gap", "longest time without an answer", "the same, of that", Some(1.0)),
    row("rollback under load", "rollback under load", "2 s", Some(1.0)),
    row("switch", "healthy until the release answers", "250 ms", Some(1.0)),
    row("backup", "backup of 1 GB", "pg_dump -Fc", Some(1.2)),
    row("status", "status of all projects", "status of one", Some(5.0)),
    row("growth", "the last provisions", "the first provisions", Some(2.0)),
    row("floor growth", "the last by hand", "the first by hand", None),
    row("at scale", "the last provisions", "by hand, as many there", None),
];

const fn row(key: &'static str, what: &'static str, beside: &'static str, target: Option<f64>) -> Row {
    Row { key, what, beside, target }
}

/// What was asked for.
struct Wish {
    rounds: String,
    projects: String,
    parts: Vec<String>,
}

impl Wish {
    fn of(words: &[&str]) -> Result<Self, Error> {
        let mut wish = Self { rounds: "9".to_owned(), projects: "1000".to_owned(), parts: Vec::new() };
        let mut words = words.iter();
        while let Some(&word) = words.next() {
            let place = match word {
                "--rounds" => &mut wish.rounds,
                "--projects" => &mut wish.projects,
                part if PARTS.contains(&part) => {
                    wish.parts.push(part.to_owned());
                    continue;
                }
                _ => return Err(format!("there is no `{word}`; see tests/bench/run --help").into()),
            };
            let value = words.next().ok_or_else(|| format!("{word} needs a number"))?;
            if value.parse::<usize>().is_ok_and(|n| n > 0) {
                (*value).clone_into(place);
            } else {
                return Err(format!("{word} needs a number above 0, not `{value}`").into());
            }
        }
        Ok(wish)
    }

    fn has(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|p| p == part)
    }
}

/// Measures; says whether everything that is counted keeps its limit.
pub(crate) fn main(words: &[&str]) -> Result<bool, Error> {
    if words.iter().any(|w| ["-h", "--help", "help"].contains(w)) {
        print!("{HELP}");
        return Ok(true);
    }
    let wish = Wish::of(words)?;
    let binary = PathBuf::from(std::env::var_os("HOSTKIT_BINARY").ok_or("HOSTKIT_BINARY is not set")?);
    let mut measured = Measured::default();
    let mut kept = true;
    // Kept until the end: taking a server down deletes its many files, and ext4 is slow to make new
    // ones for a minute after that.
    let mut idle = Vec::new();
    if PARTS.iter().any(|p| *p != "scale" && wish.has(p)) {
        let server = Server::boot(&binary, "work")?;
        kept = work(&wish, &server, &mut measured)?;
        idle.push(server);
    }
    if wish.has("scale") {
        let server = Server::boot(&binary, "scale")?;
        eprintln!("scale: {} projects", wish.projects);
        measured.read(&server.inside(&["scale", &wish.projects])?);
        if measured.is_over(ROWS, "growth") {
            explain(&server, &["provision", "explained"])?;
        }
    }
    println!("\nnotes");
    measured.print_notes();
    measured.print_limits();
    measured.print_ratios(ROWS);
    println!("\nBoth sides ran in turn on one server; {} rounds, {FILES} files.", wish.rounds);
    // The floor does side by side what HostKit does in turn, so a busy machine widens the ratios.
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    println!("Load of this machine: {} on {processors} processors.", load.get(..14).unwrap_or("unknown"));
    Ok(kept)
}

/// Everything that needs a server with few projects.
fn work(wish: &Wish, server: &Server, measured: &mut Measured) -> Result<bool, Error> {
    let few = wish.rounds.as_str();
    // `memory` deploys the tree once more, so it comes after `deploy`.
    for (part, rounds) in [
        ("startup", Some("200")),
        ("provision", Some(few)),
        ("data", Some(few)),
        ("live", Some(few)),
        ("rollback", Some(few)),
        ("handover", Some(few)),
        ("deploy", Some(few)),
        ("build", Some(few)),
        ("memory", None),
        ("backup", Some("3")),
    ] {
        if wish.has(part) {
            eprintln!("{part} …");
            let words: Vec<&str> = [part].into_iter().chain(rounds).collect();
            measured.read(&server.inside(&words)?);
        }
    }
    if measured.is_over(ROWS, "provision") {
        explain(server, &["provision", "explained"])?;
    }
    if measured.is_over(ROWS, "deploy") {
        explain(
            server,
            &["--foreground", "deploy", "--override-ratelimit", "tree-ours", "--source", "/root/bench/tree"],
        )?;
    }
    if wish.has("count") { count(server) } else { Ok(true) }
}
