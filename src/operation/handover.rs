//! Handing over: from what runs to what is to run, without a moment in which nobody answers.
//!
//! Three operations, each wholly done or not at all; after the first what is new is live, and whoever
//! finds the others undone goes on with them ([`settle`]).
//!
//! 1. The files change, and the *surge* instance runs what is new beside what is there. Once it is
//!    healthy the site leads to it ([`Stage::Surge`]). If it is not, all is put back; nothing has stopped.
//! 2. Requests that are under way get their answers. The regular instances are started anew, one after
//!    the other, and the site leads to them again ([`Stage::Drain`]).
//! 3. What answers no requests is started anew; the surge instance, and whatever else is not wanted any
//!    more, is given time for its last answers, and goes ([`Stage::Settled`]).
//!
//! What cannot run twice, what does not run, and files that nginx serves change in one operation, and the
//! third follows if there is anything to be done in it.

mod change;

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{
    lifecycle::retire,
    session::{Mode, Outcome, Session},
};
use crate::{
    domain::{layout::UnitName, name::ProjectName},
    event::Event,
    plan::{Action, Foreign, Plan, Step},
    project::{ProjectSpec, Stage, fpm::Fpm},
    resource::{Any, Service, Standing},
    store::Registry,
    system::{process, systemd::invocation},
};

pub(super) use self::change::Change;

/// How long a process goes on at least after the site leads elsewhere: what nginx accepted before may
/// still be on its way. Measured: with less, requests fail.
const LEAST: Duration = Duration::from_millis(150);
/// How long to wait between two looks at connections.
const PACE: Duration = Duration::from_millis(25);
/// How long a process that answers nobody must last to count as started.
const STEADY: Duration = Duration::from_millis(500);

/// What came of a handover.
#[derive(Clone, Copy, Debug)]
pub(super) struct Handed {
    pub(super) outcome: Outcome,
    /// Whether a process that ran was started anew.
    pub(super) restarted: bool,
}

/// Brings a project from what runs to what is to run; `more` goes into the registry with it. When it
/// fails, everything is as it was. Once it is done what is left over is settled; if that fails, it is
/// live all the same, and a warning says what is left.
pub(super) fn hand_over(
    session: &mut Session<'_>,
    change: &Change<'_>,
    more: impl FnOnce(&Registry<'_>) -> Result<()>,
) -> Result<Handed> {
    let (name, new) = (change.name(), change.new);
    let owned = change.with_swaps(session.store.owned(name.as_str())?);
    let settled = change.wanted(session, Stage::Settled)?;
    let mut plan = change.plain(session, &owned, &settled)?;
    let restarted = plan.changes().any(replaces);
    let late = between(session, &owned, &settled, is_late)?;
    let leaves = !leaving(&owned, &settled).is_empty();
    if plan.is_noop() && late.is_noop() && !leaves && change.is_old() {
        return Ok(Handed { outcome: Outcome::Unchanged, restarted: false });
    }
    let mut stage = if leaves || settled.iter().any(is_late) { Stage::Drain } else { Stage::Settled };
    // Where the surge instance already answers, the regular ones can be started anew at once.
    let twice = change.old.surges() && new.surges() && change.old.stage != Stage::Surge;
    if restarted && twice && session.mode == Mode::Run {
        stage = Stage::Surge;
        plan = change.surge(session, &owned, &change.wanted(session, stage)?)?;
    }
    if !plan.is_noop() && session.mode == Mode::Run {
        plan.follow(standing(session, &owned, &plan)?);
    }
    let all = with_leaving(&owned, session.wanted(&new.at(stage))?);
    let outcome = session.carry_out(name.as_str(), change.verb, &plan, |registry| {
        if let Some(draft) = change.draft {
            draft.record(registry, &all)?;
        }
        registry.put_project(&new.at(stage))?;
        registry.own(name.as_str(), all.iter())?;
        more(registry)
    })?;
    if stage == Stage::Surge && session.mode == Mode::Run {
        let detail = "requests go to what is new; the regular processes follow";
        session.ui.emit(Event::Finished { what: "live", detail, ms: 0 });
    }
    if let Err(error) = settle(session, name) {
        let message = format!(
            "`{name}` is as it was to be and answers, but the handover is not finished: {error:#}; \
             `hostkit repair {name}` goes on with it"
        );
        session.ui.emit(Event::Warned { message: &message });
    }
    Ok(Handed { outcome, restarted })
}

/// Whether a command replaces what runs, so that nothing need be settled before it.
pub(super) fn replaces_all(verb: &str) -> bool {
    ["deploy", "rollback", "restart", "stop", "delete"].contains(&verb)
}

/// Goes on with a handover whose first operation is done. The caller holds the project's lock.
pub(super) fn settle(session: &mut Session<'_>, name: &ProjectName) -> Result<()> {
    let Some(spec) = session.store.project(name)?.map(|row| row.spec) else { return Ok(()) };
    if spec.stage == Stage::Settled || session.mode == Mode::DryRun {
        return Ok(());
    }
    // There is no way back from here that would be better than the way on.
    let _forward = process::go_forward();
    if spec.stage == Stage::Surge {
        lead_back(session, &spec)?;
    }
    finish(session, &spec)?;
    if spec.stage == Stage::Surge {
        // Nothing runs any more that was started before.
        retire(session, name);
    }
    Ok(())
}

/// The second operation: the regular instances run what is live, and the site leads to them.
fn lead_back(session: &mut Session<'_>, spec: &ProjectSpec) -> Result<()> {
    let name = &spec.name;
    let owned = session.store.owned(name.as_str())?;
    let settled = session.wanted(&spec.at(Stage::Settled))?;
    let since = started(session, &name.surge_unit())?;
    let mut old = Vec::new();
    for service in settled.iter().filter_map(answers) {
        if is_older(session, service, since)? {
            old.push(service.unit.clone());
        }
    }
    let ports = settled.iter().filter_map(answers).filter(|s| old.contains(&s.unit)).filter_map(port);
    drain(session, spec, &ports.collect::<Vec<_>>());
    let mut plan = between(session, &owned, &settled, |r| is_site(r) || answers(r).is_some())?;
    plan.renew_if("runs what was live before", |r| answers(r).is_some_and(|s| old.contains(&s.unit)));
    let all = with_leaving(&owned, settled);
    session.carry_out(name.as_str(), "settle", &plan, |registry| {
        registry.put_project(&spec.at(Stage::Drain))?;
        registry.own(name.as_str(), all.iter())
    })?;
    Ok(())
}

/// The third: what answers no requests is started anew, and what is not wanted any more goes.
fn finish(session: &mut Session<'_>, spec: &ProjectSpec) -> Result<()> {
    let name = &spec.name;
    let settled = session.wanted(&spec.at(Stage::Settled))?;
    if let Err(error) = start_late(session, spec, &settled) {
        let message = format!("not everything that runs beside the release was started: {error:#}");
        session.ui.emit(Event::Warned { message: &message });
    }
    let leaving = leaving(&session.store.owned(name.as_str())?, &settled);
    let mut ports = Vec::new();
    for service in leaving.iter().filter_map(answers) {
        if started(session, &service.unit)?.is_some() {
            ports.extend(port(service));
        }
    }
    drain(session, spec, &ports);
    let plan = Plan::between(leaving, Vec::new(), Foreign::Refuse, &session.host)?;
    let record = |registry: &Registry<'_>| {
        registry.put_project(&spec.at(Stage::Settled))?;
        registry.own(name.as_str(), settled.iter())
    };
    if plan.is_noop() {
        return session.store.change(record);
    }
    session.carry_out(name.as_str(), "settle", &plan, record).map(drop)
}

