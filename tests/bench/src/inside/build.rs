//! Builds: installing once, sealing, and a large tree of which little has changed.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use super::{HOSTKIT, floor, hostkit, in_turn, run, say_note, say_pair, timed, words};
use crate::Error;

const PROJECT: &str = "built";
const APP: &str = "/root/bench/built";
const TREE: &str = "/root/bench/wide";
const WIDE: &str = "wide-ours";
const FLOORS: &str = "/home/wide-floor";
const WEB: &str = "33";
/// What the tree and the Node project hold.
const MANY: usize = 30_000;
/// What is sealed.
const SEALED: usize = 20_000;
const PER_DIRECTORY: usize = 50;
/// Making and deleting so many files slows the disk down; few rounds say as much.
const ROUNDS: usize = 5;

/// All three.
pub(super) fn measure(rounds: usize) -> Result<(), Error> {
    changed(rounds.min(ROUNDS))?;
    sealing(rounds.min(ROUNDS))?;
    second()
}

fn text(seed: usize, round: usize) -> String {
    // Six to seven kilobytes: 200 MB in all.
    format!("{seed} of round {round}\n").repeat(330)
}

fn grow(at: &str, count: usize) -> Result<(), Error> {
    for n in 0..count {
        let directory = format!("{at}/part-{}/{}", n / 500, n / PER_DIRECTORY);
        if n % PER_DIRECTORY == 0 {
            fs::create_dir_all(&directory)?;
        }
        fs::write(format!("{directory}/{n}.txt"), text(n, 0))?;
    }
    fs::write(format!("{at}/index.html"), "<p>wide</p>")?;
    Ok(())
}

/// A static site of 30,000 files, of which every hundredth is another each time.
fn changed(rounds: usize) -> Result<(), Error> {
    grow(TREE, MANY)?;
    run(&["/bin/sync"])?;
    run(&words(&hostkit(&["provision", WIDE, "--static", "--source", TREE])))?;
    fs::create_dir_all(format!("{FLOORS}/releases"))?;
    let mut number = 0;
    let mut by_hand = || -> Result<Duration, Error> {
        number += 1;
        timed(&words(&floor(&["relink", FLOORS, &format!("release-{number}"), WEB, TREE])))
    };
    by_hand()?;
    in_turn(
        "changed",
        rounds,
        |round| {
            for n in (round..MANY).step_by(100) {
                let path = format!("{TREE}/part-{}/{}/{n}.txt", n / 500, n / PER_DIRECTORY);
                fs::write(path, text(n, round + 1))?;
            }
            run(&["/bin/sync"])?;
            timed(&words(&hostkit(&["deploy", "--override-ratelimit", WIDE, "--source", TREE])))
        },
        |_| by_hand(),
    )
}

/// What a build leaves, 20,000 files, beside `chown -R` and a sync of the same. HostKit says itself how
/// long both of its parts took.
fn sealing(rounds: usize) -> Result<(), Error> {
    fs::create_dir_all(APP)?;
    let make = format!(
        "import os\nfor n in range({SEALED}):\n    d = f'out/{{n // 50}}'\n    os.makedirs(d, exist_ok=True)\n    \
         open(f'{{d}}/{{n}}', 'w').write(f'{{n}} ' + os.environ['HOSTKIT_RELEASE'] * 180)\n"
    );
    fs::write(format!("{APP}/make.py"), make)?;
    fs::write(format!("{APP}/index.html"), "<p>sealed</p>")?;
    let toml = "runtime = \"static\"\nbuild = [[\"python3\", \"make.py\"]]\n";
    fs::write(format!("{APP}/hostkit.toml"), toml)?;
    run(&words(&hostkit(&["provision", "sealed", "--static"])))?;
    let (mut ours, mut by_hand) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let said = Command::new(HOSTKIT)
            .args(["deploy", "--override-ratelimit", "sealed", "--source", APP])
            .output()?;
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        let seal = said.lines().find(|line| line.contains("] seal: ")).ok_or_else(|| said.clone())?;
        let seconds = seal.rsplit('(').next().and_then(|w| w.strip_suffix("s)")).ok_or("no time")?;
        // The same files, made anew and not yet on the disk.
        let copy = "/home/seal-floor";
        let app = fs::canonicalize("/home/sealed/app")?;
        let _ = fs::remove_dir_all(copy);
        run(&["cp", "-r", &app.to_string_lossy(), copy])?;
        let began = Instant::now();
        run(&["chown", "-R", "nobody:www-data", copy])?;
        run(&["sync", "-f", copy])?;
        if round > 0 {
            ours.push(Duration::from_secs_f64(seconds.parse()?));
            by_hand.push(began.elapsed());
        }
    }
    say_pair("sealing", &ours, &by_hand);
    Ok(())
}

