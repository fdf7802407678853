//! Making a project, or bringing an existing one to what is asked for now.

use anyhow::{Result, bail};

use super::{
    certificates, database,
    redis::{self, Asked},
    session::{Outcome, Session},
    storage,
};
use crate::{
    domain::{
        command::StartCommand,
        fault::{Code, Fault},
        hostname::Hostname,
        name::ProjectName,
        port::Port,
        runtime::Runtime,
    },
    plan::{Foreign, Plan},
    project::{
        ProjectSpec, Rails, Stage,
        builder::Builder,
        config::HealthConfig,
        framework::Framework,
        schedule::{Clock, Schedule},
    },
};

/// The first account number that is given to a project.
const FIRST_UID: u32 = 2000;
/// Numbers below this belong to the distribution.
const FIRST_LOGIN: u32 = 1000;
/// Numbers from here on are given out by others: containers, `nobody`.
const LAST_LOGIN: u32 = 60_000;

/// Whether a service is asked for. What a project has already is never taken away by asking for less.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ask {
    /// It is to be left out.
    #[default]
    No,
    /// It is made where the host has it.
    IfThere,
    /// It is made, or nothing is.
    Yes,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The project's name.
    pub name: ProjectName,
    /// Its runtime, when it is not to be detected.
    pub runtime: Option<Runtime>,
    /// Its framework, when that is not to be detected.
    pub framework: Option<Framework>,
    /// Its start command, when it is not to be found in the source.
    pub start: Option<StartCommand>,
    /// Its port, when it is not to be chosen.
    pub port: Option<Port>,
    /// The Redis it is to have; `None`: what it has.
    pub redis: Option<Asked>,
    /// Whether it is to have a database.
    pub database: bool,
    /// Whether an account or a file that exists may be taken over.
    pub foreign: Foreign,
    /// Whether it is to have object storage.
    pub storage: Ask,
    /// Whether it is to have daily backups, if it is new and stores anything in a service.
    pub backups: bool,
    /// How many bytes may lie in its bucket; `None`: as many as until now, or the usual number.
    pub quota: Option<u64>,
}

/// Provisions a project; says what it is now.
pub fn provision(session: &mut Session<'_>, wish: &Wish) -> Result<(Outcome, ProjectSpec)> {
    let _held = session.enter_host(wish.name.as_str(), "provision")?;
    let mut spec = match session.store.project(&wish.name)? {
        Some(row) => renewed(session, row.spec, wish)?,
        None => fresh(session, wish)?,
    };
    if let Some(asked) = wish.redis {
        redis::furnish(session, &mut spec, asked)?;
    }
    if wish.database && spec.database.is_none() {
        spec.database = Some(database::fresh(session, &spec)?);
    }
    storage::furnish(session, &mut spec, wish)?;
    let exists = session.store.project(&wish.name)?.is_some();
    let stores = spec.database.is_some() || spec.redis.is_some() || spec.storage.is_some();
    // Of one that exists somebody may have said that it is not to have any.
    if wish.backups && !exists && stores {
        let since = format!("{:.0}", session.host.clock.now());
        spec.backups = Some(Schedule { at: Clock::of(spec.uid), since });
    }
    let adopted = session.host.accounts.find(spec.name.as_str())?.is_some();
    let owned = session.store.owned(spec.name.as_str())?;
    let plan = Plan::between(owned, session.wanted(&spec)?, wish.foreign, &session.host)?;
    let same = session.store.project(&spec.name)?.is_some_and(|row| row.spec == spec);
    if plan.is_noop() && exists && same {
        return Ok((Outcome::Unchanged, spec));
    }
    let (now, caller) = (format!("{:.0}", session.host.clock.now()), session.caller.clone());
    let outcome = session.carry_out(spec.name.as_str(), "provision", &plan, |registry| {
        if exists {
            registry.put_project(&spec)?;
        } else {
            registry.add_project(&spec, &now, &caller)?;
            if !adopted {
                registry.raise_uid(spec.uid)?;
            }
        }
        registry.own(spec.name.as_str(), plan.wanted())
    })?;
    Ok((outcome, spec))
}

/// An existing project with what is asked for now.
fn renewed(session: &Session<'_>, old: ProjectSpec, wish: &Wish) -> Result<ProjectSpec> {
    let mut spec = old;
    if wish.runtime.is_some() || wish.framework.is_some() {
        spec.asked = wish.runtime;
        spec.framework = wish.framework;
        // It was for another runtime.
        spec.start = None;
    }
    if wish.start.is_some() {
        spec.start.clone_from(&wish.start);
    }
    if let Some(port) = wish.port
        && port != spec.port
    {
        refuse_used(session, port)?;
        spec.port = port;
    }
    Ok(spec)
}

