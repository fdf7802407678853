//! Setting the host up for HostKit; again and again, with the same result.

use anyhow::Result;

use super::{
    database,
    redis::{self, Takeover},
    session::{Mode, Outcome, Session},
    storage,
};
use crate::{
    domain::{
        fault::{Code, Fault},
        hostname::Hostname,
        layout::{HostPath, UnitName, host},
    },
    plan::{Foreign, Plan},
    project::{host_resources, storage::store_resources},
    resource::{Any, ManagedFile},
};

/// The domain that projects stand under until the administrator names one: it always leads here.
const DEFAULT_DOMAIN: &str = "localhost";

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
    let mut wanted = host_resources(&session.templates)?;
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
    // The names are HostKit's own: what an earlier installation left there is taken over.
    let plan = Plan::between(owned, wanted, Foreign::Adopt, &session.host)?;
    let same = before.as_deref() == Some(base_domain.as_str())
        && known.is_some()
        && setup.takeover == Takeover::Unused
        && store == known_store
        && !session.store.owned("")?.is_empty();
    let outcome = if plan.is_noop() && same {
        Outcome::Unchanged
    } else {
        session.carry_out("", "init", &plan, |registry| {
            registry.set("base_domain", base_domain.as_str())?;
            redis::remember(registry, setup.takeover)?;
            if let Some(program) = &store {
                registry.set(storage::STORE, &program.to_string())?;
            }
            registry.own("", plan.wanted().chain(&away))
        })?
    };
    if session.mode == Mode::Run && known.is_none() {
        // Only now there is one for certain.
        let print = session.host.vault.fingerprint()?;
        session.store.change(|registry| registry.set(VAULT_KEY, &print))?;
    }
    if session.mode == Mode::Run && outcome == Outcome::Changed {
        session.host.systemd.restart(&UnitName::own("hostkit-gc.timer"))?;
    }
    Ok((outcome, Host { base_domain }))
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
