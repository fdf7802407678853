//! Bad input: names, ports, releases, templates, a registry from the future, a full disk, a second command.
//! Each ends in its own exit status and code, names the next command, and changes nothing.

use crate::{snapshot::HOST, source::Source, vps::Vps};

/// These words must be refused with this status and code, and leave the server as it is.
fn refuses(vps: &Vps, exit: i32, code: &str, words: &[&str]) {
    let before = vps.snapshot(HOST);
    let output = vps.hostkit(words).refused(exit, code);
    before.expect_same(&vps.snapshot(HOST), &format!("after it was refused\n{output}"));
}

#[test]
fn bad_names_are_refused_with_the_reason() {
    let Some(vps) = Vps::boot() else { return };
    let before = vps.snapshot(HOST);
    let long = "a".repeat(33);
    for (name, reason) in [
        ("My_App", "upper-case"),
        ("MYAPP", "upper-case"),
        ("my_app", "underscore"),
        ("my--app", "two hyphens"),
        ("ab", "3 to 32"),
        (long.as_str(), "3 to 32"),
        ("1app", "start with a letter"),
        ("app-", "end with"),
        ("../etc", "only lower-case"),
        ("a b c", "only lower-case"),
        ("app\n[service]", "only lower-case"),
        ("www-data", "reserved"),
    ] {
        let output = vps.hostkit(["provision", "--", name]).refused(3, "INVALID_NAME").says(reason);
        output.check(!output.stderr.contains("\n[service]"), "control characters not to be echoed");
        vps.hostkit(["project", "create", "--", name]).refused(3, "INVALID_NAME");
    }
    vps.hostkit(["provision", ""]).refused(3, "INVALID_NAME");
    before.expect_same(&vps.snapshot(HOST), "after refused names");
}

#[test]
fn a_system_accounts_name_is_taken() {
    let Some(vps) = Vps::boot() else { return };
    for name in ["daemon", "sshd", "nobody", "messagebus"] {
        refuses(&vps, 5, "NAME_TAKEN", &["provision", name]);
    }
    refuses(&vps, 5, "NAME_TAKEN", &["provision", "daemon", "--adopt"]);
}

#[test]
fn a_group_of_that_name_is_in_the_way_too() {
    let Some(vps) = Vps::boot() else { return };
    vps.run(["groupadd", "blog"]).ok();
    let before = vps.snapshot(HOST);
    let output = vps.hostkit(["--json", "provision", "blog"]).expect_code(5);
    before.expect_same(&vps.snapshot(HOST), &format!("after\n{output}"));
}

#[test]
fn another_projects_port_is_taken() {
    let Some(vps) = Vps::boot() else { return };
    vps.hostkit(["provision", "blog", "--port", "8005"]).ok();
    refuses(&vps, 5, "PORT_TAKEN", &["provision", "shop", "--port", "8005"]);
    vps.hostkit(["provision", "shop", "--port", "8006"]).ok();
}

#[test]
fn a_port_that_another_process_holds_is_taken() {
    let Some(vps) = Vps::boot() else { return };
    vps.sh("setsid -f python3 -m http.server -b 127.0.0.1 8007 >/dev/null 2>&1").ok();
    vps.wait_for("the other process", || vps.sh("ss -ltn | grep -q :8007").run().code == 0);
    refuses(&vps, 5, "PORT_TAKEN", &["provision", "shop", "--port", "8007"]);
}

#[test]
fn ports_that_no_project_may_have_are_refused() {
    let Some(vps) = Vps::boot() else { return };
    for port in ["0", "80", "443", "65536", "-1", "eight"] {
        let before = vps.snapshot(HOST);
        let output = vps.hostkit(["--json", "provision", "shop", &format!("--port={port}")]).run();
        output.check([2, 3].contains(&output.code), "port to be refused as usage or as invalid");
        output.check(output.json()["ok"] == false, "an envelope for a usage error too");
        before.expect_same(&vps.snapshot(HOST), &format!("after\n{output}"));
    }
}

#[test]
fn what_is_not_there_is_not_found() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("blog", &Source::page("here"));
    for words in [
        &["deploy", "blob", "--source", "-"][..],
        &["rollback", "blob"],
        &["releases", "blob"],
        &["logs", "blob"],
        &["restart", "blob"],
        &["project", "info", "blob"],
        &["project", "delete", "blob", "--confirm", "blob"],
        &["project", "restore", "blob"],
        &["project", "purge", "blob", "--confirm", "blob"],
    ] {
        refuses(&vps, 4, "PROJECT_NOT_FOUND", words);
    }
    vps.hostkit(["status", "blob"]).refused(4, "PROJECT_NOT_FOUND").says("blog");
    refuses(&vps, 4, "RELEASE_NOT_FOUND", &["rollback", "blog", "19990101-000000"]);
    refuses(&vps, 4, "RELEASE_NOT_FOUND", &["rollback", "blog"]);
    refuses(&vps, 3, "INVALID_NAME", &["rollback", "blog", "../../etc"]);
}

#[test]
fn what_is_not_a_command_is_wrong_use() {
    let Some(vps) = Vps::boot() else { return };
    for words in [&["frobnicate"][..], &["deploy"], &["provision", "blog", "--frob"], &["project"]] {
        let output = vps.hostkit(words).expect_code(2);
        output.check(output.stdout.is_empty() && !output.stderr.is_empty(), "complaints on stderr alone");
    }
    vps.hostkit(["frobnicate"]).refused(2, "USAGE");
}