/// Starts workers and timers anew, and sees that the workers last. One that does not is somebody's to look
/// after, and no reason to take back a release that answers.
fn start_late(session: &mut Session<'_>, spec: &ProjectSpec, settled: &[Any]) -> Result<()> {
    let name = &spec.name;
    let owned = session.store.owned(name.as_str())?;
    // Started from the same, and as old as what answers.
    let since = started(session, &name.surge_unit())?.or(started(session, &name.unit())?);
    let mut old = Vec::new();
    for service in settled.iter().filter_map(worker) {
        // One that has just ended by itself would be started from what is live too, but later.
        if is_older(session, service, since)? || started(session, &service.unit)?.is_none() {
            old.push(service.unit.clone());
        }
    }
    let mut plan = between(session, &owned, settled, is_late)?;
    plan.renew_if("runs what was live before", |r| worker(r).is_some_and(|s| old.contains(&s.unit)));
    if plan.is_noop() {
        return Ok(());
    }
    let all = with_leaving(&owned, settled.to_vec());
    session.carry_out(name.as_str(), "settle", &plan, |registry| {
        registry.put_project(&spec.at(Stage::Drain))?;
        registry.own(name.as_str(), all.iter())
    })?;
    if !spec.running {
        return Ok(());
    }
    let begun: Vec<&UnitName> =
        plan.changes().filter_map(|step| worker(&step.resource)).map(|service| &service.unit).collect();
    let before = begun.iter().map(|unit| started(session, unit)).collect::<Result<Vec<_>>>()?;
    if !begun.is_empty() {
        session.host.clock.sleep(STEADY);
    }
    for (unit, before) in begun.into_iter().zip(before) {
        if before.is_none() || started(session, unit)? != before {
            let message = if session.host.systemd.postmortem(unit)?.is_well() {
                format!("`{unit}` ended by itself, without an error; it is started again after 5 s")
            } else {
                format!("`{unit}` does not last: it is started again and again (`hostkit logs {name}`)")
            };
            session.ui.emit(Event::Warned { message: &message });
        }
    }
    Ok(())
}

