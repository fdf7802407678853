//! Stateful fakes of the daemons. They outlive a "crash", exactly as the real ones would, and fail
//! with the originals' words. Files are real, under another root.

mod copies;
pub mod objects;
pub mod postgres;
mod redis;

pub use self::redis::Server as RedisServer;
#[cfg(test)]
pub(crate) use self::redis::known as redis_commands;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Account, Accounts, Clock, Host, Net, Nginx, Root, Systemd, Tripwire, UnitStatus, Vault,
    systemd::Postmortem,
};
use crate::domain::{
    fault::{Code, Fault},
    layout::UnitName,
};

/// The key of every fake world.
const MASTER_KEY: &str = "etc/hostkit/master.key";
/// More than a tick of the clock that stamps files.
const TICK: Duration = Duration::from_millis(11);

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
    /// Whether nginx is down.
    pub nginx_down: bool,
    /// Running Redis servers by unit.
    pub redis: BTreeMap<String, redis::Server>,
    /// What Redis servers that do not run have on the disk, by unit.
    pub dumps: BTreeMap<String, BTreeMap<u32, u64>>,
    /// How often systemd read everything again.
    pub reloads: usize,
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
            "etc/nginx/conf.d",
            "etc/logrotate.d",
            "etc/redis",
            "etc/tmpfiles.d",
            "home",
            "run/hostkit",
            "run/systemd/units",
            "usr/bin",
            "var/lib",
            "var/log",
        ] {
            std::fs::create_dir_all(at.join(dir)).expect("the root is a writable directory");
        }
        for program in ["node", "python3", "redis-server", "garage"] {
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
            nginx: Box::new(fake()),
            redis: Box::new(fake()),
            net: Box::new(fake()),
            copies: Box::new(fake()),
            postgres: Box::new(fake()),
            buckets: Box::new(fake()),
            objects: Box::new(fake()),
            vault: Vault::new(self.at.join(MASTER_KEY)),
            clock: Box::new(super::clock::System),
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
    fn invocation(&self, unit: &str) -> PathBuf {
        self.path(&format!("run/systemd/units/invocation:{unit}"))
    }
    /// Leaves the link that systemd keeps for a unit that is up, as old as this moment.
    fn mark_start(&self, unit: &str, number: usize) -> Result<()> {
        use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};
        let link = self.invocation(unit);
        std::os::unix::fs::symlink(format!("{number:032x}"), &link)?;
        let now = Timestamp::now();
        let now = Timespec { tv_sec: now.as_second(), tv_nsec: now.subsec_nanosecond().into() };
        let times = Timestamps { last_access: now, last_modification: now };
        rustix::fs::utimensat(CWD, &link, &times, AtFlags::SYMLINK_NOFOLLOW)?;
        // What is written from here on is stamped later than the start.
        std::thread::sleep(TICK);
        Ok(())
    }
    /// The directory of the release a unit runs.
    fn release(&self, started: &Started) -> PathBuf {
        self.path(&format!("home/{}/{}", started.user, started.app))
    }
}

fn field<'a>(unit: &'a str, name: &str) -> Option<&'a str> {
    unit.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix('='))
}

impl Accounts for Fake {
    fn find(&self, name: &str) -> Result<Option<Account>> {
        Ok(self.world.state().accounts.get(name).map(|(uid, home)| Account {
            name: name.into(),
            uid: *uid,
            gid: *uid,
            home: home.clone(),
            shell: "/bin/bash".into(),
        }))
    }
    fn has_group(&self, name: &str) -> Result<bool> {
        Ok(self.world.state().accounts.contains_key(name))
    }
    fn is_used(&self, id: u32) -> Result<bool> {
        Ok(self.world.state().accounts.values().any(|(uid, _)| *uid == id))
    }
    fn settle(&self) -> Result<()> {
        Ok(())
    }
    fn groups(&self, name: &str) -> Result<Vec<String>> {
        Ok(self.world.state().groups.get(name).cloned().unwrap_or_default())
    }
    fn create(&mut self, account: &Account) -> Result<()> {
        self.effect("useradd", |state| {
            if state.accounts.contains_key(&account.name) {
                bail!("useradd: user '{}' already exists", account.name);
            }
            state.accounts.insert(account.name.clone(), (account.uid, account.home.clone()));
            Ok(())
        })
    }
    fn delete(&mut self, name: &str) -> Result<()> {
        if !self.world.state().accounts.contains_key(name) {
            return Ok(());
        }
        self.effect("userdel", |state| {
            if state.units.values().any(|u| u.user == name) {
                bail!("userdel: user {name} is currently used by process 4711");
            }
            state.accounts.remove(name);
            Ok(())
        })
    }
}

