//! Redis: who may log in, what they may do, and what lies in which database.
//!
//! HostKit comes as a user of its own through a socket that only root and the server's account can
//! open, never over the network: when the server is down, any process may listen on its port and would
//! be told the password. One connection per server and command, made when it is first needed.
//!
//! A server of a project's own runs under the project's account, so what it answers is the project's to
//! say. No answer is waited for or read without an end, and nothing that it could write is believed.

mod answers;
mod link;
mod servers;
mod transfer;

use std::{
    collections::BTreeMap,
    fmt,
    io::{Read, Write},
    rc::Rc,
};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::domain::{
    acl::Commands,
    layout::{self, HostPath, UnitName},
};

pub use self::servers::Servers;

/// HostKit's own user.
pub const ADMIN: &str = "hkadmin";
/// The port of the server that projects share.
pub const PORT: u16 = 6379;

/// A server, and how HostKit gets in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Door {
    /// Its unit.
    pub unit: UnitName,
    /// The socket it listens on for HostKit.
    pub socket: HostPath,
    /// The file with the password of HostKit's user.
    pub key: HostPath,
    /// The file in which it keeps its users.
    pub users: HostPath,
}

impl Door {
    /// The distribution's server, which projects share.
    pub fn shared() -> Self {
        Self {
            unit: UnitName::own("redis-server.service"),
            socket: layout::redis::socket(),
            key: layout::redis::key(),
            users: layout::redis::users(),
        }
    }
}

impl Door {
    /// Whether the server is a project's own. Then HostKit writes the file of its users, which the server
    /// only reads.
    pub fn is_private(&self) -> bool {
        self.unit != Self::shared().unit
    }
}

/// The sum by which Redis knows a password: SHA-256 in hexadecimal.
pub fn sum(password: &str) -> String {
    Sha256::digest(password.trim()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What came of knocking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Nothing listens there.
    Down,
    /// It listens and does not know HostKit.
    Shut,
    /// HostKit is in, and this is how it is set.
    Open(Settings),
}

/// Settings of a running server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// How many databases it has.
    pub databases: u32,
    /// Where it keeps its users.
    pub users: String,
    /// What it does when its memory is full.
    pub policy: String,
    /// The addresses it listens on.
    pub bind: String,
    /// How much memory it may use, in bytes; 0: all there is.
    pub memory: u64,
}

/// What is in one database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// How many keys.
    pub keys: u64,
    /// How many of them go by themselves.
    pub expires: u64,
}

/// What a server can say of itself and of one of its users.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Its version.
    pub version: String,
    /// The memory it uses, in bytes.
    pub memory: u64,
    /// How many connections the user has.
    pub connections: u64,
}

/// What somebody who gives no name finds on the port of the server that projects will share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stranger {
    /// Nothing listens.
    Down,
    /// A password is asked for, so somebody has given one out.
    Refused,
    /// Keys, connections of others, and users besides the default one.
    Let {
        /// How many keys there are in all databases.
        keys: u64,
        /// How many others are connected.
        others: u64,
        /// How many databases it has.
        databases: u32,
    },
}

/// Asking and telling Redis servers.
pub trait Redis: fmt::Debug {
    /// Tries to get in.
    fn enter(&self, door: &Door) -> Result<Entry>;
    /// What the server on the usual port has for somebody without a name.
    fn stranger(&self) -> Result<Stranger>;
    /// The commands it has.
    fn commands(&self, door: &Door) -> Result<Rc<Commands>>;
    /// What a user may do, in the words of `ACL SETUSER`; `None` when there is no such user.
    fn user(&self, door: &Door, name: &str) -> Result<Option<Vec<String>>>;
    /// The databases that are not empty.
    fn contents(&self, door: &Door) -> Result<BTreeMap<u32, Content>>;
    /// What the server says of itself and of a user.
    fn report(&self, door: &Door, user: &str) -> Result<Report>;
    /// Gives a user these rights and no others, at once and for connections that are open.
    fn set_user(&mut self, door: &Door, name: &str, words: &[String]) -> Result<()>;
    /// Removes a user and ends the user's connections; fine when there is none.
    fn remove_user(&mut self, door: &Door, name: &str) -> Result<()>;
    /// Has the server write its users down, so that they are there after its next start.
    fn save_users(&mut self, door: &Door) -> Result<()>;
    /// Writes all that is in a database; says how many keys. More than `most` bytes no honest server has.
    fn dump(&self, door: &Door, number: u32, most: Option<u64>, out: &mut dyn Write) -> Result<u64>;
    /// Loads what [`Self::dump`] wrote into an empty database, and marks it.
    fn load(&mut self, door: &Door, number: u32, from: &mut dyn Read) -> Result<()>;
    /// Whether a database carries the mark.
    fn is_marked(&self, door: &Door, number: u32) -> Result<bool>;
    /// Takes the mark from a database; fine when it has none.
    fn unmark(&mut self, door: &Door, number: u32) -> Result<()>;
    /// Has two databases change places, in one step for whoever uses them.
    fn swap(&mut self, door: &Door, one: u32, other: u32) -> Result<()>;
    /// Empties a database.
    fn flush(&mut self, door: &Door, number: u32) -> Result<()>;
    /// Before a restart: has a server that is told to keep nothing write its data down this once.
    fn keep(&mut self, door: &Door) -> Result<()>;
}