/// Stands for npm where there is no network: a package is a directory of files.
const NPM: &str = r"#!/usr/bin/python3
import os, json, hashlib
lock = json.load(open('package-lock.json'))
for name in lock['packages']:
    if not name: continue
    for n in range(100):
        os.makedirs(f'{name}/lib{n % 5}', exist_ok=True)
        with open(f'{name}/lib{n % 5}/{n}.js', 'w') as f:
            f.write(f'// {name} {n}\n' + hashlib.sha256(f'{name}{n}'.encode()).hexdigest() * 100)
";

/// What a real project of some 30,000 installed files asks for.
const REAL: &str = r#"{"name":"x","version":"1.0.0","main":"index.js","dependencies":{"@mui/icons-material":"5.15.15",
"@mui/material":"5.15.15","@emotion/react":"11.11.4","@emotion/styled":"11.11.5","react":"18.2.0","react-dom":"18.2.0",
"date-fns":"3.6.0","eslint":"8.57.0","webpack":"5.91.0","jest":"29.7.0"}}"#;

/// A Node project whose dependencies are 30,000 files, deployed twice. With a real npm they are real ones, out
/// of the registry; the stand-in neither fetches nor unpacks, so the first deploy takes a fraction of what a
/// real one does.
fn second() -> Result<(), Error> {
    const AT: &str = "/root/bench/node-wide";
    let real = Path::new("/usr/bin/npm").exists() || Path::new("/usr/local/bin/npm").exists();
    fs::create_dir_all(AT)?;
    if real {
        fs::write(format!("{AT}/package.json"), REAL)?;
        let lock = "npm install --package-lock-only --no-audit --no-fund --legacy-peer-deps";
        run(&["sh", "-euc", &format!("cd {AT}; {lock}")])?;
    } else {
        fs::write("/usr/local/bin/npm", NPM)?;
        fs::set_permissions("/usr/local/bin/npm", fs::Permissions::from_mode(0o755))?;
        locked(AT)?;
    }
    fs::write(
        format!("{AT}/index.js"),
        "require('http').createServer((q,r)=>r.end('x')).listen(process.env.PORT,process.env.HOST)",
    )?;
    run(&words(&hostkit(&["provision", PROJECT])))?;
    let deploy = || timed(&words(&hostkit(&["deploy", "--override-ratelimit", PROJECT, "--source", AT])));
    let first = deploy()?;
    let held = || -> Result<f64, Error> {
        let said = run(&["du", "-s", "-k", &format!("/home/{PROJECT}/releases")])?;
        Ok(said.split_whitespace().next().ok_or("du says nothing")?.parse()?)
    };
    let before = held()?;
    let again = deploy()?;
    let more = 100.0 * (held()? - before) / before;
    say_pair("second", &[again], &[first]);
    let (first, again) = (first.as_millis(), again.as_millis());
    say_note(&format!(
        "second deploy of 30,000 installed files ({}): {again} ms after {first} ms, and {more:.1} % of the disk (limit 8 %)",
        if real { "npm ci" } else { "a stand-in for npm" }
    ));
    Ok(())
}

/// A lockfile that the stand-in reads.
fn locked(at: &str) -> Result<(), Error> {
    let names: Vec<String> = (0..MANY / 100).map(|n| format!("dep-{n}")).collect();
    let deps: Vec<String> = names.iter().map(|name| format!("\"{name}\":\"1.0.0\"")).collect();
    let locked: Vec<String> =
        names.iter().map(|name| format!("\"node_modules/{name}\":{{\"version\":\"1.0.0\"}}")).collect();
    let deps = deps.join(",");
    fs::write(
        format!("{at}/package.json"),
        format!("{{\"name\":\"x\",\"version\":\"1.0.0\",\"main\":\"index.js\",\"dependencies\":{{{deps}}}}}"),
    )?;
    fs::write(
        format!("{at}/package-lock.json"),
        format!(
            "{{\"name\":\"x\",\"lockfileVersion\":3,\"packages\":{{\"\":{{\"name\":\"x\",\"dependencies\":{{{deps}}}}},{}}}}}",
            locked.join(",")
        ),
    )?;
    Ok(())
}
