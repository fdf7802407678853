//! Redis servers that live in the world's memory, with the commands of a real one.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read, Write},
    rc::Rc,
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::{Fake, State};
use crate::{
    domain::{
        acl::{self, Commands, Grant},
        fault::{Code, Fault},
    },
    system::redis::{ADMIN, Content, Door, Entry, Redis, Report, Settings, Stranger, sum},
};

/// The unit of the distribution's server.
pub(super) const SHARED: &str = "redis-server.service";
/// The piece that HostKit adds to it.
pub(super) const DROP_IN: &str = "redis-server.service.d/hostkit.conf";

/// A server that runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// The socket it listens on, if it does on one.
    pub socket: Option<String>,
    /// How it is set.
    pub settings: Settings,
    /// What its users may do, in words.
    pub users: BTreeMap<String, Vec<String>>,
    /// How many keys each database has.
    pub keys: BTreeMap<u32, u64>,
    /// Databases that were loaded from a backup.
    #[serde(default)]
    pub marked: BTreeSet<u32>,
    /// It answers with what no Redis says.
    #[serde(default)]
    pub nonsense: bool,
    /// How many others are connected who gave no name.
    pub others: u64,
}

impl Server {
    /// The server as the distribution's package leaves it.
    pub(super) fn fresh() -> Self {
        let settings = Settings { databases: 16, policy: "noeviction".into(), ..Settings::default() };
        let anybody = ["on", "nopass", "~*", "&*", "+@all"].map(str::to_owned).to_vec();
        Self { settings, users: [("default".to_owned(), anybody)].into(), ..Self::default() }
    }

    /// It ends, and writes its data down.
    pub(super) fn stop(state: &mut State, unit: &str) {
        if let Some(server) = state.redis.remove(unit) {
            state.dumps.remove(unit);
            if !server.keys.is_empty() {
                state.dumps.insert(unit.to_owned(), server.keys);
            }
        }
    }
}

impl Fake {
    pub(super) fn start_shared_redis(&self, state: &mut State) -> Result<()> {
        Server::stop(state, SHARED);
        let body = state.known.get(DROP_IN).cloned().unwrap_or_default();
        let dump = state.dumps.get(SHARED);
        let server = match self.start_redis(&body, dump)? {
            Some(server) => server,
            None => Server { keys: dump.cloned().unwrap_or_default(), ..Server::fresh() },
        };
        if server.keys.keys().any(|n| *n >= server.settings.databases) {
            bail!(Fault::new(Code::Unhealthy, "FATAL: Data file was created with more databases"));
        }
        state.redis.insert(SHARED.into(), server);
        let _ = std::fs::remove_file(self.invocation(SHARED));
        state.starts += 1;
        self.mark_start(SHARED, state.starts)
    }

    /// The server that a unit of this text starts; `None` when it starts something else.
    pub(super) fn start_redis(
        &self,
        unit: &str,
        dump: Option<&BTreeMap<u32, u64>>,
    ) -> Result<Option<Server>> {
        let started = unit.lines().find_map(|l| l.strip_prefix("ExecStart=/usr/bin/redis-server "));
        let Some(conf) = started.and_then(|words| words.split(' ').next()) else { return Ok(None) };
        let text = std::fs::read_to_string(self.path(conf)).context("Fatal error, can't open config file")?;
        let last = |key: &str| {
            text.lines().rev().find_map(|l| l.strip_prefix(key)?.strip_prefix(' ')).map(str::to_owned)
        };
        let mut server = Server::fresh();
        server.socket = last("unixsocket");
        server.keys = dump.cloned().unwrap_or_default();
        server.settings = Settings {
            databases: last("databases").and_then(|n| n.parse().ok()).unwrap_or(16),
            users: last("aclfile").unwrap_or_default(),
            policy: last("maxmemory-policy").unwrap_or_else(|| "noeviction".into()),
            bind: last("bind").unwrap_or_default(),
            memory: last("maxmemory").map_or(0, |m| bytes(&m)),
        };
        if !server.settings.users.is_empty() {
            let text = std::fs::read_to_string(self.path(&server.settings.users))
                .context("Aborting Redis startup because of ACL errors: Error loading ACLs")?;
            for line in text.lines().filter(|l| !l.is_empty()) {
                let name = line.split(' ').nth(1).context("a user's name")?;
                server.users.insert(name.to_owned(), acl::find(line, name).unwrap_or_default());
            }
        }
        Ok(Some(server))
    }

