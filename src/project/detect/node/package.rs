//! What counts in a `package.json`.

use serde_json::{Map, Value};

use crate::domain::fault::{Code, Fault};
use crate::domain::files::Files;
use crate::project::detect::read_small;

pub(in crate::project::detect) const FILE: &str = "package.json";

/// The tables of packages that are installed.
const TABLES: &[&str] = &["dependencies", "devDependencies", "optionalDependencies"];

/// A `package.json`.
#[derive(Debug, Default)]
pub(in crate::project::detect) struct Package {
    content: Map<String, Value>,
}

impl Package {
    /// The one at the root of the source.
    pub(in crate::project::detect) fn read(files: &dyn Files) -> anyhow::Result<Option<Self>> {
        let Some(bytes) = read_small(files, FILE)? else { return Ok(None) };
        // npm takes a byte-order mark, so some files have one.
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        let value: Value = serde_json::from_slice(bytes)
            .map_err(|error| Fault::new(Code::InvalidSource, format!("{FILE} is not valid JSON: {error}")))?;
        let Value::Object(content) = value else {
            return Err(Fault::new(Code::InvalidSource, format!("{FILE} does not hold a JSON object")).into());
        };
        Ok(Some(Self { content }))
    }

    /// A text at this path of keys.
    pub(super) fn text(&self, path: &[&str]) -> Option<&str> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.content.get(*first)?, |value, key| value.get(key))?.as_str()
    }

    pub(super) fn script(&self, name: &str) -> Option<&str> {
        self.text(&["scripts", name])
    }

    pub(super) fn main(&self) -> Option<&str> {
        self.text(&["main"])
    }

    /// What it says about the program `node`, or about a package manager.
    pub(in crate::project::detect) fn engine(&self, name: &str) -> Option<&str> {
        self.text(&["engines", name])
    }

    /// Whether it depends on this package, to run or to be built.
    pub(in crate::project::detect) fn depends_on(&self, name: &str) -> bool {
        self.dependencies().any(|found| found == name)
    }

    pub(super) fn has_dependencies(&self) -> bool {
        self.dependencies().next().is_some()
    }

    /// The names of the packages that it depends on for development.
    pub(super) fn for_development(&self) -> impl Iterator<Item = &str> {
        let table = self.content.get("devDependencies").and_then(Value::as_object);
        table.into_iter().flat_map(|table| table.keys().map(String::as_str))
    }

    /// The names of all packages it depends on.
    pub(super) fn dependencies(&self) -> impl Iterator<Item = &str> {
        let tables = TABLES.iter().filter_map(|table| self.content.get(*table)?.as_object());
        tables.flat_map(|table| table.keys().map(String::as_str))
    }
}
