//! Redis: who may log in, what they may do, and what lies in which database.
//!
//! HostKit comes as a user of its own through a socket that only root and the server's account can
//! open, never over the network: when the server is down, any process may listen on its port and would
//! be told the password. One connection per server and command, made when it is first needed.

mod transfer;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fmt,
    io::{Read, Write},
    rc::Rc,
    time::Duration,
};

use anyhow::{Context, Result};
use redis::{ConnectionAddr, ErrorKind, IntoConnectionInfo, RedisConnectionInfo, RedisError, Value};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::domain::{
    acl::Commands,
    fault::{Code, Fault},
    layout::{self, HostPath, UnitName},
};

/// HostKit's own user.
pub const ADMIN: &str = "hkadmin";
/// The port of the server that projects share.
pub const PORT: u16 = 6379;

/// How long the server may take to let HostKit in, and to answer.
const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(20);
/// How long it may take to write all its data to the disk.
const SAVE: Duration = Duration::from_mins(10);

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
    /// Writes all that is in a database; says how many keys.
    fn dump(&self, door: &Door, number: u32, out: &mut dyn Write) -> Result<u64>;
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

/// The servers of this machine.
#[derive(Default)]
pub struct Servers {
    links: RefCell<BTreeMap<HostPath, redis::Connection>>,
    commands: RefCell<BTreeMap<HostPath, Rc<Commands>>>,
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Servers")
    }
}

fn words(words: &[&str]) -> redis::Cmd {
    let mut command = redis::Cmd::new();
    for word in words {
        command.arg(*word);
    }
    command
}

/// A connection whose every answer has a deadline.
fn connect(address: ConnectionAddr, login: RedisConnectionInfo) -> redis::RedisResult<redis::Connection> {
    let info = address.into_connection_info()?.set_redis_settings(login.set_skip_set_lib_name());
    let link = redis::Client::open(info)?.get_connection_with_timeout(CONNECT)?;
    link.set_read_timeout(Some(ANSWER))?;
    link.set_write_timeout(Some(ANSWER))?;
    Ok(link)
}

fn knock(door: &Door) -> Result<redis::RedisResult<redis::Connection>> {
    let password = match std::fs::read_to_string(door.key.as_path()) {
        Ok(text) => Zeroizing::new(text),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Zeroizing::default(),
        Err(e) => return Err(e).with_context(|| format!("reading `{}`", door.key)),
    };
    let login = RedisConnectionInfo::default().set_username(ADMIN).set_password(password.trim());
    Ok(connect(ConnectionAddr::Unix(door.socket.as_path().to_owned()), login))
}

/// A connection of its own, at this database: the one that is kept stays at database 0.
fn within(door: &Door, number: u32) -> Result<redis::Connection> {
    let mut link = knock(door)?.map_err(|error| explain(door, &error))?;
    transfer::select(&mut link, number).map_err(|error| explain(door, &error))?;
    Ok(link)
}

fn understood(door: &Door, trouble: transfer::Trouble) -> anyhow::Error {
    match trouble {
        transfer::Trouble::Redis(error) => explain(door, &error),
        transfer::Trouble::Other(error) => error,
    }
}

/// Whether nobody listened.
fn is_down(error: &RedisError) -> bool {
    error.is_io_error() && !error.is_timeout()
}

fn explain(door: &Door, error: &RedisError) -> anyhow::Error {
    let unit = &door.unit;
    let fault = if is_down(error) {
        Fault::new(Code::ServiceDown, format!("Redis (`{unit}`) is not running"))
            .next(format!("systemctl start {unit}"))
    } else if error.kind() == ErrorKind::AuthenticationFailed {
        Fault::new(Code::ServiceDown, format!("Redis (`{unit}`) does not let HostKit in"))
            .next("hostkit repair")
    } else {
        Fault::new(Code::ServiceDown, format!("Redis (`{unit}`) answers with an error: {error}"))
    };
    fault.next(format!("journalctl -u {unit} -n 20")).into()
}

impl Servers {
    /// Says something to a server, over the connection there is or a new one.
    fn say<T: redis::FromRedisValue>(&self, door: &Door, command: &redis::Cmd) -> Result<T> {
        let mut links = self.links.borrow_mut();
        if let Some(link) = links.get_mut(&door.socket) {
            match command.query(link) {
                Ok(answer) => return Ok(answer),
                // It was started anew since; whatever is said here may be said twice.
                Err(error) if is_down(&error) => drop(links.remove(&door.socket)),
                Err(error) => return Err(explain(door, &error)),
            }
        }
        let mut link = knock(door)?.map_err(|error| explain(door, &error))?;
        let answer = command.query(&mut link).map_err(|error| explain(door, &error))?;
        links.insert(door.socket.clone(), link);
        Ok(answer)
    }

