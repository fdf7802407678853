//! The PostgreSQL server as a place for several projects: what stands between them.
//!
//! Two layers. The databases that every server has are closed to everybody, and projects' own databases
//! let in their own role alone. And `pg_hba.conf` begins with lines by which a project's role is let in
//! from this machine only, with a password, and to its own database only, whatever has been granted. The
//! lines name the group of projects' roles, so nobody else is concerned: the administrator's own lines
//! and applications stay as they are, and roles that logged in before keep what they could reach.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::{Resource, State, file::LIMIT};
use crate::{
    domain::{
        fault::{Code, Fault},
        layout::HostPath,
        sql_name::SqlName,
    },
    system::{
        Attr, Host,
        postgres::{self, Access, COMMON, GROUP, open_to_all},
    },
};

const BEGIN: &str = "# HostKit: begin. A project's role reaches its own database, and nothing else.\n";
const END: &str = "# HostKit: end\n";

/// A project's database is called like its role, or like the role that its second login is a member of.
const LINES: &str = "\
local  samerole  +hostkit_projects                scram-sha-256
host   samerole  +hostkit_projects  127.0.0.1/32  scram-sha-256
host   samerole  +hostkit_projects  ::1/128       scram-sha-256
local  all       +hostkit_projects                reject
host   all       +hostkit_projects  all           reject
";

/// The server, closed between projects.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Cluster {}

/// What stands between projects, as it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// There is a group for projects' roles.
    group: bool,
    /// Who may do what with the common databases, where that is not as it comes.
    access: BTreeMap<String, Access>,
    /// Everybody may make things in the schema that new databases get.
    template_open: bool,
    /// HostKit's lines in `pg_hba.conf`.
    lines: Option<String>,
    /// `pg_hba.conf` was changed and the server has not read it since.
    unread: bool,
}

/// The text without HostKit's lines, and those lines.
fn split(text: &str) -> (String, Option<String>) {
    let parts = text.split_once(BEGIN).and_then(|(before, rest)| {
        let (lines, after) = rest.split_once(END)?;
        Some((format!("{before}{after}"), lines.to_owned()))
    });
    match parts {
        Some((others, lines)) => (others, Some(lines)),
        None => (text.to_owned(), None),
    }
}

fn group() -> SqlName {
    SqlName::own(GROUP)
}

fn text(path: &HostPath, host: &Host) -> Result<String> {
    let bytes = host.root.read(path, LIMIT)?.with_context(|| format!("there is no `{path}`"))?;
    String::from_utf8(bytes).with_context(|| format!("`{path}` is not UTF-8"))
}

/// Puts these lines in front of all others, or takes them away, and has the server read the file. One
/// that the server would not read is put back.
fn put_lines(lines: Option<&str>, host: &mut Host) -> Result<()> {
    let rules = host.postgres.rules()?;
    let path = &rules.path;
    let now = text(path, host)?;
    let (others, present) = split(&now);
    if present.as_deref() != lines {
        let next = match lines {
            Some(lines) => format!("{BEGIN}{lines}{END}{others}"),
            None => others,
        };
        let attr = host.root.meta(path)?.map_or(Attr::root(0o640), |meta| meta.attr);
        host.root.replace(path, next.as_bytes(), attr)?;
        let errors = host.postgres.rules()?.errors;
        if let Some(error) = errors.first() {
            host.root.replace(path, now.as_bytes(), attr)?;
            let message = format!("PostgreSQL would not read `{path}`: {error}");
            return Err(Fault::new(Code::Foreign, message)
                .next(format!("mend `{path}`, then hostkit init"))
                .into());
        }
    }
    if host.postgres.rules()?.loaded { Ok(()) } else { host.postgres.reload() }
}

impl Resource for Cluster {
    const KIND: &'static str = "postgresql";
    type Found = Found;

