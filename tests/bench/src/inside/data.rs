//! Provisioning with a database and Redis, beside the same project with the same SQL and ACL lines by
//! hand, over connections that are open.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Instant,
};

use super::{
    HOSTKIT, hostkit, in_turn,
    projects::{EMPTY, by_hand, faster_sync, until_visited},
    run,
};
use crate::Error;

/// The project from which the Redis user's rule is taken.
const SAMPLE: &str = "sample-data";
const VERIFIER: &str = "SCRAM-SHA-256$4096:c2FsdHNhbHRzYWx0c2FsdA==$c3RvcmVkc3RvcmVkc3RvcmVkc3RvcmVkc3RvcmVkMTI=:c2VydmVyc2VydmVyc2VydmVyc2VydmVyc2VydmVyMTI=";

/// A client program that stays connected and does what it is told.
struct Open {
    child: Child,
    tell: ChildStdin,
    hear: BufReader<ChildStdout>,
}

impl Open {
    fn start(argv: &[&str]) -> Result<Self, Error> {
        let mut child = Command::new(argv[0])
            .args(&argv[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("{argv:?}: {e}"))?;
        let tell = child.stdin.take().ok_or("no standard input")?;
        let hear = BufReader::new(child.stdout.take().ok_or("no standard output")?);
        Ok(Self { child, tell, hear })
    }

    /// Says a text and waits for the line that answers its end.
    fn say(&mut self, text: &str, end: &str) -> Result<(), Error> {
        writeln!(self.tell, "{text}")?;
        self.tell.flush()?;
        let mut line = String::new();
        while self.hear.read_line(&mut line)? > 0 {
            if line.trim() == end {
                return Ok(());
            }
            if line.contains("ERR") {
                return Err(line.into());
            }
            line.clear();
        }
        Err(format!("the client ended before `{end}`").into())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // It ends with its input; killing it only makes sure.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Both daemons, at hand.
struct Daemons {
    postgres: Open,
    redis: Open,
    /// The rule of the sample's Redis user, without its name.
    rule: String,
}

impl Daemons {
    fn open() -> Result<Self, Error> {
        let user = ["runuser", "-u", "postgres", "--", "psql", "-XqAt", "-v", "ON_ERROR_STOP=1"];
        let postgres = Open::start(&user)?;
        let mut redis = Open::start(&["redis-cli"])?;
        let key = std::fs::read_to_string("/etc/hostkit/secrets/redis")?;
        redis.say(&format!("AUTH hkadmin {}", key.trim()), "OK")?;
        let all = run(&[
            "redis-cli",
            "--user",
            "hkadmin",
            "--pass",
            key.trim(),
            "--no-auth-warning",
            "ACL",
            "LIST",
        ])?;
        let line = all.lines().find(|line| line.starts_with(&format!("user {SAMPLE} ")));
        let rule =
            line.ok_or("the sample has no Redis user")?.split_once(SAMPLE).ok_or("a name")?.1.to_owned();
        Ok(Self { postgres, redis, rule })
    }

    fn make(&mut self, name: &str) -> Result<(), Error> {
        let db = format!("{}_db", name.replace('-', "_"));
        self.postgres.say(
            &format!(
                "BEGIN; CREATE ROLE \"{db}\" WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION \
                 NOBYPASSRLS CONNECTION LIMIT 20 PASSWORD '{VERIFIER}'; GRANT hostkit_projects TO \"{db}\"; \
                 ALTER ROLE \"{db}\" SET temp_file_limit TO '1GB'; ALTER ROLE \"{db}\" SET statement_timeout TO '60s'; \
                 ALTER ROLE \"{db}\" SET idle_in_transaction_session_timeout TO '60s'; COMMIT;\n\
                 CREATE DATABASE \"{db}\" OWNER postgres TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C.UTF-8' CONNECTION LIMIT 30;\n\
                 \\connect \"{db}\"\n\
                 BEGIN; REVOKE ALL ON SCHEMA public FROM PUBLIC; ALTER SCHEMA public OWNER TO \"{db}\"; \
                 REVOKE ALL ON DATABASE \"{db}\" FROM PUBLIC; \
                 GRANT CONNECT, CREATE, TEMPORARY ON DATABASE \"{db}\" TO \"{db}\"; COMMIT;\n\
                 \\connect postgres\n\\echo done"
            ),
            "done",
        )?;
        let rule = self.rule.replace(SAMPLE, name);
        self.redis.say(&format!("ACL SETUSER {name} {rule}\nACL SAVE\nPING"), "PONG")
    }
}

/// `provision NAME`, with a database and Redis.
pub(super) fn provision(rounds: usize) -> Result<(), Error> {
    run(&[HOSTKIT, "provision", SAMPLE, "--no-backup"])?;
    let sync = faster_sync(50)?;
    let mut daemons = Daemons::open()?;
    in_turn(
        "data",
        rounds,
        |n| {
            let name = format!("data-ours-{n}");
            // By hand no timer is made either.
            until_visited(&hostkit(&["provision", &name, "--no-backup"]), &name, EMPTY)
        },
        |n| {
            let name = format!("data-floor-{n}");
            let began = Instant::now();
            daemons.make(&name)?;
            let made = began.elapsed();
            Ok(made + until_visited(&by_hand("provision", sync, &name, 300 + n, &[]), &name, EMPTY)?)
        },
    )
}
