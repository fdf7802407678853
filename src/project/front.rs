//! A project's front: the addresses it answers to, the certificates they have, and the site that nginx
//! serves it with.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{
    ProjectSpec, Stage,
    template::{Front, Name, Server, SiteMode, SiteVars, Templates},
};
use crate::{
    domain::{
        address::Address,
        hostname::Hostname,
        layout::{HostPath, host},
    },
    resource::{Any, Directory, Link, Pair, Site},
};

/// An address of a project besides the one that it has anyway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
    /// The address.
    pub address: Address,
    /// Where its visitors are sent; without it they are answered.
    #[serde(default)]
    pub redirect: Option<Hostname>,
}

/// Who vouches for a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The certificate authority that HostKit asks, and asks again.
    Acme,
    /// Whoever the administrator had it from; only the administrator can renew it.
    Imported,
}

/// A certificate in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Which of the address's certificates it is: the second it was made in, or a later number.
    pub number: u64,
    /// Who vouches for it.
    pub origin: Origin,
    /// From when it is good, in seconds since 1970.
    pub since: i64,
    /// Until when it is good, in seconds since 1970.
    pub until: i64,
    /// Whether a visitor has been answered with it: only then are browsers told to insist on TLS.
    #[serde(default)]
    pub seen: bool,
}

impl Certificate {
    /// When it is to be renewed: after two thirds of its life, in seconds since 1970.
    pub fn due(&self) -> i64 {
        self.since + (self.until - self.since) / 3 * 2
    }

    /// Where it lies for an address.
    pub fn place(&self, address: &Address) -> HostPath {
        host::certificates(address).join(&self.number.to_string())
    }

    /// Its resources for an address, before the site that leads to it.
    pub fn resources(&self, address: &Address) -> Vec<Any> {
        let path = self.place(address);
        let (folder, number) = (host::certificates(address), self.number);
        let file_name = address.file_name();
        vec![
            Directory {
                path: folder.clone(),
                uid: 0,
                gid: 0,
                mode: 0o700,
                visitor: None,
                trash: None,
                whole: false,
            }
            .into(),
            Pair {
                staging: host::staged_certificate(address),
                trash: host::tls_trash().join(&format!("{file_name}.{number}")),
                path,
            }
            .into(),
            Link { path: folder.join(LIVE), target: number.to_string() }.into(),
        ]
    }
}

/// The link to an address's certificate that nginx reads.
const LIVE: &str = "live";

/// Where nginx finds the certificate of an address.
pub fn live(address: &Address) -> String {
    host::certificates(address).join(LIVE).to_string()
}

