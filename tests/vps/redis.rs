//! Redis, with the real server: each project in its own database and nowhere else, nobody locked out,
//! nothing lost.

use crate::{call::Output, snapshot::HOST, source::Source, vps::Vps};

const SCRIPT: &str = include_str!("inside/redis.py");
/// The commands of the server that was reviewed, and what a project may do with them.
const REVIEWED: &str = include_str!("redis-7.0.15.reviewed");
/// What the fake knows of the same server.
const FAKED: &str = include_str!("../../src/system/fake/redis-7.0.15.txt");

/// The address in a project's environment.
fn url(vps: &Vps, name: &str) -> String {
    let line = format!(". /home/{name}/.env; printf %s \"$REDIS_URL\"");
    let url = vps.sh(&line).ok().stdout;
    assert!(url.starts_with(&format!("redis://{name}:")), "{url}");
    url
}

/// Has the script do something, as a project's account would.
fn speak<'v>(vps: &'v Vps, words: &[&str]) -> Output<'v> {
    vps.python(SCRIPT, words).run()
}

/// The script found nothing to complain of.
fn quiet(output: &Output<'_>) {
    output.check(output.code == 0, "nothing to be found");
}

/// What a line for `redis-cli` answers, with HostKit's own login.
fn admin(vps: &Vps, words: &str) -> String {
    let line = format!(
        "REDISCLI_AUTH=$(cat /etc/hostkit/secrets/redis) \
         redis-cli --no-auth-warning -s /run/redis/hostkit.sock --user hkadmin {words}"
    );
    vps.sh(&line).ok().stdout
}

#[test]
fn no_project_reaches_another_ones_redis_and_everything_of_its_own_works() {
    let Some(vps) = Vps::boot() else { return };
    let long = "a-project-with-the-longest-name1";
    for name in ["blog", long] {
        vps.hostkit(["provision", name]).ok();
    }
    let (blog, other) = (url(&vps, "blog"), url(&vps, long));
    assert!(blog.ends_with("@localhost:6379/1") && other.ends_with("/2"), "{blog} {other}");
    quiet(&speak(&vps, &["attack", &blog, &other]));
    quiet(&speak(&vps, &["attack", &other, &blog]));
    quiet(&speak(&vps, &["work", &blog]));
    quiet(&speak(&vps, &["work", &other]));
    // Who gives no name is nobody, and the socket is root's alone.
    vps.sh("redis-cli get planted | grep NOAUTH; redis-cli ping | grep NOAUTH").ok();
    vps.sh("! runuser -u blog -- redis-cli -s /run/redis/hostkit.sock ping").ok();
    vps.sh("! runuser -u blog -- cat /etc/hostkit/secrets/redis /etc/redis/users.acl").ok();
    vps.expect_healthy();
    let before = admin(&vps, "acl list");
    assert!(before.contains("user blog on"), "{before}");
    vps.hostkit(["project", "delete", "blog", "--confirm", "blog"]).ok();
    assert!(!admin(&vps, "acl list").contains("user blog "));
    assert!(!vps.sh("cat /etc/redis/users.acl").ok().stdout.contains("user blog "));
    assert!(!admin(&vps, "info keyspace").contains("db1:"), "its data is still there");
    vps.expect_healthy();
}

#[test]
fn every_command_of_the_installed_server_is_judged_as_it_was_reviewed() {
    let Some(vps) = Vps::boot() else { return };
    let version = admin(&vps, "info server");
    assert!(version.contains("redis_version:7.0.15"), "review this version, and add its file:\n{version}");
    vps.hostkit(["provision", "blog"]).ok();
    let walked = speak(&vps, &["walk", "blog"]).expect(0).stdout;
    if std::env::var_os("UPDATE_REVIEWED").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vps/redis-7.0.15.reviewed"), &walked)
            .unwrap();
        return;
    }
    for line in walked.lines().filter(|line| !REVIEWED.lines().any(|r| r == *line)) {
        eprintln!("new: {line}");
    }
    assert_eq!(walked.trim(), REVIEWED.trim(), "a project may do something else than was reviewed");
    assert_eq!(
        speak(&vps, &["categories"]).expect(0).stdout.trim(),
        FAKED.trim(),
        "the fake knows other commands"
    );
}

