//! Environment variables: the grammar of their names, and the text of a project's `.env`.
//!
//! systemd is the reader that counts, so [`EnvText`] follows its grammar to the letter; the text it
//! writes is understood the same way by `sh` and by the usual dotenv libraries.

pub mod diff;
mod lines;
pub mod mask;
mod parts;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::fault::{Code, Fault};
use lines::Line;

/// The name of an environment variable: a letter or `_`, then letters, digits and `_`, 128 at most.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EnvKey(String);

impl EnvKey {
    /// The longest name that is accepted.
    pub const LONGEST: usize = 128;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the text is a name.
    pub fn is_valid(text: &str) -> bool {
        let starts_well = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        starts_well
            && text.len() <= Self::LONGEST
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    }
}

impl FromStr for EnvKey {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        if Self::is_valid(text) {
            return Ok(Self(text.to_owned()));
        }
        let shown: String = text.chars().take(40).flat_map(char::escape_debug).collect();
        Err(Fault::new(
            Code::InvalidValue,
            format!(
                "`{shown}` is not a name for an environment variable: letters, digits and `_`, \
                 not starting with a digit, at most {} characters",
                Self::LONGEST
            ),
        ))
    }
}

impl TryFrom<String> for EnvKey {
    type Error = Fault;

    fn try_from(text: String) -> Result<Self, Fault> {
        text.parse()
    }
}

impl From<EnvKey> for String {
    fn from(key: EnvKey) -> Self {
        key.0
    }
}

impl fmt::Display for EnvKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The text of an environment file: what is not touched stays byte for byte as it was.
///
/// `Display` gives the text. `Debug` names the variables and never shows a value.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct EnvText {
    lines: Vec<Line>,
}

impl EnvText {
    /// The largest text that is read, in bytes.
    pub const LIMIT: usize = 256 * 1024;

    /// Understands a text as systemd would, and refuses what other readers would take differently.
    ///
    /// Lines systemd ignores (comments, no `=`, an odd name such as `export A`) are kept; see
    /// [`EnvText::ignored`].
    pub fn parse(text: &str) -> Result<Self, Fault> {
        if text.len() > Self::LIMIT {
            let limit = Self::LIMIT / 1024;
            return Err(Fault::new(
                Code::InvalidValue,
                format!("the environment is larger than {limit} KiB"),
            ));
        }
        Ok(Self { lines: lines::split(text)? })
    }

    /// The value of a variable; of two definitions the later one counts.
    pub fn get(&self, key: &EnvKey) -> Option<&str> {
        self.iter().filter(|(k, _)| *k == key).map(|(_, value)| value).last()
    }

    /// Every definition in the order of the text.
    pub fn iter(&self) -> impl Iterator<Item = (&EnvKey, &str)> {
        self.lines.iter().filter_map(Line::definition)
    }

    /// Gives a variable its value: in the place of its last definition, or at the end.
    ///
    /// Earlier definitions go, so that no old secret stays behind in the file.
    pub fn set(&mut self, key: &EnvKey, value: &str) -> Result<(), Fault> {
        let line = Line::define(key, value)?;
        let last = self.lines.iter().rposition(|l| l.defines(key));
        if let Some(last) = last {
            self.lines[last] = line;
            let mut index = 0;
            self.lines.retain(|l| {
                index += 1;
                index > last || !l.defines(key)
            });
        } else {
            if let Some(end) = self.lines.last_mut() {
                end.finish();
            }
            self.lines.push(line);
        }
        Ok(())
    }

    /// Removes every definition of a variable; says whether there was one.
    pub fn unset(&mut self, key: &EnvKey) -> bool {
        let before = self.lines.len();
        self.lines.retain(|line| !line.defines(key));
        self.lines.len() != before
    }

    /// Makes a comment of the variable, in its place: the name, and instead of the value `note`.
    pub fn comment_out(&mut self, key: &EnvKey, note: &str) {
        for line in self.lines.iter_mut().filter(|line| line.defines(key)) {
            *line = Line::Other(format!("# {key}={note}\n"));
        }
    }

    /// Lines that look like definitions but are none, with their numbers, for a warning.
    ///
    /// Only what stands before the `=` is given: the rest may be a secret.
    pub fn ignored(&self) -> Vec<(usize, String)> {
        let mut number = 1;
        let mut found = Vec::new();
        for line in &self.lines {
            if let Some(name) = line.ignored_name() {
                found.push((number, name));
            }
            number += line.raw().matches('\n').count();
        }
        found
    }
}

impl fmt::Display for EnvText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| f.write_str(line.raw()))
    }
}

impl fmt::Debug for EnvText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(key, _)| key.as_str())).finish()
    }
}

#[cfg(test)]
mod tests;
