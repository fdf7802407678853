//! Certificates: asking an authority for them with certbot, and reading what they say with openssl.

use std::{fmt, path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::exec::{Ran, Tool, tail};
use crate::domain::{
    address::Address,
    fault::{Code, Fault},
    layout::{HostPath, host},
};

/// How long an authority may take to look at a domain and to answer.
const PATIENCE: Duration = Duration::from_mins(3);

/// How often to ask an authority that rejects nonces.
const NONCES: u32 = 4;

/// The certificate authority that is asked, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authority {
    /// Where its directory is; `None`: Let's Encrypt.
    pub directory: Option<String>,
    /// The certificates that vouch for the authority's own server, when the system's do not.
    pub ca: Option<PathBuf>,
    /// Whom it writes to.
    pub email: Option<String>,
    /// The program that sets and clears a record in DNS; without it there are no wildcards.
    pub dns_hook: Option<PathBuf>,
}

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The names it is for, as it has them: `www.example.com`, `*.example.com`.
    pub names: Vec<String>,
    /// From when it is good.
    pub since: Timestamp,
    /// Until when it is good.
    pub until: Timestamp,
}

/// Getting certificates, and reading them.
pub trait Certificates: fmt::Debug {
    /// Asks an authority for a certificate with a key of its own; answers with both as PEM: the chain, and
    /// the key.
    fn order(&mut self, authority: &Authority, address: &Address) -> Result<(Vec<u8>, Vec<u8>)>;
    /// Has the authority that gave the certificate in force revoke it.
    fn revoke(&mut self, authority: &Authority, address: &Address) -> Result<()>;
    /// Reads the pair in a directory, `fullchain.pem` and `privkey.pem`. It is refused when the key is
    /// not the certificate's, or a certificate of the chain is not vouched for by the next.
    fn examine(&self, folder: &HostPath) -> Result<Facts>;
    /// Whether a visitor of `host` who comes with TLS to this machine is answered, and believes it.
    fn is_believed(&self, authority: &Authority, host: &str) -> Result<bool>;
}

/// certbot, openssl and curl.
#[derive(Debug)]
pub struct Programs;

impl Programs {
    fn certbot(authority: &Authority) -> Result<Tool> {
        let tool = Tool::find("certbot", "certbot")?.patient(PATIENCE).env("LC_ALL", "C.UTF-8");
        Ok(match &authority.ca {
            Some(ca) => tool.env("REQUESTS_CA_BUNDLE", ca.display().to_string()),
            None => tool,
        })
    }

    /// The words that every call of certbot has.
    fn common(authority: &Authority) -> Vec<String> {
        let home = host::certbot();
        let mut words: Vec<String> = ["--non-interactive", "--quiet"].map(str::to_owned).into();
        for (option, path) in [("--config-dir", "config"), ("--work-dir", "work"), ("--logs-dir", "logs")] {
            words.extend([option.to_owned(), home.join(path).to_string()]);
        }
        if let Some(directory) = &authority.directory {
            words.extend(["--server".to_owned(), directory.clone()]);
        }
        words
    }

    /// Where certbot keeps what it last got for an address.
    fn own_copy(address: &Address) -> HostPath {
        host::certbot().join("config").join("live").join(&address.file_name())
    }
}

