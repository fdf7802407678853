//! A Redis server that HostKit has a login of its own to, and that lets nobody in who gives no name.
//!
//! Its settings lie in a file of HostKit's, which includes the distribution's: that stays as the package
//! made it, and upgrades meet nothing changed. Which file is read is said in the unit, or in a piece
//! added to it.
//!
//! HostKit's user and the closed `default` are in the file of users before the server is started with
//! it. So there is no moment at which HostKit, or the administrator, is locked out.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use super::{
    ManagedFile, Resource, State, Unit,
    redis_user::{file_of_users, masked, same},
};
use crate::{
    domain::{
        acl,
        fault::{Code, Fault},
        layout::HostPath,
    },
    system::{
        Attr, Host, process,
        redis::{ADMIN, Door, Entry, Settings, sum},
        systemd::invocation,
    },
};

/// Who comes without a name.
const DEFAULT: &str = "default";
/// How long a server may take until it lets HostKit in, beyond what its start takes.
const OPEN_WITHIN: Duration = Duration::from_secs(10);
const PACE: Duration = Duration::from_millis(20);
/// A key is shorter than this, in bytes.
const KEY_LIMIT: u64 = 4096;

/// A Redis server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RedisServer {
    /// The server, and how HostKit gets in.
    pub door: Door,
    /// The account it runs under, with its group.
    pub account: (u32, u32),
    /// Its settings.
    pub conf: ManagedFile,
    /// Its unit, or the piece of it that names the settings.
    pub unit: Unit,
    /// How many databases it must have.
    pub databases: u32,
    /// How much memory it may use, in bytes; `None`: as its administrator wants.
    pub memory: Option<u64>,
}

/// A server as it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Found {
    conf: <ManagedFile as Resource>::Found,
    unit: <Unit as Resource>::Found,
    /// HostKit's user and the default one in the server's file; passwords as their sums.
    users: BTreeMap<String, Vec<String>>,
    /// Whether there is a file of users.
    file: bool,
    /// How the server is set that HostKit gets into.
    runs: Option<Settings>,
    /// It was started after the last change to its settings and its unit.
    fresh: bool,
    /// The users are as wanted in the server.
    live: bool,
    /// The users are as wanted in its file.
    saved: bool,
}

impl RedisServer {
    /// HostKit's user and the default one as they must be.
    fn users(&self, host: &Host) -> Result<BTreeMap<String, Vec<String>>> {
        let key = host.root.read(&self.door.key, KEY_LIMIT)?.unwrap_or_default();
        let password = format!("#{}", sum(&String::from_utf8_lossy(&key)));
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        Ok([
            (ADMIN.to_owned(), words(&format!("on {password} ~* &* +@all"))),
            (DEFAULT.to_owned(), words("off resetchannels -@all")),
        ]
        .into())
    }

    /// Whether its process is younger than what it is started from.
    fn is_fresh(&self, host: &Host) -> Result<bool> {
        let Some(start) = invocation(&host.root, &self.door.unit)? else { return Ok(false) };
        let older = |path: &HostPath| -> Result<bool> {
            Ok(host.root.meta(path)?.is_some_and(|m| m.changed <= start.meta.changed))
        };
        Ok(older(&self.conf.path)? && older(&self.unit.path)?)
    }

    /// How it is set, and whether its users are as wanted in it and in its file; `None` when it lets nobody in.
    fn inside(
        &self,
        saved: &BTreeMap<String, Vec<String>>,
        host: &Host,
    ) -> Result<Option<(Settings, bool, bool)>> {
        let Entry::Open(settings) = self.enter(host)? else { return Ok(None) };
        let commands = host.redis.commands(&self.door)?;
        let (mut live, mut kept) = (true, true);
        for (name, words) in self.users(host)? {
            let has = host.redis.user(&self.door, &name)?;
            live &= same(has.as_deref(), Some(&words), &commands);
            kept &= same(saved.get(&name).map(Vec::as_slice), Some(&words), &commands);
        }
        Ok(Some((settings, live, kept)))
    }

