//! Deno: a task, or the usual file.

use serde_json::Value;

use super::draft::{Draft, nothing_to_start};
use super::{Framework, Runtime, read_text};
use crate::domain::files::Files;

const FILES: &[&str] = &["deno.json", "deno.jsonc"];
const USUAL: &[&str] = &["main.ts", "main.js", "mod.ts", "server.ts", "src/main.ts"];

pub(super) fn project(files: &dyn Files) -> anyhow::Result<Option<Draft>> {
    let Some(file) = FILES.iter().find(|path| files.is_file(path)) else { return Ok(None) };
    let mut draft = Draft::new(Framework::Deno, Runtime::Command).why(format!("{file} is there"));
    let text = read_text(files, file)?.unwrap_or_default();
    // With comments it is no JSON; then its tasks are looked for as words.
    let config: Value = serde_json::from_str(&text).unwrap_or_default();
    let task = |name: &str| {
        if config.is_null() {
            text.contains(&format!("\"{name}\":"))
        } else {
            config["tasks"][name].is_string() || config["tasks"][name].is_object()
        }
    };
    let main = USUAL.iter().find(|path| files.is_file(path));
    // What it fetches lies in the release, where nothing is fetched any more.
    let here = "DENO_DIR=.deno";
    draft.recipe.lockfiles = [*file, "deno.lock"]
        .iter()
        .filter(|path| files.is_file(path))
        .map(|path| (*path).to_owned())
        .collect();
    if let Some(main) = main {
        draft.recipe.installed = vec![".deno".to_owned()];
        draft = draft.installs(&["env", here, "deno", "cache", main])?;
    }
    if task("build") {
        draft =
            draft.builds(&["env", here, "deno", "task", "build"])?.why(format!("{file} has a task `build`"));
    }
    if task("start") {
        return Ok(Some(
            draft.starts(&["env", here, "deno", "task", "start"]).why(format!("{file} has a task `start`")),
        ));
    }
    let start = main.map(|main| ["env", here, "deno", "run", "-A", main].map(str::to_owned).to_vec());
    let missing = || {
        nothing_to_start(format!(
            "nothing says what Deno should run; looked for a task `start` in {file}, {}",
            USUAL.join(", ")
        ))
    };
    Ok(Some(draft.starts_with(start.ok_or_else(missing))))
}
