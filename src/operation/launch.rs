//! From what a source says about itself to how its release is run on this host.

use anyhow::{Result, bail};

use super::secrets::Needs;
use crate::{
    domain::{
        command::StartCommand,
        fault::{Code, Fault},
        files::Files,
        runtime::Runtime,
        shared_dir::SharedDir,
    },
    project::{
        Launch, ProjectSpec,
        detect::{self, Asked},
        health,
        process::Strategy,
    },
    system::{Host, tree::Tree},
};

/// A received tree made ready to run.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) launch: Launch,
    pub(super) shared: Vec<SharedDir>,
    pub(super) needs: Needs,
    pub(super) why: Vec<String>,
    pub(super) warnings: Vec<String>,
}

/// Detects what the tree is, finds its program, and adds the links it needs.
pub(super) fn prepare(
    host: &Host,
    spec: &ProjectSpec,
    tree: &Tree,
    runtime: Option<Runtime>,
    start: Option<StartCommand>,
) -> Result<Ready> {
    // What was said now comes before what was said when the project was made.
    let asked = match (runtime, start) {
        (None, None) => Asked { runtime: spec.asked, start: spec.start.clone() },
        (runtime, start) => Asked { runtime: runtime.or(spec.asked), start },
    };
    let app = detect::detect(tree, &asked)?;
    if app.runtime == Runtime::Python && !tree.is_taken(".venv") {
        venv(host, spec, tree)?;
    }
    let exec = app.start.map(|start| locate(host, spec, tree, &start)).transpose()?;
    for shared in &app.shared {
        share(spec, tree, shared)?;
    }
    let launch = Launch {
        runtime: app.runtime,
        exec,
        workdir: app.workdir,
        web_root: app.web_root,
        spa: app.spa,
        health_path: app.health_path,
        health_timeout: app.health_timeout.unwrap_or(health::TIMEOUT),
        health_status: None,
        health_interval: None,
        health_grace: None,
        strategy: Strategy::default(),
        processes: Vec::new(),
        drain: None,
    };
    Ok(Ready {
        launch,
        shared: app.shared,
        needs: Needs::of(tree, &app.env_required)?,
        why: app.why,
        warnings: app.warnings,
    })
}

/// A virtual environment of the standard library alone: all that `python3 -m venv` would make of it,
/// in two entries instead of two seconds.
fn venv(host: &Host, spec: &ProjectSpec, tree: &Tree) -> Result<()> {
    let python = program(host, "python3")?;
    tree.mkdir(".venv/bin", spec.uid)?;
    tree.link(".venv/bin/python", &python)?;
    tree.link(".venv/bin/python3", &python)?;
    let home = python.rsplit_once('/').map_or("/usr/bin", |(dir, _)| dir);
    tree.write(
        ".venv/pyvenv.cfg",
        &format!("home = {home}\ninclude-system-site-packages = false\n"),
        spec.uid,
    )
}

fn program(host: &Host, name: &str) -> Result<String> {
    // Debian's Python has no other name.
    let also = if name == "python" { "python3" } else { name };
    for name in [name, also] {
        if let Some(path) = host.locate(name)? {
            return Ok(path.to_string());
        }
    }
    let advice = match name {
        "node" => "apt-get install nodejs".to_owned(),
        "python" | "python3" => "apt-get install python3".to_owned(),
        _ => format!("install `{name}`, or name it by its path in the source, such as `./{name}`"),
    };
    Err(Fault::new(Code::ProgramMissing, format!("the program `{name}` is not installed"))
        .next(advice)
        .into())
}

/// Makes the program an absolute path: systemd wants one, and what is missing is said before
/// anything is switched.
fn locate(host: &Host, spec: &ProjectSpec, tree: &Tree, start: &StartCommand) -> Result<StartCommand> {
    let Some(word) = start.program().as_literal() else {
        bail!(
            Fault::new(Code::InvalidConfig, "the program of the start command cannot be a variable")
                .next("name the program itself, such as `node server.js`")
        );
    };
    let app = spec.name.app();
    let path = if word.starts_with('/') {
        word.to_owned()
    } else if word.starts_with("venv/bin/") {
        spec.name.home().join(word).to_string()
    } else if word.contains('/') {
        let below = word.trim_start_matches("./");
        if !tree.is_executable(below) {
            let what = if tree.is_file(below) { "is not executable" } else { "is not in the source" };
            bail!(
                Fault::new(Code::InvalidSource, format!("the program `{word}` of the start command {what}"))
                    .next(format!("chmod +x {below}"))
            );
        }
        app.join(below).to_string()
    } else {
        let own = [".venv/bin", "node_modules/.bin"].map(|dir| format!("{dir}/{word}"));
        match own.iter().find(|path| tree.is_executable(path)) {
            Some(path) => app.join(path).to_string(),
            None => program(host, word)?,
        }
    };
    Ok(start.with_program(&path)?)
}

/// Links a directory that outlives releases into this one.
fn share(spec: &ProjectSpec, tree: &Tree, shared: &SharedDir) -> Result<()> {
    let path = shared.as_str();
    // An empty directory of that name is how a repository says "files will be here".
    if tree.is_taken(path) && !tree.rmdir(path) {
        bail!(
            Fault::new(
                Code::InvalidSource,
                format!(
                    "`{path}` is to be shared between releases, but the source brings files of its own there"
                )
            )
            .next(format!("leave `{path}` out of the source, or out of `shared` in hostkit.toml"))
        );
    }
    if let Some((parent, _)) = path.rsplit_once('/') {
        tree.mkdir(parent, spec.uid)?;
    }
    let up = "../".repeat(path.split('/').count() + 1);
    tree.link(path, &format!("{up}shared/{path}"))
}
