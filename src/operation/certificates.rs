//! Certificates: asked for, checked, put in their place, renewed in time, taken away.
//!
//! Asking changes nothing that runs: what the authority gives lies beside what is in force, is read and
//! checked there, and takes its place in one operation with the site that leads to it.

use std::net::IpAddr;

use anyhow::{Result, bail};
use jiff::{SignedDuration, Timestamp};

use super::{
    init::{Setup, init},
    lifecycle::settle,
    session::{Held, Mode, Outcome, Session},
};
use crate::{
    domain::{
        address::Address,
        fault::{Code, Fault},
        hostname::Hostname,
        layout::{HostPath, host},
        name::ProjectName,
    },
    event::Event,
    plan::{Foreign, Plan},
    project::{
        ProjectSpec,
        front::{Certificate, Origin},
    },
    resource::Any,
    system::{Attr, certificates::Authority},
};

/// The setting that holds the authority that is asked.
pub(super) const AUTHORITY: &str = "certificate_authority";
/// The setting that holds the certificate of all names under the base domain.
pub(super) const OF_HOST: &str = "base_certificate";

/// The setting that holds the addresses under which others reach this host, when they are not its own.
pub(super) const ADDRESSES: &str = "addresses";

/// How many tries may fail in a day: the usual authority allows few more in an hour, for all projects.
const TRIES: usize = 3;
const DAY: SignedDuration = SignedDuration::from_hours(24);
/// How long to rest after a try that failed.
const REST: SignedDuration = SignedDuration::from_hours(1);
/// How long after it was due a certificate is known not to renew itself.
/// How long somebody else may work on a project that a certificate has come for.
const AT_WORK: std::time::Duration = std::time::Duration::from_mins(15);
const LATE: i64 = 2 * 86_400;
/// How much of its life must be left of one that nobody but the administrator renews, in seconds.
const SOON: i64 = 30 * 86_400;

/// The authority that is asked.
pub fn authority(session: &Session<'_>) -> Result<Authority> {
    let text = session.store.setting(AUTHORITY)?;
    text.map_or_else(|| Ok(Authority::default()), |text| Ok(serde_json::from_str(&text)?))
}

impl Authority {
    /// The same, with what is said here instead.
    #[must_use]
    pub fn with(self, other: &Self) -> Self {
        let other = other.clone();
        Self {
            directory: other.directory.or(self.directory),
            ca: other.ca.or(self.ca),
            email: other.email.or(self.email),
            dns_hook: other.dns_hook.or(self.dns_hook),
        }
    }
}

/// The certificate of all names under the base domain, and for which address it is.
pub fn of_host(session: &Session<'_>) -> Result<Option<(Address, Certificate)>> {
    let (Some(base), Some(text)) = (session.store.setting("base_domain")?, session.store.setting(OF_HOST)?)
    else {
        return Ok(None);
    };
    let certificate: Option<Certificate> = serde_json::from_str(&text)?;
    let address = Address::below(base.parse()?);
    Ok(certificate.map(|certificate| (address, certificate)))
}

/// Whether the host's certificate is good for a name.
pub fn covers(session: &Session<'_>, name: &Hostname) -> Result<bool> {
    Ok(of_host(session)?.is_some_and(|(address, _)| address.covers(name)))
}

/// Where a certificate comes from.
#[derive(Clone, Copy, Debug)]
pub enum Supply<'a> {
    /// The authority is asked.
    Authority,
    /// The administrator has it: the chain, and the key.
    Files(&'a [u8], &'a [u8]),
}

