//! `SvelteKit`, by the adapter it is built with.

use super::{FILE, Project};
use crate::domain::files::Files;
use crate::project::detect::draft::{Draft, Start, command, nothing_to_start};
use crate::project::detect::{Framework, Runtime, read_text, text};

const CONFIGS: &[&str] =
    &["svelte.config.js", "svelte.config.mjs", "svelte.config.ts", "vite.config.js", "vite.config.ts"];

pub(in crate::project::detect) fn app(files: &dyn Files) -> anyhow::Result<Option<Draft>> {
    let Some(project) = Project::with(files, &["@sveltejs/kit"])? else { return Ok(None) };
    let mut config = String::new();
    for path in CONFIGS {
        config.push_str(&read_text(files, path)?.unwrap_or_default());
        config.push('\n');
    }
    let uses = |adapter: &str| {
        let name = format!("@sveltejs/adapter-{adapter}");
        if config.contains("@sveltejs/adapter-") {
            config.contains(&name)
        } else {
            project.package.depends_on(&name)
        }
    };
    let draft = project.draft(Framework::SvelteKit, Runtime::Node, &["build/index.js"])?;
    let draft = draft.why(format!("{FILE} depends on @sveltejs/kit"));
    if uses("static") {
        let spa = text::setting(&config, "fallback").is_some();
        let out = text::directory(text::setting(&config, "pages"), "build");
        return Ok(Some(draft.kind("static").why("it is built with adapter-static").serves(&out, spa)));
    }
    // Without ORIGIN it takes every request for one over https, and refuses forms that come over http.
    let start = ["env", "PROTOCOL_HEADER=x-forwarded-proto", "node", "build"];
    if uses("node") {
        let out = text::directory(text::setting(&config, "out"), "build");
        let start = [start[0], start[1], start[2], &out];
        return Ok(Some(draft.kind("node").why("it is built with adapter-node").starts(&start)));
    }
    if uses("auto") && project.package.depends_on("@sveltejs/adapter-node") {
        // What adapter-auto takes for a reason to use adapter-node.
        let mut draft = draft.kind("node").why("adapter-auto finds adapter-node");
        for build in &mut draft.recipe.build {
            let words: Vec<String> = build.clone().into();
            let words = ["env", "GCP_BUILDPACKS=true"].into_iter().map(str::to_owned).chain(words);
            *build = command(&words.collect::<Vec<_>>())?;
        }
        return Ok(Some(draft.starts(&start)));
    }
    let mut draft = draft;
    draft.start = Start::Unknown(
        nothing_to_start("this SvelteKit application is built for no kind of server: it uses neither adapter-node nor adapter-static")
            .next("npm install --save-dev @sveltejs/adapter-node    # and name it in svelte.config.js"),
    );
    Ok(Some(draft))
}
