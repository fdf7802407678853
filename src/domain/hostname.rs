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
    } else if name.ends_with('.') {
        Some("it ends without a dot")
    } else if name.bytes().any(|b| b.is_ascii_uppercase()) {
        Some("write it in lower case")
    } else if !name.split('.').all(label_ok) {
        Some("each part must be 1 to 63 lower-case letters, digits and hyphens")
    } else if last.bytes().all(|b| b.is_ascii_digit()) {
        Some("an IP address is not a domain")
    } else {
        None
    }
}

/// A name with other letters than ASCII's as DNS carries it: `bücher.example` is `xn--bcher-kva.example`.
/// One that is written so already must mean something.
fn carried(name: &str) -> Result<String, &'static str> {
    if name.is_ascii() && !name.split('.').any(|label| label.starts_with("xn--")) {
        return Ok(name.to_owned());
    }
    if name.chars().any(char::is_uppercase) {
        return Err("write it in lower case");
    }
    let (shown, known) = idna::domain_to_unicode(name);
    let ascii = idna::domain_to_ascii_strict(name).map_err(|_| "no such name is possible in DNS")?;
    // `xn--` followed by plain letters, or by what is written otherwise, is a disguise.
    if known.is_err() || (name.is_ascii() && (ascii != name || shown.is_ascii())) {
        return Err("what follows `xn--` is not the code of a name");
    }
    // What is left out on the way, such as a space of no width, was put there to deceive.
    if !name.is_ascii() && idna::domain_to_unicode(&ascii).0 != name {
        return Err("it has letters that no name can have");
    }
    if shown.split('.').any(mixes_alphabets) {
        return Err("a part of it mixes the letters of several alphabets, which look alike");
    }
    Ok(ascii)
}

/// Whether Latin letters stand beside Greek or Cyrillic ones, of which many look the same.
fn mixes_alphabets(label: &str) -> bool {
    let other = |c| ('\u{370}'..='\u{52f}').contains(&c);
    label.chars().any(other) && label.chars().any(|c| c.is_ascii_lowercase() || ('ß'..='ɏ').contains(&c))
}

impl FromStr for Hostname {
    type Err = Fault;

    fn from_str(name: &str) -> Result<Self, Fault> {
        let reason = match carried(name) {
            Ok(ascii) => match objection(&ascii) {
                None => return Ok(Self(ascii)),
                Some(reason) => reason,
            },
            Err(reason) => reason,
        };
        let shown: String = name.chars().take(80).flat_map(char::escape_debug).collect();
        Err(Fault::new(Code::InvalidValue, format!("`{shown}` is not a domain: {reason}"))
            .next("give a name such as `example.com`"))
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
            "Ä.example",
            "xn--a.example",
            "xn--example-.example",
            "xn--bcher-kv.example.",
            // A Latin name with a Cyrillic letter in it, and the same as DNS carries it.
            "p\u{430}ypal.example",
            "xn--pypal-4ve.example",
            "a\u{200b}b.example",
            "a\u{3002}b; }",
            "a b",
            "a\n",
        ] {
            assert!(bad.parse::<Hostname>().is_err(), "{bad:?}");
        }
        for good in ["localhost", "example.com", "a-b.example.co", "xn--bcher-kva.example"] {
            assert!(good.parse::<Hostname>().is_ok(), "{good}");
        }
    }

    #[test]
    fn a_name_in_other_letters_is_what_dns_carries() {
        let carried = |name: &str| name.parse::<Hostname>().map(String::from).ok();
        assert_eq!(carried("bücher.example").as_deref(), Some("xn--bcher-kva.example"));
        assert_eq!(carried("пример.example").as_deref(), Some("xn--e1afmkfd.example"));
    }
}
