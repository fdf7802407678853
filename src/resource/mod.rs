//! What a resource is: four verbs over one thing on the host, and the list of the kinds there are.

mod account;
mod bucket;
mod bucket_key;
mod bucket_swap;
mod cache;
mod cluster;
mod daemon_secrets;
mod database;
mod database_swap;
mod directory;
mod env_file;
mod file;
mod firewall;
mod key_file;
#[cfg(test)]
mod laws;
mod link;
mod log_file;
mod object_store;
mod pair;
mod redis_server;
mod redis_swap;
mod redis_user;
mod release;
mod role;
mod service;
mod site;
mod standing;
mod timer;
mod tree_swap;
mod unit;

use std::fmt::Debug;

use anyhow::Result;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub use self::{
    account::UnixAccount,
    bucket::Bucket,
    bucket_key::BucketKey,
    bucket_swap::BucketSwap,
    cache::Cache,
    cluster::Cluster,
    daemon_secrets::DaemonSecrets,
    database::Database,
    database_swap::DatabaseSwap,
    directory::Directory,
    env_file::EnvFile,
    file::ManagedFile,
    firewall::Firewall,
    key_file::KeyFile,
    link::Link,
    log_file::LogFile,
    object_store::ObjectStore,
    pair::Pair,
    redis_server::RedisServer,
    redis_swap::RedisSwap,
    redis_user::RedisUser,
    release::Release,
    role::Role,
    service::{Health, Service, probe},
    site::Site,
    standing::Standing,
    timer::Timer,
    tree_swap::TreeSwap,
    unit::Unit,
};
use crate::{
    domain::layout::{HostPath, UnitName},
    system::Host,
};

/// How what was found stands to what is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Just so.
    Satisfied,
    /// Not there.
    Missing,
    /// There, but otherwise; the text says how.
    Differs(String),
}

/// One thing on the host that HostKit owns: plain data saying what is wanted, and four verbs.
pub trait Resource: Clone + Debug + Serialize + DeserializeOwned {
    /// Tag in plans, the journal and JSON. Never renamed: old journals carry it.
    const KIND: &'static str;
    /// What was there before. `Default` means "nothing": removing is restoring to nothing.
    type Found: Default + Debug + PartialEq + Serialize + DeserializeOwned;

    /// Unique among resources of this kind.
    fn name(&self) -> String;
    /// Looks. `&Host` cannot write, so a dry run is safe by type.
    fn observe(&self, host: &Host) -> Result<Self::Found>;
    /// Compares. Pure: no host, no clock.
    fn compare(&self, found: &Self::Found) -> State;
    /// Makes it as wanted. May be called again after dying at any point inside itself.
    fn apply(&self, host: &mut Host) -> Result<()>;
    /// Makes it as found. Same rule.
    fn restore(&self, found: &Self::Found, host: &mut Host) -> Result<()>;

    /// Where it lies, for kinds that are files.
    fn place(&self) -> Option<&HostPath> {
        None
    }
    /// For a tree that is moved whole, with everything in it: where it goes.
    fn carries_to(&self) -> Option<&HostPath> {
        None
    }
    /// Places that this one must be renewed after: a process, after what it was started from.
    fn follows(&self) -> &[HostPath] {
        &[]
    }
    /// The process that removing it ends, or making it as wanted, if nobody waits for its answers: others
    /// that are to end may be asked to at the same time.
    fn ends(&self, _removing: bool) -> Option<&UnitName> {
        None
    }
    /// What it is called when whoever looks is told that it was made as wanted, or removed; nothing for what
    /// is only for the record.
    fn title(&self, _removing: bool) -> Option<&'static str> {
        Some(Self::KIND)
    }
    /// A value for the law tests; `None` for a kind that cannot stand alone, with the reason in
    /// `laws.rs`.
    #[cfg(test)]
    fn sample() -> Option<Self>;
}

