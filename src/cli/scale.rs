//! `scale` and `health`: how many processes a project has, and when they count as healthy.

use std::str::FromStr;

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::{Verb, answer::Answer, context::Context, policy::Policy};
use crate::{
    domain::{
        fault::{Code, Fault},
        name::ProjectName,
    },
    operation::{
        scale::{Count, scale, set_health},
        session::{Mode, Outcome},
    },
    project::{
        ProjectSpec,
        config::{HealthConfig, check_health_path},
    },
};

/// Show or set how many processes of each kind a project has; nginx balances requests over those of `web`
#[derive(Args, Clone, Debug)]
pub(crate) struct ScaleArgs {
    /// The project
    name: ProjectName,
    /// A kind of process and how many of it: `web=3`, `worker=2`; without this it is shown
    #[arg(value_name = "KIND=NUMBER")]
    counts: Vec<Count>,
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl FromStr for Count {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self, Fault> {
        let count = text.split_once('=').and_then(|(kind, number)| {
            let digits = number.bytes().all(|b| b.is_ascii_digit());
            let kind = crate::project::process::is_name(kind).then(|| kind.to_owned())?;
            Some(Self { kind, number: number.parse().ok().filter(|_| digits)? })
        });
        count.ok_or_else(|| {
            Fault::new(
                Code::InvalidValue,
                format!("`{}` is no kind of process and a number", text.escape_debug()),
            )
            .next("write it like `web=3`")
        })
    }
}

impl Verb for ScaleArgs {
    const NAME: &'static str = "scale";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] = &[
        "hostkit scale api",
        "hostkit scale api web=3",
        "hostkit scale api web=2 worker=4",
        "hostkit scale api web=1 --dry-run",
    ];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        if self.counts.is_empty() {
            return cx.look(|session| Ok(shown(&session.project(&self.name)?.spec, "")));
        }
        let mode = if self.dry_run { Mode::DryRun } else { Mode::Run };
        let (outcome, spec, planned) = cx.session(mode, |session| {
            let (outcome, spec) = scale(session, &self.name, &self.counts)?;
            Ok((outcome, spec, session.planned.take()))
        })?;
        if let Some(plan) = planned {
            return Ok(Answer::planned(&plan).outcome(outcome));
        }
        let already = if outcome == Outcome::Unchanged { " already" } else { "" };
        Ok(shown(&spec, already).outcome(outcome))
    }
}

/// How many there are of each kind, for people and programs.
fn shown(spec: &ProjectSpec, already: &str) -> Answer {
    let counts = counts(spec);
    let list: Vec<String> = counts.iter().map(|(kind, number)| format!("{kind}={number}")).collect();
    let text = match &spec.live {
        None => format!("{} has not been deployed: nothing runs", spec.name),
        Some((_, launch)) if launch.exec.is_none() => format!("{} is static: nginx serves it", spec.name),
        Some(_) if !spec.running => format!("{} is stopped; it would run {}", spec.name, list.join(" ")),
        Some(_) => format!("{} runs {}{already}", spec.name, list.join(" ")),
    };
    Answer::new(text, json!({ "processes": counts.into_iter().collect::<serde_json::Map<_, _>>() }))
}

/// How many there are of each kind.
fn counts(spec: &ProjectSpec) -> Vec<(String, serde_json::Value)> {
    let kinds = spec.live.iter().flat_map(|(_, launch)| &launch.processes).filter(|p| p.at.is_none());
    let rest = kinds.map(|process| (process.name.clone(), json!(spec.count(&process.name))));
    std::iter::once((ProjectSpec::WEB.to_owned(), json!(spec.webs()))).chain(rest).collect()
}

/// Show or set when a project counts as healthy; above what its hostkit.toml says
#[derive(Args, Clone, Debug)]
pub(crate) struct HealthArgs {
    /// The project
    name: ProjectName,
    /// The path that is asked for
    #[arg(long, value_parser = path)]
    path: Option<String>,
    /// The status it must answer with
    #[arg(long, value_parser = clap::value_parser!(u16).range(100..=599))]
    status: Option<u16>,
    /// How long it may take to become healthy, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=600))]
    timeout: Option<u32>,
    /// How long to wait after an answer that is not the right one, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=60))]
    interval: Option<u32>,
    /// How long it must go on after its first good answer, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(0..=600))]
    grace: Option<u32>,
    /// How long a process that ends may go on with what it is answering, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(0..=600))]
    drain: Option<u32>,
    /// Leave to the release what is not said here
    #[arg(long)]
    reset: bool,
}

fn path(text: &str) -> Result<String, Fault> {
    check_health_path(text).map(|()| text.to_owned())
}

impl Verb for HealthArgs {
    const NAME: &'static str = "health";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] = &[
        "hostkit health api",
        "hostkit health api --path /healthz --timeout 60",
        "hostkit health api --reset",
    ];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let Self { name, path, status, timeout, interval, grace, drain, reset } = self;
        let settings = HealthConfig { path, status, timeout, interval, grace, drain };
        if settings == HealthConfig::default() && !reset {
            return cx.look(|session| Ok(described(&session.project(&name)?.spec)));
        }
        let (outcome, spec) =
            cx.session(Mode::Run, |session| set_health(session, &name, settings.clone(), reset))?;
        Ok(described(&spec).outcome(outcome))
    }
}

/// When a project counts as healthy.
fn described(spec: &ProjectSpec) -> Answer {
    let launch = spec.live.as_ref().map(|(_, launch)| launch);
    let health = launch.map_or_else(|| spec.health.clone(), |launch| spec.health_of(launch));
    let path = health.path.clone().unwrap_or_else(|| "/".to_owned());
    let wanted = match (health.status, &health.path) {
        (Some(status), _) => status.to_string(),
        (None, Some(_)) => "200".to_owned(),
        (None, None) => "anything below 500".to_owned(),
    };
    let seconds = |number: Option<u32>, usual: &str| {
        number.map_or_else(|| usual.to_owned(), |number| format!("{number} s"))
    };
    let text = format!(
        "{}  GET {path} must answer {wanted}, from the next start on\ntimeout   {}\ninterval  {}\ngrace     {}\ndrain     {} s",
        spec.name,
        seconds(health.timeout, "120 s"),
        seconds(health.interval, "0.1 s"),
        seconds(health.grace, "0 s"),
        spec.drain(),
    );
    Answer::new(text, json!({ "health": health, "set": spec.health }))
}
