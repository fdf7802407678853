//! The Redis that the host has already: taken over for projects to share, or left alone.

use anyhow::Result;

use crate::{
    domain::{
        fault::{Code, Fault},
        layout::{HostPath, redis as place},
    },
    event::Event,
    operation::session::Session,
    project::redis::{DATABASES, shared_server},
    resource::Any,
    store::Registry,
    system::redis::{Door, Entry, Stranger},
};

/// What is wanted of the Redis that runs on the host already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Takeover {
    /// It is taken over when nobody uses it; or as it was said the last time.
    #[default]
    Unused,
    /// It is taken over, and whoever came without a name is locked out.
    Close,
    /// It is left alone. Projects get servers of their own.
    Leave,
}

/// The setting that says that the host's Redis is left alone.
pub(super) const SETTING: &str = "redis";
pub(super) const LEFT: &str = "left alone";

/// Writes down what was said of the host's Redis.
pub(in crate::operation) fn remember(registry: &Registry<'_>, takeover: Takeover) -> Result<()> {
    match takeover {
        Takeover::Unused => Ok(()),
        Takeover::Close => registry.set(SETTING, "shared"),
        Takeover::Leave => registry.set(SETTING, LEFT),
    }
}

/// Whether there is a Redis that projects share.
pub(super) fn is_shared(session: &Session<'_>) -> Result<bool> {
    Ok(session.store.owned("")?.iter().any(|r| matches!(r, Any::RedisServer(_))))
}

/// What the host is to have of Redis.
pub(in crate::operation) fn host_resources(
    session: &mut Session<'_>,
    takeover: Takeover,
) -> Result<Vec<Any>> {
    let left = session.store.setting(SETTING)?.as_deref() == Some(LEFT);
    if takeover == Takeover::Leave || (left && takeover == Takeover::Unused) {
        return Ok(Vec::new());
    }
    let account = session.host.accounts.find("redis")?;
    let (Some(_), Some(account)) = (session.host.locate("redis-server")?, account) else {
        let message = "Redis is not installed, so projects get none: `apt-get install redis-server`, then \
                       `hostkit init`";
        session.ui.emit(Event::Warned { message });
        return Ok(Vec::new());
    };
    let owned = session.store.owned("")?;
    let known = owned.iter().find_map(|r| match r {
        Any::RedisServer(server) => Some(server.databases),
        _ => None,
    });
    let databases = match known {
        Some(databases) => databases,
        None => take_over(session, takeover)?.max(DATABASES),
    };
    Ok(shared_server((account.uid, account.gid), databases))
}

/// Refuses to lock anybody out unasked; says how many databases there are.
fn take_over(session: &Session<'_>, takeover: Takeover) -> Result<u32> {
    // What an earlier installation left is HostKit's already.
    if session.host.redis.enter(&Door::shared())? != Entry::Down {
        return Ok(DATABASES);
    }
    let refuse = |why: String| {
        Fault::new(Code::Foreign, format!("{why}, and HostKit closes Redis to all who give no name"))
            .next("hostkit init --redis leave    # leaves it alone; projects get servers of their own")
            .next(
                "hostkit init --redis close    # takes it over; give your own program a user and a password",
            )
    };
    let own_users = session.host.root.read(&HostPath::fixed("/etc/redis/redis.conf"), 1 << 20)?;
    let own_users = String::from_utf8_lossy(&own_users.unwrap_or_default()).into_owned();
    if let Some(line) = own_users.lines().find(|l| l.split_ascii_whitespace().next() == Some("user")) {
        let who = line.split_ascii_whitespace().nth(1).unwrap_or_default();
        return Err(Fault::new(
            Code::Foreign,
            format!("`/etc/redis/redis.conf` defines the user `{who}`, which Redis does not allow beside a file of users"),
        )
        .next(format!("move the lines that begin with `user` to `{}`", place::users()))
        .next("hostkit init --redis leave    # leaves it alone; projects get servers of their own")
        .into());
    }
    let found = session.host.redis.stranger()?;
    let databases = match found {
        Stranger::Let { databases, .. } => databases,
        _ => 0,
    };
    match (takeover, found) {
        (Takeover::Close, _) | (_, Stranger::Let { keys: 0, others: 0, .. } | Stranger::Down) => {
            Ok(databases)
        }
        (_, Stranger::Let { keys, others, .. }) => {
            Err(refuse(format!("Redis is in use ({keys} keys, {others} connections)")).into())
        }
        (_, Stranger::Refused) => {
            Err(refuse("Redis asks for a password that HostKit does not know".to_owned()).into())
        }
    }
}