    fn fits(&self, settings: &Settings) -> bool {
        settings.databases >= self.databases
            && settings.users == self.door.users.to_string()
            && settings.policy == "noeviction"
            && self.memory.is_none_or(|memory| settings.memory == memory)
    }

    /// Has these users in the server and in its file, and no others of their names.
    fn seat(&self, users: &BTreeMap<String, Vec<String>>, host: &mut Host) -> Result<()> {
        match self.enter(host)? {
            Entry::Open(settings) if settings.users == self.door.users.to_string() => {
                for name in [ADMIN, DEFAULT] {
                    if let Some(words) = users.get(name) {
                        host.redis.set_user(&self.door, name, words)?;
                    }
                }
                if self.door.is_private() {
                    self.write(users, host)
                } else {
                    host.redis.save_users(&self.door)
                }
            }
            _ => self.write(users, host),
        }
    }

    /// Has these users in the file.
    fn write(&self, users: &BTreeMap<String, Vec<String>>, host: &mut Host) -> Result<()> {
        let before = file_of_users(&self.door, host)?;
        let after = [ADMIN, DEFAULT]
            .iter()
            .fold(before, |text, name| acl::put(&text, name, users.get(*name).map(Vec::as_slice)));
        let (uid, gid) = self.account;
        // Only the server that many share writes the file itself.
        let uid = if self.door.is_private() { 0 } else { uid };
        host.root.replace(&self.door.users, after.as_bytes(), Attr { uid, gid, mode: 0o640 })
    }

    /// Starts it anew, and waits until it lets HostKit in.
    fn start(&self, host: &mut Host) -> Result<()> {
        if !self.door.is_private() {
            host.redis.keep(&self.door)?;
        }
        host.systemd.restart(&self.door.unit)?;
        let deadline = host.clock.elapsed() + OPEN_WITHIN;
        loop {
            process::keep_going()?;
            if matches!(host.redis.enter(&self.door)?, Entry::Open(_)) {
                return Ok(());
            }
            if host.clock.elapsed() >= deadline {
                let unit = &self.door.unit;
                bail!(
                    Fault::new(
                        Code::ServiceDown,
                        format!("Redis (`{unit}`) started and does not let HostKit in")
                    )
                    .next(format!("journalctl -u {unit} -n 20"))
                )
            }
            host.clock.sleep(PACE);
        }
    }

    /// Knocks. A project's own server that says nothing, or nonsense, lets nobody in: it can be started
    /// anew, and taken away, all the same.
    fn enter(&self, host: &Host) -> Result<Entry> {
        match host.redis.enter(&self.door) {
            Err(_) if self.door.is_private() => Ok(Entry::Shut),
            entry => entry,
        }
    }

    /// Takes everything of HostKit's away from it.
    fn leave(&self, found: &Found, host: &mut Host) -> Result<()> {
        if self.door.is_private() && host.root.meta(&self.unit.path)?.is_some() {
            host.systemd.stop(&self.door.unit)?;
        }
        self.unit.restore(&found.unit, host)?;
        self.conf.restore(&found.conf, host)?;
        // What still answers there has HostKit's settings; it goes back to its own.
        if !self.door.is_private() && host.redis.enter(&self.door)? != Entry::Down {
            host.redis.keep(&self.door)?;
            host.systemd.restart(&self.door.unit)?;
        }
        host.root.tidy(&self.door.users)?;
        if host.root.meta(&self.door.users)?.is_some() {
            self.write(&found.users, host)?;
        }
        if !found.file {
            host.root.remove(&self.door.users)?;
        }
        Ok(())
    }
}

impl Resource for RedisServer {
    const KIND: &'static str = "redis-server";
    type Found = Found;

