//! Host names that may be written into nginx's configuration.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::fault::{Code, Fault};

/// A DNS name in lower-case ASCII: no wildcard, no trailing dot, no IP address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hostname(String);

impl Hostname {
    /// The longest name DNS can carry, in bytes.
    pub const MAX: usize = 253;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// The name `label.self`.
    pub fn under(&self, label: &str) -> Result<Self, Fault> {
        format!("{label}.{}", self.0).parse()
    }
}

fn objection(name: &str) -> Option<&'static str> {
    let label_ok = |l: &str| {
        (1..=63).contains(&l.len())
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    if name.is_empty() || name.len() > Hostname::MAX {
        Some("it must have 1 to 253 characters")
    } else if !name.split('.').all(label_ok) {
        Some("each part must be 1 to 63 lower-case letters, digits and hyphens")
    } else if last.bytes().all(|b| b.is_ascii_digit()) {
        Some("an IP address is not a domain")
    } else {
        None
    }
}

impl FromStr for Hostname {
    type Err = Fault;

    fn from_str(name: &str) -> Result<Self, Fault> {
        match objection(name) {
            None => Ok(Self(name.to_owned())),
            Some(reason) => {
                let shown: String = name.chars().take(80).flat_map(char::escape_debug).collect();
                Err(Fault::new(Code::InvalidValue, format!("`{shown}` is not a domain: {reason}"))
                    .next("give a name such as `example.com`"))
            }
        }
    }
}

impl TryFrom<String> for Hostname {
    type Error = Fault;
    fn try_from(name: String) -> Result<Self, Fault> {
        name.parse()
    }
}

impl From<Hostname> for String {
    fn from(name: Hostname) -> Self {
        name.0
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_live_in_nginx_is_refused() {
        for bad in [
            "",
            "a.example; } server {",
            "~^.*$",
            "*.com",
            "\"\"",
            "$hostname",
            "A.example",
            "a.example.",
            "10.0.0.1",
            "a..b",
            "-a.example",
            "a_b.example",
            "ä.example",
            "a b",
            "a\n",
        ] {
            assert!(bad.parse::<Hostname>().is_err(), "{bad:?}");
        }
        for good in ["localhost", "example.com", "a-b.example.co", "xn--bcher-kva.example"] {
            assert!(good.parse::<Hostname>().is_ok(), "{good}");
        }
    }
}
