//! The operation of a deploy: the release goes to its place and live, or everything stays as it was.

use std::time::Duration;

use anyhow::Result;

use super::{Deployed, Upload, migrate, reason, stage::Staged};
use crate::{
    domain::{
        fault::{Code, Fault},
        release::{ReleaseId, ReleaseState},
    },
    event::Event,
    operation::{
        HostState,
        environment::Draft,
        handover::{Change, hand_over},
        session::{Outcome, Session},
    },
    project::{Phase, ProjectSpec, Stand},
    resource::Any,
    store::ReleaseRow,
};

/// How long one answer of the old process may take.
const ANSWER: Duration = Duration::from_secs(5);

/// What the project is to be, with the environment that the release is to run with.
fn draft(session: &mut Session<'_>, spec: &ProjectSpec, staged: &Staged) -> Result<Draft> {
    let mut draft = Draft::begin(session, spec)?;
    let stand = Stand { release: staged.id.clone(), env: draft.spec.env };
    draft.spec = draft.spec.standing(spec.lineage.len(), stand, staged.launch.clone());
    draft.spec.running = true;
    // That one was taken back is news until the next one is there.
    draft.spec.rails.fallen = None;
    draft.spec.shared.extend(staged.shared.iter().cloned());
    draft.generate(session, &staged.generated)?;
    draft.inject(session)?;
    Ok(draft)
}

/// The operation: the release goes to its place, the link is swapped, the process is started anew.
pub(super) fn switch(
    session: &mut Session<'_>,
    spec: &ProjectSpec,
    staged: Staged,
    upload: &Upload<'_>,
) -> Result<(Outcome, Deployed)> {
    let draft = draft(session, spec, &staged)?;
    let next = &draft.spec;
    let now = session.host.clock.now();
    let mut phase = Phase::default();
    let migrated = migrate::run(session, &draft, &staged, upload.skip_migrate, &mut phase);
    let row = |state| ReleaseRow {
        id: staged.id.clone(),
        state,
        launch: staged.launch.clone(),
        env: next.env,
        phase: phase.clone(),
        source: upload.source.clone(),
        files: staged.manifest.files,
        bytes: staged.manifest.bytes,
        created_at: format!("{now:.0}"),
        created_by: session.caller.clone(),
    };
    let (release, failed) = (row(ReleaseState::Retired), row(ReleaseState::Failed));
    if let Err(error) = migrated {
        remember(session, next.uid, &failed);
        return Err(error);
    }
    let pruned: Vec<&ReleaseId> = spec.kept.iter().filter(|k| !next.kept.contains(k)).collect();
    verify_override(session, next)?;
    let change = Change {
        verb: "deploy",
        old: spec,
        new: next,
        draft: Some(&draft),
        renew: None,
        swaps: &[],
        concerned: &|_| true,
    };
    let ran = hand_over(session, &change, |registry| {
        registry.put_release(next.uid, &release)?;
        registry.go_live(next.uid, &staged.id)?;
        for id in &pruned {
            registry.mark_release(next.uid, id, ReleaseState::Pruned)?;
        }
        Ok(())
    });
    match ran {
        Ok(handed) => {
            let release = ReleaseRow { state: ReleaseState::Live, ..release };
            let previous = spec.live_release().cloned();
            let Staged { why, mut warnings, forecast, .. } = staged;
            if release.launch.exec.is_some()
                && session.host.net.is_exposed(spec.port.number()).unwrap_or(false)
            {
                let port = spec.port;
                warnings.push(format!(
                    "the process listens on every address: port {port} can be reached past nginx; have it listen on $HOST"
                ));
            }
            let spec = draft.spec;
            Ok((handed.outcome, Deployed { spec, previous, release, why, forecast, warnings }))
        }
        Err(error) => {
            // What was refused before anything was done leaves no release behind.
            if error.is::<HostState>() || is_unfinished(&error) || phase.changed() {
                remember(session, next.uid, &failed);
            }
            let error = reason::explain(session, next, draft.part(), error);
            let mut error = verdict(session, spec, error);
            if phase.changed() {
                error = after_migration(error, next, &phase);
            }
            Err(error)
        }
    }
}

