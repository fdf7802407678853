//! Stateful fakes of the daemons. They outlive a "crash", exactly as the real ones would, and fail
//! with the originals' words. Files are real, under another root.

mod accounts;
pub mod certificates;
mod clock;
mod copies;
mod firewall;
pub mod objects;
pub mod postgres;
mod programs;
mod redis;
mod systemd;
mod web;

#[cfg(test)]
pub(crate) use self::redis::known as redis_commands;
pub use self::{clock::Stopped, redis::Server as RedisServer};

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Host, Root, Tripwire, Vault};

/// The key of every fake world.
const MASTER_KEY: &str = "etc/hostkit/master.key";

/// What runs: a unit as it was when it started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// The account it runs under.
    pub user: String,
    /// The definition it runs by.
    pub body: String,
    /// Where the `app` link pointed.
    pub app: String,
    /// The port it listens on.
    pub port: Option<u16>,
}

/// The daemons' state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Accounts by name.
    pub accounts: BTreeMap<String, (u32, String)>,
    /// Supplementary groups by account.
    pub groups: BTreeMap<String, Vec<String>>,
    /// Running units by name.
    pub units: BTreeMap<String, Started>,
    /// Definitions that systemd has read, by unit.
    pub known: BTreeMap<String, String>,
    /// Sites that nginx has loaded, by the name they answer to.
    pub sites: BTreeMap<String, String>,
    /// Sites that nginx was told to load; they come into force after its next answer.
    pub loading: Option<BTreeMap<String, String>>,
    /// The database server, if one is installed.
    #[serde(default)]
    pub postgres: Option<postgres::Cluster>,
    /// Ports held by somebody else, with the account.
    pub occupied: BTreeMap<u16, u32>,
    /// The object store.
    pub objects: objects::State,
    /// The commands of builds that were run.
    #[serde(default)]
    pub built: Vec<String>,
    /// HostKit's table of the packet filter.
    #[serde(default)]
    pub firewall: Option<String>,
    /// What names lead to.
    #[serde(default)]
    pub names: BTreeMap<String, std::net::IpAddr>,
    /// What the certificate authority says instead of giving certificates.
    #[serde(default)]
    pub refusal: Option<String>,
    /// Whether visitors believe its certificates.
    #[serde(default)]
    pub believed: bool,
    /// How many certificates it has given.
    #[serde(default)]
    pub certified: u32,
    /// Whether nginx is down.
    pub nginx_down: bool,
    /// Running Redis servers by unit.
    pub redis: BTreeMap<String, redis::Server>,
    /// What Redis servers that do not run have on the disk, by unit.
    pub dumps: BTreeMap<String, BTreeMap<u32, u64>>,
    /// What is run again and again.
    #[serde(default)]
    pub timers: Vec<String>,
    /// Units that were asked to stop at the same time; what was done, and no part of the world.
    #[serde(skip)]
    pub ended_together: Vec<Vec<String>>,
    /// Units whose process has ended without an error, and waits to be started again.
    #[serde(default)]
    pub ended: Vec<String>,
    /// How often systemd had to start a unit again.
    #[serde(default)]
    pub crashes: BTreeMap<String, u32>,
    /// What ran once, as it was called.
    #[serde(default)]
    pub jobs: Vec<Vec<String>>,
    /// How often systemd read everything again.
    pub reloads: usize,
    /// Units that have failed.
    #[serde(default)]
    pub failed: BTreeSet<String>,
    /// How many units have been started.
    pub starts: usize,
}

/// A world of fakes below a directory that stands for `/`.
#[derive(Clone, Debug)]
pub struct World {
    at: PathBuf,
    state: Arc<Mutex<State>>,
    file: Option<PathBuf>,
}

