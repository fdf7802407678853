//! `kill -9` at random moments: after the next command the server and the registry are exactly as before or
//! exactly as after, and `doctor` is content. A histogram shows where the kills hit, so that a test that
//! never interrupts anything is seen.
//!
//! `HOSTKIT_SEED` repeats a run, `HOSTKIT_KILLS` sets how many kills must hit each command.

mod chance;
mod histogram;
mod normal;

use std::time::Instant;

use chance::Chance;
use histogram::{Histogram, Outcome};

use crate::{call::Output, snapshot::Snapshot, source::Source, vps::Vps};

const KILLER: &str = include_str!("inside/killer.py");
const SCOPES: &[&str] = &["etc", "accounts", "services", "nginx", "projects", "databases", "registry"];

/// A command that is killed again and again, and what it is killed on.
struct Trial<'v> {
    vps: &'v Vps,
    verb: &'static str,
    chance: Chance,
    histogram: Histogram,
    /// How long the command took when nobody disturbed it, in microseconds.
    took: Vec<u64>,
    /// How many kills must hit the command at work.
    wanted: u64,
}

/// A round: where the kill hit and what was found after the next command.
struct Round<'v> {
    hit: u64,
    killed: bool,
    repaired: bool,
    found: Snapshot,
    shown: Output<'v>,
}

impl<'v> Trial<'v> {
    fn new(vps: &'v Vps, verb: &'static str, wanted: u64) -> Self {
        Self {
            vps,
            verb,
            chance: Chance::seeded(verb),
            histogram: Histogram::default(),
            took: Vec::new(),
            wanted,
        }
    }

    /// Lets the command finish, and learns how long it takes.
    fn undisturbed(&mut self, words: &[&str]) -> Snapshot {
        let (output, ended, took) = self.run(0, words);
        output.check(ended, &format!("`{}` to succeed when nobody disturbs it", self.verb));
        self.took.push(took);
        self.vps.snapshot(SCOPES)
    }

    /// The median of the undisturbed times.
    fn takes(&self) -> u64 {
        let mut sorted = self.took.clone();
        sorted.sort_unstable();
        sorted[sorted.len() / 2]
    }

    /// Whether there were too few kills yet. Those that came too late do not count.
    fn goes_on(&self) -> bool {
        let (hits, all) = (self.histogram.interrupted(), self.histogram.all());
        assert!(all < 20 + 3 * self.wanted, "of {all} kills of {} only {hits} hit it at work", self.verb);
        hits < self.wanted
    }

    /// Kills the command somewhere, repairs, and looks.
    fn round(&mut self, words: &[&str]) -> Round<'v> {
        let hit = 1 + self.chance.below(self.takes());
        let (shown, ended, took) = self.run(hit, words);
        if ended {
            // The machine has become faster than when it was measured.
            self.took.push(took);
        }
        let repair = self.vps.hostkit(["--json", "repair"]).run();
        repair.check(repair.code == 0, &format!("repair to succeed; before it came\n{shown}"));
        let doctor = self.vps.hostkit(["doctor"]).run();
        doctor.check(doctor.code == 0, &format!("doctor to be content; before it came\n{shown}\n{repair}"));
        let repaired = repair.json()["changed"] == true;
        Round { hit, killed: !ended, repaired, found: self.vps.snapshot(SCOPES), shown }
    }

    fn run(&self, microseconds: u64, words: &[&str]) -> (Output<'v>, bool, u64) {
        let microseconds = microseconds.to_string();
        let args: Vec<&str> = [microseconds.as_str(), "hostkit"].iter().chain(words).copied().collect();
        let output = self.vps.python(KILLER, args).ok();
        let last: Vec<String> =
            output.lines().last().map(|l| l.split(' ').map(str::to_owned).collect()).unwrap_or_default();
        let took = last[2].parse().expect("the killer says how long it took");
        let ended = last[0] == "ended";
        output.check(!ended || last[1] == "0", "it to succeed or to be killed");
        (output, ended, took)
    }

    fn enter(&mut self, round: &Round<'_>, after: bool) {
        let outcome = match (round.killed, after, round.repaired) {
            (false, ..) => Outcome::Ended,
            (true, false, false) => Outcome::Before,
            (true, false, true) => Outcome::Undone,
            (true, true, false) => Outcome::After,
            (true, true, true) => Outcome::Finished,
        };
        self.histogram.enter(round.hit * 10 / (self.takes() + 1), outcome);
    }
}

