//! A PostgreSQL server that remembers, and refuses what the real one refuses.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::{Fake, State};
use crate::{
    domain::{
        fault::{Code, Fault},
        layout::HostPath,
        sql_name::SqlName,
    },
    system::postgres::{
        COMMON, CONNECTIONS, Database, GROUP, Guest, Login, Postgres, Question, Role, Rules, SUPERUSER,
        Table, not_installed, open_to_all,
    },
};

/// Where the server of a world reads who may connect.
pub const RULES: &str = "etc/postgresql/15/main/pg_hba.conf";

/// A server's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Roles by name.
    pub roles: BTreeMap<String, Role>,
    /// Databases by name.
    pub databases: BTreeMap<String, Kept>,
    /// Whether everybody may make things in the schema that new databases get.
    pub template_open: bool,
    /// The rules that it has read.
    pub rules: String,
    /// Whether it is down.
    pub down: bool,
}

/// A database and what is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// How it is known from outside.
    pub database: Database,
    /// Whose its public schema is, if it was handed over.
    pub schema: Option<String>,
    /// What has been written there.
    pub contents: Vec<String>,
    /// Roles that something in it belongs to, besides.
    #[serde(default)]
    pub owners: BTreeSet<String>,
}

impl Default for Cluster {
    fn default() -> Self {
        let common = |name: &str| {
            let access = open_to_all(name);
            let database = Database { owner: SUPERUSER.into(), connections: -1, open: true, access };
            (name.to_owned(), Kept { database, ..Kept::default() })
        };
        let superuser =
            Role { login: true, powers: ["SUPERUSER".into()].into(), connections: -1, ..Role::default() };
        Self {
            roles: [(SUPERUSER.to_owned(), superuser)].into(),
            databases: COMMON.map(common).into(),
            template_open: false,
            rules: String::new(),
            down: false,
        }
    }
}

impl Cluster {
    fn up(state: &State) -> Result<&Self> {
        let cluster = state.postgres.as_ref().ok_or_else(not_installed)?;
        if cluster.down {
            bail!(
                Fault::new(Code::ServiceDown, "PostgreSQL cannot be reached")
                    .next("systemctl start postgresql")
            );
        }
        Ok(cluster)
    }
    fn find(&mut self, database: &str) -> Result<&mut Kept> {
        self.databases.get_mut(database).with_context(|| format!("database \"{database}\" does not exist"))
    }
    fn require(&self, role: &str) -> Result<()> {
        if role.is_empty() || self.roles.contains_key(role) {
            return Ok(());
        }
        bail!("role \"{role}\" does not exist")
    }
    fn owns(&self, role: &str) -> bool {
        self.databases.values().any(|kept| {
            kept.schema.as_deref() == Some(role)
                || kept.owners.contains(role)
                || kept.database.owner == role
                || kept.database.access.iter().any(|(grantee, _)| grantee == role)
        })
    }
}

impl Fake {
    fn cluster<T>(&self, look: impl FnOnce(&Cluster) -> T) -> Result<T> {
        Ok(look(Cluster::up(&self.world.state())?))
    }
    fn tell(&self, what: &str, change: impl FnOnce(&mut Cluster) -> Result<()>) -> Result<()> {
        self.effect(&format!("postgres:{what}"), |state| {
            Cluster::up(state)?;
            change(state.postgres.as_mut().context("it is installed")?)
        })
    }
    fn rules_text(&self) -> String {
        std::fs::read_to_string(self.path(RULES)).unwrap_or_default()
    }
}

impl Postgres for Fake {
    fn is_installed(&self) -> bool {
        self.world.state().postgres.is_some()
    }
    fn version(&self) -> Result<u32> {
        self.cluster(|_| 15)
    }
    fn role(&self, name: &SqlName, settings: &BTreeSet<String>) -> Result<Option<Role>> {
        let role = self.cluster(|cluster| cluster.roles.get(name.as_str()).cloned())?;
        Ok(role.map(|mut role| {
            let set = |key: &String| (key.clone(), role.settings.get(key).cloned().flatten());
            role.settings = settings.iter().map(set).collect();
            role
        }))
    }
    fn is_owner(&self, role: &SqlName) -> Result<bool> {
        self.cluster(|cluster| cluster.owns(role.as_str()))
    }
    fn names(&self) -> Result<(Vec<String>, Vec<String>)> {
        self.cluster(|cluster| {
            (cluster.roles.keys().cloned().collect(), cluster.databases.keys().cloned().collect())
        })
    }
    fn database(&self, name: &str) -> Result<Option<Database>> {
        self.cluster(|cluster| cluster.databases.get(name).map(|kept| kept.database.clone()))
    }
    fn is_written(&self, database: &SqlName) -> Result<bool> {
        self.cluster(|cluster| {
            cluster.databases.get(database.as_str()).is_some_and(|kept| !kept.contents.is_empty())
        })
    }
    fn size(&self, _database: &SqlName) -> Result<u64> {
        self.cluster(|_| 8 << 20)
    }
    fn guests(&self, _database: &SqlName) -> Result<Vec<Guest>> {
        self.cluster(|_| Vec::new())
    }
    fn template_is_open(&self) -> Result<bool> {
        self.cluster(|cluster| cluster.template_open)
    }
    fn rules(&self) -> Result<Rules> {
        let text = self.rules_text();
        let errors =
            if text.contains("BROKEN") { vec!["line 1: invalid connection type".into()] } else { vec![] };
        let loaded = self.cluster(|cluster| cluster.rules == text)?;
        Ok(Rules { path: HostPath::fixed(format!("/{RULES}")), errors, loaded })
    }

