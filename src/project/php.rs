//! php-fpm: one process for one release, started with a configuration that lies in the release.

/// What starts it. It stays in the foreground, and reads the configuration that [`CONFIG`] is.
pub const FPM: &[&str] = &["php-fpm", "--nodaemonize", "--force-stderr", "--fpm-config", FILE];

/// Where its configuration lies in a release.
pub const FILE: &str = ".hostkit/php-fpm.conf";

/// Its configuration. The port is that of the process, which another release's beside it does not share;
/// php-fpm fills it in from its environment.
pub const CONFIG: &str = "\
[global]
error_log = /dev/stderr
daemonize = no
systemd_interval = 0

[app]
listen = 127.0.0.1:${PORT}
pm = dynamic
pm.max_children = 20
pm.start_servers = 2
pm.min_spare_servers = 1
pm.max_spare_servers = 4
pm.max_requests = 1000
clear_env = no
catch_workers_output = yes
decorate_workers_output = no
security.limit_extensions = .php
request_terminate_timeout = 120s
php_admin_flag[log_errors] = on
php_admin_value[error_log] = /dev/stderr
php_admin_flag[display_errors] = off
php_admin_value[memory_limit] = 256M
php_value[upload_max_filesize] = 50M
php_value[post_max_size] = 50M
";
