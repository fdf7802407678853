//! A small world: a root below a temporary directory, fakes for its daemons, and a clock that stands.

use std::{
    collections::BTreeMap,
    io::Cursor,
    path::{Path, PathBuf},
};

use anyhow::Result;

use crate::{
    domain::{
        layout::{self, HostPath},
        secret::Secret,
    },
    event::{Event, Silent, Ui},
    operation::{
        database,
        deploy::{Deployed, Upload, deploy},
        environment,
        init::{Setup, init},
        lifecycle::{Farewell, Power, delete, power, purge, restore},
        provision::{Ask, Wish, provision},
        redis::{Asked, Takeover},
        rollback::{With, rollback},
        scale::{Count, scale},
        secrets,
        session::{Mode, Outcome, Session},
    },
    plan::Foreign,
    project::template::Templates,
    store::Store,
    system::{
        Host, Tripwire,
        fake::{Stopped, World},
        postgres::Question,
        source::Stream,
    },
};

/// The second every command of these tests runs in; later than any file they write.
pub(super) const NOW: &str = "2096-11-20T08:02:31Z";

/// A world in a directory of its own.
pub(super) struct Scene {
    dir: tempfile::TempDir,
    pub(super) world: World,
}

/// Something done to a world.
pub(super) type Act = fn(&mut Session<'_>) -> Result<()>;

impl Scene {
    /// A host that has not been set up.
    pub(super) fn bare() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let world = World::new(dir.path());
        Self { dir, world }
    }
    /// A host that has been set up.
    pub(super) fn new() -> Self {
        let scene = Self::bare();
        scene.act(|s| init(s, &setup(None)).map(drop)).unwrap();
        scene
    }
    /// The world after these acts.
    pub(super) fn after(acts: &[Act]) -> Self {
        let scene = Self::new();
        for act in acts {
            scene.act(act).unwrap();
        }
        scene
    }
    /// A copy that can be broken.
    pub(super) fn copy(&self) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut cp = std::process::Command::new("cp");
        assert!(cp.arg("-a").arg(self.path().join(".")).arg(dir.path()).status().unwrap().success());
        let world = World::new(dir.path());
        world.state().clone_from(&self.world.state());
        Self { dir, world }
    }
    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }
    pub(super) fn real(&self, path: &str) -> PathBuf {
        self.path().join(path.trim_start_matches('/'))
    }
    pub(super) fn host(&self, wire: Tripwire) -> Host {
        let mut host = self.world.host(wire);
        host.clock = Box::new(Stopped::at(NOW.parse().unwrap()));
        host
    }
    fn store(&self, wire: Tripwire) -> Result<Store> {
        Store::open(&self.real("/var/lib/hostkit/registry.db"), wire)
    }
    /// One command, by a new process.
    pub(super) fn act<T>(&self, act: impl FnOnce(&mut Session<'_>) -> Result<T>) -> Result<T> {
        self.act_wired(Tripwire::default(), Mode::Run, act)
    }
    /// One command that dies when it crosses the wire.
    pub(super) fn act_wired<T>(
        &self,
        wire: Tripwire,
        mode: Mode,
        act: impl FnOnce(&mut Session<'_>) -> Result<T>,
    ) -> Result<T> {
        self.run(wire, mode, &mut Silent, act)
    }
    /// One command that somebody listens to.
    pub(super) fn act_heard<T>(
        &self,
        ui: &mut dyn Ui,
        mode: Mode,
        act: impl FnOnce(&mut Session<'_>) -> Result<T>,
    ) -> Result<T> {
        self.run(Tripwire::default(), mode, ui, act)
    }
    /// One command, so many seconds later.
    pub(super) fn act_later<T>(
        &self,
        seconds: i64,
        act: impl FnOnce(&mut Session<'_>) -> Result<T>,
    ) -> Result<T> {
        self.act(|session| {
            let at: jiff::Timestamp = NOW.parse()?;
            session.host.clock = Box::new(Stopped::at(at + jiff::SignedDuration::from_secs(seconds)));
            act(session)
        })
    }
    fn run<T>(
        &self,
        wire: Tripwire,
        mode: Mode,
        ui: &mut dyn Ui,
        act: impl FnOnce(&mut Session<'_>) -> Result<T>,
    ) -> Result<T> {
        std::fs::create_dir_all(self.real("/var/lib/hostkit"))?;
        let mut session = Session {
            host: self.host(wire.clone()),
            store: self.store(wire)?,
            ui,
            templates: Templates::new(&[])?,
            caller: "root".into(),
            mode,
            planned: None,
            recovered: 0,
            patience: std::time::Duration::ZERO,
        };
        act(&mut session)
    }
    /// What a later command does first; it may die too.
    pub(super) fn recover(&self, wire: Tripwire) -> Result<()> {
        self.act_wired(wire, Mode::Run, |s| s.enter("blog", "look").map(drop))
    }
    /// Everything that an operation must leave as it was or as it was to become: every file with its
    /// mode and owner, the daemons' state, and the registry. Not the trash, not the history.
    pub(super) fn snapshot(&self) -> Snapshot {
        let mut files = BTreeMap::new();
        walk(self.path(), self.path(), &mut files);
        let mut state = self.world.state().clone();
        // Counters, and systemd's memory of files, which only shows in what it starts.
        (state.reloads, state.starts) = (0, 0);
        state.built.clear();
        state.known.clear();
        state.jobs.clear();
        state.timers.clear();
        state.certified = 0;
        // What nobody can have back any more, and `gc` comes for.
        if let Some(cluster) = &mut state.postgres {
            cluster.roles.retain(|name, _| !name.contains("_gone_"));
            cluster.databases.retain(|name, _| !name.contains("_gone_"));
        }
        // And what a restore has loaded, or replaced, in the database that is for that.
        for server in state.redis.values_mut() {
            server.keys.remove(&server.settings.databases.saturating_sub(1));
            server.marked.clear();
        }
        state.objects = state.objects.tidied();
        for text in files.values_mut() {
            *text = masked(text);
        }
        let state = masked(&serde_json::to_string_pretty(&state).unwrap());
        Snapshot { files, state, registry: masked(&self.registry()) }
    }
    fn registry(&self) -> String {
        let db = rusqlite::Connection::open(self.real("/var/lib/hostkit/registry.db")).unwrap();
        let mut text = String::new();
        for sql in [
            "SELECT owner || resources FROM owned ORDER BY owner",
            "SELECT name || uid || port || spec FROM project ORDER BY name",
            "SELECT uid || id || state || coalesce(env, '') FROM release WHERE state <> 'failed' ORDER BY uid, id",
            "SELECT uid || ' ' || version || text FROM environment ORDER BY uid, version",
            "SELECT uid || name || version || value FROM secret ORDER BY uid, name, version",
            "SELECT uid || name || expires_at FROM trash ORDER BY uid",
        ] {
            let mut query = db.prepare(sql).unwrap();
            for row in query.query_map([], |r| r.get::<_, String>(0)).unwrap() {
                text.push_str(&row.unwrap());
                text.push('\n');
            }
        }
        text
    }
}

/// A world, to be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) files: BTreeMap<String, String>,
    state: String,
    registry: String,
}

impl Snapshot {
    /// Everything but the files.
    pub(super) fn rest(&self) -> (&str, &str) {
        (&self.state, &self.registry)
    }
}

/// Without passwords, sealed secrets, sums and keys: they are other ones each time. Whether they belong
/// together, `doctor` says.
fn masked(text: &str) -> String {
    const SHORTEST: usize = 32;
    const KEY: usize = 26;
    let part_of_one = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    // What a database's password is compared with has signs in it that end a word.
    let mark = "SCRAM-SHA-256$";
    let mut parts = text.split(mark);
    let first = parts.next().unwrap_or_default().to_owned();
    let text =
        parts.fold(first, |all, part| all + mark + &part[part.find(['"', '\\']).unwrap_or(part.len())..]);
    let mut rest = text.as_str();
    let mut all = String::new();
    while !rest.is_empty() {
        let word = &rest[..rest.find(|c| !part_of_one(c)).unwrap_or(rest.len())];
        let key = word.len() == KEY && word.starts_with("GK");
        all.push_str(if key || (word.len() >= SHORTEST && !word.contains("hostkit")) { "…" } else { word });
        rest = &rest[word.len()..];
        let gap = rest.find(part_of_one).unwrap_or(rest.len());
        all.push_str(&rest[..gap]);
        rest = &rest[gap..];
    }
    all
}

fn walk(root: &Path, at: &Path, into: &mut BTreeMap<String, String>) {
    use std::os::unix::fs::MetadataExt;
    for entry in std::fs::read_dir(at).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("/{}", path.strip_prefix(root).unwrap().display());
        let unimportant = [
            "/run/systemd",
            "/run/hostkit/locks/",
            "/run/hostkit/vouched:",
            "/var/lib/hostkit/",
            "/home/.hostkit-trash/",
            "/etc/hostkit/tls/.",
            "/var/log/projects/.trash/",
        ];
        // A key that was taken away is kept aside, as in a trash.
        if unimportant.iter().any(|u| name.starts_with(u))
            // What a build wrote is kept, whatever came of it.
            || name.starts_with("/var/log/projects/") && name.contains("/builds/")
            || Path::new(&name).extension().is_some_and(|e| e == "gone")
        {
            continue;
        }
        let meta = path.symlink_metadata().unwrap();
        let mut what = format!("{:o} {}:{}", meta.mode(), meta.uid(), meta.gid());
        if meta.is_symlink() {
            what = std::fs::read_link(&path).unwrap().display().to_string();
        } else if meta.is_file() {
            what = format!("{what} {}", String::from_utf8_lossy(&std::fs::read(&path).unwrap()));
        } else {
            walk(root, &path, into);
        }
        into.insert(name, what);
    }
}

/// An archive of these files.
pub(super) fn archive(files: &[(&str, &str)]) -> Cursor<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, text) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
    Cursor::new(tar.into_inner().unwrap())
}

