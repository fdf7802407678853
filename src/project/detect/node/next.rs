//! Next.js: a server of its own (standalone), static files (export), or `next start`.

use super::{FILE, Project, program};
use crate::domain::fault::{Code, Fault};
use crate::domain::files::Files;
use crate::project::detect::draft::{Draft, Start};
use crate::project::detect::{Framework, Runtime, read_text, text};

const CLI: &str = "node_modules/next/dist/bin/next";
const BUILD: &str = ".next/BUILD_ID";
const STANDALONE: &str = ".next/standalone";
const CONFIGS: &[&str] = &["next.config.ts", "next.config.mjs", "next.config.js", "next.config.cjs"];

pub(in crate::project::detect) fn app(files: &dyn Files) -> anyhow::Result<Option<Draft>> {
    if let Some(project) = Project::with(files, &["next"])? {
        return project.next().map(Some);
    }
    if files.is_file(BUILD) || standalone_server(files).is_some() {
        return Ok(Some(any(files)));
    }
    Ok(None)
}

/// What has been built, when nothing says how to build it.
pub(in crate::project::detect) fn any(files: &dyn Files) -> Draft {
    let draft = Draft::new(Framework::NextJs, Runtime::Nextjs).why(".next holds a build of Next.js");
    if let Some(built) = built(files, draft) {
        return built;
    }
    let missing = if files.is_file(BUILD) {
        format!("a build is there ({BUILD}), but not {CLI} to serve it")
    } else {
        format!("neither a build nor a {FILE} that depends on next is in the source")
    };
    let mut draft = Draft::new(Framework::NextJs, Runtime::Nextjs);
    draft.start = Start::Unknown(
        Fault::new(
            Code::InvalidSource,
            format!("this Next.js application cannot be started: {missing}; looked for {FILE}, server.js, .next/standalone/server.js, and {BUILD} with {CLI}"),
        )
        .next("send the project with its package.json: it is built here")
        .next("or set output: 'standalone' in next.config, run `next build`, and send .next/standalone with .next/static in it"),
    );
    draft
}

impl Project<'_> {
    fn next(&self) -> anyhow::Result<Draft> {
        let files = self.files;
        let draft = || Draft::new(Framework::NextJs, Runtime::Nextjs).why(format!("{FILE} depends on next"));
        if let Some(built) = built(files, draft()) {
            return Ok(built);
        }
        let config = config(files)?;
        let draft = self.draft(Framework::NextJs, Runtime::Nextjs, &[BUILD])?;
        let draft = self.build_without_a_script(draft.why(format!("{FILE} depends on next")))?;
        match text::setting(&config, "output") {
            Some("export") => {
                let out = text::directory(text::setting(&config, "distDir"), "out");
                Ok(draft.kind("export").why("its configuration says output: 'export'").serves(&out, false))
            }
            Some("standalone") => {
                let draft = draft.kind("standalone").why("its configuration says output: 'standalone'");
                // The build leaves these to whoever copies it.
                let mut draft = draft.builds(&["mkdir", "-p", ".next/standalone/.next"])?;
                draft = draft.builds(&["cp", "-RT", ".next/static", ".next/standalone/.next/static"])?;
                if files.is_dir("public") {
                    draft = draft.builds(&["cp", "-RT", "public", ".next/standalone/public"])?;
                }
                Ok(draft.starts(&["node", ".next/standalone/server.js"]))
            }
            _ => match self.package.script("start").filter(|script| !script.contains("next start")) {
                // A server of its own, which calls Next.js.
                Some(_) => match program::script(self)? {
                    Some(words) => Ok(draft.starts_with(Ok(words))),
                    None => Ok(draft),
                },
                None => Ok(draft.starts(&["node", CLI, "start", "-H", "127.0.0.1", "-p", "${PORT}"])),
            },
        }
    }

    /// Everybody who writes no `build` means this one.
    fn build_without_a_script(&self, draft: Draft) -> anyhow::Result<Draft> {
        let brought = self.files.is_dir("node_modules") && self.files.is_file(BUILD);
        if self.package.script("build").is_some() || brought {
            return Ok(draft);
        }
        Ok(draft.builds(&["node", CLI, "build"])?)
    }
}

/// A build that came with the source and needs nothing more.
fn built(files: &dyn Files, draft: Draft) -> Option<Draft> {
    // The content of `.next/standalone`, sent as it is.
    if files.is_file("server.js") && files.is_file(BUILD) {
        let draft = draft.why("server.js is there, as in the standalone output of Next.js");
        return Some(standalone(files, "server.js", draft));
    }
    if let Some(server) = standalone_server(files) {
        let draft = draft.why(format!("{server} is there"));
        return Some(standalone(files, &server, draft));
    }
    if files.is_file(BUILD) && files.is_file(CLI) {
        let draft = draft.why(format!("{BUILD} and {CLI} are there"));
        return Some(draft.starts(&["node", CLI, "start", "-H", "127.0.0.1", "-p", "${PORT}"]));
    }
    None
}

/// The server of a standalone build. In a repository of several packages it lies as deep as its package.
fn standalone_server(files: &dyn Files) -> Option<String> {
    let mut dirs = vec![STANDALONE.to_owned()];
    for _ in 0..4 {
        let here = dirs.iter().find(|dir| files.is_file(&format!("{dir}/server.js")));
        if let Some(dir) = here {
            return Some(format!("{dir}/server.js"));
        }
        let below = |dir: &String| {
            let names = files.list(dir).into_iter().filter(|n| n != "node_modules" && !n.starts_with('.'));
            names.map(|name| format!("{dir}/{name}")).filter(|path| files.is_dir(path)).collect::<Vec<_>>()
        };
        dirs = dirs.iter().flat_map(below).take(100).collect();
    }
    None
}

fn standalone(files: &dyn Files, server: &str, draft: Draft) -> Draft {
    let dir = server.strip_suffix("server.js").unwrap_or_default();
    let mut draft = draft.kind("standalone").starts(&["node", server]);
    if !files.is_file(&format!("{dir}{BUILD}")) {
        draft
            .notes
            .warn(format!("{dir}{BUILD} is not there: server.js does not look like a build of Next.js"));
    } else if !files.is_dir(&format!("{dir}.next/static")) {
        draft.notes.warn(format!(
            "{dir}.next/static is not there: styles and scripts will be missing; copy it from .next/static"
        ));
    }
    draft
}

fn config(files: &dyn Files) -> anyhow::Result<String> {
    for path in CONFIGS {
        if let Some(text) = read_text(files, path)? {
            return Ok(text);
        }
    }
    Ok(String::new())
}
