//! `provision`: a project with everything that belongs to it.

use std::{ffi::OsString, str::FromStr};

use anyhow::Result;
use clap::{ArgGroup, Args, builder::TypedValueParser};
use serde_json::json;

use super::{
    Verb,
    answer::Answer,
    context::Context,
    policy::Policy,
    release::{DeployArgs, LIVE, named, upload},
    survive::hand_over,
};
use crate::{
    domain::{command::StartCommand, name::ProjectName, port::Port, runtime::Runtime},
    operation::{
        HostState,
        provision::{Ask, Wish, provision},
        redis::Asked,
        session::{Mode, Outcome},
        storage::store,
    },
    plan::Foreign,
    project::{ProjectSpec, framework::Framework, redis::MEMORY},
};

/// The runtime a user names; without one it is detected at the first deploy.
#[derive(Args, Clone, Debug, Default)]
#[command(group(ArgGroup::new("runtime").args(["is_static", "node", "python", "nextjs", "framework"])))]
#[expect(clippy::struct_excessive_bools, reason = "these are flags, of which one at most is given")]
pub(crate) struct RuntimeArgs {
    /// Files that nginx serves
    #[arg(long = "static", help_heading = "Application")]
    is_static: bool,
    /// A Node.js program
    #[arg(long, help_heading = "Application")]
    node: bool,
    /// A Python program, started as `python -m app`
    #[arg(long, help_heading = "Application")]
    python: bool,
    /// A Next.js application that has been built
    #[arg(long, help_heading = "Application")]
    nextjs: bool,
    /// What it is written with, such as `django`, when the source does not tell
    #[arg(long, value_name = "NAME", value_parser = Framework::from_str, help_heading = "Application")]
    framework: Option<Framework>,
    /// The command that starts it, such as `./server --port $PORT`
    #[arg(long, value_name = "COMMAND", value_parser = StartCommand::parse, help_heading = "Application")]
    start_cmd: Option<StartCommand>,
}

impl RuntimeArgs {
    /// The runtime that was named.
    pub(super) fn runtime(&self) -> Option<Runtime> {
        [
            (self.is_static, Runtime::Static),
            (self.node, Runtime::Node),
            (self.python, Runtime::Python),
            (self.nextjs, Runtime::Nextjs),
        ]
        .into_iter()
        .find_map(|(said, runtime)| said.then_some(runtime))
    }
    /// The framework that was named.
    pub(super) fn framework(&self) -> Option<Framework> {
        self.framework
    }
    /// The start command that was given.
    pub(super) fn start(&self) -> Option<StartCommand> {
        self.start_cmd.clone()
    }
}

/// Services that are on by default, and the words to leave them out. Those that are not offered yet
/// may be left out all the same.
#[derive(Args, Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "these are flags")]
pub(crate) struct WithoutArgs {
    /// Make no database
    #[arg(long, help_heading = "Services")]
    no_db: bool,
    /// Make no object storage
    #[arg(long, help_heading = "Services")]
    no_storage: bool,
    /// Have no backups made every day
    #[arg(long, help_heading = "Services")]
    no_backup: bool,
    /// Set up no sign-in service (none is set up yet)
    #[arg(long, hide_short_help = true, help_heading = "Services")]
    no_auth: bool,
}

/// Make a project: account, home, port, web address; with `--source` also its first release
#[derive(Args, Clone, Debug)]
pub(crate) struct ProvisionArgs {
    /// The project's name: 3–32 lower-case letters, digits and single hyphens
    name: ProjectName,
    #[command(flatten)]
    runtime: RuntimeArgs,
    /// Deploy this at once: a directory, a .tar.gz file, or - for standard input
    #[arg(long, value_name = "SOURCE", value_parser = clap::builder::OsStringValueParser::new().try_map(named), help_heading = "Application")]
    source: Option<OsString>,
    /// The port its process listens on; one is chosen without this
    #[arg(long)]
    port: Option<Port>,
    /// Take over an account or files of this name that exist already
    #[arg(long)]
    adopt: bool,
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    without: WithoutArgs,
    /// A database of the Redis that projects share, or a Redis of its own
    #[arg(long, value_name = "KIND", help_heading = "Services")]
    redis: Option<RedisKind>,
    /// The memory of a Redis of its own, in MiB
    #[arg(long, value_name = "MIB", default_value_t = MEMORY, value_parser = clap::value_parser!(u32).range(4..=1_048_576), requires = "redis", help_heading = "Services")]
    redis_memory: u32,
    /// How much may lie in its bucket, such as `5GiB`; 10 GiB without this
    #[arg(long, value_name = "SIZE", value_parser = size, help_heading = "Services")]
    storage_quota: Option<u64>,
}

/// What kind of Redis a project gets.
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
pub(crate) enum RedisKind {
    /// A database and a user of its own in the shared server
    Shared,
    /// A server of its own
    Dedicated,
}

