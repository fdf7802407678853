//! A project with every name checked and every choice made.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    Redis,
    builder::Builder,
    config::HealthConfig,
    database::Database,
    detect::Workdir,
    fpm::Fpm,
    framework::Framework,
    front::{Certificate, Domain},
    process::{Process, Strategy},
    rails::Rails,
    schedule::Schedule,
    storage::Storage,
};
use crate::domain::{
    address::Address, command::StartCommand, env::EnvKey, hostname::Hostname, name::ProjectName, port::Port,
    release::ReleaseId, runtime::Runtime, secret::Sealed, shared_dir::SharedDir,
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
    /// The status that the path must answer with; without one 200.
    #[serde(default)]
    pub health_status: Option<u16>,
    /// How long to wait between two questions, in seconds.
    #[serde(default)]
    pub health_interval: Option<u32>,
    /// How long it must go on after its first good answer, in seconds.
    #[serde(default)]
    pub health_grace: Option<u32>,
    /// What takes over from what.
    #[serde(default)]
    pub strategy: Strategy,
    /// What runs besides what answers requests; every program an absolute path.
    #[serde(default)]
    pub processes: Vec<Process>,
    /// How long it may go on with what it is answering when it ends, in seconds.
    #[serde(default)]
    pub drain: Option<u32>,
    /// How php-fpm serves it; `None` for what speaks HTTP itself, and for files.
    #[serde(default)]
    pub fpm: Option<Fpm>,
    /// The commit that it was made from, where that is known.
    #[serde(default)]
    pub commit: Option<String>,
}

impl Launch {
    /// The variables that name its commit, as others call them too.
    pub const COMMIT: [&str; 2] = ["GIT_SHA", "SOURCE_VERSION"];
}

/// How far a project has come in handing over from one release, or one environment, to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// All of it runs what is live.
    #[default]
    Settled,
    /// The surge instance runs what is live, and answers; the others still run what was live before.
    Surge,
    /// What answers runs what is live; what ends is given time, and what runs besides is started anew.
    Drain,
}

/// What was live at one time: a release, and the environment it ran with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Recorded")]
pub struct Stand {
    /// The release.
    pub release: ReleaseId,
    /// The version of the project's part of its environment; `None` where none was kept yet.
    pub env: Option<u32>,
}

/// A stand as the registry may have it: until there were versions of the environment, a release.
#[derive(Deserialize)]
#[serde(untagged)]
enum Recorded {
    Release(ReleaseId),
    Stand { release: ReleaseId, env: Option<u32> },
}

impl From<Recorded> for Stand {
    fn from(recorded: Recorded) -> Self {
        match recorded {
            Recorded::Release(release) => Self { release, env: None },
            Recorded::Stand { release, env } => Self { release, env },
        }
    }
}

/// A secret of the vault's that is in the environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Injected {
    /// Its version in the vault.
    pub version: u32,
    /// Its value, sealed for the variable.
    pub value: Sealed,
}

/// All that is needed to make a project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "facts that have nothing to do with each other")]
pub struct ProjectSpec {
    /// Its name.
    pub name: ProjectName,
    /// The number of its account and group.
    pub uid: u32,
    /// The port of its process.
    pub port: Port,
    /// The domain it answers to.
    pub domain: Hostname,
    /// The addresses it answers to besides.
    #[serde(default)]
    pub domains: Vec<Domain>,
    /// The certificates of its own that its addresses have.
    #[serde(default)]
    pub certificates: BTreeMap<Address, Certificate>,
    /// Whether the host's certificate is good for `domain`.
    #[serde(default)]
    pub covered: bool,
    /// The web server's account and group, which read static sites.
    pub web: (u32, u32),
    /// Whether the host speaks IPv6.
    pub ipv6: bool,
    /// The runtime that was asked for, if it was.
    pub asked: Option<Runtime>,
    /// The framework that was asked for, if it was.
    #[serde(default)]
    pub framework: Option<Framework>,
    /// The start command that was asked for, if it was.
    pub start: Option<StartCommand>,
    /// Whether its process should run.
    pub running: bool,
    /// The live release and how it runs.
    pub live: Option<(ReleaseId, Launch)>,
    /// The releases whose trees are kept, oldest first; the live one is among them.
    pub kept: Vec<ReleaseId>,
    /// What was live, each after the one before it; the last is live. Going back shortens it, so that
    /// going back twice goes further back.
    pub lineage: Vec<Stand>,
    /// The version of the project's part of the environment; `None` until one is kept.
    #[serde(default)]
    pub env: Option<u32>,
    /// The vault's secrets that are in the environment.
    #[serde(default)]
    pub injected: BTreeMap<EnvKey, Injected>,
    /// Directories that every release of the project shares. They only ever become more.
    pub shared: BTreeSet<SharedDir>,
    /// Whether its backups are made every day, and when.
    #[serde(default)]
    pub backups: Option<Schedule>,
    /// Its Redis, if it has one.
    #[serde(default)]
    pub redis: Option<Redis>,
    /// Its database.
    #[serde(default)]
    pub database: Option<Database>,
    /// Whether it has a key for repositories.
    #[serde(default)]
    pub deploy_key: bool,
    /// Its object storage, if it has any.
    #[serde(default)]
    pub storage: Option<Storage>,
    /// Who builds its releases, since one had to be built.
    #[serde(default)]
    pub build: Option<Builder>,
    /// What keeps its deploys from doing harm.
    #[serde(default)]
    pub rails: Rails,
    /// How far the last handover has come.
    #[serde(default)]
    pub stage: Stage,
    /// How many there are of each kind of process; one of those that are not named.
    #[serde(default)]
    pub scale: BTreeMap<String, u16>,
    /// What the administrator says about its health, above what its releases say.
    #[serde(default)]
    pub health: HealthConfig,
}

