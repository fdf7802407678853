//! Work that goes on whatever becomes of whoever asked for it.

use crate::{source::Source, vps::Vps};

/// An application that takes so many seconds until it answers.
fn slow(seconds: u32, text: &str) -> Source {
    let script = format!(
        "setTimeout(() => require('http').createServer((q, r) => r.end('{text}'))\
         .listen(process.env.PORT, process.env.HOST), {seconds}000);\n"
    );
    Source::empty()
        .file("package.json", r#"{"name":"slow","version":"1.0.0","main":"index.js"}"#)
        .file("index.js", script.as_str())
        .file("hostkit.toml", "runtime = \"node\"\n")
}

/// A server with a project whose next release is being deployed when this returns.
fn deploying(wrapper: &str, seconds: u32) -> Option<Vps> {
    let vps = Vps::boot()?;
    vps.live("blog", &Source::example("node"));
    vps.put("/root/next", &slow(seconds, "the next"));
    vps.sh(&format!("setsid -f {wrapper} hostkit deploy blog --source /root/next >/root/said 2>&1")).ok();
    working(&vps);
    Some(vps)
}

fn working(vps: &Vps) {
    vps.wait_for("the work to begin", || {
        vps.sh("systemctl list-units --no-legend 'hostkit-blog_call-*' | grep -q running").run().code == 0
    });
}

fn front(signal: &str) -> String {
    // The first process, not the one in the unit.
    format!("pkill -{signal} -f '^hostkit deploy blog'")
}

#[test]
fn a_front_process_that_is_killed_or_hung_up_takes_nothing_with_it() {
    for signal in ["KILL", "HUP"] {
        let Some(vps) = deploying("", 3) else { return };
        vps.sh(&front(signal)).ok();
        vps.expect_answer("blog", "Version 1");
        vps.wait_for_answer("blog", "the next");
        // Whoever attaches sees all of it, and ends as it ended.
        let seen = vps.hostkit(["attach", "blog"]).ok().says("Live  http://blog");
        seen.check(seen.stderr.contains("receive: /root/next"), "its beginning to be shown");
        vps.expect_healthy();
    }
}

#[test]
fn attaching_while_it_works_shows_its_end_with_its_status() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("blog", &Source::example("node"));
    let bad = slow(2, "never").file("index.js", "setTimeout(() => process.exit(3), 5000);\n");
    vps.put("/root/next", &bad);
    vps.sh("setsid -f hostkit deploy blog --source /root/next >/dev/null 2>&1").ok();
    working(&vps);
    vps.sh(&front("KILL")).ok();
    vps.wait_for("it to hold its lock", || {
        vps.sh("grep -q '\"deploy blog' /run/hostkit/locks/blog.lock").run().code == 0
    });
    // One that came later and was kept out is not the one to look at while the first is at work.
    vps.hostkit(["deploy", "blog", "--source", "/root/next"]).refused(75, "BUSY");
    let end = vps.hostkit(["--json", "deploy", "attach", "blog"]).run().expect(9).json();
    assert_eq!(end["error"]["code"], "UNHEALTHY");
    vps.expect_answer("blog", "Version 1");
    vps.hostkit(["attach", "blog"]).expect_code(9);
}

#[test]
fn ctrl_c_before_the_commit_point_puts_everything_back_and_after_it_stops_nothing() {
    let Some(vps) = deploying("", 20) else { return };
    vps.sh(&front("INT")).ok();
    vps.wait_for("it to end", || vps.sh("pgrep -f '^hostkit deploy blog'").run().code != 0);
    let said = vps.sh("cat /root/said").ok();
    said.check(said.stdout.contains("[INTERRUPTED]"), "it to say that it was interrupted");
    vps.hostkit(["attach", "blog"]).expect_code(130);
    vps.expect_answer("blog", "Version 1");
    vps.expect_healthy();
    assert_eq!(vps.releases("blog").iter().filter(|r| r["state"] == "live").count(), 1);

    // After it, what is begun is finished: somebody still waits for an answer of the old process.
    let lasting = "require('http').createServer((q, r) => setTimeout(() => r.end('lasting'), q.url === '/long' ? 6000 : 0))\
                   .listen(process.env.PORT, process.env.HOST);\n";
    vps.deploy("blog", &slow(0, "").file("index.js", lasting));
    vps.sh("setsid -f curl -s -H 'Host: blog.example.test' http://127.0.0.1/long >/root/long 2>&1").ok();
    vps.put("/root/next", &slow(0, "the next"));
    vps.sh("setsid -f sh -c 'hostkit deploy blog --source /root/next; echo $?' >/root/said 2>&1").ok();
    vps.wait_for_answer("blog", "the next");
    vps.sh(&front("INT")).ok();
    vps.wait_for("it to end", || vps.sh("pgrep -f '^hostkit deploy blog'").run().code != 0);
    let said = vps.sh("cat /root/said").ok();
    said.check(
        said.stdout.contains("stopping; what is past its commit point is finished"),
        "it to have heard",
    );
    said.check(
        said.stdout.contains("Live  http://blog") && said.stdout.ends_with("\n0\n"),
        "it to be finished",
    );
    assert_eq!(vps.sh("cat /root/long").ok().stdout, "lasting", "the answer that was under way");
    vps.expect_answer("blog", "the next");
    vps.expect_healthy();
}

