//! PostgreSQL: what the server has, and the few changes that need its superuser.
//!
//! What a project may do itself is done as the project: see [`session`]. The superuser enters a
//! project's database once, before anybody else could have written there.

pub(super) mod connect;
mod server;
pub mod session;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use anyhow::Result;
use serde::{Deserialize, Serialize};

pub use self::{
    server::Server,
    session::{Question, Table},
};
use crate::domain::{
    fault::{Code, Fault},
    layout::HostPath,
    secret::Secret,
    sql_name::SqlName,
};

/// The server's superuser, and the account it connects from.
pub const SUPERUSER: &str = "postgres";
/// The group that every project's role is in. `pg_hba.conf` knows them by it.
pub const GROUP: &str = "hostkit_projects";
/// Where the server listens, beside its socket.
pub const PORT: u16 = 5432;
/// How many connections a database may have: those of both its logins, and of an administrator.
pub const CONNECTIONS: i32 = 50;
/// The oldest version that is served.
pub const OLDEST: u32 = 14;

/// A role, as far as HostKit makes use of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// Whether one can connect as it.
    pub login: bool,
    /// What it may do that an ordinary role may not, such as `SUPERUSER`.
    pub powers: BTreeSet<String>,
    /// What a password is compared with. The password cannot be had from it.
    pub verifier: Option<String>,
    /// How many connections it may have at a time; -1 is any number.
    pub connections: i32,
    /// The roles it is a member of.
    pub within: BTreeSet<String>,
    /// Its settings; `None` gives one back to the server.
    pub settings: BTreeMap<String, Option<String>>,
}

/// What a role may do with a database: who (everybody is the empty name), and what.
pub type Access = BTreeSet<(String, String)>;

/// A database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Database {
    /// Whose it is.
    pub owner: String,
    /// How many connections it may have at a time; -1 is any number.
    pub connections: i32,
    /// Whether anybody can connect to it at all.
    pub open: bool,
    /// Who may do what with it, besides its owner.
    pub access: Access,
}

/// The databases every server has, which are no project's business.
pub const COMMON: [&str; 2] = ["postgres", "template1"];

/// What everybody may do with a database that nobody closed.
pub fn open_to_all(database: &str) -> Access {
    let words: &[&str] = if database == "template1" { &["CONNECT"] } else { &["CONNECT", "TEMPORARY"] };
    words.iter().map(|word| (String::new(), (*word).to_owned())).collect()
}

/// A connection somebody has to a database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guest {
    /// The server process that serves it.
    pub pid: i32,
    /// Who logged in.
    pub role: String,
    /// What the program calls itself.
    pub program: String,
    /// What it is doing: `active`, `idle`, `idle in transaction`.
    pub state: String,
}

/// How the server decides who may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The file it reads.
    pub path: HostPath,
    /// What is wrong with the file as it is now.
    pub errors: Vec<String>,
    /// Whether the running server has read the file as it is now.
    pub loaded: bool,
}

/// How a project reaches its database: its account, and the address with the password. Everything that is
/// done with it is done as the project.
#[derive(Clone, Debug)]
pub struct Login {
    /// The account that programs run under.
    pub account: u32,
    /// The address.
    pub url: Secret,
}

/// Asking and telling the PostgreSQL server of this host, as its superuser.
pub trait Postgres: fmt::Debug {
    /// Whether a server is installed, running or not.
    fn is_installed(&self) -> bool;
    /// Its major version. Fails with `SERVICE_DOWN` when it does not answer.
    fn version(&self) -> Result<u32>;
    /// A role; of its settings only these.
    fn role(&self, name: &SqlName, settings: &BTreeSet<String>) -> Result<Option<Role>>;
    /// Whether something in any database belongs to the role.
    fn is_owner(&self, role: &SqlName) -> Result<bool>;
    /// The names of all roles and databases.
    fn names(&self) -> Result<(Vec<String>, Vec<String>)>;
    /// A database.
    fn database(&self, name: &str) -> Result<Option<Database>>;
    /// Whether somebody has made something in the database since it was handed over.
    fn is_written(&self, database: &SqlName) -> Result<bool>;
    /// How much room it takes, in bytes.
    fn size(&self, database: &SqlName) -> Result<u64>;
    /// Who is connected to it.
    fn guests(&self, database: &SqlName) -> Result<Vec<Guest>>;
    /// Whether everybody may make things in the public schema that new databases get.
    fn template_is_open(&self) -> Result<bool>;
    /// How it decides who may connect.
    fn rules(&self) -> Result<Rules>;

    /// Makes a role, or makes it otherwise.
    fn put_role(&mut self, name: &SqlName, role: &Role) -> Result<()>;
    /// Renames a role, which cannot log in from then on.
    fn rename_role(&mut self, from: &SqlName, to: &SqlName) -> Result<()>;
    /// Gives all that belongs to one role in a database to another. `who` is a member of both.
    fn reassign(&mut self, who: &Login, from: &SqlName, to: &SqlName) -> Result<()>;
    /// Removes a role that owns nothing.
    fn drop_role(&mut self, name: &SqlName) -> Result<()>;
    /// Makes an empty database that nobody can connect to yet.
    fn create_database(&mut self, name: &SqlName) -> Result<()>;
    /// Gives the public schema of a database to a role, and to nobody else. Connects to it as the
    /// superuser: only for one that nobody could have written to.
    fn hand_over(&mut self, database: &SqlName, role: &SqlName) -> Result<()>;
    /// Gives a database its owner, limit and access.
    fn put_database(&mut self, name: &str, database: &Database) -> Result<()>;
    /// Renames a database that is not open, and ends the connections it still has.
    fn rename_database(&mut self, from: &SqlName, to: &SqlName) -> Result<()>;
    /// Renames a database that is not open to `aside`, and another one to its name, in one step. Ends the
    /// connections that both still have.
    fn swap_databases(&mut self, name: &SqlName, other: &SqlName, aside: &SqlName) -> Result<()>;
    /// Removes a database with all that is in it.
    fn drop_database(&mut self, name: &SqlName) -> Result<()>;
    /// Ends the connections to a database: all, or those of one login.
    fn dismiss(&mut self, database: &SqlName, login: Option<&SqlName>) -> Result<()>;
    /// Takes a database away from everybody. The roles that were there before HostKit keep what they had.
    fn close_to_all(&mut self, database: &str) -> Result<()>;
    /// Says whether everybody may make things in the public schema that new databases get.
    fn open_template(&mut self, open: bool) -> Result<()>;
    /// Has the server read again who may connect, and waits until it has.
    fn reload(&mut self) -> Result<()>;

    /// Asks a database one question.
    fn ask(&self, who: &Login, question: &Question) -> Result<Table>;
    /// The SQL that makes a database's tables.
    fn schema(&self, who: &Login) -> Result<String>;
    /// Copies all that is in one database into another: all of it, or nothing.
    fn copy(&mut self, from: &Login, to: &Login) -> Result<()>;
    /// Becomes `psql`, and does not come back. `settings` are for its environment.
    fn shell(&self, who: &Login, settings: &[(&'static str, String)]) -> Result<()>;
}

/// What a password is compared with, made with a salt of its own.
pub fn verifier(password: &Secret) -> String {
    postgres_protocol::password::scram_sha_256(password.reveal().as_bytes())
}

/// The fault of a server that is not there.
pub fn not_installed() -> Fault {
    Fault::new(Code::ProgramMissing, "PostgreSQL is not installed").next("apt-get install postgresql")
}
