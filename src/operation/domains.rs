//! What a project answers to: domains are given to it and taken away.

use anyhow::{Result, bail};

use super::{
    certificates::{addresses, change, covers, leads_here},
    session::{Outcome, Session},
};
use crate::{
    domain::{
        address::Address,
        fault::{Code, Fault},
        hostname::Hostname,
        name::ProjectName,
    },
    project::{ProjectSpec, front::Domain},
};

/// The most domains of one project.
const MOST: usize = 100;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Addition {
    /// The address.
    pub address: Address,
    /// Where its visitors are sent, when they are not answered.
    pub redirect: Option<Hostname>,
    /// Whether `www.` below it sends its visitors to it.
    pub www: bool,
    /// Whether the project gets it although it does not lead to this host yet.
    pub unchecked: bool,
    /// Whether the caller may give out what is not proven to be the project's: whole subtrees, and names
    /// under the base domain.
    pub trusted: bool,
}

/// Has a project answer to an address.
pub fn add(
    session: &mut Session<'_>,
    name: &ProjectName,
    addition: &Addition,
) -> Result<(Outcome, ProjectSpec)> {
    let _held = session.enter_host(name.as_str(), "domain")?;
    let mut spec = session.project(name)?.spec;
    let Addition { address, redirect, www, .. } = addition;
    let mut wanted = vec![Domain { address: address.clone(), redirect: redirect.clone() }];
    if *www {
        let below = address.host().under("www")?;
        wanted.push(Domain { address: below.into(), redirect: Some(address.host().clone()) });
    }
    for domain in wanted {
        check(session, &spec, &domain, addition)?;
        match spec.domains.iter_mut().find(|known| known.address == domain.address) {
            Some(known) => *known = domain,
            None => spec.domains.push(domain),
        }
    }
    if spec.domains.len() > MOST {
        bail!(Fault::new(Code::InvalidValue, format!("a project has at most {MOST} domains")));
    }
    Ok((change(session, "domain", &spec)?, spec))
}

fn check(session: &Session<'_>, spec: &ProjectSpec, domain: &Domain, addition: &Addition) -> Result<()> {
    let (name, address) = (&spec.name, &domain.address);
    if let Some(holder) = session.store.holder(address)?
        && holder != name.as_str()
    {
        let whose = if addition.trusted { format!("`{holder}`") } else { "another project".to_owned() };
        bail!(
            Fault::new(Code::DomainTaken, format!("`{address}` belongs to {whose}"))
                .next(format!("hostkit domain list {name}"))
        );
    }
    if *address == Address::from(spec.domain.clone()) {
        bail!(Fault::new(Code::WrongState, format!("`{name}` answers to `{address}` anyway")));
    }
    if let Some(target) = &domain.redirect {
        let same = *address == Address::from(target.clone());
        let known =
            spec.addresses().any(|known| known == Address::from(target.clone()) || known.covers(target));
        let sent_on =
            spec.domains.iter().any(|d| d.address == Address::from(target.clone()) && d.redirect.is_some());
        if same || sent_on || !(known || addition.www || *target == *addition.address.host()) {
            bail!(
                Fault::new(
                    Code::InvalidValue,
                    format!("visitors can be sent only to where `{name}` answers, and `{target}` is no such address")
                )
                .next(format!("hostkit domain list {name}"))
            );
        }
    }
    if addition.trusted && (address.is_wildcard() || addition.unchecked) {
        return Ok(());
    }
    let not_permitted = |what: &str| {
        Fault::new(Code::NotPermitted, format!("only an administrator may give out {what}"))
            .next(format!("sudo hostkit domain add {name} {address}    # as an administrator"))
    };
    if address.is_wildcard() {
        bail!(not_permitted("every name below a domain"));
    }
    if addition.unchecked {
        bail!(not_permitted("a domain that does not lead here"));
    }
    let base = session.store.setting("base_domain")?.unwrap_or_default();
    let host = address.host().as_str();
    if !addition.trusted && (host == base || host.ends_with(&format!(".{base}"))) {
        bail!(not_permitted("names under the base domain: they are for projects"));
    }
    if leads_here(session, address.host())? {
        return Ok(());
    }
    bail!(elsewhere(session, address.host())?)
}

