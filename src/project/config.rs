//! `hostkit.toml`: what a project says about itself.

mod build;
mod processes;
mod table;

use serde::{Deserialize, Serialize};

use super::framework::Framework;
use super::limits::Limits;
use super::place::Source;
use super::process::{Process, Strategy};
use crate::domain::command::StartCommand;
use crate::domain::env::EnvKey;
use crate::domain::fault::{Code, Fault};
use crate::domain::runtime::Runtime;
use crate::domain::shared_dir::SharedDir;
pub(super) use table::closest;
use table::{Shape, Table, Value};

/// What `hostkit.toml` says; everything in it is optional.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppConfig {
    /// What kind of application it is.
    pub runtime: Option<Runtime>,
    /// What it is written with.
    pub framework: Option<Framework>,
    /// What fetches its dependencies, one after the other; an empty list is nothing.
    pub install: Option<Vec<StartCommand>>,
    /// What makes the release, one after the other; an empty list is nothing.
    pub build: Option<Vec<StartCommand>>,
    /// How much that may use.
    pub limits: Limits,
    /// The directory that nginx serves, relative to the source.
    pub output: Option<String>,
    /// What changes the database before the release runs, one after the other; an empty list is nothing.
    pub release: Option<Vec<StartCommand>>,
    /// How long each of these may take, in seconds.
    pub release_timeout: Option<u32>,
    /// What to start.
    pub start: Option<StartCommand>,
    /// What else runs.
    pub processes: Vec<Process>,
    /// What takes over from what.
    pub strategy: Option<Strategy>,
    /// Whether a static site answers every unknown path with its `index.html`.
    pub spa: bool,
    /// Directories that outlive releases; none lies in another.
    pub shared: Vec<SharedDir>,
    /// How to tell that it runs.
    pub health: HealthConfig,
    /// Variables it cannot start without.
    pub env_required: Vec<EnvKey>,
}

/// How to tell that an application runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthConfig {
    /// The path that is asked for.
    pub path: Option<String>,
    /// The status it must answer with.
    pub status: Option<u16>,
    /// How long it may take until the application is healthy, in seconds.
    pub timeout: Option<u32>,
    /// How long to wait between two questions, in seconds.
    pub interval: Option<u32>,
    /// How long it must go on after its first good answer, in seconds.
    pub grace: Option<u32>,
    /// How long a process that ends may go on with what it is answering, in seconds.
    pub drain: Option<u32>,
}

/// The keys at the top of the file.
const KEYS: &[&str] = &[
    "runtime",
    "framework",
    "install",
    "build",
    "output",
    "release",
    "start",
    "processes",
    "strategy",
    "spa",
    "shared",
    "health",
    "env",
];

impl AppConfig {
    /// Where it stands, at the root of the source.
    pub const FILE: &'static str = "hostkit.toml";
    /// The largest file that is read, in bytes.
    pub const LIMIT: usize = 64 * 1024;

    /// Understands the content of the file; whatever is not understood is an error at its place.
    pub fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        let source = Source::new(Self::FILE, bytes, Self::LIMIT)?;
        let document = toml::de::DeTable::parse(source.text).map_err(|error| {
            let message = error.message().replace('\n', "; ");
            source.fault(error.span().unwrap_or(0..0), &message)
        })?;
        let top = Table::new(source, "", document.get_ref());
        top.allow(KEYS)?;
        let (web, processes) =
            top.get("processes").map(|value| processes::read(&value)).transpose()?.unwrap_or_default();
        if let (Some(_), Some(start)) = (&web, top.get("start")) {
            return Err(start.fault("`start` and `web` in [processes] say the same; leave one out"));
        }
        let release = top.get("release").map(|value| release(&value)).transpose()?.unwrap_or_default();
        let (build, limits) =
            top.get("build").map(|value| build::read(&value)).transpose()?.unwrap_or_default();
        let config = Self {
            runtime: top.get("runtime").map(|value| runtime(&value)).transpose()?,
            framework: top.get("framework").map(|value| framework(&value)).transpose()?,
            install: top.get("install").map(|value| commands(&value)).transpose()?,
            build,
            limits,
            output: top.get("output").map(|value| output(&value)).transpose()?,
            release: release.0,
            release_timeout: release.1,
            start: top.get("start").map(|value| start(&value)).transpose()?.or(web),
            processes,
            strategy: top.get("strategy").map(|value| strategy(&value)).transpose()?,
            spa: top.get("spa").map(|value| value.boolean()).transpose()?.unwrap_or_default(),
            shared: top.get("shared").map(|value| shared(&value)).transpose()?.unwrap_or_default(),
            health: top.get("health").map(|value| health(&value)).transpose()?.unwrap_or_default(),
            env_required: top.get("env").map(|value| required(&value)).transpose()?.unwrap_or_default(),
        };
        if config.runtime == Some(Runtime::Static)
            && let Some(start) = top.get("start")
        {
            return Err(start.fault("a static site runs nothing, so it has no `start`"));
        }
        Ok(config)
    }
}

fn runtime(value: &Value<'_>) -> Result<Runtime, Fault> {
    let word = value.string()?;
    word.parse().map_err(|fault: Fault| {
        let known: Vec<_> = Runtime::ALL.iter().map(|runtime| runtime.as_str()).collect();
        let guess = closest(word, &known).map(|best| format!("; did you mean `{best}`?")).unwrap_or_default();
        value.fault(&format!("{fault}{guess}"))
    })
}

fn framework(value: &Value<'_>) -> Result<Framework, Fault> {
    value.string()?.parse().map_err(|fault| value.relabel(fault))
}

