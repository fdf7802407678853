//! Object storage, with the real Garage: each project in its own bucket and nowhere else, with a usual
//! client and nothing but its `.env`.

use crate::{call::Output, own_redis::MEASURED, snapshot::HOST, vps::Vps};

const SCRIPT: &str = include_str!("inside/storage.py");
const KILLER: &str = include_str!("inside/killer.py");

/// A server with an object store of its own, and these projects.
fn boot(projects: &[&str]) -> Option<Vps> {
    let vps = Vps::with().garage().boot()?;
    vps.hostkit(["init", "--with-storage"]).ok();
    for name in projects {
        vps.hostkit(["provision", name, "--no-db"]).ok();
    }
    Some(vps)
}

fn env(name: &str) -> String {
    format!("/home/{name}/.env")
}

/// Has the client do something; it must find nothing wrong.
fn speak<'v>(vps: &'v Vps, words: &[&str]) -> Output<'v> {
    vps.python(SCRIPT, words).ok()
}

/// A line for Garage's own program.
fn garage(vps: &Vps, words: &str) -> String {
    let line = format!(
        "export $(grep ^GARAGE_RPC_SECRET= /etc/hostkit/secrets/garage) RUST_LOG=error
         garage -c /etc/hostkit/garage.toml {words}"
    );
    vps.sh(&line).ok().stdout
}

#[test]
fn each_project_has_a_bucket_that_a_usual_client_opens_with_its_env_and_no_other_ones() {
    let Some(vps) = boot(&["blog", "shop"]) else { return };
    speak(&vps, &["work", &env("blog")]);
    speak(&vps, &["work", &env("shop")]);
    speak(&vps, &["attack", &env("blog"), "shop-assets"]);
    speak(&vps, &["attack", &env("shop"), "blog-assets"]);
    vps.sh("! runuser -u shop -- cat /home/blog/.env /etc/hostkit/secrets/garage /var/lib/hostkit-s3/meta")
        .ok();
    // Whoever has no token has no say, and nobody comes from outside.
    vps.sh("curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:3903/v2/ListKeys | grep 403").ok();
    vps.sh("! ss -Hltn | grep -E ':390[0-9]' | grep -v '127.0.0.1:390'").ok();
    vps.hostkit(["storage", "ls", "blog"]).ok().says("a/b/c.txt");
    vps.hostkit(["storage", "info", "blog"]).ok().says("of 10 GiB");
    vps.expect_healthy();
    let before = vps.snapshot(HOST);
    for words in [&["init", "--with-storage"][..], &["provision", "blog", "--no-db"], &["repair"]] {
        let again = vps.hostkit(["--json"].iter().chain(words)).ok().json();
        assert_eq!(again["changed"], false, "{words:?}: {again}");
    }
    before.expect_same(&vps.snapshot(HOST), "after doing it again");
}

#[test]
fn a_quota_holds_and_can_be_changed() {
    let Some(vps) = boot(&[]) else { return };
    vps.hostkit(["provision", "blog", "--no-db", "--storage-quota", "1MiB"]).ok();
    let fill = |bytes: &str| speak(&vps, &["fill", &env("blog"), bytes]).stdout.trim().to_owned();
    assert_eq!(fill("1000000"), "200");
    assert_eq!(fill("2000000"), "403");
    vps.hostkit(["provision", "blog", "--no-db", "--storage-quota", "3MiB"]).ok();
    assert_eq!(fill("2000000"), "200");
    let again = vps.hostkit(["--json", "provision", "blog", "--no-db"]).ok().json();
    assert_eq!(again["changed"], false, "it stays without being said again: {again}");
    // Somebody else's change is found and put right.
    garage(&vps, "bucket set-quotas --max-size 9MiB blog-assets");
    vps.hostkit(["doctor"]).expect_code(12).says("bucket:blog-assets");
    vps.hostkit(["repair", "blog"]).ok();
    vps.expect_healthy();
}