/// Stops the test unless the state is one of the two; says whether it is the later one.
fn judge(
    round: &Round<'_>,
    verb: &str,
    before: &Snapshot,
    after: &Snapshot,
    normal: impl Fn(&Snapshot) -> Snapshot,
) -> bool {
    if *before == round.found {
        round.shown.check(round.killed, &format!("{verb} to have done something when it ended by itself"));
        return false;
    }
    let found = normal(&round.found);
    if *after == found {
        return true;
    }
    let show = |lines: Vec<String>| lines.iter().take(25).fold(String::new(), |all, line| all + line + "\n");
    panic!(
        "{verb}, killed after {} µs, is neither before nor after.\nfrom before:\n{}\nfrom after:\n{}\n{}",
        round.hit,
        show(before.difference(&round.found)),
        show(after.difference(&found)),
        round.shown
    );
}

fn provision(vps: &Vps, kills: u64) -> Histogram {
    let mut trial = Trial::new(vps, "provision", kills);
    let words = ["provision", "fresh", "--node"];
    let before = vps.snapshot(SCOPES);
    let remove = || {
        vps.hostkit(["project", "delete", "fresh", "--confirm", "fresh"]).ok();
        vps.hostkit(["project", "purge", "fresh", "--confirm", "fresh"]).ok();
        before.expect_same(&vps.snapshot(SCOPES), "after delete and purge");
    };
    let after = normal::without_numbers(&trial.undisturbed(&words), "fresh");
    remove();
    while trial.goes_on() {
        let round = trial.round(&words);
        let after =
            judge(&round, "provision", &before, &after, |found| normal::without_numbers(found, "fresh"));
        trial.enter(&round, after);
        if after {
            remove();
        }
    }
    trial.histogram
}

fn delete(vps: &Vps, kills: u64) -> Histogram {
    vps.live("gone", &Source::example("node"));
    vps.deploy("gone", &Source::example("node").version(2));
    let mut trial = Trial::new(vps, "delete", kills);
    let words = ["project", "delete", "gone", "--confirm", "gone"];
    let before = vps.snapshot(SCOPES);
    let restore = || {
        vps.hostkit(["project", "restore", "gone"]).ok();
        before.expect_same(&vps.snapshot(SCOPES), "after delete and restore");
    };
    let after = trial.undisturbed(&words);
    restore();
    while trial.goes_on() {
        let round = trial.round(&words);
        let after = judge(&round, "delete", &before, &after, Snapshot::clone);
        trial.enter(&round, after);
        if after {
            restore();
        }
        vps.wait_for_answer("gone", "Version 2");
    }
    trial.histogram
}

/// Kills deploys of a project that keeps five releases, so that each prunes one too.
fn deploy(vps: &Vps, kills: u64) -> Histogram {
    vps.put("/root/next", &Source::example("node").version(100));
    vps.hostkit(["provision", "blog", "--node"]).ok();
    let mut trial = Trial::new(vps, "deploy", kills);
    // In the process that is killed, and more often than a person would.
    let words = ["--foreground", "deploy", "blog", "--source", "/root/next", "--override-ratelimit"];
    let mut live = 100;
    let mut before = trial.undisturbed(&words);
    for _ in 0..6 {
        live += 1;
        set_version(vps, live);
        before = trial.undisturbed(&words);
    }
    let after = normal::by_rank(&before, "blog");
    while trial.goes_on() {
        set_version(vps, live + 1);
        let round = trial.round(&words);
        let is_after = judge(&round, "deploy", &before, &after, |found| normal::by_rank(found, "blog"));
        trial.enter(&round, is_after);
        if is_after {
            live += 1;
            before = round.found;
        }
        vps.wait_for_answer("blog", &format!("Version {live} "));
    }
    trial.histogram
}

fn set_version(vps: &Vps, number: u32) {
    let line = format!("sed -i 's/Version [0-9]*/Version {number}/' /root/next/server.js");
    vps.sh(&line).ok();
}

/// Kills rollbacks between two releases of the project that `deploy` left.
fn rollback(vps: &Vps, kills: u64) -> Histogram {
    let mut trial = Trial::new(vps, "rollback", kills);
    let ids = vps.sh("ls /home/blog/releases | tail -n 2").ok().lines();
    let words = |to: usize| ["--foreground", "rollback", "blog", ids[to].as_str()];
    let mut states = [trial.undisturbed(&words(0)), trial.undisturbed(&words(1))];
    states[0] = trial.undisturbed(&words(0));
    let mut at = 0;
    while trial.goes_on() {
        let other = 1 - at;
        let round = trial.round(&words(other));
        let is_after = judge(&round, "rollback", &states[at], &states[other], Snapshot::clone);
        trial.enter(&round, is_after);
        if is_after {
            at = other;
        }
        vps.wait_for(&format!("release {} to answer", ids[at]), || {
            let line = format!("grep -ho 'Version [0-9]*' /home/blog/releases/{}/server.js", ids[at]);
            vps.visit("blog", "/").says(vps.sh(&line).ok().stdout.trim())
        });
    }
    trial.histogram
}

