//! Python programs: the package or module `app`, run by the interpreter of the virtual environment.

use super::{DefaultStart, Notes, Workdir, read_small};
use crate::domain::fault::{Code, Fault};
use crate::domain::files::Files;

/// Files that only a Python project has at its root.
pub(super) const MARKERS: &[&str] = &[
    "__main__.py",
    "app.py",
    "app/__main__.py",
    "manage.py",
    "requirements.txt",
    "pyproject.toml",
    "Pipfile",
    "setup.py",
];

pub(super) fn default_start(files: &dyn Files, notes: &mut Notes) -> Result<DefaultStart, Fault> {
    // From the project's home the release is the directory `app`, so it can be the package itself.
    let (file, workdir) = if files.is_file("__main__.py") {
        ("__main__.py", Workdir::Home)
    } else if files.is_file("app.py") {
        ("app.py", Workdir::App)
    } else if files.is_file("app/__main__.py") {
        ("app/__main__.py", Workdir::App)
    } else {
        return Err(Fault::new(
            Code::NothingDetected,
            "nothing says what Python should run; looked for __main__.py, app.py and app/__main__.py",
        )
        .next("add one of them: it is run as `python -m app`")
        .next("or say what to start: --start-cmd 'python FILE'"));
    };
    notes.why(format!("{file} makes `python -m app` run"));
    let words = ["venv/bin/python", "-m", "app"].map(str::to_owned).to_vec();
    Ok(DefaultStart { words, workdir })
}

/// Warns when packages are needed and not there: nothing is installed yet.
pub(super) fn check_dependencies(files: &dyn Files, notes: &mut Notes) -> anyhow::Result<()> {
    if files.is_dir(".venv") {
        return Ok(());
    }
    let requirements = read_small(files, "requirements.txt")?.is_some_and(|bytes| {
        String::from_utf8_lossy(&bytes)
            .lines()
            .map(str::trim)
            .any(|line| !line.is_empty() && !line.starts_with('#'))
    });
    let project = read_small(files, "pyproject.toml")?.is_some_and(|bytes| has_dependencies(&bytes));
    for (file, found) in [("requirements.txt", requirements), ("pyproject.toml", project)] {
        if found {
            notes.warn(format!(
                "{file} has dependencies, but there is no .venv; nothing is installed yet, \
                 so only the standard library can be imported"
            ));
        }
    }
    Ok(())
}

/// Whether a `pyproject.toml` names packages; one that cannot be read is Python's to complain about.
fn has_dependencies(bytes: &[u8]) -> bool {
    let Ok(table) = String::from_utf8_lossy(bytes).parse::<toml::Table>() else { return false };
    let listed = |value: &toml::Value| value.as_array().is_some_and(|list| !list.is_empty());
    let project = table.get("project").and_then(|project| project.get("dependencies")).is_some_and(listed);
    let poetry = table
        .get("tool")
        .and_then(|tool| tool.get("poetry"))
        .and_then(|poetry| poetry.get("dependencies"))
        .and_then(toml::Value::as_table)
        .is_some_and(|packages| packages.keys().any(|name| name != "python"));
    project || poetry
}