/// That a name does not lead here, and what to set so that it does.
fn elsewhere(session: &Session<'_>, name: &Hostname) -> Result<Fault> {
    let found = session.host.net.resolve(name.as_str())?;
    let list = |all: &[std::net::IpAddr]| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let message = if found.is_empty() {
        format!("there is no `{name}` in DNS")
    } else {
        format!("`{name}` leads to {}, and not only to this host", list(&found))
    };
    let mut fault = Fault::new(Code::DnsElsewhere, message);
    for address in addresses(session)?.iter().take(2) {
        let kind = if address.is_ipv4() { "A" } else { "AAAA" };
        fault = fault.next(format!("set in DNS:  {name}.  {kind}  {address}"));
    }
    Ok(fault
        .next("hostkit init --address IP    # when others reach this host under another address")
        .next("--skip-dns    # as an administrator: take it now, and have it checked later"))
}

/// Takes an address from a project, and its certificate with it; also those that send their visitors there.
pub fn remove(
    session: &mut Session<'_>,
    name: &ProjectName,
    address: &Address,
) -> Result<(Outcome, ProjectSpec, Vec<Address>)> {
    let _held = session.enter(name.as_str(), "domain")?;
    let mut spec = session.project(name)?.spec;
    if !spec.domains.iter().any(|known| known.address == *address) {
        let known = spec.domains.iter().map(|domain| domain.address.to_string());
        let known: Vec<String> = known.collect();
        let fault = if *address == Address::from(spec.domain.clone()) {
            Fault::new(Code::WrongState, format!("`{address}` goes with the project, and only with it"))
        } else {
            Fault::new(Code::DomainNotFound, format!("`{name}` does not answer to `{address}`"))
        };
        let all = if known.is_empty() { "it has no others".to_owned() } else { known.join(", ") };
        bail!(fault.next(format!("hostkit domain list {name}    # {all}")));
    }
    let goes = |domain: &Domain| {
        domain.address == *address
            || domain.redirect.as_ref().is_some_and(|to| *address == Address::from(to.clone()))
    };
    let gone: Vec<Address> = spec.domains.iter().filter(|d| goes(d)).map(|d| d.address.clone()).collect();
    spec.domains.retain(|domain| !gone.contains(&domain.address));
    spec.certificates.retain(|address, _| !gone.contains(address));
    spec.covered = covers(session, &spec.domain)?;
    Ok((change(session, "domain", &spec)?, spec, gone))
}

/// Where an address stands.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The address.
    pub address: Address,
    /// Where its visitors are sent, if they are.
    pub redirect: Option<Hostname>,
    /// Whether it is answered with TLS.
    pub secure: bool,
    /// Until when its certificate is good, in seconds since 1970.
    pub until: Option<i64>,
    /// Whether it leads to this host; not looked at for whole subtrees.
    pub here: Option<bool>,
    /// What to set in DNS when it does not.
    pub advice: Vec<String>,
}

/// Where the addresses of a project stand; `only` one of them, or all.
pub fn stand(session: &Session<'_>, name: &ProjectName, only: Option<&Address>) -> Result<Vec<Standing>> {
    let spec = session.project(name)?.spec;
    let mut all = Vec::new();
    for address in spec.addresses().filter(|address| only.is_none_or(|only| only == address)) {
        let host = address.host();
        let here = if address.is_wildcard() { None } else { Some(leads_here(session, host)?) };
        let advice = if here == Some(false) { elsewhere(session, host)?.next } else { Vec::new() };
        let certificate = spec.certificates.get(&address);
        let domain = spec.domains.iter().find(|domain| domain.address == address);
        all.push(Standing {
            redirect: domain.and_then(|domain| domain.redirect.clone()),
            secure: certificate.is_some() || (!address.is_wildcard() && spec.is_secure(host)),
            until: certificate.map(|certificate| certificate.until),
            here,
            advice,
            address,
        });
    }
    if all.is_empty() {
        bail!(
            Fault::new(Code::DomainNotFound, format!("`{name}` does not answer to that"))
                .next(format!("hostkit domain list {name}"))
        );
    }
    Ok(all)
}
