//! From a project's values to the resources it is made of. Pure: no host, no clock, no chance.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::{
    Launch, ProjectSpec, builder,
    front::{Certificate, live},
    runs,
    template::{Http2, LogrotateVars, NginxHostVars, Templates},
};
use crate::{
    domain::{
        address::Address,
        env::EnvKey,
        layout::{HostPath, UnitName, host},
        name::ProjectName,
        release::ReleaseId,
        runtime::Runtime,
    },
    resource::{
        Any, Directory, EnvFile, KeyFile, Link, LogFile, ManagedFile, Release, Site, Unit, UnixAccount,
    },
};

const ROOT: u32 = 0;
/// The group that may read the logs of the host; the distribution gives it this number.
const ADM: u32 = 4;

/// A project, in the order it goes up.
pub fn project_resources(spec: &ProjectSpec, templates: &Templates) -> Result<Vec<Any>> {
    let mut all: Vec<Any> = vec![
        UnixAccount {
            name: spec.name.to_string(),
            uid: spec.uid,
            home: spec.name.home().to_string(),
            login: true,
        }
        .into(),
    ];
    all.extend(directories(spec).into_iter().map(Any::from));
    all.extend(spec.build.iter().flat_map(|builder| builder.resources(spec)));
    // Its variables lead to them, and its process to what they lead to.
    all.extend(spec.services().into_iter().flat_map(|service| service.resources(spec)));
    all.push(env(spec)?.into());
    if spec.deploy_key {
        all.push(KeyFile { path: spec.name.deploy_key(spec.uid), gid: ROOT }.into());
    }
    let logs = ["app.log", "error.log"].map(|log| spec.name.logs().join(log));
    for path in logs.into_iter().chain(spec.surges().then(|| runs::surge_log(spec))) {
        all.push(LogFile { path, uid: ROOT, gid: spec.uid }.into());
    }
    // Where nginx logs: a site whose log has no directory would keep nginx from starting.
    all.push(LogFile { path: spec.name.access_log(), uid: spec.web.0, gid: ADM }.into());
    all.push(logrotate(spec, templates)?.into());
    all.extend(spec.kept.iter().map(|id| release(&spec.name, spec.uid, id).into()));
    if let Some((id, launch)) = &spec.live {
        all.push(Link { path: spec.name.app(), target: ProjectName::app_target(id) }.into());
        if launch.runtime == Runtime::Python {
            all.push(Link { path: spec.name.venv(), target: "app/.venv".into() }.into());
        }
        if let Some(exec) = &launch.exec {
            all.extend(runs::units(spec, launch, exec, templates)?);
        }
    }
    all.extend(spec.certificate_resources());
    all.extend(runs::processes(spec, templates)?);
    all.extend(spec.backups.iter().flat_map(|schedule| schedule.resources(&spec.name)));
    Ok(all)
}

fn directories(spec: &ProjectSpec) -> Vec<Directory> {
    let (name, p) = (&spec.name, spec.uid);
    // Short enough for a file name, whatever a shared directory is called.
    let leftover = |what: &str| {
        let slug: String = what.replace('/', "-").chars().take(40).collect();
        Some(host::home_trash().join(&format!("{name}.{p}.left-{slug}")))
    };
    // The web server passes through the home only where it has files to serve.
    let visitor = (spec.runtime() == Some(Runtime::Static) || spec.has_fpm()).then_some(spec.web.0);
    let dir = |path: HostPath, uid, gid, mode, trash| Directory {
        path,
        uid,
        gid,
        mode,
        visitor: None,
        trash,
        whole: false,
    };
    let mut all = vec![
        Directory { visitor, whole: true, ..dir(name.home(), ROOT, p, 0o750, Some(name.home_trash(p))) },
        Directory { whole: true, ..dir(name.logs(), ROOT, p, 0o2750, Some(name.log_trash(p))) },
        dir(name.releases(), ROOT, ROOT, 0o755, leftover("releases")),
        dir(name.shared(), p, p, 0o2770, leftover("shared")),
        dir(name.home().join("incoming"), p, p, 0o700, leftover("incoming")),
        dir(name.home().join(".cache"), p, p, 0o700, leftover("cache")),
    ];
    if spec.has_fpm() {
        all.push(dir(name.php_sessions(), p, p, 0o2770, leftover("php-sessions")));
    }
    if spec.build.is_some() {
        all.push(dir(name.build_logs(), ROOT, p, 0o750, None));
    }
    for shared in &spec.shared {
        let mut path = name.shared();
        for part in shared.as_str().split('/') {
            path = path.join(part);
            if !all.iter().any(|d| d.path == path) {
                all.push(dir(path.clone(), p, p, 0o2770, leftover(shared.as_str())));
            }
        }
    }
    all
}

