//! Names in PostgreSQL: of roles and databases.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{
    fault::{Code, Fault},
    name::ProjectName,
};

/// The name of a role or a database: lower-case letters, digits and `_`, not starting with a digit, at
/// most 63 bytes. PostgreSQL cuts longer names short without a word; these are refused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SqlName(String);

impl SqlName {
    /// The longest name, in bytes.
    pub const LONGEST: usize = 63;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name that HostKit spells itself.
    pub(crate) fn own(text: &str) -> Self {
        debug_assert!(text.parse::<Self>().is_ok(), "{text}");
        Self(text.to_owned())
    }
}

impl FromStr for SqlName {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        let starts_well = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
        if starts_well && text.bytes().all(plain) && text.len() <= Self::LONGEST && !text.starts_with("pg_") {
            return Ok(Self(text.to_owned()));
        }
        let shown: String = text.chars().take(40).flat_map(char::escape_debug).collect();
        Err(Fault::new(
            Code::InvalidName,
            format!(
                "`{shown}` cannot be a role or a database: lower-case letters, digits and `_`, not starting \
                 with a digit or `pg_`, at most {} bytes",
                Self::LONGEST
            ),
        ))
    }
}

impl TryFrom<String> for SqlName {
    type Error = Fault;
    fn try_from(text: String) -> Result<Self, Fault> {
        text.parse()
    }
}

impl From<SqlName> for String {
    fn from(name: SqlName) -> Self {
        name.0
    }
}

impl fmt::Display for SqlName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What separates the name of what was taken away from the number of the account whose it was.
const GONE: &str = "_gone_";

impl ProjectName {
    /// Its database, and the role that owns all that is in it. A project's name has no `_`, so two
    /// projects' databases never have one name.
    pub fn database(&self) -> SqlName {
        SqlName::own(&format!("{}_db", self.as_str().replace('-', "_")))
    }
    /// The role that logs in to its database every second time the password changes.
    pub fn second_login(&self) -> SqlName {
        SqlName::own(&format!("{}_b", self.database()))
    }
}

impl SqlName {
    /// What a role or a database is called once it has been taken away, until it is dropped. The number
    /// is that of the project's account, which is never given out twice.
    pub fn gone(&self, uid: u32) -> Self {
        Self::own(&format!("{self}{GONE}{uid}"))
    }
    /// The number of the account whose this was, if it has been taken away.
    pub fn gone_of(&self) -> Option<u32> {
        self.0.rsplit_once(GONE)?.1.parse().ok()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_projects_names_fit_and_longer_ones_are_refused() {
        let project: ProjectName = "a".repeat(32).parse().unwrap();
        for name in [project.database(), project.second_login(), project.second_login().gone(u32::MAX)] {
            assert!(name.as_str().len() <= SqlName::LONGEST);
            assert_eq!(name.to_string().parse::<SqlName>().unwrap(), name);
        }
        assert_eq!(project.database().gone(2000).gone_of(), Some(2000));
        assert_eq!(project.database().gone_of(), None);
        assert!("a".repeat(63).parse::<SqlName>().is_ok());
        for bad in ["", &"a".repeat(64), "a-b", "a\"b", "a;b", "1a", "A", "pg_x", "é", "a b", "a\nb"] {
            assert_eq!(bad.parse::<SqlName>().unwrap_err().code, Code::InvalidName, "{bad}");
        }
    }

    #[test]
    fn no_two_projects_have_a_role_or_a_database_in_common() {
        let name = |text: &str| text.parse::<ProjectName>().unwrap();
        let all = |p: &ProjectName| [p.database(), p.second_login(), p.database().gone(2000)];
        for (a, b) in
            [("shop", "shop-db"), ("shop-db", "shop-db-b"), ("shop", "shop-db-b"), ("a-b", "a-b-db")]
        {
            assert!(all(&name(a)).iter().all(|n| !all(&name(b)).contains(n)), "{a} and {b}");
        }
    }
}
