//! `backup create` of a database of 1 GB, beside `pg_dump -Fc` alone, and the memory it takes.

use std::process::Command;

use super::{HOSTKIT, hostkit, in_turn, memory, run, say_value, timed, words};
use crate::Error;

const NAME: &str = "large";
/// Rows of some 300 bytes: words that repeat and numbers that do not, as in most databases.
const FILL: &str = "CREATE TABLE t (id bigint PRIMARY KEY, a text, b timestamptz, c numeric, d jsonb);
    INSERT INTO t SELECT g, md5(g::text) || ' some words that repeat ' || md5((g * 7)::text), now(), g * 1.37,
      jsonb_build_object('n', g, 'name', md5(g::text), 'tags', array['a', 'b', 'c']) FROM generate_series(1, 3600000) g";

/// Both write a file; `pg_dump` compresses as it does by itself, and syncs its file.
pub(super) fn create(rounds: usize) -> Result<(), Error> {
    run(&[HOSTKIT, "provision", NAME])?;
    let answer = run(&[HOSTKIT, "--json", "db", "url", NAME, "--reveal"])?;
    let url = answer.split('"').find(|w| w.starts_with("postgresql://")).ok_or("no address")?.to_owned();
    run(&["psql", "-Xq", "-v", "ON_ERROR_STOP=1", &url, "-c", "SET statement_timeout = 0", "-c", FILL])?;
    run(&["psql", "-Xq", &url, "-c", "SET statement_timeout = 0", "-c", "VACUUM ANALYZE t"])?;
    let size = run(&["psql", "-XAt", &url, "-c", "SELECT pg_database_size(current_database())"])?;
    say_value("database bytes", size.trim().parse()?);
    in_turn(
        "backup",
        rounds,
        |_| {
            let took = timed(&words(&hostkit(&["backup", "create", NAME])))?;
            // One is enough to be kept.
            Command::new("find")
                .args(["/var/lib/hostkit/backups", "-name", "*.backup", "-delete"])
                .status()?;
            Ok(took)
        },
        |_| timed(&["pg_dump", "-Fc", "--file=/root/bench/dump", &url]),
    )?;
    memory::say(&["backup", "create", NAME])?;
    memory::say(&["backup", "verify", NAME])
}
