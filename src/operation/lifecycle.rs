//! Starting, stopping, deleting and having back: changes of a project that exists.

mod garbage;

use anyhow::{Result, bail};
use jiff::SignedDuration;

use super::{
    backup, certificates, database,
    environment::Draft,
    handover::{Change, hand_over, runs},
    provision::free_port,
    redis, secrets,
    session::{Mode, Outcome, Session},
    storage::{self, Fate},
};
use crate::{
    domain::{
        fault::{Code, Fault},
        layout::{HostPath, host},
        name::ProjectName,
    },
    event::Event,
    plan::{Foreign, Plan},
    project::{ProjectSpec, Stage},
    resource::{Any, Directory},
    store::{ProjectRow, TrashRow},
};

pub use self::garbage::collect;

/// How long a deleted project can be had back.
const TRASH: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What should become of a project's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    /// It runs, now and after a reboot.
    Start,
    /// It does not, now and after a reboot.
    Stop,
    /// It is started anew.
    Restart,
}

impl Power {
    /// The command.
    pub const fn verb(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
        }
    }
}

/// Starts, stops or restarts a project.
pub fn power(session: &mut Session<'_>, name: &ProjectName, power: Power) -> Result<(Outcome, ProjectSpec)> {
    let _held = session.enter(name.as_str(), power.verb())?;
    let mut spec = session.project(name)?.spec;
    match &spec.live {
        None => bail!(
            Fault::new(
                Code::WrongState,
                format!("`{name}` has not been deployed; there is nothing to {}", power.verb())
            )
            .next(format!("hostkit deploy {name} --source DIR"))
        ),
        Some((_, launch)) if launch.exec.is_none() => bail!(Fault::new(
            Code::WrongState,
            format!(
                "`{name}` is static: nginx serves it and no process runs; there is nothing to {}",
                power.verb()
            )
        )),
        Some(_) => {}
    }
    let old = spec.clone();
    spec.running = power != Power::Stop;
    // Nothing else: a project must be stoppable whatever it has made of its own files.
    if power != Power::Stop && secrets::is_due(session, &spec)? {
        return begin_anew(session, name, power, &old, &spec);
    }
    let renew = (power == Power::Restart).then_some("restart");
    let change = Change {
        verb: power.verb(),
        old: &old,
        new: &spec,
        draft: None,
        renew,
        swaps: &[],
        concerned: &runs,
    };
    let handed = hand_over(session, &change, |_| Ok(()))
        .map_err(|error| super::deploy::verdict(session, &old, error))?;
    // Stopped, or started anew: nothing runs any more that knew the old ones.
    if power != Power::Start {
        retire(session, name);
    }
    Ok((handed.outcome, spec))
}

/// Starts a process that gets other secrets than the one before it.
fn begin_anew(
    session: &mut Session<'_>,
    name: &ProjectName,
    power: Power,
    old: &ProjectSpec,
    spec: &ProjectSpec,
) -> Result<(Outcome, ProjectSpec)> {
    let mut draft = Draft::begin(session, spec)?;
    draft.inject(session)?;
    let concerned = |r: &Any| matches!(r, Any::EnvFile(_)) || runs(r);
    let change = Change {
        verb: power.verb(),
        old,
        new: &draft.spec,
        draft: Some(&draft),
        renew: Some(power.verb()),
        swaps: &[],
        concerned: &concerned,
    };
    let handed = hand_over(session, &change, |_| Ok(()))
        .map_err(|error| super::deploy::verdict(session, old, error))?;
    retire(session, name);
    Ok((handed.outcome, draft.spec))
}

/// Lets the credentials go that only the process before this one used. What it follows is done; a failure
/// here is only a warning, and costs nothing but that they stay valid until the next time.
pub(super) fn retire(session: &mut Session<'_>, name: &ProjectName) {
    if let Err(error) = disown(session, name) {
        let message = format!("the credentials from before the rotation are still valid: {error:#}");
        session.ui.emit(Event::Warned { message: &message });
    }
}

