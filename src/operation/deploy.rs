//! A deploy: long work first, where it can hurt nobody; then one operation that switches.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use jiff::{SignedDuration, civil::DateTime, tz::TimeZone};

use super::{
    HostState,
    environment::Draft,
    launch::prepare,
    lifecycle::retire,
    session::{Mode, Outcome, Session},
};
use crate::{
    domain::{
        command::StartCommand,
        env::EnvKey,
        fault::{Code, Fault},
        name::ProjectName,
        release::{ReleaseId, ReleaseState},
        runtime::Runtime,
        shared_dir::SharedDir,
    },
    event::Event,
    plan::{Foreign, Plan},
    project::{Launch, ProjectSpec, Stand, release},
    resource::probe,
    store::ReleaseRow,
    system::{
        Attr,
        archive::{self, Limits, Manifest, Staging},
        process,
        source::Source,
        tree::Tree,
    },
};

/// What is deployed, and how.
pub struct Upload<'a> {
    /// The archive; read once.
    pub archive: &'a mut dyn Source,
    /// Where it comes from, for the records.
    pub source: String,
    /// The runtime, when it is not to be detected.
    pub runtime: Option<Runtime>,
    /// The start command, when it is not to be found in the source.
    pub start: Option<StartCommand>,
}

impl std::fmt::Debug for Upload<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload").field("source", &self.source).finish_non_exhaustive()
    }
}

/// What a deploy did.
#[derive(Clone, Debug)]
pub struct Deployed {
    /// The project now.
    pub spec: ProjectSpec,
    /// The release before.
    pub previous: Option<ReleaseId>,
    /// The release that is live now.
    pub release: ReleaseRow,
    /// What the release was taken for, and why.
    pub why: Vec<String>,
    /// What the user should know about it.
    pub warnings: Vec<String>,
}

/// A release that is complete and on disk, and not yet live.
struct Staged {
    id: ReleaseId,
    manifest: Manifest,
    launch: Launch,
    shared: Vec<SharedDir>,
    generated: Vec<EnvKey>,
    why: Vec<String>,
    warnings: Vec<String>,
}

/// Deploys an upload to a project.
pub fn deploy(
    session: &mut Session<'_>,
    name: &ProjectName,
    upload: &mut Upload<'_>,
) -> Result<(Outcome, Deployed)> {
    let _held = session.enter_alone(name.as_str(), "deploy")?;
    let spec = session.project(name)?.spec;
    session.require_space()?;
    let id = next_id(session, &spec)?;
    let staged = match stage(session, &spec, &id, upload) {
        Ok(staged) => staged,
        Err(error) => {
            session.host.root.shred(&name.staging(&id)).context("removing what was received")?;
            session.host.root.remove(&name.manifest(&id))?;
            return Err(error);
        }
    };
    let done = switch(session, &spec, staged, upload);
    if done.is_ok() {
        retire(session, name);
    }
    if session.mode == Mode::DryRun || done.is_err() {
        session.host.root.shred(&name.staging(&id)).context("removing what was received")?;
        session.host.root.remove(&name.manifest(&id))?;
    }
    done
}

/// The second of now, or the one after the newest release's, however far ahead the clock once was.
fn next_id(session: &Session<'_>, spec: &ProjectSpec) -> Result<ReleaseId> {
    const FORMAT: &str = "%Y%m%d-%H%M%S";
    let second = SignedDuration::from_secs(1);
    let mut at = session.host.clock.now().to_zoned(TimeZone::UTC).datetime();
    if let Some(newest) = session.store.releases(spec.uid)?.into_iter().map(|r| r.id).max() {
        at = at.max(DateTime::strptime(FORMAT, newest.as_str())?.checked_add(second)?);
    }
    loop {
        let id: ReleaseId = at.strftime(FORMAT).to_string().parse()?;
        let tree = release(&spec.name, spec.uid, &id);
        // A deploy that was undone is in no record, and its tree may still lie in the trash.
        if session.host.root.meta(&tree.path)?.is_none() && session.host.root.meta(&tree.trash)?.is_none() {
            return Ok(id);
        }
        at = at.checked_add(second)?;
    }
}