const DISTURBER: &str = include_str!("inside/disturber.py");

/// What a deploy needs while it works.
const VICTIMS: [&str; 5] = [
    "hostkit",
    "hostkit-blog_build.service",
    "hostkit-blog_surge.service",
    "hostkit-blog.service",
    "nginx.service",
];

/// Kills something that a deploy needs while it works: the program, its build, a process of the project,
/// nginx. Old or new must answer in the end, and it must be the release that is live.
#[test]
fn whatever_is_killed_during_a_deploy_old_or_new_answers_in_the_end() {
    let Some(vps) = Vps::boot() else { return };
    let kills = std::env::var("HOSTKIT_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(12);
    let build = "import time\nopen('made', 'w').write('x')\ntime.sleep(0.3)\n";
    let toml = "build = [[\"python3\", \"make.py\"]]\n";
    let source = Source::example("node").file("make.py", build).file("hostkit.toml", toml);
    vps.put("/root/next", &source.version(100));
    vps.hostkit(["provision", "blog", "--node"]).ok();
    vps.hostkit(["deploy", "blog", "--source", "/root/next", "--override-ratelimit"]).ok();
    let began = Instant::now();
    vps.hostkit(["deploy", "blog", "--source", "/root/next", "--override-ratelimit"]).ok();
    let takes = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    let mut chance = Chance::seeded("disturbed deploys");
    let (mut live, mut done) = (100, [0; VICTIMS.len()]);
    for round in 0..kills {
        let victim = usize::try_from(round).unwrap_or_default() % VICTIMS.len();
        set_version(&vps, live + 1);
        let after = chance.below(takes).to_string();
        let words = ["--foreground", "deploy", "blog", "--source", "/root/next", "--override-ratelimit"];
        let args = [after.as_str(), VICTIMS[victim], "hostkit"].into_iter().chain(words);
        let shown = vps.python(DISTURBER, args).ok();
        // Its workers may take a moment to be gone, and hold its ports until then.
        vps.wait_for("nginx", || vps.run(["systemctl", "start", "nginx"]).run().code == 0);
        let repair = vps.hostkit(["repair"]).run();
        repair.check(repair.code == 0, &format!("repair to succeed; before it came\n{shown}"));
        let id = vps.run(["readlink", "/home/blog/app"]).ok().stdout.trim().to_owned();
        let line = format!("grep -ho 'Version [0-9]*' /home/blog/{id}/server.js");
        let said = vps.sh(&line).ok().stdout.trim().to_owned();
        vps.wait_for_answer("blog", &format!("{said} "));
        let is_new = said == format!("Version {}", live + 1);
        shown.check(
            is_new || said == format!("Version {live}"),
            "the release before or the new one to be live",
        );
        let manifest = id.replace("releases/", "releases/.");
        vps.sh(&format!("test -s /home/blog/{manifest}.manifest")).ok();
        let left = vps.sh("pgrep -u hkb40000 || true; ls -A /home/blog/releases | grep staging || true").ok();
        shown.check(left.stdout.is_empty(), &format!("nothing of a build to be left, not {}", left.stdout));
        vps.wait_for("doctor to be content", || vps.hostkit(["doctor"]).run().code == 0);
        if is_new {
            live += 1;
            done[victim] += 1;
        }
    }
    for (victim, done) in VICTIMS.iter().zip(done) {
        println!("{victim} killed: {done} of about {} deploys went on to the end", kills / 5);
    }
}

#[test]
fn killed_at_any_moment_it_is_before_or_after() {
    let (Some(first), Some(second)) = (Vps::boot(), Vps::boot()) else { return };
    let began = Instant::now();
    let kills = std::env::var("HOSTKIT_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(52);
    let histograms = std::thread::scope(|threads| {
        let switches =
            threads.spawn(|| [("deploy", deploy(&second, kills)), ("rollback", rollback(&second, kills))]);
        let mut all = vec![("provision", provision(&first, kills)), ("delete", delete(&first, kills))];
        // Its own message is already out; what it says here would hide it.
        all.extend(switches.join().expect("the rounds of deploy and rollback pass too"));
        all
    });
    println!("{} kills hit a command at work, in {} s", 4 * kills, began.elapsed().as_secs());
    for (verb, histogram) in &histograms {
        println!("\n{verb}\n{histogram}");
    }
}
