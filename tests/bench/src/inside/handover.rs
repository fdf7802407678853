//! A new release under load: what visitors notice of it, beside Capistrano with `systemctl restart`.
//!
//! Two hundred requests a second, half of them over connections that are kept open.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::{HOME, HOSTKIT, kit, run, say_note, say_pair, timed};
use crate::{Error, web};

const PROJECT: &str = "handed";
const VISITORS: u32 = 40;
const PACE: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(10);
/// The domain of what Capistrano deploys.
const OTHER: &str = "capistrano.test";
const OTHER_PORT: u16 = 7500;

/// Deploys and goes back `rounds` times on each side.
pub(super) fn measure(rounds: usize) -> Result<(), Error> {
    let host = format!("{PROJECT}.{}", crate::server::DOMAIN);
    run(&[HOSTKIT, "project", "create", PROJECT, "--source", kit::SOURCES[0]])?;
    web::until_visited(&host, 200, "Version")?;
    capistrano()?;
    let mut ours = Side::new(&host)?;
    let mut other = Side::new(OTHER)?;
    for round in 0..=rounds {
        let source = kit::SOURCES[(round + 1) % 2];
        ours.change(round, || {
            timed(&[HOSTKIT, "deploy", PROJECT, "--source", source, "--override-ratelimit"])
        })?;
        other.change(round, || timed(&["/bin/sh", "-euc", DEPLOY]))?;
    }
    say_pair("handover", &ours.took, &other.took);
    say_pair("gap", &ours.gaps, &other.gaps);
    ours.tell("hostkit deploy");
    other.tell("cap deploy and systemctl restart");
    let mut back = Side::new(&host)?;
    for round in 0..=rounds {
        back.change(round, || timed(&[HOSTKIT, "rollback", PROJECT]))?;
        // Forth again, so that there is always something to go back to.
        run(&[HOSTKIT, "deploy", PROJECT, "--source", kit::SOURCES[round % 2], "--override-ratelimit"])?;
    }
    let limit = vec![Duration::from_secs(2); back.took.len()];
    say_pair("rollback under load", &back.took, &limit);
    back.tell("hostkit rollback");
    switched(rounds)
}

