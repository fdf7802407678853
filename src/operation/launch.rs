//! From what a source says about itself to how its release is run on this host.

use anyhow::{Result, bail};

use crate::{
    domain::{
        command::StartCommand,
        fault::{Code, Fault},
        files::Files,
        layout::{self, HostPath},
        runtime::Runtime,
        shared_dir::SharedDir,
    },
    project::{
        Launch, ProjectSpec, Recipe,
        detect::{self, App, Asked},
        fit::Misfit,
        process::Process,
        toolchain,
    },
    system::{Host, tree::Tree},
};

/// How long a release may take to become healthy unless it says otherwise, in seconds.
const HEALTH_TIMEOUT: u32 = 120;

/// A received tree made ready to run.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) launch: Launch,
    pub(super) recipe: Recipe,
    pub(super) shared: Vec<SharedDir>,
    pub(super) why: Vec<String>,
    pub(super) warnings: Vec<String>,
}

/// Detects what the tree is, and how it becomes a release.
pub(super) fn recognise(spec: &ProjectSpec, tree: &Tree, said: Asked) -> Result<App> {
    // What was said now comes before what was said when the project was made.
    let kind = said.runtime.is_some() || said.framework.is_some();
    let asked = Asked {
        runtime: if kind { said.runtime } else { spec.asked },
        framework: if kind { said.framework } else { spec.framework },
        start: if kind || said.start.is_some() { said.start } else { spec.start.clone() },
        artifact: said.artifact,
    };
    detect::detect(tree, &asked)
}

/// Refuses a source that needs another version of a program than is there; warns where it only asks.
pub(super) fn fit(host: &Host, app: &mut App) -> Result<()> {
    for wanted in &app.wants {
        let Ok(path) = program(host, &wanted.program) else { continue };
        let Some(version) = host.programs.version(&HostPath::fixed(path)) else { continue };
        match Misfit::between(wanted, version) {
            Some(misfit) if misfit.is_needed() => bail!(misfit.fault()),
            Some(misfit) => app.warnings.push(format!("{}: {}", misfit.words(), misfit.advice())),
            None => {}
        }
    }
    Ok(())
}

