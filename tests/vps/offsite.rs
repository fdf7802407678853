//! Copies of backups in a bucket, with the real Garage in the place of a provider.

use crate::{
    backup::{app, backup, destroy, expect_tidy, furnish, page},
    call::Call,
    vps::Vps,
};

const SCRIPT: &str = include_str!("inside/copies.py");
const BACKUPS: &str = "/var/lib/hostkit/backups";

/// A server with a guest book, and a bucket with a key, made by hand.
fn boot() -> Option<Vps> {
    let vps = Vps::with().garage().clients().boot()?;
    vps.hostkit(["init", "--with-storage"]).ok();
    furnish(&vps);
    for words in [
        "bucket create copies",
        "key import --yes GKcopies the-secret-of-copies -n copies",
        "bucket allow --read --write copies --key GKcopies",
    ] {
        vps.sh(&format!(
            "export $(grep ^GARAGE_RPC_SECRET= /etc/hostkit/secrets/garage) RUST_LOG=error
             garage -c /etc/hostkit/garage.toml {words}"
        ))
        .ok();
    }
    Some(vps)
}

fn aim<'v>(vps: &'v Vps, endpoint: &str, bucket: &str, secret: &str) -> Call<'v> {
    let words = ["backup", "target", "--region", "garage", "--access-key", "GKcopies"];
    vps.hostkit(words.iter().chain(&["--endpoint", endpoint, "--bucket", bucket]))
        .stdin(format!("{secret}\n"))
}

const HERE: &str = "http://127.0.0.1:3900";
const SECRET: &str = "the-secret-of-copies";

fn copies(vps: &Vps) -> Vec<String> {
    vps.python(SCRIPT, ["list"]).ok().lines().iter().map(ToString::to_string).collect()
}

/// Where each backup lies, as `backup list` says, newest first.
fn places(vps: &Vps) -> Vec<String> {
    let envelope = vps.hostkit(["--json", "backup", "list", "blog"]).ok().json();
    let all = envelope["data"]["backups"].as_array().expect("a list");
    all.iter().map(|b| b["place"].as_str().expect("a place").to_owned()).collect()
}

#[test]
fn what_the_host_has_lost_comes_back_from_its_copy() {
    let Some(vps) = boot() else { return };
    aim(&vps, HERE, "copies", "not-the-secret").refused(6, "STORAGE_REFUSED");
    aim(&vps, HERE, "nothing", SECRET).refused(6, "STORAGE_REFUSED");
    aim(&vps, "http://127.0.0.1:1", "copies", SECRET).refused(6, "SERVICE_DOWN");
    aim(&vps, "http://s3.example.com", "copies", SECRET).refused(3, "INVALID_VALUE");
    vps.hostkit(["backup", "target"]).ok().says("nowhere");
    aim(&vps, HERE, "copies", SECRET).ok().says("on this host");
    assert_eq!(copies(&vps), [""; 0], "what it was tried with is gone");
    vps.hostkit(["backup", "target"]).ok().says("GKcopies");

    // More than one request carries, in memory that does not grow with it.
    vps.sh("head -c 100000000 /dev/urandom > /home/blog/shared/noise; chown blog: /home/blog/shared/noise")
        .ok();
    let before = page(&vps, "blog");
    let measured = vps
        .run([
            "python3",
            "-c",
            "import resource, subprocess, sys; subprocess.check_call(sys.argv[1:]); \
             print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)",
            "hostkit",
            "backup",
            "create",
            "blog",
        ])
        .ok();
    let measured = measured.says("copied offsite");
    let most: u64 = measured.lines().last().expect("a number").parse().expect("a number");
    println!("the largest process had {} MiB", most >> 10);
    measured.check(most < 90 << 10, "less memory than the backup has bytes");
    assert_eq!((places(&vps), copies(&vps).len()), (vec!["both".to_owned()], 1));
    vps.expect_healthy();

    vps.sh(&format!("rm {BACKUPS}/blog.*/*.backup")).ok();
    assert_eq!(places(&vps), ["offsite"]);
    vps.hostkit(["backup", "verify", "blog"]).ok().says("2008 rows");
    destroy(&vps);
    vps.sh("rm /home/blog/shared/noise").ok();
    vps.hostkit(["backup", "restore", "blog"]).ok();
    assert_eq!(page(&vps, "blog"), before);
    vps.sh("test $(stat -c %s /home/blog/shared/noise) = 100000000").ok();
    vps.sh("! ls -A /var/lib/hostkit | grep scratch").ok();
    expect_tidy(&vps);
    vps.expect_healthy();

    // The last one of a deleted project too.
    vps.sh("rm /home/blog/shared/noise").ok();
    vps.hostkit(["project", "delete", "blog", "--confirm", "blog"]).ok();
    vps.sh(&format!("rm {BACKUPS}/blog.*/*.backup")).ok();
    vps.hostkit(["backup", "restore", "blog", "--as", "again"]).ok();
    vps.deploy("again", &app());
    assert_eq!(page(&vps, "again"), before);
    let found = vps.sh(&format!(
        "printf %s {SECRET} >/root/planted; sync
         {{ journalctl --no-pager; hostkit --json history; hostkit --json doctor; hostkit --json backup target
           hostkit --json backup list blog; }} >/root/said 2>/dev/null || :
         grep -rlF -f /root/planted /root/said /etc /home /run /tmp /var/lib/hostkit /var/log 2>/dev/null || :
         grep -lF -f /root/planted /root/planted"
    ));
    assert_eq!(found.ok().lines(), ["/root/planted"]);
}

#[test]
fn a_target_that_is_down_costs_no_backup_and_old_copies_go() {
    let Some(vps) = boot() else { return };
    aim(&vps, HERE, "copies", SECRET).ok();
    vps.hostkit(["backup", "schedule", "blog"]).ok();
    vps.run(["systemctl", "stop", "hostkit-s3"]).ok();
    vps.hostkit(["backup", "create", "blog"]).ok().says("tried again with the next backup");
    vps.hostkit(["backup", "list", "blog"]).ok().says("cannot be looked at");
    vps.hostkit(["doctor"]).expect_code(12).says("backup target");
    vps.run(["systemctl", "start", "hostkit-s3"]).ok();
    vps.wait_for("the store to answer", || vps.hostkit(["doctor"]).run().code == 0);
    assert_eq!(places(&vps), ["here"]);
    // The timer's next one brings the other along.
    vps.run(["systemctl", "start", "hostkit-blog_backup.service"]).ok();
    assert_eq!(places(&vps), ["both", "both"]);
    vps.expect_healthy();

    let id = backup(&vps);
    vps.python(SCRIPT, ["date", &id, "20200101-000000"]).ok();
    assert_eq!(copies(&vps).len(), 4);
    vps.hostkit(["backup", "restore", "blog", "20200101-000000"]).refused(3, "INVALID_BACKUP");
    vps.hostkit(["backup", "prune", "blog"]).ok().says("20200101-000000 (offsite)");
    assert_eq!(copies(&vps).len(), 3);
    vps.hostkit(["backup", "delete", "blog", &id]).ok();
    assert_eq!(copies(&vps).len(), 2);
    vps.hostkit(["backup", "target", "--unset"]).ok();
    backup(&vps);
    assert_eq!((copies(&vps).len(), places(&vps).len()), (2, 3));
    vps.expect_healthy();
}
