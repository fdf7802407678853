//! Where a bucket is, and the key that opens it.

use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};

use crate::domain::{
    fault::{Code, Fault},
    secret::Secret,
};

/// A bucket at an endpoint, with a key.
#[derive(Clone, Debug)]
pub struct Access {
    /// The address of the store, such as `https://s3.example.com`.
    pub endpoint: String,
    /// Its region, as the store calls it.
    pub region: String,
    /// The bucket.
    pub bucket: String,
    /// The identifier of the key.
    pub key: String,
    /// The key's secret.
    pub secret: Secret,
}

/// What a presigned address allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// To read the object.
    Get,
    /// To write the object.
    Put,
}

/// The longest time for which S3 takes a presigned address.
const LONGEST: Duration = Duration::from_hours(7 * 24);

impl Access {
    /// The bucket, as requests are made of it: by its path, which works with every store and any name.
    pub(super) fn open(&self) -> Result<(Bucket, Credentials)> {
        let endpoint = check_endpoint(&self.endpoint)?;
        let bucket = Bucket::new(endpoint.parse()?, UrlStyle::Path, self.bucket.clone(), self.region.clone())
            .map_err(|_| bad_endpoint(&self.endpoint, "it leads to no host"))?;
        Ok((bucket, Credentials::new(self.key.clone(), self.secret.reveal())))
    }

    /// Refuses an address or a name that no bucket is reached by.
    pub fn check(&self) -> Result<(), Fault> {
        check_endpoint(&self.endpoint)?;
        for (what, word) in [("bucket", &self.bucket), ("region", &self.region), ("access key", &self.key)] {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
            if word.is_empty() || word.len() > 128 || !word.chars().all(plain) {
                return Err(Fault::new(
                    Code::InvalidValue,
                    format!("the {what} must be letters, digits and `-._`"),
                ));
            }
        }
        Ok(())
    }

    /// Whether the store is on this host.
    pub fn is_near(&self) -> bool {
        self.endpoint.starts_with("http:")
    }

    /// An address by which anybody may read or write one object until `expires` is over.
    pub fn presign(&self, verb: Verb, key: &str, expires: Duration, now: Timestamp) -> Result<String> {
        check_key(key)?;
        if expires.is_zero() || expires > LONGEST {
            return Err(Fault::new(
                Code::InvalidValue,
                "an address can be made for one second to seven days",
            )
            .next("hostkit storage presign NAME KEY --expires 1h")
            .into());
        }
        let (bucket, credentials) = self.open().context("making an address")?;
        let url = match verb {
            Verb::Get => bucket.get_object(Some(&credentials), key).sign_with_time(expires, &now),
            Verb::Put => bucket.put_object(Some(&credentials), key).sign_with_time(expires, &now),
        };
        Ok(url.into())
    }
}

/// A key that means the same object in an address as in a list.
///
/// An empty key would make a request about the bucket itself, and `.` and `..` between slashes are
/// resolved away in addresses, as in paths: both would meet another object than was meant.
pub fn check_key(key: &str) -> Result<(), Fault> {
    let objection = if key.is_empty() {
        "it is empty"
    } else if key.len() > 1024 {
        "it is longer than 1024 bytes"
    } else if key.split('/').any(|part| part == "." || part == "..") {
        "`.` and `..` between slashes mean something else in an address"
    } else if key.chars().any(char::is_control) {
        "it holds control characters"
    } else {
        return Ok(());
    };
    Err(Fault::new(Code::InvalidValue, format!("`{}` is not an object's key here: {objection}", shown(key)))
        .next("give a key such as `images/logo.png`"))
}

/// A text from outside as it may stand in a message.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(200).flat_map(char::escape_debug).collect()
}

/// The address of a store: `https`, or `http` on this host's loopback. Without user, query or fragment.
pub fn check_endpoint(text: &str) -> Result<&str, Fault> {
    let (scheme, rest) = text.split_once("://").unwrap_or_default();
    let host = rest.split('/').next().unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let loopback = ["localhost", "127.0.0.1", "[::1]"].contains(&name);
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._:/[]~".contains(c);
    if name.is_empty() || !rest.chars().all(plain) {
        return Err(bad_endpoint(text, "it is not the address of a host"));
    }
    match scheme {
        "https" => Ok(text),
        "http" if loopback => Ok(text),
        "http" => Err(bad_endpoint(text, "what is sent there could be read on the way; use https")),
        _ => Err(bad_endpoint(text, "it must begin with https://")),
    }
}

fn bad_endpoint(text: &str, why: &str) -> Fault {
    // What somebody put before an `@` may be a password.
    let host = text.rsplit('@').next().unwrap_or_default();
    Fault::new(Code::InvalidValue, format!("`{}` is no endpoint: {why}", shown(host)))
        .next("give an address such as `https://s3.eu-central-1.example.com`")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn access() -> Access {
        Access {
            endpoint: "http://127.0.0.1:3900".into(),
            region: "garage".into(),
            bucket: "blog-assets".into(),
            key: "GKblog".into(),
            secret: Secret::new("the-secret-of-the-blog"),
        }
    }

    #[test]
    fn an_address_names_bucket_object_and_time_and_never_the_secret() {
        let now = "2026-11-20T08:00:00Z".parse().unwrap();
        let hour = Duration::from_hours(1);
        let url = access().presign(Verb::Get, "a b/ü.png", hour, now).unwrap();
        assert!(url.starts_with("http://127.0.0.1:3900/blog-assets/a%20b/%C3%BC.png?"), "{url}");
        assert!(url.contains("X-Amz-Expires=3600") && url.contains("20261120T080000Z"), "{url}");
        assert!(!url.contains("the-secret"));
        assert!(!format!("{:?}", access()).contains("the-secret"));
        let put = access().presign(Verb::Put, "a b/ü.png", hour, now).unwrap();
        assert_ne!(url, put, "an address for reading does not allow to write");
    }

    #[test]
    fn an_address_lasts_seven_days_at_most() {
        let now = "2026-11-20T08:00:00Z".parse().unwrap();
        assert!(access().presign(Verb::Get, "a", LONGEST, now).is_ok());
        for bad in [Duration::ZERO, LONGEST + Duration::from_secs(1)] {
            assert!(access().presign(Verb::Get, "a", bad, now).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_key_that_would_meet_another_object_is_refused() {
        for bad in ["", ".", "..", "a/../b", "./a", "a/.", "a\nb", "a\0"] {
            assert!(check_key(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "/a", "a//b", "...", ".hidden", "ü b?c#d%2e&e+f"] {
            assert!(check_key(good).is_ok(), "{good:?}");
        }
        assert!(check_key(&"a".repeat(1025)).is_err());
    }

    #[test]
    fn an_endpoint_is_encrypted_or_on_this_host() {
        for good in [
            "https://s3.example.com",
            "https://s3.example.com:8443/prefix",
            "http://127.0.0.1:3900",
            "http://[::1]:3900",
        ] {
            assert!(check_endpoint(good).is_ok(), "{good}");
        }
        for bad in [
            "s3.example.com",
            "http://s3.example.com",
            "http://127.0.0.1.example.com",
            "https://",
            "https://user:word@s3.example.com",
            "https://s3.example.com?x=1",
            "https://s3.example.com#x",
            "file:///etc/passwd",
            "https://a b",
        ] {
            let fault = check_endpoint(bad).unwrap_err();
            assert!(!fault.message.contains("word"), "{fault}");
        }
    }
}