impl Systemd for Fake {
    fn reload(&mut self) -> Result<()> {
        self.effect("daemon-reload", |state| {
            state.reloads += 1;
            state.known.retain(|unit, _| self.path(&format!("etc/systemd/system/{unit}")).exists());
            let drop_in = redis::DROP_IN;
            if self.path(&format!("etc/systemd/system/{drop_in}")).exists() {
                state.known.entry(drop_in.to_owned()).or_default();
            }
            for (unit, body) in &mut state.known {
                *body = std::fs::read_to_string(self.path(&format!("etc/systemd/system/{unit}")))?;
            }
            Ok(())
        })
    }
    fn restart(&mut self, unit: &UnitName) -> Result<()> {
        let name = unit.as_str();
        if name == redis::SHARED {
            return self.effect("restart", |state| self.start_shared_redis(state));
        }
        self.effect("restart", |state| {
            // Like systemd: what is known is not read again without being told.
            let body = match state.known.get(name) {
                Some(body) => body.clone(),
                None => {
                    std::fs::read_to_string(self.path(unit.file().as_path().to_str().unwrap_or_default()))
                        .with_context(|| format!("Unit {name} not found."))?
                }
            };
            state.known.insert(name.into(), body.clone());
            let user = field(&body, "User").unwrap_or("root").to_owned();
            let dynamic = field(&body, "DynamicUser") == Some("yes");
            if user != "root" && !dynamic && !state.accounts.contains_key(&user) {
                bail!("{name}: Main process exited, status=217/USER");
            }
            redis::Server::stop(state, name);
            if let Some(server) = self.start_redis(&body, state.dumps.get(name))? {
                state.redis.insert(name.into(), server);
                let _ = std::fs::remove_file(self.invocation(name));
                state.starts += 1;
                let started = Started { user, body, app: String::new(), port: None };
                state.units.insert(name.into(), started);
                return self.mark_start(name, state.starts);
            }
            let app = std::fs::read_link(self.path(&format!("home/{user}/app"))).unwrap_or_default();
            let env = std::fs::read_to_string(self.path(&format!("home/{user}/.env"))).unwrap_or_default();
            let port =
                env.lines().find_map(|l| l.strip_prefix("PORT=")?.trim_matches(['\'', '"']).parse().ok());
            let started = Started { user, body, app: app.to_string_lossy().into_owned(), port };
            state.units.remove(name);
            let _ = std::fs::remove_file(self.invocation(name));
            if self.release(&started).join("crash").exists() {
                return Err(
                    Fault::new(Code::Unhealthy, format!("`{unit}` does not start: exit status 1")).into()
                );
            }
            state.units.insert(name.into(), started);
            state.starts += 1;
            self.mark_start(name, state.starts)?;
            Ok(())
        })
    }
    fn stop(&mut self, unit: &UnitName) -> Result<()> {
        self.effect("stop", |state| {
            state.units.remove(unit.as_str());
            redis::Server::stop(state, unit.as_str());
            let _ = std::fs::remove_file(self.invocation(unit.as_str()));
            Ok(())
        })
    }
    fn list(&self) -> Result<BTreeMap<String, UnitStatus>> {
        let running = |u: &String| (u.clone(), UnitStatus { active: "active".into(), sub: "running".into() });
        Ok(self.world.state().units.keys().map(running).collect())
    }
    fn postmortem(&self, _unit: &UnitName) -> Result<Postmortem> {
        Ok(Postmortem { result: "exit-code".into(), status: "exit status 1".into() })
    }
    fn verify(&self, unit: &UnitName, text: &str) -> Result<()> {
        if text.contains("ExecStart=") {
            return Ok(());
        }
        bail!(Fault::new(
            Code::InvalidTemplate,
            format!("systemd refuses the unit made from the template: {unit}: Service has no ExecStart=")
        ))
    }
}

