//! Taking the time, on the server itself. What was measured goes to standard output, a line each;
//! [`crate::table`] reads it outside.

mod backup;
mod build;
mod data;
mod handover;
mod kit;
mod memory;
mod projects;
mod same;
mod scale;
mod startup;
mod tree;

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::Error;

pub(crate) use self::tree::FILES;

/// Where everything of the measurement's own lies.
pub(crate) const HOME: &str = "/root/bench";
/// The program under test.
pub(crate) const HOSTKIT: &str = "/usr/local/bin/hostkit";

/// Does one part of the measurement.
pub(crate) fn main(words: &[&str]) -> Result<(), Error> {
    match *words {
        ["prepare"] => kit::prepare(),
        ["startup", runs] => startup::measure(runs.parse()?),
        ["provision", rounds] => projects::provision(rounds.parse()?),
        ["data", rounds] => data::provision(rounds.parse()?),
        ["backup", rounds] => backup::create(rounds.parse()?),
        ["live", rounds] => projects::live(rounds.parse()?),
        ["rollback", rounds] => projects::rollback(rounds.parse()?),
        ["handover", rounds] => handover::measure(rounds.parse()?),
        ["deploy", rounds] => tree::deploy(rounds.parse()?),
        ["build", rounds] => build::measure(rounds.parse()?),
        ["memory"] => memory::measure(),
        ["scale", projects] => scale::measure(projects.parse()?),
        _ => Err(format!("nothing to measure: {words:?}").into()),
    }
}

/// A command that must succeed; what it said is in the error when it does not.
pub(crate) fn run(argv: &[&str]) -> Result<String, Error> {
    let mut command = Command::new(argv[0]);
    let left =
        command.args(&argv[1..]).stdin(Stdio::null()).output().map_err(|e| format!("{argv:?}: {e}"))?;
    let out = String::from_utf8_lossy(&left.stdout).into_owned();
    if left.status.success() {
        return Ok(out);
    }
    Err(format!("{argv:?} ended with {}:\n{out}{}", left.status, String::from_utf8_lossy(&left.stderr))
        .into())
}

/// How long a command takes, from starting it to its end.
fn timed(argv: &[&str]) -> Result<Duration, Error> {
    let began = Instant::now();
    run(argv)?;
    Ok(began.elapsed())
}

fn hostkit(args: &[&str]) -> Vec<String> {
    [HOSTKIT].iter().chain(args).map(|&w| w.to_owned()).collect()
}

fn floor(args: &[&str]) -> Vec<String> {
    let program = format!("{HOME}/hostkit-bench");
    [program.as_str(), "floor"].iter().chain(args).map(|&w| w.to_owned()).collect()
}

fn words(argv: &[String]) -> Vec<&str> {
    argv.iter().map(String::as_str).collect()
}

/// Both sides in turn, so that what else the machine does meets both alike. The first round warms
/// caches and is thrown away.
fn in_turn(
    key: &str,
    rounds: usize,
    mut ours: impl FnMut(usize) -> Result<Duration, Error>,
    mut other: impl FnMut(usize) -> Result<Duration, Error>,
) -> Result<(), Error> {
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        a.push(ours(round)?);
        b.push(other(round)?);
    }
    say_pair(key, &a[1..], &b[1..]);
    Ok(())
}

// ---- what goes out ---------------------------------------------------------------------------------

fn say_pair(key: &str, ours: &[Duration], other: &[Duration]) {
    println!("pair\t{key}\t{}\t{}", micros(ours), micros(other));
}

fn say_value(key: &str, value: u64) {
    println!("value\t{key}\t{value}");
}

fn say_note(text: &str) {
    println!("note\t{text}");
}

fn micros(samples: &[Duration]) -> String {
    samples.iter().map(|s| s.as_micros().to_string()).collect::<Vec<_>>().join(" ")
}
