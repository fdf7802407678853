//! A project's Redis: a database and a user of its own in the shared server, or a server of its own.
//!
//! Who may do what was worked out against the real server; `docs/decisions/0019` says why each word is
//! there, and a test walks every command of the installed server.

use serde::{Deserialize, Serialize};

use super::{DataService, ProjectSpec, service::SANDBOX};
use crate::{
    domain::{
        env::EnvKey,
        layout::{HostPath, UnitName, host},
        name::ProjectName,
        port::Port,
        secret::{Sealed, Secret},
    },
    resource::{Any, Directory, KeyFile, ManagedFile, RedisServer, RedisUser, Unit},
    system::redis::{Door, PORT},
};

/// How many databases the shared server has. Projects get the numbers from 1 up: every client starts in
/// database 0, so what lies there is anybody's.
pub const DATABASES: u32 = 1024;
/// How much memory a server of a project's own may use unless it is said, in MiB.
pub const MEMORY: u32 = 64;

/// The variables that lead to it.
const KEYS: [&str; 3] = ["REDIS_URL", "CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"];

/// Where a project's Redis is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Home {
    /// A database of the shared server, by number.
    Shared(u32),
    /// A server of its own, on a port at a fixed offset from the project's.
    Dedicated {
        /// How much memory it may use, in MiB.
        memory: u32,
    },
}

/// A password that lets a project in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Password {
    /// Its SHA-256 sum in hexadecimal, which is what the server knows.
    pub sum: String,
    /// The address with it, sealed for each of the variables.
    pub urls: Vec<(EnvKey, Sealed)>,
}

/// A project's Redis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redis {
    /// Where it is.
    pub home: Home,
    /// The password in the environment.
    pub password: Password,
    /// The sum of the one before it, which the process may still be using.
    pub retiring: Option<String>,
}

impl Redis {
    /// The address, with the password, for an environment; `port` is the project's.
    pub fn url(name: &ProjectName, home: &Home, port: Port, password: &Secret) -> Secret {
        let (port, number) = match home {
            Home::Shared(number) => (PORT, *number),
            Home::Dedicated { .. } => (port.redis(), 0),
        };
        Secret::new(format!("redis://{name}:{}@localhost:{port}/{number}", password.reveal()))
    }

    /// The variables that lead to it.
    pub fn keys() -> impl Iterator<Item = EnvKey> {
        KEYS.iter().map(|key| key.parse().expect("a key"))
    }

    /// How HostKit gets into the server.
    pub fn door(&self, name: &ProjectName) -> Door {
        match self.home {
            Home::Shared(_) => Door::shared(),
            Home::Dedicated { .. } => Door {
                unit: unit(name),
                socket: HostPath::fixed("/run").join(&format!("hostkit-redis-{name}")).join("hostkit.sock"),
                key: host::secrets().join(&format!("redis-{name}")),
                users: host::etc().join(&format!("redis-{name}.acl")),
            },
        }
    }

    /// What is left of the project when it is deleted, beside its home and logs.
    pub fn trash(&self, spec: &ProjectSpec) -> Option<HostPath> {
        matches!(self.home, Home::Dedicated { .. }).then(|| trash(&spec.name, spec.uid))
    }

    /// The database that is the project's.
    pub fn number(&self) -> u32 {
        match self.home {
            Home::Shared(number) => number,
            Home::Dedicated { .. } => 0,
        }
    }

    fn user(&self, name: &ProjectName) -> RedisUser {
        let rule = match self.home {
            Home::Shared(number) => shared_rule(name, number),
            Home::Dedicated { .. } => words(OWN_RULE),
        };
        let passwords = std::iter::once(&self.password.sum).chain(&self.retiring).cloned().collect();
        RedisUser { user: name.to_string(), door: self.door(name), rule, passwords }
    }
}

fn unit(name: &ProjectName) -> UnitName {
    UnitName::own(&format!("hostkit-{name}_redis.service"))
}

/// Where the data of a server of its own goes when the project is deleted.
fn trash(name: &ProjectName, uid: u32) -> HostPath {
    host::redis_homes().join(&format!(".trash-{name}.{uid}"))
}

/// Where a server of its own keeps its data.
fn data(name: &ProjectName) -> HostPath {
    host::redis_homes().join(name.as_str())
}