/// Whether an operation began and could not be undone either.
fn is_unfinished(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Fault>().is_some_and(|fault| fault.code == Code::Unfinished)
}

/// Names a release that failed in the records, so that its number is not given out again.
fn remember(session: &mut Session<'_>, uid: u32, failed: &ReleaseRow) {
    if let Err(complaint) = session.store.change(|registry| registry.put_release(uid, failed)) {
        session
            .ui
            .emit(Event::Warned { message: &format!("the failure is not in the records: {complaint:#}") });
    }
}

/// Says of a release that failed after its migrations what became of the database.
fn after_migration(error: anyhow::Error, next: &ProjectSpec, phase: &Phase) -> anyhow::Error {
    let said = error.downcast_ref::<HostState>().map(ToString::to_string);
    let state = said.map_or_else(
        || migrate::state(next),
        |said| HostState(format!("{said}; the database is not: its migrations have run")),
    );
    match error.downcast::<Fault>() {
        Ok(fault) => anyhow::Error::new(migrate::advise(fault, next, phase)).context(state),
        Err(error) => error.context(state),
    }
}

/// A unit made from an administrator's template goes to systemd's own judge before it is used.
fn verify_override(session: &Session<'_>, spec: &ProjectSpec) -> Result<()> {
    if !session.templates.is_overridden("unit.service") {
        return Ok(());
    }
    for resource in session.wanted(spec)? {
        if let Any::Unit(unit) = resource {
            session.host.systemd.verify(&unit.unit, &unit.body)?;
        }
    }
    Ok(())
}

/// After a switch that failed and was undone: says whether the old release is up.
pub(in crate::operation) fn verdict(
    session: &Session<'_>,
    old: &ProjectSpec,
    error: anyhow::Error,
) -> anyhow::Error {
    let state = error.downcast_ref::<HostState>().cloned();
    let judged = judge(session, old, error);
    match state {
        Some(state) if !judged.is::<HostState>() => judged.context(state),
        _ => judged,
    }
}

fn judge(session: &Session<'_>, old: &ProjectSpec, error: anyhow::Error) -> anyhow::Error {
    let Some(fault) = error.downcast_ref::<Fault>().filter(|f| f.code == Code::Unhealthy).cloned() else {
        return error;
    };
    let name = &old.name;
    let logs = format!("hostkit logs {name} -n 50");
    let Some((id, launch)) = &old.live else {
        let message = format!("{}\nnothing was live before; `{name}` is as it was", fault.message);
        return Fault { message, ..fault }.next(logs).into();
    };
    let up = launch.exec.is_none() || !old.running || alive(session, old);
    if up {
        let message = format!("{}\nthe release `{id}` is live", fault.message);
        return Fault { message, ..fault }.next(logs).into();
    }
    let message = format!("{}\nthe release `{id}` does not answer either: `{name}` is down", fault.message);
    Fault { code: Code::Down, message, ..fault }.next(logs).next(format!("hostkit releases {name}")).into()
}

/// Whether a project's process answers within the time it may take to start.
fn alive(session: &Session<'_>, spec: &ProjectSpec) -> bool {
    let Ok(resources) = session.wanted(spec) else { return false };
    let health = resources.iter().find_map(|r| match r {
        Any::Service(service) => service.health.as_ref(),
        _ => None,
    });
    let Some(health) = health else { return true };
    let deadline = session.host.clock.elapsed() + Duration::from_secs(health.timeout.into());
    loop {
        // Whatever it answers: whether that is what its settings ask for was not the question.
        if health.ask(&session.host, "/", ANSWER).is_ok() {
            return true;
        }
        if session.host.clock.elapsed() >= deadline {
            return false;
        }
        session.host.clock.sleep(Duration::from_millis(50));
    }
}