/// Finds the program of a tree that is built, and adds the links it needs.
pub(super) fn prepare(host: &Host, spec: &ProjectSpec, tree: &Tree, app: App) -> Result<Ready> {
    if app.runtime == Runtime::Python && !tree.is_taken(".venv") {
        venv(host, spec, tree)?;
    }
    if let Some(dir) = app.web_root.as_deref()
        && !tree.is_dir(dir)
    {
        bail!(
            Fault::new(Code::InvalidSource, format!("`{dir}` is to be served, and nothing has made it"))
                .next("see what the build says, and say in hostkit.toml where it writes: output = \"…\"")
        );
    }
    let exec = app.start.map(|start| locate(host, spec, tree, &start, &spec.name.app())).transpose()?;
    let processes = app.processes.into_iter().map(|process| {
        let command = locate(host, spec, tree, &process.command, &spec.name.app())?;
        Ok(Process { command, ..process })
    });
    let processes = processes.collect::<Result<Vec<_>>>()?;
    let fpm = app.fpm.map(|mut fpm| -> Result<_> {
        for command in &mut fpm.warm_up {
            *command = locate(host, spec, tree, command, &spec.name.app())?;
        }
        Ok(fpm)
    });
    let fpm = fpm.transpose()?;
    for shared in &app.shared {
        share(spec, tree, shared)?;
    }
    let launch = Launch {
        runtime: app.runtime,
        exec,
        workdir: app.workdir,
        web_root: app.web_root,
        spa: app.spa,
        health_path: app.health.path,
        health_timeout: app.health.timeout.unwrap_or(HEALTH_TIMEOUT),
        health_status: app.health.status,
        health_interval: app.health.interval,
        health_grace: app.health.grace,
        strategy: app.strategy,
        processes,
        drain: app.health.drain,
        fpm,
        commit: None,
    };
    Ok(Ready { launch, recipe: app.recipe, shared: app.shared, why: app.why, warnings: app.warnings })
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

/// The version of PHP that `php` is, by the links of Debian's alternatives.
fn php_version(host: &Host) -> Result<Option<String>> {
    let mut at = layout::host::php();
    for _ in 0..4 {
        let Some(target) = host.root.target(&at)? else { break };
        let name = target.rsplit('/').next().unwrap_or_default();
        if let Some(version) =
            name.strip_prefix("php").filter(|v| v.starts_with(|c: char| c.is_ascii_digit()))
        {
            return Ok(Some(version.to_owned()));
        }
        at = if target.starts_with('/') { HostPath::fixed(target) } else { at.parent().join(&target) };
    }
    Ok(None)
}

/// Where a program of the host is, by the names that Debian gives it.
fn program(host: &Host, name: &str) -> Result<String> {
    let mut names = toolchain::names(name);
    if name == "php-fpm" {
        // Of several, that of the version which builds and migrates.
        names.splice(..0, php_version(host)?.map(|version| format!("php-fpm{version}")));
    }
    for name in names {
        if let Some(path) = host.locate(&name)? {
            return Ok(path.to_string());
        }
    }
    let advice = toolchain::advice(name).map(str::to_owned);
    let advice = advice.unwrap_or_else(|| {
        format!("install `{name}`, or name it by its path in the source, such as `./{name}`")
    });
    Err(Fault::new(Code::ProgramMissing, format!("the program `{name}` is not installed"))
        .next(advice)
        .into())
}

/// Makes the program an absolute path: systemd wants one, and what is missing is said before
/// anything is switched. The tree will be seen at `app`.
pub(super) fn locate(
    host: &Host,
    spec: &ProjectSpec,
    tree: &Tree,
    start: &StartCommand,
    app: &HostPath,
) -> Result<StartCommand> {
    let Some(word) = start.program().as_literal() else {
        bail!(
            Fault::new(Code::InvalidConfig, "the program of the start command cannot be a variable")
                .next("name the program itself, such as `node server.js`")
        );
    };
    let path = find(host, spec, tree, word, app)?;
    if word != "env" {
        return Ok(start.with_program(&path)?);
    }
    // What `env` starts is looked for in the same places, and not only where `PATH` leads.
    let mut words: Vec<String> = start.clone().into();
    words[0] = path;
    if let Some(at) = words.iter().skip(1).position(|word| !word.contains('=')) {
        words[at + 1] = find(host, spec, tree, &words[at + 1], app)?;
    }
    Ok(StartCommand::from_argv(&words)?)
}

/// The absolute path of a program: of the project's, or of the host's.
fn find(host: &Host, spec: &ProjectSpec, tree: &Tree, word: &str, app: &HostPath) -> Result<String> {
    if word.starts_with('/') {
        return Ok(word.to_owned());
    }
    if word.starts_with("venv/bin/") {
        // The link in the home leads into the live release.
        let live = *app == spec.name.app();
        let path = if live { spec.name.home().join(word) } else { app.join(&format!(".{word}")) };
        return Ok(path.to_string());
    }
    if !word.contains('/') {
        let own = [".venv/bin", "node_modules/.bin"].map(|dir| format!("{dir}/{word}"));
        return match own.iter().find(|path| tree.is_executable(path)) {
            Some(path) => Ok(app.join(path).to_string()),
            None => program(host, word),
        };
    }
    let below = word.trim_start_matches("./");
    // The interpreter of a virtual environment is a link to the host's.
    let interpreter = below.starts_with(".venv/bin/python") && tree.is_taken(below);
    if !interpreter && !tree.is_executable(below) {
        let what = if tree.is_file(below) { "is not executable" } else { "is not in the source" };
        bail!(
            Fault::new(Code::InvalidSource, format!("the program `{word}` of the start command {what}"))
                .next(format!("chmod +x {below}"))
        );
    }
    Ok(app.join(below).to_string())
}

/// Links a directory that outlives releases into this one.
fn share(spec: &ProjectSpec, tree: &Tree, shared: &SharedDir) -> Result<()> {
    let path = shared.as_str();
    // An empty directory of that name is how a repository says "files will be here".
    if tree.is_taken(path) && !tree.clear(path) {
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
