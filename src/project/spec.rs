//! A project with every name checked and every choice made.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{detect::Workdir, storage::Storage};
use crate::domain::{
    command::StartCommand, hostname::Hostname, name::ProjectName, port::Port, release::ReleaseId,
    runtime::Runtime, shared_dir::SharedDir,
};

/// How a release is run. Kept with the release, so that going back to it brings this back too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// What kind of program it is.
    pub runtime: Runtime,
    /// The command, its program an absolute path; `None` for files that nginx serves.
    pub exec: Option<StartCommand>,
    /// Where the process starts.
    pub workdir: Workdir,
    /// The directory below the release that nginx serves, when it is not the release itself.
    pub web_root: Option<String>,
    /// Whether an unknown path gets `index.html`.
    pub spa: bool,
    /// The path that must answer 200.
    pub health_path: Option<String>,
    /// How long it may take to become healthy, in seconds.
    pub health_timeout: u32,
}

/// All that is needed to make a project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectSpec {
    /// Its name.
    pub name: ProjectName,
    /// The number of its account and group.
    pub uid: u32,
    /// The port of its process.
    pub port: Port,
    /// The domain it answers to.
    pub domain: Hostname,
    /// The web server's account and group, which read static sites.
    pub web: (u32, u32),
    /// Whether the host speaks IPv6.
    pub ipv6: bool,
    /// The runtime that was asked for, if it was.
    pub asked: Option<Runtime>,
    /// The start command that was asked for, if it was.
    pub start: Option<StartCommand>,
    /// Whether its process should run.
    pub running: bool,
    /// The live release and how it runs.
    pub live: Option<(ReleaseId, Launch)>,
    /// The releases whose trees are kept, oldest first; the live one is among them.
    pub kept: Vec<ReleaseId>,
    /// The releases that were live, each after the one before it; the last is live. Going back
    /// shortens it, so that going back twice goes further back.
    pub lineage: Vec<ReleaseId>,
    /// Directories that every release of the project shares. They only ever become more.
    pub shared: BTreeSet<SharedDir>,
    /// Its object storage, if it has any.
    #[serde(default)]
    pub storage: Option<Storage>,
}

impl ProjectSpec {
    /// How many releases are kept.
    pub const KEEP: usize = 5;

    /// The live release.
    pub fn live_release(&self) -> Option<&ReleaseId> {
        self.live.as_ref().map(|(id, _)| id)
    }

    /// The runtime: that of the live release, or what was asked for.
    pub fn runtime(&self) -> Option<Runtime> {
        self.live.as_ref().map(|(_, launch)| launch.runtime).or(self.asked)
    }

    /// The release that was live before the live one.
    pub fn previous(&self) -> Option<&ReleaseId> {
        self.lineage.iter().rev().nth(1)
    }

    /// The same project with another live release. The ones that are too many go; never the new one,
    /// never the one that was live until now, and never the one before the new one.
    pub fn with_live(&self, id: &ReleaseId, launch: Launch) -> Self {
        let until_now = self.live_release().cloned();
        let mut next = self.clone();
        match next.lineage.iter().position(|l| l == id) {
            Some(at) => next.lineage.truncate(at + 1),
            None => next.lineage.push(id.clone()),
        }
        if !next.kept.contains(id) {
            next.kept.push(id.clone());
        }
        next.live = Some((id.clone(), launch));
        let previous = next.previous().cloned();
        while next.kept.len() > Self::KEEP {
            let needed =
                |k: &ReleaseId| k == id || Some(k) == until_now.as_ref() || Some(k) == previous.as_ref();
            let Some(spare) = next.kept.iter().position(|k| !needed(k)) else { break };
            next.kept.remove(spare);
        }
        next.lineage.retain(|l| next.kept.contains(l));
        next.running = true;
        next
    }
}
