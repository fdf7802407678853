//! Every path HostKit knows. No other module spells one.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    address::Address,
    backup::{BackupId, Scope},
    name::ProjectName,
    release::ReleaseId,
};

/// An absolute path on the host, made only from the constants and checked names of this module.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HostPath(PathBuf);

impl HostPath {
    /// A path spelled by HostKit itself; absolute and without `.` or `..`.
    pub(crate) fn fixed(text: impl Into<PathBuf>) -> Self {
        let path = text.into();
        debug_assert!(
            path.is_absolute() && !path.components().any(|c| c.as_os_str() == ".."),
            "{}",
            path.display()
        );
        Self(path)
    }
    /// The path of an entry below this one; `entry` is a checked name or a relative path of such.
    pub(crate) fn join(&self, entry: &str) -> Self {
        Self::fixed(self.0.join(entry))
    }
    /// As the standard library wants it.
    pub fn as_path(&self) -> &Path {
        &self.0
    }
    /// The directory it lies in.
    pub fn parent(&self) -> Self {
        Self(self.0.parent().unwrap_or(Path::new("/")).to_owned())
    }
    /// The last part of the path.
    pub fn file_name(&self) -> &str {
        self.0.file_name().and_then(|n| n.to_str()).unwrap_or_default()
    }
    /// Whether it lies below `tree`, or is `tree`.
    pub fn is_within(&self, tree: &Self) -> bool {
        self.0.starts_with(&tree.0)
    }
}

impl fmt::Display for HostPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

/// HostKit's own places.
pub mod host {
    use super::{Address, HostPath, UnitName};

