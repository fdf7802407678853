//! Which versions of programs a source asks for.

use serde::{Deserialize, Serialize};

use super::node::Package;
use super::{read_text, shown};
use crate::domain::files::Files;

/// A version that a source asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// The program.
    pub program: String,
    /// The version, or a range, as the source writes it.
    pub version: String,
    /// Where it says so.
    pub from: String,
}

impl Wanted {
    pub(super) fn new(program: &str, version: &str, from: &str) -> Option<Self> {
        let version = version.trim().trim_start_matches('v');
        (!version.is_empty()).then(|| Self {
            program: program.to_owned(),
            version: shown(version),
            from: from.to_owned(),
        })
    }
}

/// The first line of a small file that names nothing but a version.
fn line(files: &dyn Files, program: &str, path: &str) -> anyhow::Result<Option<Wanted>> {
    let text = read_text(files, path)?.unwrap_or_default();
    let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    let version = line.unwrap_or_default();
    // `ruby-3.2.2`, `python-3.11`
    let version = version.strip_prefix(program).map_or(version, |rest| rest.trim_start_matches('-'));
    Ok(Wanted::new(program, version, path))
}

/// The first of these files that names a version, and `.tool-versions` after them.
pub(super) fn first(files: &dyn Files, program: &str, paths: &[&str]) -> anyhow::Result<Option<Wanted>> {
    for path in paths {
        if let Some(wanted) = line(files, program, path)? {
            return Ok(Some(wanted));
        }
    }
    let text = read_text(files, ".tool-versions")?.unwrap_or_default();
    let tool = |line: &str| {
        let (name, version) = line.trim().split_once(' ')?;
        let named = name == program || (name == "nodejs" && program == "node");
        named.then(|| version.trim().to_owned())
    };
    let version = text.lines().find_map(tool).unwrap_or_default();
    Ok(Wanted::new(program, &version, ".tool-versions"))
}

/// The version of Node.
pub(super) fn node(files: &dyn Files, package: &Package) -> anyhow::Result<Option<Wanted>> {
    if let Some(engine) = package.engine("node") {
        return Ok(Wanted::new("node", engine, "engines in package.json"));
    }
    first(files, "node", &[".nvmrc", ".node-version"])
}
