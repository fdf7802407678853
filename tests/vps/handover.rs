//! Handing over with apps that behave badly, apps that cannot run twice, and everything besides them.

use std::time::{Duration, Instant};

use crate::{image::DOMAIN, load::generator::Load, source::Source, vps::Vps};

/// A Node app of this script and this `hostkit.toml`.
fn app(script: &str, toml: &str) -> Source {
    Source::empty()
        .file("package.json", r#"{"name":"handover","version":"1.0.0","main":"index.js"}"#)
        .file("index.js", script)
        .file("hostkit.toml", format!("runtime = \"node\"\n{toml}"))
}

fn answers(word: &str) -> String {
    format!(
        "require('http').createServer((q, r) => r.end('{word} ')).listen(process.env.PORT, process.env.HOST);\n"
    )
}

/// The number of the process of a unit.
fn process(vps: &Vps, unit: &str) -> String {
    vps.run(["systemctl", "show", "-P", "MainPID", unit]).ok().stdout.trim().to_owned()
}

fn runs(vps: &Vps, unit: &str) -> bool {
    vps.run(["systemctl", "is-active", unit]).run().stdout.trim() == "active"
}

#[test]
fn the_old_process_goes_on_while_a_new_one_fails() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("blog", &app(&answers("good"), ""));
    let before = process(&vps, "hostkit-blog.service");
    let quick = "[health]\npath = \"/\"\ntimeout = 3\n";
    let graced = "[health]\ntimeout = 5\ngrace = 4\n";
    let listens = |more: &str| format!("{}{more}", answers("bad"));
    for (what, script, toml, says) in [
        ("crashes", "console.error('no luck today'); process.exit(3);\n".to_owned(), quick, "no luck today"),
        (
            "listens on a port of its own choice",
            "console.log('on 3000'); require('http').createServer((q, r) => r.end('x')).listen(3000);\n"
                .to_owned(),
            quick,
            "nothing listens on port 18001",
        ),
        (
            "answers 500",
            "require('http').createServer((q, r) => { r.statusCode = 500; r.end('broken'); })\
             .listen(process.env.PORT, process.env.HOST);\n"
                .to_owned(),
            quick,
            "answered 500",
        ),
        (
            "dies soon after its first answer",
            listens("setTimeout(() => process.exit(7), 2000);\n"),
            graced,
            "ended",
        ),
        (
            "falls ill soon after its first answer",
            "const ill = Date.now() + 2000; require('http').createServer((q, r) => {\
             r.statusCode = Date.now() > ill ? 503 : 200; r.end('x'); })\
             .listen(process.env.PORT, process.env.HOST);\n"
                .to_owned(),
            graced,
            "answered 503",
        ),
        (
            "ignores what it is told",
            listens("process.exit = () => {}; process.on('SIGTERM', () => {});\nthrow 1;\n"),
            quick,
            "throw 1",
        ),
    ] {
        let load = Load::begin(&vps.server().address, &format!("blog.{DOMAIN}"), "good");
        let call = vps
            .hostkit(["deploy", "blog", "--source", "-", "--override-ratelimit"])
            .stdin(app(&script, toml).tar_gz());
        let output = call.refused(9, "UNHEALTHY").says(says);
        output.check(!runs(&vps, "hostkit-blog_surge.service"), "the instance that failed to be gone");
        let failures = load.end().failures();
        assert!(failures.is_empty(), "an app that {what}: {failures:#?}");
        assert_eq!(process(&vps, "hostkit-blog.service"), before, "an app that {what}");
        vps.expect_healthy();
    }
}

#[test]
fn an_app_that_is_slow_to_start_and_one_that_listens_everywhere_take_over_all_the_same() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("blog", &app(&answers("first"), ""));
    let slow = format!("setTimeout(() => {{ {} }}, 4000);\n", answers("slow").trim());
    vps.deploy("blog", &app(&slow, ""));
    vps.expect_answer("blog", "slow");
    let everywhere =
        "require('http').createServer((q, r) => r.end('open ')).listen(process.env.PORT, '0.0.0.0');\n";
    let call = vps
        .hostkit(["deploy", "blog", "--source", "-", "--override-ratelimit"])
        .stdin(app(everywhere, "").tar_gz());
    call.ok().says("listens on every address");
    vps.expect_answer("blog", "open");
    vps.expect_healthy();
}

