//! Setting the host up for HostKit; again and again, with the same result.

use std::{collections::BTreeSet, net::IpAddr};

use anyhow::{Result, bail};

use super::{
    certificates, database,
    redis::{self, Takeover},
    session::{Mode, Outcome, Session},
    storage,
};
use crate::{
    domain::{
        address::Address,
        fault::{Code, Fault},
        hostname::Hostname,
        layout::{HostPath, UnitName, host},
    },
    event::Event,
    plan::{Foreign, Plan},
    project::{HostFront, front::Certificate, host_resources, storage::store_resources, template::Http2},
    resource::{Any, Link, ManagedFile},
    system::{
        certificates::Authority,
        nginx::{Version, directives},
    },
};

/// The domain that projects stand under until the administrator names one: it always leads here.
const DEFAULT_DOMAIN: &str = "localhost";

/// The setting that holds how nginx is told to speak HTTP/2.
pub const HTTP2: &str = "http2";

const PATIENCE: &str = "worker_shutdown_timeout";

/// The setting that holds the fingerprint of the master key.
pub(super) const VAULT_KEY: &str = "vault_key";

/// What a host was set up with.
#[derive(Clone, Debug)]
pub struct Host {
    /// The domain that new projects' names stand under.
    pub base_domain: Hostname,
}

/// What a host is to be set up with.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// The domain that new projects' names stand under; `None`: the one before, or a usual one.
    pub base_domain: Option<Hostname>,
    /// What becomes of a Redis that is in use.
    pub takeover: Takeover,
    /// The program of an object store of its own; `None`: the one it has, if any.
    pub store: Option<HostPath>,
    /// The addresses under which others reach the host, when they are not its own; empty: as before.
    pub addresses: Vec<IpAddr>,
    /// What changes about the certificate authority that is asked.
    pub authority: Authority,
    /// The certificate of all names under the base domain, when there is a new one.
    pub certificate: Option<Certificate>,
}

