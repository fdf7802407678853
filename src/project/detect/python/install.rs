//! How the packages of a Python source are fetched: by the tool whose lockfile is there.

use super::deps::{self, Deps};
use crate::domain::fault::{Code, Fault};
use crate::domain::files::Files;
use crate::project::detect::draft::{Draft, literal};
use crate::project::detect::shown;

/// The interpreter of the virtual environment, from within the release.
pub(super) const PYTHON: &str = ".venv/bin/python";

/// A tool with a lockfile of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tool {
    Uv,
    Poetry,
    Pdm,
    Pipenv,
}

const LOCKS: &[(&str, Tool)] = &[
    ("uv.lock", Tool::Uv),
    ("poetry.lock", Tool::Poetry),
    ("pdm.lock", Tool::Pdm),
    ("Pipfile.lock", Tool::Pipenv),
];

impl Tool {
    /// What installs exactly what the lockfile says, into `.venv`, with the host's Python.
    const fn install(self) -> &'static [&'static str] {
        match self {
            Self::Uv => &[
                "env",
                "UV_PYTHON_PREFERENCE=only-system",
                "UV_PROJECT_ENVIRONMENT=.venv",
                "UV_LINK_MODE=copy",
                "uv",
                "sync",
                "--locked",
                "--no-dev",
                "--no-editable",
            ],
            Self::Poetry => &[
                "env",
                "POETRY_VIRTUALENVS_CREATE=true",
                "POETRY_VIRTUALENVS_IN_PROJECT=true",
                "poetry",
                "install",
                "--only",
                "main",
                "--no-root",
                "--no-interaction",
            ],
            Self::Pdm => {
                &["env", "PDM_CHECK_UPDATE=false", "pdm", "install", "--check", "--prod", "--no-editable"]
            }
            Self::Pipenv => {
                &["env", "PIPENV_VENV_IN_PROJECT=1", "pipenv", "install", "--deploy", "--ignore-pipfile"]
            }
        }
    }

    const fn lock(self) -> &'static str {
        match self {
            Self::Uv => "uv lock",
            Self::Poetry => "poetry lock",
            Self::Pdm => "pdm lock",
            Self::Pipenv => "pipenv lock",
        }
    }
}

/// Adds what fetches the packages, unless they are in the source or there are none.
pub(super) fn plan(files: &dyn Files, deps: &Deps, mut draft: Draft) -> anyhow::Result<Draft> {
    if files.is_dir(".venv") {
        return Ok(draft.why(".venv is in the source"));
    }
    let there: Vec<_> = LOCKS.iter().copied().filter(|(path, _)| files.is_file(path)).collect();
    if let [(first, _), (second, _), ..] = there.as_slice() {
        return Err(Fault::new(
            Code::InvalidSource,
            format!("the source has lockfiles of two tools, {first} and {second}"),
        )
        .next(format!("remove the one that is not kept up to date: git rm {second}"))
        .into());
    }
    draft.recipe.installed = vec![".venv".to_owned()];
    if let [(lock, tool)] = there.as_slice() {
        let text = files.read(lock, 8 << 20)?.unwrap_or_default();
        let missing = deps.missing(lock, &String::from_utf8_lossy(&text));
        if let Some(first) = missing.first() {
            let manifest = if *tool == Tool::Pipenv { "Pipfile" } else { "pyproject.toml" };
            return Err(Fault::new(
                Code::InvalidSource,
                format!("{lock} does not know what {manifest} depends on: {}", shown(first)),
            )
            .next(format!("{}    # brings {lock} up to date; then commit it", tool.lock()))
            .into());
        }
        let also = ["pyproject.toml", "Pipfile", "uv.toml", "poetry.toml", ".python-version"];
        let also = also.iter().filter(|path| files.is_file(path));
        draft.recipe.lockfiles = std::iter::once(lock).chain(also).map(|path| (*path).to_owned()).collect();
        return Ok(draft.why(format!("{lock} is there")).installs(tool.install())?);
    }
    let requirements = deps::requirements(files)?;
    let pip = [PYTHON, "-m", "pip", "install", "--no-input", "--disable-pip-version-check"];
    let venv = ["python3", "-m", "venv", ".venv"];
    if !requirements.is_empty() {
        draft.recipe.lockfiles = requirements;
        // A file with nothing in it needs no environment of its own.
        if deps.is_empty() {
            draft.recipe.installed.clear();
            return Ok(draft);
        }
        let words = [&pip[..], &["-r", "requirements.txt"]].concat();
        return Ok(draft.why("requirements.txt is there").installs(&venv)?.installs(&words)?);
    }
    let project = ["pyproject.toml", "setup.py"].into_iter().find(|path| files.is_file(path));
    let words: Vec<String> = match project {
        Some(path) if path == "setup.py" || deps.is_package => vec![".".to_owned()],
        // Only what it depends on: without a build system the project itself is no package.
        Some(_) if !deps.requirements.is_empty() => {
            deps.requirements.iter().map(|word| literal(word)).collect()
        }
        _ => {
            draft.recipe.installed.clear();
            return Ok(draft);
        }
    };
    let file = project.unwrap_or_default();
    draft
        .notes
        .warn("there is no lockfile of uv, poetry, pdm or pipenv: every build may fetch other versions");
    draft.recipe.lockfiles = vec![file.to_owned()];
    let words: Vec<String> = pip.iter().map(|word| (*word).to_owned()).chain(words).collect();
    Ok(draft.why(format!("{file} is there")).installs(&venv)?.installs(&words)?)
}

/// Adds the server that the application needs and does not depend on.
pub(super) fn with_server(
    files: &dyn Files,
    deps: &Deps,
    mut draft: Draft,
    server: &str,
) -> anyhow::Result<Draft> {
    // `fastapi[standard]` brings it, and only a lockfile shows that.
    let brought = deps.has(server) || files.is_dir(".venv");
    if brought || (server == "uvicorn" && ["fastapi-cli", "uvicorn"].iter().any(|name| deps.has(name))) {
        return Ok(draft);
    }
    draft.notes.warn(format!(
        "{server} is not among the dependencies: it is installed beside them, in its newest version"
    ));
    let uv = files.is_file("uv.lock");
    if draft.recipe.install.is_empty() {
        draft = draft.installs(&["python3", "-m", "venv", ".venv"])?;
        draft.recipe.installed = vec![".venv".to_owned()];
    }
    if uv {
        return Ok(draft.installs(&[
            "env",
            "UV_LINK_MODE=copy",
            "uv",
            "pip",
            "install",
            "--python",
            PYTHON,
            server,
        ])?);
    }
    Ok(draft.installs(&[
        PYTHON,
        "-m",
        "pip",
        "install",
        "--no-input",
        "--disable-pip-version-check",
        server,
    ])?)
}
