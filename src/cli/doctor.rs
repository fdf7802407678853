//! `doctor` and `repair`.

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::{Verb, answer::Answer, context::Context, policy::Policy};
use crate::{
    domain::{fault::Code, name::ProjectName},
    operation::{
        session::Mode,
        survey::{Severity, doctor, repair, resume},
    },
};

/// Compare the host with the registry: exit 12 when something differs
#[derive(Args, Clone, Debug)]
pub(crate) struct DoctorArgs {
    /// The project; everything without this
    name: Option<ProjectName>,
}

impl Verb for DoctorArgs {
    const NAME: &'static str = "doctor";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] =
        &["hostkit doctor", "hostkit doctor blog", "hostkit doctor --json"];

    fn project(&self) -> Option<&ProjectName> {
        self.name.as_ref()
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let survey = cx.look(|session| doctor(session, self.name.as_ref()))?;
        let mut lines = Vec::new();
        for finding in &survey.findings {
            let mark = match finding.severity {
                Severity::Problem => "✗",
                Severity::Unchecked => "?",
            };
            let whose = if finding.project.is_empty() { "host" } else { &finding.project };
            lines.push(format!("  {mark} {whose:<12} {}: {}", finding.what, finding.problem));
            lines.push(format!("    {:<12} fix: {}", "", finding.fix));
        }
        let found = survey.findings.len();
        lines.push(match found {
            0 => format!("{} checks, all well", survey.checks),
            1 => format!("{} checks, 1 finding", survey.checks),
            n => format!("{} checks, {n} findings", survey.checks),
        });
        let mut answer = Answer::new(lines.join("\n"), json!(survey));
        if found > 0 {
            answer.exit = Some(Code::Drift);
            let mut fixes: Vec<String> = survey.findings.iter().map(|f| f.fix.clone()).collect();
            fixes.dedup();
            answer.next = fixes;
        }
        Ok(answer)
    }
}

/// Undo what was interrupted, and make the host as the registry has it
#[derive(Args, Clone, Debug)]
pub(crate) struct RepairArgs {
    /// The project; everything without this
    name: Option<ProjectName>,
    /// Only go on with what was interrupted; leave alone what was changed by hand
    #[arg(long, conflicts_with_all = ["name", "dry_run"])]
    interrupted: bool,
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Verb for RepairArgs {
    const NAME: &'static str = "repair";
    const POLICY: Policy = Policy::Root;
    const EXAMPLES: &'static [&'static str] = &[
        "hostkit repair",
        "hostkit repair blog",
        "hostkit repair --dry-run",
        "hostkit repair --interrupted",
    ];

    fn project(&self) -> Option<&ProjectName> {
        self.name.as_ref()
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let mode = if self.dry_run { Mode::DryRun } else { Mode::Run };
        let (outcome, mended, planned) = cx.session(mode, |session| {
            let (outcome, mended) =
                if self.interrupted { resume(session)? } else { repair(session, self.name.as_ref())? };
            Ok((outcome, mended, session.planned.take()))
        })?;
        if let Some(plan) = planned {
            return Ok(Answer::planned(&plan).outcome(outcome));
        }
        let text = match mended {
            0 => "nothing to repair".to_owned(),
            1 => "1 thing put right".to_owned(),
            n => format!("{n} things put right"),
        };
        Ok(Answer::new(text, json!({ "mended": mended })).outcome(outcome))
    }
}
