//! What a build would do: for a dry run.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;

use super::{Order, live_manifest, reuse::Key};
use crate::{
    domain::release::ReleaseId,
    operation::session::Session,
    project::ProjectSpec,
    system::{
        archive::{Entry, Kind, Manifest},
        tree::Tree,
    },
};

/// What would be built, with what, and what would not have to be.
#[derive(Clone, Debug, Serialize)]
pub struct Forecast {
    /// The commands that would install.
    pub install: Vec<String>,
    /// The release that has installed just this, so that none of them would run.
    pub installed_as_in: Option<ReleaseId>,
    /// The commands that would build.
    pub build: Vec<String>,
    /// How many files of the source the live release has just so.
    pub shared: usize,
    /// How many files the source has.
    pub files: u64,
    /// Memory in bytes.
    pub memory: u64,
    /// Space on the disk in bytes.
    pub disk: u64,
    /// Seconds.
    pub timeout: u64,
    /// Processes and threads.
    pub tasks: u32,
    /// Hundredths of a processor.
    pub cpu: u32,
}

/// Foresees the build of a tree that has been received; touches nothing.
pub(in super::super) fn foresee(
    session: &Session<'_>,
    spec: &ProjectSpec,
    order: &Order<'_>,
    received: &Manifest,
) -> Result<Forecast> {
    let tree = Tree::new(session.host.root.open_dir(&spec.name.staging(order.id))?);
    let live = live_manifest(session, spec)?;
    let installed_as_in = match Key::of(&session.host, &tree, order.recipe, received)? {
        Some(key) => key.found(session, spec, live.as_ref(), received)?.map(|(id, _)| id),
        None => None,
    };
    let mut there = BTreeMap::new();
    for Entry { path, kind } in live.map(|live| live.entries).unwrap_or_default() {
        there.insert(path, kind);
    }
    let same = |entry: &&Entry| {
        matches!(entry.kind, Kind::File { .. }) && there.get(&entry.path) == Some(&entry.kind)
    };
    let shared = received.entries.iter().filter(same).count();
    let lines = |commands: &[crate::domain::command::StartCommand]| {
        commands.iter().map(ToString::to_string).collect()
    };
    Ok(Forecast {
        install: lines(&order.recipe.install),
        installed_as_in,
        build: lines(&order.recipe.build),
        shared,
        files: received.files,
        memory: order.bounds.memory,
        disk: order.bounds.disk,
        timeout: order.bounds.time.as_secs(),
        tasks: order.bounds.tasks,
        cpu: order.bounds.cpu,
    })
}
