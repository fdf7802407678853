//! Looking at everything: what differs from the registry, and putting it right.

use std::collections::BTreeSet;

use anyhow::Result;
use serde::Serialize;

use super::{
    backup::{
        offsite::Shelf,
        schedule::{damaged, overdue},
    },
    certificates::complaints,
    database::gone,
    environment::bring_back,
    init::VAULT_KEY,
    probation, remains,
    session::{Mode, Outcome, Session},
};
use crate::{
    domain::{
        fault::{Code, Fault},
        layout::host,
        name::ProjectName,
    },
    event::Event,
    plan::{Action, Foreign, Plan},
    project::Stage,
    resource::{Any, Service, probe},
};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Something is not as it should be.
    Problem,
    /// It could not be looked at: neither good nor bad.
    Unchecked,
}

/// Something that is not as the registry has it.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The project, or nothing for the host.
    pub project: String,
    /// The resource, or the check.
    pub what: String,
    /// How it differs.
    pub problem: String,
    /// What to type.
    pub fix: String,
}

/// Everything that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Survey {
    /// How many things were looked at.
    pub checks: usize,
    /// What was found.
    pub findings: Vec<Finding>,
}

impl Survey {
    fn find(
        &mut self,
        project: &str,
        what: impl Into<String>,
        problem: impl Into<String>,
        fix: impl Into<String>,
    ) {
        let (what, problem, fix) = (what.into(), problem.into(), fix.into());
        self.findings.push(Finding {
            severity: Severity::Problem,
            project: project.to_owned(),
            what,
            problem,
            fix,
        });
    }
}

/// Compares the host with the registry: one project, or everything.
pub fn doctor(session: &Session<'_>, only: Option<&ProjectName>) -> Result<Survey> {
    let mut survey = Survey { checks: 0, findings: Vec::new() };
    let names: Vec<String> = if let Some(name) = only {
        vec![session.project(name)?.spec.name.to_string()]
    } else {
        examine_host(session, &mut survey)?;
        session.store.projects()?.into_iter().map(|p| p.spec.name.to_string()).collect()
    };
    for open in session.store.open_operations()? {
        survey.checks += 1;
        if only.is_none_or(|n| n.as_str() == open.owner) {
            let what = format!("operation {} (`{} {}`)", open.id, open.verb, open.owner);
            survey.find(&open.owner, what, "is running, or was interrupted", "hostkit repair");
        }
    }
    let shelf = examine_target(session, &mut survey);
    let seen = Seen {
        shelf,
        // A server that is down was found out already.
        leftovers: gone(session).unwrap_or_default(),
        failed: failed(session)?,
    };
    if only.is_none() && seen.failed.contains("hostkit-gc.service") {
        survey.find("", "unit:hostkit-gc.service", "failed", "journalctl -u hostkit-gc -n 20");
    }
    for name in names {
        examine(session, &name, &mut survey)?;
        examine_backups(session, &name, &seen, &mut survey)?;
    }
    Ok(survey)
}

/// What is looked at once for all projects.
struct Seen {
    /// What lies at the target for copies of backups.
    shelf: Option<Shelf>,
    /// Accounts from whose databases something was taken away and not yet dropped.
    leftovers: Vec<u32>,
    /// Units of HostKit's that have failed.
    failed: BTreeSet<String>,
}

fn failed(session: &Session<'_>) -> Result<BTreeSet<String>> {
    let units = session.host.systemd.list()?.into_iter();
    Ok(units.filter(|(_, status)| status.active == "failed").map(|(name, _)| name).collect())
}

fn examine_host(session: &Session<'_>, survey: &mut Survey) -> Result<()> {
    survey.checks += 3;
    if !session.host.nginx.is_up() {
        survey.find("", "nginx", "is not running", "systemctl start nginx");
    }
    for complaint in session.store.integrity()? {
        survey.find("", "registry", complaint, format!("restore a copy of `{}`", host::registry()));
    }
    match (session.host.vault.fingerprint(), session.store.setting(VAULT_KEY)?) {
        (Ok(print), Some(known)) if print != known => {
            let problem = format!("is not the one that secrets were sealed with ({known})");
            survey.find("", "master key", problem, "put it back from your copy");
        }
        (Err(error), Some(_)) => {
            survey.find("", "master key", format!("{error:#}"), "put it back from your copy");
        }
        _ => {}
    }
    if session.store.setting("base_domain")?.is_none() {
        survey.find("", "host", "has not been set up", "hostkit init");
    }
    for (what, problem, fix) in complaints(session, None)? {
        survey.find("", what, problem, fix);
    }
    examine(session, "", survey)
}