#[test]
fn an_upload_that_breaks_off_changes_nothing() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("blog", &Source::example("node"));
    vps.put("/root/next", &slow(0, "the next"));
    let before = vps.snapshot(&["etc", "accounts", "services", "nginx", "projects"]);
    let cut = "tar -C /root/next -cz . | head -c 100 | hostkit --json deploy blog --source -";
    vps.run(["bash", "-c", cut]).run().expect(3);
    // One whose sender is killed in the middle of it.
    vps.sh("(setsid -f bash -c '(head -c 50 /root/a; sleep 60) | hostkit deploy blog --source -' || true) \
            >/dev/null 2>&1; tar -C /root/next -czf /root/a .")
        .ok();
    working(&vps);
    vps.sh("pkill -KILL -f '^bash -c .head -c 50'; pkill -KILL -f '^sleep 60'; true").run().check(true, "");
    vps.wait_for("the work to end", || {
        vps.sh("systemctl list-units --no-legend 'hostkit-blog_call-*' | grep -q running").run().code != 0
    });
    vps.hostkit(["attach", "blog"]).expect_code(3);
    before.expect_same(
        &vps.snapshot(&["etc", "accounts", "services", "nginx", "projects"]),
        "after an upload that broke off",
    );
    vps.expect_healthy();
}

#[test]
fn a_second_deploy_is_refused_with_the_holders_name_or_waits() {
    let Some(vps) = deploying("", 3) else { return };
    vps.put("/root/third", &slow(0, "the third"));
    let refused = vps.hostkit(["deploy", "blog", "--source", "/root/third"]).refused(75, "BUSY");
    refused.check(refused.stdout.contains("deploy blog"), "the holder to be named");
    vps.hostkit(["deploy", "blog", "--source", "/root/third", "--wait=1"]).refused(75, "BUSY");
    vps.hostkit(["deploy", "blog", "--source", "/root/third", "--wait"]).ok();
    vps.expect_answer("blog", "the third");
    assert_eq!(vps.releases("blog").len(), 3);
    vps.expect_healthy();
}

#[test]
fn work_that_is_killed_is_told_of_and_undone_by_the_next_command() {
    let Some(vps) = deploying("", 20) else { return };
    vps.sh("systemctl kill -s KILL 'hostkit-blog_call-*'").ok();
    vps.wait_for("the front process to see it", || vps.sh("pgrep -f '^hostkit deploy blog'").run().code != 0);
    let said = vps.sh("cat /root/said").ok();
    said.check(said.stdout.contains("[UNFINISHED]"), "it to say what became of it");
    vps.hostkit(["attach", "blog"]).expect_code(11);
    vps.hostkit(["repair"]).ok();
    vps.expect_answer("blog", "Version 1");
    vps.expect_healthy();
}

#[test]
fn what_is_handed_over_is_refused_to_whoever_may_not() {
    let Some(vps) = Vps::with().user("eve").boot() else { return };
    vps.live("blog", &Source::example("node"));
    vps.put("/srv/next", &slow(0, "the next"));
    vps.hostkit(["deploy", "blog", "--source", "/srv/next"]).as_user("eve").expect_code(7);
    let words = ["__work", "--", "blog", "20261120-000000-1"];
    vps.hostkit(words).as_user("eve").expect_code(2);
    vps.hostkit(["attach", "blog"]).as_user("eve").expect_code(7);
    vps.expect_answer("blog", "Version 1");
}