/// A project's environment file.
pub fn env(spec: &ProjectSpec) -> Result<EnvFile> {
    let pairs = [
        ("PROJECT_NAME", spec.name.to_string()),
        ("PORT", spec.port.to_string()),
        ("HOST", "127.0.0.1".to_owned()),
    ];
    let mut keys: BTreeMap<EnvKey, String> = BTreeMap::new();
    for (key, value) in pairs {
        keys.insert(key.parse()?, value);
    }
    let more: &[(&str, &str)] = match spec.runtime() {
        Some(Runtime::Node) => &[("NODE_ENV", "production")],
        // Its server binds to `HOSTNAME`, and to every address without it.
        Some(Runtime::Nextjs) => &[("NODE_ENV", "production"), ("HOSTNAME", "127.0.0.1")],
        // Otherwise its log lines wait in a buffer until there are enough of them.
        Some(Runtime::Python) => &[("PYTHONUNBUFFERED", "1")],
        Some(Runtime::Php) => &[("APP_ENV", "production")],
        Some(Runtime::Ruby) => &[("RACK_ENV", "production"), ("RAILS_ENV", "production")],
        Some(Runtime::Static | Runtime::Command) | None => &[],
    };
    for (key, value) in more {
        keys.insert(key.parse()?, (*value).to_owned());
    }
    if let Some(commit) = spec.live.as_ref().and_then(|(_, launch)| launch.commit.as_ref()) {
        for key in Launch::COMMIT {
            keys.insert(key.parse()?, commit.clone());
        }
    }
    let mut sealed = BTreeMap::new();
    for service in spec.services() {
        keys.extend(service.plain(spec));
        sealed.extend(service.sealed(spec));
    }
    // Nothing that HostKit itself sets comes out of the vault.
    for (key, secret) in &spec.injected {
        if !keys.contains_key(key) {
            sealed.entry(key.clone()).or_insert_with(|| secret.value.clone());
        }
    }
    Ok(EnvFile { path: spec.name.env(), gid: spec.uid, keys, sealed, users: None })
}

fn logrotate(spec: &ProjectSpec, templates: &Templates) -> Result<ManagedFile> {
    let vars = LogrotateVars { name: spec.name.as_str(), logs: spec.name.logs().to_string() };
    Ok(ManagedFile { path: spec.name.logrotate(), body: templates.logrotate(&vars)?, gid: ROOT, mode: 0o644 })
}

/// A release's tree as a resource.
pub fn release(name: &ProjectName, uid: u32, id: &ReleaseId) -> Release {
    let trash = host::home_trash().join(&format!("{name}.{uid}.{id}"));
    Release { path: name.release(id), manifest: name.manifest(id), staging: name.staging(id), trash }
}

/// What of nginx's configuration on the host is HostKit's.
#[derive(Clone, Debug, Default)]
pub struct HostFront {
    /// Whether the kernel speaks IPv6.
    pub ipv6: bool,
    /// How this nginx is told to speak HTTP/2.
    pub http2: Http2,
    /// The ports on which another site answers to what nobody answers to.
    pub taken: BTreeSet<u16>,
    /// The certificate of all names under the base domain, and for which address it is.
    pub certificate: Option<(Address, Certificate)>,
}

