//! `git key`, and where a deploy comes from.

use std::ffi::OsString;

use anyhow::Result;
use clap::{ArgGroup, Args, builder::TypedValueParser};
use serde_json::json;

use super::{Verb, answer::Answer, context::Context, group, policy::Policy, release::named};
use crate::{
    domain::{
        git::{Address, Wanted},
        name::ProjectName,
    },
    operation::git::{Order, key},
};

group! {
    Key(KeyArgs) = "key";
}

pub(super) const OVERVIEW: &[&str] =
    &["hostkit git key blog", "hostkit deploy blog --git git@example.com:blog.git --branch main"];

/// Show the key with which the project reads its repositories; it is made when there is none
#[derive(Args, Clone, Debug)]
pub(crate) struct KeyArgs {
    /// The project
    name: ProjectName,
}

impl Verb for KeyArgs {
    const NAME: &'static str = "git key";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] = &["hostkit git key blog"];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let (outcome, public) =
            cx.session(crate::operation::session::Mode::Run, |session| key(session, &self.name))?;
        let next = format!("hostkit deploy {} --git git@example.com:{}.git", self.name, self.name);
        Ok(Answer::new(public.clone(), json!({ "public_key": public })).outcome(outcome).next(next))
    }
}

/// Where the source of a deploy comes from.
#[derive(Args, Clone, Debug, Default)]
#[command(group(ArgGroup::new("from").required(true).args(["source", "artifact", "git"])))]
pub(crate) struct FromArgs {
    /// A directory, a .tar.gz, .tar.zst, .tar or .zip file, or - for an archive on standard input
    #[arg(long, value_name = "SOURCE", value_parser = clap::builder::OsStringValueParser::new().try_map(named), help_heading = "Application")]
    pub(super) source: Option<OsString>,
    /// The same, of what has been built already: nothing is installed or built
    #[arg(long, value_name = "SOURCE", value_parser = clap::builder::OsStringValueParser::new().try_map(named), help_heading = "Application")]
    pub(super) artifact: Option<OsString>,
    /// A repository: `https://…`, `ssh://…` or `git@host:path`
    #[arg(long, value_name = "ADDRESS", help_heading = "Application")]
    pub(super) git: Option<Address>,
    /// The branch of the repository
    #[arg(long, value_name = "NAME", requires = "git", conflicts_with_all = ["tag", "commit"], value_parser = Wanted::branch, help_heading = "Application")]
    branch: Option<Wanted>,
    /// The tag of the repository
    #[arg(long, value_name = "NAME", requires = "git", conflicts_with = "commit", value_parser = Wanted::tag, help_heading = "Application")]
    tag: Option<Wanted>,
    /// The commit of the repository, by its whole name
    #[arg(long, value_name = "NAME", requires = "git", value_parser = Wanted::commit, help_heading = "Application")]
    commit: Option<Wanted>,
}

impl FromArgs {
    /// A source at this place.
    pub(super) fn source(place: OsString) -> Self {
        Self { source: Some(place), ..Self::default() }
    }

    /// The place of a source or of something built.
    pub(super) fn place(&self) -> Option<&OsString> {
        self.source.as_ref().or(self.artifact.as_ref())
    }

    /// What is to be fetched, if it is a repository.
    pub(super) fn order(&self, reader: &'static str) -> Option<Order> {
        let wanted = [&self.branch, &self.tag, &self.commit].into_iter().flatten().next();
        let wanted = wanted.cloned().unwrap_or(Wanted::Default);
        self.git.clone().map(|address| Order { address, wanted, reader })
    }
}
