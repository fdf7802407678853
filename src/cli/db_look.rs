//! `db query`, `db schema` and `db extensions`: asked as the project, with its own rights.

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};

use super::{
    Verb,
    answer::{Answer, table},
    context::Context,
    db::statement,
    policy::Policy,
};
use crate::{
    domain::{
        fault::{Code, Fault},
        name::ProjectName,
    },
    operation::{
        database::login,
        session::{Mode, Outcome},
    },
    system::postgres::{Question, Table},
};

/// How many rows are shown unless more are asked for.
const ROWS: usize = 100;
/// More than anybody reads.
const ALL: usize = 100_000;

/// Asks a project's database as the project.
fn ask(cx: &mut Context, name: &ProjectName, question: &Question) -> Result<Table> {
    let mode = if question.write { Mode::Run } else { Mode::DryRun };
    cx.session(mode, |session| {
        let who = login(session, &session.project(name)?.spec)?;
        session.host.postgres.ask(&who, question)
    })
}

fn looked(cx: &mut Context, name: &ProjectName, sql: &str) -> Result<Table> {
    ask(cx, name, &Question { sql: sql.to_owned(), limit: ALL, write: false })
}

/// A cell without what would break the table or play with the terminal.
fn shown(cell: Option<&str>) -> String {
    cell.map_or_else(
        || "–".to_owned(),
        |text| {
            text.chars()
                .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
                .collect()
        },
    )
}

fn listed(found: &Table) -> String {
    let header: Vec<&str> = found.columns.iter().map(String::as_str).collect();
    let rows: Vec<Vec<String>> =
        found.rows.iter().map(|row| row.iter().map(|cell| shown(cell.as_deref())).collect()).collect();
    table(&header, &rows)
}

/// Ask a project's database one question, as the project
#[derive(Args, Clone, Debug)]
pub(crate) struct QueryArgs {
    /// The project
    name: ProjectName,
    /// One SQL statement; `-`, or none, reads it from standard input
    sql: Option<String>,
    /// Show this many rows at most
    #[arg(long, value_name = "ROWS", default_value_t = ROWS)]
    limit: usize,
    /// Let the statement change something
    #[arg(long)]
    write: bool,
}

impl Verb for QueryArgs {
    const NAME: &'static str = "db query";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] = &[
        "hostkit db query api 'SELECT count(*) FROM orders'",
        "hostkit db query api --limit 10 --json 'SELECT * FROM orders'",
        "hostkit db query api --write 'UPDATE orders SET paid = true WHERE id = 7'",
    ];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let sql = statement(self.sql)?;
        if sql.trim().is_empty() {
            let fault = Fault::new(Code::InvalidValue, "no statement was given");
            return Err(fault.next(format!("hostkit db query {} 'SELECT 1'", self.name)).into());
        }
        let found = ask(cx, &self.name, &Question { sql, limit: self.limit, write: self.write })?;
        let mut text = if found.columns.is_empty() { String::new() } else { listed(&found) + "\n" };
        text += &match (found.rows.len(), found.more) {
            (shown, true) => format!("{shown} rows, and there are more"),
            (0, false) if found.columns.is_empty() => format!("done; {} rows", found.count),
            (1, false) => "1 row".to_owned(),
            (shown, false) => format!("{shown} rows"),
        };
        let outcome = if self.write { Outcome::Changed } else { Outcome::Unchanged };
        let more = found.more;
        let answer = Answer::new(text, serde_json::to_value(&found)?).outcome(outcome);
        Ok(if more { answer.next("repeat with a larger `--limit`") } else { answer })
    }
}

const COLUMNS: &str = "
SELECT n.nspname AS schema, c.relname AS table, a.attname AS column,
       pg_catalog.format_type(a.atttypid, a.atttypmod) AS type,
       CASE WHEN a.attnotnull THEN 'not null' ELSE '' END AS null
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND a.attnum > 0 AND NOT a.attisdropped
  AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'
ORDER BY 1, 2, a.attnum";

/// Show the tables of a project's database and their columns
#[derive(Args, Clone, Debug)]
pub(crate) struct SchemaArgs {
    /// The project
    name: ProjectName,
    /// As SQL that makes the same tables
    #[arg(long)]
    sql: bool,
}

impl Verb for SchemaArgs {
    const NAME: &'static str = "db schema";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] = &["hostkit db schema api", "hostkit db schema api --sql"];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        if self.sql {
            let sql = cx.look(|session| {
                let who = login(session, &session.project(&self.name)?.spec)?;
                session.host.postgres.schema(&who)
            })?;
            return Ok(Answer::new(sql.trim_end(), json!({ "sql": sql })));
        }
        let found = looked(cx, &self.name, COLUMNS)?;
        let text = if found.rows.is_empty() { "no tables yet".to_owned() } else { listed(&found) };
        Ok(Answer::new(text, json!({ "columns": objects(&found) })))
    }
}

/// Rows as objects.
fn objects(found: &Table) -> Vec<Value> {
    let object = |row: &Vec<Option<String>>| -> Value {
        found
            .columns
            .iter()
            .zip(row)
            .map(|(key, value)| (key.clone(), json!(value)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    found.rows.iter().map(object).collect()
}

const AVAILABLE: &str = "
SELECT e.name, coalesce(e.installed_version, '') AS enabled, e.default_version AS version,
       CASE WHEN v.trusted THEN 'yes' ELSE 'no' END AS allowed, e.comment
FROM pg_catalog.pg_available_extensions e
JOIN pg_catalog.pg_available_extension_versions v ON v.name = e.name AND v.version = e.default_version
ORDER BY 1";

/// List the extensions a project's database may have, or enable one
#[derive(Args, Clone, Debug)]
pub(crate) struct ExtensionsArgs {
    /// The project
    name: ProjectName,
    /// Enable this one
    #[arg(long, value_name = "EXTENSION")]
    enable: Option<String>,
}

impl Verb for ExtensionsArgs {
    const NAME: &'static str = "db extensions";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] =
        &["hostkit db extensions api", "hostkit db extensions api --enable pgcrypto"];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let found = looked(cx, &self.name, AVAILABLE)?;
        let Some(wanted) = self.enable else {
            return Ok(Answer::new(listed(&found), json!({ "extensions": objects(&found) })));
        };
        let name = &self.name;
        let cell = |row: &[Option<String>], at: usize| row.get(at).cloned().flatten().unwrap_or_default();
        let Some(row) = found.rows.iter().find(|row| cell(row, 0) == wanted) else {
            let shown: String = wanted.chars().take(40).flat_map(char::escape_debug).collect();
            let fault = Fault::new(Code::InvalidValue, format!("this server has no extension `{shown}`"));
            return Err(fault.next(format!("hostkit db extensions {name}")).into());
        };
        let data = json!({ "extension": wanted });
        if !cell(row, 1).is_empty() {
            return Ok(Answer::new(format!("{name} has {wanted} already"), data));
        }
        if cell(row, 3) != "yes" {
            let why = format!(
                "`{wanted}` reaches beyond one database, and PostgreSQL lets only its superuser enable it"
            );
            return Err(Fault::new(Code::NotPermitted, why)
                .next(format!("hostkit db extensions {name}"))
                .into());
        }
        // Names of extensions have hyphens; this one is spelled as the server spells it.
        let sql = format!("CREATE EXTENSION IF NOT EXISTS \"{}\"", wanted.replace('"', ""));
        ask(cx, name, &Question { sql, limit: 1, write: true })?;
        Ok(Answer::new(format!("{name} has {wanted} {}", cell(row, 2)), data).outcome(Outcome::Changed))
    }
}
