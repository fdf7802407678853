//! `builds`: what builds wrote, and ending one. And how a deploy says on what terms it is built.

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::{
    Verb,
    answer::{Answer, table},
    context::Context,
    policy::Policy,
};
use crate::{
    domain::{env::EnvKey, name::ProjectName, release::ReleaseId, size},
    operation::{
        deploy::{
            build::{Past, State, Terms, cancel, list, log},
            size as readable,
        },
        session::Mode,
    },
    project::Limits,
};

super::group! {
    List(ListArgs) = "list";
    Log(LogArgs) = "log";
    Cancel(CancelArgs) = "cancel";
}

/// What the help of `builds` opens with.
pub(super) const OVERVIEW: &[&str] = &["hostkit builds list blog", "hostkit builds log blog"];

/// On what terms a source is built.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct BuildArgs {
    /// Install no dependencies: the source brings them
    #[arg(long, help_heading = "Build")]
    no_install: bool,
    /// Build nothing: the source is built already
    #[arg(long, help_heading = "Build")]
    no_build: bool,
    /// Memory for the build, such as 2G; usually half of what is free
    #[arg(long, value_name = "SIZE", value_parser = size::parse, help_heading = "Build")]
    build_memory: Option<u64>,
    /// What the build may fill of the disk, such as 20G; usually 10G
    #[arg(long, value_name = "SIZE", value_parser = size::parse, help_heading = "Build")]
    build_disk: Option<u64>,
    /// How long the build may take, in seconds; usually 900
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400), help_heading = "Build")]
    build_timeout: Option<u32>,
    /// Give the build this secret of the vault as a variable; may be repeated
    #[arg(long, value_name = "KEY", help_heading = "Build")]
    build_secret: Vec<EnvKey>,
}

impl BuildArgs {
    pub(super) fn terms(&self) -> Terms {
        Terms {
            no_install: self.no_install,
            no_build: self.no_build,
            limits: Limits {
                memory: self.build_memory,
                disk: self.build_disk,
                timeout: self.build_timeout,
                ..Limits::default()
            },
            secrets: self.build_secret.clone(),
        }
    }
}

/// List the builds of a project, newest first
#[derive(Args, Clone, Debug)]
pub(crate) struct ListArgs {
    /// The project
    name: ProjectName,
}

fn word(past: &Past) -> (&'static str, &str) {
    match &past.state {
        State::Running => ("running", ""),
        State::Done(after) => ("done", after),
        State::Failed(why) => ("failed", why),
        State::Dead => ("interrupted", ""),
    }
}

impl Verb for ListArgs {
    const NAME: &'static str = "builds list";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] =
        &["hostkit builds list blog", "hostkit builds list blog --json"];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let all = cx.look(|session| list(session, &self.name))?;
        let data: Vec<_> = all
            .iter()
            .map(|past| {
                let (state, detail) = word(past);
                json!({ "release": past.id, "state": state, "detail": detail, "bytes": past.size })
            })
            .collect();
        let data = json!({ "builds": data });
        if all.is_empty() {
            return Ok(Answer::new("nothing has been built yet", data));
        }
        let rows: Vec<Vec<String>> = all
            .iter()
            .map(|past| {
                let (state, detail) = word(past);
                let detail = detail.chars().take(80).collect();
                vec![past.id.to_string(), state.to_owned(), readable(past.size), detail]
            })
            .collect();
        Ok(Answer::new(table(&["RELEASE", "STATE", "LOG", "DETAIL"], &rows), data))
    }
}

/// Show what a build wrote
#[derive(Args, Clone, Debug)]
pub(crate) struct LogArgs {
    /// The project
    name: ProjectName,
    /// The release; without this the newest build
    release: Option<ReleaseId>,
}

impl Verb for LogArgs {
    const NAME: &'static str = "builds log";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] =
        &["hostkit builds log blog", "hostkit builds log blog 20261120-080231"];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let (id, text) = cx.look(|session| log(session, &self.name, self.release.as_ref()))?;
        let lines: Vec<&str> = text.lines().collect();
        Ok(Answer::new(text.trim_end(), json!({ "release": id, "lines": lines })))
    }
}

/// End the build that is running; what is live stays live
#[derive(Args, Clone, Debug)]
pub(crate) struct CancelArgs {
    /// The project
    name: ProjectName,
}

impl Verb for CancelArgs {
    const NAME: &'static str = "builds cancel";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] = &["hostkit builds cancel blog"];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let outcome = cx.session(Mode::Run, |session| cancel(session, &self.name))?;
        let text = format!("the build of {} was ended", self.name);
        Ok(Answer::new(text, json!({ "cancelled": true })).outcome(outcome))
    }
}