fn disown(session: &mut Session<'_>, name: &ProjectName) -> Result<()> {
    let Some(mut spec) = session.store.project(name)?.map(|row| row.spec) else { return Ok(()) };
    let logged_in = spec.database.as_ref().is_some_and(|database| database.retiring.is_some());
    // Until a handover is settled something runs that was started before.
    if session.mode == Mode::DryRun || spec.stage != Stage::Settled || !spec.retire() {
        return Ok(());
    }
    let_go(session, &spec)?;
    if logged_in {
        // What the old login made as itself is the project's from here on.
        database::forget(session, spec.uid);
    }
    Ok(())
}

/// Brings the host to what a specification without the old credentials says. Looks at nothing else: a
/// daemon that has none of them may be down.
fn let_go(session: &mut Session<'_>, spec: &ProjectSpec) -> Result<()> {
    let all = session.wanted(spec)?;
    let owned = session.store.owned(spec.name.as_str())?;
    let same = |r: &Any, others: &[Any]| -> Result<bool> {
        let text = serde_json::to_value(r)?;
        let other = others.iter().find(|other| other.id() == r.id());
        other.map_or(Ok(false), |other| Ok(serde_json::to_value(other)? == text))
    };
    let differing = |these: &[Any], others: &[Any]| -> Result<Vec<Any>> {
        let mut differing = Vec::new();
        for r in these {
            if matches!(r, Any::Role(_) | Any::RedisUser(_) | Any::BucketKey(_)) && !same(r, others)? {
                differing.push(r.clone());
            }
        }
        Ok(differing)
    };
    let (from, to) = (differing(&owned, &all)?, differing(&all, &owned)?);
    let plan = Plan::between(from, to, Foreign::Refuse, &session.host)?;
    settle(session, "retire", spec, &plan, &all).map(drop)
}

/// Carries out a plan of an existing project that will own `all`.
pub(super) fn settle(
    session: &mut Session<'_>,
    verb: &'static str,
    spec: &ProjectSpec,
    plan: &Plan,
    all: &[Any],
) -> Result<Outcome> {
    let same = session.store.project(&spec.name)?.is_some_and(|row| row.spec == *spec);
    if plan.is_noop() && same {
        return Ok(Outcome::Unchanged);
    }
    session.carry_out(spec.name.as_str(), verb, plan, |registry| {
        registry.put_project(spec)?;
        registry.own(spec.name.as_str(), all.iter())
    })
}

/// What is done for the data of a project that is deleted.
#[derive(Clone, Copy, Debug)]
pub struct Farewell {
    /// Whether a last backup is made.
    pub backup: bool,
    /// What becomes of the objects in its bucket.
    pub objects: Fate,
}

impl Farewell {
    /// A last backup with everything in it.
    pub const WHOLE: Self = Self { backup: true, objects: Fate::Saved };
    /// Nothing: what it stores is lost.
    pub const NONE: Self = Self { backup: false, objects: Fate::Lost };
}

/// Deletes a project: a last backup is made, unless none is wanted; its home and logs go to the trash,
/// everything else goes.
pub fn delete(
    session: &mut Session<'_>,
    name: &ProjectName,
    farewell: Farewell,
) -> Result<(Outcome, TrashRow)> {
    let _held = session.enter(name.as_str(), "delete")?;
    let ProjectRow { spec, created_at, created_by } = session.project(name)?;
    let mut saved = None;
    if farewell.backup {
        saved = backup::last(session, &spec, farewell.objects == Fate::Saved)?;
    }
    let resources = session.store.owned(name.as_str())?;
    let mut going = resources.clone();
    if farewell.objects == Fate::Lost {
        storage::give_up(session, &spec, &mut going)?;
    }
    let plan = Plan::between(going, Vec::new(), Foreign::Refuse, &session.host)?;
    let now = session.host.clock.now();
    let (deleted_at, expires_at) = (format!("{now:.0}"), format!("{:.0}", now + TRASH));
    let row = TrashRow { spec, resources, created_at, created_by, deleted_at, expires_at };
    let outcome = session.carry_out(name.as_str(), "delete", &plan, |registry| registry.trash(&row))?;
    if session.mode == Mode::Run {
        redis::forget(session, &row.spec);
        storage::forget(session, &row.spec, saved.as_ref());
    }
    database::forget(session, row.spec.uid);
    Ok((outcome, row))
}

