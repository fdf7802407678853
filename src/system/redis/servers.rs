//! The Redis servers of this machine.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fmt,
    io::{Read, Write},
    path::Path,
    rc::Rc,
    time::Duration,
};

use anyhow::{Context, Result};
use redis::Value;
use zeroize::Zeroizing;

use super::{
    ADMIN, Content, Door, Entry, PORT, Redis, Report, Settings, Stranger,
    answers::{contents, described, field},
    link::{Link, Trouble},
    transfer,
};
use crate::domain::{
    acl::Commands,
    fault::{Code, Fault},
    layout::HostPath,
};

/// How long a server may take to write all its data to the disk.
const SAVE: Duration = Duration::from_mins(10);
/// Where the distribution's server keeps its data, and how little room is none, in bytes.
const DATA: &str = "/var/lib/redis";
const ROOM: u64 = 1 << 20;

/// The servers of this machine.
#[derive(Default)]
pub struct Servers {
    links: RefCell<BTreeMap<HostPath, Link>>,
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

fn knock(door: &Door) -> Result<Link, Trouble> {
    let password = match std::fs::read_to_string(door.key.as_path()) {
        Ok(text) => Zeroizing::new(text),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Zeroizing::default(),
        Err(e) => return Err(anyhow::Error::new(e).context(format!("reading `{}`", door.key)).into()),
    };
    Link::at(door.socket.as_path(), ADMIN, password.trim())
}

/// A connection of its own, at this database: the one that is kept stays at database 0.
fn within(door: &Door, number: u32) -> Result<Link> {
    let mut link = knock(door).map_err(|trouble| explain(door, trouble))?;
    transfer::select(&mut link, number).map_err(|trouble| explain(door, trouble))?;
    Ok(link)
}

fn explain(door: &Door, trouble: Trouble) -> anyhow::Error {
    let unit = &door.unit;
    let down = |how: String| Fault::new(Code::ServiceDown, format!("Redis (`{unit}`) {how}"));
    let fault = match trouble {
        Trouble::Other(error) => return error,
        Trouble::Gone => down("is not running".to_owned()).next(format!("systemctl start {unit}")),
        shut if shut.is_shut() => down("does not let HostKit in".to_owned()).next("hostkit repair"),
        Trouble::Refused(said) if is_stuck(&said) => {
            let message = format!("Redis (`{unit}`) cannot write to its disk: {}", quoted(&said));
            let code = if is_full(door) { Code::DiskFull } else { Code::ServiceDown };
            Fault::new(code, message).next("df -h")
        }
        Trouble::Refused(said) => down(format!("answers with an error: {}", quoted(&said))),
        Trouble::Late => down("does not answer in time".to_owned()).next(format!("systemctl restart {unit}")),
        Trouble::Nonsense(what) => {
            down(format!("says what no Redis says: {what}")).next(format!("systemctl restart {unit}"))
        }
    };
    fault.next(format!("journalctl -u {unit} -n 20")).into()
}

/// Whether a server refuses because it cannot write down what it has.
fn is_stuck(said: &str) -> bool {
    said.starts_with("MISCONF") || said.contains("save the ACLs")
}

/// Whether it is for want of room, where its users or its data lie.
fn is_full(door: &Door) -> bool {
    let places = [door.users.as_path().parent(), Some(Path::new(DATA))];
    places.into_iter().flatten().any(|place| {
        rustix::fs::statvfs(place).is_ok_and(|space| space.f_bavail.saturating_mul(space.f_frsize) < ROOM)
    })
}

/// What a server says, which may be a project's text.
fn quoted(said: &str) -> String {
    said.chars().take(300).flat_map(char::escape_debug).collect()
}

impl Servers {
    /// Says something to a server, over the connection there is or a new one.
    fn try_say<T: redis::FromRedisValue>(&self, door: &Door, command: &redis::Cmd) -> Result<T, Trouble> {
        let mut links = self.links.borrow_mut();
        // It is put back only when it is known what comes next over it.
        if let Some(mut link) = links.remove(&door.socket) {
            match link.ask(command) {
                // It was started anew since; whatever is said here may be said twice.
                Err(trouble) if trouble.is_down() => {}
                Err(trouble) => return Err(trouble),
                Ok(answer) => {
                    links.insert(door.socket.clone(), link);
                    return Ok(answer);
                }
            }
        }
        let mut link = knock(door)?;
        let answer = link.ask(command)?;
        links.insert(door.socket.clone(), link);
        Ok(answer)
    }