/// Gives an address of a project a certificate, and its site with it.
pub fn certify(
    session: &mut Session<'_>,
    name: &ProjectName,
    address: &Address,
    supply: Supply<'_>,
) -> Result<(Outcome, ProjectSpec)> {
    let old = session.project(name)?.spec;
    require(&old, address)?;
    if session.mode == Mode::DryRun {
        return Ok((Outcome::WouldChange, old));
    }
    // An authority that is slow keeps nobody from deploying.
    let _alone = session.host.hold("certificates")?;
    let certificate = obtain(session, name.as_str(), address, old.certificates.get(address), supply)?;
    let _held = wait_in(session, name.as_str())?;
    let mut new = session.project(name)?.spec;
    require(&new, address)?;
    new.certificates.insert(address.clone(), certificate);
    let outcome = change(session, "certificate", &new)?;
    believe(session, &new, address)?;
    let spec = session.project(name)?.spec;
    Ok((outcome, spec))
}

/// Gives the host a certificate for all names under the base domain, and their sites TLS.
pub fn certify_host(session: &mut Session<'_>, supply: Supply<'_>) -> Result<(Outcome, Address)> {
    let Some(base) = session.store.setting("base_domain")? else {
        bail!(
            Fault::new(Code::NotInitialised, "this host has no base domain")
                .next("hostkit init --base-domain example.com")
        )
    };
    let address = Address::below(base.parse()?);
    if session.mode == Mode::DryRun {
        return Ok((Outcome::WouldChange, address));
    }
    let _alone = session.host.hold("certificates")?;
    let known = of_host(session)?.map(|(_, known)| known);
    let certificate = obtain(session, "", &address, known.as_ref(), supply)?;
    let setup = Setup { certificate: Some(certificate), ..Setup::default() };
    init(session, &setup)?;
    cover(session)?;
    Ok((Outcome::Changed, address))
}

/// Has every site under the base domain speak TLS for which the host's certificate is good.
fn cover(session: &mut Session<'_>) -> Result<()> {
    for row in session.store.projects()? {
        // Whoever works on a project sees to it.
        let _held = wait_in(session, row.spec.name.as_str())?;
    }
    Ok(())
}

/// Takes the certificate of an address away; `revoke` has the authority call it back, too.
pub fn withdraw(
    session: &mut Session<'_>,
    name: &ProjectName,
    address: &Address,
    revoke: bool,
) -> Result<(Outcome, ProjectSpec)> {
    let _held = session.enter(name.as_str(), "certificate")?;
    let mut spec = session.project(name)?.spec;
    let Some(certificate) = spec.certificates.remove(address) else {
        bail!(missing(name, address));
    };
    let outcome = change(session, "certificate", &spec)?;
    if revoke && certificate.origin == Origin::Acme && session.mode == Mode::Run {
        let authority = authority(session)?;
        session.host.certificates.revoke(&authority, address)?;
    }
    Ok((outcome, spec))
}

/// Waits for whoever works on the project: what has been given must not be lost.
fn wait_in(session: &mut Session<'_>, owner: &str) -> Result<Held> {
    let usual = std::mem::replace(&mut session.patience, AT_WORK);
    let held = session.enter(owner, "certificate");
    session.patience = usual;
    held
}

fn missing(name: &ProjectName, address: &Address) -> Fault {
    Fault::new(Code::DomainNotFound, format!("`{address}` has no certificate of its own"))
        .next(format!("hostkit ssl status {name}"))
}

fn require(spec: &ProjectSpec, address: &Address) -> Result<()> {
    let name = &spec.name;
    if spec.addresses().any(|known| known == *address) {
        return Ok(());
    }
    bail!(
        Fault::new(Code::DomainNotFound, format!("`{name}` does not answer to `{address}`"))
            .next(format!("hostkit domain add {name} {address}"))
    )
}

