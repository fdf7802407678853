//! Deciding what kind of application a source is, and how it is started.
//!
//! What somebody said comes before what can be seen: a flag, then `hostkit.toml`, then (for the start
//! command) the Procfile, then the files of the source. Every fact that counted is written down.

mod choice;
mod next;
mod node;
mod python;
mod web;

use serde::{Deserialize, Serialize};

use super::config::AppConfig;
use super::procfile::Procfile;
use super::recipe::Recipe;
use crate::domain::command::StartCommand;
use crate::domain::env::EnvKey;
use crate::domain::fault::{Code, Fault};
use crate::domain::files::Files;
use crate::domain::runtime::Runtime;
use crate::domain::shared_dir::SharedDir;
use choice::{Given, choose_runtime, choose_start};

/// The largest file of the project's own tools that is read, in bytes.
const LIMIT: usize = 1 << 20;

/// What was said on the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// `--static`, `--node`, `--python` or `--nextjs`.
    pub runtime: Option<Runtime>,
    /// `--start-cmd`.
    pub start: Option<StartCommand>,
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
    /// The directory in the release that nginx serves; `None` is the release itself, or no static site.
    pub web_root: Option<String>,
    /// Whether every unknown path of a static site is answered with its `index.html`.
    pub spa: bool,
    /// Directories that outlive releases.
    pub shared: Vec<SharedDir>,
    /// The path that tells whether it runs.
    pub health_path: Option<String>,
    /// How long it may take to become healthy, in seconds.
    pub health_timeout: Option<u32>,
    /// Variables it cannot start without.
    pub env_required: Vec<EnvKey>,
    /// The facts that led here, each as a clause.
    pub why: Vec<String>,
    /// What will probably not work.
    pub warnings: Vec<String>,
}

/// What was seen on the way.
#[derive(Debug, Default)]
struct Notes {
    why: Vec<String>,
    warnings: Vec<String>,
}

impl Notes {
    fn why(&mut self, fact: impl Into<String>) {
        self.why.push(fact.into());
    }

    fn warn(&mut self, warning: impl Into<String>) {
        self.warnings.push(warning.into());
    }
}

/// How a runtime starts when nobody says it.
struct DefaultStart {
    words: Vec<String>,
    workdir: Workdir,
}

impl DefaultStart {
    fn in_app(words: &[&str]) -> Self {
        Self { words: words.iter().map(|word| (*word).to_owned()).collect(), workdir: Workdir::App }
    }
}

/// Decides what the source is.
pub fn detect(files: &dyn Files, asked: &Asked) -> anyhow::Result<App> {
    let mut notes = Notes::default();
    let config = match files.read(AppConfig::FILE, AppConfig::LIMIT + 1)? {
        Some(bytes) => AppConfig::parse(&bytes)?,
        None => AppConfig::default(),
    };
    let procfile = files.read(Procfile::FILE, Procfile::LIMIT + 1)?;
    let procfile = procfile.as_deref().map(Procfile::parse).transpose()?;
    if let Some(procfile) = &procfile {
        for name in procfile.others() {
            notes.warn(format!("the Procfile names `{name}`, which does not run yet: only `web` does"));
        }
    }

    let given = Given { asked, config: &config, procfile: procfile.as_ref() };
    let runtime = choose_runtime(files, &given, &mut notes)?;
    let start = choose_start(runtime, &given, &mut notes)?;
    if config.spa && runtime != Runtime::Static {
        notes.warn(format!("`spa` in hostkit.toml means nothing for the runtime {runtime}"));
    }

    let mut web_root = None;
    let mut workdir = Workdir::App;
    let start = match (start, runtime) {
        (_, Runtime::Static) => {
            web_root = web::root(files, &mut notes)?;
            None
        }
        (Some(start), _) => Some(start),
        (None, _) => {
            let default = default_start(files, runtime, &mut notes)?;
            workdir = default.workdir;
            Some(StartCommand::from_argv(&default.words)?)
        }
    };
    match runtime {
        Runtime::Node => node::check_dependencies(files, &mut notes)?,
        Runtime::Python => python::check_dependencies(files, &mut notes)?,
        _ => {}
    }
    Ok(App {
        runtime,
        start,
        workdir,
        recipe: Recipe::default(),
        web_root,
        spa: config.spa,
        shared: config.shared,
        health_path: config.health.path,
        health_timeout: config.health.timeout,
        env_required: config.env_required,
        why: notes.why,
        warnings: notes.warnings,
    })
}

fn default_start(files: &dyn Files, runtime: Runtime, notes: &mut Notes) -> anyhow::Result<DefaultStart> {
    match runtime {
        Runtime::Node => node::default_start(files, notes),
        Runtime::Python => Ok(python::default_start(files, notes)?),
        Runtime::Nextjs => Ok(next::default_start(files, notes)?),
        Runtime::Static | Runtime::Command => Err(Fault::new(
            Code::InvalidConfig,
            "nothing says what to start: the runtime `command` has no default",
        )
        .next("--start-cmd 'PROGRAM ARGUMENTS'")
        .next("or a line `start = \"PROGRAM ARGUMENTS\"` in hostkit.toml")
        .into()),
    }
}

/// A file that must not be larger than [`LIMIT`].
fn read_small(files: &dyn Files, path: &str) -> anyhow::Result<Option<Vec<u8>>> {
    let bytes = files.read(path, LIMIT + 1)?;
    if bytes.as_ref().is_some_and(|bytes| bytes.len() > LIMIT) {
        return Err(Fault::new(Code::InvalidSource, format!("{path} is larger than 1 MiB")).into());
    }
    Ok(bytes)
}

/// Text out of the source, fit for a message.
fn shown(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests;