#[test]
fn a_presigned_address_is_for_one_object_one_verb_and_one_while() {
    let Some(vps) = boot(&["blog"]) else { return };
    let presign = |words: &[&str]| {
        let call = vps.hostkit(["storage", "presign", "blog"].iter().chain(words));
        call.ok().stdout.trim().to_owned()
    };
    let curl = |url: &str, more: &str| {
        let line = format!("curl -s -o /tmp/got -w '%{{http_code}}' {more} '{url}'");
        vps.sh(&line).ok().stdout
    };
    let put = presign(&["images/ü 1.png", "--put", "--expires", "5m"]);
    assert_eq!(curl(&put, "-X PUT --data-binary hello"), "200");
    let get = presign(&["images/ü 1.png"]);
    assert_eq!(curl(&get, ""), "200");
    vps.sh("grep -x hello /tmp/got").ok();
    assert_eq!(curl(&get, "-X PUT --data-binary other"), "403");
    assert_eq!(curl(&get.replace(".png", ".gif"), ""), "403");
    let brief = presign(&["images/ü 1.png", "--expires", "1s"]);
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_ne!(curl(&brief, ""), "200");
    vps.hostkit(["storage", "presign", "blog", "a", "--expires", "8d"]).refused(3, "INVALID_VALUE");
    vps.hostkit(["storage", "presign", "blog", "../shop-assets/a"]).refused(3, "INVALID_VALUE");
    // An address lets its reader in: the store does not write down what it is asked for.
    vps.sh("! journalctl --no-pager -u hostkit-s3 | grep -i x-amz-signature").ok();
}