/// The time from the moment at which a release has answered its health check to the moment at which a
/// visitor meets it. The app itself writes down the first.
fn switched(rounds: usize) -> Result<(), Error> {
    let host = format!("{PROJECT}.{}", crate::server::DOMAIN);
    let mut took = Vec::new();
    for round in 0..rounds {
        let source = format!("{HOME}/switched");
        let _ = fs::remove_dir_all(&source);
        fs::create_dir_all(&source)?;
        fs::write(
            Path::new(&source).join("package.json"),
            r#"{"name":"x","version":"1.0.0","main":"index.js"}"#,
        )?;
        fs::write(Path::new(&source).join("hostkit.toml"), "[health]\npath = \"/healthz\"\n")?;
        let script = format!(
            "let first = 0;
require('http').createServer((request, response) => {{
  if (request.url === '/healthz') {{ first = first || Date.now(); return response.end('ok'); }}
  response.end('round {round} ' + first);
}}).listen(process.env.PORT, process.env.HOST);\n"
        );
        fs::write(Path::new(&source).join("index.js"), script)?;
        let seen = std::thread::spawn({
            let (host, word) = (host.clone(), format!("round {round} "));
            move || -> Result<Duration, Error> {
                let end = Instant::now() + PATIENCE;
                while Instant::now() < end {
                    let answer = web::get(80, &host, "/")?;
                    if let Some(first) = answer.body.strip_prefix(&word) {
                        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
                        return Ok(now.saturating_sub(Duration::from_millis(first.trim().parse()?)));
                    }
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err("the new release was never met".into())
            }
        });
        run(&[HOSTKIT, "deploy", PROJECT, "--source", &source, "--override-ratelimit"])?;
        took.push(seen.join().map_err(|_| "the visitor panicked")??);
    }
    let limit = vec![Duration::from_millis(250); took.len()];
    say_pair("switch", &took, &limit);
    Ok(())
}

/// One side: visitors that stay, and what they noticed.
struct Side {
    host: String,
    took: Vec<Duration>,
    gaps: Vec<Duration>,
    failed: usize,
    asked: usize,
    reopened: usize,
}

impl Side {
    fn new(host: &str) -> Result<Self, Error> {
        web::until_visited(host, 200, "Version").or_else(|_| web::until_visited(host, 200, "round"))?;
        Ok(Self {
            host: host.to_owned(),
            took: Vec::new(),
            gaps: Vec::new(),
            failed: 0,
            asked: 0,
            reopened: 0,
        })
    }

    /// Does it under load. The first, cold round does not count.
    fn change(&mut self, round: usize, work: impl FnOnce() -> Result<Duration, Error>) -> Result<(), Error> {
        let visits = Visits::begin(&self.host);
        std::thread::sleep(Duration::from_millis(300));
        let took = work();
        std::thread::sleep(Duration::from_millis(700));
        let seen = visits.end()?;
        let took = took?;
        if round == 0 {
            return Ok(());
        }
        self.took.push(took);
        self.asked += seen.len();
        self.failed += seen.iter().filter(|visit| !visit.good).count();
        self.reopened += seen.iter().filter(|visit| visit.reopened).count();
        let mut good: Vec<Instant> = seen.iter().filter(|visit| visit.good).map(|visit| visit.at).collect();
        good.sort_unstable();
        let gap = good.windows(2).map(|pair| pair[1] - pair[0]).max();
        self.gaps.push(gap.unwrap_or_default());
        Ok(())
    }

    fn tell(&self, what: &str) {
        let longest = self.gaps.iter().max().copied().unwrap_or_default().as_millis();
        say_note(&format!(
            "{what}: {} of {} requests failed in {} rounds; longest time without an answer {longest} ms; {} idle \
             connections were closed",
            self.failed,
            self.asked,
            self.took.len(),
            self.reopened
        ));
    }
}

/// One request.
struct Visit {
    at: Instant,
    good: bool,
    /// Its idle connection had been closed, and it asked again on a new one, as every client does.
    reopened: bool,
}

struct Visits {
    stop: Arc<AtomicBool>,
    visitors: Vec<JoinHandle<Vec<Visit>>>,
}

impl Visits {
    fn begin(host: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let began = Instant::now();
        let visitor = |n: u32| {
            let (stop, host) = (Arc::clone(&stop), host.to_owned());
            std::thread::spawn(move || {
                let (mut due, mut all, mut open) = (began + PACE * n / VISITORS, Vec::new(), None);
                while !stop.load(Ordering::Relaxed) {
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    all.push(visit(&host, n.is_multiple_of(2), &mut open));
                    due = (due + PACE).max(Instant::now());
                }
                all
            })
        };
        Self { visitors: (0..VISITORS).map(visitor).collect(), stop }
    }

    fn end(self) -> Result<Vec<Visit>, Error> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for visitor in self.visitors {
            all.extend(visitor.join().map_err(|_| "a visitor panicked")?);
        }
        Ok(all)
    }
}

fn visit(host: &str, keeps: bool, open: &mut Option<BufReader<TcpStream>>) -> Visit {
    let mut reopened = false;
    let mut answer = open.take().map(|stream| exchange(stream, host, keeps));
    if matches!(answer, Some(Err(true))) {
        reopened = true;
        answer = None;
    }
    let answer = answer.unwrap_or_else(|| {
        let stream = TcpStream::connect(("127.0.0.1", 80)).map_err(|_| false)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(|_| false)?;
        exchange(BufReader::new(stream), host, keeps)
    });
    let good = answer.is_ok();
    *open = answer.unwrap_or_default().filter(|_| keeps);
    Visit { at: Instant::now(), good, reopened }
}

