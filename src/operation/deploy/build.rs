//! The build of a release: install and build its source as the project's build account, then seal it.

mod account;
mod diary;
mod forecast;
mod history;
mod reuse;
mod run;
mod terms;

use std::time::Instant;

use anyhow::Result;

pub(super) use self::forecast::foresee;
use self::{diary::Diary, reuse::Key, run::Bench};
pub use self::{
    diary::KEPT,
    forecast::Forecast,
    history::{Past, State, cancel, list, log},
    terms::Terms,
};
use super::{size, stage::millis};
use crate::{
    domain::{fault::Fault, release::ReleaseId},
    event::Event,
    operation::session::Session,
    project::{ProjectSpec, Recipe},
    system::{
        archive::Manifest,
        build::Bounds,
        seal::{Kin, Outside, Seal, Way, seal},
        tree::Tree,
    },
};

/// What is to be built.
#[derive(Debug)]
pub(super) struct Order<'a> {
    /// The release it becomes.
    pub(super) id: &'a ReleaseId,
    /// The group that may read the release.
    pub(super) group: u32,
    /// How it is made.
    pub(super) recipe: &'a Recipe,
    /// The directory that the web server reads, where that is not all.
    pub(super) public: Option<&'a str>,
    /// The commit it is made from, where that is known.
    pub(super) commit: Option<&'a str>,
    /// How much that may use.
    pub(super) bounds: &'a Bounds,
    /// What has been received.
    pub(super) received: &'a Manifest,
}

/// What came of a build.
pub(super) struct Built {
    /// What the sealed tree holds.
    pub(super) manifest: Manifest,
    /// When sealing began.
    pub(super) ended: Instant,
}

/// Builds what was received, and seals it. Whatever comes of it, no process of the build is left.
pub(super) fn build(
    session: &mut Session<'_>,
    spec: &ProjectSpec,
    order: &Order<'_>,
    terms: &Terms,
) -> Result<Built> {
    let began = Instant::now();
    let (id, mut recipe) = (order.id, order.recipe.clone());
    let place = spec.name.staging(id);
    let tree = Tree::new(session.host.root.open_dir(&place)?);
    let live = live_manifest(session, spec)?;
    let key = Key::of(&session.host, &tree, &recipe, order.received)?;
    let found = match &key {
        Some(key) => key.found(session, spec, live.as_ref(), order.received)?,
        None => None,
    };
    let mut installed = None;
    if let Some((from, same)) = found {
        // What nobody works on any more can be the same files from the beginning.
        let way = match spec.build {
            Some(builder) if !recipe.build.is_empty() => Way::Copy(builder.uid),
            _ => Way::Link,
        };
        reuse::take_over(session, spec, &from, id, &same, way)?;
        installed = Some(same);
        recipe.install.clear();
        let detail = format!("the same as in {from}");
        session.ui.emit(Event::Finished { what: "install", detail: &detail, ms: millis(began) });
    }
    if !recipe.is_empty() {
        let builder = account::engage(session, spec)?;
        let mut diary = Diary::open(session, spec, id, terms)?;
        let made = Bench::set_up(session, spec, order, builder, terms)
            .and_then(|bench| bench.work(session, &recipe, key.as_ref(), &mut diary));
        diary.close(session, began, made.as_ref().err());
        installed = made?.or(installed);
    }

    let ended = Instant::now();
    let root = session.host.root.open_dir(&place)?;
    let kin = kin_of(session, spec, live)?;
    let outside = Outside { place: spec.name.release(id), shared: spec.name.shared() };
    let mut manifest =
        seal(&root, &Seal { gid: order.group, outside, kin: kin.as_ref(), public: order.public })
            .map_err(|error| advise(error, spec, id))?;
    let tree = Tree::new(root);
    // What a later command has taken away again, the next build would lack.
    manifest.installed = installed.filter(|made| made.paths.iter().all(|path| tree.is_taken(path)));
    let detail = format!("{} files, {}", manifest.files, size(manifest.bytes));
    session.ui.emit(Event::Finished { what: "check", detail: &detail, ms: millis(ended) });
    Ok(Built { manifest, ended })
}

/// What the live release holds, as far as it can be read.
fn live_manifest(session: &Session<'_>, spec: &ProjectSpec) -> Result<Option<Manifest>> {
    /// Half a million paths of 100 bytes, with their digests.
    const LARGEST: u64 = 128 << 20;
    let Some(id) = spec.live_release() else { return Ok(None) };
    let (tree, list) = (spec.name.release(id), spec.name.manifest(id));
    if session.host.root.meta(&tree)?.is_none() {
        return Ok(None);
    }
    let bytes = session.host.root.read(&list, LARGEST)?;
    // One that cannot be read is `doctor`'s to find; here it only costs space.
    Ok(bytes.and_then(|bytes| String::from_utf8(bytes).ok()).and_then(|text| Manifest::parse(&text).ok()))
}

fn kin_of(session: &Session<'_>, spec: &ProjectSpec, manifest: Option<Manifest>) -> Result<Option<Kin>> {
    let (Some(id), Some(manifest)) = (spec.live_release(), manifest) else { return Ok(None) };
    let Some(record) = session.host.root.meta(&spec.name.manifest(id))? else { return Ok(None) };
    Ok(Some(Kin::new(session.host.root.open_dir(&spec.name.release(id))?, manifest, record.changed)))
}

/// The live release, whose files the new one shares where they are the same.
pub(super) fn kin(session: &Session<'_>, spec: &ProjectSpec) -> Result<Option<Kin>> {
    let manifest = live_manifest(session, spec)?;
    kin_of(session, spec, manifest)
}

fn advise(error: anyhow::Error, spec: &ProjectSpec, id: &ReleaseId) -> anyhow::Error {
    let log = format!("hostkit builds log {} {id}", spec.name);
    match error.downcast::<Fault>() {
        Ok(fault) => fault.next(log).into(),
        Err(error) => error,
    }
}
