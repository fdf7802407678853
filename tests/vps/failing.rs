//! Apps that do not become healthy: the old release is live and answers, the new one is listed as failed.

use std::time::{Duration, Instant};

use crate::{source::Source, vps::Vps};

/// The quickest patience that is allowed, so that the tests need not be patient.
const TOML: &str = "runtime = \"node\"\n\n[health]\npath = \"/\"\ntimeout = 5\n";

fn app(script: &str) -> Source {
    Source::empty()
        .file("package.json", r#"{"name":"failing","version":"1.0.0","main":"index.js"}"#)
        .file("index.js", script)
        .file("hostkit.toml", TOML)
}

const FAILING: &[(&str, &str)] = &[
    ("crashes at start", "console.error('no luck today'); process.exit(3);\n"),
    ("never listens", "setInterval(() => {}, 1000);\n"),
    (
        "answers 500",
        "require('http').createServer((q, r) => { r.statusCode = 500; r.end('broken'); })\
         .listen(process.env.PORT, process.env.HOST);\n",
    ),
    ("has a syntax error", "this is no JavaScript\n"),
    (
        "listens and dies",
        "require('http').createServer(() => process.exit(1)).listen(process.env.PORT, process.env.HOST);\n",
    ),
];

#[test]
fn a_release_that_does_not_become_healthy_never_replaces_the_old_one() {
    let Some(vps) = Vps::boot() else { return };
    let good = vps.live("blog", &Source::example("node"));
    for (n, (what, script)) in FAILING.iter().enumerate() {
        let before = vps.snapshot(&["etc", "accounts", "services", "nginx"]);
        let began = Instant::now();
        // More of them fail than may.
        let words = ["deploy", "blog", "--source", "-", "--override-ratelimit"];
        let call = vps.hostkit(words).stdin(app(script).tar_gz());
        let output = call.refused(9, "UNHEALTHY");
        println!("an app that {what}: refused after {} ms", began.elapsed().as_millis());
        assert!(began.elapsed() < Duration::from_secs(30), "a deadline of 5 s took {:?}", began.elapsed());
        vps.expect_answer("blog", "Version 1");
        before.expect_same(
            &vps.snapshot(&["etc", "accounts", "services", "nginx"]),
            &format!("after an app that {what}"),
        );
        let releases = vps.releases("blog");
        let failed = releases.iter().filter(|r| r["state"] == "failed").count();
        output.check(failed == n + 1, &format!("{} failed releases in {releases:?}", n + 1));
        output.check(
            releases.iter().any(|r| r["state"] == "live" && r.to_string().contains(&good)),
            "the old one live",
        );
        vps.expect_healthy();
    }
    let failed = vps.releases("blog").iter().find(|r| r["state"] == "failed").cloned().unwrap_or_default();
    let id =
        ["id", "release", "name"].iter().find_map(|k| failed[*k].as_str()).unwrap_or_default().to_owned();
    vps.hostkit(["rollback", "blog", &id]).refused(4, "RELEASE_NOT_FOUND");
    vps.hostkit(["rollback", "blog"]).refused(4, "RELEASE_NOT_FOUND");
    vps.expect_answer("blog", "Version 1");
}

#[test]
fn the_last_words_of_a_crashed_app_are_shown() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("blog", &Source::example("node"));
    let call = vps.hostkit(["deploy", "blog", "--source", "-"]).stdin(app(FAILING[0].1).tar_gz());
    let output = call.expect_code(9).says("no luck today");
    output.says("hostkit logs blog");
}

#[test]
fn a_first_deploy_that_fails_leaves_the_project_as_it_was_provisioned() {
    let Some(vps) = Vps::boot() else { return };
    vps.hostkit(["provision", "blog", "--node"]).ok();
    let before = vps.snapshot(&["etc", "accounts", "units", "nginx", "services"]);
    let call = vps.hostkit(["deploy", "blog", "--source", "-"]).stdin(app(FAILING[0].1).tar_gz());
    call.refused(9, "UNHEALTHY");
    before.expect_same(
        &vps.snapshot(&["etc", "accounts", "units", "nginx", "services"]),
        "after a failed first deploy",
    );
    assert_eq!(vps.visit("blog", "/").status, 503);
    vps.expect_healthy();
    vps.deploy("blog", &Source::example("node"));
    vps.expect_answer("blog", "Version 1");
}

#[test]
fn a_port_that_was_taken_meanwhile_is_named() {
    let Some(vps) = Vps::boot() else { return };
    vps.hostkit(["provision", "blog", "--node", "--port", "8042"]).ok();
    vps.sh("setsid -f python3 -m http.server -b 127.0.0.1 8042 >/dev/null 2>&1").ok();
    vps.wait_for("the other process", || vps.sh("ss -ltn | grep -q :8042").run().code == 0);
    let call = vps.hostkit(["deploy", "blog", "--source", "-"]).stdin(Source::example("node").tar_gz());
    call.refused(5, "PORT_TAKEN").says("8042");
}

#[test]
fn a_rollback_to_a_release_that_no_longer_works_stays_where_it_is() {
    let Some(vps) = Vps::boot() else { return };
    // The first release works only as long as a file is there, as with a database it cannot read any more.
    let moody = app("require('fs').readFileSync('/home/blog/shared/key');\n\
         require('http').createServer((q, r) => r.end('moody')).listen(process.env.PORT, process.env.HOST);\n");
    vps.hostkit(["provision", "blog", "--node"]).ok();
    vps.sh("echo x >/home/blog/shared/key; chown blog:blog /home/blog/shared/key").ok();
    vps.deploy("blog", &moody);
    vps.expect_answer("blog", "moody");
    vps.deploy("blog", &Source::example("node"));
    vps.run(["rm", "/home/blog/shared/key"]).ok();
    vps.hostkit(["rollback", "blog"]).refused(9, "UNHEALTHY");
    vps.expect_answer("blog", "Version 1");
    vps.expect_healthy();
}