    /// Does something with the server behind a door, when HostKit gets in.
    fn with<T>(
        &self,
        state: &mut State,
        door: &Door,
        work: impl FnOnce(&mut Server) -> Result<T>,
    ) -> Result<T> {
        let unit = &door.unit;
        let Some(server) = behind(state, door) else {
            bail!(
                Fault::new(Code::ServiceDown, format!("Redis (`{unit}`) is not running"))
                    .next(format!("systemctl start {unit}"))
            )
        };
        if server.nonsense {
            bail!(nonsense(door));
        }
        if !self.admits(server, door) {
            bail!(
                Fault::new(Code::ServiceDown, format!("Redis (`{unit}`) does not let HostKit in"))
                    .next("hostkit repair")
            )
        }
        work(server)
    }

    fn admits(&self, server: &Server, door: &Door) -> bool {
        let key = std::fs::read_to_string(self.path(&door.key.to_string())).unwrap_or_default();
        server.users.get(ADMIN).is_some_and(|words| {
            let grant = Grant::of(words, &known());
            grant.on && grant.passwords.contains(&sum(&key))
        })
    }

    fn look<T>(&self, door: &Door, work: impl FnOnce(&mut Server) -> Result<T>) -> Result<T> {
        self.with(&mut self.world.state().clone(), door, work)
    }
}

fn nonsense(door: &Door) -> Fault {
    Fault::new(Code::ServiceDown, format!("Redis (`{}`) says what no Redis says", door.unit))
}

fn behind<'s>(state: &'s mut State, door: &Door) -> Option<&'s mut Server> {
    state.redis.values_mut().find(|s| s.socket.as_deref() == Some(&door.socket.to_string()))
}

fn bytes(text: &str) -> u64 {
    let number: u64 = text.trim_end_matches(char::is_alphabetic).parse().unwrap_or_default();
    if text.ends_with("mb") { number << 20 } else { number }
}

/// The commands of the real server of this version.
pub(crate) fn known() -> Rc<Commands> {
    thread_local!(static KNOWN: Rc<Commands> = Rc::new(read_known()));
    KNOWN.with(Rc::clone)
}

fn read_known() -> Commands {
    let lines = include_str!("redis-7.0.15.txt").lines();
    let category = |line: &str| {
        let (name, commands) = line.split_once(": ").expect("a category and its commands");
        let commands: BTreeSet<String> = commands.split(' ').map(str::to_owned).collect();
        (name.to_owned(), commands)
    };
    Commands::new(lines.map(category).collect())
}