    fn name(&self) -> String {
        "server".to_owned()
    }
    fn observe(&self, host: &Host) -> Result<Found> {
        if !host.postgres.is_installed() {
            return Ok(Found::default());
        }
        let rules = host.postgres.rules()?;
        let mut access = BTreeMap::new();
        for name in COMMON {
            if let Some(database) = host.postgres.database(name)?
                && database.access != open_to_all(name)
            {
                access.insert(name.to_owned(), database.access);
            }
        }
        Ok(Found {
            group: host.postgres.role(&group(), &BTreeSet::new())?.is_some(),
            access,
            template_open: host.postgres.template_is_open()?,
            lines: split(&text(&rules.path, host)?).1,
            unread: !rules.loaded,
        })
    }
    fn compare(&self, found: &Found) -> State {
        let closed = |name: &str| {
            found.access.get(name).is_some_and(|access| access.iter().all(|(who, _)| !who.is_empty()))
        };
        if found.lines.is_none() && !found.group {
            State::Missing
        } else if found.lines.as_deref() != Some(LINES) {
            State::Differs("`pg_hba.conf` does not keep projects apart".into())
        } else if found.unread {
            State::Differs("the server has not read `pg_hba.conf`".into())
        } else if let Some(open) = COMMON.into_iter().find(|name| !closed(name)) {
            State::Differs(format!("everybody may use the database `{open}`"))
        } else if found.template_open || !found.group {
            State::Differs("everybody may write to new databases".into())
        } else {
            State::Satisfied
        }
    }
    fn apply(&self, host: &mut Host) -> Result<()> {
        if host.postgres.role(&group(), &BTreeSet::new())?.is_none() {
            host.postgres.put_role(&group(), &postgres::Role { connections: -1, ..Default::default() })?;
        }
        put_lines(Some(LINES), host)?;
        for name in COMMON {
            let database = host.postgres.database(name)?;
            if database.is_some_and(|d| d.access.iter().any(|(who, _)| who.is_empty())) {
                host.postgres.close_to_all(name)?;
            }
        }
        if host.postgres.template_is_open()? { host.postgres.open_template(false) } else { Ok(()) }
    }
    fn restore(&self, found: &Found, host: &mut Host) -> Result<()> {
        if !host.postgres.is_installed() {
            return Ok(());
        }
        host.root.tidy(&host.postgres.rules()?.path)?;
        if host.postgres.template_is_open()? != found.template_open {
            host.postgres.open_template(found.template_open)?;
        }
        for name in COMMON {
            let Some(now) = host.postgres.database(name)? else { continue };
            let access = found.access.get(name).cloned().unwrap_or_else(|| open_to_all(name));
            if now.access != access {
                host.postgres.put_database(name, &postgres::Database { access, ..now })?;
            }
        }
        put_lines(found.lines.as_deref(), host)?;
        if !found.group && host.postgres.role(&group(), &BTreeSet::new())?.is_some() {
            host.postgres.drop_role(&group())?;
        }
        Ok(())
    }
    #[cfg(test)]
    fn sample() -> Option<Self> {
        Some(Self {})
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::disallowed_methods)]
mod tests {
    use super::*;
    use crate::system::{Tripwire, fake::World};

    #[test]
    fn the_administrators_lines_and_applications_stay_as_they_were() {
        let dir = tempfile::tempdir().unwrap();
        let world = World::new(dir.path());
        let mut host = world.host(Tripwire::default());
        let app = postgres::Role { login: true, connections: -1, ..Default::default() };
        host.postgres.put_role(&SqlName::own("wiki"), &app).unwrap();
        let path = dir.path().join("etc/postgresql/15/main/pg_hba.conf");
        let before = std::fs::read_to_string(&path).unwrap();
        Cluster {}.apply(&mut host).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with(BEGIN) && text.ends_with(&before), "{text}");
        let access = host.postgres.database("postgres").unwrap().unwrap().access;
        let words: Vec<_> = access.iter().map(|(who, word)| format!("{who} {word}")).collect();
        assert_eq!(words, ["wiki CONNECT", "wiki TEMPORARY"]);
        Cluster {}.restore(&Found::default(), &mut host).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), before);
        assert_eq!(host.postgres.database("postgres").unwrap().unwrap().access, open_to_all("postgres"));
    }

    #[test]
    fn a_file_that_the_server_would_not_read_is_left_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let world = World::new(dir.path());
        let mut host = world.host(Tripwire::default());
        let path = dir.path().join("etc/postgresql/15/main/pg_hba.conf");
        std::fs::write(&path, "BROKEN\n").unwrap();
        assert!(Cluster {}.apply(&mut host).unwrap_err().to_string().contains("line 1"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "BROKEN\n");
    }
}