#[test]
fn strangers_stay_out_and_hostkit_gets_in_after_restarts_and_power_cuts() {
    let Some(vps) = Vps::boot() else { return };
    vps.hostkit(["provision", "blog"]).ok();
    let blog = url(&vps, "blog");
    let judge = |when: &str| {
        vps.wait_for_unit("redis-server.service", "active");
        eprintln!("{when}");
        vps.sh("redis-cli ping | grep NOAUTH").ok();
        quiet(&speak(&vps, &["work", &blog]));
        vps.expect_healthy();
    };
    vps.run(["systemctl", "restart", "redis-server"]).ok();
    judge("after a restart");
    vps.run(["systemctl", "kill", "--kill-who=main", "-s", "KILL", "redis-server"]).ok();
    std::thread::sleep(std::time::Duration::from_secs(1));
    judge("after a kill");
    vps.cut_power();
    judge("after a power cut");
    vps.sh("DEBIAN_FRONTEND=noninteractive apt-get install -y --reinstall redis-server >/dev/null 2>&1").ok();
    judge("after the package was installed again");
    // Somebody who thinks that it should be open is found, and put right.
    admin(&vps, "acl setuser default on nopass '~*' +@all");
    admin(&vps, "acl setuser blog +flushall '&*'");
    let found = vps.hostkit(["doctor"]).expect_code(12);
    found.check(
        found.stdout.contains("redis-server") && found.stdout.contains("redis-user"),
        "both to be found",
    );
    vps.hostkit(["repair"]).ok();
    judge("after a repair");
    // HostKit's own password is lost, or its user.
    admin(&vps, "acl deluser hkadmin || true");
    vps.sh("sed -i /hkadmin/d /etc/redis/users.acl; echo other >/etc/hostkit/secrets/redis").ok();
    vps.hostkit(["doctor"]).expect_code(12);
    vps.hostkit(["repair"]).ok();
    judge("after HostKit was locked out");
}