fn words(text: &str) -> Vec<String> {
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

/// What a project may do in its own server: everything in its database, but nothing that would lock
/// HostKit out of it or make it something else than it was set up to be. Database 0 is the one that is
/// backed up; the last one is where a restore loads.
const OWN_RULE: &str = "~* &* +@all -@admin -select +select|0 -move -copy -swapdb -acl +acl|whoami +client +info +config|get +slowlog +latency +memory";

/// What a project may do in the shared server: everything in its own database, and nothing that reaches
/// another one or the server itself.
///
/// Channels know nothing of databases, so they are allowed by name; a subscription to a pattern needs
/// that very pattern. Those with `/N.` and `celery` are Celery's.
fn shared_rule(name: &ProjectName, number: u32) -> Vec<String> {
    let n = number;
    words(&format!(
        "~* resetchannels &{name}:* &/{n}.* &/{n}.celery.pidbox &/{n}.reply.celery.pidbox &/{n}.celeryev/* \
         &/{n}.celeryev/worker.* &{name}_celery-task-meta-* &__keyspace@{n}__:* &__keyevent@{n}__:* \
         +@all -@admin -@dangerous -@scripting +eval +evalsha +eval_ro +evalsha_ro +script|load \
         +script|exists -select +select|{n} -move -copy -swapdb -pubsub -client +client|id +client|setname \
         +client|getname +client|info +client|reply +info +flushdb +keys +sort +sort_ro -acl +acl|whoami \
         -wait -readonly -readwrite -asking -cluster -memory +memory|usage"
    ))
}

impl DataService for Redis {
    fn resources(&self, spec: &ProjectSpec) -> Vec<Any> {
        let user = self.user(&spec.name).into();
        match self.home {
            Home::Shared(_) => vec![user],
            Home::Dedicated { memory } => {
                let mut all = own_server(spec, &self.door(&spec.name), memory);
                all.push(user);
                all
            }
        }
    }
    fn plain(&self, _spec: &ProjectSpec) -> Vec<(EnvKey, String)> {
        Vec::new()
    }
    fn sealed(&self, _spec: &ProjectSpec) -> Vec<(EnvKey, Sealed)> {
        self.password.urls.clone()
    }
    fn retire(&mut self) -> bool {
        self.retiring.take().is_some()
    }
}

/// A server of a project's own, under the project's account: whoever has that has the data anyway.
fn own_server(spec: &ProjectSpec, door: &Door, memory: u32) -> Vec<Any> {
    let (name, uid, port) = (&spec.name, spec.uid, spec.port.redis());
    let conf = host::etc().join(&format!("redis-{name}.conf"));
    let directory = Directory {
        path: data(name),
        uid,
        gid: uid,
        mode: 0o700,
        visitor: None,
        trash: Some(trash(name, uid)),
        whole: true,
    };
    let bytes = u64::from(memory) << 20;
    let server = RedisServer {
        door: door.clone(),
        account: (uid, uid),
        conf: ManagedFile {
            body: format!(
                "# Managed by HostKit.\n\
                 bind 127.0.0.1 -::1\nport {port}\nunixsocket {}\nunixsocketperm 700\n\
                 dir {}\naclfile {}\ndatabases 16\n\
                 maxmemory {bytes}\nmaxmemory-policy noeviction\n\
                 appendonly yes\nappendfsync everysec\n",
                door.socket,
                data(name),
                door.users,
            ),
            path: conf.clone(),
            gid: 0,
            mode: 0o644,
        },
        unit: Unit::new(unit(name), own_unit(name, &conf), true, "multi-user.target"),
        databases: 16,
        memory: Some(bytes),
    };
    vec![KeyFile { path: door.key.clone(), gid: 0 }.into(), directory.into(), server.into()]
}

fn own_unit(name: &ProjectName, conf: &HostPath) -> String {
    format!(
        "\
# Managed by HostKit.
[Unit]
Description=HostKit: Redis of the project {name}
After=network.target

[Service]
Type=notify
User={name}
Group={name}
ExecStart=/usr/bin/redis-server {conf} --supervised systemd --daemonize no
TimeoutStopSec=90
Restart=always
UMask=0077
RuntimeDirectory=hostkit-redis-{name}
RuntimeDirectoryMode=0700
LimitNOFILE=65535
ReadWritePaths={}
RemoveIPC=yes
NoExecPaths=/
ExecPaths=/usr/bin/redis-server /usr/lib /lib
{SANDBOX}
[Install]
WantedBy=multi-user.target
",
        data(name)
    )
}

/// The server that projects share, as the host owns it. `account` is the one it runs under.
pub fn shared_server(account: (u32, u32), databases: u32) -> Vec<Any> {
    use crate::domain::layout::redis::{conf, socket, users};
    let door = Door::shared();
    let drop_in = UnitName::own("redis-server.service.d/hostkit.conf");
    let text = format!(
        "# Managed by HostKit: what it counts on, after all that the distribution and you have set.\n\
         include /etc/redis/redis.conf\n\
         bind 127.0.0.1 -::1\nport {PORT}\nunixsocket {}\nunixsocketperm 700\n\
         databases {databases}\naclfile {}\nmaxmemory-policy noeviction\n",
        socket(),
        users()
    );
    let starts = format!(
        "# Managed by HostKit.\n[Service]\nExecStart=\n\
         ExecStart=/usr/bin/redis-server {} --supervised systemd --daemonize no\n",
        conf()
    );
    let server = RedisServer {
        account,
        conf: ManagedFile { path: conf(), body: text, gid: 0, mode: 0o644 },
        unit: Unit::new(drop_in.clone(), starts, false, "multi-user.target"),
        databases,
        memory: None,
        door: door.clone(),
    };
    let directory = Directory {
        path: drop_in.file().parent(),
        uid: 0,
        gid: 0,
        mode: 0o755,
        visitor: None,
        trash: None,
        whole: false,
    };
    vec![KeyFile { path: door.key, gid: 0 }.into(), directory.into(), server.into()]
}
