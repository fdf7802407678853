//! React Router and Remix: a server, or static files with `ssr: false`.

use super::program;
use super::{FILE, Project};
use crate::domain::files::Files;
use crate::project::detect::draft::Draft;
use crate::project::detect::{Framework, Runtime, read_text, text};

const SERVER: &str = "build/server/index.js";

pub(in crate::project::detect) fn app(files: &dyn Files) -> anyhow::Result<Option<Draft>> {
    if let Some(project) = Project::with(files, &["@react-router/dev"])? {
        let draft = project.draft(Framework::ReactRouter, Runtime::Node, &[SERVER])?;
        let draft = draft.why(format!("{FILE} depends on @react-router/dev"));
        for path in ["react-router.config.ts", "react-router.config.js"] {
            let config = read_text(files, path)?.unwrap_or_default();
            if text::flag(&config, "ssr") == Some(false) {
                let draft = draft.kind("static").why(format!("{path} says ssr: false"));
                return Ok(Some(draft.serves("build/client", true)));
            }
        }
        return served(&project, draft, &["node_modules/.bin/react-router-serve", SERVER]);
    }
    let Some(project) = Project::with(files, &["@remix-run/node", "@remix-run/dev"])? else {
        return Ok(None);
    };
    let draft = project.draft(Framework::Remix, Runtime::Node, &[SERVER, "build/index.js"])?;
    let draft = draft.why(format!("{FILE} depends on Remix"));
    // Its compiler before Vite made one file.
    let vite = project.package.depends_on("vite");
    let server = if vite { SERVER } else { "build/index.js" };
    served(&project, draft, &["node_modules/.bin/remix-serve", server])
}

/// The start script, when there is one: many bring a server of their own.
fn served(project: &Project<'_>, draft: Draft, usual: &[&str]) -> anyhow::Result<Option<Draft>> {
    match program::script(project)? {
        Some(words) => Ok(Some(draft.starts_with(Ok(words)).why(format!("{FILE} has a script `start`")))),
        None => Ok(Some(draft.starts(usual))),
    }
}