/// Receives, detects and seals: everything that takes time and touches nothing live.
fn stage(
    session: &mut Session<'_>,
    spec: &ProjectSpec,
    id: &ReleaseId,
    upload: &mut Upload<'_>,
) -> Result<Staged> {
    let place = spec.name.staging(id);
    let began = Instant::now();
    session.ui.emit(Event::Began { what: "receive", detail: &upload.source });
    session.host.root.mkdir(&place, Attr::root(0o700), None)?;
    // nginx reads a static site as itself. What it is shows only once it has been received; it will
    // be what it was.
    let group_of = |runtime| if runtime == Some(Runtime::Static) { spec.web.1 } else { spec.uid };
    let guess = group_of(upload.runtime.or(spec.runtime()));
    let staging = Staging::new(session.host.root.open_dir(&place)?, 0, guess);
    let received = archive::extract(&mut *upload.archive, &staging, &Limits::default());
    // A packer that failed knows better than the archive it cut short.
    upload.archive.finish()?;
    process::keep_going()?;
    let manifest = received.map_err(advise).context("receiving the source")?;
    let detail = format!("{} files, {}", manifest.files, size(manifest.bytes));
    session.ui.emit(Event::Finished { what: "receive", detail: &detail, ms: millis(began) });
    process::keep_going()?;

    let tree = Tree::new(session.host.root.open_dir(&place)?);
    let ready = prepare(&session.host, spec, &tree, upload.runtime, upload.start.clone())?;
    let detail = format!("{} ({})", ready.launch.runtime, ready.why.join("; "));
    session.ui.emit(Event::Finished { what: "detect", detail: &detail, ms: 0 });
    let needs = ready.needs.unmet(session, spec)?;
    needs.refuse_missing(&spec.name)?;

    let began = Instant::now();
    let group = group_of(Some(ready.launch.runtime));
    if group != guess {
        tree.regroup(group)?;
    }
    session.host.root.set_attr(&place, Attr { uid: 0, gid: group, mode: 0o750 })?;
    session.host.root.replace(&spec.name.manifest(id), manifest.to_text().as_bytes(), Attr::root(0o600))?;
    session.host.root.sync(&place)?;
    session.ui.emit(Event::Finished { what: "seal", detail: "on disk", ms: millis(began) });

    Ok(Staged {
        id: id.clone(),
        launch: ready.launch,
        shared: ready.shared,
        generated: needs.generated,
        why: ready.why,
        warnings: manifest.notes.iter().cloned().chain(ready.warnings).collect(),
        manifest,
    })
}

/// Says what to look at when a source is refused for what it holds.
fn advise(error: anyhow::Error) -> anyhow::Error {
    match error.downcast::<Fault>() {
        Ok(fault) if fault.next.is_empty() => {
            fault.next("tar -tvf ARCHIVE    # shows what an archive holds").into()
        }
        Ok(fault) => fault.into(),
        Err(error) => error,
    }
}

/// What the project is to be, with the environment that the release is to run with.
fn draft(session: &mut Session<'_>, spec: &ProjectSpec, staged: &Staged) -> Result<Draft> {
    let mut draft = Draft::begin(session, spec)?;
    let stand = Stand { release: staged.id.clone(), env: draft.spec.env };
    draft.spec = draft.spec.standing(spec.lineage.len(), stand, staged.launch.clone());
    draft.spec.running = true;
    draft.spec.shared.extend(staged.shared.iter().cloned());
    draft.generate(session, &staged.generated)?;
    draft.inject(session)?;
    Ok(draft)
}

