//! A project's Redis: giving it out, looking into it, emptying it, and changing its password.

mod takeover;

use anyhow::{Context, Result, bail};

use super::{
    lifecycle::{Power, power, retire, settle},
    session::{Mode, Outcome, Session},
};
use crate::{
    domain::{
        fault::{Code, Fault},
        name::ProjectName,
        port::Port,
        secret::Secret,
    },
    event::Event,
    plan::{Foreign, Plan},
    project::{
        ProjectSpec, Redis,
        redis::{Home, Password},
    },
    resource::Any,
    system::{
        redis::{Content, Door, Entry, Report, sum},
        vault,
    },
};

pub use self::takeover::Takeover;
use self::takeover::{LEFT, SETTING, is_shared};
pub(super) use self::takeover::{host_resources, remember};

/// What kind of Redis a project is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// What it has, or else what the host offers.
    Any,
    /// A database of the shared server.
    Shared,
    /// A server of its own, with this much memory in MiB.
    Dedicated(u32),
}

/// Gives a project the Redis that is asked for, if it has none yet.
pub(super) fn furnish(session: &Session<'_>, spec: &mut ProjectSpec, asked: Asked) -> Result<()> {
    if let Some(redis) = &mut spec.redis {
        match (&mut redis.home, asked) {
            (_, Asked::Any) | (Home::Shared(_), Asked::Shared) => {}
            (Home::Dedicated { memory }, Asked::Dedicated(wanted)) => *memory = wanted,
            (home, _) => bail!(
                Fault::new(
                    Code::WrongState,
                    format!("`{}` has {} already, and its data would stay there", spec.name, described(home))
                )
                .next(format!("hostkit redis info {}", spec.name))
            ),
        }
        return address(session, spec);
    }
    let home = match asked {
        Asked::Dedicated(memory) => Home::Dedicated { memory },
        Asked::Any if session.store.setting(SETTING)?.as_deref() == Some(LEFT) => {
            Home::Dedicated { memory: crate::project::redis::MEMORY }
        }
        Asked::Any | Asked::Shared => Home::Shared(free_number(session)?),
    };
    if matches!(home, Home::Dedicated { .. }) {
        if session.host.locate("redis-server")?.is_none() {
            bail!(missing());
        }
        refuse_used_port(session, spec.port)?;
    }
    let password = seal(session, spec, &home, &vault::password()?)?;
    spec.redis = Some(Redis { home, password, retiring: None });
    Ok(())
}

/// What kind of Redis it is, for people.
pub fn described(home: &Home) -> String {
    match home {
        Home::Shared(number) => format!("database {number} of the shared Redis"),
        Home::Dedicated { .. } => "a Redis of its own".to_owned(),
    }
}

fn missing() -> Fault {
    Fault::new(Code::ProgramMissing, "this host has no Redis for projects")
        .next("apt-get install redis-server && hostkit init")
}

/// The lowest number that no project has, nor had until it was deleted, and whose database is empty.
fn free_number(session: &Session<'_>) -> Result<u32> {
    if !is_shared(session)? {
        bail!(missing());
    }
    let door = Door::shared();
    let Entry::Open(settings) = session.host.redis.enter(&door)? else {
        // Asking again says what is wrong.
        session.host.redis.contents(&door)?;
        bail!("Redis let HostKit in only now; try again");
    };
    let mut taken: std::collections::BTreeSet<u32> =
        session.host.redis.contents(&door)?.into_keys().collect();
    let projects = session.store.projects()?.into_iter().map(|row| row.spec);
    for spec in projects.chain(session.store.trash()?.into_iter().map(|row| row.spec)) {
        taken.extend(spec.redis.map(|redis| redis.number()));
    }
    // The last one is for loading what comes out of a backup.
    (1..settings.databases.saturating_sub(1)).find(|number| !taken.contains(number)).ok_or_else(|| {
        Fault::new(
            Code::NameTaken,
            format!("all {} databases of Redis are taken", settings.databases.saturating_sub(2)),
        )
        .next("hostkit project purge NAME    # a deleted project keeps its number until then")
        .into()
    })
}