/// Makes a project's front as its specification has it. What nginx has been reading stays until it reads
/// something else: if the power goes in between, nginx must start.
pub(super) fn change(session: &mut Session<'_>, verb: &'static str, spec: &ProjectSpec) -> Result<Outcome> {
    let wanted = session.wanted(spec)?;
    let owned = session.store.owned(spec.name.as_str())?;
    let first = with_spare(&owned, wanted.clone());
    let plan = Plan::between(owned, first.clone(), Foreign::Refuse, &session.host)?;
    let outcome = settle(session, verb, spec, &plan, &first)?;
    if first.len() > wanted.len() && session.mode == Mode::Run {
        let plan = Plan::between(first, wanted.clone(), Foreign::Refuse, &session.host)?;
        settle(session, verb, spec, &plan, &wanted)?;
    }
    Ok(outcome)
}

/// Takes away what [`change`] has left because it died.
pub(super) fn tidy(session: &mut Session<'_>, spec: &ProjectSpec) -> Result<()> {
    if spec.covered != covers(session, &spec.domain)? {
        let owned = session.store.owned(spec.name.as_str())?;
        recover_site(session, spec, &owned)?;
        session.recovered += 1;
    }
    let owned = session.store.owned(spec.name.as_str())?;
    let pairs = owned.iter().filter(|r| matches!(r, Any::Pair(_))).count();
    if pairs <= spec.certificates.len() {
        return Ok(());
    }
    let wanted = session.wanted(spec)?;
    // Only that: whatever else differs is somebody else's business.
    let kept: Vec<Any> = owned
        .iter()
        .filter(|r| !is_of_certificate(r) || wanted.iter().any(|w| w.id() == r.id()))
        .cloned()
        .collect();
    let spare: Vec<Any> = owned.into_iter().filter(|r| !kept.iter().any(|k| k.id() == r.id())).collect();
    let plan = Plan::between(spare, Vec::new(), Foreign::Refuse, &session.host)?;
    session.carry_out(spec.name.as_str(), "certificate", &plan, |registry| {
        registry.own(spec.name.as_str(), kept.iter())
    })?;
    session.recovered += 1;
    Ok(())
}

/// Has a site speak TLS, or not, as the host's certificate has it; of a project that whoever got or lost the
/// certificate did not come to any more.
fn recover_site(session: &mut Session<'_>, spec: &ProjectSpec, owned: &[Any]) -> Result<()> {
    let spec = ProjectSpec { covered: !spec.covered, ..spec.clone() };
    let is_site = |r: &&Any| matches!(r, Any::Site(_));
    let site: Vec<Any> = session.wanted(&spec)?.iter().filter(is_site).cloned().collect();
    let plan = Plan::between(
        owned.iter().filter(is_site).cloned().collect(),
        site.clone(),
        Foreign::Refuse,
        &session.host,
    )?;
    let all: Vec<Any> = owned.iter().map(|r| if is_site(&r) { site[0].clone() } else { r.clone() }).collect();
    session.carry_out(spec.name.as_str(), "certificate", &plan, |registry| {
        registry.put_project(&spec)?;
        registry.own(spec.name.as_str(), all.iter())
    })?;
    Ok(())
}

fn is_of_certificate(resource: &Any) -> bool {
    let below = |path: &HostPath| path.as_path().starts_with(host::tls().as_path());
    match resource {
        Any::Pair(_) => true,
        Any::Link(link) => below(&link.path),
        Any::Directory(directory) => below(&directory.path),
        _ => false,
    }
}

/// What is wanted, and before the site what is owned of certificates that are not wanted any more.
pub(super) fn with_spare(owned: &[Any], mut wanted: Vec<Any>) -> Vec<Any> {
    let known: Vec<String> = wanted.iter().map(Any::id).collect();
    let spare: Vec<Any> =
        owned.iter().filter(|r| is_of_certificate(r) && !known.contains(&r.id())).cloned().collect();
    let site = wanted.iter().position(|r| matches!(r, Any::Site(_))).unwrap_or(wanted.len());
    wanted.splice(site..site, spare);
    wanted
}

