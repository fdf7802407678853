//! Directories that every release of a project shares.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::fault::{Code, Fault};

/// A directory inside the application that outlives releases, such as `uploads` or `data/cache`.
///
/// Relative, in normal form, of names without control characters: joined to a directory it stays inside.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SharedDir(String);

impl SharedDir {
    /// The path, relative to the release and to the project's `shared` directory alike.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether one of the two is the other or lies inside it.
    pub fn overlaps(&self, other: &Self) -> bool {
        let inside = |inner: &str, outer: &str| {
            inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        inside(&self.0, &other.0) || inside(&other.0, &self.0)
    }
}

impl FromStr for SharedDir {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let path = text.strip_suffix('/').unwrap_or(text);
        let refuse = |why: &str| {
            let shown: String = text.chars().take(60).flat_map(char::escape_debug).collect();
            Err(Fault::new(Code::InvalidValue, format!("the shared directory `{shown}` {why}")))
        };
        if text.starts_with('/') {
            return refuse("must be relative to the application, without a leading `/`");
        }
        if path.len() > 255 {
            return refuse("is longer than 255 bytes");
        }
        if path.chars().any(char::is_control) {
            return refuse("holds control characters");
        }
        if path.split('/').any(|name| matches!(name, "" | "." | "..")) {
            return refuse("must name a directory inside the application, without `.`, `..` or `//`");
        }
        Ok(Self(path.to_owned()))
    }
}

impl TryFrom<String> for SharedDir {
    type Error = Fault;

    fn try_from(text: String) -> Result<Self, Fault> {
        text.parse()
    }
}

impl From<SharedDir> for String {
    fn from(dir: SharedDir) -> Self {
        dir.0
    }
}

impl fmt::Display for SharedDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_that_stay_inside_are_taken() {
        for good in ["uploads", "data/cache", "a b", ".cache", "uploads/"] {
            assert!(good.parse::<SharedDir>().is_ok(), "{good}");
        }
        for bad in ["", "/", ".", "..", "a/..", "../a", "a//b", "./a", "/etc", "a\nb", &"a".repeat(256)] {
            assert!(bad.parse::<SharedDir>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn one_inside_the_other_overlaps() {
        let dir = |text: &str| text.parse::<SharedDir>().unwrap();
        assert!(
            dir("a").overlaps(&dir("a/b")) && dir("a/b").overlaps(&dir("a")) && dir("a").overlaps(&dir("a"))
        );
        assert!(!dir("a").overlaps(&dir("ab")));
    }
}