    fn name(&self) -> String {
        self.door.unit.as_str().trim_end_matches(".service").to_owned()
    }
    fn observe(&self, host: &Host) -> Result<Found> {
        let text = file_of_users(&self.door, host)?;
        let in_file = |name: &&str| acl::find(&text, name).map(|words| ((*name).to_owned(), masked(words)));
        let users: BTreeMap<_, _> = [ADMIN, DEFAULT].iter().filter_map(in_file).collect();
        let (runs, live, saved) = match self.inside(&users, host) {
            Err(_) if self.door.is_private() => None,
            inside => inside?,
        }
        .map_or((None, false, false), |(settings, live, saved)| (Some(settings), live, saved));
        Ok(Found {
            conf: self.conf.observe(host)?,
            unit: self.unit.observe(host)?,
            users,
            file: host.root.meta(&self.door.users)?.is_some(),
            fresh: runs.is_some() && self.is_fresh(host)?,
            runs,
            live,
            saved,
        })
    }
    fn compare(&self, found: &Found) -> State {
        if found.conf.is_none() && found.unit == <Unit as Resource>::Found::default() {
            return State::Missing;
        }
        match (self.conf.compare(&found.conf), self.unit.compare(&found.unit)) {
            (State::Satisfied, State::Satisfied) => {}
            (State::Satisfied, State::Missing) | (State::Missing, _) => {
                return State::Differs("its settings are missing".into());
            }
            (State::Satisfied, other) | (other, _) => return other,
        }
        let how = match &found.runs {
            None => "does not run, or does not let HostKit in",
            Some(settings) if !self.fits(settings) => "runs with other settings",
            Some(_) if !found.fresh => "is older than its settings",
            Some(_) if !found.live => "lets strangers in, or HostKit do less",
            Some(_) if !found.saved => "has not written its users down",
            Some(_) => return State::Satisfied,
        };
        State::Differs(how.into())
    }
    fn apply(&self, host: &mut Host) -> Result<()> {
        let _held = host.hold(self.door.unit.as_str())?;
        let now = self.observe(host)?;
        if !(now.live && now.saved) {
            let users = self.users(host)?;
            self.seat(&users, host)?;
        }
        if self.conf.compare(&now.conf) != State::Satisfied {
            self.conf.apply(host)?;
        }
        // Also when it is as wanted: systemd may not have been told.
        self.unit.apply(host)?;
        let now = self.observe(host)?;
        if !(now.fresh && now.runs.is_some_and(|settings| self.fits(&settings))) {
            self.start(host)?;
        }
        Ok(())
    }
    fn restore(&self, found: &Found, host: &mut Host) -> Result<()> {
        let _held = host.hold(self.door.unit.as_str())?;
        if found.conf.is_none() {
            return self.leave(found, host);
        }
        self.unit.restore(&found.unit, host)?;
        self.conf.restore(&found.conf, host)?;
        host.root.tidy(&self.door.users)?;
        let now = self.observe(host)?;
        if now.users != found.users || (found.live && !now.live) {
            self.seat(&found.users, host)?;
        }
        if found.runs.is_some() && !(now.fresh && now.runs == found.runs) {
            self.start(host)?;
        }
        Ok(())
    }
    #[cfg(test)]
    fn sample() -> Option<Self> {
        use crate::domain::layout::UnitName;
        let shared = Door::shared();
        let (conf, body) = (
            HostPath::fixed("/etc/hostkit-redis.conf"),
            "ExecStart=/usr/bin/redis-server /etc/hostkit-redis.conf\n",
        );
        let conf = ManagedFile {
            body: format!("databases 1024\naclfile {}\nunixsocket {}\n", shared.users, shared.socket),
            path: conf,
            gid: 0,
            mode: 0o644,
        };
        let unit =
            Unit::new(UnitName::own("redis-server.service.d/hostkit.conf"), body.into(), false, "none");
        Some(Self { door: shared, account: (104, 104), conf, unit, databases: 1024, memory: None })
    }
}