/// Seals the address with this password for every variable.
fn seal(session: &Session<'_>, spec: &ProjectSpec, home: &Home, password: &Secret) -> Result<Password> {
    let url = Redis::url(&spec.name, home, spec.port, password);
    let sealed = |key: crate::domain::env::EnvKey| {
        let context = vault::context(spec.name.as_str(), key.as_str());
        Ok((key, session.host.vault.seal(&context, &url)?))
    };
    Ok(Password { sum: sum(password.reveal()), urls: Redis::keys().map(sealed).collect::<Result<_>>()? })
}

/// The password that is in the environment.
fn current(session: &Session<'_>, name: &ProjectName, redis: &Redis) -> Result<Secret> {
    let (key, sealed) = redis.password.urls.first().context("an address")?;
    let url = session.host.vault.open(&vault::context(name.as_str(), key.as_str()), sealed)?;
    let password = url.reveal().split_once(&format!("//{name}:")).and_then(|(_, rest)| rest.split_once('@'));
    Ok(Secret::new(password.context("an address with a password")?.0))
}

/// Brings the address in line with port and number, should they have changed.
fn address(session: &Session<'_>, spec: &mut ProjectSpec) -> Result<()> {
    let Some(redis) = &spec.redis else { return Ok(()) };
    let password = current(session, &spec.name, redis)?;
    let sealed = seal(session, spec, &redis.home, &password)?;
    if let Some(redis) = &mut spec.redis {
        redis.password = sealed;
    }
    Ok(())
}

/// For a project that comes back: another number, if its own holds something now.
pub(super) fn readmit(session: &Session<'_>, spec: &mut ProjectSpec) -> Result<()> {
    if let Some(Redis { home: Home::Shared(number), .. }) = &spec.redis
        && session.host.redis.contents(&Door::shared())?.contains_key(number)
    {
        let free = free_number(session)?;
        if let Some(redis) = &mut spec.redis {
            redis.home = Home::Shared(free);
        }
    }
    address(session, spec)
}

/// Empties the database of a project that is gone for good. What cannot be emptied now stays, and its
/// number is not given out again.
pub(super) fn forget(session: &mut Session<'_>, spec: &ProjectSpec) {
    let Some(Redis { home: Home::Shared(number), .. }) = &spec.redis else { return };
    if let Err(error) = session.host.redis.flush(&Door::shared(), *number) {
        let message =
            format!("database {number} of Redis still holds the data of `{}`: {error:#}", spec.name);
        session.ui.emit(Event::Warned { message: &message });
    }
}

/// Removes what is left of the Redis of a project that nobody can have back.
pub(super) fn shred(session: &mut Session<'_>, spec: &ProjectSpec) -> Result<()> {
    let Some(redis) = &spec.redis else { return Ok(()) };
    let Some(trash) = redis.trash(spec) else {
        forget(session, spec);
        return Ok(());
    };
    let key = redis.door(&spec.name).key;
    session.host.root.remove(&key.parent().join(&format!("{}.gone", key.file_name())))?;
    session.host.root.shred(&trash)
}

/// What there is to know of a project's Redis.
#[derive(Clone, Debug)]
pub struct Info {
    /// The project.
    pub spec: ProjectSpec,
    /// Its Redis.
    pub redis: Redis,
    /// What is in its databases.
    pub content: Content,
    /// What the server says of itself and the project's user.
    pub report: Report,
    /// How the server is set.
    pub limit: u64,
}

/// A project with its Redis, or `WRONG_STATE`.
fn of(session: &Session<'_>, name: &ProjectName) -> Result<(ProjectSpec, Redis)> {
    let spec = session.project(name)?.spec;
    match spec.redis.clone() {
        Some(redis) => Ok((spec, redis)),
        None => bail!(
            Fault::new(Code::WrongState, format!("`{name}` has no Redis"))
                .next(format!("hostkit provision {name}"))
        ),
    }
}

