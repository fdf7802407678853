//! How two environments differ.

use std::collections::{BTreeMap, BTreeSet};

use super::{EnvKey, EnvText};

/// One variable that is otherwise. `Debug` would show values, so there is none of them.
#[derive(Clone, PartialEq, Eq)]
pub struct Change {
    /// The variable.
    pub key: EnvKey,
    /// What it was, if it was there.
    pub old: Option<String>,
    /// What it is, if it is there.
    pub new: Option<String>,
}

impl std::fmt::Debug for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Change").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Change {
    /// `+` for a new variable, `-` for one that is gone, `~` for another value.
    pub fn sign(&self) -> char {
        match (&self.old, &self.new) {
            (None, _) => '+',
            (_, None) => '-',
            _ => '~',
        }
    }
}

impl EnvText {
    /// Every variable that `other` gives otherwise, by name.
    pub fn diff(&self, other: &Self) -> Vec<Change> {
        let (old, new) = (self.values(), other.values());
        let keys: BTreeSet<&EnvKey> = old.keys().chain(new.keys()).copied().collect();
        let text = |of: &BTreeMap<&EnvKey, &str>, key: &EnvKey| of.get(key).map(|v| (*v).to_owned());
        keys.into_iter()
            .filter(|key| old.get(key) != new.get(key))
            .map(|key| Change { key: key.clone(), old: text(&old, key), new: text(&new, key) })
            .collect()
    }

    /// Every variable with the value that counts.
    pub fn values(&self) -> BTreeMap<&EnvKey, &str> {
        self.iter().collect()
    }
}

/// Changes in a few words that name variables and no values: `+A -B ~C`.
pub fn summary(changes: &[Change]) -> String {
    const SHOWN: usize = 20;
    let mut words: Vec<String> =
        changes.iter().take(SHOWN).map(|change| format!("{}{}", change.sign(), change.key)).collect();
    if changes.len() > SHOWN {
        words.push(format!("and {} more", changes.len() - SHOWN));
    }
    if words.is_empty() { "comments and order".to_owned() } else { words.join(" ") }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_names_what_came_what_went_and_what_is_otherwise() {
        let old = EnvText::parse("# a\nA=1\nB=2\nB=3\nC=4\n").unwrap();
        let new = EnvText::parse("B=3\nC=5\nD=hunter2\n").unwrap();
        let changes = old.diff(&new);
        assert_eq!(summary(&changes), "-A ~C +D");
        assert!(!format!("{changes:?}").contains("hunter2"));
        assert_eq!(summary(&old.diff(&old)), "comments and order");
    }
}