impl World {
    /// A world that lives as long as this value, with the directories a server has.
    pub fn new(at: &Path) -> Self {
        for dir in [
            "etc/systemd/system/multi-user.target.wants",
            "etc/systemd/system/redis-server.service.d",
            "etc/nginx/sites-available",
            "etc/nginx/sites-enabled",
            "var/log/nginx",
            "etc/nginx/conf.d",
            "etc/logrotate.d",
            "etc/redis",
            "etc/tmpfiles.d",
            "home",
            "run/hostkit",
            "run/systemd/units",
            "usr/bin",
            "var/cache/hostkit",
            "var/lib",
            "var/log",
        ] {
            std::fs::create_dir_all(at.join(dir)).expect("the root is a writable directory");
        }
        for program in ["node", "python3", "php-fpm8.2", "redis-server", "garage"] {
            std::fs::write(at.join("usr/bin").join(program), "").expect("the root is a writable directory");
        }
        let key = at.join(MASTER_KEY);
        if !key.exists() {
            std::fs::create_dir_all(at.join("etc/hostkit")).expect("the root is a writable directory");
            std::fs::write(&key, format!("{}\n", "A".repeat(43))).expect("the root is a writable directory");
            let owner = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(&key, owner).expect("it is ours");
        }
        let rules = at.join(postgres::RULES);
        let text = "local all all peer\nhost all all 127.0.0.1/32 scram-sha-256\n";
        if !rules.exists() {
            std::fs::create_dir_all(at.join("etc/postgresql/15/main"))
                .expect("the root is a writable directory");
            std::fs::write(&rules, text).expect("the root is a writable directory");
        }
        let postgres = postgres::Cluster { rules: text.to_owned(), ..postgres::Cluster::default() };
        let mut state = State { postgres: Some(postgres), ..State::default() };
        state.accounts.insert("www-data".into(), (33, "/var/www".into()));
        state.accounts.insert("redis".into(), (104, "/var/lib/redis".into()));
        state.redis.insert(redis::SHARED.into(), redis::Server::fresh());
        Self { at: at.to_owned(), state: Arc::new(Mutex::new(state)), file: None }
    }
    /// A world kept in a file, shared by the processes that open it one after the other.
    pub fn kept(at: &Path) -> Result<Self> {
        let mut world = Self::new(at);
        let file = at.join("world.json");
        if file.exists() {
            world.state = Arc::new(Mutex::new(serde_json::from_slice(&std::fs::read(&file)?)?));
        }
        world.file = Some(file);
        Ok(world)
    }
    /// A host of this world whose every effect crosses `wire`.
    pub fn host(&self, wire: Tripwire) -> Host {
        let fake = || Fake { world: self.clone(), wire: wire.clone() };
        Host {
            root: Root::open(&self.at, wire.clone()).expect("the root exists"),
            accounts: Box::new(fake()),
            systemd: Box::new(fake()),
            firewall: Box::new(fake()),
            certificates: Box::new(fake()),
            nginx: Box::new(fake()),
            redis: Box::new(fake()),
            net: Box::new(fake()),
            programs: Box::new(fake()),
            copies: Box::new(fake()),
            postgres: Box::new(fake()),
            buckets: Box::new(fake()),
            objects: Box::new(fake()),
            vault: Vault::new(self.at.join(MASTER_KEY)),
            clock: Box::new(crate::system::clock::System),
            remarks: Vec::new(),
        }
    }
    /// The daemons' state.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }
    fn save(&self) -> Result<()> {
        if let Some(file) = &self.file {
            std::fs::write(file, serde_json::to_vec_pretty(&*self.state())?)?;
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Fake {
    world: World,
    wire: Tripwire,
}

impl Fake {
    /// One effect: dies before it, or does it and dies after it.
    fn effect(&self, what: &str, change: impl FnOnce(&mut State) -> Result<()>) -> Result<()> {
        self.wire.cross(&format!("{what}:before"))?;
        change(&mut self.world.state())?;
        self.world.save()?;
        self.wire.cross(&format!("{what}:after"))
    }
    fn path(&self, path: &str) -> PathBuf {
        self.world.at.join(path.trim_start_matches('/'))
    }
    /// The directory of the release a unit runs.
    fn release(&self, started: &Started) -> PathBuf {
        self.path(&format!("home/{}/{}", started.user, started.app))
    }
}
