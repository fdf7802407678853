//! `init`, `history` and `gc`: commands about the host itself.

use std::{net::IpAddr, path::PathBuf};

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::{
    Verb,
    answer::{Answer, table},
    context::Context,
    policy::Policy,
};
use crate::{
    domain::{
        fault::{Code, Fault},
        hostname::Hostname,
        name::ProjectName,
    },
    operation::{
        init::{Setup, init},
        lifecycle::collect,
        redis::Takeover,
        session::{Mode, Outcome},
        storage::program,
    },
    system::certificates::Authority,
};

/// What becomes of a Redis that is in use.
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum RedisArg {
    /// Closed to all who give no name
    Close,
    /// Left alone
    Leave,
}

/// Set the host up for HostKit; doing it again changes nothing
#[derive(Args, Clone, Debug)]
pub(crate) struct InitArgs {
    /// The domain that projects' addresses stand under, such as `example.com`
    #[arg(long, value_name = "DOMAIN")]
    base_domain: Option<Hostname>,
    /// What becomes of a Redis that is in use: close it to all who give no name, or leave it alone
    #[arg(long, value_name = "WHAT", help_heading = "Services")]
    redis: Option<RedisArg>,
    /// Give it an object store of its own, Garage, which must be installed
    #[arg(long, help_heading = "Services")]
    with_storage: bool,
    /// Where the program of Garage lies, when it is not in /usr/local/bin or /usr/bin
    #[arg(long, value_name = "FILE", requires = "with_storage", help_heading = "Services")]
    garage: Option<String>,
    /// The directory of another certificate authority than Let's Encrypt
    #[arg(long, value_name = "URL", value_parser = directory, help_heading = "Certificates")]
    acme_directory: Option<String>,
    /// The certificates that vouch for that authority's own server
    #[arg(long, value_name = "FILE", value_parser = path, help_heading = "Certificates")]
    acme_ca: Option<PathBuf>,
    /// Whom the authority writes to
    #[arg(long, value_name = "ADDRESS", value_parser = email, help_heading = "Certificates")]
    acme_email: Option<String>,
    /// The program that sets a record in DNS, for certificates of all names below a domain: it is called
    /// with `set` or `clear`, and with certbot's variables
    #[arg(long, value_name = "FILE", value_parser = path, help_heading = "Certificates")]
    dns_hook: Option<PathBuf>,
    /// An address under which others reach this host, when it is not its own
    #[arg(long, value_name = "IP", help_heading = "Certificates")]
    address: Vec<IpAddr>,
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// The address of an authority's directory.
fn directory(text: &str) -> Result<String, Fault> {
    let plain = text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\'' | b'\\' | b'@'));
    let rest = text.strip_prefix("https://").filter(|rest| !rest.is_empty());
    if plain && rest.is_some() {
        return Ok(text.to_owned());
    }
    Err(Fault::new(
        Code::InvalidValue,
        format!("`{}` is not the address of an ACME directory", text.escape_debug()),
    )
    .next("give one such as `https://acme.example.com/directory`"))
}

/// A file whose path certbot can be told: it hands it to a shell.
fn path(text: &str) -> Result<PathBuf, Fault> {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'.' | b'_' | b'-'));
    if plain && text.starts_with('/') && !text.contains("..") {
        return Ok(PathBuf::from(text));
    }
    Err(Fault::new(
        Code::InvalidValue,
        format!("`{}` is no path from `/` on, of letters, digits, `.`, `_` and `-`", text.escape_debug()),
    ))
}

/// An address for mail.
fn email(text: &str) -> Result<String, Fault> {
    let word = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+-".contains(&b))
    };
    match text.split_once('@') {
        Some((user, host)) if word(user) && !user.starts_with('-') && host.parse::<Hostname>().is_ok() => {
            Ok(text.to_owned())
        }
        _ => Err(Fault::new(Code::InvalidValue, format!("`{}` is no address for mail", text.escape_debug()))),
    }
}

