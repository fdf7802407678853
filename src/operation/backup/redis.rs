//! A project's Redis in a backup: loaded into the server's last database, which takes the project's number.

use std::io::{Read, Write};

use anyhow::{Result, bail};

use super::{ProjectSpec, Session};
use crate::{
    domain::fault::{Code, Fault},
    project::redis::Home,
    resource::{Any, RedisSwap},
    system::{
        Lock,
        redis::{Door, Entry},
    },
};

/// How much a server of a project's own may say beyond what it can hold, in bytes.
const SLACK: u64 = 64 << 20;

/// Writes what is in a project's database; says how many keys.
pub(super) fn dump(session: &Session<'_>, spec: &ProjectSpec, out: &mut dyn Write) -> Result<u64> {
    let Some(redis) = &spec.redis else { return Ok(0) };
    let most = match redis.home {
        Home::Shared(_) => None,
        // What it writes takes no more room than what it holds; the rest is for what is said around it.
        Home::Dedicated { memory } => Some((u64::from(memory) << 23) + SLACK),
    };
    session.host.redis.dump(&redis.door(&spec.name), redis.number(), most, out)
}

/// What will change places, once something was loaded.
fn swap(session: &Session<'_>, spec: &ProjectSpec) -> Result<Option<RedisSwap>> {
    let Some(redis) = &spec.redis else { return Ok(None) };
    let door: Door = redis.door(&spec.name);
    let Entry::Open(settings) = session.host.redis.enter(&door)? else {
        bail!(
            Fault::new(Code::ServiceDown, format!("Redis (`{}`) does not let HostKit in", door.unit))
                .next(format!("systemctl start {}", door.unit))
                .next("hostkit repair")
        )
    };
    let scratch = settings.databases.saturating_sub(1);
    Ok(Some(RedisSwap { user: spec.name.to_string(), door, number: redis.number(), scratch }))
}

/// Takes the last database for this project alone, and empties it. An operation that died over it is
/// undone first: it may hold what is to be put back.
pub(super) fn take(session: &mut Session<'_>, spec: &ProjectSpec) -> Result<Option<Lock>> {
    let Some(swap) = swap(session, spec)? else { return Ok(None) };
    let held = session.host.hold("redis-scratch")?;
    let other =
        |open: &crate::store::OpenOperation| open.verb == "restore" && open.owner != spec.name.as_str();
    if let Some(open) = session.store.open_operations()?.into_iter().find(other) {
        bail!(
            Fault::new(
                Code::Busy,
                format!("the restore of `{}` was interrupted and is not undone", open.owner)
            )
            .next(format!("hostkit repair {}", open.owner))
        );
    }
    session.host.redis.flush(&swap.door, swap.scratch)?;
    Ok(Some(held))
}

/// Loads a project's keys beside those it has.
pub(super) fn load(
    session: &mut Session<'_>,
    spec: &ProjectSpec,
    from: &mut dyn Read,
) -> Result<Option<Any>> {
    let Some(swap) = swap(session, spec)? else { return Ok(None) };
    session.host.redis.load(&swap.door, swap.scratch, from)?;
    Ok(Some(swap.into()))
}

/// The database of the shared server that a deleted project had, and is to have again. A server of its
/// own comes back with its data.
fn shared(spec: &ProjectSpec) -> Option<(Door, u32)> {
    let redis = spec.redis.as_ref()?;
    matches!(redis.home, Home::Shared(_)).then(|| (redis.door(&spec.name), redis.number()))
}

/// Empties what bringing the project back had loaded before it died.
pub(super) fn reclaim(session: &mut Session<'_>, spec: &ProjectSpec) -> Result<()> {
    match shared(spec) {
        Some((door, number)) if session.host.redis.is_marked(&door, number)? => {
            session.host.redis.flush(&door, number)
        }
        _ => Ok(()),
    }
}

/// Loads a deleted project's keys to where they were. Nobody can see them before it is back.
pub(super) fn revive(session: &mut Session<'_>, spec: &ProjectSpec, from: &mut dyn Read) -> Result<()> {
    match shared(spec) {
        Some((door, number)) => session.host.redis.load(&door, number, from),
        None => Ok(()),
    }
}

/// Forgets where the keys came from, or the keys.
pub(super) fn revived(session: &mut Session<'_>, spec: &ProjectSpec, back: bool) -> Result<()> {
    match shared(spec) {
        Some((door, number)) if back => session.host.redis.unmark(&door, number),
        Some((door, number)) => session.host.redis.flush(&door, number),
        None => Ok(()),
    }
}

/// Empties the last database, and forgets where the project's came from.
pub(super) fn clear(session: &mut Session<'_>, spec: &ProjectSpec) -> Result<()> {
    let Some(swap) = swap(session, spec)? else { return Ok(()) };
    session.host.redis.unmark(&swap.door, swap.number)?;
    session.host.redis.flush(&swap.door, swap.scratch)
}
