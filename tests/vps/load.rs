//! No request fails, whatever is deployed, gone back to, restarted or scaled under load.
//!
//! `HOSTKIT_ROUNDS` says how many deploys and rollbacks there are.

pub(crate) mod generator;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::mpsc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use generator::{Load, Tally};

use crate::{image::DOMAIN, source::Source, vps::Vps};

/// How long a process may go on with what it is answering; shorter than usual, so that the websocket,
/// which has no end, does not hold up every test for as long as that.
const DRAIN: u64 = 12;
/// How long the slow answer takes.
const SLOW: Duration = Duration::from_secs(10);

fn rounds(usual: u32) -> u32 {
    std::env::var("HOSTKIT_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}

/// An app that also answers slowly, and goes on for as long as somebody listens.
fn app(version: u32) -> Source {
    let script = format!(
        "const http = require('http'), env = process.env;
const server = http.createServer((request, response) => {{
  if (request.url !== '/slow') return response.end('Version {version} ');
  let left = 10;
  const drip = setInterval(() => {{
    response.write('.');
    if (--left === 0) {{ clearInterval(drip); response.end('whole'); }}
  }}, 1000);
}});
server.on('upgrade', (request, socket) => {{
  socket.write('HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: probe\\r\\nConnection: Upgrade\\r\\n\\r\\n');
  const tick = setInterval(() => socket.write('tick\\n'), 100);
  socket.on('error', () => {{}});
  socket.on('close', () => clearInterval(tick));
}});
server.listen(env.PORT, env.HOST);
process.on('SIGTERM', () => process.exit(0));
"
    );
    Source::empty()
        .file("package.json", r#"{"name":"load","version":"1.0.0","main":"index.js"}"#)
        .file("index.js", script)
        .file("hostkit.toml", format!("runtime = \"node\"\n[health]\ndrain = {DRAIN}\n"))
}

/// Begins something that is asked for once and heard to its end: what was heard, and how long it took.
fn listen(address: &str, request: String) -> (mpsc::Receiver<()>, JoinHandle<(String, Duration)>) {
    let at = SocketAddr::new(address.parse().unwrap(), 80);
    let (begun, begins) = mpsc::channel();
    let heard = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(at).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(90))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut piece = [0; 4096];
        let mut text = String::new();
        let mut began = Instant::now();
        loop {
            match stream.read(&mut piece) {
                Ok(0) => return (text, began.elapsed()),
                Err(error) => return (format!("{text}\n{error}"), began.elapsed()),
                Ok(n) => {
                    if text.is_empty() {
                        began = Instant::now();
                        let _ = begun.send(());
                    }
                    text.push_str(&String::from_utf8_lossy(&piece[..n]));
                }
            }
        }
    });
    (begins, heard)
}

/// Stops the test unless every request was answered; says what it saw.
fn judge(vps: &Vps, what: &str, tally: &Tally, quiet: (Instant, Instant), busy: (Instant, Instant)) {
    let (calm, stressed) = (tally.p99(quiet.0, quiet.1), tally.p99(busy.0, busy.1));
    let failures = tally.failures();
    println!(
        "{what}: {} requests, {} failed, {} idle connections closed; p99 {:.1} ms, while nothing happens {:.1} ms \
         ({:+.1} ms); longest time without an answer {} ms",
        tally.all(),
        failures.len(),
        tally.reopened(),
        stressed.as_secs_f64() * 1e3,
        calm.as_secs_f64() * 1e3,
        stressed.as_secs_f64() * 1e3 - calm.as_secs_f64() * 1e3,
        tally.gap().as_millis(),
    );
    let shown: Vec<_> = failures.iter().take(20).collect();
    assert!(
        failures.is_empty(),
        "{what}: {} requests failed: {shown:#?}\n{}",
        failures.len(),
        vps.diagnosis()
    );
}

/// Deploys and goes back under load, `more` after it.
fn under_load(vps: &Vps, what: &str, rounds: u32, version: impl Fn(u32) -> Source, more: impl FnOnce()) {
    let host = format!("blog.{DOMAIN}");
    let load = Load::begin(&vps.server().address, &host, "Version ");
    let began = Instant::now();
    std::thread::sleep(Duration::from_secs(3));
    let calm = Instant::now();
    for round in 0..rounds {
        vps.deploy("blog", &version(round + 2));
        vps.expect_answer("blog", &format!("Version {} ", round + 2));
    }
    // Between two releases, so that there is always one to go back to.
    let known = vps.releases("blog");
    let ids: Vec<&str> = known.iter().filter_map(|release| release["id"].as_str()).take(2).collect();
    for round in 0..rounds {
        let to = ids[usize::from(round % 2 == 0)];
        vps.hostkit(["rollback", "blog", to]).ok();
    }
    more();
    let ended = Instant::now();
    std::thread::sleep(Duration::from_millis(500));
    judge(vps, what, &load.end(), (began, calm), (calm, ended));
    vps.expect_healthy();
}

