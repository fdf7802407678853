//! The project's name, the root of every other name HostKit derives.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::fault::{Code, Fault};

/// Names no project may take: they mean something else on a server, or to HostKit.
const RESERVED: &[&str] = &[
    "root",
    "postgres",
    "postgresql",
    "www-data",
    "nginx",
    "redis",
    "hostkit",
    "default",
    "hkadmin",
    "localhost",
    "www",
    "admin",
    "sudo",
    "systemd",
    "host",
    "all",
    "home",
    "lost-found",
];

/// A project's name.
///
/// 3–32 characters: lower-case letters, digits and single hyphens; starts with a letter, ends with a
/// letter or digit. The grammar is what `useradd`, systemd, DNS, nginx and (after `-` → `_`)
/// PostgreSQL all take without quoting, so no derived name ever needs escaping.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProjectName(String);

impl ProjectName {
    /// Shortest name, in bytes.
    pub const MIN: usize = 3;
    /// Longest name, in bytes: the longest Linux account name.
    pub const MAX: usize = 32;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why `name` cannot be a project's name, or `None` when it can.
fn objection(name: &str) -> Option<&'static str> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if name.len() < ProjectName::MIN || name.len() > ProjectName::MAX {
        Some("it must have 3 to 32 characters")
    } else if name.contains(|c: char| c.is_ascii_uppercase()) {
        Some("upper-case letters are not allowed")
    } else if name.contains('_') {
        Some("underscores are not allowed; use a hyphen")
    } else if name.contains(|c: char| !plain(c) && c != '-') {
        Some("only lower-case letters, digits and hyphens are allowed")
    } else if name.contains("--") {
        Some("two hyphens in a row are not allowed")
    } else if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        Some("it must start with a letter")
    } else if !name.ends_with(plain) {
        Some("it must end with a letter or a digit")
    } else if RESERVED.contains(&name) || name.starts_with("hostkit-") || name.starts_with("systemd-") {
        Some("the name is reserved")
    } else {
        None
    }
}

impl FromStr for ProjectName {
    type Err = Fault;

    fn from_str(name: &str) -> Result<Self, Fault> {
        match objection(name) {
            None => Ok(Self(name.to_owned())),
            Some(reason) => {
                let shown: String = name.chars().take(40).flat_map(char::escape_debug).collect();
                Err(Fault::new(Code::InvalidName, format!("`{shown}` cannot be a project's name: {reason}"))
                    .next("choose 3–32 lower-case letters, digits and single hyphens, such as `my-app`"))
            }
        }
    }
}

impl TryFrom<String> for ProjectName {
    type Error = Fault;
    fn try_from(name: String) -> Result<Self, Fault> {
        name.parse()
    }
}

impl From<ProjectName> for String {
    fn from(name: ProjectName) -> Self {
        name.0
    }
}

impl fmt::Display for ProjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_contract_are_taken_and_refused() {
        for good in ["my-app", "api-service", "web-app-v2", "abc", "a1b", &"a".repeat(32)] {
            assert!(good.parse::<ProjectName>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "ab",
            "My_App",
            "MYAPP",
            "my_app",
            "my--app",
            "-app",
            "app-",
            "1app",
            "a b",
            "../etc",
            "äpp",
            "root",
            "www-data",
            "hostkit-x",
            &"a".repeat(33),
            "a\nb",
            "a.b",
        ] {
            assert_eq!(bad.parse::<ProjectName>().unwrap_err().code, Code::InvalidName, "{bad}");
        }
    }

    #[test]
    fn the_reason_is_said_and_control_characters_are_not_echoed() {
        let fault = "My_App".parse::<ProjectName>().unwrap_err();
        assert!(fault.message.contains("upper-case"), "{fault}");
        assert!(!"a\x1b[31m".parse::<ProjectName>().unwrap_err().message.contains('\x1b'));
    }

    proptest::proptest! {
        #[test]
        fn parsing_a_shown_name_gives_it_back(name in "[a-z][a-z0-9]{1,5}(-[a-z0-9]{1,4}){0,4}") {
            if let Ok(parsed) = name.parse::<ProjectName>() {
                proptest::prop_assert_eq!(parsed.to_string().parse::<ProjectName>().unwrap(), parsed);
            }
        }
        #[test]
        fn nothing_that_needs_quoting_is_a_name(name in "\\PC{0,40}") {
            if name.parse::<ProjectName>().is_ok() {
                proptest::prop_assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
            }
        }
    }
}
