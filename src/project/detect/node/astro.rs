//! Astro: static files, or a server with the adapter for Node.

use super::{FILE, Project};
use crate::domain::files::Files;
use crate::project::detect::draft::Draft;
use crate::project::detect::{Framework, Runtime, read_text, text};

const CONFIGS: &[&str] =
    &["astro.config.mjs", "astro.config.ts", "astro.config.js", "astro.config.cjs", "astro.config.mts"];

pub(in crate::project::detect) fn app(files: &dyn Files) -> anyhow::Result<Option<Draft>> {
    let Some(project) = Project::with(files, &["astro"])? else { return Ok(None) };
    let mut config = String::new();
    for path in CONFIGS {
        config.push_str(&read_text(files, path)?.unwrap_or_default());
    }
    let out = text::directory(text::setting(&config, "outDir"), "dist");
    let (server, page) = (format!("{out}/server/entry.mjs"), format!("{out}/index.html"));
    let mut draft = project.draft(Framework::Astro, Runtime::Node, &[&server, &page])?;
    draft = draft.why(format!("{FILE} depends on astro"));
    if project.package.script("build").is_none() {
        draft = draft.builds(&["node_modules/.bin/astro", "build"])?;
    }
    if config.contains("@astrojs/node") {
        let mut draft = draft.kind("node").why("its configuration names @astrojs/node");
        if text::setting(&config, "mode") == Some("middleware") {
            draft
                .notes
                .warn("@astrojs/node in the mode `middleware` starts no server of its own; use `standalone`");
        }
        return Ok(Some(draft.starts(&["node", &server])));
    }
    Ok(Some(draft.kind("static").serves(&out, false)))
}