/// Gets a certificate, checks it, and leaves it where its operation takes it from.
fn obtain(
    session: &mut Session<'_>,
    project: &str,
    address: &Address,
    known: Option<&Certificate>,
    supply: Supply<'_>,
) -> Result<Certificate> {
    let staging = host::staged_certificate(address);
    session.host.root.shred(&staging)?;
    let (origin, pair) = match supply {
        Supply::Files(chain, key) => (Origin::Imported, (chain.to_vec(), key.to_vec())),
        Supply::Authority => {
            allow(session, project)?;
            let authority = authority(session)?;
            if address.is_wildcard() && authority.dns_hook.is_none() {
                bail!(
                    Fault::new(
                        Code::CertificateRefused,
                        format!(
                            "a certificate for `{address}` needs a record in DNS, and nothing here sets one"
                        )
                    )
                    .next(
                        "hostkit init --dns-hook /usr/local/sbin/PROGRAM    # called with `set` or `clear`"
                    )
                );
            }
            session.ui.emit(Event::Began { what: "asking for a certificate", detail: &address.to_string() });
            match session.host.certificates.order(&authority, address) {
                Ok(pair) => (Origin::Acme, pair),
                Err(error) => return Err(record(session, project, address, error)),
            }
        }
    };
    let root = &mut session.host.root;
    root.mkdir(&staging, Attr::root(0o700), None)?;
    root.replace(&staging.join("fullchain.pem"), &pair.0, Attr::root(0o600))?;
    root.replace(&staging.join("privkey.pem"), &pair.1, Attr::root(0o600))?;
    let checked = check(session, address, &staging);
    let (since, until) = match checked {
        Ok(span) => span,
        Err(error) => {
            session.host.root.shred(&staging)?;
            return Err(error);
        }
    };
    session.store.change(|registry| registry.succeeded(address))?;
    // Never given out twice: what was taken away lies in the trash under its number.
    let now = u64::try_from(session.host.clock.now().as_second()).unwrap_or_default();
    let number = now.max(known.map_or(0, |known| known.number + 1));
    Ok(Certificate { number, origin, since: since.as_second(), until: until.as_second(), seen: false })
}

/// Whether a pair is good for an address now; how long it is.
fn check(session: &Session<'_>, address: &Address, folder: &HostPath) -> Result<(Timestamp, Timestamp)> {
    let facts = session.host.certificates.examine(folder)?;
    let refuse =
        |why: String| Fault::new(Code::InvalidCertificate, format!("the certificate is not good: {why}"));
    let good = facts.names.iter().filter_map(|name| name.parse::<Address>().ok());
    if !good
        .into_iter()
        .any(|known| known == *address || (!address.is_wildcard() && known.covers(address.host())))
    {
        bail!(
            refuse(format!("it is for {}, not for `{address}`", facts.names.join(", ")))
                .next("get one for this address, or name the address that it is for")
        );
    }
    let now = session.host.clock.now();
    if facts.until <= now {
        bail!(refuse(format!("it expired on {:.10}", facts.until.to_string())).next("get a new one"));
    }
    if facts.since > now + SignedDuration::from_hours(1) {
        bail!(
            refuse(format!("it is good only from {:.0} on", facts.since))
                .next("timedatectl    # is the clock right?")
        );
    }
    Ok((facts.since, facts.until))
}

/// Refuses to ask again so soon that the authority would stop listening.
fn allow(session: &Session<'_>, project: &str) -> Result<()> {
    let now = session.host.clock.now();
    let attempts = session.store.attempts(project)?;
    let ago = |at: Timestamp| now.duration_since(at);
    let recent: Vec<_> = attempts.iter().filter(|attempt| ago(attempt.at) < DAY).collect();
    let wait = match recent.as_slice() {
        [] => return Ok(()),
        all if all.len() >= TRIES => DAY - ago(all[TRIES - 1].at),
        [last, ..] => REST - ago(last.at),
    };
    if wait <= SignedDuration::ZERO {
        return Ok(());
    }
    let minutes = wait.as_mins() + 1;
    bail!(
        Fault::new(
            Code::RateLimited,
            format!(
                "the last try for `{}` failed: {}; possible again in {minutes} minutes",
                recent[0].address, recent[0].problem
            )
        )
        .next("mend what it says; a timer tries again by itself")
    )
}

