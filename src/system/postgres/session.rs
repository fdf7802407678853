//! What a project may do itself, done as the project: over its own login, with its own rights.

use std::{io::Read, process::Stdio};

use anyhow::{Context, Result, anyhow, bail};
use postgres::{Client, SimpleQueryMessage, error::SqlState};
use postgres_protocol::escape::escape_identifier;
use serde::{Deserialize, Serialize};

use super::{
    Login, PORT,
    connect::{SOCKET, explain, role},
};
use crate::{
    domain::{
        fault::{Code, Fault},
        secret::Secret,
    },
    system::exec::Tool,
};

/// One statement, and what it may do.
#[derive(Clone, Debug)]
pub struct Question {
    /// The statement.
    pub sql: String,
    /// How many rows are wanted at most.
    pub limit: usize,
    /// Whether it may change something.
    pub write: bool,
}

/// What was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The rows, as text; `None` is SQL's NULL.
    pub rows: Vec<Vec<Option<String>>>,
    /// Whether there were more rows than were wanted.
    pub more: bool,
    /// How many rows it concerned, as PostgreSQL counts them.
    pub count: u64,
}

/// Asks one question over a connection of its own.
pub(super) fn ask(url: &Secret, question: &Question) -> Result<Table> {
    let options = if question.write { "" } else { "-c default_transaction_read_only=on" };
    let mut client = role(url, options)?;
    // More than one statement would do more than one sees: the server refuses to prepare them.
    client.prepare(&question.sql).map_err(|error| refused(&error))?;
    let table =
        if question.write { plainly(&mut client, question) } else { piecemeal(&mut client, question) };
    let table = table.map_err(|error| refused(&error))?;
    Ok(table)
}

/// All that it answers. A statement that changes something cannot be asked for in pieces.
fn plainly(client: &mut Client, question: &Question) -> Result<Table, postgres::Error> {
    Ok(table(client.simple_query(&question.sql)?, question.limit))
}

/// No more than is wanted, so that a large table does not come here to be thrown away.
fn piecemeal(client: &mut Client, question: &Question) -> Result<Table, postgres::Error> {
    let declared =
        client.batch_execute(&format!("BEGIN; DECLARE hostkit NO SCROLL CURSOR FOR {}", question.sql));
    let fetched = match declared {
        Ok(()) => client.simple_query(&format!("FETCH {} FROM hostkit", question.limit.saturating_add(1)))?,
        // `SHOW` and `EXPLAIN` have no pieces, and are short; and what changes something is told so.
        Err(error)
            if [SqlState::SYNTAX_ERROR, SqlState::FEATURE_NOT_SUPPORTED]
                .iter()
                .any(|state| error.code() == Some(state)) =>
        {
            client.batch_execute("ROLLBACK")?;
            client.simple_query(&question.sql)?
        }
        Err(error) => return Err(error),
    };
    Ok(table(fetched, question.limit))
}

fn table(messages: Vec<SimpleQueryMessage>, limit: usize) -> Table {
    let mut table = Table::default();
    for message in messages {
        match message {
            SimpleQueryMessage::RowDescription(columns) => {
                table.columns = columns.iter().map(|column| column.name().to_owned()).collect();
            }
            SimpleQueryMessage::Row(_) if table.rows.len() >= limit => table.more = true,
            SimpleQueryMessage::Row(row) => {
                let cells = (0..row.len()).map(|at| row.get(at).map(str::to_owned));
                table.rows.push(cells.collect());
            }
            SimpleQueryMessage::CommandComplete(count) => table.count = count,
            _ => {}
        }
    }
    table
}

/// Why it was not answered, with the way to what was wanted.
fn refused(error: &postgres::Error) -> anyhow::Error {
    let said = error.as_db_error();
    match said.map(postgres::error::DbError::code) {
        Some(code) if *code == SqlState::READ_ONLY_SQL_TRANSACTION => {
            Fault::new(Code::NotPermitted, "the statement changes something, and only reading was asked for")
                .next("add `--write`")
                .into()
        }
        Some(code)
            if *code == SqlState::SYNTAX_ERROR
                && said.is_some_and(|s| s.message().contains("multiple commands")) =>
        {
            Fault::new(Code::InvalidValue, "more than one statement was given")
                .next("give one at a time")
                .into()
        }
        _ => explain(error),
    }
}

/// Where a password stands in an address, for showing the address without it.
pub fn masked(url: &Secret) -> Result<String> {
    let Some((scheme, rest)) = url.reveal().split_once("://") else {
        bail!("the database's address is damaged")
    };
    match rest.rsplit_once('@') {
        Some((login, place)) => {
            let user = login.split(':').next().unwrap_or_default();
            Ok(format!("{scheme}://{user}:********@{place}"))
        }
        None => bail!("the database's address is damaged"),
    }
}

/// Gives what belongs to one role to another, and takes what it was allowed away from it.
pub(super) fn reassign(url: &Secret, from: &str, to: &str) -> Result<()> {
    let (from, to) = (escape_identifier(from), escape_identifier(to));
    let sql = format!("REASSIGN OWNED BY {from} TO {to}; DROP OWNED BY {from}");
    role(url, "-c search_path= -c lock_timeout=20s")?.batch_execute(&sql).map_err(|error| explain(&error))
}

/// One of PostgreSQL's own programs, run and logged in as the project. The password is in the environment
/// of that process alone.
pub fn tool(program: &'static str, who: &Login) -> Result<Tool> {
    let config: postgres::Config =
        who.url.reveal().parse().map_err(|_| anyhow!("the database's address is damaged"))?;
    let password = config.get_password().map(String::from_utf8_lossy).unwrap_or_default();
    Ok(Tool::find(program, "postgresql-client")?
        .by(who.account, who.account)
        .env("PGHOST", SOCKET)
        .env("PGPORT", PORT.to_string())
        .env("PGUSER", config.get_user().unwrap_or_default())
        .env("PGDATABASE", config.get_dbname().unwrap_or_default())
        .env("PGPASSWORD", password)
        .env("PGAPPNAME", "hostkit"))
}

/// The SQL that makes the tables, from `pg_dump`.
pub(super) fn schema(who: &Login) -> Result<String> {
    let dump = tool("pg_dump", who)?;
    let mut dump = dump.start(["--schema-only", "--no-owner", "--no-acl"], Stdio::null(), Stdio::piped())?;
    let mut text = String::new();
    let read = dump.stdout.take().context("the dump's standard output")?.read_to_string(&mut text);
    dump.finish()?;
    read.context("reading the dump")?;
    Ok(text)
}

/// A dump of one that is loaded into the other while it is written.
pub(super) fn copy(from: &Login, to: &Login) -> Result<()> {
    let mut dump = tool("pg_dump", from)?.start(
        ["--format=custom", "--compress=0", "--no-owner", "--no-acl"],
        Stdio::null(),
        Stdio::piped(),
    )?;
    let out = dump.stdout.take().context("the dump's standard output")?;
    let config: postgres::Config =
        to.url.reveal().parse().map_err(|_| anyhow!("the database's address is damaged"))?;
    let into = format!("--dbname={}", config.get_dbname().unwrap_or_default());
    let load = ["--no-owner", "--no-acl", "--exit-on-error", "--single-transaction", &into];
    let loaded = tool("pg_restore", to)?.start(load, out, Stdio::null())?.finish();
    match (dump.finish(), loaded) {
        // Each may have failed for the other's sake.
        (Err(dumped), Err(loaded)) => bail!("{dumped:#}; {loaded:#}"),
        (dumped, loaded) => dumped.and(loaded),
    }
}