/// Sets the host up.
pub fn init(session: &mut Session<'_>, setup: &Setup) -> Result<(Outcome, Host)> {
    let _held = session.enter("", "init")?;
    let before = session.store.setting("base_domain")?;
    let base_domain = match (&setup.base_domain, &before) {
        (Some(domain), _) => domain.clone(),
        (None, Some(domain)) => domain.parse()?,
        (None, None) => DEFAULT_DOMAIN.parse()?,
    };
    let known = session.store.setting(VAULT_KEY)?;
    guard_key(session, known.as_deref())?;
    let authority = certificates::authority(session)?.with(&setup.authority);
    let certificate = match &setup.certificate {
        Some(certificate) => Some((Address::below(base_domain.clone()), certificate.clone())),
        None => certificates::of_host(session)?.filter(|(address, _)| *address.host() == base_domain),
    };
    let speech = speech(session)?;
    let front = HostFront {
        ipv6: session.host.net.ipv6(),
        http2: speech,
        taken: taken(session)?,
        certificate: certificate.clone(),
    };
    if front.certificate.is_some() && front.taken.contains(&443) {
        bail!(
            Fault::new(
                Code::Foreign,
                "a certificate for all names under the base domain needs the default server on port 443, of \
                 nginx 1.19.4 or later; another site is it, or nginx is older"
            )
            .next("grep -rn default_server /etc/nginx")
            .next("nginx -v")
        );
    }
    let mut wanted = host_resources(&session.templates, &front)?;
    // Before the site that has nginx load it.
    let at = wanted.iter().position(|r| matches!(r, Any::Site(_))).unwrap_or_default();
    wanted.splice(at..at, patience(session)?);
    wanted.extend(redis::host_resources(session, setup.takeover)?);
    wanted.extend(database::cluster(session)?);
    let known_store = storage::store(session)?;
    let store = setup.store.clone().or_else(|| known_store.clone());
    if let Some(program) = &store {
        storage::require_ports(session)?;
        wanted.extend(store_resources(program));
    }
    // What was set up on a server that does not answer now stays HostKit's, and is not looked at.
    let at_hand = |r: &Any| !matches!(r, Any::Cluster(_)) || wanted.iter().any(|w| w.id() == r.id());
    let (owned, away): (Vec<Any>, Vec<Any>) = session.store.owned("")?.into_iter().partition(at_hand);
    let owned: Vec<Any> = owned.into_iter().chain(welcome(session)?).collect();
    // The names are HostKit's own: what an earlier installation left there is taken over.
    let first = certificates::with_spare(&owned, wanted.clone());
    let spare = first.len() > wanted.len();
    let plan = Plan::between(owned, first.clone(), Foreign::Adopt, &session.host)?;
    let same = before.as_deref() == Some(base_domain.as_str())
        && known.is_some()
        && setup.takeover == Takeover::Unused
        && store == known_store
        && setup.addresses.is_empty()
        && authority == certificates::authority(session)?
        && session.store.setting(HTTP2)?.as_deref() == Some(word(speech))
        && certificate == certificates::of_host(session)?
        && !session.store.owned("")?.is_empty();
    let outcome = if plan.is_noop() && same {
        Outcome::Unchanged
    } else {
        session.carry_out("", "init", &plan, |registry| {
            registry.set("base_domain", base_domain.as_str())?;
            registry.set(HTTP2, word(speech))?;
            registry.set(certificates::AUTHORITY, &serde_json::to_string(&authority)?)?;
            let certificate = certificate.map(|(_, certificate)| certificate);
            registry.set(certificates::OF_HOST, &serde_json::to_string(&certificate)?)?;
            if !setup.addresses.is_empty() {
                let all: Vec<String> = setup.addresses.iter().map(ToString::to_string).collect();
                registry.set(certificates::ADDRESSES, &all.join(" "))?;
            }
            redis::remember(registry, setup.takeover)?;
            if let Some(program) = &store {
                registry.set(storage::STORE, &program.to_string())?;
            }
            registry.own("", plan.wanted().chain(&away))
        })?
    };
    // Not before nginx has stopped reading it.
    if spare && session.mode == Mode::Run {
        let plan = Plan::between(first, wanted, Foreign::Adopt, &session.host)?;
        session.carry_out("", "init", &plan, |registry| registry.own("", plan.wanted().chain(&away)))?;
    }
    if session.mode == Mode::Run && known.is_none() {
        // Only now there is one for certain.
        let print = session.host.vault.fingerprint()?;
        session.store.change(|registry| registry.set(VAULT_KEY, &print))?;
    }
    if session.mode == Mode::Run && outcome == Outcome::Changed {
        for timer in ["hostkit-gc.timer", "hostkit-certificates.timer"] {
            session.host.systemd.restart(&UnitName::own(timer))?;
        }
    }
    Ok((outcome, Host { base_domain }))
}

/// How nginx is told to speak HTTP/2: the way it wants it in the version that is installed.
fn speech(session: &Session<'_>) -> Result<Http2> {
    let directive = session.host.nginx.version()? >= (1, 25, 1);
    Ok(if directive { Http2::Directive } else { Http2::Listen })
}

/// How that is remembered.
const fn word(speech: Http2) -> &'static str {
    match speech {
        Http2::Listen => "listen",
        Http2::Directive => "directive",
    }
}

/// How nginx is told to speak HTTP/2, as the last `init` found it.
pub fn spoken(setting: Option<&str>) -> Http2 {
    if setting == Some(word(Http2::Directive)) { Http2::Directive } else { Http2::Listen }
}

/// The first nginx that rejects handshakes.
const REJECTS: Version = (1, 19, 4);

const SITES: &str = "/etc/nginx/sites-enabled";

