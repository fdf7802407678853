//! Deciding what kind of application a source is, how it is made, and how it is started.
//!
//! What somebody said comes before what can be seen: a flag, then `hostkit.toml`, then the Procfile,
//! then the files of the source, which are looked at row by row (`rows`). Every fact that counted is
//! written down.

mod choice;
mod deno;
mod draft;
mod go;
mod migrations;
mod node;
mod php;
mod python;
mod ruby;
mod rust;
mod shell;
mod text;
mod versions;
mod web;

use serde::{Deserialize, Serialize};

use super::config::{AppConfig, HealthConfig};
use super::fpm::Fpm;
use super::framework::Framework;
use super::process::{Process, Strategy};
use super::procfile::Procfile;
use super::recipe::{Migration, Recipe};
use crate::domain::command::StartCommand;
use crate::domain::env::EnvKey;
use crate::domain::fault::{Code, Fault};
use crate::domain::files::Files;
use crate::domain::runtime::Runtime;
use crate::domain::shared_dir::SharedDir;
use choice::{Given, choose_start};
use draft::{Draft, Notes, Start};

pub use versions::Wanted;

/// The largest file of the project's own tools that is read, in bytes.
const LIMIT: usize = 1 << 20;

/// The end of every warning that there is no lockfile.
const UNLOCKED: &str = "every build may fetch other versions";

/// What was said on the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// `--static`, `--node`, `--python` or `--nextjs`.
    pub runtime: Option<Runtime>,
    /// `--framework`.
    pub framework: Option<Framework>,
    /// `--start-cmd`.
    pub start: Option<StartCommand>,
    /// `--artifact`: the source has been made already, and nothing is to be installed or built.
    pub artifact: bool,
}

/// The directory a service starts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Workdir {
    /// The project's home, in which the release is the directory `app`.
    Home,
    /// The release.
    App,
}

/// What a source is, and how it is run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct App {
    /// What kind of application it is.
    pub runtime: Runtime,
    /// What to start; nothing for a static site. The program may still be a bare name, or relative
    /// to the project's home (`venv/bin/python`).
    pub start: Option<StartCommand>,
    /// Where to start it.
    pub workdir: Workdir,
    /// How it is made, and what its data needs first.
    pub recipe: Recipe,
    /// What runs besides what answers requests.
    pub processes: Vec<Process>,
    /// What takes over from what.
    pub strategy: Strategy,
    /// The directory in the release that nginx serves; `None` is the release itself, or nothing. It may
    /// be one that the build has yet to make.
    pub web_root: Option<String>,
    /// Whether every unknown path of a static site is answered with its `index.html`.
    pub spa: bool,
    /// Directories that outlive releases.
    pub shared: Vec<SharedDir>,
    /// How php-fpm serves it, if it does.
    pub fpm: Option<Fpm>,
    /// How to tell that it runs.
    pub health: HealthConfig,
    /// Variables it cannot start without.
    pub env_required: Vec<EnvKey>,
    /// Secrets that it needs and that are made up where there are none.
    pub env_generated: Vec<EnvKey>,
    /// The versions of programs that it asks for.
    pub wants: Vec<Wanted>,
    /// The facts that led here, each as a clause.
    pub why: Vec<String>,
    /// What will probably not work.
    pub warnings: Vec<String>,
}

