//! `rails` and `resume`: what keeps deploys from doing harm.

use anyhow::Result;
use clap::{ArgAction, Args};
use serde_json::json;

use super::{Verb, answer::Answer, context::Context, policy::Policy};
use crate::{
    domain::{name::ProjectName, size},
    operation::{
        deploy::{rest, resume, set_rails},
        session::Mode,
    },
    project::{Limits, ProjectSpec, Rails},
    system::build::Machine,
};

/// Show or change how often a project may be deployed, and how long a new release is watched
#[derive(Args, Clone, Debug)]
pub(crate) struct RailsArgs {
    /// The project
    name: ProjectName,
    /// How many deploys there may be in an hour; 0 is any number
    #[arg(long, value_name = "NUMBER")]
    deploys: Option<u32>,
    /// Whether 5 failures within 10 minutes pause deploys until `hostkit resume`
    #[arg(long, value_name = "YES", action = ArgAction::Set)]
    auto_pause: Option<bool>,
    /// For how many minutes a new release is taken back when it crashes again and again; 0 is never
    #[arg(long, value_name = "MINUTES", value_parser = clap::value_parser!(u32).range(0..=60))]
    probation: Option<u32>,
    /// How many seconds a migration may take
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    release_timeout: Option<u32>,
    /// The most memory that a build may ask for, such as 4G; usually three quarters of all
    #[arg(long, value_name = "SIZE", value_parser = size::parse, help_heading = "Build")]
    build_memory: Option<u64>,
    /// The most that a build may fill of the disk, such as 80G; usually 50G
    #[arg(long, value_name = "SIZE", value_parser = size::parse, help_heading = "Build")]
    build_disk: Option<u64>,
    /// How many seconds a build may ask for; usually 3600
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400), help_heading = "Build")]
    build_timeout: Option<u32>,
    /// How many processes and threads a build may ask for; usually 4096
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(16..=100_000), help_heading = "Build")]
    build_tasks: Option<u32>,
    /// How much of the processors a build may ask for, 100 for each; usually all of them
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(5..=100_000), help_heading = "Build")]
    build_cpu: Option<u32>,
    /// Let builds ask for what is usual again
    #[arg(long, help_heading = "Build")]
    build_usual: bool,
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl RailsArgs {
    fn on(&self, rails: &mut Rails) {
        rails.hourly = self.deploys.unwrap_or(rails.hourly);
        rails.pause = self.auto_pause.unwrap_or(rails.pause);
        rails.probation = self.probation.unwrap_or(rails.probation);
        rails.release_timeout = self.release_timeout.unwrap_or(rails.release_timeout);
        let before = if self.build_usual { Limits::default() } else { rails.build };
        rails.build = self.build().or(before);
    }

    fn build(&self) -> Limits {
        Limits {
            memory: self.build_memory,
            disk: self.build_disk,
            timeout: self.build_timeout,
            tasks: self.build_tasks,
            cpu: self.build_cpu,
        }
    }

    /// Whether nothing is to be changed.
    fn only_looks(&self) -> bool {
        let numbers = [self.deploys, self.probation, self.release_timeout];
        numbers.iter().all(Option::is_none)
            && self.auto_pause.is_none()
            && self.build() == Limits::default()
            && !self.build_usual
    }
}

impl Verb for RailsArgs {
    const NAME: &'static str = "rails";
    // A project that fails again and again is not the one to say how often it may.
    const POLICY: Policy = Policy::Root;
    const EXAMPLES: &'static [&'static str] = &[
        "hostkit rails blog",
        "hostkit rails blog --deploys 30 --auto-pause true",
        "hostkit rails blog --release-timeout 1800",
        "hostkit rails blog --build-memory 6G --build-timeout 7200",
    ];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let mode = if self.dry_run || self.only_looks() { Mode::DryRun } else { Mode::Run };
        let (outcome, spec, rest) = cx.session(mode, |session| {
            let (outcome, spec) = set_rails(session, &self.name, |rails| self.on(rails))?;
            let rest = rest(session, &spec)?;
            Ok((outcome, spec, rest))
        })?;
        Ok(shown(&spec, rest).outcome(outcome))
    }
}

/// The guard rails, and why they let no deploy through if they do not.
fn shown(spec: &ProjectSpec, rest: Option<String>) -> Answer {
    let rails = &spec.rails;
    let deploys = match rails.hourly {
        0 => "any number".to_owned(),
        number => number.to_string(),
    };
    let pause = if rails.pause { "after 5 failures within 10 minutes" } else { "never" };
    let probation = match rails.probation {
        0 => "none".to_owned(),
        minutes => format!("{minutes} min"),
    };
    let now = rest.as_deref().unwrap_or("possible");
    let mut text = format!(
        "deploys now       {now}\ndeploys an hour   {deploys}\nauto-pause        {pause}\n\
         probation         {probation}\nmigrations        {} s",
        rails.release_timeout
    );
    let most = rails.build.allowed(Machine::here());
    let size = |bytes: Option<u64>| size::text(bytes.unwrap_or_default());
    text.push_str(&format!(
        "\nbuilds at most    {} of memory, {} of disk, {} s, {} tasks, {} % of a processor",
        size(most.memory),
        size(most.disk),
        most.timeout.unwrap_or_default(),
        most.tasks.unwrap_or_default(),
        most.cpu.unwrap_or_default()
    ));
    let answer = Answer::new(text, json!({ "rails": rails, "rest": rest }));
    match rest {
        Some(_) => answer.next(format!("hostkit resume {}", spec.name)),
        None => answer,
    }
}

/// Let a project be deployed again that was paused, or has to wait
#[derive(Args, Clone, Debug)]
pub(crate) struct ResumeArgs {
    /// The project
    name: ProjectName,
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Verb for ResumeArgs {
    const NAME: &'static str = "resume";
    const POLICY: Policy = Policy::Root;
    const EXAMPLES: &'static [&'static str] = &["hostkit resume blog"];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let mode = if self.dry_run { Mode::DryRun } else { Mode::Run };
        let (outcome, spec) = cx.session(mode, |session| resume(session, &self.name))?;
        let text = format!("{} can be deployed", spec.name);
        Ok(Answer::new(text, json!({ "rails": spec.rails })).outcome(outcome))
    }
}