impl ProjectSpec {
    /// Every address, the one it has anyway first.
    pub fn addresses(&self) -> impl Iterator<Item = Address> + '_ {
        std::iter::once(self.domain.clone().into()).chain(self.domains.iter().map(|d| d.address.clone()))
    }

    /// Whether visitors of a host name are answered with TLS.
    pub fn is_secure(&self, host: &Hostname) -> bool {
        (self.covered && self.domain == *host) || self.certificates.keys().any(|address| address.covers(host))
    }

    /// Where people find it: its first address that answers, with TLS if there is one.
    pub fn url(&self) -> String {
        let own = self.domains.iter().find(|d| d.redirect.is_none() && !d.address.is_wildcard());
        let host = own.map_or(&self.domain, |domain| domain.address.host());
        format!("{}://{host}", self.scheme(host))
    }

    fn scheme(&self, host: &Hostname) -> &'static str {
        if self.is_secure(host) { "https" } else { "http" }
    }

    /// The certificates' resources, before the site.
    pub(super) fn certificate_resources(&self) -> Vec<Any> {
        self.certificates.iter().flat_map(|(address, certificate)| certificate.resources(address)).collect()
    }

    /// The address whose own certificate an address gets, if it is to have TLS and not the host's.
    fn certified(&self, address: &Address) -> Option<(&Address, &Certificate)> {
        let own = self.certificates.get_key_value(address);
        let wider = || self.certificates.iter().find(|(known, _)| known.covers(address.host()));
        own.or_else(|| if address.is_wildcard() { None } else { wider() })
    }

    /// Every `server` of its site: one on port 80 for what has no TLS, one that sends there those who have,
    /// one with TLS for each certificate, and the same for each place that visitors are sent to.
    fn fronts(&self) -> Vec<Front> {
        let mut plain = Front { scheme: "http", ..Front::default() };
        let mut secured = Front { scheme: "https", secure: true, ..Front::default() };
        let mut others: BTreeMap<String, Front> = BTreeMap::new();
        let redirects: BTreeMap<&Address, &Hostname> =
            self.domains.iter().filter_map(|d| Some((&d.address, d.redirect.as_ref()?))).collect();
        for address in self.addresses() {
            let name = Name { host: address.host().to_string(), wildcard: address.is_wildcard() };
            let target = redirects.get(&address).copied();
            let scheme = target.map_or("https", |target| self.scheme(target));
            let certified = self.certified(&address);
            let covered = self.covered && address == Address::from(self.domain.clone());
            let has_tls = covered || certified.is_some();
            match target {
                Some(target) => {
                    let entry = others.entry(format!("0 {target}")).or_default();
                    *entry = Front { target: Some(target.to_string()), scheme, ..entry.clone() };
                    entry.names.push(name.clone());
                }
                None if has_tls => secured.names.push(name.clone()),
                None => plain.names.push(name.clone()),
            }
            if has_tls {
                let kind = certified.map_or_else(String::new, |(key, _)| key.to_string());
                let entry =
                    others.entry(format!("1 {kind} {}", target.map_or("", |t| t.as_str()))).or_default();
                let seen = certified.is_some_and(|(_, certificate)| certificate.seen);
                *entry = Front {
                    tls: true,
                    certificate: certified.map(|(key, _)| live(key)),
                    number: certified.map_or(0, |(_, certificate)| certificate.number),
                    target: target.map(ToString::to_string),
                    scheme,
                    hsts: seen || (certified.is_none() && self.covered),
                    ..entry.clone()
                };
                entry.names.push(name);
            }
        }
        let fixed = [plain, secured].into_iter().filter(|front| !front.names.is_empty());
        fixed.chain(others.into_values()).collect()
    }
}

/// The directory that nginx serves. Files are those of the link. What php-fpm runs is named by its release:
/// an instance that still runs the old one must not meet the code of the new one.
pub(super) fn web_root(spec: &ProjectSpec) -> Option<HostPath> {
    let (id, launch) = spec.live.as_ref()?;
    let release = if launch.fpm.is_some() { spec.name.release(id) } else { spec.name.app() };
    Some(launch.web_root.as_ref().map_or_else(|| release.clone(), |below| release.join(below)))
}

/// A project's site.
pub(super) fn site(spec: &ProjectSpec, templates: &Templates) -> Result<Site> {
    let name = &spec.name;
    let mode = match &spec.live {
        None => SiteMode::Empty,
        Some((_, launch)) if launch.fpm.is_some() => SiteMode::Php,
        Some((_, launch)) if launch.exec.is_some() => SiteMode::Proxy,
        Some(_) => SiteMode::Static,
    };
    let launch = spec.live.as_ref().map(|(_, launch)| launch);
    let server = |port, backup| Server { port, backup };
    // Whoever dies, or is not there any more, is passed over: the surge instance goes before the site
    // does when a handover is undone, and is gone after a reboot.
    let surging = spec.stage == Stage::Surge && matches!(mode, SiteMode::Proxy | SiteMode::Php);
    let mut servers: Vec<Server> = surging.then(|| server(spec.port.surge(), false)).into_iter().collect();
    servers.extend((1..=spec.webs()).map(|n| server(spec.port.instance(n), surging)));
    let (body, fingerprint) = templates.site(&SiteVars {
        name: name.as_str(),
        fronts: spec.fronts(),
        ipv6: spec.ipv6,
        http2: templates.http2(),
        challenges: host::challenges().to_string(),
        tls_settings: host::tls_settings().to_string(),
        access_log: name.access_log().to_string(),
        mode,
        port: servers[0].port,
        servers,
        web_root: web_root(spec).unwrap_or_else(|| name.app()).to_string(),
        whole: launch.is_some_and(|l| l.web_root.is_none()),
        spa: launch.is_some_and(|l| l.spa),
        socket: host::nginx_socket().to_string(),
        fingerprint: String::new(),
    })?;
    Ok(Site {
        name: format!("hostkit-{name}"),
        path: name.site(),
        link: Some(name.site_link()),
        domain: Some(spec.domain.to_string()),
        domains: spec.domains.iter().map(|domain| domain.address.to_string()).collect(),
        body,
        fingerprint,
    })
}