/// Decides what the source is.
pub fn detect(files: &dyn Files, asked: &Asked) -> anyhow::Result<App> {
    let config = match said(files, AppConfig::FILE, AppConfig::LIMIT + 1)? {
        Some(bytes) => AppConfig::parse(&bytes)?,
        None => AppConfig::default(),
    };
    let procfile = said(files, Procfile::FILE, Procfile::LIMIT + 1)?;
    let procfile = procfile.as_deref().map(Procfile::parse).transpose()?;
    let given = Given { asked, config: &config, procfile: procfile.as_ref() };

    let mut draft = choice::choose(files, &given)?;
    let start = choose_start(draft.runtime, &given, &mut draft.notes)?;
    if config.spa && draft.runtime != Runtime::Static {
        let runtime = draft.runtime;
        draft.notes.warn(format!("`spa` in hostkit.toml means nothing for the runtime {runtime}"));
    }
    let (start, workdir, fpm) = match (start, draft.start) {
        (Some(start), _) => (Some(start), Workdir::App, None),
        (None, Start::Nothing) => (None, Workdir::App, None),
        (None, Start::Words(words, workdir)) => (Some(StartCommand::from_argv(&words)?), workdir, None),
        (None, Start::Fpm(fpm)) => {
            let words = Fpm::START.iter().chain(&[Fpm::CONFIG]).map(|word| (*word).to_owned());
            (Some(StartCommand::from_argv(&words.collect::<Vec<_>>())?), Workdir::Home, Some(fpm))
        }
        (None, Start::Unknown(fault)) => return Err(fault.into()),
    };
    let mut recipe = recipe(files, &given, draft.recipe, &mut draft.notes)?;
    let processes = processes(&given)?;
    let is_whole = given.config.install.is_some() || recipe.install.is_empty();
    if !draft.lean.is_empty() && !is_whole && is_lean(&recipe, start.as_ref(), &processes, workdir) {
        recipe.install = draft.lean;
        draft.notes.why("what it depends on for development is left out: nothing is built");
    }
    let mut shared = config.shared;
    for own in draft.shared {
        if !shared.iter().any(|dir| dir.overlaps(&own)) {
            shared.push(own);
        }
    }
    if draft.runtime == Runtime::Static {
        if !shared.is_empty() {
            let what =
                "`shared` in hostkit.toml does nothing for a static site: nginx serves its release alone";
            draft.notes.warn(what);
        }
        if !processes.is_empty() {
            let names: Vec<&str> = processes.iter().map(|process| process.name.as_str()).collect();
            draft.notes.warn(format!("a static site runs nothing, so this is not run: {}", names.join(", ")));
        }
    }
    let health = HealthConfig { path: config.health.path.or(draft.health_path), ..config.health };
    Ok(App {
        runtime: draft.runtime,
        start,
        workdir,
        recipe,
        processes,
        strategy: config.strategy.unwrap_or_default(),
        web_root: config.output.or(draft.web_root),
        spa: config.spa || draft.spa,
        shared,
        fpm,
        health,
        env_required: config.env_required,
        env_generated: draft.generated,
        wants: draft.wants,
        why: draft.notes.why,
        warnings: draft.notes.warnings,
    })
}

/// What `hostkit.toml` says comes before what is usual; what has been made already is not made again.
fn recipe(
    files: &dyn Files,
    given: &Given<'_>,
    mut recipe: Recipe,
    notes: &mut Notes,
) -> anyhow::Result<Recipe> {
    let config = given.config;
    if let Some(install) = &config.install {
        notes.why("hostkit.toml says how to install");
        recipe.install.clone_from(install);
        // Who knows what another command reads and makes.
        if !install.iter().all(is_installer) {
            recipe.lockfiles.clear();
            recipe.installed.clear();
        }
    }
    recipe.limits = config.limits;
    if let Some(build) = &config.build {
        notes.why("hostkit.toml says how to build");
        recipe.build.clone_from(build);
    }
    if given.asked.artifact {
        notes.why("it has been built before it came here");
        recipe = Recipe { framework: recipe.framework, migrations: recipe.migrations, ..Recipe::default() };
    }
    if config.install.is_some() || given.asked.artifact {
        // Nothing is fetched as the rows would have it.
        notes.warnings.retain(|warning| !warning.ends_with(UNLOCKED));
    }
    let said = |tool: &str, commands: &[StartCommand]| -> Vec<Migration> {
        commands.iter().map(|command| Migration { tool: tool.to_owned(), command: command.clone() }).collect()
    };
    recipe.migration_timeout = config.release_timeout;
    let procfile = given.procfile.map(Procfile::release).transpose()?.flatten();
    if let Some(release) = &config.release {
        notes.why("hostkit.toml says how to migrate");
        recipe.migrations = said(AppConfig::FILE, release);
    } else if let Some(release) = procfile {
        notes.why("the Procfile says how to migrate: release");
        recipe.migrations = said(Procfile::FILE, &[release]);
    } else if recipe.migrations.is_empty() {
        recipe.migrations = migrations::find(files, notes)?;
    }
    Ok(recipe)
}