/// Compares what an owner owns with what is there.
fn examine(session: &Session<'_>, owner: &str, survey: &mut Survey) -> Result<()> {
    let owned = session.store.owned(owner)?;
    let fix = if owner.is_empty() { "hostkit repair".to_owned() } else { format!("hostkit repair {owner}") };
    survey.checks += owned.len();
    match Plan::between(owned.clone(), owned.clone(), Foreign::Refuse, &session.host) {
        Ok(plan) => {
            for step in plan.changes() {
                let problem = match step.action {
                    Action::Create if step.resource.kind() == "service" => "does not run".to_owned(),
                    Action::Create => "is missing".to_owned(),
                    _ => step.reason.clone(),
                };
                survey.find(owner, step.resource.id(), problem, fix.clone());
            }
            // A process that runs as it should may still not answer.
            if plan.is_noop() {
                for service in owned.iter().filter_map(running) {
                    survey.checks += 1;
                    let Some(health) = &service.health else { continue };
                    if let Err(reason) = probe(health, &session.host) {
                        let what = format!("health:{}", service.unit);
                        survey.find(owner, what, format!("{reason:#}"), format!("hostkit logs {owner}"));
                    }
                }
            }
        }
        Err(error) => survey.findings.push(Finding {
            severity: Severity::Unchecked,
            project: owner.to_owned(),
            what: "resources".to_owned(),
            problem: format!("{error:#}"),
            fix,
        }),
    }
    Ok(())
}

/// What lies at the target for copies of backups, if there is one that lets itself be looked at.
fn examine_target(session: &Session<'_>, survey: &mut Survey) -> Option<Shelf> {
    let shelf = Shelf::look(session, None);
    survey.checks += usize::from(!matches!(shelf, Ok(None)));
    shelf.unwrap_or_else(|error| {
        let problem = format!("no copies can be made: {error:#}");
        survey.find("", "backup target", problem, "hostkit backup target");
        None
    })
}

/// Whether a handover is settled, and the backups and their copies are made that are to be made.
fn examine_backups(session: &Session<'_>, name: &str, seen: &Seen, survey: &mut Survey) -> Result<()> {
    let Some(row) = session.store.project(&name.parse()?)? else { return Ok(()) };
    if row.spec.stage != Stage::Settled {
        let problem = "is under way, or was interrupted: not all of it runs what is live";
        survey.find(name, "handover", problem, format!("hostkit repair {name}"));
    }
    survey.checks += 3 + usize::from(row.spec.backups.is_some());
    // As long as somebody is at work, it is no remains.
    if session.is_idle(name)? {
        for remain in remains::find(session, &row.spec.name)? {
            survey.find(name, "remains", remain.words(), format!("hostkit repair {name}"));
        }
    }
    if let Some(fallen) = &row.spec.rails.fallen {
        let problem = format!("was taken back by itself at {}: {}", fallen.at, fallen.why);
        survey.find(name, format!("release {}", fallen.release), problem, format!("hostkit logs {name}"));
    }
    if let Some(since) = &row.spec.rails.paused {
        survey.find(name, "deploys", format!("are paused since {since}"), format!("hostkit resume {name}"));
    }
    if let Some((id, why)) = damaged(session, &row.spec)? {
        survey.find(name, format!("backup:{id}"), why, format!("hostkit backup create {name}"));
    }
    if row.spec.backups.is_some() {
        let unit = row.spec.name.backup_unit().0;
        if seen.failed.contains(unit.as_str()) {
            survey.find(name, format!("unit:{unit}"), "failed", format!("journalctl -u {unit} -n 20"));
        }
    }
    if session.host.root.meta(&row.spec.name.restoring(row.spec.uid))?.is_some() {
        let problem = "something lies beside it: a restore runs, or has died";
        survey.find(name, "data", problem, "hostkit gc");
    } else if seen.leftovers.contains(&row.spec.uid) {
        survey.find(name, "database", "one that was taken away is still there", "hostkit gc");
    }
    for (what, problem, fix) in complaints(session, Some(&row.spec))? {
        survey.find(name, what, problem, fix);
    }
    if let Some(problem) = overdue(session, &row.spec)? {
        survey.find(name, "backups", problem, format!("hostkit backup create {name}"));
    }
    if let Some(shelf) = &seen.shelf
        && let Some(problem) = shelf.behind(session, &row.spec)?
    {
        survey.find(name, "backups", problem, format!("hostkit backup create {name}"));
    }
    Ok(())
}