impl Verb for InitArgs {
    const NAME: &'static str = "init";
    const POLICY: Policy = Policy::Root;
    const EXAMPLES: &'static [&'static str] =
        &["hostkit init --base-domain example.com", "hostkit init --with-storage", "hostkit init --dry-run"];

    fn run(self, cx: &mut Context) -> Result<Answer> {
        let mode = if self.dry_run { Mode::DryRun } else { Mode::Run };
        cx.may_be_new = true;
        let takeover = match self.redis {
            None => Takeover::Unused,
            Some(RedisArg::Close) => Takeover::Close,
            Some(RedisArg::Leave) => Takeover::Leave,
        };
        let (outcome, set, planned) = cx.session(mode, |session| {
            let store = self.with_storage.then(|| program(session, self.garage.as_deref())).transpose()?;
            let authority = Authority {
                directory: self.acme_directory,
                ca: self.acme_ca,
                email: self.acme_email,
                dns_hook: self.dns_hook,
            };
            let (base_domain, addresses) = (self.base_domain, self.address);
            let setup = Setup { base_domain, takeover, store, authority, addresses, certificate: None };
            let (outcome, set) = init(session, &setup)?;
            Ok((outcome, set, session.planned.take()))
        })?;
        if let Some(plan) = planned {
            return Ok(Answer::planned(&plan).outcome(outcome));
        }
        let domain = &set.base_domain;
        let already = if outcome == Outcome::Unchanged { "already " } else { "" };
        let text =
            format!("This host is {already}set up; projects get addresses such as http://NAME.{domain}");
        Ok(Answer::new(text, json!({ "base_domain": domain }))
            .outcome(outcome)
            .next("hostkit provision NAME"))
    }
}

/// List the operations: who, when, what, with what outcome
#[derive(Args, Clone, Debug)]
pub(crate) struct HistoryArgs {
    /// The project; everything without this
    name: Option<ProjectName>,
    /// How many, newest first
    #[arg(long, short = 'n', default_value_t = 20)]
    limit: u16,
}

impl Verb for HistoryArgs {
    const NAME: &'static str = "history";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] =
        &["hostkit history", "hostkit history blog -n 5", "hostkit history --json"];

    fn project(&self) -> Option<&ProjectName> {
        self.name.as_ref()
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let project = self.name.as_ref().map(ProjectName::as_str);
        let rows = cx.look(|session| {
            let rows = session.store.history(project, usize::from(self.limit))?;
            // One that is gone still has a history; one that never was has none.
            if let (true, Some(name)) = (rows.is_empty(), &self.name) {
                session.project(name)?;
            }
            Ok(rows)
        })?;
        let lines: Vec<Vec<String>> = rows
            .iter()
            .map(|r| {
                let whose = if r.project.is_empty() { "host".to_owned() } else { r.project.clone() };
                let outcome =
                    r.outcome.as_deref().unwrap_or(&r.state).lines().next().unwrap_or_default().to_owned();
                let when = r
                    .started_at
                    .split('.')
                    .next()
                    .unwrap_or_default()
                    .trim_end_matches('Z')
                    .replace('T', " ");
                vec![
                    r.id.to_string(),
                    when,
                    whose,
                    r.verb.clone(),
                    r.caller.clone(),
                    r.state.clone(),
                    outcome,
                ]
            })
            .collect();
        let data = json!({ "operations": rows });
        if lines.is_empty() {
            return Ok(Answer::new("nothing has happened yet", data));
        }
        Ok(Answer::new(
            table(&["ID", "STARTED (UTC)", "PROJECT", "WHAT", "BY", "STATE", "OUTCOME"], &lines),
            data,
        ))
    }
}

/// Empty the trash of what nobody can have back; a timer does it every day
#[derive(Args, Clone, Debug)]
pub(crate) struct GcArgs {
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Verb for GcArgs {
    const NAME: &'static str = "gc";
    const POLICY: Policy = Policy::Root;
    const EXAMPLES: &'static [&'static str] = &["hostkit gc", "hostkit gc --dry-run"];

    fn run(self, cx: &mut Context) -> Result<Answer> {
        let mode = if self.dry_run { Mode::DryRun } else { Mode::Run };
        let gone = cx.session(mode, collect)?;
        let outcome = if gone == 0 || self.dry_run { Outcome::Unchanged } else { Outcome::Changed };
        let fate = if self.dry_run { "would go" } else { "gone" };
        let text = match gone {
            0 => "the trash holds nothing that could go".to_owned(),
            1 => format!("1 tree {fate} for good"),
            n => format!("{n} trees {fate} for good"),
        };
        Ok(Answer::new(text, json!({ "removed": gone, "dry_run": self.dry_run })).outcome(outcome))
    }
}
