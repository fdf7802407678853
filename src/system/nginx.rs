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

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::exec::{Tool, tail};
use crate::domain::{
    fault::{Code, Fault},
    layout,
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
    /// Tests the configuration on disk, has nginx load it, and waits until no worker serves the old
    /// one to new visitors. `domain` is the name that has just
    /// been added: another site that claims it too is an error, though nginx only warns.
    fn load(&mut self, domain: Option<&str>) -> Result<()>;
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
    fn is_loading(&self) -> bool {
        layout::host::nginx_loading().as_path().exists()
    }
    fn load(&mut self, domain: Option<&str>) -> Result<()> {
        let tested = Tool::find("nginx", "nginx")?.output(["-t"])?;
        if !tested.status.success() {
            let reason =
                tested.stderr.lines().find(|l| l.contains("[emerg]")).unwrap_or(tail(&tested.stderr));
            return Err(Fault::new(Code::NginxRefused, format!("nginx refuses its configuration: {reason}"))
                .next("nginx -t")
                .into());
        }
        if let Some(domain) = domain
            && tested.stderr.lines().any(|l| l.contains(&format!("conflicting server name \"{domain}\"")))
        {
            return Err(Fault::new(
                Code::Foreign,
                format!("another nginx site already answers for `{domain}`"),
            )
            .next(format!("grep -rl {domain} /etc/nginx/sites-enabled /etc/nginx/conf.d"))
            .into());
        }
        let master = master()?;
        let old = accepting(master)?;
        // Written down first: whoever finds us dead must not trust what the old workers still say.
        let note = layout::host::nginx_loading();
        std::fs::write(note.as_path(), b"").with_context(|| format!("writing `{note}`"))?;
        kill(master, Signal::SIGHUP).context("asking nginx to reload")?;
        let deadline = Instant::now() + LOADED_WITHIN;
        // Old workers go on accepting for about 100 ms. Until they stop, a visitor may still meet the
        // old configuration, and what it leads to must not be taken away.
        while old.iter().any(|worker| is_accepting(*worker)) {
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
        match std::fs::remove_file(note.as_path()) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(e).with_context(|| format!("removing `{note}`"))
            }
            _ => Ok(()),
        }
    }
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
