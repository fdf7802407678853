//! `start`, `stop` and `restart`.

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::{Verb, answer::Answer, context::Context, policy::Policy};
use crate::{
    domain::name::ProjectName,
    operation::{
        lifecycle::{Power, power},
        session::{Mode, Outcome},
    },
};

/// Declares one of the three commands.
macro_rules! power_command {
    ($(#[doc = $doc:literal])+ $Args:ident, $power:expr, $name:literal, $said:literal) => {
        $(#[doc = $doc])+
        #[derive(Args, Clone, Debug)]
        pub(crate) struct $Args {
            /// The project
            name: ProjectName,
            /// Show what would be done, and change nothing
            #[arg(long)]
            dry_run: bool,
        }

        impl Verb for $Args {
            const NAME: &'static str = $name;
            const POLICY: Policy = Policy::Owner;
            const EXAMPLES: &'static [&'static str] =
                &[concat!("hostkit ", $name, " api"), concat!("hostkit ", $name, " api --dry-run")];

            fn project(&self) -> Option<&ProjectName> {
                Some(&self.name)
            }
            fn run(self, cx: &mut Context) -> Result<Answer> {
                turn(&self.name, $power, self.dry_run, $said, cx)
            }
        }
    };
}

power_command!(
    /// Start a project's process, now and after a reboot
    StartArgs, Power::Start, "start", "runs"
);
power_command!(
    /// Stop a project's process, now and after a reboot
    StopArgs, Power::Stop, "stop", "is stopped"
);
power_command!(
    /// Start a project's process anew, and wait until it is healthy
    RestartArgs, Power::Restart, "restart", "was restarted"
);

fn turn(name: &ProjectName, to: Power, dry_run: bool, said: &str, cx: &mut Context) -> Result<Answer> {
    let mode = if dry_run { Mode::DryRun } else { Mode::Run };
    let (outcome, spec, planned) = cx.session(mode, |session| {
        let (outcome, spec) = power(session, name, to)?;
        Ok((outcome, spec, session.planned.take()))
    })?;
    if let Some(plan) = planned {
        return Ok(Answer::planned(&plan).outcome(outcome));
    }
    let already = if outcome == Outcome::Unchanged { " already" } else { "" };
    let data = json!({ "running": spec.running, "release": spec.live_release() });
    Ok(Answer::new(format!("{name} {said}{already}"), data).outcome(outcome))
}