impl ProjectSpec {
    /// How many releases are kept.
    pub const KEEP: usize = 5;
    /// How far back can be gone step by step.
    pub const STANDS: usize = 50;

    /// What answers requests, among the names of processes.
    pub const WEB: &'static str = "web";

    /// The same project at another stage of a handover.
    pub fn at(&self, stage: Stage) -> Self {
        Self { stage, ..self.clone() }
    }

    /// How many processes of a kind there are.
    pub fn count(&self, kind: &str) -> u16 {
        self.scale.get(kind).copied().unwrap_or(1)
    }

    /// How many instances answer requests.
    pub fn webs(&self) -> u16 {
        self.count(Self::WEB).clamp(1, Port::INSTANCES)
    }

    /// The live release.
    pub fn live_release(&self) -> Option<&ReleaseId> {
        self.live.as_ref().map(|(id, _)| id)
    }

    /// The runtime: that of the live release, or what was asked for.
    pub fn runtime(&self) -> Option<Runtime> {
        self.live.as_ref().map(|(_, launch)| launch.runtime).or(self.asked)
    }

    /// What was live before what is.
    pub fn previous(&self) -> Option<&Stand> {
        self.lineage.iter().rev().nth(1)
    }

    /// Where in the lineage a release, or any but that one, stood last.
    pub fn stood(&self, is: impl Fn(&Stand) -> bool) -> Option<usize> {
        self.lineage.iter().rposition(is)
    }

    /// The same project on another stand, with the first `below` stands of its lineage below it. The
    /// releases that are too many go; never the new one, never the one that was live until now, and
    /// never the one before the new one.
    pub fn standing(&self, below: usize, stand: Stand, launch: Launch) -> Self {
        let until_now = self.live_release().cloned();
        let mut next = self.clone();
        let id = stand.release.clone();
        next.lineage.truncate(below);
        next.env = stand.env;
        next.lineage.push(stand);
        if !next.kept.contains(&id) {
            next.kept.push(id.clone());
        }
        next.live = Some((id.clone(), launch));
        let other = next.stood(|stand| stand.release != id).map(|at| next.lineage[at].release.clone());
        while next.kept.len() > Self::KEEP {
            let needed =
                |k: &ReleaseId| *k == id || Some(k) == until_now.as_ref() || Some(k) == other.as_ref();
            let Some(spare) = next.kept.iter().position(|k| !needed(k)) else { break };
            next.kept.remove(spare);
        }
        next.lineage.retain(|stand| next.kept.contains(&stand.release));
        let spare = next.lineage.len().saturating_sub(Self::STANDS);
        next.lineage.drain(..spare);
        next
    }

    /// The same project with another environment: a stand of its own.
    pub fn with_env(&self, version: u32) -> Self {
        match &self.live {
            None => Self { env: Some(version), ..self.clone() },
            Some((id, launch)) => {
                let stand = Stand { release: id.clone(), env: Some(version) };
                self.standing(self.lineage.len(), stand, launch.clone())
            }
        }
    }

    /// The same project, whose environment turned out to be another than was known: the stand is
    /// the same.
    pub fn found_with(&self, version: u32) -> Self {
        let mut found = Self { env: Some(version), ..self.clone() };
        if let Some(stand) = found.lineage.last_mut() {
            stand.env = Some(version);
        }
        found
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_lineage_from_before_there_were_environments_is_read() {
        let old = r#"["20261120-080231",{"release":"20261120-080232","env":3}]"#;
        let stands: Vec<Stand> = serde_json::from_str(old).unwrap();
        assert_eq!(stands.iter().map(|s| s.env).collect::<Vec<_>>(), [None, Some(3)]);
        assert_eq!(
            serde_json::from_str::<Vec<Stand>>(&serde_json::to_string(&stands).unwrap()).unwrap(),
            stands
        );
    }
}