#[test]
fn an_app_that_ignores_sigterm_is_ended_and_no_request_fails() {
    let Some(vps) = Vps::boot() else { return };
    let drain = "[health]\ndrain = 4\n";
    vps.live("blog", &app(&format!("process.on('SIGTERM', () => {{}});\n{}", answers("Version 1")), drain));
    let load = Load::begin(&vps.server().address, &format!("blog.{DOMAIN}"), "Version ");
    let began = Instant::now();
    vps.deploy("blog", &app(&answers("Version 2"), drain));
    let took = began.elapsed().as_secs();
    println!("an app that ignores SIGTERM was replaced in {took} s");
    assert!((4..25).contains(&took), "it had 4 s to end, and was replaced in {took} s");
    let failures = load.end().failures();
    assert!(failures.is_empty(), "{failures:#?}");
    vps.expect_answer("blog", "Version 2");
}

/// Writes its name into a file and ends when another one has done so after it.
const ALONE: &str = "const fs = require('fs'), place = '/home/blog/shared/owner';
if (fs.existsSync(place) && fs.existsSync('/proc/' + fs.readFileSync(place))) { console.error('two of us'); process.exit(1); }
fs.writeFileSync(place, String(process.pid));
process.on('SIGTERM', () => { fs.unlinkSync(place); process.exit(0); });
";

#[test]
fn an_app_that_cannot_run_twice_says_so_and_is_replaced_in_place() {
    let Some(vps) = Vps::boot() else { return };
    let alone = |word: &str| {
        app(&format!("{ALONE}{}", answers(word)), "strategy = \"restart\"\n[health]\ntimeout = 5\n")
    };
    vps.live("blog", &alone("one"));
    vps.deploy("blog", &alone("two"));
    vps.expect_answer("blog", "two");
    vps.hostkit(["rollback", "blog"]).ok();
    vps.expect_answer("blog", "one");
    vps.hostkit(["scale", "blog", "web=2"]).refused(5, "WRONG_STATE");
    // One that fails is put back.
    let call = vps.hostkit(["deploy", "blog", "--source", "-", "--override-ratelimit"]);
    call.stdin(app("process.exit(1)", "strategy = \"restart\"\n[health]\ntimeout = 3\n").tar_gz())
        .refused(9, "UNHEALTHY");
    vps.expect_answer("blog", "one");
    vps.expect_healthy();
}

/// Says again and again which release it is of.
fn worker(word: &str) -> String {
    format!(
        "setInterval(() => require('fs').writeFileSync('/home/blog/shared/said-' + process.pid, '{word}'), 50);\n"
    )
}

