//! `detect`: what a directory would be taken for.

use std::{ffi::OsString, path::Path};

use anyhow::{Context as _, Result, bail};
use clap::{Args, builder::TypedValueParser};
use serde_json::json;

use super::{Verb, answer::Answer, context::Context, policy::Policy, release::named};
use crate::{
    domain::fault::{Code, Fault},
    operation::inspect::{Lacking, inspect, lacking, misfits},
    project::{detect::App, fit::Misfit},
    system::source,
};

/// The hidden command that looks at a source with the caller's permissions.
pub(super) const LOOK: &str = "__detect";
/// The longest answer of it, in bytes.
const LIMIT: usize = 1 << 20;

/// Say what a directory would be taken for, and why: how it is built, started and migrated
#[derive(Args, Clone, Debug)]
pub(crate) struct DetectArgs {
    /// The directory
    #[arg(default_value = ".", value_parser = clap::builder::OsStringValueParser::new().try_map(named))]
    directory: OsString,
}

impl Verb for DetectArgs {
    const NAME: &'static str = "detect";
    // It reads what the caller could read anyway.
    const POLICY: Policy = Policy::Anyone;
    const EXAMPLES: &'static [&'static str] =
        &["hostkit detect examples/node", "hostkit detect examples/static --json"];

    fn run(self, cx: &mut Context) -> Result<Answer> {
        let caller = cx.caller()?;
        let path = cx.absolute(&self.directory);
        let bytes = source::read_as(LOOK, path.as_os_str(), &caller, LIMIT)?;
        if bytes.len() > LIMIT {
            bail!(Fault::new(Code::InvalidSource, "the source says more about itself than is read"));
        }
        let app: App = serde_json::from_slice(&bytes).context("reading what the source is")?;
        Ok(answer(&app, &lacking(&app), &misfits(&app)))
    }
}

/// The child's work.
pub(super) fn serve(path: &Path) -> bool {
    source::told(inspect(path).and_then(|app| source::answer(&serde_json::to_vec(&app)?)))
}

fn answer(app: &App, lacking: &[Lacking], misfits: &[Misfit]) -> Answer {
    let mut lines: Vec<(&str, String)> = Vec::new();
    let recipe = &app.recipe;
    if !recipe.framework.is_empty() {
        lines.push(("framework", recipe.framework.clone()));
    }
    lines.push(("runtime", app.runtime.to_string()));
    lines.extend(recipe.install.iter().map(|command| ("install", command.to_string())));
    lines.extend(recipe.build.iter().map(|command| ("build", command.to_string())));
    lines.extend(recipe.migrations.iter().map(|m| ("migrate", format!("{}  ({})", m.command, m.tool))));
    lines.extend(app.start.iter().map(|start| ("start", start.to_string())));
    if let Some(root) = &app.web_root {
        lines.push(("serves", root.clone()));
    }
    for process in &app.processes {
        let at = process.at.as_ref().map(|at| format!("  at {at}")).unwrap_or_default();
        lines.push(("process", format!("{}: {}{at}", process.name, process.command)));
    }
    if let Some(path) = &app.health.path {
        lines.push(("health", format!("GET {path}")));
    }
    lines.extend(app.wants.iter().map(|w| ("wants", format!("{} {}  ({})", w.program, w.version, w.from))));
    for missing in lacking {
        let advice = missing.advice.map(|advice| format!("    {advice}")).unwrap_or_default();
        lines.push(("missing", format!("{}{advice}", missing.program)));
    }
    lines.extend(
        misfits.iter().map(|m| ("unfit", format!("{} {}    {}", m.wanted.program, m.installed, m.advice()))),
    );
    lines.extend(app.why.iter().map(|fact| ("because", fact.clone())));
    let mut text = String::new();
    let mut last = "";
    for (key, value) in &lines {
        let key = if *key == last { "" } else { key };
        text.push_str(&format!("{key:<10} {value}\n"));
        last = if key.is_empty() { last } else { key };
    }
    let missing: Vec<_> =
        lacking.iter().map(|m| json!({ "program": m.program, "advice": m.advice })).collect();
    let unfit = misfits.iter().map(|m| {
        json!({ "program": m.wanted.program, "wanted": m.wanted.version, "from": m.wanted.from,
                "installed": m.installed.to_string(), "refused": m.is_needed(), "advice": m.advice() })
    });
    let data = json!({ "app": app, "missing": missing, "unfit": unfit.collect::<Vec<_>>() });
    let answer = Answer::new(text.trim_end(), data).warn(app.warnings.iter().cloned());
    match lacking.first().and_then(|missing| missing.advice) {
        Some(advice) => answer.next(advice),
        None => answer,
    }
}
