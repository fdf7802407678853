//! Who decides: the order in which flags, files and findings count.

use super::draft::{Draft, Notes, Start};
use super::{Asked, Framework, ROWS, node, python, web};
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

/// What the source is: what was asked for, what `hostkit.toml` says, or what the files look like.
pub(super) fn choose(files: &dyn Files, given: &Given<'_>) -> anyhow::Result<Draft> {
    if let Some(runtime) = given.asked.runtime {
        return Ok(of_runtime(files, runtime)?.because(format!("the runtime {runtime} was asked for")));
    }
    if let Some(framework) = given.asked.framework {
        let fact = format!("the framework {framework} was asked for");
        return Ok(of_framework(files, framework, &fact)?.because(fact));
    }
    if let Some(framework) = given.config.framework {
        let fact = format!("hostkit.toml says framework = \"{framework}\"");
        return Ok(of_framework(files, framework, &fact)?.because(fact));
    }
    if let Some(runtime) = given.config.runtime {
        let fact = format!("hostkit.toml says runtime = \"{runtime}\"");
        return Ok(of_runtime(files, runtime)?.because(fact));
    }
    for row in ROWS {
        let Some(mut draft) = row(files)? else { continue };
        if draft.runtime != Runtime::Static || !given.has_start() {
            return Ok(draft);
        }
        // Somebody says what answers, so it is more than files.
        if draft.framework != Framework::Static {
            draft.runtime = Runtime::Node;
            (draft.web_root, draft.spa) = (None, false);
            return Ok(draft);
        }
    }
    if given.config.output.is_some() && !given.has_start() {
        return Ok(Draft::new(Framework::Static, Runtime::Static).why("hostkit.toml names what is served"));
    }
    if given.has_start() || given.config.build.is_some() {
        return Ok(command());
    }
    Err(nothing(files).into())
}

/// A program of any kind: only its start command is known.
fn command() -> Draft {
    let mut draft = Draft::new(Framework::Shell, Runtime::Command);
    draft.recipe.framework.clear();
    draft.start = Start::Unknown(
        Fault::new(Code::InvalidConfig, "nothing says what to start: the runtime `command` has no default")
            .next("--start-cmd 'PROGRAM ARGUMENTS'")
            .next("or a line `start = \"PROGRAM ARGUMENTS\"` in hostkit.toml"),
    );
    draft
}

/// The first row of this runtime, or what is usual for it.
fn of_runtime(files: &dyn Files, runtime: Runtime) -> anyhow::Result<Draft> {
    for row in ROWS {
        // A file that another row cannot read is no concern of this one.
        if let Ok(Some(draft)) = row(files)
            && (draft.runtime == runtime
                || (runtime == Runtime::Nextjs && draft.framework == Framework::NextJs))
        {
            return Ok(draft);
        }
    }
    match runtime {
        Runtime::Static => Err(web::missing().into()),
        Runtime::Node => node::program::any(files),
        Runtime::Python => python::any(files),
        Runtime::Nextjs => Ok(node::next::any(files)),
        Runtime::Php => super::php::any(files),
        Runtime::Ruby => super::ruby::any(files),
        Runtime::Command => Ok(command()),
    }
}

/// The row of this framework.
fn of_framework(files: &dyn Files, framework: Framework, fact: &str) -> anyhow::Result<Draft> {
    for row in ROWS {
        // A file that another row cannot read is no concern of this one.
        if let Ok(Some(draft)) = row(files)
            && draft.framework == framework
        {
            return Ok(draft);
        }
    }
    Err(Fault::new(
        Code::InvalidConfig,
        format!("{fact}, and the source does not look like {}", framework.title()),
    )
    .next("leave the framework out, and see `hostkit detect DIR`")
    .into())
}

/// The start command that was given; none leaves it to the framework.
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

/// Every file that was looked for, for people.
const LOOKED: &[&str] = &[
    "hostkit.toml",
    "Procfile",
    "artisan",
    "composer.json",
    "index.php",
    "go.mod",
    "main.go",
    "Cargo.toml",
    "Gemfile",
    "config.ru",
    "deno.json",
    "package.json",
    ".next/BUILD_ID",
    "start.sh",
];

/// The fault for a source that looks like nothing that is known.
fn nothing(files: &dyn Files) -> Fault {
    const CONTAINERS: [&str; 5] =
        ["Dockerfile", "Containerfile", "docker-compose.yml", "compose.yml", "compose.yaml"];
    let looked = LOOKED.iter().chain(python::MARKERS).map(|path| (*path).to_owned());
    let looked: Vec<_> = looked.chain(web::ROOTS.iter().map(|root| web::index(root))).collect();
    let message = match CONTAINERS.iter().find(|path| files.is_file(path)) {
        Some(path) => format!(
            "the source has a {path}, but HostKit runs processes and no containers, \
             and nothing else says what kind of application this is"
        ),
        None => "nothing in the source says what kind of application this is".to_owned(),
    };
    let fault = Fault::new(Code::NothingDetected, format!("{message}; looked for {}", looked.join(", ")))
        .next("say it: --static, --node, --python or --nextjs")
        .next("or say what to start: --start-cmd 'PROGRAM ARGUMENTS'")
        .next("or write either into hostkit.toml: runtime = \"…\", start = \"…\"");
    match below(files) {
        Some(dir) => fault.next(format!("or send `{dir}`, which looks like an application")),
        None => fault,
    }
}

/// A directory of the source that holds what the source itself does not.
fn below(files: &dyn Files) -> Option<String> {
    let mut names = files.list(".").into_iter().filter(|name| !name.starts_with('.'));
    names.find(|name| {
        let known = LOOKED.iter().chain(python::MARKERS);
        known.copied().chain(["index.html"]).any(|file| files.is_file(&format!("{name}/{file}")))
    })
}
