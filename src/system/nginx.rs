//! The web server: testing and loading its configuration, and asking what it has loaded.
//!
//! Every site of HostKit's answers its fingerprint on a status socket. So "is it loaded?" is a fact
//! that can be observed in the running nginx, and a crash between writing a site and reloading is
//! found by the next plan.

use std::{
    fmt,
    io::{Read, Write},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::exec::{Ran, Tool, tail};
use crate::domain::{
    fault::{Code, Fault},
    layout::{self, HostPath},
};

const PATIENCE: Duration = Duration::from_secs(2);
/// How long a reload may take.
const LOADED_WITHIN: Duration = Duration::from_secs(5);
const PACE: Duration = Duration::from_millis(2);
const PID_FILE: &str = "/run/nginx.pid";

/// Asking and telling nginx.
pub trait Nginx: fmt::Debug {
    /// The fingerprint of the site called `site` in the configuration that is running; `None` when
    /// it has no such site, or nothing runs.
    fn loaded(&self, site: &str) -> Result<Option<String>>;
    /// Whether nginx runs.
    fn is_up(&self) -> bool;
    /// Whether it was told to load a configuration and has not been seen to have done so. What
    /// [`Self::loaded`] says may then be about to change.
    fn is_loading(&self) -> bool;
    /// Has nginx test and load the configuration on disk, and waits until no worker serves the old
    /// one to new visitors. A configuration that nginx refuses changes nothing that runs. `domains`
    /// are the names of the site that has changed: another site that claims one too is an error, though
    /// nginx only warns.
    fn load(&mut self, domains: &[&str]) -> Result<()>;
    /// The version of the program that is installed.
    fn version(&self) -> Result<Version>;
}

/// nginx's version: 1.22.1 is `(1, 22, 1)`.
pub type Version = (u16, u16, u16);

/// Reads `nginx version: nginx/1.22.1 (Debian)`.
fn version(said: &str) -> Option<Version> {
    let number = said.split_once("nginx/")?.1.split([' ', '\n']).next()?;
    let mut parts = number.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??, parts.next()??))
}

/// The nginx of this machine.
#[derive(Debug)]
pub struct Running;

impl Nginx for Running {
    fn loaded(&self, site: &str) -> Result<Option<String>> {
        let Ok(mut stream) = UnixStream::connect(layout::host::nginx_socket().as_path()) else {
            return Ok(None);
        };
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        write!(stream, "GET / HTTP/1.0\r\nHost: {site}\r\n\r\n").context("asking nginx")?;
        let mut answer = String::new();
        stream.take(4096).read_to_string(&mut answer).context("hearing from nginx")?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        Ok(head
            .split_ascii_whitespace()
            .nth(1)
            .filter(|status| *status == "200")
            .map(|_| body.trim().to_owned()))
    }
    fn is_up(&self) -> bool {
        master().is_ok()
    }
    fn version(&self) -> Result<Version> {
        let said = Tool::find("nginx", "nginx")?.output(["-v"])?.stderr;
        version(&said).with_context(|| format!("nginx does not say its version: {}", tail(&said)))
    }
    fn is_loading(&self) -> bool {
        layout::host::nginx_loading().as_path().exists()
    }
    fn load(&mut self, domains: &[&str]) -> Result<()> {
        if let Some((domain, file)) = claimed(domains)? {
            return Err(conflict(domain, &file));
        }
        let nginx = Tool::find("nginx", "nginx")?;
        let master = master()?;
        let old = accepting(master)?;
        // Written down first: whoever finds us dead must not trust what the old workers still say.
        let note = layout::host::nginx_loading();
        std::fs::write(note.as_path(), b"").with_context(|| format!("writing `{note}`"))?;
        kill(master, Signal::SIGHUP).context("asking nginx to reload")?;
        // nginx reads everything before it changes anything, and keeps what it has when it cannot. So
        // the test, which reads as much, runs beside the load; it is there for the reason.
        std::thread::scope(|scope| {
            let test = scope.spawn(|| nginx.output(["-t"]));
            let mut test = Some(test);
            let deadline = Instant::now() + LOADED_WITHIN;
            loop {
                if let Some(ended) = test.take_if(|test| test.is_finished()) {
                    verdict(&ended.join().map_err(|_| anyhow!("testing nginx's configuration"))??, domains)?;
                }
                // Old workers go on accepting for about 100 ms. Until they stop, a visitor may still
                // meet the old configuration, and what it leads to must not be taken away.
                if test.is_none() && !old.iter().any(|worker| is_accepting(*worker)) {
                    return forget(&note);
                }
                if Instant::now() >= deadline {
                    return Err(Fault::new(
                        Code::NginxRefused,
                        "nginx accepted its configuration and did not load it",
                    )
                    .next("journalctl -u nginx -n 20")
                    .into());
                }
                std::thread::sleep(PACE);
            }
        })
    }
}

