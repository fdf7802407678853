//! A deploy: long work first, where it can hurt nobody; then one operation that switches.

pub mod build;
mod migrate;
mod rails;
mod reason;
mod stage;
mod switch;

use anyhow::{Context, Result};

pub use self::rails::{rest, resume, set_rails};
pub(super) use self::switch::verdict;
use self::{
    build::Terms,
    stage::{next_id, stage},
    switch::switch,
};
use super::{
    HostState, git,
    lifecycle::retire,
    probation,
    session::{Mode, Outcome, Session},
};
use crate::{
    domain::{name::ProjectName, release::ReleaseId},
    event::Event,
    project::{ProjectSpec, detect::Asked},
    store::ReleaseRow,
    system::source::Source,
};

/// What is deployed, and how.
pub struct Upload<'a> {
    /// The archive; read once.
    pub archive: &'a mut dyn Source,
    /// Where it comes from, for the records.
    pub source: String,
    /// What is fetched instead, when the source is a repository.
    pub git: Option<git::Order>,
    /// What was said of the source.
    pub asked: Asked,
    /// The commit that was fetched.
    pub commit: Option<String>,
    /// On what terms it is built.
    pub terms: Terms,
    /// Whether the database is left as it is.
    pub skip_migrate: bool,
    /// Whether the limits on deploys do not count this time.
    pub override_rails: bool,
}

impl<'a> Upload<'a> {
    /// An archive that says itself what it is.
    pub fn new(archive: &'a mut dyn Source, source: String) -> Self {
        Self {
            archive,
            source,
            git: None,
            asked: Asked::default(),
            commit: None,
            terms: Terms::default(),
            skip_migrate: false,
            override_rails: false,
        }
    }
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
    /// What would be built; in a dry run.
    pub forecast: Option<build::Forecast>,
    /// What the user should know about it.
    pub warnings: Vec<String>,
}

/// Deploys an upload to a project.
pub fn deploy(
    session: &mut Session<'_>,
    name: &ProjectName,
    upload: &mut Upload<'_>,
) -> Result<(Outcome, Deployed)> {
    let _held = session.enter_alone(name.as_str(), "deploy")?;
    let spec = session.project(name)?.spec;
    let rails = rails::check(session, &spec, upload.override_rails)?;
    session.require_space()?;
    let id = next_id(session, &spec)?;
    let staged = match stage(session, &spec, &id, upload) {
        Ok(staged) => staged,
        Err(error) => {
            // The key that it was fetched with is among what it has left. What went wrong first is what
            // has to be said.
            if upload.git.is_some()
                && let Err(complaint) = git::clear(session, name)
            {
                session.ui.emit(Event::Warned { message: &format!("{complaint:#}") });
            }
            session.host.root.shred(&name.staging(&id)).context("removing what was received")?;
            session.host.root.remove(&name.manifest(&id))?;
            rails.count(session, &error);
            return Err(kept(&spec, error));
        }
    };
    // It may have got somebody who builds for it.
    let spec = session.project(name)?.spec;
    let done = switch(session, &spec, staged, upload);
    match &done {
        Ok((_, deployed)) => {
            retire(session, name);
            if session.mode == Mode::Run {
                probation::begin(session, &deployed.spec);
            }
        }
        Err(error) => rails.count(session, error),
    }
    if session.mode == Mode::DryRun || done.is_err() {
        session.host.root.shred(&name.staging(&id)).context("removing what was received")?;
        session.host.root.remove(&name.manifest(&id))?;
    }
    done
}

/// Says of a deploy that failed before anything was switched what goes on.
fn kept(spec: &ProjectSpec, error: anyhow::Error) -> anyhow::Error {
    match spec.live_release().filter(|_| spec.running) {
        Some(id) => error.context(HostState(format!("nothing was changed: the release `{id}` stays live"))),
        None => error,
    }
}

/// A size for people.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes >> 10),
        _ => format!("{}.{} MiB", bytes >> 20, ((bytes % (1 << 20)) * 10) >> 20),
    }
}