impl Certificates for Programs {
    fn order(&mut self, authority: &Authority, address: &Address) -> Result<(Vec<u8>, Vec<u8>)> {
        let mut words = vec!["certonly".to_owned()];
        words.extend(Self::common(authority));
        words.extend(["--agree-tos", "--force-renewal", "--key-type", "ecdsa"].map(str::to_owned));
        match &authority.email {
            Some(email) => words.extend(["--email".to_owned(), email.clone()]),
            None => words.push("--register-unsafely-without-email".to_owned()),
        }
        words.extend(["--cert-name".to_owned(), address.file_name()]);
        words.extend(["--domain".to_owned(), address.to_string()]);
        match &authority.dns_hook {
            Some(hook) if address.is_wildcard() => {
                let hook = hook.display();
                words.extend(["--manual", "--preferred-challenges", "dns"].map(str::to_owned));
                words.extend(["--manual-auth-hook".to_owned(), format!("{hook} set")]);
                words.extend(["--manual-cleanup-hook".to_owned(), format!("{hook} clear")]);
            }
            _ => {
                words.extend(["--webroot".to_owned(), "--webroot-path".to_owned()]);
                words.push(host::challenges().to_string());
            }
        }
        let mut tries = NONCES;
        loop {
            let ran = Self::certbot(authority)?.output(&words)?;
            tries -= 1;
            if ran.status.success() {
                break;
            }
            if tries == 0 || !is_nonce(&ran) {
                bail!(refused(address, &ran));
            }
        }
        let place = Self::own_copy(address);
        let read = |name: &str| {
            let path = place.join(name);
            std::fs::read(path.as_path()).with_context(|| format!("reading `{path}`"))
        };
        Ok((read("fullchain.pem")?, read("privkey.pem")?))
    }

    fn revoke(&mut self, authority: &Authority, address: &Address) -> Result<()> {
        let mut words = vec!["revoke".to_owned()];
        words.extend(Self::common(authority));
        words.extend(["--cert-name".to_owned(), address.file_name(), "--delete-after-revoke".to_owned()]);
        let ran = Self::certbot(authority)?.output(&words)?;
        if ran.status.success() { Ok(()) } else { Err(refused(address, &ran).into()) }
    }

    fn examine(&self, folder: &HostPath) -> Result<Facts> {
        let (chain, key) = (folder.join("fullchain.pem"), folder.join("privkey.pem"));
        let openssl = Tool::find("openssl", "openssl")?;
        let said = |words: &[&str], what: &str| -> Result<String> {
            let ran = openssl.output(words)?;
            if ran.status.success() { Ok(ran.stdout) } else { Err(invalid(what).into()) }
        };
        let (chain_path, key_path) = (chain.to_string(), key.to_string());
        let text = said(
            &[
                "x509",
                "-in",
                &chain_path,
                "-noout",
                "-dates",
                "-dateopt",
                "iso_8601",
                "-ext",
                "subjectAltName",
            ],
            "it cannot be read: a certificate in PEM comes first",
        )?;
        let public = said(&["x509", "-in", &chain_path, "-noout", "-pubkey"], "it has no public key")?;
        let own = said(
            &["pkey", "-in", &key_path, "-pubout", "-passin", "pass:"],
            "its key cannot be read: it must be in PEM, and not be locked with a password",
        )?;
        if public.trim() != own.trim() {
            bail!(invalid("the key is not that of the certificate"));
        }
        let bytes = std::fs::read(chain.as_path()).with_context(|| format!("reading `{chain}`"))?;
        let links = blocks(&String::from_utf8_lossy(&bytes));
        for (n, two) in links.windows(2).enumerate() {
            let [this, next] = [0, 1].map(|offset| folder.join(&format!(".link-{}", n + offset)));
            for (path, text) in [(&this, &two[0]), (&next, &two[1])] {
                std::fs::write(path.as_path(), text).with_context(|| format!("writing `{path}`"))?;
            }
            let (this_path, next_path) = (this.to_string(), next.to_string());
            let words = [
                "verify",
                "-partial_chain",
                "-no_check_time",
                "-CAfile",
                next_path.as_str(),
                this_path.as_str(),
            ];
            let vouched = openssl.output(words)?.status.success();
            for path in [&this, &next] {
                std::fs::remove_file(path.as_path()).with_context(|| format!("removing `{path}`"))?;
            }
            if !vouched {
                let place = n + 2;
                bail!(invalid(&format!(
                    "the chain is out of order: certificate {place} does not vouch for the one before it"
                )));
            }
        }
        read(&text).ok_or_else(|| invalid("it does not say for which names, or for how long").into())
    }

