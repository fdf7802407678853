//! Programs that make static files: Vite, and those that were there before it.

use serde_json::Value;

use super::{FILE, Project};
use crate::domain::files::Files;
use crate::project::detect::draft::Draft;
use crate::project::detect::{Framework, Runtime, read_text, text};

/// A package, what it is, the directory it writes, and whether that is a single-page application.
const MAKERS: &[(&str, Framework, &str, bool)] = &[
    ("@angular/cli", Framework::Angular, "dist", true),
    ("react-scripts", Framework::CreateReactApp, "build", true),
    ("@vue/cli-service", Framework::VueCli, "dist", true),
    ("gatsby", Framework::Gatsby, "public", false),
    ("@docusaurus/core", Framework::Docusaurus, "build", false),
    ("@11ty/eleventy", Framework::Eleventy, "_site", false),
    ("vite", Framework::Vite, "dist", true),
];

/// Words of a `start` script that show the files while they are worked on, and are no server of its own.
const PREVIEWS: &[&str] =
    &["vite", "react-scripts", "ng", "vue-cli-service", "gatsby", "docusaurus", "eleventy", "serve"];

const VITE_CONFIGS: &[&str] = &["vite.config.ts", "vite.config.js", "vite.config.mjs", "vite.config.mts"];

pub(in crate::project::detect) fn app(files: &dyn Files) -> anyhow::Result<Option<Draft>> {
    for (name, framework, usual, spa) in MAKERS {
        let Some(project) = Project::with(files, &[name])? else { continue };
        let built = project.package.script("build").is_some();
        if !built || project.has_a_server() {
            return Ok(None);
        }
        let out = match framework {
            Framework::Angular => angular(files)?.unwrap_or_else(|| (*usual).to_owned()),
            Framework::Vite => vite(files, project.package.script("build").unwrap_or_default())?,
            _ => (*usual).to_owned(),
        };
        let page = format!("{out}/index.html");
        let draft = project.draft(*framework, Runtime::Static, &[&page])?;
        return Ok(Some(draft.why(format!("{FILE} depends on {name}")).serves(&out, *spa)));
    }
    Ok(None)
}

impl Project<'_> {
    /// Whether the `start` script is more than a preview.
    fn has_a_server(&self) -> bool {
        let Some(script) = self.package.script("start") else { return false };
        let words =
            script.split_whitespace().filter(|word| !matches!(*word, "npx" | "pnpm" | "yarn" | "exec"));
        let mut words = words.skip_while(|word| word.contains('='));
        !words.next().is_some_and(|word| PREVIEWS.contains(&word))
    }
}

/// The directory that Vite writes: said by its script, or by its configuration.
fn vite(files: &dyn Files, script: &str) -> anyhow::Result<String> {
    let mut words = script.split_whitespace().skip_while(|word| *word != "--outDir");
    if let Some(dir) = words.nth(1) {
        return Ok(text::directory(Some(dir), "dist"));
    }
    for path in VITE_CONFIGS {
        if let Some(config) = read_text(files, path)? {
            return Ok(text::directory(text::setting(&config, "outDir"), "dist"));
        }
    }
    Ok("dist".to_owned())
}

/// The directory that Angular writes, out of `angular.json`.
fn angular(files: &dyn Files) -> anyhow::Result<Option<String>> {
    let Some(config) = read_text(files, "angular.json")? else { return Ok(None) };
    let Ok(config) = serde_json::from_str::<Value>(&config) else { return Ok(None) };
    let Some((name, project)) = config["projects"].as_object().and_then(|all| all.iter().next()) else {
        return Ok(None);
    };
    let build = &project["architect"]["build"];
    let path = &build["options"]["outputPath"];
    let base = path.as_str().or_else(|| path["base"].as_str()).map(str::to_owned);
    let base = base.unwrap_or_else(|| format!("dist/{name}"));
    // The builder of today puts what is for the browser into a directory of its own.
    let builder = build["builder"].as_str().unwrap_or_default();
    let below = if builder.ends_with(":application") {
        format!("/{}", path["browser"].as_str().unwrap_or("browser"))
    } else {
        String::new()
    };
    Ok(Some(text::directory(Some(format!("{base}{below}").trim_end_matches('/')), "dist")))
}