    fn put_role(&mut self, name: &SqlName, role: &Role) -> Result<()> {
        self.tell("role", |cluster| {
            role.within.iter().try_for_each(|group| cluster.require(group))?;
            let kept = cluster.roles.entry(name.to_string()).or_default();
            let mut settings = std::mem::take(&mut kept.settings);
            settings.extend(role.settings.clone());
            settings.retain(|_, value| value.is_some());
            *kept = Role { settings, ..role.clone() };
            Ok(())
        })
    }
    fn rename_role(&mut self, from: &SqlName, to: &SqlName) -> Result<()> {
        let (from, to) = (from.to_string(), to.to_string());
        self.tell("rename role", |cluster| {
            let mut role =
                cluster.roles.remove(&from).with_context(|| format!("role \"{from}\" does not exist"))?;
            role.login = false;
            cluster.roles.insert(to.clone(), role);
            for role in cluster.roles.values_mut() {
                if role.within.remove(&from) {
                    role.within.insert(to.clone());
                }
            }
            // What belongs to a role is known by its number, whatever its name.
            for kept in cluster.databases.values_mut() {
                if kept.schema.as_ref() == Some(&from) {
                    kept.schema = Some(to.clone());
                }
                if kept.owners.remove(&from) {
                    kept.owners.insert(to.clone());
                }
                let access = std::mem::take(&mut kept.database.access);
                let renamed =
                    access.into_iter().map(|(who, word)| (if who == from { to.clone() } else { who }, word));
                kept.database.access = renamed.collect();
            }
            Ok(())
        })
    }
    fn reassign(&mut self, who: &Login, from: &SqlName, to: &SqlName) -> Result<()> {
        let url = who.url.reveal();
        let login = url.split("//").nth(1).and_then(|rest| rest.split(':').next()).unwrap_or_default();
        let database = url.rsplit('/').next().unwrap_or_default();
        self.tell("reassign", |cluster| {
            let within = cluster.roles.get(login).map(|role| role.within.clone()).unwrap_or_default();
            if !within.contains(from.as_str()) || !within.contains(to.as_str()) {
                bail!("permission denied to reassign objects");
            }
            cluster.find(database)?.owners.remove(from.as_str());
            Ok(())
        })
    }
    fn drop_role(&mut self, name: &SqlName) -> Result<()> {
        self.tell("drop role", |cluster| {
            if cluster.owns(name.as_str()) {
                bail!("role \"{name}\" cannot be dropped because some objects depend on it");
            }
            cluster.roles.remove(name.as_str());
            for role in cluster.roles.values_mut() {
                role.within.remove(name.as_str());
            }
            Ok(())
        })
    }
    fn create_database(&mut self, name: &SqlName) -> Result<()> {
        self.tell("create database", |cluster| {
            if cluster.databases.contains_key(name.as_str()) {
                bail!("database \"{name}\" already exists");
            }
            let access = open_to_all(name.as_str());
            let database =
                Database { owner: SUPERUSER.into(), connections: CONNECTIONS, open: false, access };
            cluster.databases.insert(name.to_string(), Kept { database, ..Kept::default() });
            Ok(())
        })
    }
    fn hand_over(&mut self, database: &SqlName, role: &SqlName) -> Result<()> {
        self.tell("hand over", |cluster| {
            cluster.require(role.as_str())?;
            let kept = cluster.find(database.as_str())?;
            if !kept.database.open {
                bail!("database \"{database}\" is not currently accepting connections");
            }
            if !kept.contents.is_empty() {
                bail!("a superuser was about to enter a database that somebody wrote to");
            }
            kept.schema = Some(role.to_string());
            Ok(())
        })
    }
    fn put_database(&mut self, name: &str, wanted: &Database) -> Result<()> {
        self.tell("database", |cluster| {
            wanted.access.iter().try_for_each(|(grantee, _)| cluster.require(grantee))?;
            cluster.require(&wanted.owner)?;
            cluster.find(name)?.database.clone_from(wanted);
            Ok(())
        })
    }
    fn rename_database(&mut self, from: &SqlName, to: &SqlName) -> Result<()> {
        self.tell("rename database", |cluster| {
            if cluster.databases.contains_key(to.as_str()) {
                bail!("database \"{to}\" already exists");
            }
            let kept = cluster.databases.remove(from.as_str());
            let kept = kept.with_context(|| format!("database \"{from}\" does not exist"))?;
            cluster.databases.insert(to.to_string(), kept);
            Ok(())
        })
    }
    fn swap_databases(&mut self, name: &SqlName, other: &SqlName, aside: &SqlName) -> Result<()> {
        self.tell("swap databases", |cluster| {
            if cluster.databases.contains_key(aside.as_str()) {
                bail!("database \"{aside}\" already exists");
            }
            for (from, to) in [(name, aside), (other, name)] {
                let kept = cluster.databases.remove(from.as_str());
                let kept = kept.with_context(|| format!("database \"{from}\" does not exist"))?;
                cluster.databases.insert(to.to_string(), kept);
            }
            Ok(())
        })
    }
    fn drop_database(&mut self, name: &SqlName) -> Result<()> {
        self.tell("drop database", |cluster| {
            cluster.databases.remove(name.as_str());
            Ok(())
        })
    }
    fn dismiss(&mut self, _database: &SqlName, _login: Option<&SqlName>) -> Result<()> {
        self.tell("dismiss", |_| Ok(()))
    }
    fn close_to_all(&mut self, database: &str) -> Result<()> {
        self.tell("close", |cluster| {
            let others: Vec<String> = cluster
                .roles
                .iter()
                .filter(|(_, r)| r.login && !r.powers.contains("SUPERUSER") && !r.within.contains(GROUP))
                .map(|(name, _)| name.clone())
                .collect();
            let access = &mut cluster.find(database)?.database.access;
            let public: Vec<String> =
                access.iter().filter(|(who, _)| who.is_empty()).map(|(_, word)| word.clone()).collect();
            access.retain(|(who, _)| !who.is_empty());
            for other in others {
                access.extend(public.iter().map(|word| (other.clone(), word.clone())));
            }
            Ok(())
        })
    }
    fn open_template(&mut self, open: bool) -> Result<()> {
        self.tell("template", |cluster| {
            cluster.template_open = open;
            Ok(())
        })
    }
    fn reload(&mut self) -> Result<()> {
        let text = self.rules_text();
        self.tell("reload", |cluster| {
            if !text.contains("BROKEN") {
                cluster.rules = text;
            }
            Ok(())
        })
    }

