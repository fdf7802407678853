//! The state of a server as lines of text, and how two states differ.

use std::collections::BTreeSet;

use crate::vps::Vps;

const SCRIPT: &str = include_str!("inside/snapshot.py");

/// Everything a refused command could have touched.
pub(crate) const HOST: &[&str] =
    &["etc", "accounts", "units", "services", "nginx", "projects", "databases", "registry"];

/// A state. Two that compare equal cannot be told apart by looking at the server.
#[derive(Clone, PartialEq, Eq)]
#[must_use]
pub(crate) struct Snapshot {
    lines: BTreeSet<String>,
}

impl Snapshot {
    pub(crate) fn take(vps: &Vps, scopes: &[&str]) -> Self {
        let lines: BTreeSet<String> = vps.python(SCRIPT, scopes).ok().lines().into_iter().collect();
        assert!(lines.len() > 3, "a snapshot of next to nothing proves nothing");
        Self { lines }
    }

    /// The lines that only one of the two has; `-` for this one's, `+` for the other's.
    pub(crate) fn difference(&self, other: &Self) -> Vec<String> {
        let gone = self.lines.difference(&other.lines).map(|line| format!("- {line}"));
        let new = other.lines.difference(&self.lines).map(|line| format!("+ {line}"));
        gone.chain(new).collect()
    }

    /// Stops the test unless the two are the same.
    pub(crate) fn expect_same(&self, other: &Self, when: &str) {
        let difference = self.difference(other);
        let shown = difference.iter().take(40).fold(String::new(), |all, line| all + line + "\n");
        assert!(
            difference.is_empty(),
            "{when}, {} lines differ (- before, + now):\n{shown}",
            difference.len()
        );
    }

    /// The same state with every line passed through `change`, which may also drop it.
    pub(crate) fn map(&self, change: impl Fn(&str) -> Option<String>) -> Self {
        Self { lines: self.lines.iter().filter_map(|line| change(line)).collect() }
    }

    /// The lines, in order.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }
}
