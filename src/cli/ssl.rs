//! `ssl`: the certificates of what projects answer to.

use std::ffi::OsString;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::json;

use super::{
    Verb,
    answer::{Answer, table},
    context::Context,
    domain::date,
    env::READ,
    group,
    policy::Policy,
};
use crate::{
    domain::{
        address::Address,
        fault::{Code, Fault},
        name::ProjectName,
    },
    operation::{
        certificates::{Supply, certify, certify_host, of_host, renew, withdraw},
        session::{Mode, Outcome},
    },
    project::front::{Certificate, Origin},
    system::source::read_as,
};

group! {
    Provision(ProvisionArgs) = "provision";
    Renew(RenewArgs) = "renew";
    Status(StatusArgs) = "status";
    Revoke(RevokeArgs) = "revoke";
    Import(ImportArgs) = "import";
}

/// What the help of the whole group opens with.
pub(super) const OVERVIEW: &[&str] =
    &["hostkit ssl provision blog example.com", "hostkit ssl status", "hostkit ssl renew --due"];

/// Get certificates for what a project answers to, or one for all names under the base domain
#[derive(Args, Clone, Debug)]
pub(crate) struct ProvisionArgs {
    /// The project
    #[arg(required_unless_present = "base")]
    name: Option<ProjectName>,
    /// The domain; all that have none without this
    domain: Option<Address>,
    /// One for all names under the base domain, by a record in DNS; see `init --dns-hook`
    #[arg(long, conflicts_with = "name")]
    base: bool,
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Verb for ProvisionArgs {
    const NAME: &'static str = "ssl provision";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] =
        &["hostkit ssl provision blog example.com --dry-run", "hostkit ssl provision --base --dry-run"];

    fn project(&self) -> Option<&ProjectName> {
        self.name.as_ref()
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let mode = if self.dry_run { Mode::DryRun } else { Mode::Run };
        let Some(name) = &self.name else {
            let (outcome, address) = cx.session(mode, |session| certify_host(session, Supply::Authority))?;
            return Ok(got(&[address], outcome, "every project under it"));
        };
        let (outcome, addresses) = cx.session(mode, |session| {
            let spec = session.project(name)?.spec;
            let all: Vec<Address> = match &self.domain {
                Some(domain) => vec![domain.clone()],
                None => spec.addresses().filter(|a| a.is_wildcard() || !spec.is_secure(a.host())).collect(),
            };
            let mut outcome = Outcome::Unchanged;
            for address in &all {
                outcome = certify(session, name, address, Supply::Authority)?.0;
            }
            Ok((outcome, all))
        })?;
        Ok(got(&addresses, outcome, name.as_str()))
    }
}

fn got(addresses: &[Address], outcome: Outcome, whose: &str) -> Answer {
    let shown: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let text = match outcome {
        _ if shown.is_empty() => format!("{whose} has certificates for all it answers to"),
        Outcome::WouldChange => format!("would ask for a certificate for {}", shown.join(", ")),
        _ => format!("{whose} answers to https://{}", shown.join(", https://")),
    };
    Answer::new(text, json!({ "domains": addresses })).outcome(outcome)
}

/// Renew certificates; a timer does it every hour for those that are due
#[derive(Args, Clone, Debug)]
pub(crate) struct RenewArgs {
    /// The project; all without this
    name: Option<ProjectName>,
    /// Only what is due, and what is missing of what leads here
    #[arg(long)]
    due: bool,
}

impl Verb for RenewArgs {
    const NAME: &'static str = "ssl renew";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] = &["hostkit ssl renew --due", "hostkit ssl renew blog --due"];

    fn project(&self) -> Option<&ProjectName> {
        self.name.as_ref()
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let round = cx.session(Mode::Run, |session| renew(session, self.name.as_ref(), !self.due))?;
        let data = json!({ "renewed": round.renewed, "failed": round.failed });
        if let Some((address, why)) = round.failed.first() {
            let others = round.failed.len() - 1;
            let more = if others > 0 { format!("; and {others} more") } else { String::new() };
            bail!(
                Fault::new(Code::CertificateRefused, format!("{address}: {why}{more}"))
                    .next("hostkit doctor")
                    .next("hostkit ssl status")
            );
        }
        let text = match round.renewed.as_slice() {
            [] => "no certificate is due".to_owned(),
            all => format!("renewed: {}", all.join(", ")),
        };
        let outcome = if round.renewed.is_empty() { Outcome::Unchanged } else { Outcome::Changed };
        Ok(Answer::new(text, data).outcome(outcome))
    }
}

/// Show certificates and how long they are good
#[derive(Args, Clone, Debug)]
pub(crate) struct StatusArgs {
    /// The project; all without this
    name: Option<ProjectName>,
}

impl Verb for StatusArgs {
    const NAME: &'static str = "ssl status";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] = &["hostkit ssl status", "hostkit ssl status blog --json"];