#[test]
fn workers_and_timers_follow_the_release_and_one_that_fails_does_not_take_it_back() {
    let Some(vps) = Vps::boot() else { return };
    let toml = "[processes]\nworker = \"node worker.js\"\ntidy = { cron = \"* * * * *\", command = \"node tidy.js\" }\n";
    let source = |word: &str, worker: &str| {
        app(&answers(word), toml)
            .file("worker.js", worker)
            .file("tidy.js", "require('fs').writeFileSync('/home/blog/shared/tidied', 'x');\n")
    };
    let said =
        || vps.sh("cat /home/blog/shared/said-* 2>/dev/null; rm -f /home/blog/shared/said-*").run().stdout;
    vps.live("blog", &source("one", &worker("1")));
    vps.wait_for("the worker", || said().contains('1'));
    assert!(runs(&vps, "hostkit-blog_tidy-cron.timer"));
    vps.deploy("blog", &source("two", &worker("2")));
    let _ = said();
    vps.wait_for("the new worker", || said().contains('2'));
    assert!(!said().contains('1'), "the old worker goes on");
    vps.hostkit(["scale", "blog", "worker=2"]).ok();
    assert!(runs(&vps, "hostkit-blog_worker-2.service"));
    vps.hostkit(["status", "blog"]).ok().says("hostkit-blog_worker-2.service");
    let call = vps.hostkit(["deploy", "blog", "--source", "-", "--override-ratelimit"]);
    call.stdin(source("three", "process.exit(1)").tar_gz()).ok().says("does not last");
    vps.expect_answer("blog", "three");
    vps.hostkit(["doctor"]).expect_code(12).says("ends again and again");
    // One that has done its work is no finding.
    let call = vps.hostkit(["deploy", "blog", "--source", "-", "--override-ratelimit"]);
    call.stdin(source("four", "process.exit(0)").tar_gz()).ok();
    let ended = || vps.hostkit(["status", "blog"]).ok().stdout.contains("ended (starts again after 5 s)");
    vps.wait_for("the worker to be shown as ended", ended);
    vps.expect_healthy();
    vps.hostkit(["rollback", "blog"]).ok();
    vps.hostkit(["rollback", "blog"]).ok();
    vps.expect_answer("blog", "two");
    vps.expect_healthy();
    // It comes with the minute.
    vps.wait_up_to(90, "the timer", || vps.sh("test -e /home/blog/shared/tidied").run().code == 0);
    vps.hostkit(["stop", "blog"]).ok();
    for unit in ["hostkit-blog.service", "hostkit-blog_worker-1.service", "hostkit-blog_tidy-cron.timer"] {
        assert!(!runs(&vps, unit), "{unit} runs");
    }
    vps.hostkit(["start", "blog"]).ok();
    vps.wait_for("the worker again", || said().contains('2'));
    vps.hostkit(["scale", "blog", "worker=0"]).ok();
    assert!(!runs(&vps, "hostkit-blog_worker-1.service"));
    vps.expect_healthy();
    vps.deploy("blog", &app(&answers("alone"), ""));
    assert_eq!(vps.sh("ls /etc/systemd/system | grep -c 'blog_worker\\|blog_tidy'").run().stdout.trim(), "0");
    vps.hostkit(["project", "delete", "blog", "--confirm", "blog"]).ok();
    assert_eq!(vps.sh("ls /etc/systemd/system | grep -c hostkit-blog").run().stdout.trim(), "0");
}

#[test]
fn a_handover_that_the_power_ended_answers_after_the_boot_and_is_finished_by_it() {
    let Some(vps) = Vps::boot() else { return };
    let talker = |word: &str| {
        format!(
            "const s = require('http').createServer((q, r) => r.end('{word} '));
s.on('upgrade', (q, c) => {{ c.write('HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: x\\r\\nConnection: Upgrade\\r\\n\\r\\n'); \
setInterval(() => c.write('.'), 100); c.on('error', () => {{}}); }});
s.listen(process.env.PORT, process.env.HOST);\n"
        )
    };
    vps.live("blog", &app(&talker("old"), ""));
    // A connection that does not end keeps the handover waiting.
    let line = format!(
        "setsid -f curl -sN -m 60 -H 'Host: blog.{DOMAIN}' -H 'Upgrade: x' -H 'Connection: Upgrade' http://127.0.0.1/ >/dev/null 2>&1"
    );
    vps.sh(&line).ok();
    std::thread::sleep(Duration::from_millis(500));
    vps.write("/root/next.tar.gz", app(&talker("new"), "").tar_gz());
    vps.sh("setsid -f hostkit deploy blog --source /root/next.tar.gz >/root/said 2>&1").ok();
    vps.wait_for_answer("blog", "new");
    assert!(runs(&vps, "hostkit-blog_surge.service"), "it waits for the connection to end");
    vps.cut_power();
    vps.wait_for_answer("blog", "new");
    vps.wait_for("the handover to be finished", || vps.hostkit(["doctor"]).run().code == 0);
    assert!(!runs(&vps, "hostkit-blog_surge.service"));
    vps.expect_answer("blog", "new");
}

#[test]
fn nginx_does_not_let_its_old_workers_live_for_ever_unless_somebody_said_so() {
    let Some(vps) = Vps::boot() else { return };
    vps.sh("nginx -T 2>/dev/null | grep -c '^worker_shutdown_timeout 10m;'").ok().says("1");
    vps.sh("sed -i '1i worker_shutdown_timeout 42s;' /etc/nginx/nginx.conf").ok();
    vps.hostkit(["init"]).ok();
    vps.sh("nginx -t 2>&1; nginx -T 2>/dev/null | grep -c worker_shutdown_timeout").ok().says("1");
}