/// The deleted project of this name that was deleted last.
pub fn trashed(session: &Session<'_>, name: &ProjectName) -> Result<TrashRow> {
    session.store.trash()?.into_iter().find(|row| row.spec.name == *name).ok_or_else(|| {
        Fault::new(Code::ProjectNotFound, format!("there is no deleted project `{name}`"))
            .next("hostkit project list --deleted")
            .into()
    })
}

/// Brings a deleted project back as it was.
pub fn restore(session: &mut Session<'_>, name: &ProjectName) -> Result<(Outcome, ProjectSpec)> {
    let _held = session.enter_host(name.as_str(), "restore")?;
    if session.store.project(name)?.is_some() {
        bail!(
            Fault::new(Code::NameTaken, format!("a project `{name}` exists"))
                .next(format!("hostkit project delete {name}"))
        );
    }
    session.require_space()?;
    let TrashRow { mut spec, resources, created_at, created_by, .. } = trashed(session, name)?;
    if session.host.accounts.find(name.as_str())?.is_some() {
        bail!(Fault::new(Code::NameTaken, format!("an account `{name}` exists and is not HostKit's")));
    }
    let used = session.store.ports()?.contains(&spec.port.number())
        || session.host.net.listener(spec.port.number())?.is_some();
    if used {
        spec.port = free_port(session)?;
    }
    spec.stage = Stage::Settled;
    // They went with it; the next look at certificates asks for new ones.
    spec.certificates.clear();
    spec.covered = certificates::covers(session, &spec.domain)?;
    backup::reclaim(session, &spec)?;
    redis::readmit(session, &mut spec)?;
    storage::readmit(session, &mut spec)?;
    let stocked = session.mode == Mode::Run && backup::revive(session, &spec)?;
    let plan = Plan::between(resources, session.wanted(&spec)?, Foreign::Refuse, &session.host)?;
    let brought_back = session.carry_out(name.as_str(), "restore", &plan, |registry| {
        registry.untrash(spec.uid)?;
        registry.add_project(&spec, &created_at, &created_by)?;
        registry.own(name.as_str(), plan.wanted())
    });
    backup::revived(session, &spec, stocked, brought_back.is_ok());
    Ok((brought_back?, spec))
}

/// Deletes a deleted project for good.
pub fn purge(session: &mut Session<'_>, name: &ProjectName) -> Result<(Outcome, TrashRow)> {
    let _held = session.enter(name.as_str(), "purge")?;
    let row = trashed(session, name)?;
    let outcome = doom(session, &row)?;
    if session.mode == Mode::Run {
        empty(session, &row.spec)?;
        redis::shred(session, &row.spec)?;
        storage::shred(session, &row.spec);
    }
    Ok((outcome, row))
}

/// Where what is lost for good waits to be deleted.
fn doomed(place: &HostPath) -> HostPath {
    place.parent().join(&format!(".doomed-{}", place.file_name()))
}

/// The commit point of a purge: the trees are renamed and the registry forgets them. From here on
/// they are only garbage.
fn doom(session: &mut Session<'_>, row: &TrashRow) -> Result<Outcome> {
    let (name, uid) = (&row.spec.name, row.spec.uid);
    let owned: Vec<Any> = [name.home_trash(uid), name.log_trash(uid)]
        .into_iter()
        .map(|path| {
            let trash = Some(doomed(&path));
            Directory { path, uid: 0, gid: uid, mode: 0o750, visitor: None, trash, whole: true }.into()
        })
        .collect();
    let plan = Plan::between(owned, Vec::new(), Foreign::Refuse, &session.host)?;
    session.carry_out(name.as_str(), "purge", &plan, |registry| {
        registry.untrash(uid)?;
        registry.forget_environment(uid)?;
        registry.forget_releases(uid)
    })
}

fn empty(session: &mut Session<'_>, spec: &ProjectSpec) -> Result<()> {
    for place in [spec.name.home_trash(spec.uid), spec.name.log_trash(spec.uid)] {
        session.host.root.shred(&doomed(&place))?;
    }
    session.host.root.shred(&spec.name.backups(spec.uid))?;
    session.host.root.shred(&spec.name.calls(spec.uid))?;
    let mark = format!("{}.{}.", spec.name, spec.uid);
    for entry in session.host.root.list(&host::home_trash())? {
        if entry.starts_with(&mark) {
            session.host.root.shred(&host::home_trash().join(&entry))?;
        }
    }
    Ok(())
}
