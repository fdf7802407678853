//! What the commands have in common that give a project new credentials.

use anyhow::Result;
use clap::Args;

use super::{answer::Answer, context::Context};
use crate::{
    domain::name::ProjectName,
    operation::session::{Mode, Outcome, Session},
};

/// A project whose credentials are to be others.
#[derive(Args, Clone, Debug)]
pub(super) struct Rotation {
    /// The project
    pub(super) name: ProjectName,
    /// Restart the process and let the old ones go at once
    #[arg(long)]
    now: bool,
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Rotation {
    /// Does it, or shows what would be done. `answer` says what came of it, and whether the process still has
    /// the old ones.
    pub(super) fn carry_out<T>(
        &self,
        cx: &mut Context,
        rotate: impl FnOnce(&mut Session<'_>, &ProjectName, bool) -> Result<(Outcome, T)>,
        answer: impl FnOnce(&T) -> (Answer, bool),
    ) -> Result<Answer> {
        let mode = if self.dry_run { Mode::DryRun } else { Mode::Run };
        let (outcome, done, planned) = cx.session(mode, |session| {
            let (outcome, done) = rotate(session, &self.name, self.now)?;
            Ok((outcome, done, session.planned.take()))
        })?;
        if let Some(plan) = planned {
            return Ok(Answer::planned(&plan).outcome(outcome));
        }
        let (answer, pending) = answer(&done);
        let answer = answer.outcome(outcome);
        Ok(if pending { answer.next(format!("hostkit restart {}", self.name)) } else { answer })
    }
}