/// Looks into a project's Redis.
pub fn info(session: &Session<'_>, name: &ProjectName) -> Result<Info> {
    let (spec, redis) = of(session, name)?;
    let door = redis.door(name);
    let report = session.host.redis.report(&door, name.as_str())?;
    let mut content = Content::default();
    for (number, here) in session.host.redis.contents(&door)? {
        if number == redis.number() || matches!(redis.home, Home::Dedicated { .. }) {
            content.keys += here.keys;
            content.expires += here.expires;
        }
    }
    let limit = match session.host.redis.enter(&door)? {
        Entry::Open(settings) => settings.memory,
        _ => 0,
    };
    Ok(Info { spec, redis, content, report, limit })
}

/// Empties a project's Redis; says how many keys there were.
pub fn flush(session: &mut Session<'_>, name: &ProjectName) -> Result<(Outcome, u64)> {
    let _held = session.enter(name.as_str(), "redis flush")?;
    let (_, redis) = of(session, name)?;
    let door = redis.door(name);
    let (mut keys, mut numbers) = (0, Vec::new());
    for (number, here) in session.host.redis.contents(&door)? {
        if number == redis.number() || matches!(redis.home, Home::Dedicated { .. }) {
            keys += here.keys;
            numbers.push(number);
        }
    }
    if numbers.is_empty() {
        return Ok((Outcome::Unchanged, 0));
    }
    if session.mode == Mode::DryRun {
        return Ok((Outcome::WouldChange, keys));
    }
    // It cannot be undone, so there is nothing to write down but that it was done.
    session.carry_out(name.as_str(), "redis flush", &Plan::default(), |_| Ok(()))?;
    for number in numbers {
        session.host.redis.flush(&door, number)?;
    }
    Ok((Outcome::Changed, keys))
}

/// Gives a project's Redis a new password. The old one stays valid until the process has been started
/// anew, or is retired `now`, with a restart.
pub fn rotate(session: &mut Session<'_>, name: &ProjectName, now: bool) -> Result<Outcome> {
    let outcome = renew(session, name)?;
    if session.mode == Mode::DryRun {
        return Ok(outcome);
    }
    let spec = session.project(name)?.spec;
    let runs = spec.running && spec.live.as_ref().is_some_and(|(_, launch)| launch.exec.is_some());
    match (runs, now) {
        (true, true) => return Ok(power(session, name, Power::Restart)?.0),
        (true, false) => {}
        // Nothing runs that could know the old one.
        (false, _) => {
            let _held = session.enter(name.as_str(), "redis rotate")?;
            retire(session, name);
        }
    }
    Ok(outcome)
}

fn renew(session: &mut Session<'_>, name: &ProjectName) -> Result<Outcome> {
    let _held = session.enter(name.as_str(), "redis rotate")?;
    let (mut spec, redis) = of(session, name)?;
    let password = seal(session, &spec, &redis.home, &vault::password()?)?;
    // Twice without a restart between: the process still uses the one before the first.
    let retiring = redis.retiring.clone().or(Some(redis.password.sum.clone()));
    spec.redis = Some(Redis { password, retiring, ..redis });
    // Not the process: it goes on with what it was started with.
    let concerned = |r: &Any| matches!(r, Any::RedisUser(_) | Any::EnvFile(_));
    let all = session.wanted(&spec)?;
    let owned = session.store.owned(name.as_str())?.into_iter().filter(concerned).collect();
    let wanted = all.iter().filter(|r| concerned(r)).cloned().collect();
    let plan = Plan::between(owned, wanted, Foreign::Refuse, &session.host)?;
    settle(session, "redis rotate", &spec, &plan, &all)
}

/// The port that a project's own Redis will listen on must be free.
pub(super) fn refuse_used_port(session: &Session<'_>, port: Port) -> Result<()> {
    match session.host.net.listener(port.redis())? {
        None => Ok(()),
        Some(uid) => Err(Fault::new(
            Code::PortTaken,
            format!("port {} is held by a process of the account {uid}", port.redis()),
        )
        .next("repeat with another `--port`: its Redis listens 6000 above it")
        .into()),
    }
}