    fn is_believed(&self, authority: &Authority, host: &str) -> Result<bool> {
        let mut words: Vec<String> =
            ["--silent", "--max-time", "10", "--output", "/dev/null"].map(str::to_owned).into();
        if let Some(ca) = &authority.ca {
            // The test authority's roots; its server's own certificate is among them.
            words.extend(["--cacert".to_owned(), ca.display().to_string()]);
        }
        words.extend(["--resolve".to_owned(), format!("{host}:443:127.0.0.1"), format!("https://{host}/")]);
        Ok(Tool::find("curl", "curl")?.output(&words)?.status.success())
    }
}

/// Whether an authority rejected the number that every request carries once. certbot tries again once by
/// itself, and then some of its versions trip over what they want to say.
fn is_nonce(ran: &Ran) -> bool {
    ["badNonce", "anti-replay nonce", "can't set attribute"].iter().any(|sign| ran.stderr.contains(sign))
}

/// The certificates of a chain.
fn blocks(text: &str) -> Vec<String> {
    const END: &str = "-----END CERTIFICATE-----";
    let begin = |piece: &str| piece.find("-----BEGIN CERTIFICATE-----").map(|at| piece[at..].to_owned());
    text.split_inclusive(END).filter(|piece| piece.ends_with(END)).filter_map(begin).collect()
}

/// Reads what openssl says of a certificate.
fn read(text: &str) -> Option<Facts> {
    let date = |key: &str| -> Option<Timestamp> {
        let value = text.lines().find_map(|line| line.strip_prefix(key))?;
        value.trim().replacen(' ', "T", 1).parse().ok()
    };
    let names: Vec<String> = text
        .split([',', '\n', ' '])
        .filter_map(|word| word.trim().strip_prefix("DNS:"))
        .map(str::to_ascii_lowercase)
        .collect();
    let (since, until) = (date("notBefore=")?, date("notAfter=")?);
    (!names.is_empty()).then_some(Facts { names, since, until })
}

fn invalid(why: &str) -> Fault {
    Fault::new(Code::InvalidCertificate, format!("the certificate is not good: {why}"))
        .next("the certificate comes first, then those that vouch for it, each for the one before")
}

/// What certbot says when it got nothing, without its own advice.
fn refused(address: &Address, ran: &Ran) -> Fault {
    let said = if ran.stderr.trim().is_empty() { &ran.stdout } else { &ran.stderr };
    let detail = said.lines().find_map(|line| line.trim().strip_prefix("Detail: "));
    let reason = detail.unwrap_or_else(|| tail(said).trim()).to_owned();
    Fault::new(Code::CertificateRefused, format!("no certificate for `{address}`: {reason}"))
        .next(format!("hostkit ssl status {address}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_openssl_says_is_read() {
        let text = "notBefore=2026-11-20 19:00:00Z\nnotAfter=2027-02-18 19:00:00Z\nX509v3 Subject Alternative Name: \n    DNS:a.example, DNS:*.B.example\n";
        let facts = read(text).unwrap();
        assert_eq!(facts.names, ["a.example", "*.b.example"]);
        assert_eq!((facts.until.as_second() - facts.since.as_second()) / 86_400, 90);
        assert_eq!(read("notBefore=2026-11-20 19:00:00Z\n"), None);
    }

    #[test]
    fn a_chain_is_taken_apart_whatever_stands_between_its_certificates() {
        let one = "-----BEGIN CERTIFICATE-----\nQQ==\n-----END CERTIFICATE-----";
        let two = "-----BEGIN CERTIFICATE-----\nQg==\n-----END CERTIFICATE-----";
        assert_eq!(blocks(&format!("subject: a\n{one}\n\n{two}\ntrailing")), [one, two]);
    }
}
