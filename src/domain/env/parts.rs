//! The two parts of a project's `.env`: HostKit's own variables in front, and the project's after them.

use std::collections::BTreeSet;

use super::{EnvKey, EnvText, lines::Line};
use crate::domain::fault::Fault;

/// Stands before HostKit's part.
const OWN: &str = "# HostKit's own: changed by `hostkit`, not by hand.\n";
/// Stands before the project's part.
const USERS: &str = "# The project's: `hostkit env set`, or by hand.\n";

/// Every variable that HostKit may ever set in its part.
const KNOWN: &[&str] = &[
    "PROJECT_NAME",
    "PORT",
    "HOST",
    "DATABASE_URL",
    "REDIS_URL",
    "CELERY_BROKER_URL",
    "CELERY_RESULT_BACKEND",
    "S3_ENDPOINT",
    "S3_BUCKET",
    "S3_ACCESS_KEY",
    "S3_SECRET_KEY",
    "S3_REGION",
];
/// Those that are only a beginning: the project may say otherwise in its own part.
const DEFAULTS: &[&str] = &[
    "NODE_ENV",
    "HOSTNAME",
    "PYTHONUNBUFFERED",
    "APP_ENV",
    "RACK_ENV",
    "RAILS_ENV",
    "GIT_SHA",
    "SOURCE_VERSION",
];

impl EnvKey {
    /// Whether the project may set it although HostKit does.
    pub fn is_default(&self) -> bool {
        DEFAULTS.contains(&self.as_str())
    }
    /// Whether it changes how a program is loaded, rather than what it does.
    pub fn is_loader(&self) -> bool {
        let name = self.as_str();
        name.starts_with("LD_")
            || name.starts_with("PYTHON") && name.ends_with("STARTUP")
            || matches!(name, "NODE_OPTIONS" | "BASH_ENV" | "ENV" | "PATH")
    }
    fn is_known(&self) -> bool {
        KNOWN.contains(&self.as_str()) || self.is_default()
    }
}

impl EnvText {
    /// The text of a file with these variables of HostKit's and this part of the project's.
    pub fn compose<'v>(
        own: impl IntoIterator<Item = (&'v EnvKey, &'v str)>,
        users: &Self,
    ) -> Result<Self, Fault> {
        let mut lines = vec![Line::Other(OWN.to_owned())];
        for (key, value) in own {
            lines.push(Line::define(key, value)?);
        }
        lines.push(Line::Other(USERS.to_owned()));
        lines.extend(users.lines.iter().cloned());
        Ok(Self { lines })
    }

    /// The project's part. `own` are the variables that HostKit sets now: the project cannot set them,
    /// unless they are only a beginning.
    pub fn users(&self, own: &BTreeSet<EnvKey>) -> Self {
        self.part(own).without(own)
    }

    /// The project's part as it stands, even where it sets what is HostKit's.
    pub fn part(&self, own: &BTreeSet<EnvKey>) -> Self {
        let marked = self.lines.iter().any(|l| l.raw() == OWN);
        let mut inside = !marked;
        let mut lines = Vec::new();
        for line in &self.lines {
            match line.raw() {
                OWN => inside = true,
                USERS => inside = false,
                _ => {
                    let taken = line.definition().is_some_and(|(key, _)| match (inside, marked) {
                        (true, true) => key.is_known() || own.contains(key),
                        (true, false) => own.contains(key),
                        (false, _) => false,
                    });
                    if !taken {
                        lines.push(line.clone());
                    }
                }
            }
        }
        Self { lines }
    }

    /// A text from elsewhere as the project's part: of a whole file, only what is the project's.
    pub fn brought(&self, own: &BTreeSet<EnvKey>) -> Self {
        if self.lines.iter().any(|l| l.raw() == OWN) {
            return self.users(own);
        }
        Self { lines: self.lines.iter().filter(|l| l.raw() != USERS).cloned().collect() }
    }

    /// Which of these the text, the project's part, sets although it cannot.
    pub fn strays(&self, own: &BTreeSet<EnvKey>) -> BTreeSet<EnvKey> {
        self.iter()
            .map(|(key, _)| key)
            .filter(|key| own.contains(key) && !key.is_default())
            .cloned()
            .collect()
    }

    /// What HostKit's part sets that HostKit sets no longer.
    pub fn spare(&self, own: &BTreeSet<EnvKey>) -> BTreeSet<EnvKey> {
        let Some(begin) = self.lines.iter().position(|l| l.raw() == OWN) else { return BTreeSet::new() };
        let lines = self.lines[begin..].iter().take_while(|l| l.raw() != USERS);
        let keys = lines.filter_map(Line::definition).map(|(key, _)| key.clone());
        keys.filter(|key| key.is_known() && !own.contains(key)).collect()
    }

    /// The project's part without what it cannot set.
    pub fn without(&self, own: &BTreeSet<EnvKey>) -> Self {
        let taken = |l: &&Line| l.definition().is_none_or(|(key, _)| !own.contains(key) || key.is_default());
        Self { lines: self.lines.iter().filter(taken).cloned().collect() }
    }

    /// What HostKit's part gives a variable.
    pub fn own(&self, key: &EnvKey) -> Option<&str> {
        let until = self.lines.iter().position(|l| l.raw() == USERS).unwrap_or(self.lines.len());
        self.lines[..until].iter().rev().filter_map(Line::definition).find(|(k, _)| *k == key).map(|(_, v)| v)
    }
}