#[test]
fn numbers_go_up_to_a_thousand_and_what_is_not_empty_is_not_given_out() {
    let Some(vps) = Vps::boot() else { return };
    vps.sh("export REDISCLI_AUTH=$(cat /etc/hostkit/secrets/redis)
         for n in $(seq 1 999); do printf 'select %s\\nset planted %s\\n' $n $n; done |
         redis-cli --no-auth-warning -s /run/redis/hostkit.sock --user hkadmin >/dev/null")
        .ok();
    vps.hostkit(["provision", "blog"]).ok();
    let blog = url(&vps, "blog");
    assert!(blog.ends_with("/1000"), "{blog}");
    quiet(&speak(&vps, &["work", &blog]));
    // A thousand users, as a thousand projects have them, and one more project among them.
    vps.sh("export REDISCLI_AUTH=$(cat /etc/hostkit/secrets/redis)
         rule=$(grep '^user blog ' /etc/redis/users.acl | cut -d' ' -f3-)
         for n in $(seq 1 999); do echo \"acl setuser other$n $rule\"; done |
         redis-cli --no-auth-warning -s /run/redis/hostkit.sock --user hkadmin >/dev/null")
        .ok();
    vps.hostkit(["provision", "shop"]).ok();
    assert!(url(&vps, "shop").ends_with("/1001"));
    vps.run(["systemctl", "restart", "redis-server"]).ok();
    quiet(&speak(&vps, &["work", &blog]));
    vps.expect_healthy();
}

#[test]
fn passwords_rotate_under_load_and_no_command_fails() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("blog", &Source::example("node"));
    let old = url(&vps, "blog");
    let running = vps.sh("systemctl show -p MainPID hostkit-blog").ok().stdout;
    vps.write("/root/redis.py", SCRIPT);
    let loaded = vps
        .sh(&format!(
            "python3 /root/redis.py load '{old}' 4 >/tmp/load 2>&1 & load=$!
             sleep 1; hostkit redis rotate blog; sleep 1; hostkit redis rotate blog; wait $load; cat /tmp/load"
        ))
        .ok();
    let commands: u32 = loaded.stdout.lines().last().and_then(|l| l.parse().ok()).unwrap_or(0);
    loaded.check(commands > 100, "a load that is one");
    let new = url(&vps, "blog");
    assert_ne!(old, new);
    assert_eq!(vps.sh("systemctl show -p MainPID hostkit-blog").ok().stdout, running, "it was restarted");
    quiet(&speak(&vps, &["work", &new]));
    quiet(&speak(&vps, &["work", &old]));
    vps.hostkit(["restart", "blog"]).ok();
    quiet(&speak(&vps, &["work", &new]));
    let refused = speak(&vps, &["work", &old]);
    refused.check(refused.code != 0 && refused.stderr.contains("WRONGPASS"), "the old password to be gone");
    vps.hostkit(["redis", "rotate", "blog", "--now"]).ok();
    let refused = speak(&vps, &["work", &new]);
    refused.check(refused.code != 0, "the password before to be gone at once");
    quiet(&speak(&vps, &["work", &url(&vps, "blog")]));
    vps.expect_healthy();
    // Nobody saw any of them.
    let password = new.split(':').nth(2).and_then(|p| p.split('@').next()).unwrap_or_default().to_owned();
    let seen = vps.sh(&format!(
        "! grep -rIl -e {password} /var/log /etc /var/lib/redis /run /var/lib/hostkit 2>/dev/null; \
         ! journalctl -q | grep -c {password}"
    ));
    seen.ok();
    assert!(url(&vps, "blog").len() > 40, "the control: it is where it belongs");
}

#[test]
fn a_server_that_is_down_is_named_and_what_does_not_need_it_goes_on() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("blog", &Source::example("node"));
    vps.run(["systemctl", "stop", "redis-server"]).ok();
    let before = vps.snapshot(HOST);
    let refused =
        vps.hostkit(["provision", "shop"]).refused(6, "SERVICE_DOWN").says("systemctl start redis-server");
    before.expect_same(&vps.snapshot(HOST), &format!("after\n{refused}"));
    vps.hostkit(["redis", "info", "blog"]).refused(6, "SERVICE_DOWN");
    vps.hostkit(["redis", "rotate", "blog"]).refused(6, "SERVICE_DOWN");
    vps.deploy("blog", &Source::example("node").version(2));
    vps.expect_answer("blog", "Version 2");
    vps.run(["systemctl", "start", "redis-server"]).ok();
    vps.expect_healthy();
}

#[test]
fn a_redis_that_somebody_uses_is_not_taken_over_unasked_and_loses_nothing() {
    let Some(vps) = Vps::boot() else { return };
    vps.sh(
        "rm -rf /var/lib/hostkit /etc/hostkit /etc/systemd/system/redis-server.service.d /etc/redis/users.acl
         printf 'save \"\"\\n' >>/etc/redis/redis.conf
         systemctl daemon-reload; systemctl restart redis-server; redis-cli set mine 1",
    )
    .ok();
    let look = || vps.sh("cd /etc/redis && ls -la && sha256sum *").ok().stdout;
    let before = look();
    vps.hostkit(["init"]).refused(5, "FOREIGN").says("--redis leave").says("--redis close");
    assert_eq!(look(), before, "a refused `init` changed something");
    vps.sh("redis-cli get mine | grep 1").ok();
    vps.hostkit(["init", "--redis", "close", "--base-domain", "example.test"]).ok();
    vps.sh("redis-cli get mine | grep NOAUTH").ok();
    assert_eq!(admin(&vps, "get mine").trim(), "1", "what was in it is lost");
    vps.hostkit(["init"]).ok();
    vps.hostkit(["provision", "blog"]).ok();
    quiet(&speak(&vps, &["work", &url(&vps, "blog")]));
    vps.expect_healthy();
}