    fn say<T: redis::FromRedisValue>(&self, door: &Door, command: &redis::Cmd) -> Result<T> {
        self.try_say(door, command).map_err(|trouble| explain(door, trouble))
    }

    fn settings(&self, door: &Door) -> Result<Settings, Trouble> {
        let ask = words(&["CONFIG", "GET", "databases", "aclfile", "maxmemory-policy", "bind", "maxmemory"]);
        let mut all: BTreeMap<String, String> = self.try_say(door, &ask)?;
        let mut take = |name: &str| all.remove(name).unwrap_or_default();
        let unread = |_| Trouble::Nonsense("settings that are no numbers");
        Ok(Settings {
            databases: take("databases").parse().map_err(unread)?,
            users: take("aclfile"),
            policy: take("maxmemory-policy"),
            bind: take("bind"),
            memory: take("maxmemory").parse().map_err(unread)?,
        })
    }
}

impl Redis for Servers {
    fn enter(&self, door: &Door) -> Result<Entry> {
        match self.settings(door) {
            Ok(settings) => Ok(Entry::Open(settings)),
            Err(trouble) if trouble.is_down() => Ok(Entry::Down),
            Err(trouble) if trouble.is_shut() => Ok(Entry::Shut),
            Err(trouble) => Err(explain(door, trouble)),
        }
    }
    fn stranger(&self) -> Result<Stranger> {
        let door = Door::shared();
        let mut link = match Link::port(PORT) {
            Ok(link) => link,
            Err(trouble) if trouble.is_down() => return Ok(Stranger::Down),
            Err(trouble) => return Err(explain(&door, trouble)),
        };
        let Ok(info) = link.ask::<String>(&words(&["INFO"])) else { return Ok(Stranger::Refused) };
        let databases: Vec<String> =
            link.ask(&words(&["CONFIG", "GET", "databases"])).map_err(|trouble| explain(&door, trouble))?;
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
        let each: Vec<redis::Cmd> = names.iter().map(|name| words(&["ACL", "CAT", name])).collect();
        let mut links = self.links.borrow_mut();
        let link = links.get_mut(&door.socket).context("the connection that has just answered")?;
        let lists = link.ask_all(&each).map_err(|trouble| explain(door, trouble))?;
        let lists: Vec<BTreeSet<String>> =
            lists.into_iter().map(redis::from_redis_value).collect::<std::result::Result<_, _>>()?;
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
    fn dump(&self, door: &Door, number: u32, most: Option<u64>, out: &mut dyn Write) -> Result<u64> {
        transfer::dump(&mut within(door, number)?, most, out).map_err(|trouble| explain(door, trouble))
    }
    fn load(&mut self, door: &Door, number: u32, from: &mut dyn Read) -> Result<()> {
        transfer::load(&mut within(door, number)?, from).map_err(|trouble| explain(door, trouble))
    }
    fn is_marked(&self, door: &Door, number: u32) -> Result<bool> {
        let asked = within(door, number)?.ask(&words(&["EXISTS", transfer::MARK]));
        asked.map_err(|trouble| explain(door, trouble))
    }
    fn unmark(&mut self, door: &Door, number: u32) -> Result<()> {
        let told = within(door, number)?.tell(&words(&["DEL", transfer::MARK]));
        told.map_err(|trouble| explain(door, trouble))
    }
    fn swap(&mut self, door: &Door, one: u32, other: u32) -> Result<()> {
        self.say(door, &words(&["SWAPDB", &one.to_string(), &other.to_string()]))
    }
    fn flush(&mut self, door: &Door, number: u32) -> Result<()> {
        // Freeing much takes long, and meanwhile everybody else would wait.
        let told = within(door, number)?.tell(&words(&["FLUSHDB", "ASYNC"]));
        told.map_err(|trouble| explain(door, trouble))
    }
    fn keep(&mut self, door: &Door) -> Result<()> {
        let link = knock(door).or_else(|_| Link::port(PORT));
        // Whoever does not let us in has no data that depends on us.
        let Ok(link) = link else { return Ok(()) };
        let mut link = link.wait(SAVE);
        let asked = link.ask::<BTreeMap<String, String>>(&words(&["CONFIG", "GET", "save", "appendonly"]));
        let Ok(all) = asked else { return Ok(()) };
        let keeps = all.get("save").is_some_and(|s| !s.is_empty())
            || all.get("appendonly").is_some_and(|a| a == "yes");
        if keeps {
            return Ok(());
        }
        let told = link.tell(&words(&["SAVE"]));
        told.map_err(|trouble| explain(door, trouble)).context("having Redis write its data to the disk")
    }
}
