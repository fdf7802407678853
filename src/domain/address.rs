//! What a site answers to: a host name, or every name below one.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{
    fault::{Code, Fault},
    hostname::Hostname,
};

/// `www.example.com`, or `*.example.com`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    host: Hostname,
    wildcard: bool,
}

impl Address {
    /// The name itself, or what all its names stand under.
    pub fn host(&self) -> &Hostname {
        &self.host
    }

    /// Whether it is every name below [`Self::host`].
    pub fn is_wildcard(&self) -> bool {
        self.wildcard
    }

    /// Every name below a host's.
    pub fn below(host: Hostname) -> Self {
        Self { host, wildcard: true }
    }

    /// Whether a certificate for this address is good for `host`: for `*.a.example` it is for `b.a.example`,
    /// and neither for `a.example` nor for `c.b.a.example`.
    pub fn covers(&self, host: &Hostname) -> bool {
        if !self.wildcard {
            return self.host == *host;
        }
        host.as_str().split_once('.').is_some_and(|(_, parent)| parent == self.host.as_str())
    }

    /// How its directories are called. No host's name has `_` in it.
    pub fn file_name(&self) -> String {
        if self.wildcard { format!("_.{}", self.host) } else { self.host.to_string() }
    }
}

impl From<Hostname> for Address {
    fn from(host: Hostname) -> Self {
        Self { host, wildcard: false }
    }
}

impl FromStr for Address {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let Some(rest) = text.strip_prefix("*.") else { return Ok(text.parse::<Hostname>()?.into()) };
        let host: Hostname = rest.parse()?;
        if !host.as_str().contains('.') {
            return Err(Fault::new(Code::InvalidValue, format!("`{text}` would be every name there is"))
                .next("give a name such as `*.example.com`"));
        }
        Ok(Self::below(host))
    }
}

impl TryFrom<String> for Address {
    type Error = Fault;
    fn try_from(text: String) -> Result<Self, Fault> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.wildcard {
            f.write_str("*.")?;
        }
        self.host.fmt(f)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    #[test]
    fn a_wildcard_stands_for_one_label_below_a_name_that_is_somebodys() {
        for bad in
            ["*", "*.com", "*.*.example.com", "a.*.example.com", "*example.com", "**.example.com", "*."]
        {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
        let all = address("*.example.com");
        assert!(all.covers(&"a.example.com".parse().unwrap()));
        for other in ["example.com", "a.b.example.com", "a.example.org"] {
            assert!(!all.covers(&other.parse().unwrap()), "{other}");
        }
        assert!(address("a.example.com").covers(&"a.example.com".parse().unwrap()));
        assert!(!address("example.com").covers(&"a.example.com".parse().unwrap()));
    }

    #[test]
    fn it_is_written_as_it_is_read() {
        for text in ["a.example.com", "*.example.com"] {
            assert_eq!(address(text).to_string(), text);
        }
        assert_ne!(address("*.example.com").file_name(), address("wildcard.example.com").file_name());
    }
}
