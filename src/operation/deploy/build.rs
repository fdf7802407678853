//! The build of a release: install and build its source as the project's build account, then seal it.

mod account;
mod diary;
mod history;
mod run;
mod terms;

use std::time::Instant;

use anyhow::Result;

use self::{diary::Diary, run::Bench};
pub use self::{
    diary::KEPT,
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
        seal::{Kin, Outside, Seal, seal},
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
    let builder = account::engage(session, spec)?;
    let mut diary = Diary::open(session, spec, order.id, terms)?;
    let made = Bench::set_up(session, spec, order, &builder, terms)
        .and_then(|bench| bench.work(session, order.recipe, &mut diary));
    diary.close(session, began, made.as_ref().err());
    made?;

    let ended = Instant::now();
    let place = spec.name.staging(order.id);
    let root = session.host.root.open_dir(&place)?;
    let kin = kin(session, spec)?;
    let outside = Outside { place: spec.name.release(order.id), shared: spec.name.shared() };
    let manifest = seal(&root, &Seal { gid: order.group, outside, kin: kin.as_ref() })
        .map_err(|error| advise(error, spec, order.id))?;
    let detail = format!("{} files, {}", manifest.files, size(manifest.bytes));
    session.ui.emit(Event::Finished { what: "check", detail: &detail, ms: millis(ended) });
    Ok(Built { manifest, ended })
}

/// The live release, whose files the new one shares where they are the same.
pub(super) fn kin(session: &Session<'_>, spec: &ProjectSpec) -> Result<Option<Kin>> {
    /// Half a million paths of 100 bytes, with their digests.
    const LARGEST: u64 = 128 << 20;
    let Some(id) = spec.live_release() else { return Ok(None) };
    let (tree, list) = (spec.name.release(id), spec.name.manifest(id));
    let (Some(_), Some(bytes)) = (session.host.root.meta(&tree)?, session.host.root.read(&list, LARGEST)?)
    else {
        return Ok(None);
    };
    // One that cannot be read is `doctor`'s to find; here it only costs space.
    let Some(manifest) = String::from_utf8(bytes).ok().and_then(|text| Manifest::parse(&text).ok()) else {
        return Ok(None);
    };
    Ok(Some(Kin::new(session.host.root.open_dir(&tree)?, manifest)))
}

fn advise(error: anyhow::Error, spec: &ProjectSpec, id: &ReleaseId) -> anyhow::Error {
    let log = format!("hostkit builds log {} {id}", spec.name);
    match error.downcast::<Fault>() {
        Ok(fault) => fault.next(log).into(),
        Err(error) => error,
    }
}
