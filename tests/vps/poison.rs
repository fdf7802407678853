//! One search for every secret, after everything was done with them, wherever one might have been left.

use std::{cell::RefCell, collections::BTreeSet};

use crate::{source::Source, vps::Vps};

const SCRIPT: &str = include_str!("inside/poison.py");
/// What a person gives HostKit to keep.
const ENV: &str = "poison-env-5f0c1d7a9b";
const VAULT: &str = "poison-vault-83e2b6c4d1";
const PROVIDER: &str = "poison-provider-0a9b8c7d6e";
/// What is looked through whole; the home of the tests' own words is not among it.
const PLACES: [&str; 9] = ["/etc", "/home", "/root", "/opt", "/srv", "/run", "/tmp", "/var", "/boot"];

/// What is done with each project.
const EACH: &[&[&str]] = &[
    &["status", "NAME"],
    &["project", "info", "NAME"],
    &["db", "info", "NAME"],
    &["db", "url", "NAME"],
    &["db", "query", "NAME", "SELECT 1"],
    &["db", "schema", "NAME", "--sql"],
    &["db", "extensions", "NAME"],
    &["redis", "info", "NAME"],
    &["storage", "info", "NAME"],
    &["storage", "ls", "NAME"],
    &["env", "list", "NAME"],
    &["env", "history", "NAME"],
    &["env", "diff", "NAME"],
    &["secrets", "list", "NAME"],
    &["secrets", "verify", "NAME"],
    &["db", "rotate", "NAME"],
    &["redis", "rotate", "NAME"],
    &["restart", "NAME"],
    &["storage", "rotate", "NAME", "--now"],
    &["db", "rotate", "NAME", "--now"],
    &["redis", "rotate", "NAME", "--now"],
    &["backup", "create", "NAME"],
    &["backup", "list", "NAME"],
    &["backup", "verify", "NAME"],
    &["backup", "restore", "NAME"],
    &["checkpoint", "create", "NAME"],
    &["checkpoint", "restore", "NAME"],
    &["logs", "NAME"],
    &["provision", "NAME"],
];
/// What is done with the host.
const HOST: &[&[&str]] =
    &[&["doctor"], &["repair"], &["history"], &["project", "list"], &["gc"], &["init", "--with-storage"]];

/// What was planted, and what HostKit has made up since.
struct Words(RefCell<BTreeSet<String>>);

impl Words {
    /// Takes in every secret that the projects have now.
    fn learn(&self, vps: &Vps) {
        let env = vps.sh("cat /home/*/.env /etc/hostkit/master.key /etc/hostkit/secrets/*").run().stdout;
        for line in env.lines() {
            let value = line.split_once('=').map_or(line, |(_, value)| value).trim_matches(['\'', '"']);
            let secret = match value.split_once("://") {
                Some((_, rest)) => rest.split_once(':').and_then(|(_, r)| r.split_once('@')).map(|(p, _)| p),
                None if line.starts_with("S3_SECRET_KEY=") || !line.contains('=') => Some(value),
                None => line.split_once("SECRET=").or(line.split_once("TOKEN=")).map(|(_, value)| value),
            };
            self.0
                .borrow_mut()
                .extend(secret.filter(|s| s.len() > 15 && !s.contains(' ')).map(str::to_owned));
        }
    }
}

/// Where the control puts secrets, in the order of the alphabet.
const PLANTED: [&str; 5] = [
    "/root/samples",
    "/usr/share/planted",
    "/var/lib/hostkit/planted",
    "/var/log/projects/blog/planted.log",
    "the journal",
];

/// Whether a secret may be found here.
fn belongs(path: &str) -> bool {
    path.is_empty()
        || path.starts_with("/etc/hostkit/secrets/")
        || path == "/etc/hostkit/master.key"
        || ["/home/blog/.env", "/home/shop/.env"].contains(&path)
        // What the store itself knows its keys by, for its own account alone.
        || path.starts_with("/var/lib/private/hostkit-s3/")
        || path.starts_with("/var/lib/hostkit-s3/")
}

/// The places where no secret belongs. What is in the journal is in its files too, and counts once.
fn strangers(places: Vec<String>) -> Vec<String> {
    let journal = |path: &str| path.starts_with("/var/log/journal/") || path.starts_with("/run/log/journal/");
    let mut strange: Vec<String> =
        places.into_iter().filter(|path| !belongs(path) && !journal(path)).collect();
    strange.sort_unstable();
    strange
}

