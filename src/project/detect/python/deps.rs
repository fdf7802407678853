//! What a Python source depends on, whichever file says so.

use std::collections::BTreeSet;

use toml::{Table, Value};

use crate::domain::files::Files;
use crate::project::detect::read_text;
use crate::project::detect::versions::{self, Wanted};

/// The packages that a source names, and those that its lockfile adds.
#[derive(Debug, Default)]
pub(super) struct Deps {
    names: BTreeSet<String>,
    /// The requirements of `pyproject.toml`, as it writes them.
    pub(super) requirements: Vec<String>,
    /// Whether `pyproject.toml` says how the project itself is built.
    pub(super) is_package: bool,
    /// The version of Python that `pyproject.toml` asks for.
    python: Option<String>,
}

/// Lockfiles whose packages are named by lines `name = "…"`.
const LOCKS: &[&str] = &["uv.lock", "poetry.lock", "pdm.lock"];

impl Deps {
    pub(super) fn read(files: &dyn Files) -> anyhow::Result<Self> {
        let mut deps = Self::default();
        for path in requirements(files)? {
            let text = read_text(files, &path)?.unwrap_or_default();
            deps.names.extend(text.lines().filter_map(name));
        }
        // One that cannot be read is Python's to complain about.
        let project = read_text(files, "pyproject.toml")?.and_then(|text| text.parse::<Table>().ok());
        deps.pyproject(&project.unwrap_or_default());
        let pipfile =
            read_text(files, "Pipfile")?.and_then(|text| text.parse::<Table>().ok()).unwrap_or_default();
        deps.names.extend(keys(pipfile.get("packages")).map(normal));
        for lock in LOCKS {
            let text = files.read(lock, 8 << 20)?.unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let names = text.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
            deps.names.extend(names.map(normal));
        }
        Ok(deps)
    }

    fn pyproject(&mut self, table: &Table) {
        let project = table.get("project");
        let list = project.and_then(|project| project.get("dependencies")).and_then(Value::as_array);
        let list: Vec<String> =
            list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
        self.names.extend(list.iter().filter_map(|line| name(line)));
        self.requirements = list;
        self.is_package = table.get("build-system").is_some();
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        let poetry = table
            .get("tool")
            .and_then(|tool| tool.get("poetry"))
            .and_then(|poetry| poetry.get("dependencies"));
        self.names.extend(keys(poetry).filter(|name| *name != "python").map(normal));
        self.python = text(project.and_then(|project| project.get("requires-python")))
            .or_else(|| text(poetry.and_then(|poetry| poetry.get("python"))));
    }

    /// Whether a package is among them.
    pub(super) fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The version of Python that is asked for.
    pub(super) fn wanted(&self, files: &dyn Files) -> anyhow::Result<Option<Wanted>> {
        if let Some(wanted) = versions::first(files, "python", &[".python-version", "runtime.txt"])? {
            return Ok(Some(wanted));
        }
        Ok(self.python.as_deref().and_then(|version| Wanted::new("python", version, "pyproject.toml")))
    }

    /// The packages that a lockfile of this name does not know.
    pub(super) fn missing(&self, lock: &str, text: &str) -> Vec<String> {
        let known: BTreeSet<String> = match lock {
            "Pipfile.lock" => {
                let lock: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
                let packages = lock["default"].as_object().into_iter().flatten();
                packages.map(|(name, _)| normal(name)).collect()
            }
            _ => text
                .lines()
                .filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'))
                .map(normal)
                .collect(),
        };
        let named = self.requirements.iter().filter_map(|line| name(line)).collect::<Vec<_>>();
        let named = if named.is_empty() { self.names.iter().cloned().collect() } else { named };
        named.into_iter().filter(|name| !known.contains(name)).collect()
    }
}

fn keys(value: Option<&Value>) -> impl Iterator<Item = &str> {
    value.and_then(Value::as_table).into_iter().flat_map(|table| table.keys().map(String::as_str))
}

/// The one spelling of a package's name.
fn normal(name: &str) -> String {
    name.to_ascii_lowercase().replace(['_', '.'], "-")
}

/// The package that a requirement names: `Flask[async]>=2 ; python_version < '4'` is `flask`. One that
/// brings its server with it names that too.
fn name(line: &str) -> Option<String> {
    let line = line.trim();
    let end =
        line.find(|c: char| !c.is_alphanumeric() && !matches!(c, '-' | '_' | '.')).unwrap_or(line.len());
    let name = normal(&line[..end]);
    // An option, a comment or a path.
    (!name.is_empty() && !name.starts_with(['-', '.'])).then_some(name)
}

/// `requirements.txt` and the files it includes.
pub(super) fn requirements(files: &dyn Files) -> anyhow::Result<Vec<String>> {
    let mut all = Vec::new();
    let mut next = vec!["requirements.txt".to_owned()];
    while let Some(path) = next.pop() {
        if all.len() == 20 || all.contains(&path) {
            continue;
        }
        let Some(text) = read_text(files, &path)? else { continue };
        let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
        for line in text.lines().map(str::trim) {
            let named = ["-r ", "--requirement ", "-c ", "--constraint ", "-r", "-c"];
            if let Some(file) = named.iter().find_map(|option| line.strip_prefix(option)) {
                let file = file.trim().trim_start_matches("./");
                next.push(if dir.is_empty() { file.to_owned() } else { format!("{dir}/{file}") });
            }
        }
        all.push(path);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_requirement_names_a_package() {
        for (line, expected) in [
            ("Flask[async]>=2", Some("flask")),
            ("  my_pkg.sub == 1 # why", Some("my-pkg-sub")),
            ("# nothing", None),
            ("-r base.txt", None),
            ("--hash=sha256:x", None),
            ("", None),
            ("./local", None),
        ] {
            assert_eq!(name(line).as_deref(), expected, "{line}");
        }
    }
}