/// A number of bytes, such as `500MiB`.
fn size(text: &str) -> Result<u64, String> {
    let bad = || "give a size such as 500MiB or 5GiB".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let factor: u64 = match &text[digits..] {
        "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err(bad()),
    };
    let number: u64 = text[..digits].parse().map_err(|_| bad())?;
    number.checked_mul(factor).filter(|bytes| *bytes > 0).ok_or_else(bad)
}

impl ProvisionArgs {
    /// The same without the services that were not asked for.
    pub(super) fn bare(mut self, database: bool) -> Self {
        self.without.no_db |= !database;
        self
    }
}

impl Verb for ProvisionArgs {
    const NAME: &'static str = "provision";
    const POLICY: Policy = Policy::Root;
    const EXAMPLES: &'static [&'static str] = &[
        "hostkit provision blog",
        "hostkit provision site --static --source examples/static",
        "hostkit provision api --node --dry-run",
        "hostkit provision site --static --no-db",
        "hostkit provision worker-api --start-cmd './server --port $PORT'",
    ];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn reads_stdin(&self) -> bool {
        self.source.as_ref().is_some_and(|source| source == "-")
    }

    fn run(self, cx: &mut Context) -> Result<Answer> {
        let storage = if self.without.no_storage { Ask::No } else { Ask::IfThere };
        self.make(cx, true, storage)
    }
}

impl ProvisionArgs {
    /// Makes the project, `with_services` or only with those that are named.
    pub(super) fn make(self, cx: &mut Context, with_services: bool, storage: Ask) -> Result<Answer> {
        let redis = match self.redis {
            Some(RedisKind::Shared) => Some(Asked::Shared),
            Some(RedisKind::Dedicated) => Some(Asked::Dedicated(self.redis_memory)),
            None => with_services.then_some(Asked::Any),
        };
        let wish = Wish {
            redis,
            storage,
            quota: self.storage_quota,
            backups: with_services && !self.without.no_backup,
            name: self.name.clone(),
            runtime: self.runtime.runtime(),
            framework: self.runtime.framework(),
            start: self.runtime.start(),
            port: self.port,
            database: !self.without.no_db,
            foreign: if self.adopt { Foreign::Adopt } else { Foreign::Refuse },
        };
        let again = self.clone();
        let mode = if self.dry_run { Mode::DryRun } else { Mode::Run };
        let (outcome, spec, planned, store) = cx.session(mode, |session| {
            let (outcome, spec) = provision(session, &wish)?;
            Ok((outcome, spec, session.planned.take(), store(session)?))
        })?;
        if let Some(plan) = planned {
            return Ok(Answer::planned(&plan).outcome(outcome));
        }
        match self.source {
            None => Ok(answer(outcome, &spec, storage == Ask::IfThere && store.is_none())),
            Some(source) => {
                let name = spec.name.clone();
                // What has its own unit to do it in finds the project made, and has the deploy before it.
                let ran = if cx.can_hand_over()? {
                    hand_over(cx, &again)
                } else {
                    upload(DeployArgs::of(self.name, source, self.runtime), cx)
                };
                let mut deployed = ran.map_err(|e| match e.downcast_ref::<HostState>() {
                    Some(_) => e,
                    None => e.context(HostState(format!(
                        "`{name}` is provisioned, and the deploy changed nothing"
                    ))),
                })?;
                deployed.changed = true;
                let said =
                    deployed.text.lines().skip_while(|line| !line.starts_with(LIVE)).collect::<Vec<_>>();
                deployed.text = format!("{}\n{}", summary(outcome, &spec), said.join("\n"));
                Ok(deployed)
            }
        }
    }
}

fn summary(outcome: Outcome, spec: &ProjectSpec) -> String {
    let (name, port, url) = (&spec.name, spec.port, spec.url());
    match outcome {
        Outcome::Unchanged => format!("{name} is provisioned already: {url}, port {port}"),
        _ => format!("Provisioned {name}: {url}, account {name} (uid {}), port {port}", spec.uid),
    }
}

fn answer(outcome: Outcome, spec: &ProjectSpec, lacks_storage: bool) -> Answer {
    let name = &spec.name;
    let mut text = summary(outcome, spec);
    if lacks_storage && outcome == Outcome::Changed {
        text.push_str("\nIt has no object storage, because this host has none: hostkit init --with-storage");
    }
    let answer = Answer::new(text, data(spec)).outcome(outcome);
    if spec.live.is_none() { answer.next(format!("hostkit deploy {name} --source DIR")) } else { answer }
}

/// A project for programs.
pub(super) fn data(spec: &ProjectSpec) -> serde_json::Value {
    json!({
        "name": spec.name, "uid": spec.uid, "port": spec.port, "domain": spec.domain,
        "url": spec.url(), "home": spec.name.home(), "unit": spec.name.unit(),
        "runtime": spec.runtime(), "running": spec.running, "release": spec.live_release(), "kept": spec.kept,
        "bucket": spec.storage.as_ref().map(|s| &s.bucket),
    })
}
