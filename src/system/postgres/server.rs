//! The PostgreSQL server of this machine.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use postgres::{Client, SimpleQueryMessage, error::SqlState};
use postgres_protocol::escape::{escape_identifier as name, escape_literal as text};
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    Access, COMMON, CONNECTIONS, Database, GROUP, Guest, Login, Postgres, Question, Role, Rules, SUPERUSER,
    Table,
    connect::{Kept, explain, superuser},
    session,
};
use crate::domain::{layout::HostPath, sql_name::SqlName};

/// Where the distribution keeps the versions that are installed.
const VERSIONS: &str = "/usr/lib/postgresql";
/// What a role may be able to do beyond the ordinary: the word, and the column that says so.
const POWERS: [(&str, &str); 5] = [
    ("SUPERUSER", "rolsuper"),
    ("CREATEDB", "rolcreatedb"),
    ("CREATEROLE", "rolcreaterole"),
    ("REPLICATION", "rolreplication"),
    ("BYPASSRLS", "rolbypassrls"),
];
/// How often a database that somebody comes back to is tried again, and how long between the tries.
const TRIES: usize = 20;
const PACE: Duration = Duration::from_millis(50);

/// The server of this machine; one connection per command, opened when it is first needed.
#[derive(Default)]
pub struct Server {
    kept: Kept,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Server")
    }
}

/// The one value that an SQL text asks for.
fn value(client: &mut Client, sql: &str) -> Result<Option<String>, postgres::Error> {
    let answer = client.simple_query(sql)?;
    Ok(answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    }))
}

impl Server {
    /// One JSON value, or nothing.
    fn look<T: DeserializeOwned>(&self, sql: &str) -> Result<Option<T>> {
        let found = self.kept.with(|client| value(client, sql))?;
        found.map(|json| serde_json::from_str(&json).context("understanding PostgreSQL's answer")).transpose()
    }

    /// The same for what there always is.
    fn see<T: DeserializeOwned>(&self, sql: &str) -> Result<T> {
        self.look(sql)?.context("PostgreSQL did not answer")
    }

    /// Statements that all happen or none.
    fn tell(&self, sql: &str) -> Result<()> {
        self.kept.with(|client| client.batch_execute(sql))
    }

    /// What needs these databases to have no connections: they are ended, again and again.
    fn insist(&mut self, databases: &[&SqlName], sql: &str) -> Result<()> {
        let mut left = TRIES;
        loop {
            databases.iter().try_for_each(|database| self.dismiss(database, None))?;
            let busy = self.kept.with(|client| match client.batch_execute(sql) {
                Err(error) if error.code() == Some(&SqlState::OBJECT_IN_USE) => Ok(Some(explain(&error))),
                other => other.map(|()| None),
            })?;
            match busy {
                None => return Ok(()),
                Some(error) if left == 0 => return Err(error),
                Some(_) => left -= 1,
            }
            std::thread::sleep(PACE);
        }
    }

    /// Something in another of the common databases, over a connection that ends at once: as long as
    /// there is one, nobody can copy that database.
    fn within<T>(database: &str, work: impl FnOnce(&mut Client) -> Result<T, postgres::Error>) -> Result<T> {
        let mut client = superuser(database)?;
        let done = work(&mut client).map_err(|error| explain(&error))?;
        client.close().map_err(|error| explain(&error))?;
        Ok(done)
    }
}

#[derive(Deserialize)]
struct RoleRow {
    login: bool,
    powers: BTreeSet<Option<String>>,
    verifier: Option<String>,
    connections: i32,
    within: BTreeSet<String>,
    settings: Vec<String>,
}

/// Words that give a role all its attributes, and those it has not as well.
fn attributes(role: &Role) -> String {
    let mut words = vec![if role.login { "LOGIN" } else { "NOLOGIN" }.to_owned()];
    words.extend(POWERS.iter().map(|(word, _)| {
        let no = if role.powers.contains(*word) { "" } else { "NO" };
        format!("{no}{word}")
    }));
    words.push(format!("CONNECTION LIMIT {}", role.connections));
    words.push(match &role.verifier {
        Some(verifier) => format!("PASSWORD {}", text(verifier)),
        None => "PASSWORD NULL".to_owned(),
    });
    words.join(" ")
}

/// Statements that give a database this access and no other.
fn grants(database: &str, now: &Access, wanted: &Access) -> String {
    let who = |grantee: &str| if grantee.is_empty() { "PUBLIC".to_owned() } else { name(grantee) };
    let mut sql = String::new();
    for (grantee, word) in now.difference(wanted) {
        sql += &format!("REVOKE {word} ON DATABASE {} FROM {};", name(database), who(grantee));
    }
    for (grantee, word) in wanted.difference(now) {
        sql += &format!("GRANT {word} ON DATABASE {} TO {};", name(database), who(grantee));
    }
    sql
}

