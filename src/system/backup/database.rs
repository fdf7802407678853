//! A database as it goes into a backup and comes out of one: always by the programs of the server's own
//! version, under the project's account and with the project's login.
//!
//! A dump is data from somebody else's hands: loading one runs what it says, so it runs as the project,
//! in a database of the project's. `psql`, which would also obey commands to itself, reads none.

use std::{
    io::{Read, Write},
    process::Stdio,
    time::{Duration, Instant},
};

use ::postgres::{Client, Config, IsolationLevel, NoTls, Transaction};
use anyhow::{Context, Result, anyhow};

use super::{Table, flow};
use crate::{
    domain::fault::{Code, Fault},
    system::postgres::{self, Login, session::tool},
};

/// What a role's defaults are for its application; a backup takes as long as it takes. The rest has equal
/// rows make equal texts, whoever asks.
const OPTIONS: &str = "-c search_path= -c statement_timeout=0 -c idle_in_transaction_session_timeout=0 \
    -c lock_timeout=30s -c row_security=off -c TimeZone=UTC -c DateStyle=ISO -c IntervalStyle=postgres \
    -c bytea_output=hex -c extra_float_digits=1";

/// How long a table that somebody holds is waited for; said in the options too.
const LOCK_WAIT: Duration = Duration::from_secs(30);

/// Who holds a table so that not even reading is possible.
const HOLDER: &str = "
    SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), l.pid, a.usename::pg_catalog.text, a.state
    FROM pg_catalog.pg_locks l
    JOIN pg_catalog.pg_database d ON d.oid = l.database AND d.datname = pg_catalog.current_database()
    JOIN pg_catalog.pg_class c ON c.oid = l.relation JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
    WHERE l.granted AND l.mode = 'AccessExclusiveLock' AND n.nspname !~ '^pg_' LIMIT 1";

/// The tables whose rows a dump holds. What an extension brings comes back with the extension.
const TABLES: &str = "
    SELECT pg_catalog.format('%I.%I', n.nspname, c.relname)
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND c.relpersistence <> 't'
      AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
          WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e')
    ORDER BY 1";

/// Writes a dump in PostgreSQL's own format, not compressed. Says what tables it holds, counted in the
/// same instant, and the version of the server.
pub(super) fn dump(who: &Login, out: &mut dyn Write) -> Result<(Vec<Table>, String)> {
    let began = Instant::now();
    let mut client = connect(who)?;
    let version: String = client.query_one("SHOW server_version", &[]).map_err(explain)?.get(0);
    let cancel = client.cancel_token();
    let mut transaction = instant(&mut client)?;
    let snapshot: String =
        transaction.query_one("SELECT pg_catalog.pg_export_snapshot()", &[]).map_err(explain)?.get(0);
    let arguments = [
        "--format=custom",
        "--compress=0",
        "--no-password",
        &format!("--lock-wait-timeout={}s", LOCK_WAIT.as_secs()),
        &format!("--snapshot={snapshot}"),
    ];
    let mut running = tool("pg_dump", who)?.start(arguments, Stdio::null(), Stdio::piped())?;
    let mut stdout = running.stdout.take().context("its standard output")?;
    // Counting reads every row once more; there is time for it while the dump is packed.
    let tables = std::thread::scope(|threads| {
        let counting = threads.spawn(|| count(&mut transaction));
        let dumped = flow(&mut stdout, out).and_then(|()| {
            drop(stdout);
            running.finish()
        });
        // What is counted holds the snapshot: when that failed first, the dump failed for its sake.
        let first = counting.is_finished();
        if dumped.is_err() && !first {
            // Nobody waits for the count any more. It ends by itself if it cannot be told.
            let _ = cancel.cancel_query(NoTls);
        }
        let counted = counting.join().map_err(|_| anyhow!("counting the rows failed"))?;
        match (dumped, counted) {
            (Ok(()), counted) => counted,
            (Err(_), Err(cause)) if first => Err(cause),
            (Err(cause), _) => Err(cause),
        }
    });
    match tables {
        Ok(tables) => Ok((tables, version)),
        Err(error) if began.elapsed() >= LOCK_WAIT => Err(in_the_way(who).unwrap_or(error)),
        Err(error) => Err(error),
    }
}

/// A look at all tables in one instant.
fn instant(client: &mut Client) -> Result<Transaction<'_>> {
    let look = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true);
    look.start().map_err(explain)
}

/// Why a database could not be read in time, when somebody holds a table of it for itself alone.
fn in_the_way(who: &Login) -> Option<anyhow::Error> {
    let row = connect(who).ok()?.query_opt(HOLDER, &[]).ok()??;
    let text = |at: usize| row.get::<_, Option<String>>(at).unwrap_or_default();
    let (table, pid, role, state) = (text(0), row.get::<_, i32>(1), text(2), text(3));
    let what = if state.is_empty() { String::new() } else { format!(", {state}") };
    let message = format!("the table `{table}` is locked by the connection {pid} of `{role}`{what}");
    Some(Fault::new(Code::Busy, message).next("try again when it has ended").into())
}

/// Loads a dump into an empty database. Everything in it belongs to the role that loads it.
pub(super) fn load(who: &Login, from: &mut dyn Read) -> Result<()> {
    let config: Config =
        who.url.reveal().parse().map_err(|_| anyhow!("the database's address is damaged"))?;
    let arguments = [
        "--format=custom",
        "--no-owner",
        "--no-privileges",
        "--exit-on-error",
        "--no-password",
        &format!("--dbname={}", config.get_dbname().unwrap_or_default()),
    ];
    super::feed(tool("pg_restore", who)?.start(arguments, Stdio::piped(), Stdio::null())?, from)
}

/// The tables of a database with their rows counted and summed up.
pub(super) fn tables(who: &Login) -> Result<Vec<Table>> {
    let mut client = connect(who)?;
    count(&mut instant(&mut client)?)
}

fn count(transaction: &mut Transaction<'_>) -> Result<Vec<Table>> {
    let names: Vec<String> =
        transaction.query(TABLES, &[]).map_err(explain)?.into_iter().map(|row| row.get(0)).collect();
    let mut tables = Vec::new();
    for name in names {
        crate::system::process::keep_going()?;
        // The name is quoted by the server; the row's own name is one that no column has. `format` asks
        // the types themselves for their text, and no cast that the project may have made.
        let sql = format!(
            "SELECT pg_catalog.count(*), \
             COALESCE(pg_catalog.sum(pg_catalog.hashtextextended(pg_catalog.format('%s', \"hostkit row\"), 0)), 0)::pg_catalog.text \
             FROM ONLY {name} AS \"hostkit row\""
        );
        let row = transaction.query_one(&sql, &[]).map_err(explain)?;
        tables.push(Table { name, rows: u64::try_from(row.get::<_, i64>(0))?, sum: row.get(1) });
    }
    Ok(tables)
}

fn connect(who: &Login) -> Result<Client> {
    postgres::connect::role(&who.url, OPTIONS)
}

fn explain(error: ::postgres::Error) -> anyhow::Error {
    postgres::connect::explain(&error)
}
