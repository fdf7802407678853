//! The long part of a deploy, which touches nothing live: receive, detect, build, seal.

use std::time::Instant;

use anyhow::{Context, Result};
use jiff::{SignedDuration, civil::DateTime, tz::TimeZone};

use super::{
    Upload,
    build::{Forecast, Order, build, foresee, kin},
    size,
};
use crate::{
    domain::{env::EnvKey, fault::Fault, release::ReleaseId, runtime::Runtime, shared_dir::SharedDir},
    event::Event,
    operation::{
        git,
        launch::{fit, prepare, recognise},
        secrets::Needs,
        session::{Mode, Session},
    },
    project::{Launch, ProjectSpec, Recipe, release},
    system::{
        Attr,
        archive::{self, Limits, Manifest, Staging},
        process,
        source::Source,
        tree::Tree,
    },
};

/// A release that is complete and on disk, and not yet live.
pub(super) struct Staged {
    pub(super) id: ReleaseId,
    pub(super) manifest: Manifest,
    pub(super) forecast: Option<Forecast>,
    pub(super) launch: Launch,
    pub(super) recipe: Recipe,
    pub(super) shared: Vec<SharedDir>,
    pub(super) generated: Vec<EnvKey>,
    pub(super) why: Vec<String>,
    pub(super) warnings: Vec<String>,
}

/// The second of now, or the one after the newest release's, however far ahead the clock once was.
pub(super) fn next_id(session: &Session<'_>, spec: &ProjectSpec) -> Result<ReleaseId> {
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
        // So may what a build wrote that came to nothing.
        let places = [&tree.path, &tree.trash, &spec.name.build_log(&id)];
        let mut taken = false;
        for place in places {
            taken |= session.host.root.meta(place)?.is_some();
        }
        if !taken {
            return Ok(id);
        }
        at = at.checked_add(second)?;
    }
}

/// Receives, detects, builds and seals: everything that takes time and touches nothing live.
pub(super) fn stage(
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
    let guess = group_of(upload.asked.runtime.or(spec.runtime()));
    let mut fetched;
    let source: &mut dyn Source = match &upload.git {
        Some(order) => {
            fetched = git::fetch(session, spec, order)?;
            upload.source = format!("{} {}", order.address, fetched.commit);
            upload.commit = Some(fetched.commit.clone());
            &mut fetched.archive
        }
        None => &mut *upload.archive,
    };
    // What is only received may share its files with the live release; what is built is written to.
    let kin = if upload.terms.builds(spec) { None } else { kin(session, spec)? };
    let staging = Staging::new(session.host.root.open_dir(&place)?, 0, guess).sharing(kin);
    let received = archive::extract(&mut *source, &staging, &Limits::default());
    // A packer that failed knows better than the archive it cut short.
    source.finish()?;
    if upload.git.is_some() {
        git::clear(session, &spec.name)?;
    }
    process::keep_going()?;
    let manifest = received.map_err(advise).context("receiving the source")?;
    let detail = format!("{} files, {}", manifest.files, size(manifest.bytes));
    session.ui.emit(Event::Finished { what: "receive", detail: &detail, ms: millis(began) });
    process::keep_going()?;

    let tree = Tree::new(session.host.root.open_dir(&place)?);
    let mut app = recognise(spec, &tree, upload.asked.clone())?;
    fit(&session.host, &mut app)?;
    let detail = format!("{} ({})", app.runtime, app.why.join("; "));
    session.ui.emit(Event::Finished { what: "detect", detail: &detail, ms: 0 });
    let needs = Needs::of(&tree, &app.env_required, &app.env_generated)?.unmet(session, spec)?;
    needs.refuse_missing(&spec.name)?;

    let group = group_of(Some(app.runtime));
    let recipe = upload.terms.trim(&app.recipe);
    // Before anything of it runs, and in a dry run too.
    let bounds = upload.terms.bounds(spec, &recipe)?;
    let notes = manifest.notes.clone();
    let began;
    // What php-fpm serves is root's and the project's, and the web server reads what is public.
    let public = app.fpm.as_ref().map(|_| app.web_root.as_deref().unwrap_or_default());
    let order = Order {
        id,
        group,
        recipe: &recipe,
        bounds: &bounds,
        received: &manifest,
        public,
        commit: upload.commit.as_deref(),
    };
    let mut forecast = None;
    let manifest = if recipe.is_empty() && public.is_none() || session.mode == Mode::DryRun {
        if !recipe.is_empty() {
            forecast = Some(foresee(session, spec, &order, &manifest)?);
        }
        began = Instant::now();
        if group != guess {
            tree.regroup(group)?;
        }
        manifest
    } else {
        let built = build(session, spec, &order, &upload.terms)?;
        began = built.ended;
        built.manifest
    };
    let mode = if public.is_some() { 0o751 } else { 0o750 };
    let mut ready = prepare(&session.host, spec, &tree, app)?;
    ready.launch.commit.clone_from(&upload.commit);
    session.host.root.set_attr(&place, Attr { uid: 0, gid: group, mode })?;
    // Both are on the disk with one sync, before anybody knows of the release.
    session.host.root.write(&spec.name.manifest(id), manifest.to_text().as_bytes(), Attr::root(0o600))?;
    session.host.root.sync(&place)?;
    session.ui.emit(Event::Finished { what: "seal", detail: "on disk", ms: millis(began) });

    Ok(Staged {
        id: id.clone(),
        launch: ready.launch,
        recipe: ready.recipe,
        shared: ready.shared,
        generated: needs.generated,
        why: ready.why,
        warnings: notes.into_iter().chain(ready.warnings).collect(),
        manifest,
        forecast,
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

pub(super) fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