/// What HostKit needs on the host itself, in the order it goes up.
pub fn host_resources(templates: &Templates, front: &HostFront) -> Result<Vec<Any>> {
    let dir = |path: HostPath, mode| {
        Any::from(Directory { path, uid: ROOT, gid: ROOT, mode, visitor: None, trash: None, whole: false })
    };
    let unit = |name: &str, body: &str, enabled, wanted_by| {
        Any::from(Unit::new(UnitName::own(name), body.to_owned(), enabled, wanted_by))
    };
    let certificate = front.certificate.as_ref();
    let (body, fingerprint) = templates.nginx_host(&NginxHostVars {
        ipv6: front.ipv6,
        http2: front.http2,
        default_plain: !front.taken.contains(&80),
        default_tls: !front.taken.contains(&443),
        certificate: certificate.map(|(address, _)| live(address)),
        number: certificate.map_or(0, |(_, certificate)| certificate.number),
        tls_settings: host::tls_settings().to_string(),
        socket: host::nginx_socket().to_string(),
        fingerprint: String::new(),
    })?;
    let nginx = Site {
        name: "hostkit-host".into(),
        path: host::nginx_conf(),
        link: None,
        domain: None,
        domains: Vec::new(),
        body,
        fingerprint,
    };
    let pair = certificate.map_or_else(Vec::new, |(address, certificate)| certificate.resources(address));
    let mut all = vec![
        dir(host::etc(), 0o711),
        dir(host::templates(), 0o755),
        dir(host::secrets(), 0o700),
        KeyFile { path: host::master_key(), gid: ROOT }.into(),
        dir(host::state(), 0o711),
        dir(host::backups(), 0o700),
        dir(host::redis_homes(), 0o711),
        dir(host::run(), 0o711),
        dir(host::locks(), 0o700),
        dir(host::home_trash(), 0o700),
        dir(host::logs(), 0o755),
        dir(host::log_trash(), 0o700),
        dir(host::caches(), 0o711),
        ManagedFile { path: host::firewall(), body: builder::rules_at_boot(), gid: ROOT, mode: 0o640 }.into(),
        unit("hostkit-firewall.service", builder::FIREWALL_SERVICE, true, "sysinit.target"),
        builder::firewall().into(),
        ManagedFile { path: host::tmpfiles(), body: TMPFILES.to_owned(), gid: ROOT, mode: 0o644 }.into(),
        dir(host::nginx_dropin().file().parent(), 0o755),
        Unit::new(host::nginx_dropin(), DROPIN.to_owned(), false, "multi-user.target").into(),
        dir(host::tls(), 0o700),
        dir(host::tls_trash(), 0o700),
        dir(host::challenges(), 0o755),
        dir(host::certbot(), 0o700),
        ManagedFile { path: host::tls_settings(), body: templates.nginx_tls()?, gid: ROOT, mode: 0o644 }
            .into(),
    ];
    all.extend(pair);
    all.extend([
        nginx.into(),
        unit("hostkit-gc.service", GC_SERVICE, false, "multi-user.target"),
        unit("hostkit-gc.timer", GC_TIMER, true, "timers.target"),
        unit("hostkit-up.service", UP_SERVICE, true, "multi-user.target"),
        unit("hostkit-certificates.service", CERTIFICATES_SERVICE, false, "multi-user.target"),
        unit("hostkit-certificates.timer", CERTIFICATES_TIMER, true, "timers.target"),
    ]);
    Ok(all)
}

const TMPFILES: &str = "\
# Managed by HostKit.
d /run/hostkit 0711 root root -
d /run/hostkit/locks 0700 root root -
";

const DROPIN: &str = "\
# Managed by HostKit. A killed nginx leaves its status socket behind and could not start again.
[Service]
ExecStartPre=-/bin/rm -f /run/hostkit/nginx.sock
";

const GC_SERVICE: &str = "\
# Managed by HostKit.
[Unit]
Description=HostKit: empty the trash

[Service]
Type=oneshot
ExecStart=/usr/local/bin/hostkit gc
Nice=19
IOSchedulingClass=idle
";

// No project's name is as short, so no project's unit is called so.
const UP_SERVICE: &str = "\
# Managed by HostKit.
[Unit]
Description=HostKit: go on with what was interrupted when the server went down
After=network.target nginx.service postgresql.service redis-server.service

[Service]
Type=oneshot
ExecStart=/usr/local/bin/hostkit --quiet repair --interrupted

[Install]
WantedBy=multi-user.target
";

const CERTIFICATES_SERVICE: &str = "\
# Managed by HostKit.
[Unit]
Description=HostKit: renew certificates that are due, and ask for those that are missing
After=network-online.target nginx.service
Wants=network-online.target

[Service]
Type=oneshot
ExecStart=/usr/local/bin/hostkit --quiet ssl renew --due
";

const CERTIFICATES_TIMER: &str = "\
# Managed by HostKit.
[Unit]
Description=HostKit: look after certificates every hour

[Timer]
OnCalendar=hourly
RandomizedDelaySec=30min
Persistent=true

[Install]
WantedBy=timers.target
";

const GC_TIMER: &str = "\
# Managed by HostKit.
[Unit]
Description=HostKit: empty the trash every day

[Timer]
OnCalendar=daily
RandomizedDelaySec=1h
Persistent=true

[Install]
WantedBy=timers.target
";