#[test]
fn a_key_is_changed_under_load_and_no_request_fails() {
    let Some(vps) = boot(&["blog"]) else { return };
    vps.live("blog", &crate::source::Source::example("node"));
    vps.write("/root/storage.py", SCRIPT);
    vps.sh("cp /home/blog/.env /root/old.env
            setsid python3 /root/storage.py load /root/old.env /root/stop >/root/load.log 2>&1 &
            sleep 2")
        .ok();
    vps.hostkit(["storage", "rotate", "blog"]).ok().says("hostkit restart blog");
    vps.sh("! cmp -s /root/old.env /home/blog/.env").ok();
    speak(&vps, &["opens", &env("blog")]);
    vps.hostkit(["storage", "rotate", "blog"]).refused(5, "WRONG_STATE");
    vps.sh("sleep 2; touch /root/stop; sleep 1; cat /root/load.log").ok().says("done ");
    vps.sh("! grep -v '^done' /root/load.log; test $(grep -o '[0-9]*$' /root/load.log) -gt 20").ok();
    speak(&vps, &["opens", "/root/old.env"]);
    // The process is started anew with the new one, and the old one opens nothing any more.
    vps.hostkit(["restart", "blog"]).ok();
    vps.expect_answer("blog", "Version 1");
    vps.python(SCRIPT, ["opens", "/root/old.env"]).expect_code(1).says("refused with 403");
    speak(&vps, &["opens", &env("blog")]);
    vps.sh("cp /home/blog/.env /root/old.env").ok();
    vps.hostkit(["storage", "rotate", "blog", "--now"]).ok();
    vps.python(SCRIPT, ["opens", "/root/old.env"]).expect_code(1).says("refused with 403");
    speak(&vps, &["opens", &env("blog")]);
    vps.expect_healthy();
    vps.hostkit(["gc"]).ok();
    assert_eq!(garage(&vps, "key list").matches("hostkit:blog").count(), 1, "old keys are gone");
}

/// Nothing of any project is left in the store.
fn expect_empty(vps: &Vps) {
    let (keys, buckets) = (garage(vps, "key list"), garage(vps, "bucket list"));
    assert!(!keys.contains("hostkit") && !buckets.contains("assets"), "{keys}\n{buckets}");
}

#[test]
fn a_deleted_project_leaves_no_key_and_no_bucket_and_its_objects_come_back_under_any_name() {
    let Some(vps) = boot(&["blog", "shop"]) else { return };
    speak(&vps, &["work", &env("blog")]);
    vps.sh("cp /home/blog/.env /root/old.env").ok();
    let delete = |name: &str, more: &[&str]| {
        let words = ["project", "delete", name, "--confirm", name];
        vps.hostkit(words.iter().chain(more))
    };
    delete("blog", &[]).ok();
    delete("shop", &[]).ok();
    expect_empty(&vps);
    vps.python(SCRIPT, ["opens", "/root/old.env"]).expect_code(1);
    vps.hostkit(["backup", "list", "blog"]).ok().says("objects");
    vps.hostkit(["project", "restore", "blog"]).ok();
    speak(&vps, &["same", &env("blog")]);
    vps.expect_healthy();

    // Some of it is lost, and comes back; what came later goes.
    vps.hostkit(["backup", "create", "blog", "--with-objects"]).ok().says("4 objects");
    speak(&vps, &["fill", &env("blog"), "40000000"]);
    vps.hostkit(["backup", "restore", "blog", "--only", "objects"]).ok();
    speak(&vps, &["same", &env("blog")]);
    assert_eq!(garage(&vps, "bucket list").matches("assets").count(), 1, "nothing lies beside it");
    vps.expect_healthy();

    // A bucket larger than what is left for a backup of it.
    speak(&vps, &["fill", &env("blog"), "40000000"]);
    let dir = "/var/lib/hostkit/backups/blog.2000";
    vps.sh(&format!("cp -a {dir} /root/kept && mount -t tmpfs -o size=20m none {dir}")).ok();
    let before = vps.snapshot(HOST);
    vps.wait_for("the store to count", || {
        vps.hostkit(["storage", "info", "blog"]).ok().stdout.contains("5 objects")
    });
    let refused = delete("blog", &[]).refused(6, "DISK_FULL").says("bytes");
    refused.says("--objects keep").says("--objects drop");
    before.expect_same(&vps.snapshot(HOST), "after a delete that was refused");
    delete("blog", &["--objects", "keep"]).ok();
    assert!(garage(&vps, "bucket list").contains("blog-assets.2000.trash"));
    vps.hostkit(["project", "restore", "blog"]).ok();
    vps.hostkit(["storage", "ls", "blog", "fill"]).ok().says("38.1 MiB");
    vps.run(["umount", dir]).ok();
    delete("blog", &["--no-backup", "--objects", "save"]).refused(3, "INVALID_VALUE");

    // What is large goes through a backup as it is, in little memory, and under another name.
    speak(&vps, &["fill", &env("blog"), "120000000"]);
    let words = ["hostkit", "backup", "create", "blog", "--with-objects"];
    let made = vps.python(MEASURED, words).ok();
    let memory: u64 = made.lines().last().and_then(|l| l.parse().ok()).unwrap_or(u64::MAX);
    made.check(memory < 60, "less than 60 MiB");
    delete("blog", &[]).ok();
    expect_empty(&vps);
    vps.hostkit(["backup", "restore", "blog", "--as", "again"]).ok();
    vps.hostkit(["storage", "ls", "again", "fill"]).ok().says("114.4 MiB");
    vps.hostkit(["project", "purge", "blog", "--confirm", "blog"]).ok();
    delete("again", &["--objects", "drop"]).ok();
    expect_empty(&vps);
    vps.expect_healthy();
}

#[test]
fn killed_at_any_moment_a_delete_loses_no_object_and_leaves_no_half_of_them() {
    let Some(vps) = boot(&["blog"]) else { return };
    let kills: u64 = std::env::var("HOSTKIT_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(12);
    speak(&vps, &["work", &env("blog")]);
    let run = |microseconds: u64, words: &[&str]| {
        let number = microseconds.to_string();
        let words = [number.as_str(), "hostkit"].into_iter().chain(words.iter().copied());
        let output = vps.python(KILLER, words).ok();
        let last = output.lines().pop().unwrap_or_default();
        let took: u64 = last.rsplit(' ').next().and_then(|n| n.parse().ok()).expect("how long it took");
        (last.starts_with("killed"), took)
    };
    let delete = ["project", "delete", "blog", "--confirm", "blog"];
    let restore = ["project", "restore", "blog"];
    let times = [run(0, &delete).1, run(0, &restore).1];
    let is_there = || vps.hostkit(["project", "info", "blog"]).run().code == 0;
    let mut seed = 0x5eed_u64;
    let mut hits = [0, 0];
    for n in 0..kills {
        // Most kills come before the commit point: both ways are to be met as often.
        match (n % 2 == 0, is_there()) {
            (true, false) => {
                run(0, &restore);
            }
            (false, true) => {
                run(0, &delete);
            }
            _ => {}
        }
        let (words, took) = if is_there() { (&delete[..], times[0]) } else { (&restore[..], times[1]) };
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let moment = 1 + (seed >> 33) % took;
        let (killed, _) = run(moment, words);
        hits[usize::from(words == restore)] += u64::from(killed);
        vps.hostkit(["repair"]).ok();
        vps.hostkit(["gc"]).ok();
        if is_there() {
            speak(&vps, &["same", &env("blog")]);
            assert_eq!(garage(&vps, "bucket list").matches("assets").count(), 1, "kill {n} at {moment} µs");
            assert_eq!(garage(&vps, "key list").matches("hostkit").count(), 1, "kill {n} at {moment} µs");
        } else if words == delete {
            expect_empty(&vps);
        }
        vps.expect_healthy();
    }
    println!("of {hits:?} kills within {times:?} µs none lost anything");
    if !is_there() {
        vps.hostkit(restore).ok();
    }
    speak(&vps, &["same", &env("blog")]);
}

#[test]
fn a_store_that_is_down_is_named_and_comes_back_after_a_power_cut_with_all_it_had() {
    let Some(vps) = boot(&["blog"]) else { return };
    vps.live("blog", &crate::source::Source::example("node"));
    speak(&vps, &["work", &env("blog")]);
    vps.run(["systemctl", "stop", "hostkit-s3"]).ok();
    let before = vps.snapshot(HOST);
    for words in [
        &["provision", "shop", "--no-db"][..],
        &["storage", "info", "blog"],
        &["storage", "ls", "blog"],
        &["storage", "rotate", "blog"],
        &["project", "delete", "blog", "--confirm", "blog"],
    ] {
        vps.hostkit(words.iter().copied()).refused(6, "SERVICE_DOWN").says("hostkit-s3");
    }
    before.expect_same(&vps.snapshot(HOST), "after what could not be done");
    // The project itself goes on, and can be started anew.
    vps.hostkit(["restart", "blog"]).ok();
    vps.expect_answer("blog", "Version 1");
    vps.hostkit(["doctor"]).expect_code(12).says("hostkit-s3");
    vps.hostkit(["repair"]).ok();
    vps.expect_healthy();
    vps.cut_power();
    vps.wait_for_unit("hostkit-s3.service", "active");
    vps.wait_for("the store to answer", || vps.hostkit(["storage", "info", "blog"]).run().code == 0);
    vps.hostkit(["storage", "ls", "blog"]).ok().says("a/b/c.txt");
    speak(&vps, &["opens", &env("blog")]);
    vps.expect_healthy();
}

#[test]
fn the_secret_of_a_key_is_where_it_must_be_and_nowhere_else() {
    let Some(vps) = boot(&["blog"]) else { return };
    vps.live("blog", &crate::source::Source::example("node"));
    vps.hostkit(["storage", "rotate", "blog", "--now"]).ok();
    vps.hostkit(["--json", "storage", "info", "blog"]).ok();
    let found = vps.sh(
        "secret=$(. /home/blog/.env; printf %s \"$S3_SECRET_KEY\")
         token=$(sed -n s/^GARAGE_ADMIN_TOKEN=//p /etc/hostkit/secrets/garage)
         sync
         for word in \"$secret\" \"$token\"; do
             printf %s \"$word\" >/root/planted
             { journalctl --no-pager; cat /proc/[0-9]*/cmdline; hostkit --json history; hostkit --json doctor
               hostkit --json storage info blog; } 2>/dev/null | tr '\\0' ' ' >/root/said
             grep -rlF -f /root/planted /root/said /etc /home /run /tmp /var/lib/hostkit /var/log 2>/dev/null || :
         done
         grep -lF -f /root/planted /root/planted",
    );
    let found = found.ok().lines();
    assert_eq!(found, ["/home/blog/.env", "/etc/hostkit/secrets/garage", "/root/planted"]);
}

#[test]
fn a_bucket_elsewhere_is_attached_with_its_key_and_left_alone_by_a_delete() {
    let Some(vps) = boot(&[]) else { return };
    vps.hostkit(["project", "create", "blog"]).ok();
    // Another store stands for a provider: it is one, for who has only a key.
    garage(&vps, "bucket create elsewhere");
    garage(&vps, "key import --yes GKelsewhere the-secret-of-elsewhere -n x");
    garage(&vps, "bucket allow --read --write elsewhere --key GKelsewhere");
    let attach = |secret: &str, endpoint: &str| {
        let words = ["storage", "attach", "blog", "--bucket", "elsewhere", "--access-key", "GKelsewhere"];
        let more = ["--region", "garage", "--endpoint", endpoint];
        vps.hostkit(words.iter().chain(&more)).stdin(secret.to_owned())
    };
    let here = "http://127.0.0.1:3900";
    let before = vps.snapshot(HOST);
    attach("not-the-secret\n", here).refused(6, "STORAGE_REFUSED");
    attach("", here).refused(3, "INVALID_VALUE");
    attach("the-secret-of-elsewhere\n", "http://s3.example.com").refused(3, "INVALID_VALUE");
    attach("the-secret-of-elsewhere\n", "http://127.0.0.1:1").refused(6, "SERVICE_DOWN");
    before.expect_same(&vps.snapshot(HOST), "after what was refused");
    attach("the-secret-of-elsewhere\n", here).ok();
    speak(&vps, &["work", &env("blog")]);
    vps.hostkit(["storage", "info", "blog"]).ok().says("elsewhere");
    vps.expect_healthy();
    vps.hostkit(["project", "delete", "blog", "--confirm", "blog"]).ok();
    vps.hostkit(["project", "purge", "blog", "--confirm", "blog"]).ok();
    assert!(garage(&vps, "bucket list").contains("elsewhere"));
}

#[test]
fn without_garage_a_host_has_no_store_and_says_how_to_get_one() {
    let Some(vps) = Vps::boot() else { return };
    let before = vps.snapshot(HOST);
    vps.hostkit(["init", "--with-storage"]).refused(6, "PROGRAM_MISSING").says("install garage");
    vps.write("/root/garage", "#!/bin/sh\n");
    for bad in ["/root/garage", "garage", "/usr/bin/nothing", "/etc/passwd"] {
        vps.hostkit(["init", "--with-storage", "--garage", bad]).refused(3, "INVALID_VALUE");
    }
    before.expect_same(&vps.snapshot(HOST), "after what was refused");
    // It goes without, and says so; who insists is refused, and nothing is made.
    vps.hostkit(["provision", "blog", "--no-db"]).ok().says("hostkit init --with-storage");
    vps.hostkit(["storage", "info", "blog"]).refused(5, "WRONG_STATE");
    vps.hostkit(["project", "create", "shop", "--with-storage"]).refused(6, "NOT_INITIALISED");
    vps.sh("! getent passwd shop").ok();
}