/// Remembers a failure, and says it.
fn record(
    session: &mut Session<'_>,
    project: &str,
    address: &Address,
    error: anyhow::Error,
) -> anyhow::Error {
    let now = session.host.clock.now();
    let problem = format!("{error:#}");
    // An interruption is nobody's failure, and neither is a program that is not there.
    let counts = error.downcast_ref::<Fault>().is_none_or(|f| f.code == Code::CertificateRefused);
    if counts
        && let Err(unwritten) =
            session.store.change(|registry| registry.failed(address, project, now, &problem))
    {
        session
            .ui
            .emit(Event::Warned { message: &format!("the failure could not be recorded: {unwritten:#}") });
    }
    error
}

/// Has browsers insist on TLS, once one would have been answered with it.
fn believe(session: &mut Session<'_>, spec: &ProjectSpec, address: &Address) -> Result<()> {
    let Some(certificate) = spec.certificates.get(address) else { return Ok(()) };
    if certificate.seen || address.is_wildcard() || session.mode == Mode::DryRun {
        return Ok(());
    }
    let authority = authority(session)?;
    if !session.host.certificates.is_believed(&authority, address.host().as_str())? {
        return Ok(());
    }
    let mut new = spec.clone();
    if let Some(known) = new.certificates.get_mut(address) {
        known.seen = true;
    }
    change(session, "certificate", &new).map(drop)
}

/// What a look at everything's certificates came to.
#[derive(Clone, Debug, Default)]
pub struct Round {
    /// The addresses that got one.
    pub renewed: Vec<String>,
    /// Those that did not, and why.
    pub failed: Vec<(String, String)>,
}

/// Renews what is due, or everything with `force`, and asks for what is missing and leads here.
pub fn renew(session: &mut Session<'_>, only: Option<&ProjectName>, force: bool) -> Result<Round> {
    let mut round = Round::default();
    let now = session.host.clock.now().as_second();
    let is_due =
        |certificate: &Certificate| certificate.origin == Origin::Acme && (force || certificate.due() <= now);
    if only.is_none()
        && let Some((address, certificate)) = of_host(session)?
    {
        if is_due(&certificate) {
            let got = certify_host(session, Supply::Authority).map(drop);
            round.note(&address, got);
        }
        cover(session)?;
    }
    let names: Vec<ProjectName> = match only {
        Some(name) => vec![session.project(name)?.spec.name],
        None => session.store.projects()?.into_iter().map(|row| row.spec.name).collect(),
    };
    for name in names {
        let spec = session.project(&name)?.spec;
        for address in spec.addresses() {
            let due = match spec.certificates.get(&address) {
                Some(certificate) => is_due(certificate),
                None => !spec.is_secure(address.host()) && is_asked_for(session, &spec, &address)?,
            };
            if !due {
                if let Some(certificate) = spec.certificates.get(&address)
                    && !certificate.seen
                {
                    let _held = session.enter(name.as_str(), "certificate")?;
                    let spec = session.project(&name)?.spec;
                    believe(session, &spec, &address)?;
                }
                continue;
            }
            let got = certify(session, &name, &address, Supply::Authority).map(drop);
            round.note(&address, got);
        }
    }
    Ok(round)
}

impl Round {
    fn note(&mut self, address: &Address, got: Result<()>) {
        match got {
            Ok(()) => self.renewed.push(address.to_string()),
            Err(error) => self.failed.push((address.to_string(), format!("{error:#}"))),
        }
    }
}