/// A file in which the project says what it is. One that is there and cannot be read says something too.
fn said(files: &dyn Files, name: &str, limit: usize) -> anyhow::Result<Option<Vec<u8>>> {
    let bytes = files.read(name, limit)?;
    if bytes.is_none() && files.list(".").iter().any(|entry| entry == name) {
        let message = format!("{name} is there and is no file of the source that could be read");
        let fault = Fault::new(Code::InvalidConfig, message);
        return Err(fault.next(format!("put a plain file there: ls -l {name}")).into());
    }
    Ok(bytes)
}

/// Whether nothing is left to be done with what an application depends on for development. What somebody
/// says to run may need anything; `node FILE` needs nothing of that.
fn is_lean(recipe: &Recipe, start: Option<&StartCommand>, processes: &[Process], workdir: Workdir) -> bool {
    let is_node = |command: &StartCommand| command.program().as_literal().is_some_and(|word| word == "node");
    recipe.build.is_empty()
        && recipe.migrations.is_empty()
        && workdir == Workdir::App
        && start.is_some_and(is_node)
        && processes.iter().all(|process| is_node(&process.command))
}

/// Whether a command is a package manager of Node that installs what its lockfile says, with whatever flags.
fn is_installer(command: &StartCommand) -> bool {
    let words: Vec<Option<&str>> = command.words().iter().map(|word| word.as_literal()).collect();
    matches!(
        words.as_slice(),
        [Some("npm" | "pnpm" | "yarn" | "bun"), Some("ci" | "install" | "i"), flags @ ..]
            if flags.iter().all(|flag| flag.is_some_and(|flag| flag.starts_with('-')))
    )
}

/// Those of `hostkit.toml` and those of the Procfile that it does not name.
fn processes(given: &Given<'_>) -> Result<Vec<Process>, Fault> {
    let mut all = given.config.processes.clone();
    for other in given.procfile.map(Procfile::others).transpose()?.unwrap_or_default() {
        if !all.iter().any(|process| process.name == other.name) {
            all.push(other);
        }
    }
    Ok(all)
}

/// A row of the table: what the source is, if it is that.
type Row = fn(&dyn Files) -> anyhow::Result<Option<Draft>>;

/// The rows, in the order in which they count. Node stands late on purpose: many an application in
/// another language has a `package.json` for its tools.
const ROWS: &[Row] = &[
    php::laravel,
    php::symfony,
    php::plain,
    go::module,
    rust::package,
    ruby::rails,
    ruby::rack,
    python::django,
    python::web,
    python::module,
    deno::project,
    node::next::app,
    node::nuxt::app,
    node::svelte::app,
    node::astro::app,
    node::router::app,
    node::site::app,
    node::program::app,
    web::site,
    python::unknown,
    shell::script,
];

/// A file that must not be larger than [`LIMIT`].
fn read_small(files: &dyn Files, path: &str) -> anyhow::Result<Option<Vec<u8>>> {
    let bytes = files.read(path, LIMIT + 1)?;
    if bytes.as_ref().is_some_and(|bytes| bytes.len() > LIMIT) {
        return Err(Fault::new(Code::InvalidSource, format!("{path} is larger than 1 MiB")).into());
    }
    Ok(bytes)
}

/// The same as text; bytes that are none are replaced.
fn read_text(files: &dyn Files, path: &str) -> anyhow::Result<Option<String>> {
    Ok(read_small(files, path)?.map(|bytes| {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        // Many tools take a byte-order mark, so some files have one.
        text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text)
    }))
}

/// Text out of the source, fit for a message.
fn shown(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests;