#[test]
fn no_request_to_a_node_app_fails_while_it_is_deployed_gone_back_restarted_and_scaled() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("blog", &app(1));
    let host = format!("blog.{DOMAIN}");
    let address = vps.server().address.clone();
    let (begun, slow) = listen(&address, format!("GET /slow HTTP/1.0\r\nHost: {host}\r\n\r\n"));
    begun.recv().unwrap();
    let (begun, socket) = listen(
        &address,
        format!("GET /live HTTP/1.1\r\nHost: {host}\r\nUpgrade: probe\r\nConnection: Upgrade\r\n\r\n"),
    );
    begun.recv().unwrap();
    under_load(&vps, "node", rounds(4), app, || {
        vps.hostkit(["restart", "blog"]).ok();
        vps.hostkit(["env", "set", "blog", "COLOUR=red"]).ok();
        vps.hostkit(["scale", "blog", "web=3"]).ok();
        vps.deploy("blog", &app(200));
        vps.expect_answer("blog", "Version 200 ");
        vps.hostkit(["scale", "blog", "web=1"]).ok();
    });
    let (text, took) = slow.join().unwrap();
    assert!(text.ends_with("whole"), "the slow answer was cut off after {took:?}: {text}");
    assert!(took + Duration::from_secs(1) >= SLOW, "the slow answer took only {took:?}");
    let (text, lasted) = socket.join().unwrap();
    assert!(text.contains("101 ") && text.contains("tick"), "{text}");
    let least = Duration::from_secs(DRAIN);
    println!(
        "the websocket was closed {:.1} s after it began, the deadline is {DRAIN} s",
        lasted.as_secs_f64()
    );
    assert!(lasted >= least, "the websocket was closed after {lasted:?}");
    // The first deploy begins three seconds after it, and it may not outlive that by more than the
    // deadline and the time of a deploy.
    assert!(lasted < least + Duration::from_secs(25), "the websocket lived for {lasted:?}");
}

#[test]
fn no_request_to_a_python_app_fails_while_it_is_deployed_and_gone_back() {
    let Some(vps) = Vps::boot() else { return };
    let source = Source::example("python");
    vps.live("blog", &source);
    under_load(
        &vps,
        "python",
        rounds(2),
        |n| source.clone().version(n),
        || {
            vps.hostkit(["restart", "blog"]).ok();
        },
    );
}

#[test]
fn no_request_to_a_static_site_fails_while_it_is_deployed_and_gone_back() {
    let Some(vps) = Vps::boot() else { return };
    let source = Source::example("static");
    vps.live("blog", &source);
    under_load(&vps, "static", rounds(3), |n| Source::page(&format!("Version {n} ")), || {});
}

/// Notes every POST that it is asked to carry out.
fn counting() -> Source {
    let script = "require('http').createServer((request, response) => {
  if (request.method === 'POST') require('fs').appendFileSync('/home/blog/shared/posts', 'x');
  response.end('done');
}).listen(process.env.PORT, process.env.HOST);
";
    app(1).file("index.js", script)
}

#[test]
fn an_instance_that_dies_or_hangs_is_passed_over() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("blog", &app(1));
    vps.hostkit(["scale", "blog", "web=2"]).ok();
    let load = Load::begin(&vps.server().address, &format!("blog.{DOMAIN}"), "Version ");
    let began = Instant::now();
    std::thread::sleep(Duration::from_secs(1));
    let calm = Instant::now();
    for unit in ["hostkit-blog_web-2.service", "hostkit-blog.service"] {
        vps.sh(&format!("kill -9 $(systemctl show -P MainPID {unit})")).ok();
        std::thread::sleep(Duration::from_secs(7));
    }
    let ended = Instant::now();
    judge(&vps, "instances killed", &load.end(), (began, calm), (calm, ended));
    vps.expect_healthy();

    // One that hangs takes connections and does not answer. So as not to wait for a minute, it is given up
    // sooner here than usual.
    let template = include_str!("../../templates/nginx-site.conf");
    let hasty = template.replace("proxy_read_timeout 60s", "proxy_read_timeout 2s");
    assert_ne!(hasty, template);
    vps.sh("mkdir -p /etc/hostkit/templates").ok();
    vps.write("/etc/hostkit/templates/nginx-site.conf", hasty);
    vps.deploy("blog", &counting());
    vps.sh("kill -STOP $(systemctl show -P MainPID hostkit-blog.service)").ok();
    let ask = |method: &str| {
        let line = format!(
            "curl -s -o /dev/null -w '%{{http_code}}' -X {method} -H 'Host: blog.{DOMAIN}' http://127.0.0.1/"
        );
        vps.sh(&line).ok().stdout
    };
    let (gets, posts): (Vec<_>, Vec<_>) = (0..6).map(|_| (ask("GET"), ask("POST"))).unzip();
    assert_eq!(gets, ["200"; 6], "whoever only reads gets an answer from the other one");
    assert!(posts.contains(&"504".to_owned()), "what may have begun is not repeated: {posts:?}");
    vps.sh("kill -CONT $(systemctl show -P MainPID hostkit-blog.service)").ok();
    vps.wait_for("every POST to have been carried out once", || {
        vps.sh("cat /home/blog/shared/posts").ok().stdout.len() == 6
    });
}
