//! Who decides: the order in which flags, files and findings count.

use super::{Asked, Notes, node, python, web};
use crate::domain::command::StartCommand;
use crate::domain::fault::{Code, Fault};
use crate::domain::files::Files;
use crate::domain::runtime::Runtime;
use crate::project::config::AppConfig;
use crate::project::procfile::Procfile;

/// Everything somebody said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Given<'a> {
    pub(super) asked: &'a Asked,
    pub(super) config: &'a AppConfig,
    pub(super) procfile: Option<&'a Procfile<'a>>,
}

impl Given<'_> {
    fn has_start(&self) -> bool {
        self.asked.start.is_some() || self.config.start.is_some() || self.procfile_web()
    }

    fn procfile_web(&self) -> bool {
        self.procfile.is_some_and(Procfile::names_web)
    }
}

/// The runtime: what was asked for, what `hostkit.toml` says, or what the files look like.
pub(super) fn choose_runtime(
    files: &dyn Files,
    given: &Given<'_>,
    notes: &mut Notes,
) -> anyhow::Result<Runtime> {
    if let Some(runtime) = given.asked.runtime {
        notes.why(format!("the runtime {runtime} was asked for"));
        return Ok(runtime);
    }
    if let Some(runtime) = given.config.runtime {
        notes.why(format!("hostkit.toml says runtime = \"{runtime}\""));
        return Ok(runtime);
    }
    let package = node::Package::read(files)?;
    if package.as_ref().is_some_and(|package| package.next) {
        notes.why("package.json depends on next");
        return Ok(Runtime::Nextjs);
    }
    if files.is_file(".next/BUILD_ID") || files.is_file(".next/standalone/server.js") {
        notes.why(".next holds a build of Next.js");
        return Ok(Runtime::Nextjs);
    }
    // Before Node: many a Python project has a package.json for its tools.
    if let Some(marker) = python::MARKERS.iter().find(|marker| files.is_file(marker)) {
        notes.why(format!("{marker} is there"));
        if package.is_some() {
            notes.warn("package.json is there as well; if this is a Node program, say --node");
        }
        return Ok(Runtime::Python);
    }
    if let Some(package) = &package {
        // A package.json beside a page, without anything to run, belongs to a site's tools.
        let runs = given.has_start() || node::entry(files, package).is_some();
        if runs || web::find(files).is_none() {
            notes.why("package.json is there");
            return Ok(Runtime::Node);
        }
    }
    if given.has_start() {
        return Ok(Runtime::Command);
    }
    if web::find(files).is_some() {
        return Ok(Runtime::Static);
    }
    Err(nothing(files).into())
}

/// The start command that was given; none leaves it to the runtime.
pub(super) fn choose_start(
    runtime: Runtime,
    given: &Given<'_>,
    notes: &mut Notes,
) -> Result<Option<StartCommand>, Fault> {
    if runtime == Runtime::Static {
        if given.asked.start.is_some() {
            let message = "a static site runs nothing, so it takes no --start-cmd";
            return Err(Fault::new(Code::InvalidValue, message)
                .next("leave --start-cmd out, or name another runtime"));
        }
        if given.config.start.is_some() {
            notes.warn("`start` in hostkit.toml is not used: a static site runs nothing");
        }
        if given.procfile_web() {
            notes.warn("`web` in the Procfile is not used: a static site runs nothing");
        }
        return Ok(None);
    }
    if let Some(start) = &given.asked.start {
        notes.why("--start-cmd says what to start");
        return Ok(Some(start.clone()));
    }
    if let Some(start) = &given.config.start {
        notes.why("hostkit.toml says what to start");
        return Ok(Some(start.clone()));
    }
    let start = given.procfile.map(Procfile::web).transpose()?.flatten();
    if start.is_some() {
        notes.why("the Procfile says what to start: web");
    }
    Ok(start)
}

/// The fault for a source that looks like nothing that is known.
fn nothing(files: &dyn Files) -> Fault {
    const CONTAINERS: [&str; 5] =
        ["Dockerfile", "Containerfile", "docker-compose.yml", "compose.yml", "compose.yaml"];
    let looked = ["hostkit.toml", "Procfile", "package.json", ".next/BUILD_ID"];
    let looked = looked.iter().chain(python::MARKERS).map(|path| (*path).to_owned());
    let looked: Vec<_> = looked.chain(web::ROOTS.iter().map(|root| web::index(root))).collect();
    let message = match CONTAINERS.iter().find(|path| files.is_file(path)) {
        Some(path) => format!(
            "the source has a {path}, but HostKit runs processes and no containers, \
             and nothing else says what kind of application this is"
        ),
        None => "nothing in the source says what kind of application this is".to_owned(),
    };
    Fault::new(Code::NothingDetected, format!("{message}; looked for {}", looked.join(", ")))
        .next("say it: --static, --node, --python or --nextjs")
        .next("or say what to start: --start-cmd 'PROGRAM ARGUMENTS'")
        .next("or write either into hostkit.toml: runtime = \"…\", start = \"…\"")
}