#[test]
fn a_broken_template_override_is_refused() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("blog", &Source::example("node"));
    for (name, text) in [
        ("unit.service", "[Service]\n{% if %}\n"),
        ("unit.service", "[Service]\nExecStart={{ no_such_variable }}\n"),
        ("unit.service", "[Service]\nExecStart=relative/path\n"),
        ("nginx-site.conf", "server { listen 80; server_name {{ domain }}; frobnicate on; }\n"),
        ("nginx-site.conf", "server {\n"),
    ] {
        let place = format!("/etc/hostkit/templates/{name}");
        vps.write(&place, text);
        let before = vps.snapshot(&["etc", "accounts", "services", "nginx", "projects"]);
        let output = vps
            .hostkit(["deploy", "blog", "--source", "-"])
            .stdin(Source::example("node").version(2).tar_gz());
        let output = output.refused(3, "INVALID_TEMPLATE");
        let after = vps.snapshot(&["etc", "accounts", "services", "nginx", "projects"]);
        before.expect_same(&after, &format!("with the override {text:?}\n{output}"));
        output.says(name);
        vps.expect_answer("blog", "Version 1");
        vps.run(["rm", &place]).ok();
    }
    vps.expect_healthy();
}

#[test]
fn a_registry_of_a_newer_version_is_left_alone() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("blog", &Source::example("node"));
    let script = "import sqlite3, sys\n\
                  db = sqlite3.connect('/var/lib/hostkit/registry.db')\n\
                  db.execute('PRAGMA user_version = ' + sys.argv[1])\n\
                  db.commit()\n";
    let sum = || vps.sh("find /var/lib/hostkit -type f -exec sha256sum {} + | sort").ok().stdout;
    let version = "import sqlite3\nprint(sqlite3.connect('/var/lib/hostkit/registry.db').execute('PRAGMA user_version').fetchone()[0])\n";
    let ours = vps.python(version, [""; 0]).ok().stdout;
    vps.python(script, ["9999"]).ok();
    let before = sum();
    for words in [
        &["provision", "shop"][..],
        &["deploy", "blog", "--source", "-"],
        &["status"],
        &["project", "list"],
        &["repair"],
        &["doctor"],
        &["init"],
    ] {
        vps.hostkit(words).stdin(Source::page("x").tar_gz()).refused(6, "REGISTRY_NEWER");
    }
    assert_eq!(before, sum(), "the registry of another version was written");
    vps.hostkit(["--version"]).ok();
    vps.hostkit(["--help"]).ok();
    vps.expect_answer("blog", "Version 1");
    vps.python(script, [ours.trim()]).ok();
    vps.expect_healthy();
}

#[test]
fn a_second_command_on_the_same_project_is_told_who_is_at_work() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("blog", &Source::example("node"));
    // An app that takes its time to listen keeps the first deploy waiting.
    let slow = Source::empty()
        .file("package.json", r#"{"name":"slow","version":"1.0.0","main":"index.js"}"#)
        .file("index.js", "setTimeout(() => require('http').createServer((q, r) => r.end('slow')).listen(process.env.PORT, process.env.HOST), 6000);\n");
    vps.put("/root/slow", &slow);
    vps.sh("setsid -f hostkit deploy blog --source /root/slow >/root/first.log 2>&1").ok();
    vps.wait_for("the first deploy to be at work", || {
        vps.sh("ls -l /home/blog/app | grep -q \"$(ls /home/blog/releases | tail -n1)\" && [ $(ls /home/blog/releases | wc -l) = 2 ]").run().code == 0
    });
    for words in
        [&["rollback", "blog"][..], &["restart", "blog"], &["project", "delete", "blog", "--confirm", "blog"]]
    {
        let output = vps.hostkit(words).refused(75, "BUSY");
        let message = output.json()["error"]["message"].as_str().unwrap_or_default().to_owned();
        output
            .check(message.contains("deploy blog") && message.contains("process "), "the holder to be named");
    }
    vps.hostkit(["provision", "shop"]).ok();
    vps.hostkit(["status"]).ok();
    vps.wait_for_answer("blog", "slow");
    vps.wait_for("the first deploy to end", || {
        vps.hostkit(["stop", "shop"]).run().code != 1 && vps.sh("pgrep -x hostkit").run().code == 1
    });
    vps.expect_healthy();
}

#[test]
fn without_root_nothing_is_changed_and_the_reason_is_said() {
    let Some(vps) = Vps::with().user("eve").boot() else { return };
    vps.live("blog", &Source::page("here"));
    let before = vps.snapshot(HOST);
    let direct =
        vps.run(["runuser", "-u", "eve", "--", "/usr/local/bin/hostkit", "--json", "stop", "blog"]).run();
    direct.check(direct.code == 7, "exit status 7 without root");
    for words in [
        &["provision", "shop"][..],
        &["deploy", "blog", "--source", "-"],
        &["project", "delete", "blog", "--confirm", "blog"],
        &["rollback", "blog"],
        &["init"],
        &["repair"],
    ] {
        vps.hostkit(words).as_user("eve").refused(7, "NOT_PERMITTED");
    }
    before.expect_same(&vps.snapshot(HOST), "after a stranger's calls");
    vps.run(["runuser", "-u", "eve", "--", "/usr/local/bin/hostkit", "--help"]).ok();
}
