//! How php-fpm serves a release of an application in PHP.
//!
//! Every instance of such a project is a php-fpm of its own, on the instance's port and as the project's
//! account: what keeps other processes in their place keeps it there too. nginx names the script by the path
//! of the release, so that an old instance goes on with old code and a new one never sees it.

use serde::{Deserialize, Serialize};

use super::ProjectSpec;
use crate::domain::{command::StartCommand, fault::Fault};

/// How many requests an instance answers at a time; more wait.
const CHILDREN: u16 = 10;
/// How many requests a process answers before another takes its place: what leaks is given back.
const REQUESTS: u16 = 1000;
/// The largest body of a request, as nginx takes it too.
const BODY: &str = "50M";

/// What php-fpm needs to know of a release besides its start command.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fpm {
    /// What is run before it starts, each time, and with its environment. It does without if it has to.
    pub warm_up: Vec<StartCommand>,
    /// Variables of the framework's.
    pub environment: Vec<(String, String)>,
}

impl Fpm {
    /// The start command; the configuration lies in the project's home, where it starts.
    pub const START: [&str; 4] = ["php-fpm", "--nodaemonize", "--force-stderr", "--fpm-config"];
    /// The configuration, as it lies in the project's home.
    pub const CONFIG: &str = ".php-fpm.conf";

    /// What Laravel keeps of its configuration and its routes is made out of the environment of the moment,
    /// and lies where only the process sees it: no secret gets into a release.
    pub fn laravel() -> Result<Self, Fault> {
        let caches = [("APP_CONFIG_CACHE", "config"), ("APP_ROUTES_CACHE", "routes-v7")];
        let warm = |what: &str| {
            let words = ["php", "app/artisan", what].map(str::to_owned);
            StartCommand::from_argv(&words)
        };
        Ok(Self {
            warm_up: vec![warm("config:cache")?, warm("route:cache")?],
            environment: caches
                .map(|(key, file)| (key.to_owned(), format!("/tmp/laravel-{file}.php")))
                .into(),
        })
    }
}

impl ProjectSpec {
    /// Whether php-fpm serves the live release.
    pub fn has_fpm(&self) -> bool {
        self.live.as_ref().is_some_and(|(_, launch)| launch.fpm.is_some())
    }
}

/// The configuration: the same for every release and every instance, which its environment tells its port.
pub(super) fn config(spec: &ProjectSpec) -> String {
    let (name, sessions) = (&spec.name, spec.name.php_sessions());
    format!(
        "; Managed by HostKit: changes are undone by `hostkit repair {name}`.
[global]
daemonize = no
; What it has to say goes to the log of the project.
error_log = /dev/null
log_limit = 8192
; Whoever is told to end finishes what it answers first.
process_control_timeout = 25s

[{name}]
listen = 127.0.0.1:${{PORT}}
pm = ondemand
pm.max_children = {CHILDREN}
pm.process_idle_timeout = 60s
pm.max_requests = {REQUESTS}
clear_env = no
catch_workers_output = yes
decorate_workers_output = no
; Nothing else is a program, whatever somebody has uploaded.
security.limit_extensions = .php
php_admin_value[cgi.fix_pathinfo] = 0
php_admin_value[fastcgi.logging] = 0
php_admin_value[log_errors] = 1
php_admin_value[expose_php] = 0
php_value[display_errors] = 0
php_value[upload_max_filesize] = {BODY}
php_value[post_max_size] = {BODY}
php_value[session.save_path] = {sessions}
php_value[session.gc_probability] = 1
"
    )
}
