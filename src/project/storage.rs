//! A project's object storage: a bucket of its own in the host's store, or one at any S3 provider.

use serde::{Deserialize, Serialize};

use super::{DataService, ProjectSpec, service::SANDBOX};
use crate::{
    domain::{
        env::EnvKey,
        layout::{HostPath, host},
        name::ProjectName,
        secret::Sealed,
    },
    resource::{Any, Bucket, BucketKey, DaemonSecrets, ManagedFile, ObjectStore, Unit},
    system::objects::{ADMIN_PORT, RPC_SECRET, TOKEN},
};

/// The variable that holds the secret of the key, and what the secret is sealed for.
pub const SECRET_KEY: &str = "S3_SECRET_KEY";
/// Where the host's own store takes S3, on the loopback.
pub const S3_PORT: u16 = 3900;
/// Where its nodes would speak to each other; there is one.
const RPC_PORT: u16 = 3901;
/// What the host's own store calls its region.
pub const REGION: &str = "garage";
/// How many bytes may lie in a project's bucket unless something else is said: 10 GiB.
pub const QUOTA: u64 = 10 << 30;

/// A key to a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageKey {
    /// Its identifier.
    pub id: String,
    /// Its secret, sealed for the project's variable.
    pub secret: Sealed,
}

/// Where a project's bucket is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// In this host's own store.
    Own {
        /// How many bytes may lie in it.
        quota: u64,
    },
    /// At a provider, who made it and its key.
    Elsewhere {
        /// The provider's address.
        endpoint: String,
        /// The region, as the provider calls it.
        region: String,
    },
}

/// A project's object storage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storage {
    /// Where the bucket is.
    pub place: Place,
    /// The bucket.
    pub bucket: String,
    /// The key that opens it.
    pub key: StorageKey,
    /// The key before it, until every process has been started anew.
    pub retiring: Option<StorageKey>,
}

impl Storage {
    /// The name of a project's bucket in the host's own store.
    pub fn bucket_of(name: &ProjectName) -> String {
        format!("{name}-assets")
    }
    /// The name of that bucket when it has been taken away. No project's bucket has a dot in its name.
    pub fn trash_of(name: &ProjectName, uid: u32) -> String {
        format!("{}.{uid}{TRASH}", Self::bucket_of(name))
    }
    /// The address of the store.
    pub fn endpoint(&self) -> String {
        match &self.place {
            Place::Own { .. } => format!("http://127.0.0.1:{S3_PORT}"),
            Place::Elsewhere { endpoint, .. } => endpoint.clone(),
        }
    }
    /// The region of the store.
    pub fn region(&self) -> &str {
        match &self.place {
            Place::Own { .. } => REGION,
            Place::Elsewhere { region, .. } => region,
        }
    }
}

/// What the name of a bucket ends with that was taken away.
pub const TRASH: &str = ".trash";
/// What the label of a project's key begins with in the store.
pub const LABEL: &str = "hostkit:";

fn key(name: &str) -> EnvKey {
    name.parse().expect("a name of ours")
}

impl DataService for Storage {
    fn resources(&self, spec: &ProjectSpec) -> Vec<Any> {
        let Place::Own { quota } = self.place else { return Vec::new() };
        let (bucket, trash) = (self.bucket.clone(), Self::trash_of(&spec.name, spec.uid));
        let mut all: Vec<Any> = vec![Bucket { bucket, quota, trash }.into()];
        for StorageKey { id, secret } in self.retiring.iter().chain([&self.key]) {
            all.push(
                BucketKey {
                    id: id.clone(),
                    secret: secret.clone(),
                    context: format!("{}/{SECRET_KEY}", spec.name),
                    label: format!("{LABEL}{}", spec.name),
                    bucket: self.bucket.clone(),
                }
                .into(),
            );
        }
        all
    }
    fn plain(&self, _spec: &ProjectSpec) -> Vec<(EnvKey, String)> {
        vec![
            (key("S3_ENDPOINT"), self.endpoint()),
            (key("S3_BUCKET"), self.bucket.clone()),
            (key("S3_ACCESS_KEY"), self.key.id.clone()),
            (key("S3_REGION"), self.region().to_owned()),
        ]
    }
    fn sealed(&self, _spec: &ProjectSpec) -> Vec<(EnvKey, Sealed)> {
        vec![(key(SECRET_KEY), self.key.secret.clone())]
    }
    fn retire(&mut self) -> bool {
        self.retiring.take().is_some()
    }
}

/// The host's own store, in the order it goes up; `program` is Garage.
pub fn store_resources(program: &HostPath) -> Vec<Any> {
    let (conf, secrets, unit) = (host::store_conf(), host::store_secrets(), host::store_unit());
    let names = [RPC_SECRET, TOKEN].map(str::to_owned).to_vec();
    let inputs = vec![conf.clone(), secrets.clone(), unit.file()];
    vec![
        DaemonSecrets { path: secrets, names }.into(),
        ManagedFile { path: conf, body: configuration(), gid: 0, mode: 0o644 }.into(),
        Unit::new(unit.clone(), service(program), true, "multi-user.target").into(),
        ObjectStore { unit, inputs }.into(),
    ]
}

/// Garage for one node that keeps everything itself: nothing is said to be stored that is not on the disk.
fn configuration() -> String {
    format!(
        "\
# Managed by HostKit.
metadata_dir = \"{STATE}/meta\"
data_dir = \"{STATE}/data\"
db_engine = \"sqlite\"
metadata_fsync = true
data_fsync = true
replication_factor = 1
rpc_bind_addr = \"127.0.0.1:{RPC_PORT}\"
rpc_public_addr = \"127.0.0.1:{RPC_PORT}\"

[s3_api]
s3_region = \"{REGION}\"
api_bind_addr = \"127.0.0.1:{S3_PORT}\"

[admin]
api_bind_addr = \"127.0.0.1:{ADMIN_PORT}\"
"
    )
}

/// Where Garage keeps what it holds.
const STATE: &str = "/var/lib/hostkit-s3";

/// The account is systemd's and exists while the unit runs. Its name has an underscore, so no project has it.
fn service(program: &HostPath) -> String {
    let (conf, secrets, etc) = (host::store_conf(), host::store_secrets(), host::etc());
    format!(
        "\
# Managed by HostKit.
[Unit]
Description=HostKit: object storage
After=network.target

[Service]
Type=exec
DynamicUser=yes
User=hostkit_s3
StateDirectory=hostkit-s3
StateDirectoryMode=0700
UMask=0077
EnvironmentFile={secrets}
Environment=RUST_LOG=warn
ExecStart={program} -c {conf} server --single-node
Restart=always
RestartSec=1
LimitNOFILE=65536
OOMScoreAdjust=-100
AmbientCapabilities=
PrivateUsers=yes
InaccessiblePaths=-{etc}/secrets -{etc}/master.key
{SANDBOX}
[Install]
WantedBy=multi-user.target
"
    )
}