/// The processes that go on while what they were started from changes.
fn standing(session: &Session<'_>, owned: &[Any], plan: &Plan) -> Result<Plan> {
    let touched = |unit: &UnitName| {
        plan.changes().any(|step| matches!(&step.resource, Any::Service(service) if service.unit == *unit))
    };
    let mut all: Vec<Any> = Vec::new();
    for resource in owned {
        if let Any::Service(Service { unit, inputs, .. }) = resource
            && !touched(unit)
            && started(session, unit)?.is_some()
        {
            all.push(Standing { unit: unit.clone(), inputs: inputs.clone() }.into());
        }
    }
    Plan::between(all.clone(), all, Foreign::Refuse, &session.host)
}

/// Waits until nobody is connected to these ports any more, but no longer than a process may take that
/// ends.
fn drain(session: &mut Session<'_>, spec: &ProjectSpec, ports: &[u16]) {
    if ports.is_empty() {
        return;
    }
    let (began, clock) = (Instant::now(), &session.host.clock);
    let most = clock.elapsed() + Duration::from_secs(spec.drain().into());
    clock.sleep(LEAST);
    // What cannot be looked at is given the whole time.
    let busy = || ports.iter().any(|port| session.host.net.is_busy(*port).unwrap_or(true));
    let mut cut = busy();
    while cut && clock.elapsed() < most {
        clock.sleep(PACE);
        cut = busy();
    }
    let detail = if cut { "connections that would not end are cut" } else { "every request is answered" };
    let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    session.ui.emit(Event::Finished { what: "drain", detail, ms });
}

/// The plan for those of the resources that are meant; what is not wanted any more stays for now.
fn between(
    session: &Session<'_>,
    owned: &[Any],
    wanted: &[Any],
    is_meant: impl Fn(&Any) -> bool,
) -> Result<Plan> {
    let leaving: Vec<String> = leaving(owned, wanted).iter().map(Any::id).collect();
    let owned = owned.iter().filter(|r| is_meant(r) && !leaving.contains(&r.id())).cloned().collect();
    let wanted = wanted.iter().filter(|r| is_meant(r)).cloned().collect();
    Plan::between(owned, wanted, Foreign::Refuse, &session.host)
}

/// What runs of a project, or is run from.
pub(super) fn runs(resource: &Any) -> bool {
    match resource {
        Any::Service(_) | Any::Unit(_) | Any::Timer(_) => true,
        Any::ManagedFile(file) => {
            let name = file.path.file_name();
            name.starts_with(".env.") || name == Fpm::CONFIG
        }
        _ => false,
    }
}

/// What runs, or is run from, and is not wanted any more.
fn leaving(owned: &[Any], wanted: &[Any]) -> Vec<Any> {
    let gone = |r: &&Any| !wanted.iter().any(|w| w.id() == r.id());
    owned.iter().filter(|r| runs(r)).filter(gone).cloned().collect()
}

fn with_leaving(owned: &[Any], wanted: Vec<Any>) -> Vec<Any> {
    let leaving = leaving(owned, &wanted);
    wanted.into_iter().chain(leaving).collect()
}

/// A process that answers requests.
fn answers(resource: &Any) -> Option<&Service> {
    match resource {
        Any::Service(service) if service.health.is_some() => Some(service),
        _ => None,
    }
}

/// A process that answers none.
fn worker(resource: &Any) -> Option<&Service> {
    match resource {
        Any::Service(service) if service.health.is_none() => Some(service),
        _ => None,
    }
}

/// What is started anew only when what answers is live: it must not keep it from that.
fn is_late(resource: &Any) -> bool {
    match resource {
        Any::Timer(timer) => timer.unit.as_str().ends_with("-cron.timer"),
        _ => worker(resource).is_some(),
    }
}

fn is_env(resource: &Any) -> bool {
    matches!(resource, Any::EnvFile(_))
}

fn is_site(resource: &Any) -> bool {
    matches!(resource, Any::Site(_))
}

/// What the surge instance is made of, and what leads to it.
fn is_of_surge(resource: &Any, name: &ProjectName) -> bool {
    match resource {
        Any::Site(_) => true,
        Any::Unit(unit) => unit.unit == name.surge_unit(),
        Any::Service(service) => service.unit == name.surge_unit(),
        Any::ManagedFile(file) => file.path == name.port_file("surge"),
        Any::LogFile(log) => log.path.file_name() == "surge.log",
        _ => false,
    }
}

/// Whether a step stops a process that answers, to start it anew.
fn replaces(step: &Step) -> bool {
    let runs = answers(&step.resource).is_some_and(|service| service.running);
    runs && step.action == Action::Change && step.found["running"] == true
}

fn port(service: &Service) -> Option<u16> {
    service.health.as_ref().map(|health| health.port)
}

/// Since when a unit runs.
fn started(session: &Session<'_>, unit: &UnitName) -> Result<Option<(i64, i64)>> {
    Ok(invocation(&session.host.root, unit)?.map(|i| i.meta.changed))
}

/// Whether a process runs that was started before that moment.
fn is_older(session: &Session<'_>, service: &Service, since: Option<(i64, i64)>) -> Result<bool> {
    Ok(started(session, &service.unit)?.is_some_and(|at| since.is_some_and(|since| at < since)))
}
