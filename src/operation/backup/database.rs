//! A project's database in a backup: the way into it, and another one beside it.
//!
//! What is loaded is loaded by a login made for it alone, which is a member of the project's role and
//! works as it. So all that comes out of a dump belongs to the project, whoever wrote it, and the
//! superuser never enters.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
};

use anyhow::{Result, bail};

use super::{ProjectSpec, Session};
use crate::{
    domain::{
        env::EnvKey,
        fault::{Code, Fault},
        name::ProjectName,
        secret::Secret,
        sql_name::SqlName,
    },
    operation::database::{self, drop_gone},
    resource::{Any, Database, DatabaseSwap, Resource, Role},
    system::{
        postgres::{GROUP, Login, PORT, verifier},
        vault,
    },
};

/// What was loaded, and waits to take its place.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    /// What will change places.
    pub(super) swaps: Vec<Any>,
    /// The project's own variables.
    pub(super) users: Option<Secret>,
    /// What was in the vault, for a project that has none yet.
    pub(super) vault: Vec<(EnvKey, Secret)>,
}

/// The project's way into its database, if it has one.
pub(super) fn door(session: &Session<'_>, spec: &ProjectSpec) -> Result<Option<Login>> {
    match &spec.database {
        None => Ok(None),
        Some(_) => database::login(session, spec).map(Some),
    }
}

/// A database that lies beside the project's, and the login that works in it. Both are called what is
/// dropped with everything else that nobody can have back, so none is ever left for good.
fn beside(name: &ProjectName, what: &str, uid: u32) -> SqlName {
    SqlName::own(&format!("{}_{what}", name.database())).gone(uid)
}

/// A login of this name that works as another role, if it is not itself the one, with a new password.
fn login(session: &mut Session<'_>, spec: &ProjectSpec, name: &SqlName, role: &SqlName) -> Result<Login> {
    let password = vault::password()?;
    let mut login = Role {
        name: name.clone(),
        gone: name.clone(),
        verifier: Some(verifier(&password)),
        within: BTreeSet::from([SqlName::own(GROUP)]),
        settings: BTreeMap::new(),
    };
    if role != name {
        login.within.insert(role.clone());
        login.settings.insert("role".to_owned(), role.to_string());
    }
    login.apply(&mut session.host)?;
    Database { gone: name.clone(), name: name.clone(), role: role.clone() }.apply(&mut session.host)?;
    let url = format!("postgresql://{name}:{}@localhost:{PORT}/{name}", password.reveal());
    Ok(Login { account: spec.uid, url: Secret::new(url) })
}

/// Loads a dump into a new database beside the project's.
pub(super) fn load(session: &mut Session<'_>, spec: &ProjectSpec, from: &mut dyn Read) -> Result<Login> {
    let (name, role) = (beside(&spec.name, "new", spec.uid), spec.name.database());
    let door = login(session, spec, &name, &role)?;
    session.host.copies.load(&door, from)?;
    // The login may have made something as itself, if the dump says so.
    if session.host.postgres.is_owner(&name)? {
        bail!(
            Fault::new(Code::InvalidBackup, "the dump makes things that do not belong to the project's role")
                .next("make a backup of a database whose objects all belong to the project")
        );
    }
    Ok(door)
}

/// Loads a dump into a database, owned by a role, that both look as if they had been taken away from the
/// project. There is no account of that number at this time, and nobody else can have it.
pub(super) fn revive(session: &mut Session<'_>, spec: &ProjectSpec, from: &mut dyn Read) -> Result<()> {
    let name = spec.name.database().gone(spec.uid);
    let door = login(session, spec, &name, &name)?;
    session.host.copies.load(&door, from)
}

/// How what was loaded takes the place of the project's database.
pub(super) fn swap(spec: &ProjectSpec) -> Any {
    let beside = |what| beside(&spec.name, what, spec.uid);
    DatabaseSwap { name: spec.name.database(), incoming: beside("new"), aside: beside("old") }.into()
}

/// Drops what lies beside the project's database.
pub(super) fn clear(session: &mut Session<'_>, spec: &ProjectSpec) -> Result<()> {
    if spec.database.is_some() {
        drop_gone(session, spec.uid)?;
    }
    Ok(())
}
