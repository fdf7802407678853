//! Provisioning, bringing to life, going back: each until a visitor sees it.

use std::time::{Duration, Instant};

use super::{
    floor, hostkit, in_turn,
    kit::{self, NODE, SOURCES},
    run, same, say_note, timed, words,
};
use crate::{Error, floor::Sync, stats, web};

/// The first number and port of the floor's projects; HostKit gives out lower ones.
const FIRST_ID: usize = 50_000;
const FIRST_PORT: usize = 14_000;

/// What a visitor of a project that has not been deployed is told.
pub(super) const EMPTY: (u16, &str) = (503, "has not been deployed");
const LIVE: (u16, &str) = (200, "Version 1");

fn domain(name: &str) -> String {
    format!("{name}.{}", crate::server::DOMAIN)
}

/// From the command to what a visitor is to see.
pub(super) fn until_visited(
    argv: &[String],
    name: &str,
    (status, says): (u16, &str),
) -> Result<Duration, Error> {
    let began = Instant::now();
    run(&words(argv))?;
    web::until_visited(&domain(name), status, says)?;
    Ok(began.elapsed())
}

/// A project of the floor's; `number` is never used twice on a server.
pub(super) fn by_hand(job: &str, sync: Sync, name: &str, number: usize, source: &[&str]) -> Vec<String> {
    let (id, port) = ((FIRST_ID + number).to_string(), (FIRST_PORT + number).to_string());
    let mut args = vec![job, sync.word(), name, &id, &port];
    args.extend(source);
    floor(&args)
}

/// Which way to the disk is the faster one here and now; `from` is the first number not used yet.
pub(super) fn faster_sync(from: usize) -> Result<Sync, Error> {
    const TRIES: usize = 5;
    let mut taken = Sync::ALL.map(|sync| (sync, Vec::new()));
    for number in 0..TRIES {
        for (n, (sync, samples)) in taken.iter_mut().enumerate() {
            let number = from + number * Sync::ALL.len() + n;
            let name = format!("sync-{number}");
            samples.push(timed(&words(&by_hand("provision", *sync, &name, number, &[])))?);
        }
    }
    for (sync, samples) in &taken {
        say_note(&format!(
            "floor, sync `{}`: provision {:.1} ms",
            sync.word(),
            stats::ms(stats::median(samples))
        ));
    }
    let best = taken.iter().min_by_key(|(_, samples)| stats::median(samples));
    Ok(best.map_or(Sync::Whole, |(sync, _)| *sync))
}

/// `project create NAME`: what every project has, without services.
pub(super) fn provision(rounds: usize) -> Result<(), Error> {
    let sync = faster_sync(0)?;
    in_turn(
        "provision",
        rounds,
        |n| {
            let name = format!("ours-{n}");
            until_visited(&hostkit(&["project", "create", &name]), &name, EMPTY)
        },
        |n| {
            let name = format!("floor-{n}");
            until_visited(&by_hand("provision", sync, &name, 100 + n, &[]), &name, EMPTY)
        },
    )?;
    same::require("ours-0", "floor-0")
}

/// `project create NAME --source DIR`, until the app answers.
pub(super) fn live(rounds: usize) -> Result<(), Error> {
    in_turn(
        "live",
        rounds,
        |n| {
            let name = format!("live-ours-{n}");
            let took =
                until_visited(&hostkit(&["project", "create", &name, "--source", SOURCES[0]]), &name, LIVE)?;
            quiet(&name, n)?;
            Ok(took)
        },
        |n| {
            let name = format!("live-floor-{n}");
            let argv = by_hand("live", Sync::Each, &name, 200 + n, &[SOURCES[0]]);
            let took = until_visited(&argv, &name, LIVE)?;
            quiet(&name, n)?;
            Ok(took)
        },
    )?;
    same::require("live-ours-0", "live-floor-0")
}

/// Ends what was started, so that the next round meets no more than this one did. The first pair stays
/// to be compared.
fn quiet(name: &str, round: usize) -> Result<(), Error> {
    if round > 0 {
        run(&["/usr/bin/systemctl", "stop", &format!("hostkit-{name}.service")])?;
    }
    Ok(())
}

/// `rollback NAME RELEASE` to and fro, beside a plain restart of the same service.
pub(super) fn rollback(rounds: usize) -> Result<(), Error> {
    let unit = format!("hostkit-{NODE}.service");
    run(&words(&hostkit(&["deploy", "--override-ratelimit", NODE, "--source", SOURCES[1]])))?;
    let releases = releases(NODE)?;
    let [first, second] = releases.as_slice() else { return Err(format!("not two: {releases:?}").into()) };
    let port = kit::port(NODE)?;
    // systemd refuses a unit that starts too often, whoever asks: that is not to be measured.
    let forgive = || run(&["/usr/bin/systemctl", "reset-failed", &unit]).map(|_| ());
    in_turn(
        "rollback",
        rounds,
        |n| {
            forgive()?;
            let (release, says) = if n % 2 == 0 { (first, "Version 1") } else { (second, "Version 2") };
            until_visited(&hostkit(&["rollback", NODE, release]), NODE, (200, says))
        },
        |_| {
            forgive()?;
            let began = Instant::now();
            run(&["/usr/bin/systemctl", "restart", &unit])?;
            web::until("the restarted app", || {
                web::get(port, &domain(NODE), "/healthz").is_ok_and(|a| a.status == 200)
            })?;
            web::until_visited(&domain(NODE), 200, "Version")?;
            Ok(began.elapsed())
        },
    )
}

/// The names of a project's releases, oldest first.
pub(super) fn releases(name: &str) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(format!("/home/{name}/releases"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}
