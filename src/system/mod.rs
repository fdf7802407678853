//! The host: the only floor that performs effects. `&Host` can look, `&mut Host` can touch.
//!
//! Knows the operating system and the daemons on it, and nothing of what HostKit is for.
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "this is the floor that does it")]

pub mod accounts;
pub mod archive;
pub mod backup;
pub mod build;
pub mod certificates;
pub mod clock;
pub mod deploy_key;
pub mod editor;
pub mod exec;
#[cfg(any(test, feature = "fake"))]
pub mod fake;
pub mod firewall;
pub mod fs;
pub mod invoker;
pub mod job;
pub mod lock;
pub mod net;
pub mod nginx;
pub mod objects;
pub mod postgres;
pub mod process;
pub mod programs;
pub mod redis;
pub mod seal;
pub mod source;
pub mod systemd;
pub mod tree;
pub mod tripwire;
pub mod vault;

use std::fmt;

use anyhow::Result;

use crate::domain::layout::{self, HostPath};

pub use self::{
    accounts::{Account, Accounts},
    backup::Copies,
    certificates::Certificates,
    clock::Clock,
    firewall::Firewall,
    fs::{Attr, FileKind, Fresh, Meta, Root},
    job::{End, Job},
    lock::Lock,
    net::{Net, Script},
    nginx::Nginx,
    objects::{Buckets, Objects},
    postgres::Postgres,
    programs::Programs,
    redis::Redis,
    systemd::{Systemd, UnitStatus},
    tripwire::Tripwire,
    vault::Vault,
};

/// Everything a command may look at (`&`) or touch (`&mut`).
pub struct Host {
    /// Files.
    pub root: Root,
    /// Linux accounts.
    pub accounts: Box<dyn Accounts>,
    /// The service manager.
    pub systemd: Box<dyn Systemd>,
    /// The packet filter.
    pub firewall: Box<dyn Firewall>,
    /// Certificates: where they come from, and what they say.
    pub certificates: Box<dyn Certificates>,
    /// The web server.
    pub nginx: Box<dyn Nginx>,
    /// Redis servers.
    pub redis: Box<dyn Redis>,
    /// What listens, and what answers.
    pub net: Box<dyn Net>,
    /// The programs that are installed.
    pub programs: Box<dyn Programs>,
    /// Copies of what projects store.
    pub copies: Box<dyn Copies>,
    /// The database server.
    pub postgres: Box<dyn Postgres>,
    /// The host's own object store: buckets, and the keys to them.
    pub buckets: Box<dyn Buckets>,
    /// What lies in buckets, wherever they are.
    pub objects: Box<dyn Objects>,
    /// Secrets.
    pub vault: Vault,
    /// Time.
    pub clock: Box<dyn Clock>,
    /// What was seen on the way and is worth a word: whoever carries out a plan tells it.
    pub remarks: Vec<Remark>,
}

/// Something that was seen while something was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// What it is about, in a word.
    pub what: &'static str,
    /// What was seen.
    pub detail: String,
    /// How long it took.
    pub took: std::time::Duration,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("root", &self.root).finish_non_exhaustive()
    }
}

impl Host {
    /// The machine this process runs on.
    pub fn real() -> Result<Self> {
        Ok(Self {
            root: Root::open("/".as_ref(), Tripwire::default())?,
            accounts: Box::new(accounts::Shadow),
            systemd: Box::new(systemd::Systemctl),
            firewall: Box::new(firewall::Nft),
            certificates: Box::new(certificates::Programs),
            nginx: Box::new(nginx::Running),
            redis: Box::new(redis::Servers::default()),
            net: Box::new(net::Loopback),
            programs: Box::new(programs::Installed),
            copies: Box::new(backup::Programs),
            postgres: Box::new(postgres::Server::default()),
            buckets: Box::new(objects::Garage::new(
                layout::host::store_secrets().as_path().to_owned(),
                objects::ADMIN_PORT,
            )),
            objects: Box::new(objects::S3::default()),
            vault: Vault::new(layout::host::master_key().as_path().to_owned()),
            clock: Box::new(clock::System),
            remarks: Vec::new(),
        })
    }
}

impl Host {
    /// Holds one of the host's daemons for a change that others must not meet half-way: `nginx`, or
    /// `systemd`. Short, and waited for.
    pub fn hold(&self, daemon: &str) -> Result<Lock> {
        Lock::wait(&self.root.real(&layout::host::locks()), &format!(".{daemon}"), daemon, &*self.clock)
    }

    /// Where a program of the distribution's, or of the administrator's, is installed.
    pub fn locate(&self, program: &str) -> Result<Option<HostPath>> {
        for dir in ["/usr/local/bin", "/usr/bin", "/usr/sbin"] {
            let path = HostPath::fixed(dir).join(program);
            if self.root.meta(&path)?.is_some() {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }
}
