//! A project's database: made, taken away, given another password, copied into another.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

use super::{
    backup,
    deploy::verdict,
    handover::{Change, hand_over, runs},
    lifecycle::{retire, settle},
    session::{Mode, Outcome, Session},
};
use crate::{
    domain::{
        fault::{Code, Fault},
        name::ProjectName,
        secret::Secret,
        sql_name::SqlName,
    },
    event::Event,
    plan::{Foreign, Plan},
    project::{ProjectSpec, database::Database},
    resource::{Any, Cluster, Resource, Role},
    system::{
        postgres::{GROUP, Login, OLDEST, PORT, not_installed, verifier},
        vault,
    },
};

/// What keeps projects apart on this host's server, if it has one. A server that is down is left as it
/// is, and warned of: a host may do without.
pub fn cluster(session: &mut Session<'_>) -> Result<Option<Any>> {
    if !session.host.postgres.is_installed() {
        let message = "PostgreSQL is not installed, so projects get no database: apt-get install postgresql, \
                       then hostkit init";
        session.ui.emit(Event::Warned { message });
        return Ok(None);
    }
    match session.host.postgres.version() {
        Ok(version) if version < OLDEST => {
            let message =
                format!("PostgreSQL {version} is too old for HostKit, which needs {OLDEST} or later");
            session.ui.emit(Event::Warned { message: &message });
        }
        Ok(_) => return Ok(Some(Cluster {}.into())),
        Err(error) => {
            let message =
                format!("{error:#}; projects get no database until it runs and hostkit init was repeated");
            session.ui.emit(Event::Warned { message: &message });
        }
    }
    Ok(None)
}

/// The database of a project that has none yet.
pub(super) fn fresh(session: &mut Session<'_>, spec: &ProjectSpec) -> Result<Database> {
    let without = format!("hostkit provision {} --no-db    # does without a database", spec.name);
    let postgres = &session.host.postgres;
    if !postgres.is_installed() {
        bail!(not_installed().next("hostkit init").next(without));
    }
    if postgres.role(&SqlName::own(GROUP), &std::collections::BTreeSet::new())?.is_none() {
        bail!(
            Fault::new(Code::NotInitialised, "PostgreSQL has not been set up for HostKit")
                .next("hostkit init")
                .next(without)
        );
    }
    // Left by an operation that could not drop it; nobody can have it back.
    drop_gone(session, spec.uid)?;
    refuse_taken(session, spec)?;
    Database::new(&spec.name, &session.host.vault)
}

/// Names that somebody else has are not taken over: what is in a database is somebody's.
fn refuse_taken(session: &Session<'_>, spec: &ProjectSpec) -> Result<()> {
    let postgres = &session.host.postgres;
    let name = spec.name.database();
    let (roles, databases) = postgres.names()?;
    let taken = |what: &str, name: &SqlName| {
        Fault::new(Code::NameTaken, format!("PostgreSQL has a {what} `{name}` that is not HostKit's"))
            .next("choose another name for the project, or rename what is there")
            .next(format!("hostkit provision {} --no-db    # does without a database", spec.name))
    };
    if databases.iter().any(|d| d == name.as_str()) {
        bail!(taken("database", &name));
    }
    for role in [name, spec.name.second_login()] {
        if roles.iter().any(|r| r == role.as_str()) {
            bail!(taken("role", &role));
        }
    }
    Ok(())
}

/// A project's database, or a fault that says how to get one.
pub fn of(spec: &ProjectSpec) -> Result<&Database> {
    spec.database.as_ref().ok_or_else(|| {
        let name = &spec.name;
        Fault::new(Code::WrongState, format!("`{name}` has no database"))
            .next(format!("hostkit db create {name}"))
            .into()
    })
}

/// How a project reaches its database.
pub fn login(session: &Session<'_>, spec: &ProjectSpec) -> Result<Login> {
    let url = of(spec)?.address(&spec.name, &session.host.vault)?;
    Ok(Login { account: spec.uid, url })
}

/// Gives a project a database.
pub fn create(session: &mut Session<'_>, name: &ProjectName) -> Result<(Outcome, ProjectSpec)> {
    let _held = session.enter(name.as_str(), "db create")?;
    let mut spec = session.project(name)?.spec;
    if spec.database.is_none() {
        session.require_space()?;
        spec.database = Some(fresh(session, &spec)?);
    }
    change(session, "db create", spec)
}