    fn project(&self) -> Option<&ProjectName> {
        self.name.as_ref()
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let (all, tries) = cx.look(|session| {
            let mut all: Vec<(String, Address, Certificate)> = Vec::new();
            let mut tries = Vec::new();
            let specs = match &self.name {
                Some(name) => vec![session.project(name)?.spec],
                None => session.store.projects()?.into_iter().map(|row| row.spec).collect(),
            };
            if self.name.is_none() {
                all.extend(of_host(session)?.map(|(address, c)| (String::new(), address, c)));
            }
            for spec in specs {
                tries.extend(session.store.attempts(spec.name.as_str())?);
                let whose = spec.name.to_string();
                all.extend(spec.certificates.into_iter().map(|(address, c)| (whose.clone(), address, c)));
            }
            Ok((all, tries))
        })?;
        let rows: Vec<Vec<String>> = all.iter().map(|(whose, address, c)| row(whose, address, c)).collect();
        let data: Vec<_> = all
            .iter()
            .map(|(whose, address, c)| {
                json!({
                    "domain": address, "project": whose, "origin": c.origin, "since": date(c.since),
                    "expires": date(c.until), "renewed_from": date(c.due()), "hsts": c.seen,
                })
            })
            .collect();
        let warnings = tries.iter().map(|attempt| {
            format!("{:.16}Z  {}: {}", attempt.at.to_string(), attempt.address, attempt.problem)
        });
        let warnings: Vec<String> = warnings.collect();
        let text = if rows.is_empty() {
            "there are no certificates".to_owned()
        } else {
            table(&["DOMAIN", "PROJECT", "FROM", "EXPIRES", "RENEWED"], &rows)
        };
        Ok(Answer::new(text, json!({ "certificates": data })).warn(warnings))
    }
}

fn row(whose: &str, address: &Address, certificate: &Certificate) -> Vec<String> {
    let (from, renewed) = match certificate.origin {
        Origin::Acme => ("authority", format!("from {}", date(certificate.due()))),
        Origin::Imported => ("file", "by hand".to_owned()),
    };
    let whose = if whose.is_empty() { "all" } else { whose };
    vec![address.to_string(), whose.to_owned(), from.to_owned(), date(certificate.until), renewed]
}

/// Take the certificate of a domain away, and have the authority call it back
#[derive(Args, Clone, Debug)]
pub(crate) struct RevokeArgs {
    /// The project
    name: ProjectName,
    /// The domain
    domain: Address,
    /// Only take it away
    #[arg(long)]
    keep_valid: bool,
}

impl Verb for RevokeArgs {
    const NAME: &'static str = "ssl revoke";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] = &["hostkit ssl revoke blog example.com"];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let (outcome, _) =
            cx.session(Mode::Run, |session| withdraw(session, &self.name, &self.domain, !self.keep_valid))?;
        let text = format!("{} answers to {} without TLS now", self.name, self.domain);
        Ok(Answer::new(text, json!({ "domain": self.domain })).outcome(outcome))
    }
}

/// Use a certificate that comes from elsewhere
#[derive(Args, Clone, Debug)]
pub(crate) struct ImportArgs {
    /// The project
    #[arg(required_unless_present = "base")]
    name: Option<ProjectName>,
    /// The domain
    #[arg(required_unless_present = "base")]
    domain: Option<Address>,
    /// For all names under the base domain
    #[arg(long, conflicts_with = "name")]
    base: bool,
    /// The certificate in PEM, and after it those that vouch for it, each for the one before
    #[arg(long, value_name = "FILE")]
    chain: OsString,
    /// Its key in PEM
    #[arg(long, value_name = "FILE")]
    key: OsString,
}

/// The longest chain or key that is taken, in bytes.
const LONGEST: usize = 1 << 20;

impl Verb for ImportArgs {
    const NAME: &'static str = "ssl import";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] =
        &["hostkit ssl import blog example.com --chain fullchain.pem --key privkey.pem"];

    fn project(&self) -> Option<&ProjectName> {
        self.name.as_ref()
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let caller = cx.caller()?;
        let read = |path: &OsString| read_as(READ, cx.absolute(path).as_os_str(), &caller, LONGEST);
        let (chain, key) = (read(&self.chain)?, read(&self.key)?);
        let supply = Supply::Files(&chain, &key);
        if let (Some(name), Some(domain)) = (&self.name, &self.domain) {
            let (outcome, _) = cx.session(Mode::Run, |session| certify(session, name, domain, supply))?;
            return Ok(got(std::slice::from_ref(domain), outcome, name.as_str()));
        }
        let (outcome, address) = cx.session(Mode::Run, |session| certify_host(session, supply))?;
        Ok(got(&[address], outcome, "every project under it"))
    }
}