/// Whether a certificate is wanted for an address that has none: for custom domains that lead here, once
/// there is an authority to ask that somebody has named or who needs no naming.
fn is_asked_for(session: &Session<'_>, spec: &ProjectSpec, address: &Address) -> Result<bool> {
    let public = address.host().as_str().contains('.') && !address.is_wildcard();
    let custom = *address != Address::from(spec.domain.clone());
    Ok(public && custom && leads_here(session, address.host())?)
}

/// Whether a name leads to this host.
pub(super) fn leads_here(session: &Session<'_>, name: &Hostname) -> Result<bool> {
    let own = addresses(session)?;
    let found = session.host.net.resolve(name.as_str())?;
    Ok(!found.is_empty() && found.iter().all(|address| own.contains(address)))
}

/// The addresses under which others reach this host.
pub(super) fn addresses(session: &Session<'_>) -> Result<Vec<IpAddr>> {
    let mut own = session.host.net.addresses()?;
    let told = session.store.setting(ADDRESSES)?.unwrap_or_default();
    own.extend(told.split_whitespace().filter_map(|address| address.parse::<IpAddr>().ok()));
    Ok(own)
}

/// What is wrong with a project's certificates; of the host's with `None`.
pub fn complaints(
    session: &Session<'_>,
    spec: Option<&ProjectSpec>,
) -> Result<Vec<(String, String, String)>> {
    let now = session.host.clock.now().as_second();
    let mut all = Vec::new();
    let known: Vec<(Address, Certificate)> = match spec {
        Some(spec) => spec.certificates.iter().map(|(a, c)| (a.clone(), c.clone())).collect(),
        None => of_host(session)?.into_iter().collect(),
    };
    let attempts = session.store.attempts(spec.map_or("", |spec| spec.name.as_str()))?;
    let why = |address: &Address| {
        let last = attempts.iter().find(|attempt| attempt.address == address.to_string());
        last.map_or_else(String::new, |attempt| format!("; the last try failed: {}", attempt.problem))
    };
    for (address, certificate) in known {
        let left = certificate.until - now;
        let days = left / 86_400;
        let late = match certificate.origin {
            Origin::Acme => now > certificate.due() + LATE,
            Origin::Imported => left < SOON,
        };
        let problem = match (left, late) {
            (..=0, _) => "has expired: visitors are turned away".to_owned(),
            (_, true) if days < 7 => format!("critical: expires in {days} days"),
            (_, true) => format!("expires in {days} days and was not renewed"),
            _ => continue,
        };
        let fix = match certificate.origin {
            Origin::Acme => "hostkit ssl renew".to_owned(),
            Origin::Imported => format!("hostkit ssl import {address} --chain FILE --key FILE"),
        };
        all.push((format!("certificate:{address}"), problem + &why(&address), fix));
    }
    if let Some(spec) = spec {
        for attempt in &attempts {
            let address = attempt.address.parse::<Address>().ok();
            let covered = address.as_ref().is_some_and(|address| spec.certificates.contains_key(address));
            let what = format!("certificate:{}", attempt.address);
            if !covered && !all.iter().any(|(known, ..)| *known == what) {
                let problem = format!("there is none: {}", attempt.problem);
                all.push((what, problem, format!("hostkit domain show {} {}", spec.name, attempt.address)));
            }
        }
    }
    Ok(all)
}

/// Removes what was taken away, and what a try that died has left.
pub(super) fn collect(session: &mut Session<'_>) -> Result<usize> {
    let mut gone = 0;
    let staged = session.host.root.list(&host::tls())?;
    let staged =
        staged.iter().filter(|entry| entry.starts_with(".staging-")).map(|entry| host::tls().join(entry));
    let trash = session.host.root.list(&host::tls_trash())?;
    let trash = trash.iter().map(|entry| host::tls_trash().join(entry));
    // An operation that runs may still want it back.
    if session.store.open_operations()?.is_empty() {
        for path in staged.chain(trash) {
            gone += 1;
            if session.mode == Mode::Run {
                session.host.root.shred(&path)?;
            }
        }
    }
    Ok(gone)
}