fn strategy(value: &Value<'_>) -> Result<Strategy, Fault> {
    match value.string()? {
        "rolling" => Ok(Strategy::Rolling),
        "restart" => Ok(Strategy::Restart),
        _ => Err(value.fault("`strategy` is \"rolling\" or \"restart\"")),
    }
}

/// A directory of the release: the same grammar as that of shared directories.
fn output(value: &Value<'_>) -> Result<String, Fault> {
    let text = value.string()?.trim_start_matches("./").trim_end_matches('/');
    let dir: SharedDir = text.parse().map_err(|fault| value.relabel(fault))?;
    Ok(dir.as_str().to_owned())
}

/// One command as a string, or a list of commands, each a string or a list of words.
fn commands(value: &Value<'_>) -> Result<Vec<StartCommand>, Fault> {
    match value.shape() {
        Shape::String => Ok(vec![start(value)?]),
        Shape::List => value.list()?.iter().map(start).collect(),
        Shape::Other => Err(value.mismatch("a command or a list of commands")),
    }
}

/// Either the commands, or a table with them and how long each may take.
fn release(value: &Value<'_>) -> Result<(Option<Vec<StartCommand>>, Option<u32>), Fault> {
    if value.shape() != Shape::Other {
        return Ok((Some(commands(value)?), None));
    }
    let table = value.table("a command, a list of commands or a table")?;
    table.allow(&["command", "timeout"])?;
    let seconds = |value: Value<'_>| match u32::try_from(value.integer()?) {
        Ok(number @ 1..=86_400) => Ok(number),
        _ => Err(value.fault("`timeout` is a number of seconds from 1 to 86400")),
    };
    let command = table.get("command").map(|value| commands(&value)).transpose()?;
    Ok((command, table.get("timeout").map(seconds).transpose()?))
}

fn start(value: &Value<'_>) -> Result<StartCommand, Fault> {
    let parsed = match value.shape() {
        Shape::String => StartCommand::parse(value.string()?),
        Shape::List => {
            let list = value.list()?;
            let words = list.iter().map(|word| word.string().map(str::to_owned));
            StartCommand::from_argv(&words.collect::<Result<Vec<_>, _>>()?)
        }
        Shape::Other => return Err(value.mismatch("a string or a list of strings")),
    };
    parsed.map_err(|fault| value.relabel(fault))
}

fn shared(value: &Value<'_>) -> Result<Vec<SharedDir>, Fault> {
    let mut found: Vec<SharedDir> = Vec::new();
    for item in value.list()? {
        let dir: SharedDir = item.string()?.parse().map_err(|fault| item.relabel(fault))?;
        if let Some(other) = found.iter().find(|other| other.overlaps(&dir)) {
            return Err(item.fault(&format!("`{dir}` and `{other}` lie in each other")));
        }
        found.push(dir);
    }
    Ok(found)
}

/// Either `health = "/path"` or a table.
fn health(value: &Value<'_>) -> Result<HealthConfig, Fault> {
    let table = match value.shape() {
        Shape::String => return Ok(HealthConfig { path: Some(health_path(value)?), ..Default::default() }),
        _ => value.table("a path or a table")?,
    };
    table.allow(&["path", "status", "timeout", "interval", "grace", "drain"])?;
    let seconds = |key, least: i64, most: i64| {
        let number = |value: Value<'_>| match u32::try_from(value.integer()?) {
            Ok(number) if (least..=most).contains(&i64::from(number)) => Ok(number),
            _ => Err(value.fault(&format!("`{key}` is a number of seconds from {least} to {most}"))),
        };
        table.get(key).map(number).transpose()
    };
    let status = |value: Value<'_>| match u16::try_from(value.integer()?) {
        Ok(status @ 100..=599) => Ok(status),
        _ => Err(value.fault("`status` is a status of HTTP, from 100 to 599")),
    };
    Ok(HealthConfig {
        path: table.get("path").map(|value| health_path(&value)).transpose()?,
        status: table.get("status").map(status).transpose()?,
        timeout: seconds("timeout", 1, 600)?,
        interval: seconds("interval", 1, 60)?,
        grace: seconds("grace", 0, 600)?,
        drain: seconds("drain", 0, 600)?,
    })
}

fn health_path(value: &Value<'_>) -> Result<String, Fault> {
    let path = value.string()?;
    check_health_path(path).map_err(|fault| value.relabel(fault))?;
    Ok(path.to_owned())
}

/// Refuses what cannot stand in a request line: the path is sent as it is.
pub fn check_health_path(path: &str) -> Result<(), Fault> {
    let refuse = |why| Err(Fault::new(Code::InvalidValue, why));
    if !path.starts_with('/') {
        return refuse("the health path must begin with `/`");
    }
    if path.len() > 1024 {
        return refuse("the health path is longer than 1024 characters");
    }
    if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return refuse("the health path may hold visible ASCII characters only; write others as %XX");
    }
    Ok(())
}

fn required(value: &Value<'_>) -> Result<Vec<EnvKey>, Fault> {
    let table = value.table("a table")?;
    table.allow(&["required"])?;
    let mut found: Vec<EnvKey> = Vec::new();
    for item in table.get("required").map(|value| value.list()).transpose()?.unwrap_or_default() {
        let key: EnvKey = item.string()?.parse().map_err(|fault| item.relabel(fault))?;
        if found.contains(&key) {
            return Err(item.fault(&format!("`{key}` is listed twice")));
        }
        found.push(key);
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
