//! A database as it goes into a backup and comes out of one: always by the programs of the server's own
//! version, under the project's account and with the project's login.
//!
//! A dump is data from somebody else's hands: loading one runs what it says, so it runs as the project,
//! in a database of the project's. `psql`, which would also obey commands to itself, reads none.

use std::{
    io::{Read, Write},
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use postgres::{Client, Config, IsolationLevel, NoTls, config::Host};

use super::{Table, flow};
use crate::{domain::secret::Secret, system::exec::Tool};

/// A project's way into a database of its own.
#[derive(Clone, Debug)]
pub struct Door {
    /// The account that the programs run under.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// The address that the project itself uses.
    pub url: Secret,
    /// The database, which may be another than the address names.
    pub database: String,
}

/// How long connecting may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a role's defaults are for its application; a backup takes as long as it takes. The rest has equal
/// rows make equal texts, whoever asks.
const OPTIONS: &str = "-c search_path= -c statement_timeout=0 -c idle_in_transaction_session_timeout=0 \
    -c lock_timeout=30s -c row_security=off -c TimeZone=UTC -c DateStyle=ISO -c IntervalStyle=postgres \
    -c bytea_output=hex -c extra_float_digits=1";

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
pub(super) fn dump(door: &Door, out: &mut dyn Write) -> Result<(Vec<Table>, String)> {
    let mut client = connect(door)?;
    let version: String = client.query_one("SHOW server_version", &[]).map_err(explain)?.get(0);
    let number: String = client.query_one("SHOW server_version_num", &[]).map_err(explain)?.get(0);
    let mut transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .map_err(explain)?;
    let snapshot: String =
        transaction.query_one("SELECT pg_catalog.pg_export_snapshot()", &[]).map_err(explain)?.get(0);
    let arguments = [
        "--format=custom",
        "--compress=0",
        "--no-password",
        "--lock-wait-timeout=30s",
        &format!("--snapshot={snapshot}"),
    ];
    let mut running = program("pg_dump", &number, door)?.start(arguments, Stdio::null(), Stdio::piped())?;
    let mut stdout = running.stdout.take().context("its standard output")?;
    // Counting reads every row once more; there is time for it while the dump is packed.
    let tables = std::thread::scope(|threads| {
        let counting = threads.spawn(|| count(&mut transaction));
        flow(&mut stdout, out)?;
        running.finish()?;
        counting.join().map_err(|_| anyhow!("counting the rows failed"))?
    })?;
    Ok((tables, version))
}

/// Loads a dump into an empty database. Everything in it belongs to the role that loads it.
pub(super) fn load(door: &Door, from: &mut dyn Read) -> Result<()> {
    let mut client = connect(door)?;
    let number: String = client.query_one("SHOW server_version_num", &[]).map_err(explain)?.get(0);
    drop(client);
    let arguments = [
        "--format=custom",
        "--no-owner",
        "--no-privileges",
        "--exit-on-error",
        "--no-password",
        &format!("--dbname={}", door.database),
    ];
    super::feed(program("pg_restore", &number, door)?.start(arguments, Stdio::piped(), Stdio::null())?, from)
}

/// The tables of a database with their rows counted and summed up.
pub(super) fn tables(door: &Door) -> Result<Vec<Table>> {
    let mut client = connect(door)?;
    let mut transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .map_err(explain)?;
    count(&mut transaction)
}

fn count(transaction: &mut postgres::Transaction<'_>) -> Result<Vec<Table>> {
    let names: Vec<String> =
        transaction.query(TABLES, &[]).map_err(explain)?.into_iter().map(|row| row.get(0)).collect();
    let mut tables = Vec::new();
    for name in names {
        crate::system::process::keep_going()?;
        // The name is quoted by the server; the row's own name is one that no column has.
        let sql = format!(
            "SELECT pg_catalog.count(*), \
             COALESCE(pg_catalog.sum(pg_catalog.hashtextextended(\"hostkit row\"::pg_catalog.text, 0)), 0)::pg_catalog.text \
             FROM ONLY {name} AS \"hostkit row\""
        );
        let row = transaction.query_one(&sql, &[]).map_err(explain)?;
        tables.push(Table { name, rows: u64::try_from(row.get::<_, i64>(0))?, sum: row.get(1) });
    }
    Ok(tables)
}

/// A program of the server's version. What it needs to connect is in its environment alone.
fn program(name: &'static str, version: &str, door: &Door) -> Result<Tool> {
    let config = address(door)?;
    let major = version.parse::<u32>().context("the server's version")? / 10_000;
    let own = PathBuf::from(format!("/usr/lib/postgresql/{major}/bin/{name}"));
    let tool = if own.exists() { Tool::at(name, own) } else { Tool::find(name, "postgresql-client")? };
    let host = match config.get_hosts().first() {
        Some(Host::Unix(path)) => path.to_string_lossy().into_owned(),
        Some(Host::Tcp(name)) => name.clone(),
        None => "localhost".to_owned(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let password = String::from_utf8_lossy(config.get_password().unwrap_or_default()).into_owned();
    Ok(tool
        .by(door.uid, door.gid)
        .env("PGHOST", host)
        .env("PGPORT", port.to_string())
        .env("PGUSER", config.get_user().unwrap_or_default())
        .env("PGPASSWORD", password)
        .env("PGDATABASE", door.database.as_str())
        .env("PGAPPNAME", "hostkit")
        .env("PGCONNECT_TIMEOUT", PATIENCE.as_secs().to_string()))
}

fn address(door: &Door) -> Result<Config> {
    // What the parser says of it may hold a piece of it.
    let mut config: Config =
        door.url.reveal().parse().map_err(|_| anyhow!("the database's address is damaged"))?;
    config.dbname(&door.database).application_name("hostkit").connect_timeout(PATIENCE).options(OPTIONS);
    Ok(config)
}

fn connect(door: &Door) -> Result<Client> {
    address(door)?.connect(NoTls).map_err(explain)
}

fn explain(error: postgres::Error) -> anyhow::Error {
    use crate::domain::fault::{Code, Fault};
    match error.as_db_error() {
        Some(said) => anyhow!("PostgreSQL refuses: {}", said.message()),
        None => Fault::new(Code::ServiceDown, "PostgreSQL cannot be reached")
            .next("systemctl start postgresql")
            .into(),
    }
}