fn fresh(session: &Session<'_>, wish: &Wish) -> Result<ProjectSpec> {
    session.require_space()?;
    let base = base_domain(session)?;
    let web = session.host.accounts.find("www-data")?.ok_or_else(|| {
        Fault::new(Code::ProgramMissing, "the web server's account `www-data` does not exist")
            .next("apt-get install nginx")
    })?;
    Ok(ProjectSpec {
        name: wish.name.clone(),
        uid: uid(session, wish)?,
        port: port(session, wish)?,
        domain: base.under(wish.name.as_str())?,
        domains: Vec::new(),
        certificates: std::collections::BTreeMap::new(),
        covered: certificates::covers(session, &base.under(wish.name.as_str())?)?,
        web: (web.uid, web.gid),
        ipv6: session.host.net.ipv6(),
        asked: wish.runtime,
        framework: wish.framework,
        start: wish.start.clone(),
        running: true,
        live: None,
        kept: Vec::new(),
        lineage: Vec::new(),
        env: None,
        injected: std::collections::BTreeMap::new(),
        shared: std::collections::BTreeSet::new(),
        backups: None,
        redis: None,
        database: None,
        deploy_key: false,
        storage: None,
        build: None,
        rails: Rails::default(),
        stage: Stage::Settled,
        scale: std::collections::BTreeMap::new(),
        health: HealthConfig::default(),
    })
}

/// The domain that projects' names stand under.
fn base_domain(session: &Session<'_>) -> Result<Hostname> {
    match session.store.setting("base_domain")? {
        Some(domain) => Ok(domain.parse()?),
        None => bail!(
            Fault::new(Code::NotInitialised, "this host has not been set up for HostKit")
                .next("hostkit init --base-domain example.com")
        ),
    }
}

/// A number that was never given out, or that of the account which is taken over.
fn uid(session: &Session<'_>, wish: &Wish) -> Result<u32> {
    let name = wish.name.as_str();
    if let Some(account) = session.host.accounts.find(name)? {
        let taken = |why: String| Fault::new(Code::NameTaken, why).next("choose another name");
        if !(FIRST_LOGIN..LAST_LOGIN).contains(&account.uid) || account.gid != account.uid {
            bail!(taken(format!("`{name}` is an account of the system's")));
        }
        if wish.foreign == Foreign::Refuse {
            bail!(taken(format!("an account `{name}` exists and is not HostKit's")));
        }
        // A project's process gets all that its account has, and the account goes when the project goes.
        let groups = session.host.accounts.groups(name)?;
        if !groups.is_empty() || session.caller == name || account.home != wish.name.home().to_string() {
            let why = if groups.is_empty() {
                "is a person's".to_owned()
            } else {
                format!("is in the groups {}", groups.join(", "))
            };
            bail!(taken(format!("the account `{name}` {why}, and is not taken over")));
        }
        return Ok(account.uid);
    }
    let mut uid = session.store.highest_uid()?.map_or(FIRST_UID, |highest| FIRST_UID.max(highest + 1));
    while session.host.accounts.is_used(uid)? {
        uid += 1;
    }
    // The numbers above are those of build accounts.
    if uid >= Builder::FIRST {
        bail!(
            Fault::new(Code::NameTaken, "every number for accounts has been given out")
                .next("hostkit project list")
        );
    }
    Ok(uid)
}

fn port(session: &Session<'_>, wish: &Wish) -> Result<Port> {
    if let Some(port) = wish.port {
        refuse_used(session, port)?;
        return Ok(port);
    }
    free_port(session)
}

/// The first port that no project has and nothing listens on.
pub(super) fn free_port(session: &Session<'_>) -> Result<Port> {
    let given = session.store.ports()?;
    let free = |p: &Port| !given.contains(&p.number()) && session.host.net.is_free(p.number());
    Port::all().find(free).ok_or_else(|| {
        Fault::new(Code::PortTaken, "every port for projects is taken").next("hostkit project list").into()
    })
}

fn refuse_used(session: &Session<'_>, port: Port) -> Result<()> {
    let holder = if session.store.ports()?.contains(&port.number()) {
        Some("another project".to_owned())
    } else {
        session.host.net.listener(port.number())?.map(|uid| format!("a process of the account {uid}"))
    };
    match holder {
        None => Ok(()),
        Some(holder) => Err(Fault::new(Code::PortTaken, format!("port {port} is taken by {holder}"))
            .next("leave `--port` out and HostKit chooses a free one")
            .into()),
    }
}