impl Redis for Fake {
    fn enter(&self, door: &Door) -> Result<Entry> {
        Ok(match behind(&mut self.world.state(), door) {
            None => Entry::Down,
            Some(server) if server.nonsense => bail!(nonsense(door)),
            Some(server) if !self.admits(server, door) => Entry::Shut,
            Some(server) => Entry::Open(server.settings.clone()),
        })
    }
    fn stranger(&self) -> Result<Stranger> {
        let state = self.world.state();
        let Some(server) = state.redis.get(SHARED) else { return Ok(Stranger::Down) };
        let default = Grant::of(&server.users["default"], &known());
        Ok(if default.on && default.no_password {
            Stranger::Let {
                keys: server.keys.values().sum(),
                others: server.others,
                databases: server.settings.databases,
            }
        } else {
            Stranger::Refused
        })
    }
    fn commands(&self, _door: &Door) -> Result<Rc<Commands>> {
        Ok(known())
    }
    fn user(&self, door: &Door, name: &str) -> Result<Option<Vec<String>>> {
        self.look(door, |server| Ok(server.users.get(name).cloned()))
    }
    fn contents(&self, door: &Door) -> Result<BTreeMap<u32, Content>> {
        self.look(door, |server| {
            Ok(server.keys.iter().map(|(n, keys)| (*n, Content { keys: *keys, expires: 0 })).collect())
        })
    }
    fn report(&self, door: &Door, _user: &str) -> Result<Report> {
        self.look(door, |_| Ok(Report { version: "7.0.15".into(), memory: 1 << 20, connections: 0 }))
    }
    fn set_user(&mut self, door: &Door, name: &str, words: &[String]) -> Result<()> {
        self.effect("redis:set-user", |state| {
            self.with(state, door, |server| {
                server.users.insert(name.to_owned(), words.to_vec());
                Ok(())
            })
        })
    }
    fn remove_user(&mut self, door: &Door, name: &str) -> Result<()> {
        self.effect("redis:remove-user", |state| {
            self.with(state, door, |server| {
                server.users.remove(name);
                Ok(())
            })
        })
    }
    fn save_users(&mut self, door: &Door) -> Result<()> {
        self.effect("redis:save-users", |state| {
            let (file, text) = self.with(state, door, |server| {
                if server.settings.users.is_empty() {
                    bail!("ERR This Redis instance is not configured to use an ACL file.");
                }
                let line =
                    |(name, words): (&String, &Vec<String>)| format!("user {name} {}\n", words.join(" "));
                Ok((server.settings.users.clone(), server.users.iter().map(line).collect::<String>()))
            })?;
            Ok(std::fs::write(self.path(&file), text)?)
        })
    }
    fn dump(&self, door: &Door, number: u32, _most: Option<u64>, out: &mut dyn Write) -> Result<u64> {
        let keys = self.look(door, |server| Ok(server.keys.get(&number).copied().unwrap_or(0)))?;
        write!(out, "{keys}")?;
        Ok(keys)
    }
    fn load(&mut self, door: &Door, number: u32, from: &mut dyn Read) -> Result<()> {
        let mut text = String::new();
        from.read_to_string(&mut text)?;
        let keys: u64 = text.parse().context("ERR DUMP payload version or checksum are wrong")?;
        self.effect("redis:load", |state| {
            self.with(state, door, |server| {
                server.marked.insert(number);
                if keys > 0 {
                    server.keys.insert(number, keys);
                }
                Ok(())
            })
        })
    }
    fn is_marked(&self, door: &Door, number: u32) -> Result<bool> {
        self.look(door, |server| Ok(server.marked.contains(&number)))
    }
    fn unmark(&mut self, door: &Door, number: u32) -> Result<()> {
        self.effect("redis:unmark", |state| {
            self.with(state, door, |server| {
                server.marked.remove(&number);
                Ok(())
            })
        })
    }
    fn swap(&mut self, door: &Door, one: u32, other: u32) -> Result<()> {
        self.effect("redis:swap", |state| {
            self.with(state, door, |server| {
                let change = |n: u32| {
                    if n == one {
                        other
                    } else if n == other {
                        one
                    } else {
                        n
                    }
                };
                server.keys = server.keys.iter().map(|(n, keys)| (change(*n), *keys)).collect();
                server.marked = server.marked.iter().map(|n| change(*n)).collect();
                Ok(())
            })
        })
    }
    fn flush(&mut self, door: &Door, number: u32) -> Result<()> {
        self.effect("redis:flush", |state| {
            self.with(state, door, |server| {
                server.marked.remove(&number);
                server.keys.remove(&number);
                Ok(())
            })
        })
    }
    fn keep(&mut self, _door: &Door) -> Result<()> {
        Ok(())
    }
}
