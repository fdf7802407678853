//! Many projects on one server: what the last one costs, beside the first.

use std::time::Duration;

use super::{HOSTKIT, memory, projects::by_hand, run, say_note, say_pair, timed, words};
use crate::{Error, floor::Sync, stats};

/// How many stand for the first and for the last.
const ENDS: usize = 10;
const LOOKS: usize = 20;

/// Provisions so many projects, one after the other.
pub(super) fn measure(projects: usize) -> Result<(), Error> {
    let mut taken: Vec<Duration> = Vec::with_capacity(projects);
    // The samples that the kit was made from are projects too; `status` is to see one.
    for sample in [super::kit::EMPTY, super::kit::NODE] {
        run(&[HOSTKIT, "project", "delete", sample, "--confirm", sample])?;
    }
    let mut first_status = Vec::new();
    let first_floor = by_hand_now(0)?;
    for n in 1..=projects {
        taken.push(timed(&[HOSTKIT, "project", "create", &format!("p{n:04}")])?);
        if n == 1 {
            first_status = status()?;
        }
        if n % 100 == 0 {
            let last = stats::ms(stats::median(&taken[n - ENDS.min(n)..]));
            say_note(&format!("with {n:4} projects, one more takes {last:.0} ms"));
            eprintln!("  {n} projects");
        }
    }
    let ends = ENDS.min(projects);
    say_pair("growth", &taken[projects - ends..], &taken[..ends]);
    say_pair("status", &status()?, &first_status);
    let last_floor = by_hand_now(ENDS)?;
    say_pair("floor growth", &last_floor, &first_floor);
    say_pair("at scale", &taken[projects - ends..], &last_floor);
    for args in [&["status"][..], &["doctor"], &["project", "create", "one-more"], &["status", "p0001"]] {
        memory::say(args)?;
    }
    Ok(())
}

fn status() -> Result<Vec<Duration>, Error> {
    (0..LOOKS).map(|_| timed(&[HOSTKIT, "status"])).collect()
}

/// The floor's time, with what is there now.
fn by_hand_now(from: usize) -> Result<Vec<Duration>, Error> {
    let one = |n: usize| {
        let name = format!("by-hand-{n}");
        timed(&words(&by_hand("provision", Sync::Each, &name, n, &[])))
    };
    (from..from + ENDS).map(one).collect()
}