    fn settings(&self, door: &Door) -> Result<Settings> {
        let ask = words(&["CONFIG", "GET", "databases", "aclfile", "maxmemory-policy", "bind", "maxmemory"]);
        let mut all: BTreeMap<String, String> = self.say(door, &ask)?;
        let mut take = |name: &str| all.remove(name).unwrap_or_default();
        Ok(Settings {
            databases: take("databases").parse().context("a number of databases")?,
            users: take("aclfile"),
            policy: take("maxmemory-policy"),
            bind: take("bind"),
            memory: take("maxmemory").parse().context("an amount of memory")?,
        })
    }
}

impl Redis for Servers {
    fn enter(&self, door: &Door) -> Result<Entry> {
        if !self.links.borrow().contains_key(&door.socket) {
            match knock(door)? {
                Ok(link) => drop(self.links.borrow_mut().insert(door.socket.clone(), link)),
                Err(error) if is_down(&error) => return Ok(Entry::Down),
                Err(error) if error.kind() == ErrorKind::AuthenticationFailed => return Ok(Entry::Shut),
                Err(error) => return Err(explain(door, &error)),
            }
        }
        match self.settings(door) {
            Ok(settings) => Ok(Entry::Open(settings)),
            // The connection was an old one, and the server has gone since.
            Err(_) if !self.links.borrow().contains_key(&door.socket) => self.enter(door),
            Err(error) => Err(error),
        }
    }
    fn stranger(&self) -> Result<Stranger> {
        let address = ConnectionAddr::Tcp("127.0.0.1".into(), PORT);
        let mut link = match connect(address, RedisConnectionInfo::default()) {
            Ok(link) => link,
            Err(error) if is_down(&error) => return Ok(Stranger::Down),
            Err(error) => return Err(error).context("asking Redis"),
        };
        let Ok(info) = words(&["INFO"]).query::<String>(&mut link) else { return Ok(Stranger::Refused) };
        let databases: Vec<String> =
            words(&["CONFIG", "GET", "databases"]).query(&mut link).context("asking Redis")?;
        Ok(Stranger::Let {
            keys: contents(&info).values().map(|c| c.keys).sum(),
            others: field(&info, "connected_clients").saturating_sub(1),
            databases: databases.last().and_then(|n| n.parse().ok()).unwrap_or_default(),
        })
    }
    fn commands(&self, door: &Door) -> Result<Rc<Commands>> {
        if let Some(known) = self.commands.borrow().get(&door.socket) {
            return Ok(known.clone());
        }
        let names: Vec<String> = self.say(door, &words(&["ACL", "CAT"]))?;
        let mut each = redis::pipe();
        for name in &names {
            each.add_command(words(&["ACL", "CAT", name]));
        }
        let mut links = self.links.borrow_mut();
        let link = links.get_mut(&door.socket).context("the connection that has just answered")?;
        let lists: Vec<BTreeSet<String>> = each.query(link).map_err(|error| explain(door, &error))?;
        let known = Rc::new(Commands::new(names.into_iter().zip(lists).collect()));
        self.commands.borrow_mut().insert(door.socket.clone(), known.clone());
        Ok(known)
    }
    fn user(&self, door: &Door, name: &str) -> Result<Option<Vec<String>>> {
        match self.say(door, &words(&["ACL", "GETUSER", name]))? {
            Value::Nil => Ok(None),
            answer => described(answer).map(Some).with_context(|| format!("reading Redis' user `{name}`")),
        }
    }
    fn contents(&self, door: &Door) -> Result<BTreeMap<u32, Content>> {
        let info: String = self.say(door, &words(&["INFO", "keyspace"]))?;
        Ok(contents(&info))
    }
    fn report(&self, door: &Door, user: &str) -> Result<Report> {
        let info: String = self.say(door, &words(&["INFO"]))?;
        let clients: String = self.say(door, &words(&["CLIENT", "LIST"]))?;
        let mine = format!("user={user}");
        let connections = clients.lines().filter(|l| l.split(' ').any(|word| word == mine)).count();
        let version = info.lines().find_map(|l| l.strip_prefix("redis_version:")).unwrap_or_default();
        Ok(Report {
            version: version.trim().to_owned(),
            memory: field(&info, "used_memory"),
            connections: connections as u64,
        })
    }
    fn set_user(&mut self, door: &Door, name: &str, rule: &[String]) -> Result<()> {
        let mut command = words(&["ACL", "SETUSER", name, "reset"]);
        command.arg(rule);
        self.say(door, &command)
    }
    fn remove_user(&mut self, door: &Door, name: &str) -> Result<()> {
        self.say(door, &words(&["ACL", "DELUSER", name]))
    }
    fn save_users(&mut self, door: &Door) -> Result<()> {
        self.say(door, &words(&["ACL", "SAVE"]))
    }
    fn dump(&self, door: &Door, number: u32, out: &mut dyn Write) -> Result<u64> {
        transfer::dump(&mut within(door, number)?, out).map_err(|trouble| understood(door, trouble))
    }
    fn load(&mut self, door: &Door, number: u32, from: &mut dyn Read) -> Result<()> {
        transfer::load(&mut within(door, number)?, from).map_err(|trouble| understood(door, trouble))
    }
    fn is_marked(&self, door: &Door, number: u32) -> Result<bool> {
        let asked = words(&["EXISTS", transfer::MARK]).query(&mut within(door, number)?);
        asked.map_err(|error| explain(door, &error))
    }
    fn unmark(&mut self, door: &Door, number: u32) -> Result<()> {
        let told = words(&["DEL", transfer::MARK]).exec(&mut within(door, number)?);
        told.map_err(|error| explain(door, &error))
    }
    fn swap(&mut self, door: &Door, one: u32, other: u32) -> Result<()> {
        self.say(door, &words(&["SWAPDB", &one.to_string(), &other.to_string()]))
    }
    fn flush(&mut self, door: &Door, number: u32) -> Result<()> {
        let mut link = within(door, number)?;
        // Freeing much takes long, and meanwhile everybody else would wait.
        words(&["FLUSHDB", "ASYNC"]).exec(&mut link).map_err(|error| explain(door, &error))
    }
    fn keep(&mut self, door: &Door) -> Result<()> {
        let link = match knock(door)? {
            Ok(link) => Ok(link),
            Err(_) => connect(ConnectionAddr::Tcp("127.0.0.1".into(), PORT), RedisConnectionInfo::default()),
        };
        // Whoever does not let us in has no data that depends on us.
        let Ok(mut link) = link else { return Ok(()) };
        let Ok(all) =
            words(&["CONFIG", "GET", "save", "appendonly"]).query::<BTreeMap<String, String>>(&mut link)
        else {
            return Ok(());
        };
        let keeps = all.get("save").is_some_and(|s| !s.is_empty())
            || all.get("appendonly").is_some_and(|a| a == "yes");
        if keeps {
            return Ok(());
        }
        link.set_read_timeout(Some(SAVE))?;
        words(&["SAVE"]).exec(&mut link).context("having Redis write its data to the disk")
    }
}