    /// PHP on the command line; a link to one of its versions.
    pub fn php() -> HostPath {
        HostPath::fixed("/usr/bin/php")
    }
    /// Configuration, and the administrator's template overrides below it.
    pub fn etc() -> HostPath {
        HostPath::fixed("/etc/hostkit")
    }
    /// Where an administrator may override a template.
    pub fn templates() -> HostPath {
        etc().join("templates")
    }
    /// The key that secrets are sealed with.
    pub fn master_key() -> HostPath {
        etc().join("master.key")
    }
    /// What only root may read: the passwords of HostKit's own logins.
    pub fn secrets() -> HostPath {
        etc().join("secrets")
    }
    /// Data of Redis servers that are one project's alone.
    pub fn redis_homes() -> HostPath {
        state().join("redis")
    }
    /// What the object store is started with: its token and its secret, as systemd reads them.
    pub fn store_secrets() -> HostPath {
        secrets().join("garage")
    }
    /// The object store's configuration.
    pub fn store_conf() -> HostPath {
        etc().join("garage.toml")
    }
    /// The object store. No project's name is as short, so no project's unit is called so.
    pub fn store_unit() -> UnitName {
        UnitName::own("hostkit-s3.service")
    }
    /// HostKit's state.
    pub fn state() -> HostPath {
        HostPath::fixed("/var/lib/hostkit")
    }
    /// The registry and the journal: one SQLite file.
    pub fn registry() -> HostPath {
        state().join("registry.db")
    }
    /// Backups and checkpoints, a directory for each project.
    pub fn backups() -> HostPath {
        state().join("backups")
    }
    /// What commands say that outlive whoever called them, a directory for each project.
    pub fn calls() -> HostPath {
        state().join("calls")
    }
    /// What builds keep from one to the next, a directory for each project.
    pub fn caches() -> HostPath {
        HostPath::fixed("/var/cache/hostkit")
    }
    /// What the kernel's packet filter lets builds reach, as it is loaded at boot.
    pub fn firewall() -> HostPath {
        etc().join("firewall.nft")
    }
    /// Sockets and locks; empty after a reboot.
    pub fn run() -> HostPath {
        HostPath::fixed("/run/hostkit")
    }
    /// Kernel locks, one file per project and one for the host.
    pub fn locks() -> HostPath {
        run().join("locks")
    }
    /// Says that systemd may hold an older version of a unit file than the disk.
    pub fn reload_pending() -> HostPath {
        run().join("reload-pending")
    }
    /// Says of the running start of a unit that it is as good as what it was started from, though it is
    /// older.
    pub fn vouched(unit: &UnitName) -> HostPath {
        run().join(&format!("vouched:{unit}"))
    }
    /// Where the running nginx says which sites it has loaded.
    pub fn nginx_socket() -> HostPath {
        run().join("nginx.sock")
    }
    /// Says that nginx was told to load a configuration and was not yet seen to have done so.
    pub fn nginx_loading() -> HostPath {
        run().join("nginx-loading")
    }
    /// There as long as systemd runs.
    pub fn systemd_runs() -> HostPath {
        HostPath::fixed("/run/systemd/system")
    }
    /// Recreates [`run`] at boot.
    pub fn tmpfiles() -> HostPath {
        HostPath::fixed("/etc/tmpfiles.d/hostkit.conf")
    }
    /// HostKit's part of nginx's `http` block.
    pub fn nginx_conf() -> HostPath {
        HostPath::fixed("/etc/nginx/conf.d/hostkit.conf")
    }
    /// Certificates, and what is made on the way to them.
    pub fn tls() -> HostPath {
        etc().join("tls")
    }
    /// Certificates that were taken away.
    pub fn tls_trash() -> HostPath {
        tls().join(".trash")
    }
    /// The certificates of an address, by number, and the link to the one that nginx reads.
    pub fn certificates(address: &Address) -> HostPath {
        tls().join(&address.file_name())
    }
    /// Where a certificate is put together and checked before it takes its place.
    pub fn staged_certificate(address: &Address) -> HostPath {
        tls().join(&format!(".staging-{}", address.file_name()))
    }
    /// What every site with TLS includes.
    pub fn tls_settings() -> HostPath {
        etc().join("nginx-tls.conf")
    }
    /// The answers to questions of certificate authorities: served by every site, written by certbot.
    pub fn challenges() -> HostPath {
        state().join("acme")
    }
    /// What certbot knows: accounts, orders, its own copies.
    pub fn certbot() -> HostPath {
        state().join("certbot")
    }
    /// HostKit's part of nginx's configuration outside of its `http` block.
    pub fn nginx_main() -> HostPath {
        HostPath::fixed("/etc/nginx/modules-enabled/90-hostkit.conf")
    }
    /// Lets nginx start again after it was killed with its status socket still there.
    pub fn nginx_dropin() -> UnitName {
        UnitName::own("nginx.service.d/hostkit.conf")
    }
    /// Units of HostKit's own.
    pub fn unit(name: &str) -> HostPath {
        HostPath::fixed("/etc/systemd/system").join(name)
    }
    /// Projects' homes.
    pub fn homes() -> HostPath {
        HostPath::fixed("/home")
    }
    /// Trees taken from [`homes`]; beside them, so that a rename is enough.
    pub fn home_trash() -> HostPath {
        homes().join(".hostkit-trash")
    }
    /// Projects' logs.
    pub fn logs() -> HostPath {
        HostPath::fixed("/var/log/projects")
    }
    /// Trees taken from [`logs`].
    pub fn log_trash() -> HostPath {
        logs().join(".trash")
    }
}

/// Places of the Redis server that projects share.
pub mod redis {
    use super::{HostPath, host};

    /// Its settings: HostKit's, after the distribution's.
    pub fn conf() -> HostPath {
        host::etc().join("redis.conf")
    }
    /// Its users.
    pub fn users() -> HostPath {
        HostPath::fixed("/etc/redis/users.acl")
    }
    /// The password of HostKit's user.
    pub fn key() -> HostPath {
        host::secrets().join("redis")
    }
    /// Where it listens for HostKit; only its own account can make a socket there.
    pub fn socket() -> HostPath {
        HostPath::fixed("/run/redis/hostkit.sock")
    }
}

/// A unit's name, such as `hostkit-blog.service`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UnitName(String);

