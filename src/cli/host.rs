//! `init`, `history` and `gc`: commands about the host itself.

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
    domain::{hostname::Hostname, name::ProjectName},
    operation::{
        init::{Setup, init},
        lifecycle::collect,
        redis::Takeover,
        session::{Mode, Outcome},
        storage::program,
    },
};

/// What becomes of a Redis that is in use.
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum RedisArg {
    /// Closed to all who give no name
    Close,
    /// Left alone
    Leave,
}

/// Set the host up for HostKit; doing it again changes nothing
#[derive(Args, Clone, Debug)]
pub(crate) struct InitArgs {
    /// The domain that projects' addresses stand under, such as `example.com`
    #[arg(long, value_name = "DOMAIN")]
    base_domain: Option<Hostname>,
    /// What becomes of a Redis that is in use: close it to all who give no name, or leave it alone
    #[arg(long, value_name = "WHAT", help_heading = "Services")]
    redis: Option<RedisArg>,
    /// Give it an object store of its own, Garage, which must be installed
    #[arg(long, help_heading = "Services")]
    with_storage: bool,
    /// Where the program of Garage lies, when it is not in /usr/local/bin or /usr/bin
    #[arg(long, value_name = "FILE", requires = "with_storage", help_heading = "Services")]
    garage: Option<String>,
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Verb for InitArgs {
    const NAME: &'static str = "init";
    const POLICY: Policy = Policy::Root;
    const EXAMPLES: &'static [&'static str] =
        &["hostkit init --base-domain example.com", "hostkit init --with-storage", "hostkit init --dry-run"];

    fn run(self, cx: &mut Context) -> Result<Answer> {
        let mode = if self.dry_run { Mode::DryRun } else { Mode::Run };
        cx.may_be_new = true;
        let takeover = match self.redis {
            None => Takeover::Unused,
            Some(RedisArg::Close) => Takeover::Close,
            Some(RedisArg::Leave) => Takeover::Leave,
        };
        let (outcome, set, planned) = cx.session(mode, |session| {
            let store = self.with_storage.then(|| program(session, self.garage.as_deref())).transpose()?;
            let (outcome, set) = init(session, &Setup { base_domain: self.base_domain, takeover, store })?;
            Ok((outcome, set, session.planned.take()))
        })?;
        if let Some(plan) = planned {
            return Ok(Answer::planned(&plan).outcome(outcome));
        }
        let domain = &set.base_domain;
        let already = if outcome == Outcome::Unchanged { "already " } else { "" };
        let text =
            format!("This host is {already}set up; projects get addresses such as http://NAME.{domain}");
        Ok(Answer::new(text, json!({ "base_domain": domain }))
            .outcome(outcome)
            .next("hostkit provision NAME"))
    }
}

/// List the operations: who, when, what, with what outcome
#[derive(Args, Clone, Debug)]
pub(crate) struct HistoryArgs {
    /// The project; everything without this
    name: Option<ProjectName>,
    /// How many, newest first
    #[arg(long, short = 'n', default_value_t = 20)]
    limit: u16,
}

impl Verb for HistoryArgs {
    const NAME: &'static str = "history";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] =
        &["hostkit history", "hostkit history blog -n 5", "hostkit history --json"];

    fn project(&self) -> Option<&ProjectName> {
        self.name.as_ref()
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let project = self.name.as_ref().map(ProjectName::as_str);
        let rows = cx.look(|session| {
            let rows = session.store.history(project, usize::from(self.limit))?;
            // One that is gone still has a history; one that never was has none.
            if let (true, Some(name)) = (rows.is_empty(), &self.name) {
                session.project(name)?;
            }
            Ok(rows)
        })?;
        let lines: Vec<Vec<String>> = rows
            .iter()
            .map(|r| {
                let whose = if r.project.is_empty() { "host".to_owned() } else { r.project.clone() };
                let outcome =
                    r.outcome.as_deref().unwrap_or(&r.state).lines().next().unwrap_or_default().to_owned();
                let when = r
                    .started_at
                    .split('.')
                    .next()
                    .unwrap_or_default()
                    .trim_end_matches('Z')
                    .replace('T', " ");
                vec![
                    r.id.to_string(),
                    when,
                    whose,
                    r.verb.clone(),
                    r.caller.clone(),
                    r.state.clone(),
                    outcome,
                ]
            })
            .collect();
        let data = json!({ "operations": rows });
        if lines.is_empty() {
            return Ok(Answer::new("nothing has happened yet", data));
        }
        Ok(Answer::new(
            table(&["ID", "STARTED (UTC)", "PROJECT", "WHAT", "BY", "STATE", "OUTCOME"], &lines),
            data,
        ))
    }
}

/// Empty the trash of what nobody can have back; a timer does it every day
#[derive(Args, Clone, Debug)]
pub(crate) struct GcArgs {
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Verb for GcArgs {
    const NAME: &'static str = "gc";
    const POLICY: Policy = Policy::Root;
    const EXAMPLES: &'static [&'static str] = &["hostkit gc", "hostkit gc --dry-run"];

    fn run(self, cx: &mut Context) -> Result<Answer> {
        let mode = if self.dry_run { Mode::DryRun } else { Mode::Run };
        let gone = cx.session(mode, collect)?;
        let outcome = if gone == 0 || self.dry_run { Outcome::Unchanged } else { Outcome::Changed };
        let fate = if self.dry_run { "would go" } else { "gone" };
        let text = match gone {
            0 => "the trash holds nothing that could go".to_owned(),
            1 => format!("1 tree {fate} for good"),
            n => format!("{n} trees {fate} for good"),
        };
        Ok(Answer::new(text, json!({ "removed": gone, "dry_run": self.dry_run })).outcome(outcome))
    }
}