/// The operation: the release goes to its place, the link is swapped, the process is started anew.
fn switch(
    session: &mut Session<'_>,
    spec: &ProjectSpec,
    staged: Staged,
    upload: &Upload<'_>,
) -> Result<(Outcome, Deployed)> {
    let name = &spec.name;
    let draft = draft(session, spec, &staged)?;
    let next = &draft.spec;
    let now = session.host.clock.now();
    let row = |state| ReleaseRow {
        id: staged.id.clone(),
        state,
        launch: staged.launch.clone(),
        env: next.env,
        source: upload.source.clone(),
        files: staged.manifest.files,
        bytes: staged.manifest.bytes,
        created_at: format!("{now:.0}"),
        created_by: session.caller.clone(),
    };
    let (release, failed) = (row(ReleaseState::Retired), row(ReleaseState::Failed));
    let pruned: Vec<&ReleaseId> = spec.kept.iter().filter(|k| !next.kept.contains(k)).collect();
    let all = session.wanted(next)?;
    let plan = Plan::between(
        session.store.owned(name.as_str())?,
        draft.wanted(session)?,
        Foreign::Refuse,
        &session.host,
    )?;
    verify_override(session, &plan)?;
    let ran = session.carry_out(name.as_str(), "deploy", &plan, |registry| {
        draft.record(registry, &all)?;
        registry.put_release(next.uid, &release)?;
        registry.go_live(next.uid, &staged.id)?;
        for id in &pruned {
            registry.mark_release(next.uid, id, ReleaseState::Pruned)?;
        }
        Ok(())
    });
    match ran {
        Ok(outcome) => {
            let release = ReleaseRow { state: ReleaseState::Live, ..release };
            let previous = spec.live_release().cloned();
            let Staged { why, mut warnings, .. } = staged;
            if release.launch.exec.is_some()
                && session.host.net.is_exposed(spec.port.number()).unwrap_or(false)
            {
                let port = spec.port;
                warnings.push(format!(
                    "the process listens on every address: port {port} can be reached past nginx; have it listen on $HOST"
                ));
            }
            let spec = draft.spec;
            Ok((outcome, Deployed { spec, previous, release, why, warnings }))
        }
        Err(error) => {
            let error = verdict(session, spec, error);
            // Named in the records, so that the number is not given out again.
            if let Err(complaint) = session.store.change(|registry| registry.put_release(next.uid, &failed)) {
                session.ui.emit(Event::Warned {
                    message: &format!("the failure is not in the records: {complaint:#}"),
                });
            }
            Err(error)
        }
    }
}

/// A unit made from an administrator's template goes to systemd's own judge before it is used.
fn verify_override(session: &Session<'_>, plan: &Plan) -> Result<()> {
    if !session.templates.is_overridden("unit.service") {
        return Ok(());
    }
    for resource in plan.wanted() {
        if let crate::resource::Any::Unit(unit) = resource {
            session.host.systemd.verify(&unit.unit, &unit.body)?;
        }
    }
    Ok(())
}

/// After a switch that failed and was undone: says whether the old release is up.
pub(super) fn verdict(session: &Session<'_>, old: &ProjectSpec, error: anyhow::Error) -> anyhow::Error {
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
    let message = format!(
        "{}\nthe release `{id}` was started again and does not answer: `{name}` is down",
        fault.message
    );
    Fault { code: Code::Down, message, ..fault }.next(logs).next(format!("hostkit releases {name}")).into()
}

/// Whether a project's process answers within the time it may take to start.
fn alive(session: &Session<'_>, spec: &ProjectSpec) -> bool {
    let Ok(resources) = session.wanted(spec) else { return false };
    let health = resources.iter().find_map(|r| match r {
        crate::resource::Any::Service(service) => Some(&service.health),
        _ => None,
    });
    let Some(health) = health else { return true };
    let deadline = session.host.clock.elapsed() + Duration::from_secs(health.timeout.into());
    loop {
        if probe(health, &session.host).is_ok() {
            return true;
        }
        if session.host.clock.elapsed() >= deadline {
            return false;
        }
        session.host.clock.sleep(Duration::from_millis(50));
    }
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// A size for people.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes >> 10),
        _ => format!("{}.{} MiB", bytes >> 20, ((bytes % (1 << 20)) * 10) >> 20),
    }
}