fn running(resource: &Any) -> Option<&Service> {
    match resource {
        Any::Service(service) if service.running => Some(service),
        _ => None,
    }
}

/// Undoes what was interrupted and makes everything as the registry has it; says how many things
/// were put right.
pub fn repair(session: &mut Session<'_>, only: Option<&ProjectName>) -> Result<(Outcome, usize)> {
    let mut owners: Vec<String> = Vec::new();
    if let Some(name) = only {
        owners.push(name.to_string());
    } else {
        owners.push(String::new());
        owners.extend(session.store.projects()?.into_iter().map(|p| p.spec.name.to_string()));
    }
    let mut mended = 0;
    if session.mode == Mode::Run {
        let _held = session.enter("", "repair")?;
    }
    let mut failed: Vec<String> = Vec::new();
    let mut shown = Plan::default();
    for owner in owners {
        let mended_one = mend(session, &owner);
        shown.steps.extend(session.planned.take().into_iter().flat_map(|p| p.steps));
        // One broken project must not keep the others from being mended.
        match mended_one {
            Ok(n) => mended += n,
            Err(error) if only.is_some() => return Err(error),
            Err(error) if is(&error, Code::Interrupted) => {
                return Err(stopped(&error, mended + session.recovered));
            }
            Err(error) if is(&error, Code::Busy) => {
                session.ui.emit(Event::Warned { message: &format!("{error:#}; it was left out") });
            }
            Err(error) => {
                failed.push(format!("{}: {error:#}", if owner.is_empty() { "host" } else { &owner }));
            }
        }
    }
    mended += session.recovered;
    if session.mode == Mode::DryRun {
        session.planned = Some(shown);
    }
    if failed.is_empty() {
        let changed = match session.mode {
            Mode::Run => Outcome::Changed,
            Mode::DryRun => Outcome::WouldChange,
        };
        return Ok((if mended == 0 { Outcome::Unchanged } else { changed }, mended));
    }
    Err(Fault::new(Code::Unfinished, format!("not everything could be put right:\n{}", failed.join("\n")))
        .next("hostkit doctor")
        .into())
}

/// Undoes what was interrupted, and goes on with handovers that were; whatever else differs from the
/// registry is left alone. Says how many things there were.
pub fn resume(session: &mut Session<'_>) -> Result<(Outcome, usize)> {
    for project in session.store.projects()? {
        let name = project.spec.name;
        // Somebody is at work there, or what went wrong has been said.
        let resumed = session.enter(name.as_str(), "repair").and_then(|_held| {
            let spec = session.project(&name)?.spec;
            if session.mode == Mode::Run { probation::go_on(session, &spec) } else { Ok(()) }
        });
        if let Err(error) = resumed {
            if is(&error, Code::Interrupted) {
                return Err(stopped(&error, session.recovered));
            }
            session.ui.emit(Event::Warned { message: &format!("{name}: {error:#}") });
        }
    }
    let outcome = match (session.recovered, session.mode) {
        (0, _) => Outcome::Unchanged,
        (_, Mode::Run) => Outcome::Changed,
        (_, Mode::DryRun) => Outcome::WouldChange,
    };
    Ok((outcome, session.recovered))
}

/// Whether somebody else is at work there.
pub(super) fn is_busy(error: &anyhow::Error) -> bool {
    is(error, Code::Busy)
}

fn is(error: &anyhow::Error, code: Code) -> bool {
    error.downcast_ref::<Fault>().is_some_and(|fault| fault.code == code)
}

/// Somebody stopped it: what was put right stays so, and what was not has not failed.
fn stopped(error: &anyhow::Error, mended: usize) -> anyhow::Error {
    let so_far = match mended {
        0 => "nothing had been put right yet".to_owned(),
        1 => "1 thing had been put right".to_owned(),
        n => format!("{n} things had been put right"),
    };
    Fault::new(Code::Interrupted, format!("{error:#}; {so_far}")).next("hostkit repair").into()
}

fn mend(session: &mut Session<'_>, owner: &str) -> Result<usize> {
    let _held = session.enter(owner, "repair")?;
    if !owner.is_empty() {
        // It may have been deleted, or its name never finished, while others were mended.
        session.project(&owner.parse()?)?;
    }
    let owned = session.store.owned(owner)?;
    let mut wanted = owned.clone();
    bring_back(session, owner, &mut wanted)?;
    let plan = Plan::between(owned.clone(), wanted, Foreign::Refuse, &session.host)?;
    let due = plan.changes().count();
    if due > 0 {
        session.carry_out(owner, "repair", &plan, |registry| registry.own(owner, owned.iter()))?;
    }
    Ok(due)
}