    fn ask(&self, who: &Login, question: &Question) -> Result<Table> {
        let changes = ["INSERT", "UPDATE", "DELETE", "CREATE"].iter().any(|w| question.sql.starts_with(w));
        if changes && !question.write {
            bail!(Fault::new(Code::NotPermitted, "the statement changes something").next("add `--write`"));
        }
        let mut state = self.world.state();
        Cluster::up(&state)?;
        let cluster = state.postgres.as_mut().context("it is installed")?;
        let kept = cluster.find(&place(who))?;
        if changes && kept.schema.is_none() {
            bail!("permission denied for schema public");
        }
        if changes {
            kept.contents.push(question.sql.clone());
        }
        let rows = kept.contents.iter().map(|text| vec![Some(text.clone())]).collect();
        let rows = if question.sql.contains("pg_available_extensions") { extensions() } else { rows };
        drop(state);
        self.world.save()?;
        Ok(Table { columns: vec!["statement".into()], rows, more: false, count: 1 })
    }
    fn schema(&self, who: &Login) -> Result<String> {
        self.cluster(|cluster| {
            let kept = cluster.databases.get(&place(who));
            kept.map(|kept| kept.contents.join(";\n")).context("no such database")
        })?
    }
    fn copy(&mut self, from: &Login, to: &Login) -> Result<()> {
        self.tell("copy", |cluster| {
            let contents = cluster.find(&place(from))?.contents.clone();
            cluster.find(&place(to))?.contents.extend(contents);
            Ok(())
        })
    }
    fn shell(&self, _who: &Login, _settings: &[(&'static str, String)]) -> Result<()> {
        self.cluster(|_| ())
    }
}

/// The database that an address leads to.
fn place(who: &Login) -> String {
    who.url.reveal().rsplit_once('/').map(|(_, name)| name.to_owned()).unwrap_or_default()
}

fn extensions() -> Vec<Vec<Option<String>>> {
    let row = |name: &str, trusted: &str| [name, "", "1.0", trusted, ""].map(|c| Some(c.to_owned())).to_vec();
    vec![row("dblink", "no"), row("pgcrypto", "yes")]
}