impl Postgres for Server {
    fn is_installed(&self) -> bool {
        let Ok(versions) = std::fs::read_dir(VERSIONS) else { return false };
        versions.flatten().any(|version| version.path().join("bin/postgres").exists())
    }
    fn version(&self) -> Result<u32> {
        Ok(self.see::<u32>("SELECT current_setting('server_version_num')")? / 10_000)
    }
    fn role(&self, role: &SqlName, settings: &BTreeSet<String>) -> Result<Option<Role>> {
        let powers = POWERS.map(|(word, column)| format!("CASE WHEN {column} THEN '{word}' END")).join(",");
        let found: Option<RoleRow> = self.look(&format!(
            "SELECT json_build_object('login', rolcanlogin, 'powers', json_build_array({powers}),
                'verifier', rolpassword, 'connections', rolconnlimit,
                'within', (SELECT coalesce(json_agg(g.rolname), '[]') FROM pg_auth_members m
                           JOIN pg_authid g ON g.oid = m.roleid WHERE m.member = r.oid),
                'settings', coalesce((SELECT to_json(setconfig) FROM pg_db_role_setting
                                      WHERE setrole = r.oid AND setdatabase = 0), '[]'))
             FROM pg_authid r WHERE rolname = {}",
            text(role.as_str())
        ))?;
        let Some(row) = found else { return Ok(None) };
        let set: BTreeMap<&str, &str> = row.settings.iter().filter_map(|s| s.split_once('=')).collect();
        let settings = settings
            .iter()
            .map(|key| (key.clone(), set.get(key.as_str()).map(|v| (*v).to_owned())))
            .collect();
        Ok(Some(Role {
            login: row.login,
            powers: row.powers.into_iter().flatten().collect(),
            verifier: row.verifier,
            connections: row.connections,
            within: row.within,
            settings,
        }))
    }
    fn is_owner(&self, role: &SqlName) -> Result<bool> {
        self.see(&format!(
            "SELECT to_json(EXISTS (SELECT FROM pg_shdepend d JOIN pg_authid r ON r.oid = d.refobjid
             WHERE d.refclassid = 'pg_authid'::regclass AND r.rolname = {}))",
            text(role.as_str())
        ))
    }
    fn names(&self) -> Result<(Vec<String>, Vec<String>)> {
        self.see(
            "SELECT json_build_array((SELECT json_agg(rolname) FROM pg_authid),
                                     (SELECT json_agg(datname) FROM pg_database))",
        )
    }
    fn database(&self, database: &str) -> Result<Option<Database>> {
        self.look(&format!(
            "SELECT json_build_object('owner', pg_get_userbyid(datdba), 'connections', datconnlimit,
                'open', datallowconn, 'access',
                (SELECT coalesce(json_agg(json_build_array(
                     CASE WHEN x.grantee = 0 THEN '' ELSE pg_get_userbyid(x.grantee) END, x.privilege_type)), '[]')
                 FROM aclexplode(coalesce(datacl, acldefault('d', datdba))) x WHERE x.grantee <> datdba))
             FROM pg_database WHERE datname = {}",
            text(database)
        ))
    }
    fn is_written(&self, database: &SqlName) -> Result<bool> {
        // The catalogue that all databases share says what in each of them belongs to whom. A database
        // that was handed over has its public schema there, number 2200 since it was made.
        self.see(&format!(
            "SELECT to_json(EXISTS (SELECT FROM pg_shdepend s JOIN pg_database d ON d.oid = s.dbid
             WHERE d.datname = {}
               AND NOT (s.classid = 'pg_namespace'::regclass AND s.objid = 2200 AND s.deptype = 'o')))",
            text(database.as_str())
        ))
    }
    fn size(&self, database: &SqlName) -> Result<u64> {
        self.see(&format!("SELECT pg_database_size({})", text(database.as_str())))
    }
    fn guests(&self, database: &SqlName) -> Result<Vec<Guest>> {
        self.see(&format!(
            "SELECT coalesce(json_agg(json_build_object('pid', pid, 'role', coalesce(usename, ''),
                'program', application_name, 'state', coalesce(state, '')) ORDER BY pid), '[]')
             FROM pg_stat_activity WHERE datname = {} AND backend_type = 'client backend'",
            text(database.as_str())
        ))
    }
    fn template_is_open(&self) -> Result<bool> {
        let answer = Self::within("template1", |client| {
            value(
                client,
                "SELECT EXISTS (SELECT FROM pg_namespace, aclexplode(nspacl)
                           WHERE nspname = 'public' AND grantee = 0 AND privilege_type = 'CREATE')",
            )
        })?;
        Ok(answer.as_deref() == Some("t"))
    }
    fn rules(&self) -> Result<Rules> {
        #[derive(Deserialize)]
        struct Row {
            path: String,
            loaded_at: f64,
            errors: Vec<String>,
        }
        let row: Row = self.see(
            "SELECT json_build_object('path', current_setting('hba_file'),
                'loaded_at', extract(epoch FROM pg_conf_load_time()),
                'errors', (SELECT coalesce(json_agg('line ' || line_number || ': ' || error), '[]')
                           FROM pg_hba_file_rules WHERE error IS NOT NULL))",
        )?;
        if !Path::new(&row.path).is_absolute() {
            bail!("PostgreSQL says that its rules are in `{}`", row.path);
        }
        let changed = std::fs::metadata(&row.path).and_then(|meta| meta.modified());
        let changed = changed.with_context(|| format!("looking at `{}`", row.path))?;
        let changed = changed.duration_since(std::time::UNIX_EPOCH).context("a file from before time")?;
        let loaded = changed.as_secs_f64() <= row.loaded_at;
        Ok(Rules { path: HostPath::fixed(row.path), errors: row.errors, loaded })
    }

    fn put_role(&mut self, role: &SqlName, wanted: &Role) -> Result<()> {
        let keys = wanted.settings.keys().cloned().collect();
        let now = self.role(role, &keys)?;
        let known = now.clone().unwrap_or_default();
        let verb = if now.is_some() { "ALTER" } else { "CREATE" };
        let role = name(role.as_str());
        let mut sql = format!("{verb} ROLE {role} WITH {};", attributes(wanted));
        for group in known.within.difference(&wanted.within) {
            sql += &format!("REVOKE {} FROM {role};", name(group));
        }
        for group in wanted.within.difference(&known.within) {
            sql += &format!("GRANT {} TO {role};", name(group));
        }
        for (key, setting) in &wanted.settings {
            sql += &match setting {
                Some(setting) => format!("ALTER ROLE {role} SET {} TO {};", name(key), text(setting)),
                None => format!("ALTER ROLE {role} RESET {};", name(key)),
            };
        }
        self.tell(&sql)
    }
    fn rename_role(&mut self, from: &SqlName, to: &SqlName) -> Result<()> {
        let (from, to) = (name(from.as_str()), name(to.as_str()));
        self.tell(&format!("ALTER ROLE {from} NOLOGIN; ALTER ROLE {from} RENAME TO {to};"))
    }
    fn reassign(&mut self, who: &Login, from: &SqlName, to: &SqlName) -> Result<()> {
        session::reassign(&who.url, from.as_str(), to.as_str())
    }
    fn drop_role(&mut self, role: &SqlName) -> Result<()> {
        self.tell(&format!("DROP ROLE IF EXISTS {}", name(role.as_str())))
    }
    fn create_database(&mut self, database: &SqlName) -> Result<()> {
        let utf8: bool = self.see(
            "SELECT to_json(pg_encoding_to_char(encoding) = 'UTF8') FROM pg_database WHERE datname = 'template0'",
        )?;
        // A server that was set up without a locale knows no letters beyond ASCII.
        let locale = if utf8 { "" } else { "LOCALE 'C.UTF-8'" };
        self.tell(&format!(
            "CREATE DATABASE {} OWNER {SUPERUSER} TEMPLATE template0 ENCODING 'UTF8' {locale}
             CONNECTION LIMIT {CONNECTIONS} ALLOW_CONNECTIONS false",
            name(database.as_str())
        ))
    }
    fn hand_over(&mut self, database: &SqlName, role: &SqlName) -> Result<()> {
        let sql = format!(
            "REVOKE ALL ON SCHEMA public FROM PUBLIC; ALTER SCHEMA public OWNER TO {};",
            name(role.as_str())
        );
        Self::within(database.as_str(), |client| client.batch_execute(&sql))
    }
    fn put_database(&mut self, database: &str, wanted: &Database) -> Result<()> {
        let now = self.database(database)?.with_context(|| format!("there is no database `{database}`"))?;
        let mut sql = String::new();
        if now.owner != wanted.owner {
            sql += &format!("ALTER DATABASE {} OWNER TO {};", name(database), name(&wanted.owner));
        }
        if (now.connections, now.open) != (wanted.connections, wanted.open) {
            let (limit, open) = (wanted.connections, wanted.open);
            sql += &format!(
                "ALTER DATABASE {} WITH CONNECTION LIMIT {limit} ALLOW_CONNECTIONS {open};",
                name(database)
            );
        }
        sql += &grants(database, &now.access, &wanted.access);
        self.tell(&sql)
    }
    fn rename_database(&mut self, from: &SqlName, to: &SqlName) -> Result<()> {
        let rename = format!("ALTER DATABASE {} RENAME TO {}", name(from.as_str()), name(to.as_str()));
        self.insist(&[from], &rename)
    }
    fn swap_databases(&mut self, database: &SqlName, other: &SqlName, aside: &SqlName) -> Result<()> {
        let [now, next, old] = [database, other, aside].map(|n| name(n.as_str()));
        // Statements that are sent together happen together.
        let swap = format!("ALTER DATABASE {now} RENAME TO {old}; ALTER DATABASE {next} RENAME TO {now}");
        self.insist(&[database, other], &swap)
    }
    fn drop_database(&mut self, database: &SqlName) -> Result<()> {
        self.tell(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", name(database.as_str())))
    }
    fn dismiss(&mut self, database: &SqlName, login: Option<&SqlName>) -> Result<()> {
        let login = login.map_or_else(String::new, |login| format!("AND usename = {}", text(login.as_str())));
        self.tell(&format!(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = {} {login}",
            text(database.as_str())
        ))
    }
    fn close_to_all(&mut self, database: &str) -> Result<()> {
        if !COMMON.contains(&database) {
            bail!("`{database}` is not a database that every server has");
        }
        let now = self.database(database)?.with_context(|| format!("there is no database `{database}`"))?;
        // Whoever logs in here today goes on doing so.
        let others: Vec<String> = self.see(&format!(
            "SELECT coalesce(json_agg(rolname), '[]') FROM pg_authid r
             WHERE rolcanlogin AND NOT rolsuper AND rolname NOT LIKE 'pg\\_%'
               AND NOT EXISTS (SELECT FROM pg_auth_members m JOIN pg_authid g ON g.oid = m.roleid
                               WHERE m.member = r.oid AND g.rolname = {})",
            text(GROUP)
        ))?;
        let (public, mut wanted): (Access, Access) =
            now.access.iter().cloned().partition(|(grantee, _)| grantee.is_empty());
        for (_, word) in &public {
            wanted.extend(others.iter().map(|other| (other.clone(), word.clone())));
        }
        self.tell(&grants(database, &now.access, &wanted))
    }
    fn open_template(&mut self, open: bool) -> Result<()> {
        let mut sql = if open {
            "GRANT CREATE ON SCHEMA public TO PUBLIC;".to_owned()
        } else {
            "REVOKE CREATE ON SCHEMA public FROM PUBLIC;".to_owned()
        };
        // Before 15 the schema is the superuser's: closed, not even the owner of a new database could use it.
        if self.version()? < 15 {
            let owner = if open { SUPERUSER } else { "pg_database_owner" };
            sql += &format!("ALTER SCHEMA public OWNER TO {owner};");
        }
        Self::within("template1", |client| client.batch_execute(&sql))
    }
    fn reload(&mut self) -> Result<()> {
        let loaded = "SELECT extract(epoch FROM pg_conf_load_time())";
        let before = self.kept.with(|client| value(client, loaded))?;
        self.tell("SELECT pg_reload_conf()")?;
        for _ in 0..TRIES * 5 {
            // Only a new connection tells what the server itself has read.
            if Self::within("postgres", |client| value(client, loaded))? > before {
                return Ok(());
            }
            std::thread::sleep(PACE);
        }
        Err(anyhow!("PostgreSQL was told to read its configuration again and did not"))
    }
    fn ask(&self, who: &Login, question: &Question) -> Result<Table> {
        session::ask(&who.url, question)
    }
    fn schema(&self, who: &Login) -> Result<String> {
        session::schema(who)
    }
    fn copy(&mut self, from: &Login, to: &Login) -> Result<()> {
        session::copy(from, to)
    }
    fn shell(&self, who: &Login, settings: &[(&'static str, String)]) -> Result<()> {
        let psql = session::tool("psql", who)?;
        let psql = settings.iter().fold(psql, |psql, (key, value)| psql.env(key, value.clone()));
        // An administrator's own start file is for the administrator's own databases.
        Err(psql.become_it(["--no-psqlrc"]))
    }
}
