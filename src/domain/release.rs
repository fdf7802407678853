//! Releases: their names and the states they pass through.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::fault::{Code, Fault};

/// A release's name: the UTC second it was made in, as `YYYYMMDD-HHMMSS`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ReleaseId(String);

impl ReleaseId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ReleaseId {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self, Fault> {
        let shape = text.len() == 15
            && text.bytes().enumerate().all(|(i, b)| if i == 8 { b == b'-' } else { b.is_ascii_digit() });
        if shape {
            return Ok(Self(text.to_owned()));
        }
        let shown: String = text.chars().take(40).flat_map(char::escape_debug).collect();
        Err(Fault::new(Code::InvalidName, format!("`{shown}` is not a release's name"))
            .next("releases are named like `20261120-080231`; `hostkit releases NAME` lists them"))
    }
}

impl TryFrom<String> for ReleaseId {
    type Error = Fault;
    fn try_from(text: String) -> Result<Self, Fault> {
        text.parse()
    }
}

impl From<ReleaseId> for String {
    fn from(id: ReleaseId) -> Self {
        id.0
    }
}

impl fmt::Display for ReleaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a release stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReleaseState {
    /// Serves now.
    Live,
    /// Served before, and is kept to go back to.
    Retired,
    /// Never became healthy; kept in the records, never gone back to.
    Failed,
    /// Served once; its tree is in the trash.
    Pruned,
}

impl ReleaseState {
    /// The word in the registry and in JSON.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Retired => "retired",
            Self::Failed => "failed",
            Self::Pruned => "pruned",
        }
    }
}

impl FromStr for ReleaseState {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self, Fault> {
        [Self::Live, Self::Retired, Self::Failed, Self::Pruned]
            .into_iter()
            .find(|s| s.text() == text)
            .ok_or_else(|| Fault::new(Code::Internal, format!("`{text}` is not a release's state")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_stamp_is_a_release_name() {
        assert!("20261120-080231".parse::<ReleaseId>().is_ok());
        for bad in ["", "latest", "../../etc", "20261120_080231", "20261120-08023x", "20261120-0802311"] {
            assert!(bad.parse::<ReleaseId>().is_err(), "{bad}");
        }
    }
}