/// The page with which the distribution greets those who call a name that nobody has: it goes, unless
/// somebody has made something of it.
fn welcome(session: &Session<'_>) -> Result<Option<Any>> {
    let path = HostPath::fixed(SITES).join("default");
    let Some(target) = session.host.root.target(&path)? else { return Ok(None) };
    let file = HostPath::fixed("/etc/nginx/sites-available/default");
    let text = session.host.root.read(&file, 1 << 20)?.unwrap_or_default();
    let said = directives(&String::from_utf8_lossy(&text));
    let usual = |words: &Vec<String>| match words[0].as_str() {
        "server" | "index" | "location" | "try_files" => true,
        "listen" => words.get(1).is_some_and(|at| at.ends_with("80")),
        "root" => words.get(1).is_some_and(|at| at == "/var/www/html"),
        "server_name" => words.get(1).is_some_and(|name| name == "_"),
        _ => false,
    };
    let servers = said.iter().filter(|words| words[0] == "server").count();
    let untouched = target == file.to_string() && servers == 1 && said.iter().all(usual);
    Ok(untouched.then(|| Link { path, target }.into()))
}

/// The ports on which another site answers to names that nobody has: nginx allows only one.
fn taken(session: &mut Session<'_>) -> Result<BTreeSet<u16>> {
    let going = welcome(session)?.is_some();
    let mut taken = BTreeSet::new();
    for folder in [HostPath::fixed(SITES), HostPath::fixed("/etc/nginx/conf.d")] {
        for entry in session.host.root.list(&folder)? {
            if entry.starts_with("hostkit") || (going && entry == "default" && folder.to_string() == SITES) {
                continue;
            }
            let path = folder.join(&entry);
            // Links there lead anywhere below /etc/nginx; both are the administrator's.
            let path = match session.host.root.target(&path)? {
                Some(target) if target.starts_with("/etc/nginx/") && !target.contains("..") => {
                    HostPath::fixed(target)
                }
                _ => path,
            };
            let text = session.host.root.read(&path, 1 << 20)?.unwrap_or_default();
            for words in directives(&String::from_utf8_lossy(&text)) {
                if words[0] == "listen" && words.iter().any(|word| word == "default_server") {
                    let port = words[1].rsplit([':', ']']).next().and_then(|port| port.parse().ok());
                    taken.insert(port.unwrap_or(80));
                }
            }
        }
    }
    for port in &taken {
        let message = format!("another site answers on port {port} to names that nobody has; it stays");
        session.ui.emit(Event::Warned { message: &message });
    }
    if session.host.nginx.version()? < REJECTS {
        taken.insert(443);
    }
    Ok(taken)
}

/// How long nginx's old workers may go on after a reload, unless the administrator says it: every deploy on
/// the host leaves one behind for as long as one connection of anybody's stands that has no end.
fn patience(session: &Session<'_>) -> Result<Option<Any>> {
    let own = host::nginx_main();
    let folder = own.parent();
    let main = HostPath::fixed("/etc/nginx/nginx.conf");
    let text = |path: &HostPath| -> Result<String> {
        let bytes = session.host.root.read(path, 1 << 20)?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let whole = text(&main)?;
    // Where that folder is not read, nothing can be said there.
    if !whole.contains("modules-enabled/*.conf") {
        return Ok(None);
    }
    let mut said = whole.contains(PATIENCE);
    for entry in session.host.root.list(&folder)? {
        said |= entry != own.file_name() && text(&folder.join(&entry))?.contains(PATIENCE);
    }
    let body = format!("# Managed by HostKit.\n{PATIENCE} 10m;\n");
    Ok((!said).then(|| ManagedFile { path: own, body, gid: 0, mode: 0o644 }.into()))
}

/// Refuses to go on without the key that secrets were sealed with: a new one would open none of them.
fn guard_key(session: &Session<'_>, known: Option<&str>) -> Result<()> {
    let Some(known) = known else { return Ok(()) };
    let print = session.host.vault.fingerprint()?;
    if print == known {
        return Ok(());
    }
    let path = host::master_key();
    Err(Fault::new(
        Code::VaultKey,
        format!("`{path}` has the fingerprint {print}, and secrets were sealed with the key {known}"),
    )
    .next(format!("put the key {known} back as `{path}`"))
    .into())
}
