//! Nuxt: a server in `.output`, or the static files that `nuxt generate` makes.

use super::{FILE, Project};
use crate::domain::files::Files;
use crate::project::detect::draft::Draft;
use crate::project::detect::{Framework, Runtime};

const SERVER: &str = ".output/server/index.mjs";

pub(in crate::project::detect) fn app(files: &dyn Files) -> anyhow::Result<Option<Draft>> {
    let Some(project) = Project::with(files, &["nuxt", "nuxt3", "nuxt-edge"])? else { return Ok(None) };
    let mut draft = project.draft(Framework::Nuxt, Runtime::Node, &[SERVER])?;
    draft = draft.why(format!("{FILE} depends on nuxt"));
    let script = project.package.script("build");
    if script.is_some_and(|script| script.contains("generate")) {
        let draft = draft.kind("generate").why("its script `build` generates static files");
        return Ok(Some(draft.serves(".output/public", false)));
    }
    if script.is_none() && !files.is_file(SERVER) {
        draft = draft.builds(&["node_modules/.bin/nuxt", "build"])?;
    }
    Ok(Some(draft.starts(&["node", SERVER])))
}