#[test]
fn no_secret_is_anywhere_but_where_it_belongs() {
    let Some(vps) = Vps::with().garage().boot() else { return };
    vps.sh("runuser -u postgres -- psql -qXc \"ALTER SYSTEM SET log_statement = 'all'\" -c 'SELECT pg_reload_conf()' >/dev/null").ok();
    vps.hostkit(["init", "--with-storage"]).ok();
    vps.write("/opt/poison.py", SCRIPT);
    vps.sh("mkdir -p /dev/shm/ours; touch /dev/shm/ours/since; sleep 1").ok();
    vps.hostkit(["provision", "blog"]).ok();
    vps.hostkit(["provision", "shop", "--redis", "dedicated"]).ok();
    vps.sh("setsid python3 /opt/poison.py sample /dev/shm/ours/samples /dev/shm/ours/stop blog shop >/dev/shm/ours/count 2>&1 &").ok();
    let words = Words(RefCell::new([ENV, VAULT, PROVIDER].map(str::to_owned).into()));
    words.learn(&vps);

    let said = RefCell::new(String::new());
    // Each once for people and once for programs, as far as doing it twice makes sense.
    let call = |words_of: &[&str], stdin: &str| {
        let json = vps.hostkit(["--json"].iter().chain(words_of)).stdin(stdin.to_owned()).run();
        let plain = vps.hostkit(words_of).stdin(stdin.to_owned()).run();
        *said.borrow_mut() += &format!("{json}\n{plain}\n");
        words.learn(&vps);
        (json.code, plain.code)
    };
    let good = |words_of: &[&str], stdin: &str| {
        let (json, plain) = call(words_of, stdin);
        assert_eq!((json, plain), (0, 0), "{words_of:?}\n{}", vps.diagnosis());
    };
    good(&["env", "set", "blog", "MAIL_PASSWORD", "--stdin"], ENV);
    good(&["secrets", "set", "blog", "API_KEY", "--stdin"], VAULT);
    vps.put("/root/source", &Source::example("node").file("schema.sql", "-- nothing\n"));
    good(&["deploy", "blog", "--source", "/root/source"], "");
    good(&["db", "query", "blog", "--write", "CREATE TABLE IF NOT EXISTS t AS SELECT 1 AS i"], "");
    for name in ["blog", "shop"] {
        for what in EACH {
            // It has no release.
            if name == "shop" && matches!(what, ["restart" | "logs", _] | ["secrets", "verify", _]) {
                continue;
            }
            let what: Vec<&str> = what.iter().map(|word| if *word == "NAME" { name } else { word }).collect();
            good(&what, "");
        }
    }
    good(&["secrets", "rotate", "blog", "API_KEY", "--generate"], "");
    good(&["secrets", "inject", "blog"], "");
    for what in HOST {
        good(what, "");
    }
    // What is refused says nothing either.
    call(
        &[
            "backup",
            "target",
            "--endpoint",
            "http://127.0.0.1:3900",
            "--bucket",
            "none",
            "--access-key",
            "GKnone",
        ],
        PROVIDER,
    );
    call(
        &[
            "storage",
            "attach",
            "shop",
            "--endpoint",
            "http://127.0.0.1:3900",
            "--bucket",
            "none",
            "--access-key",
            "GKnone",
        ],
        PROVIDER,
    );
    call(&["env", "set", "blog", "DATABASE_URL", "--stdin"], ENV);
    call(&["project", "delete", "shop", "--confirm", "shop"], "");
    vps.hostkit(["project", "restore", "shop"]).ok();
    words.learn(&vps);

    vps.sh("touch /dev/shm/ours/stop; while ! test -s /dev/shm/ours/samples; do sleep 0.2; done").ok();
    let all: Vec<String> = words.0.borrow().iter().cloned().collect();
    assert!(all.len() > 20, "{} words", all.len());
    vps.write("/dev/shm/ours/words", all.join("\n"));
    vps.write("/root/said", said.into_inner());
    vps.sh("cp /dev/shm/ours/samples /root/samples; grep -c pg_dump /root/samples").ok();
    let places = || {
        let line = ["python3", "/opt/poison.py", "search", "/dev/shm/ours/words", "/dev/shm/ours/since"];
        vps.run(line.iter().chain(&PLACES)).ok().lines()
    };
    assert_eq!(strangers(places()), Vec::<String>::new());

    // The control: wherever one is put on purpose, it is found.
    vps.sh(&format!(
        "echo said {VAULT} >/var/log/projects/blog/planted.log; echo {ENV} >/usr/share/planted
         install -m 600 /dev/null /var/lib/hostkit/planted; echo row {PROVIDER} >/var/lib/hostkit/planted
         logger planted {VAULT}; printf 'argv sleep\\0%s' {ENV} >>/root/samples; journalctl --sync"
    ))
    .ok();
    assert_eq!(strangers(places()), PLANTED);
}