/// One request and its answer. The error says whether the connection was closed before any of it came.
fn exchange(
    mut stream: BufReader<TcpStream>,
    host: &str,
    keeps: bool,
) -> Result<Option<BufReader<TcpStream>>, bool> {
    let how = if keeps { "keep-alive" } else { "close" };
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: {how}\r\n\r\n");
    stream.get_mut().write_all(request.as_bytes()).map_err(|_| true)?;
    let (mut good, mut length, mut first) = (false, 0, true);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).map_err(|_| first)? == 0 {
            return Err(first);
        }
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if first {
            good = line.split(' ').nth(1) == Some("200");
            first = false;
        }
        if let Some(number) = line.strip_prefix("content-length:") {
            length = number.trim().parse().map_err(|_| false)?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).map_err(|_| false)?;
    // Without a length the end of the answer is not known, and the connection is not used again.
    if good { Ok((length > 0).then_some(stream)) } else { Err(false) }
}

/// The other side's deploy: what Capistrano does, and the restart that goes with it.
const DEPLOY: &str = "cd /root/bench/capistrano && sed -i 's/^\\/\\/ .*//' /root/bench/origin/server.js && \
date '+// %s.%N' >>/root/bench/origin/server.js && \
git -C /root/bench/origin commit -qam next && cap production deploy >/root/bench/cap.log 2>&1 && \
systemctl restart capistrano-app";

/// Sets up the same app, deployed by Capistrano to this server, under systemd and behind nginx.
fn capistrano() -> Result<(), Error> {
    if !Path::new("/usr/bin/cap").exists() {
        run(&[
            "/bin/sh",
            "-euc",
            "DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends capistrano git >/dev/null 2>&1",
        ])?;
    }
    let origin = format!("{HOME}/origin");
    run(&["/bin/cp", "-r", kit::SOURCES[0], &origin])?;
    let line = format!(
        "cd {origin} && git init -q -b main . && git config user.email a@b.test && git config user.name a && \
         git add -A && git commit -qm first && mkdir -p {HOME}/capistrano/config/deploy /srv/capistrano"
    );
    run(&["/bin/sh", "-euc", &line])?;
    // What `cap install` writes; Debian's looks for its template where it is not.
    fs::write(
        format!("{HOME}/capistrano/Capfile"),
        "require 'capistrano/setup'\nrequire 'capistrano/deploy'\nrequire 'capistrano/scm/git'\n\
         install_plugin Capistrano::SCM::Git\n",
    )?;
    fs::write(
        format!("{HOME}/capistrano/config/deploy.rb"),
        format!(
            "set :application, 'app'\nset :repo_url, 'file://{origin}'\nset :branch, 'main'\n\
             set :deploy_to, '/srv/capistrano'\nset :keep_releases, 5\nset :sshkit_backend, SSHKit::Backend::Local\n"
        ),
    )?;
    fs::write(
        format!("{HOME}/capistrano/config/deploy/production.rb"),
        "server 'localhost', roles: %w{app}\n",
    )?;
    fs::write(
        "/etc/systemd/system/capistrano-app.service",
        format!(
            "[Service]\nWorkingDirectory=/srv/capistrano/current\nEnvironment=PORT={OTHER_PORT} HOST=127.0.0.1\n\
             ExecStart=/usr/bin/node server.js\nRestart=always\n"
        ),
    )?;
    fs::write(
        "/etc/nginx/conf.d/capistrano.conf",
        format!(
            "server {{ listen 80; server_name {OTHER}; location / {{ proxy_pass http://127.0.0.1:{OTHER_PORT}; \
             proxy_http_version 1.1; proxy_set_header Host $host; }} }}\n"
        ),
    )?;
    run(&["/bin/sh", "-euc", DEPLOY])?;
    run(&["/bin/systemctl", "reload", "nginx"])?;
    Ok(())
}