/// Deploys these files to `blog`.
pub(super) fn put(session: &mut Session<'_>, files: &[(&str, &str)]) -> Result<(Outcome, Deployed)> {
    let mut stream = Stream(archive(files));
    let mut upload = Upload { override_rails: true, ..Upload::new(&mut stream, "a test".into()) };
    deploy(session, &"blog".parse()?, &mut upload)
}

pub(super) fn wish(name: &str) -> Wish {
    Wish {
        name: name.parse().unwrap(),
        runtime: None,
        framework: None,
        start: None,
        port: None,
        redis: Some(Asked::Any),
        database: true,
        foreign: Foreign::Refuse,
        storage: Ask::IfThere,
        backups: false,
        quota: None,
    }
}

/// A host for projects below `example.test`, with this object store.
pub(super) fn setup(store: Option<HostPath>) -> Setup {
    Setup {
        base_domain: Some("example.test".parse().unwrap()),
        takeover: Takeover::Unused,
        store,
        ..Setup::default()
    }
}
/// Gives the host an object store of its own.
pub(super) fn stored(session: &mut Session<'_>) -> Result<()> {
    init(session, &setup(Some(HostPath::fixed("/usr/local/bin/garage")))).map(drop)
}

pub(super) fn provisioned(session: &mut Session<'_>) -> Result<()> {
    provision(session, &wish("blog")).map(drop)
}
pub(super) fn deployed(session: &mut Session<'_>) -> Result<()> {
    put(session, &[("index.js", "1"), ("package.json", "{}")]).map(drop)
}
/// Another release, with another start command and a directory to share: its unit changes.
pub(super) fn deployed_otherwise(session: &mut Session<'_>) -> Result<()> {
    let toml = "start = 'node other.js'\nshared = ['uploads']\n";
    put(session, &[("index.js", "2"), ("other.js", ""), ("package.json", "{}"), ("hostkit.toml", toml)])
        .map(drop)
}
pub(super) fn deployed_static(session: &mut Session<'_>) -> Result<()> {
    put(session, &[("index.html", "3"), ("hostkit.toml", "runtime = 'static'")]).map(drop)
}
/// A release with a worker and something that runs every night.
pub(super) fn deployed_with_worker(session: &mut Session<'_>) -> Result<()> {
    let toml = "[processes]\nworker = 'node worker.js'\n\
                tidy = { cron = '@daily', command = 'node tidy.js' }\n";
    let files = [
        ("index.js", "4"),
        ("worker.js", ""),
        ("tidy.js", ""),
        ("package.json", "{}"),
        ("hostkit.toml", toml),
    ];
    put(session, &files).map(drop)
}
/// A release of which there must be only one at a time.
pub(super) fn deployed_alone(session: &mut Session<'_>) -> Result<()> {
    put(session, &[("index.js", "5"), ("package.json", "{}"), ("hostkit.toml", "strategy = 'restart'")])
        .map(drop)
}
pub(super) fn scaled_up(session: &mut Session<'_>) -> Result<()> {
    scaled(session, 3, 2)
}
pub(super) fn scaled_down(session: &mut Session<'_>) -> Result<()> {
    scaled(session, 1, 1)
}
fn scaled(session: &mut Session<'_>, web: u16, worker: u16) -> Result<()> {
    let count = |kind: &str, number| Count { kind: kind.to_owned(), number };
    scale(session, &"blog".parse()?, &[count("web", web), count("worker", worker)]).map(drop)
}
/// Another release that changes its database first.
pub(super) fn deployed_built(session: &mut Session<'_>) -> Result<()> {
    built(session, "[['write', 'lib/made.js', 'one'], ['say', 'hello']]").map(drop)
}
pub(super) fn deployed_built_otherwise(session: &mut Session<'_>) -> Result<()> {
    built(session, "[['write', 'lib/made.js', 'two'], ['write', 'more.js', 'x']]").map(drop)
}
/// Deploys a source that these commands build.
pub(super) fn built(session: &mut Session<'_>, commands: &str) -> Result<(Outcome, Deployed)> {
    let toml = format!("start = 'node index.js'\nbuild = {commands}\n");
    put(session, &[("index.js", "3"), ("package.json", "{}"), ("hostkit.toml", &toml)])
}
pub(super) fn deployed_migrated(session: &mut Session<'_>) -> Result<()> {
    let toml = "start = 'node index.js'\nrelease = 'node migrate.js'\n";
    put(session, &[("index.js", "3"), ("package.json", "{}"), ("hostkit.toml", toml)]).map(drop)
}
pub(super) fn rolled_back(session: &mut Session<'_>) -> Result<()> {
    rollback(session, &"blog".parse()?, None, With::Its).map(drop)
}
pub(super) fn stopped(session: &mut Session<'_>) -> Result<()> {
    power(session, &"blog".parse()?, Power::Stop).map(drop)
}
pub(super) fn restarted(session: &mut Session<'_>) -> Result<()> {
    power(session, &"blog".parse()?, Power::Restart).map(drop)
}
pub(super) fn deleted(session: &mut Session<'_>) -> Result<()> {
    delete(session, &"blog".parse()?, Farewell::WHOLE).map(drop)
}
pub(super) fn brought_back(session: &mut Session<'_>) -> Result<()> {
    restore(session, &"blog".parse()?).map(drop)
}
pub(super) fn purged(session: &mut Session<'_>) -> Result<()> {
    purge(session, &"blog".parse()?).map(drop)
}