impl Fake {
    /// What is on disk for nginx to load.
    fn sites(&self) -> Result<BTreeMap<String, String>> {
        let mut bodies = Vec::new();
        bodies.extend(std::fs::read_to_string(self.path("etc/nginx/conf.d/hostkit.conf")));
        for entry in std::fs::read_dir(self.path("etc/nginx/sites-enabled"))? {
            let target = std::fs::read_link(entry?.path())?;
            bodies.push(
                std::fs::read_to_string(self.path(&target.to_string_lossy()))
                    .context("[emerg] open() failed")?,
            );
        }
        let mut sites = BTreeMap::new();
        for body in bodies {
            if body.contains("BROKEN") {
                let message = "nginx refuses its configuration: [emerg] unknown directive \"BROKEN\"";
                bail!(Fault::new(Code::NginxRefused, message).next("nginx -t"));
            }
            let quoted = |key: &str| body.split(key).nth(1)?.split(['"', ';']).next().map(str::to_owned);
            if let (Some(name), Some(print)) = (quoted("server_name hostkit-"), quoted("return 200 \"")) {
                sites.insert(format!("hostkit-{name}"), print);
            }
        }
        Ok(sites)
    }
}

impl Nginx for Fake {
    fn loaded(&self, site: &str) -> Result<Option<String>> {
        let mut state = self.world.state();
        let answer = state.sites.get(site).filter(|_| !state.nginx_down).cloned();
        // The answer came from an old worker; the new ones take over now.
        if let Some(sites) = state.loading.take() {
            state.sites = sites;
        }
        drop(state);
        self.world.save()?;
        Ok(answer)
    }
    fn is_up(&self) -> bool {
        !self.world.state().nginx_down
    }
    fn is_loading(&self) -> bool {
        self.path("run/hostkit/nginx-loading").exists()
    }
    fn load(&mut self, _domain: Option<&str>) -> Result<()> {
        if self.world.state().nginx_down {
            bail!(Fault::new(Code::ServiceDown, "nginx is not running").next("systemctl start nginx"));
        }
        let sites = self.sites()?;
        let note = self.path("run/hostkit/nginx-loading");
        self.effect("nginx:note", |_| Ok(std::fs::write(&note, "")?))?;
        self.effect("nginx:signal", |state| {
            state.loading = Some(sites.clone());
            Ok(())
        })?;
        self.effect("nginx:loaded", |state| {
            state.loading = None;
            state.sites = sites;
            Ok(())
        })?;
        self.effect("nginx:settled", |_| Ok(std::fs::remove_file(&note)?))
    }
}

impl Net for Fake {
    fn listener(&self, port: u16) -> Result<Option<u32>> {
        let state = self.world.state();
        let app =
            state.units.values().find(|u| u.port == Some(port)).and_then(|u| state.accounts.get(&u.user));
        Ok(state.occupied.get(&port).copied().or(app.map(|(uid, _)| *uid)))
    }
    fn is_exposed(&self, _port: u16) -> Result<bool> {
        Ok(false)
    }
    fn is_free(&self, port: u16) -> bool {
        let state = self.world.state();
        !state.occupied.contains_key(&port) && !state.units.values().any(|u| u.port == Some(port))
    }
    fn get(&self, port: u16, _host: &str, _path: &str, _patience: Duration) -> Result<u16> {
        let state = self.world.state();
        let unit = state.units.values().find(|u| u.port == Some(port)).context("connection refused")?;
        Ok(if self.release(unit).join("unhealthy").exists() { 500 } else { 200 })
    }
    fn ipv6(&self) -> bool {
        true
    }
}

/// A clock that stands still unless somebody waits.
#[derive(Clone, Debug)]
pub struct Stopped(Arc<Mutex<Timestamp>>);

impl Stopped {
    /// A clock that shows `now`.
    pub fn at(now: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(now)))
    }
}

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        *self.0.lock().expect("no holder panics")
    }
    fn elapsed(&self) -> Duration {
        let since_epoch = self.now().duration_since(Timestamp::UNIX_EPOCH);
        since_epoch.try_into().expect("tests do not go before the beginning of time")
    }
    fn sleep(&self, time: Duration) {
        let mut now = self.0.lock().expect("no holder panics");
        *now = now.checked_add(time).expect("tests do not reach the end of time");
    }
}