/// Takes a project's database away, with all that is in it; with `keep`, after making a checkpoint of it.
pub fn delete(session: &mut Session<'_>, name: &ProjectName, keep: bool) -> Result<(Outcome, ProjectSpec)> {
    let _held = session.enter(name.as_str(), "db delete")?;
    let mut spec = session.project(name)?.spec;
    of(&spec)?;
    if keep && session.mode == Mode::Run {
        backup::farewell(session, &spec)?;
    }
    spec.database = None;
    let done = change(session, "db delete", spec)?;
    forget(session, done.1.uid);
    Ok(done)
}

/// Brings the host to what this specification of an existing project says.
fn change(
    session: &mut Session<'_>,
    verb: &'static str,
    spec: ProjectSpec,
) -> Result<(Outcome, ProjectSpec)> {
    let all = session.wanted(&spec)?;
    let owned = session.store.owned(spec.name.as_str())?;
    let plan = Plan::between(owned, all.clone(), Foreign::Refuse, &session.host)?;
    let outcome = settle(session, verb, &spec, &plan, &all)?;
    Ok((outcome, spec))
}

/// Gives a project's database another password. The one before stays good until the process has been
/// started anew; with `now` that is done here, and whoever still used it is shown out.
pub fn rotate(session: &mut Session<'_>, name: &ProjectName, now: bool) -> Result<(Outcome, ProjectSpec)> {
    let _held = session.enter(name.as_str(), "db rotate")?;
    let old = session.project(name)?.spec;
    let database = of(&old)?.rotated(name, &session.host.vault)?;
    let before = database.login.other().role(name);
    let mut spec = ProjectSpec { database: Some(database), ..old.clone() };
    let stores = |r: &Any| matches!(r, Any::Role(_) | Any::Database(_) | Any::EnvFile(_));
    let outcome = if now {
        let concerned = |r: &Any| stores(r) || runs(r);
        let (old, new) = (&old, &spec);
        let change = Change {
            verb: "db rotate",
            old,
            new,
            draft: None,
            renew: None,
            swaps: &[],
            concerned: &concerned,
        };
        hand_over(session, &change, |_| Ok(())).map_err(|error| verdict(session, old, error))?.outcome
    } else {
        // What runs goes on with the password it knows; nobody who asks it something meets a closed door.
        let all = session.wanted(&spec)?;
        let owned = session.store.owned(name.as_str())?.into_iter().filter(stores).collect();
        let wanted = all.iter().filter(|r| stores(r)).cloned().collect();
        let plan = Plan::between(owned, wanted, Foreign::Refuse, &session.host)?;
        settle(session, "db rotate", &spec, &plan, &all)?
    };
    let up = spec.running && spec.live.as_ref().is_some_and(|(_, launch)| launch.exec.is_some());
    if session.mode == Mode::Run && (now || !up) {
        retire(session, name);
        spec = session.project(name)?.spec;
        // Unless the handover is not finished, and something still needs it.
        if of(&spec)?.retiring.is_none() {
            session.host.postgres.dismiss(&name.database(), Some(&before))?;
        }
    }
    Ok((outcome, spec))
}

/// Drops what was taken away from the project with this number. Called once nobody can have it back: its
/// operation is closed, and its owner's lock is held.
pub(super) fn drop_gone(session: &mut Session<'_>, uid: u32) -> Result<usize> {
    if session.mode == Mode::DryRun || !session.host.postgres.is_installed() {
        return Ok(0);
    }
    let (roles, databases) = session.host.postgres.names()?;
    let gone = |names: Vec<String>| -> Vec<SqlName> {
        names.iter().filter_map(|n| n.parse().ok()).filter(|n: &SqlName| n.gone_of() == Some(uid)).collect()
    };
    let (roles, databases) = (gone(roles), gone(databases));
    for database in &databases {
        session.host.postgres.drop_database(database).with_context(|| format!("dropping `{database}`"))?;
    }
    // The longer name is the second login's, who is a member of the other one.
    for role in roles.iter().rev() {
        if session.host.postgres.is_owner(role)? {
            hand_back(session, uid, role)?;
        }
        session.host.postgres.drop_role(role).with_context(|| format!("dropping the role `{role}`"))?;
    }
    Ok(databases.len())
}