/// Registers the kinds. One line per kind; everything else is derived from the list.
macro_rules! kinds {
    ($($module:ident :: $Kind:ident),+ $(,)?) => {
        /// Any resource: what plans, the journal and the registry are lists of.
        #[derive(Clone, Debug, Serialize, Deserialize)]
        #[serde(tag = "kind", content = "spec", rename_all = "kebab-case")]
        pub enum Any {
            $(#[doc = concat!("See [`", stringify!($Kind), "`].")] $Kind($module::$Kind)),+
        }
        $(impl From<$module::$Kind> for Any { fn from(r: $module::$Kind) -> Self { Any::$Kind(r) } })+

        impl Any {
            /// Kind and name: unique on a host.
            pub fn id(&self) -> String {
                match self { $(Any::$Kind(r) => format!("{}:{}", <$module::$Kind as Resource>::KIND, r.name())),+ }
            }
            /// The kind's tag.
            pub fn kind(&self) -> &'static str {
                match self { $(Any::$Kind(_) => <$module::$Kind as Resource>::KIND),+ }
            }
            /// Its name among its kind.
            pub fn name(&self) -> String {
                match self { $(Any::$Kind(r) => r.name()),+ }
            }
            /// Looks at the host.
            pub fn observe(&self, host: &Host) -> Result<(State, serde_json::Value)> {
                match self { $(Any::$Kind(r) => {
                    let found = r.observe(host)?;
                    Ok((r.compare(&found), serde_json::to_value(&found)?))
                }),+ }
            }
            /// How `found` stands to what this wants.
            pub fn compare(&self, found: &serde_json::Value) -> Result<State> {
                match self { $(Any::$Kind(r) => Ok(r.compare(&serde_json::from_value(found.clone())?))),+ }
            }
            /// What is found where there is nothing.
            pub fn nothing(&self) -> serde_json::Value {
                match self { $(Any::$Kind(_) =>
                    serde_json::to_value(<<$module::$Kind as Resource>::Found>::default()).expect("plain data")),+ }
            }
            /// Makes it as wanted.
            pub fn apply(&self, host: &mut Host) -> Result<()> {
                match self { $(Any::$Kind(r) => r.apply(host)),+ }
            }
            /// Makes it as found.
            pub fn restore(&self, found: &serde_json::Value, host: &mut Host) -> Result<()> {
                match self { $(Any::$Kind(r) => r.restore(&serde_json::from_value(found.clone())?, host)),+ }
            }
            /// See [`Resource::place`].
            pub fn place(&self) -> Option<&HostPath> {
                match self { $(Any::$Kind(r) => r.place()),+ }
            }
            /// See [`Resource::carries_to`].
            pub fn carries_to(&self) -> Option<&HostPath> {
                match self { $(Any::$Kind(r) => r.carries_to()),+ }
            }
            /// See [`Resource::follows`].
            pub fn follows(&self) -> &[HostPath] {
                match self { $(Any::$Kind(r) => r.follows()),+ }
            }
            /// See [`Resource::title`].
            pub fn title(&self, removing: bool) -> Option<&'static str> {
                match self { $(Any::$Kind(r) => r.title(removing)),+ }
            }
            /// See [`Resource::ends`].
            pub fn ends(&self, removing: bool) -> Option<&UnitName> {
                match self { $(Any::$Kind(r) => r.ends(removing)),+ }
            }
            /// One of each kind that can stand alone, and the kinds that cannot.
            #[cfg(test)]
            pub fn samples() -> (Vec<Any>, Vec<&'static str>) {
                let mut alone = Vec::new();
                let mut dependent = Vec::new();
                $(match <$module::$Kind as Resource>::sample() {
                    Some(sample) => alone.push(Any::from(sample)),
                    None => dependent.push(<$module::$Kind as Resource>::KIND),
                })+
                (alone, dependent)
            }
        }
    };
}

kinds! {
    account::UnixAccount,
    cluster::Cluster,
    role::Role,
    database::Database,
    database_swap::DatabaseSwap,
    bucket::Bucket,
    bucket_key::BucketKey,
    bucket_swap::BucketSwap,
    daemon_secrets::DaemonSecrets,
    object_store::ObjectStore,
    pair::Pair,
    directory::Directory,
    cache::Cache,
    env_file::EnvFile,
    file::ManagedFile,
    firewall::Firewall,
    key_file::KeyFile,
    link::Link,
    log_file::LogFile,
    redis_server::RedisServer,
    redis_user::RedisUser,
    redis_swap::RedisSwap,
    release::Release,
    tree_swap::TreeSwap,
    unit::Unit,
    service::Service,
    timer::Timer,
    site::Site,
    standing::Standing,
}