#[test]
fn a_redis_of_its_own_is_reached_by_its_project_alone_and_keeps_what_it_has() {
    let Some(vps) = Vps::boot() else { return };
    vps.hostkit(["provision", "blog", "--redis", "dedicated", "--redis-memory", "32"]).ok();
    vps.hostkit(["provision", "shop"]).ok();
    let (blog, shop) = (url(&vps, "blog"), url(&vps, "shop"));
    assert!(blog.ends_with("@localhost:14001/0"), "{blog}");
    quiet(&speak(&vps, &["work", &blog]));
    let info = vps.hostkit(["--json", "redis", "info", "blog"]).ok().json();
    assert_eq!(info["data"]["memory_limit_bytes"], 32 << 20, "{info}");
    // With another project's credentials, or none, there is nothing.
    let strange = shop.replace(":6379/1", ":14001/0");
    let refused = speak(&vps, &["work", &strange]);
    refused.check(refused.stderr.contains("WRONGPASS"), "a stranger to be refused");
    vps.sh("redis-cli -p 14001 ping | grep NOAUTH").ok();
    vps.sh("! runuser -u shop -- ls /var/lib/hostkit/redis/blog").ok();
    vps.sh("! runuser -u shop -- redis-cli -s /run/hostkit-redis-blog/hostkit.sock ping").ok();
    vps.sh("ps -o user= -C redis-server | sort | tr -d ' \\n' | grep blogredis").ok();
    let cli = format!("redis-cli -u '{blog}' --no-auth-warning");
    vps.sh(&format!("{cli} set kept yes; sleep 2")).ok();
    vps.cut_power();
    vps.wait_for_unit("hostkit-blog_redis.service", "active");
    vps.sh(&format!("{cli} get kept | grep yes")).ok();
    vps.hostkit(["redis", "rotate", "blog"]).ok();
    // Nothing runs that could still know the old password.
    let refused = speak(&vps, &["work", &blog]);
    refused.check(refused.stderr.contains("WRONGPASS"), "the old password to be gone");
    vps.sh(&format!("redis-cli -u '{}' --no-auth-warning get kept | grep yes", url(&vps, "blog"))).ok();
    vps.expect_healthy();
    vps.hostkit(["project", "delete", "blog", "--confirm", "blog"]).ok();
    vps.sh("! systemctl is-active hostkit-blog_redis; ! test -e /var/lib/hostkit/redis/blog").ok();
    vps.hostkit(["project", "restore", "blog"]).ok();
    vps.sh(&format!("redis-cli -u '{}' --no-auth-warning get kept | grep yes", url(&vps, "blog"))).ok();
    vps.hostkit(["redis", "flush", "blog", "--confirm", "blog"]).ok().says("1 keys");
    vps.expect_healthy();
}

const CELERY: &str = r#"
import os
from celery import Celery
from celery.backends.redis import RedisBackend

# From 5.3 on this is: result_backend_transport_options = {"global_keyprefix": "blog_"}
if os.environ["SHARED"]:
    RedisBackend.task_keyprefix = (os.environ["PROJECT_NAME"] + "_celery-task-meta-").encode()
app = Celery("jobs", broker=os.environ["CELERY_BROKER_URL"], backend=os.environ["CELERY_RESULT_BACKEND"])

@app.task
def add(a, b):
    return a + b
"#;

#[test]
fn a_celery_worker_returns_results() {
    let Some(vps) = Vps::with().clients().boot() else { return };
    vps.hostkit(["provision", "blog"]).ok();
    vps.hostkit(["provision", "shop", "--redis", "dedicated"]).ok();
    vps.write("/srv/jobs.py", CELERY);
    // In the shared server results need the project's prefix; a server of its own needs nothing.
    for (name, shared) in [("blog", "yes"), ("shop", "")] {
        let line = format!(
            "set -a; . /home/{name}/.env; SHARED={shared}; cd /srv
             runuser -u {name} -- python3 -m celery -A jobs worker -c 1 >/tmp/{name}.worker 2>&1 & worker=$!
             runuser -u {name} -- timeout 60 python3 -c 'from jobs import add; print(add.delay(40, 2).get(timeout=30))'
             kill $worker || true; wait $worker 2>/dev/null || true"
        );
        let output = vps.sh(&line).run();
        let log = vps.sh(&format!("cat /tmp/{name}.worker")).run().stdout;
        output.check(output.stdout.contains("42"), &format!("a result; the worker said:\n{log}"));
        assert!(!log.contains("NOPERM"), "{log}");
    }
}