/// Gives what one of a project's logins made as itself to the project's role. Done in the project's database
/// by a login made for it, which is a member of both: the superuser never enters.
fn hand_back(session: &mut Session<'_>, uid: u32, from: &SqlName) -> Result<()> {
    let projects = session.store.projects()?.into_iter().map(|row| row.spec);
    let Some(spec) = projects.into_iter().find(|spec| spec.uid == uid && spec.database.is_some()) else {
        return Ok(());
    };
    let owner = spec.name.database();
    let name = SqlName::own(&format!("{owner}_heir")).gone(uid);
    let password = vault::password()?;
    let heir = Role {
        name: name.clone(),
        gone: name.clone(),
        verifier: Some(verifier(&password)),
        within: [SqlName::own(GROUP), owner.clone(), from.clone()].into(),
        settings: BTreeMap::new(),
    };
    heir.apply(&mut session.host)?;
    let url = Secret::new(format!("postgresql://{name}:{}@localhost:{PORT}/{owner}", password.reveal()));
    let given = session.host.postgres.reassign(&Login { account: uid, url }, from, &owner);
    session.host.postgres.drop_role(&name)?;
    given.with_context(|| format!("giving what `{from}` made to `{owner}`"))
}

/// The same where a failure costs nothing but room: `gc` comes back to it.
pub(super) fn forget(session: &mut Session<'_>, uid: u32) {
    if let Err(error) = drop_gone(session, uid) {
        let message =
            format!("a deleted database still takes room, and `hostkit gc` will drop it: {error:#}");
        session.ui.emit(Event::Warned { message: &message });
    }
}

/// The numbers of accounts from which something was taken away and not yet dropped.
pub(super) fn gone(session: &Session<'_>) -> Result<Vec<u32>> {
    if !session.host.postgres.is_installed() {
        return Ok(Vec::new());
    }
    let (roles, databases) = session.host.postgres.names()?;
    let names = roles.iter().chain(&databases).filter_map(|n| n.parse::<SqlName>().ok());
    let mut uids: Vec<u32> = names.filter_map(|n| n.gone_of()).collect();
    uids.sort_unstable();
    uids.dedup();
    Ok(uids)
}

/// The address of a project's database for somebody to see, once it is written down that they did.
pub fn reveal(session: &mut Session<'_>, name: &ProjectName) -> Result<Secret> {
    let _held = session.enter(name.as_str(), "db url --reveal")?;
    let spec = session.project(name)?.spec;
    let url = login(session, &spec)?.url;
    session.note(name.as_str(), "db url --reveal", "the password was shown")?;
    Ok(url)
}

/// Copies all that is in a project's database into another project's, which must be empty. Each side
/// works as its own project; all of it arrives, or nothing.
pub fn copy(session: &mut Session<'_>, from: &ProjectName, to: &ProjectName) -> Result<u64> {
    let _held = session.enter(to.as_str(), "db clone")?;
    let (source, target) = (session.project(from)?.spec, session.project(to)?.spec);
    let (read, write) = (login(session, &source)?, login(session, &target)?);
    if from == to {
        bail!(Fault::new(Code::InvalidValue, format!("`{from}` cannot be copied into itself")));
    }
    if session.host.postgres.is_written(&to.database())? {
        bail!(
            Fault::new(Code::WrongState, format!("the database of `{to}` is not empty"))
                .next(format!("hostkit db delete {to}    # then: hostkit db create {to}"))
        );
    }
    session.require_space()?;
    if session.mode == Mode::DryRun {
        return session.host.postgres.size(&from.database());
    }
    session.host.postgres.copy(&read, &write).map_err(|error| {
        anyhow::Error::new(Fault::new(
            Code::WrongState,
            format!("the database of `{from}` cannot be copied, and nothing arrived in `{to}`: {error:#}"),
        ))
    })?;
    session.note(to.as_str(), "db clone", &format!("everything was copied from `{from}`"))?;
    session.host.postgres.size(&to.database())
}
