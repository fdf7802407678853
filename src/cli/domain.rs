//! `domain`: what a project answers to.

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};

use super::{
    Verb,
    answer::{Answer, table},
    context::Context,
    group,
    policy::Policy,
};
use crate::{
    domain::{address::Address, hostname::Hostname, name::ProjectName},
    operation::{
        domains::{Addition, Standing, add, remove, stand},
        session::{Mode, Outcome},
    },
};

group! {
    Add(AddArgs) = "add";
    Remove(RemoveArgs) = "remove";
    List(ListArgs) = "list";
    Show(ShowArgs) = "show";
}

/// What the help of the whole group opens with.
pub(super) const OVERVIEW: &[&str] = &[
    "hostkit domain add blog example.com --redirect-www",
    "hostkit domain list blog",
    "hostkit domain remove blog example.com",
];

/// Have a project answer to a domain that leads to this host
#[derive(Args, Clone, Debug)]
pub(crate) struct AddArgs {
    /// The project
    name: ProjectName,
    /// The domain, such as `example.com`; `*.example.com` is every name below it, for administrators
    domain: Address,
    /// Send visitors of `www.` below it to it
    #[arg(long, conflicts_with = "redirect_to")]
    redirect_www: bool,
    /// Send its visitors to another domain of the project
    #[arg(long, value_name = "DOMAIN")]
    redirect_to: Option<Hostname>,
    /// Take it although it does not lead here yet; for administrators
    #[arg(long)]
    skip_dns: bool,
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Verb for AddArgs {
    const NAME: &'static str = "domain add";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] = &[
        "hostkit domain add blog example.com --redirect-www",
        "hostkit domain add blog old.example.com --redirect-to example.com",
        "hostkit domain add blog example.net --skip-dns",
    ];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let mode = if self.dry_run { Mode::DryRun } else { Mode::Run };
        let addition = Addition {
            address: self.domain.clone(),
            redirect: self.redirect_to,
            www: self.redirect_www,
            unchecked: self.skip_dns,
            trusted: cx.may_override().is_ok(),
        };
        let (outcome, spec, planned) = cx.session(mode, |session| {
            let (outcome, spec) = add(session, &self.name, &addition)?;
            Ok((outcome, spec, session.planned.take()))
        })?;
        if let Some(plan) = planned {
            return Ok(Answer::planned(&plan).outcome(outcome));
        }
        let (name, domain) = (&self.name, &self.domain);
        let already = if outcome == Outcome::Unchanged { "already " } else { "" };
        let answer = Answer::new(
            format!("{name} {already}answers to {domain}"),
            json!({ "domain": domain, "url": spec.url() }),
        )
        .outcome(outcome);
        Ok(if spec.is_secure(domain.host()) {
            answer
        } else {
            answer.next(format!("hostkit ssl provision {name} {domain}"))
        })
    }
}

/// Take a domain from a project, and its certificate with it
#[derive(Args, Clone, Debug)]
pub(crate) struct RemoveArgs {
    /// The project
    name: ProjectName,
    /// The domain
    domain: Address,
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Verb for RemoveArgs {
    const NAME: &'static str = "domain remove";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] = &["hostkit domain remove blog example.com"];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let mode = if self.dry_run { Mode::DryRun } else { Mode::Run };
        let (outcome, gone, planned) = cx.session(mode, |session| {
            let (outcome, _, gone) = remove(session, &self.name, &self.domain)?;
            Ok((outcome, gone, session.planned.take()))
        })?;
        if let Some(plan) = planned {
            return Ok(Answer::planned(&plan).outcome(outcome));
        }
        let shown: Vec<String> = gone.iter().map(ToString::to_string).collect();
        let text = format!("{} does not answer to {} any more", self.name, shown.join(", "));
        Ok(Answer::new(text, json!({ "removed": gone })).outcome(outcome))
    }
}

/// List what a project, or every project, answers to
#[derive(Args, Clone, Debug)]
pub(crate) struct ListArgs {
    /// The project; every project without this
    name: Option<ProjectName>,
}

impl Verb for ListArgs {
    const NAME: &'static str = "domain list";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] = &["hostkit domain list blog", "hostkit domain list --json"];

    fn project(&self) -> Option<&ProjectName> {
        self.name.as_ref()
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let specs = cx.look(|session| match &self.name {
            Some(name) => Ok(vec![session.project(name)?.spec]),
            None => Ok(session.store.projects()?.into_iter().map(|row| row.spec).collect()),
        })?;
        let mut rows = Vec::new();
        let mut data = Vec::new();
        for spec in &specs {
            for address in spec.addresses() {
                let domain = spec.domains.iter().find(|domain| domain.address == address);
                let target = domain.and_then(|domain| domain.redirect.as_ref());
                let secure = spec.certificates.contains_key(&address)
                    || (!address.is_wildcard() && spec.is_secure(address.host()));
                let what = target.map_or_else(|| "answers".to_owned(), |target| format!("→ {target}"));
                let tls = if secure { "TLS" } else { "–" };
                rows.push(vec![address.to_string(), spec.name.to_string(), what, tls.to_owned()]);
                data.push(json!({
                    "domain": address, "project": spec.name, "redirect_to": target, "tls": secure,
                }));
            }
        }
        let data = json!({ "domains": data });
        if rows.is_empty() {
            return Ok(Answer::new("there are no projects", data).next("hostkit provision NAME"));
        }
        Ok(Answer::new(table(&["DOMAIN", "PROJECT", "WHAT", "TLS"], &rows), data))
    }
}

/// Show where a domain stands: whether it leads here, and how long its certificate is good
#[derive(Args, Clone, Debug)]
pub(crate) struct ShowArgs {
    /// The project
    name: ProjectName,
    /// The domain; all of the project's without this
    domain: Option<Address>,
}

impl Verb for ShowArgs {
    const NAME: &'static str = "domain show";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] =
        &["hostkit domain show blog", "hostkit domain show blog example.com"];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let all = cx.look(|session| stand(session, &self.name, self.domain.as_ref()))?;
        let text: Vec<String> = all.iter().map(described).collect();
        let data: Vec<Value> = all.iter().map(as_data).collect();
        Ok(Answer::new(text.join("\n"), json!({ "domains": data })))
    }
}

/// A moment for people.
pub(super) fn date(second: i64) -> String {
    jiff::Timestamp::from_second(second)
        .map_or_else(|_| second.to_string(), |at| at.strftime("%F").to_string())
}

fn described(standing: &Standing) -> String {
    let mut text = standing.address.to_string();
    if let Some(target) = &standing.redirect {
        text.push_str(&format!("  → {target}"));
    }
    text.push_str("\n  DNS   ");
    text.push_str(match standing.here {
        Some(true) => "leads to this host",
        Some(false) => "does not lead to this host",
        None => "not looked at",
    });
    for line in standing.advice.iter().filter(|line| line.starts_with("set in DNS")) {
        text.push_str(&format!("\n        {line}"));
    }
    text.push_str("\n  TLS   ");
    text.push_str(&match (standing.secure, standing.until) {
        (_, Some(until)) => format!("a certificate of its own, good until {}", date(until)),
        (true, None) => "by the certificate of all names beside it".to_owned(),
        (false, None) => "none".to_owned(),
    });
    text
}

fn as_data(standing: &Standing) -> Value {
    json!({
        "domain": standing.address, "redirect_to": standing.redirect, "tls": standing.secure,
        "expires": standing.until.map(date), "leads_here": standing.here,
    })
}