/// A number from `INFO`.
fn field(info: &str, name: &str) -> u64 {
    let value = info.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
    value.and_then(|v| v.trim().parse().ok()).unwrap_or_default()
}

/// The databases in the keyspace section of `INFO`: `db5:keys=1,expires=0,avg_ttl=0`.
fn contents(info: &str) -> BTreeMap<u32, Content> {
    let database = |line: &str| {
        let (number, rest) = line.strip_prefix("db")?.split_once(':')?;
        let count = |name: &str| {
            let value = rest.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
            value.and_then(|v| v.trim().parse().ok()).unwrap_or_default()
        };
        Some((number.parse().ok()?, Content { keys: count("keys"), expires: count("expires") }))
    };
    info.lines().filter_map(database).collect()
}

/// The answer to `ACL GETUSER` as words.
fn described(answer: Value) -> Result<Vec<String>> {
    let fields: BTreeMap<String, Value> = redis::from_redis_value(answer)?;
    let mut rule: Vec<String> = Vec::new();
    // Lists until Redis 6, texts since.
    let text = |name: &str| -> Result<Vec<String>> {
        match fields.get(name) {
            Some(Value::Array(_)) => Ok(redis::from_redis_value_ref(&fields[name])?),
            Some(value) => {
                let text: String = redis::from_redis_value_ref(value)?;
                Ok(text.split_ascii_whitespace().map(str::to_owned).collect())
            }
            None => Ok(Vec::new()),
        }
    };
    rule.extend(
        text("flags")?
            .into_iter()
            .filter(|f| !matches!(f.as_str(), "allkeys" | "allchannels" | "allcommands")),
    );
    rule.extend(text("passwords")?.into_iter().map(|hash| format!("#{hash}")));
    rule.extend(text("keys")?);
    rule.push("resetchannels".to_owned());
    rule.extend(text("channels")?);
    rule.extend(text("commands")?);
    if let Some(Value::Array(selectors)) = fields.get("selectors") {
        for selector in selectors {
            let parts: BTreeMap<String, String> = redis::from_redis_value_ref(selector)?;
            let part = |name: &str| parts.get(name).cloned().unwrap_or_default();
            let words = [part("commands"), part("keys"), part("channels")].join(" ");
            rule.push(format!("({})", words.trim()));
        }
    }
    Ok(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keyspace_is_read() {
        let info = "# Keyspace\r\ndb0:keys=3,expires=1,avg_ttl=0\r\ndb1023:keys=1,expires=0,avg_ttl=0\r\n";
        let found = contents(info);
        assert_eq!(found[&0], Content { keys: 3, expires: 1 });
        assert_eq!(found[&1023].keys, 1);
        assert_eq!(field("# Memory\r\nused_memory:1234\r\nused_memory_rss:1\r\n", "used_memory"), 1234);
    }
}