/// What nginx's own test says of the configuration.
fn verdict(tested: &Ran, domains: &[&str]) -> Result<()> {
    if !tested.status.success() {
        // It was refused by the running nginx for the same reason, so nothing is about to change.
        if tested.status.code().is_some() {
            forget(&layout::host::nginx_loading())?;
        }
        let reason = tested.stderr.lines().find(|l| l.contains("[emerg]")).unwrap_or(tail(&tested.stderr));
        return Err(Fault::new(Code::NginxRefused, format!("nginx refuses its configuration: {reason}"))
            .next("nginx -t")
            .into());
    }
    let conflicts = |domain: &&&str| {
        let warning = format!("conflicting server name \"{domain}\"");
        tested.stderr.lines().any(|line| line.contains(&warning))
    };
    match domains.iter().find(conflicts) {
        Some(domain) => Err(conflict(domain, "/etc/nginx")),
        None => Ok(()),
    }
}

fn forget(note: &HostPath) -> Result<()> {
    match std::fs::remove_file(note.as_path()) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("removing `{note}`"))
        }
        _ => Ok(()),
    }
}

fn conflict(domain: &str, place: &str) -> anyhow::Error {
    Fault::new(Code::Foreign, format!("another nginx site already answers for `{domain}`"))
        .next(format!("grep -rn {domain} {place}"))
        .into()
}

/// The first of these names that a site which is not ours has too, and its file. Ours are told apart by the
/// registry, which gives no domain twice. What is included from elsewhere is seen by nginx's own test.
fn claimed<'d>(domains: &[&'d str]) -> Result<Option<(&'d str, String)>> {
    if domains.is_empty() {
        return Ok(None);
    }
    for (path, text) in foreign()? {
        if let Some(domain) = domains.iter().find(|domain| names(&text, domain)) {
            return Ok(Some((domain, path)));
        }
    }
    Ok(None)
}

/// The sites that are not ours: their files, and what is in them.
fn foreign() -> Result<Vec<(String, String)>> {
    let mut all = Vec::new();
    for folder in ["/etc/nginx/sites-enabled", "/etc/nginx/conf.d"] {
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        for entry in entries {
            let entry = entry.with_context(|| format!("listing `{folder}`"))?;
            if !entry.file_name().as_encoded_bytes().starts_with(b"hostkit") {
                let text = std::fs::read(entry.path()).unwrap_or_default();
                all.push((entry.path().display().to_string(), String::from_utf8_lossy(&text).into_owned()));
            }
        }
    }
    Ok(all)
}

/// Whether a `server_name` of this configuration text is `domain`.
fn names(text: &str, domain: &str) -> bool {
    directives(text).iter().any(|words| {
        let mut words = words.iter();
        words.next().is_some_and(|first| first == "server_name")
            && words.any(|word| word.eq_ignore_ascii_case(domain))
    })
}

/// The directives of a configuration text, each with its words; blocks are not told apart. Good enough to
/// find what is said, not to find out what holds.
pub fn directives(text: &str) -> Vec<Vec<String>> {
    let plain: String = text.lines().flat_map(|l| [l.split('#').next().unwrap_or(""), "\n"]).collect();
    let words = |directive: &str| -> Vec<String> {
        let words = directive.split_ascii_whitespace();
        words.map(|word| word.trim_matches(['"', '\'']).to_owned()).collect()
    };
    plain.split([';', '{', '}']).map(words).filter(|words| !words.is_empty()).collect()
}

/// The workers of `master` that accept connections.
fn accepting(master: Pid) -> Result<Vec<Pid>> {
    let text = std::fs::read_to_string(format!("/proc/{master}/task/{master}/children"))
        .context("listing nginx's workers")?;
    let workers = text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok().map(Pid::from_raw));
    Ok(workers.filter(|worker| is_accepting(*worker)).collect())
}

/// A worker that was told to go says so in its title, and closes its listening sockets.
fn is_accepting(worker: Pid) -> bool {
    std::fs::read(format!("/proc/{worker}/cmdline"))
        .is_ok_and(|title| !title.is_empty() && !String::from_utf8_lossy(&title).contains("shutting down"))
}

fn master() -> Result<Pid> {
    let down = || {
        Fault::new(Code::ServiceDown, "nginx is not running")
            .next("systemctl start nginx")
            .next("systemctl status nginx")
    };
    let text = std::fs::read_to_string(PID_FILE).map_err(|_| down())?;
    let pid: i32 = text.trim().parse().map_err(|_| down())?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).map_err(|_| down())?;
    if name.trim() != "nginx" || pid <= 1 {
        bail!(down());
    }
    Ok(Pid::from_raw(pid))
}

#[cfg(test)]
mod tests {
    use super::{names, version};

    #[test]
    fn the_version_is_read_however_the_distribution_decorates_it() {
        assert_eq!(version("nginx version: nginx/1.22.1\n"), Some((1, 22, 1)));
        assert_eq!(version("nginx version: nginx/1.18.0 (Ubuntu)\n"), Some((1, 18, 0)));
        assert_eq!(version("nginx: not found"), None);
    }

    #[test]
    fn a_foreign_site_that_names_the_domain_is_seen_before_nginx_is_told() {
        let named = |text| names(text, "blog.example.test");
        assert!(named("server {\n  listen 80;\n  server_name a.test blog.example.test;\n}"));
        assert!(named("server{server_name \"Blog.Example.Test\";}"));
        assert!(!named("# server_name blog.example.test;\nserver { server_name b.test; }"));
        assert!(!named("server { server_name blog.example.test.org; proxy_pass http://blog.example.test; }"));
    }
}