impl UnitName {
    /// The name of one of HostKit's own units.
    pub(crate) fn own(name: &str) -> Self {
        Self(name.to_owned())
    }
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// Its file.
    pub fn file(&self) -> HostPath {
        host::unit(&self.0)
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The places of one project.
impl ProjectName {
    /// Its home: root's, so that nothing in it can be renamed or replaced by the project.
    pub fn home(&self) -> HostPath {
        host::homes().join(self.as_str())
    }
    /// Its releases.
    pub fn releases(&self) -> HostPath {
        self.home().join("releases")
    }
    /// One release.
    pub fn release(&self, id: &ReleaseId) -> HostPath {
        self.releases().join(id.as_str())
    }
    /// Where a release is made, seen by root alone.
    pub fn staging(&self, id: &ReleaseId) -> HostPath {
        self.releases().join(&format!(".staging-{id}"))
    }
    /// The environment that a release is to run with, while its migrations run.
    pub fn staging_env(&self, id: &ReleaseId) -> HostPath {
        self.releases().join(&format!(".staging-{id}.env"))
    }
    /// What a release holds, entry by entry; beside it, so that the release holds only its source.
    pub fn manifest(&self, id: &ReleaseId) -> HostPath {
        self.releases().join(&format!(".{id}.manifest"))
    }
    /// The live release: a link.
    pub fn app(&self) -> HostPath {
        self.home().join("app")
    }
    /// Where [`Self::app`] points for a release, relative to the home.
    pub fn app_target(id: &ReleaseId) -> String {
        format!("releases/{id}")
    }
    /// What outlives releases; the only place the application writes.
    pub fn shared(&self) -> HostPath {
        self.home().join("shared")
    }
    /// The environment of its processes.
    pub fn env(&self) -> HostPath {
        self.home().join(".env")
    }
    /// What php-fpm is told.
    pub fn fpm_config(&self) -> HostPath {
        self.home().join(".php-fpm.conf")
    }
    /// The sessions of PHP: they outlive releases, and are every instance's.
    pub fn php_sessions(&self) -> HostPath {
        self.shared().join(".php-sessions")
    }
    /// The Python environment of the live release: a link.
    pub fn venv(&self) -> HostPath {
        self.home().join("venv")
    }
    /// Its logs.
    pub fn logs(&self) -> HostPath {
        host::logs().join(self.as_str())
    }
    /// Where what it shares is put together before it takes the place of [`Self::shared`].
    pub fn incoming_shared(&self) -> HostPath {
        self.home().join(".shared-incoming")
    }
    /// Its backups and checkpoints. The number is never given out twice, so a project does not get to
    /// see those of another that once had its name.
    pub fn backups(&self, uid: u32) -> HostPath {
        host::backups().join(&format!("{self}.{uid}"))
    }
    /// One of its backups or checkpoints.
    pub fn backup(&self, uid: u32, id: &BackupId, scope: Scope) -> HostPath {
        self.backups(uid).join(&format!("{id}.{}", scope.word()))
    }
    /// Says that a restore is under way, or died: something may lie beside the project's data.
    pub fn restoring(&self, uid: u32) -> HostPath {
        self.backups(uid).join("restoring")
    }
    /// The unit that makes its backups, and the timer that starts it.
    pub fn backup_unit(&self) -> (UnitName, UnitName) {
        // No project has `_` in its name, so no project's own unit is called this.
        let unit = |kind: &str| UnitName(format!("hostkit-{self}_backup.{kind}"));
        (unit("service"), unit("timer"))
    }
    /// What its builds keep from one to the next: the home of its build account. The number is never given
    /// out twice.
    pub fn cache(&self, uid: u32) -> HostPath {
        host::caches().join(&format!("{self}.{uid}"))
    }
    /// What its builds wrote.
    pub fn build_logs(&self) -> HostPath {
        self.logs().join("builds")
    }
    /// What the build of one release wrote.
    pub fn build_log(&self, id: &ReleaseId) -> HostPath {
        self.build_logs().join(&format!("{id}.log"))
    }
    /// What the units of its build are told besides their arguments; read by systemd, gone with the build.
    pub fn build_env(&self) -> HostPath {
        host::locks().join(&format!("{self}_build.env"))
    }
    /// Says that somebody has asked for the end of the build that runs.
    pub fn build_cancelled(&self) -> HostPath {
        // In a directory of root's alone; no lock is called so, for no project has `_` in its name.
        host::locks().join(&format!("{self}_cancelled"))
    }
    /// The unit that its build runs in. No project has `_` in its name, so no project's own unit is called
    /// this.
    pub fn build_unit(&self) -> UnitName {
        UnitName(format!("hostkit-{self}_build.service"))
    }
    /// Its main unit.
    pub fn unit(&self) -> UnitName {
        UnitName(format!("hostkit-{self}.service"))
    }
    /// The unit of the `n`-th process of a kind, counted from 1.
    pub fn process_unit(&self, kind: &str, n: u16) -> UnitName {
        UnitName(format!("hostkit-{self}_{kind}-{n}.service"))
    }
    /// The unit of a process that runs at certain times, and the timer that starts it.
    pub fn cron_units(&self, kind: &str) -> (UnitName, UnitName) {
        let unit = |suffix: &str| UnitName(format!("hostkit-{self}_{kind}-cron.{suffix}"));
        (unit("service"), unit("timer"))
    }
    /// The unit of the instance that answers while the others are started anew.
    pub fn surge_unit(&self) -> UnitName {
        UnitName(format!("hostkit-{self}_surge.service"))
    }
    /// What an instance is told besides [`Self::env`]: a port of its own.
    pub fn port_file(&self, instance: &str) -> HostPath {
        self.home().join(&format!(".env.{instance}"))
    }
    /// What its commands say that outlive whoever called them. The number is never given out twice.
    pub fn calls(&self, uid: u32) -> HostPath {
        host::calls().join(&format!("{self}.{uid}"))
    }
    /// What one of them says; `id` is made of digits and `-`.
    pub fn call(&self, uid: u32, id: &str) -> HostPath {
        self.calls(uid).join(&format!("{id}.jsonl"))
    }
    /// The unit that one of them works in.
    pub fn call_unit(&self, id: &str) -> UnitName {
        UnitName(format!("hostkit-{self}_call-{id}.service"))
    }
    /// The unit that the steps of fetching its sources run in, one after the other.
    pub fn fetch_unit(&self) -> UnitName {
        UnitName(format!("hostkit-{self}_fetch.service"))
    }
    /// Where its sources are fetched to, while they are.
    pub fn fetched(&self) -> HostPath {
        host::state().join(&format!("{self}.fetched"))
    }
    /// What its key for repositories is made of. The number is the account's: no other project's is ever
    /// the same.
    pub fn deploy_key(&self, uid: u32) -> HostPath {
        host::secrets().join(&format!("{self}.{uid}.deploy-key"))
    }
    /// The unit that looks whether a new release crashes.
    pub fn probation_unit(&self, id: &ReleaseId) -> UnitName {
        UnitName(format!("hostkit-{self}_probation-{id}.service"))
    }
    /// The timer that starts it.
    pub fn probation_timer(&self, id: &ReleaseId) -> UnitName {
        UnitName(format!("hostkit-{self}_probation-{id}.timer"))
    }
    /// The unit that its migrations run in.
    pub fn release_unit(&self) -> UnitName {
        UnitName(format!("hostkit-{self}_release.service"))
    }
    /// What nginx answered for it. The distribution rotates it with nginx's own.
    pub fn access_log(&self) -> HostPath {
        HostPath::fixed("/var/log/nginx").join(&format!("hostkit-{self}.log"))
    }
    /// Its nginx site.
    pub fn site(&self) -> HostPath {
        HostPath::fixed("/etc/nginx/sites-available").join(&format!("hostkit-{self}"))
    }
    /// The link that has nginx read the site.
    pub fn site_link(&self) -> HostPath {
        HostPath::fixed("/etc/nginx/sites-enabled").join(&format!("hostkit-{self}"))
    }
    /// Its log rotation.
    pub fn logrotate(&self) -> HostPath {
        HostPath::fixed("/etc/logrotate.d").join(&format!("hostkit-{self}"))
    }
    /// Where its home goes when it is deleted. The number is never given out twice, so two projects
    /// that had the same name, one after the other, do not meet in the trash.
    pub fn home_trash(&self, uid: u32) -> HostPath {
        host::home_trash().join(&format!("{self}.{uid}"))
    }
    /// Where its logs go when it is deleted.
    pub fn log_trash(&self, uid: u32) -> HostPath {
        host::log_trash().join(&format!("{self}.{uid}"))
    }
}