/// Writes something into the database of `blog`, as its process would.
pub(super) fn written(session: &mut Session<'_>) -> Result<()> {
    let spec = session.project(&"blog".parse()?)?.spec;
    let who = database::login(session, &spec)?;
    let question = Question { sql: "INSERT INTO t VALUES (1)".into(), limit: 1, write: true };
    session.host.postgres.ask(&who, &question).map(drop)
}
/// Provisions a project of this name, without services.
pub(super) fn provision_named(session: &mut Session<'_>, name: &str) -> Result<()> {
    provision(session, &Wish { database: false, redis: None, ..wish(name) }).map(drop)
}
pub(super) fn provisioned_bare(session: &mut Session<'_>) -> Result<()> {
    provision(session, &Wish { database: false, redis: None, ..wish("blog") }).map(drop)
}
pub(super) fn database_made(session: &mut Session<'_>) -> Result<()> {
    database::create(session, &"blog".parse()?).map(drop)
}
pub(super) fn database_gone(session: &mut Session<'_>) -> Result<()> {
    database::delete(session, &"blog".parse()?, true).map(drop)
}
pub(super) fn rotated(session: &mut Session<'_>) -> Result<()> {
    database::rotate(session, &"blog".parse()?, false).map(drop)
}
/// Sets a variable, or gives it another value.
pub(super) fn env_set(session: &mut Session<'_>) -> Result<()> {
    let terms = environment::Terms { verb: "env set", restart: true, loader: false, seen: None };
    environment::change(session, &"blog".parse()?, &terms, |part, _| {
        let mut text = part.clone();
        let key = "COLOUR".parse()?;
        let value = if text.get(&key) == Some("red") { "blue" } else { "red" };
        text.set(&key, value)?;
        Ok(text)
    })
    .map(drop)
}
pub(super) fn secret_set(session: &mut Session<'_>) -> Result<()> {
    let terms = secrets::Terms { verb: "secrets set", keep: false, loader: false };
    secrets::set(session, &"blog".parse()?, &[("TOKEN".parse()?, Secret::new("poison"))], terms).map(drop)
}
pub(super) fn secret_unset(session: &mut Session<'_>) -> Result<()> {
    secrets::unset(session, &"blog".parse()?, &["TOKEN".parse()?]).map(drop)
}
pub(super) fn injected(session: &mut Session<'_>) -> Result<()> {
    environment::inject(session, &"blog".parse()?, true).map(drop)
}

/// Hears warnings.
#[derive(Default)]
pub(super) struct Warnings(pub(super) Vec<String>);

impl Ui for Warnings {
    fn emit(&mut self, event: Event<'_>) {
        if let Event::Warned { message } = event {
            self.0.push(message.to_owned());
        }
    }
}

/// What HostKit has in its trash.
pub(super) fn trash(scene: &Scene) -> Vec<String> {
    let host = scene.host(Tripwire::default());
    let mut all = host.root.list(&layout::host::home_trash()).unwrap();
    all.extend(host.root.list(&layout::host::log_trash()).unwrap());
    all
}
