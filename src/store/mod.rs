//! The registry and the write-ahead journal: one SQLite file, so that they commit together.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "SQLite wants a path, and its copies are files"
)]

mod addresses;
mod environment;
mod journal;
mod registry;

use std::{
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use rusqlite::{Connection, OpenFlags, TransactionBehavior, backup::Backup};

pub use self::{
    addresses::Attempt,
    environment::{EnvironmentRow, SecretRow},
    journal::{OpenOperation, OperationRow, Work},
    registry::{ProjectRow, Registry, ReleaseRow, TrashRow},
};
use crate::{
    domain::fault::{Code, Fault},
    system::Tripwire,
};

/// The steps from an empty file to the schema of this version.
const MIGRATIONS: &[&str] =
    &[include_str!("001.sql"), include_str!("002.sql"), include_str!("003.sql"), include_str!("004.sql")];
/// How long to wait for another process's commit.
const PATIENCE: Duration = Duration::from_secs(10);

/// The open file.
#[derive(Debug)]
pub struct Store {
    db: Connection,
    wire: Tripwire,
}

impl Store {
    /// Opens the file, makes it if there is none, and brings it to this version's schema.
    pub fn open(at: &Path, wire: Tripwire) -> Result<Self> {
        let existed = at.exists();
        if !existed {
            let mode =
                std::fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(at);
            mode.with_context(|| format!("making the registry `{}`", at.display()))?;
        }
        let mut store = Self::connect(at, OpenFlags::SQLITE_OPEN_READ_WRITE, wire)?;
        // TRUNCATE and FULL: what was said to be done survives a power cut, and a nearly full disk
        // kills nobody (WAL would, with a signal).
        store.db.execute_batch("PRAGMA journal_mode = TRUNCATE; PRAGMA synchronous = FULL;")?;
        store.migrate(at, existed, MIGRATIONS)?;
        Ok(store)
    }

    /// Opens the file for looking, and leaves it as it is; `None` when there is none yet. One of an older
    /// version is looked at as it will be: a copy in memory is brought to this version.
    pub fn look(at: &Path) -> Result<Option<Self>> {
        if !at.exists() {
            return Ok(None);
        }
        // Not read-only: what a killed writer left must be rolled back before it can be read.
        let store = Self::connect(at, OpenFlags::SQLITE_OPEN_READ_WRITE, Tripwire::default())?;
        match store.version()? {
            0 => Err(damaged("it is empty").into()),
            version if version < MIGRATIONS.len() => {
                let mut copy = Self { db: Connection::open_in_memory()?, wire: Tripwire::default() };
                Backup::new(&store.db, &mut copy.db)
                    .and_then(|backup| backup.run_to_completion(i32::MAX, Duration::ZERO, None))
                    .context("reading the registry")?;
                copy.migrate(Path::new(""), false, MIGRATIONS)?;
                Ok(Some(copy))
            }
            _ => Ok(Some(store)),
        }
    }

    /// A registry of nothing, in memory: for asking what would be done on a new host.
    pub fn empty() -> Result<Self> {
        let mut store = Self { db: Connection::open_in_memory()?, wire: Tripwire::default() };
        store.migrate(Path::new(""), false, MIGRATIONS)?;
        Ok(store)
    }

    fn connect(at: &Path, flags: OpenFlags, wire: Tripwire) -> Result<Self> {
        let db = Connection::open_with_flags(at, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .with_context(|| format!("opening the registry `{}`", at.display()))?;
        db.busy_timeout(PATIENCE)?;
        db.execute_batch("PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;")
            .with_context(|| format!("reading the registry `{}`", at.display()))?;
        Ok(Self { db, wire })
    }

    fn version(&self) -> Result<usize> {
        let version = user_version(&self.db)?;
        if version > MIGRATIONS.len() {
            let known = MIGRATIONS.len();
            return Err(Fault::new(
                Code::RegistryNewer,
                format!("the registry has version {version}, this program knows {known}"),
            )
            .next("install the newer hostkit again: `hostkit --version`")
            .into());
        }
        Ok(version)
    }

    fn migrate(&mut self, at: &Path, existed: bool, steps: &[&str]) -> Result<()> {
        let version = self.version()?;
        if existed && version == 0 {
            return Err(damaged("it is empty").into());
        }
        if version >= steps.len() {
            return Ok(());
        }
        if existed && version > 0 {
            self.copy(&at.with_extension(format!("v{version}.db")))?;
        }
        let tx = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Another process may have done it while we waited.
        let version = user_version(&tx)?;
        for step in &steps[version..] {
            tx.execute_batch(step)?;
        }
        tx.pragma_update(None, "user_version", i64::try_from(steps.len())?)?;
        tx.commit().context("bringing the registry to this version")
    }

    /// Writes a complete copy beside the file.
    fn copy(&self, to: &Path) -> Result<()> {
        let new: PathBuf = to.with_extension("new");
        let _ = std::fs::remove_file(&new);
        self.db.execute("VACUUM INTO ?1", [new.to_string_lossy()]).context("copying the registry")?;
        std::fs::File::open(&new)?.sync_all()?;
        std::fs::rename(&new, to).context("keeping a copy of the registry")
    }

    /// What SQLite finds wrong with the file; empty when nothing.
    pub fn integrity(&self) -> Result<Vec<String>> {
        let mut query = self.db.prepare("PRAGMA integrity_check")?;
        let lines: Vec<String> = query.query_map([], |r| r.get(0))?.collect::<std::result::Result<_, _>>()?;
        Ok(lines.into_iter().filter(|l| l != "ok").collect())
    }
}

fn damaged(why: &str) -> Fault {
    let at = crate::domain::layout::host::registry();
    Fault::new(Code::RegistryDamaged, format!("the registry `{at}` cannot be used: {why}"))
        .next(format!("put a copy back, or move `{at}` away and begin anew with `hostkit init`"))
}

/// What an error of SQLite's means to a caller: the disk, another process, or the file.
pub fn understand(error: &anyhow::Error) -> Option<Fault> {
    use rusqlite::ErrorCode;
    let code = error.chain().find_map(|e| e.downcast_ref::<rusqlite::Error>())?.sqlite_error_code()?;
    match code {
        ErrorCode::DiskFull => {
            Some(Fault::new(Code::DiskFull, "the disk is full: the registry cannot be written").next("df -h"))
        }
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Some(
            Fault::new(Code::Busy, "the registry is held by another process")
                .next("try again when it has ended"),
        ),
        ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt => Some(damaged(&format!("{error:#}"))),
        _ => None,
    }
}

fn user_version(db: &Connection) -> Result<usize> {
    let version: i64 =
        db.query_row("PRAGMA user_version", [], |r| r.get(0)).context("reading the registry")?;
    Ok(usize::try_from(version)?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::resource::Any;

    #[test]
    fn a_registry_of_a_newer_version_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("registry.db");
        Store::open(&at, Tripwire::default()).unwrap().db.pragma_update(None, "user_version", 99).unwrap();
        let before = std::fs::read(&at).unwrap();
        let error = Store::open(&at, Tripwire::default()).unwrap_err();
        assert_eq!(error.downcast_ref::<Fault>().unwrap().code, Code::RegistryNewer);
        assert_eq!(std::fs::read(&at).unwrap(), before);
    }

    #[test]
    fn the_file_is_for_root_alone_and_opening_it_again_changes_nothing() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("registry.db");
        drop(Store::open(&at, Tripwire::default()).unwrap());
        assert_eq!(std::fs::metadata(&at).unwrap().permissions().mode() & 0o777, 0o600);
        let before = std::fs::read(&at).unwrap();
        drop(Store::open(&at, Tripwire::default()).unwrap());
        assert_eq!(std::fs::read(&at).unwrap(), before);
    }

    #[test]
    fn a_migration_keeps_a_copy_of_what_was_there_and_one_that_fails_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("registry.db");
        let mut store = Store::open(&at, Tripwire::default()).unwrap();
        store.change(|r| r.set("kept", "yes")).unwrap();
        let now = MIGRATIONS.len();
        let with = |last| [MIGRATIONS, &[last]].concat();
        let broken = with("CREATE TABLE more (x TEXT) STRICT; nonsense;");
        store.migrate(&at, true, &broken).unwrap_err();
        assert_eq!(store.version().unwrap(), now);
        store.migrate(&at, true, &with("CREATE TABLE more (x TEXT) STRICT;")).unwrap();
        assert_eq!(user_version(&store.db).unwrap(), now + 1);
        assert_eq!(store.setting("kept").unwrap().as_deref(), Some("yes"));
        let copy = Store::connect(
            &dir.path().join(format!("registry.v{now}.db")),
            OpenFlags::SQLITE_OPEN_READ_ONLY,
            Tripwire::default(),
        );
        let copy = copy.unwrap();
        assert_eq!((copy.version().unwrap(), copy.setting("kept").unwrap().as_deref()), (now, Some("yes")));
    }

    /// A registry as version 1 left it: a project with two releases.
    fn first(at: &Path) {
        let db = Connection::open(at).unwrap();
        db.execute_batch(MIGRATIONS[0]).unwrap();
        let spec = r#"{"name":"blog","uid":2000,"port":8001,"domain":"blog.example.test","web":[33,33],
            "ipv6":true,"asked":null,"start":null,"running":true,"live":null,
            "kept":["20261120-080231","20261120-080232"],"lineage":["20261120-080231","20261120-080232"],
            "shared":[]}"#;
        let launch = r#"{"runtime":"static","exec":null,"workdir":"app","web_root":null,"spa":false,
            "health_path":null,"health_timeout":60}"#;
        db.execute("INSERT INTO project VALUES ('blog', 2000, 8001, ?1, 'then', 'ana')", [spec]).unwrap();
        db.execute(
            "INSERT INTO release VALUES (2000, '20261120-080232', 'live', ?1, 'a test', 1, 2, 'then', 'ana')",
            [launch],
        )
        .unwrap();
        db.execute("INSERT INTO setting VALUES ('base_domain', 'example.test')", []).unwrap();
        db.execute("INSERT INTO owned VALUES ('blog', ?1)", [include_str!("owned-v1.json")]).unwrap();
        db.pragma_update(None, "user_version", 1).unwrap();
    }

    fn second(store: &Store) {
        let spec = store.project(&"blog".parse().unwrap()).unwrap().unwrap().spec;
        assert_eq!(spec.lineage[0].release.as_str(), "20261120-080231");
        assert_eq!((spec.lineage.len(), spec.lineage[1].env, spec.env), (2, None, None));
        assert_eq!(store.releases(2000).unwrap()[0].env, None);
        assert!(store.environments(2000).unwrap().is_empty() && store.secrets(2000).unwrap().is_empty());
        let kinds: Vec<&str> = store.owned("blog").unwrap().iter().map(Any::kind).collect();
        let wanted = "account directory directory env log file release link unit service site";
        assert_eq!(kinds.join(" "), wanted, "what version 1 owned is owned still");
    }

    #[test]
    fn a_registry_of_version_1_is_looked_at_without_being_changed_and_is_kept_when_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("registry.db");
        first(&at);
        let before = std::fs::read(&at).unwrap();
        second(&Store::look(&at).unwrap().unwrap());
        assert_eq!(std::fs::read(&at).unwrap(), before);
        second(&Store::open(&at, Tripwire::default()).unwrap());
        assert!(dir.path().join("registry.v1.db").exists());
        assert_eq!(Store::look(&at).unwrap().unwrap().version().unwrap(), MIGRATIONS.len());
    }
}
