//! Redis in trouble, with the real server: a project's own that lies, values that are long, a disk that is
//! full.

use std::time::{Duration, Instant};

use crate::{call::Output, vps::Vps};

const LIAR: &str = include_str!("inside/liar.py");

/// Runs a command and says how many MiB it took at most, on its last line.
pub(crate) const MEASURED: &str = "
import resource, subprocess, sys
ran = subprocess.run(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)
sys.exit(ran.returncode)
";

fn url(vps: &Vps, name: &str) -> String {
    vps.sh(&format!(". /home/{name}/.env; printf %s \"$REDIS_URL\"")).ok().stdout
}

/// What the project's own client is answered.
fn speak(vps: &Vps, name: &str, words: &str) -> String {
    vps.sh(&format!("redis-cli --no-auth-warning -u '{}' {words}", url(vps, name))).ok().stdout
}

/// What HostKit's user is answered by the shared server.
fn admin(vps: &Vps, words: &str) -> String {
    let line = format!(
        "REDISCLI_AUTH=$(cat /etc/hostkit/secrets/redis) \
         redis-cli --no-auth-warning -s /run/redis/hostkit.sock --user hkadmin {words}"
    );
    vps.sh(&line).ok().stdout
}

/// A command of HostKit's, and that it took neither long nor much memory.
fn modest<'v>(vps: &'v Vps, words: &[&str]) -> Output<'v> {
    let began = Instant::now();
    let output = vps.python(MEASURED, ["hostkit"].iter().chain(words)).run();
    let memory: u64 = output.lines().last().and_then(|l| l.parse().ok()).unwrap_or(u64::MAX);
    output.check(memory < 150, "less than 150 MiB");
    output.check(began.elapsed() < Duration::from_secs(100), "an end within 100 s");
    output
}

#[test]
fn a_project_cannot_leave_the_one_database_of_its_own_redis_nor_change_who_may_come() {
    let Some(vps) = Vps::boot() else { return };
    vps.hostkit(["provision", "blog", "--no-db", "--redis", "dedicated"]).ok();
    assert_eq!(speak(&vps, "blog", "set a 1").trim(), "OK");
    for words in [
        "select 1",
        "move a 1",
        "copy a b db 1",
        "swapdb 0 1",
        "acl list",
        "acl save",
        "config set dir /tmp",
        "replicaof 127.0.0.1 1",
        "shutdown",
    ] {
        assert!(speak(&vps, "blog", words).contains("NOPERM"), "{words}");
    }
    vps.sh("stat -c '%U:%G %a' /etc/hostkit/redis-blog.acl").ok().says("root:blog 640");
    vps.sh(
        "! runuser -u blog -- sh -c 'rm -f /etc/hostkit/redis-blog.acl; echo x >/etc/hostkit/redis-blog.acl'",
    )
    .ok();
    // Whatever lies where the file of users once lay is nobody's concern.
    vps.sh("cd /var/lib/hostkit/redis/blog; ln -s /etc/shadow users.acl; runuser -u blog -- mkfifo fifo")
        .ok();
    vps.hostkit(["redis", "rotate", "blog"]).ok();
    vps.hostkit(["repair", "blog"]).ok();
    vps.expect_healthy();
    assert_eq!(speak(&vps, "blog", "get a").trim(), "1");
    vps.hostkit(["project", "delete", "blog", "--confirm", "blog"]).ok();
    vps.sh("! ls /etc/hostkit | grep blog").ok();
    vps.hostkit(["project", "restore", "blog"]).ok();
    assert_eq!(speak(&vps, "blog", "get a").trim(), "1");
}

#[test]
fn a_redis_that_says_what_it_likes_takes_neither_memory_nor_time_and_keeps_nothing_from_going() {
    let Some(vps) = Vps::boot() else { return };
    vps.write("/srv/liar.py", LIAR);
    // Each in a project of its own, and all at once: nearly all of it is waiting.
    std::thread::scope(|scope| {
        for how in ["endless", "silent", "looking", "nothing"] {
            let vps = &vps;
            scope.spawn(move || lied_to(vps, how));
        }
    });
    vps.sh("! ls /home | grep liar-").ok();
    vps.expect_healthy();
}

/// A project whose own Redis was replaced by a liar of this kind: what is asked ends, and the project can go.
fn lied_to(vps: &Vps, how: &str) {
    let name = format!("liar-{how}");
    vps.hostkit(["provision", &name, "--no-db", "--redis", "dedicated"]).patiently().ok();
    speak(vps, &name, "set a 1");
    // What the project's account can do to its own server.
    vps.sh(&format!(
        "pkill -STOP -u {name} redis-server
         setsid runuser -u {name} -- python3 /srv/liar.py /run/hostkit-redis-{name}/hostkit.sock {how} >/dev/null 2>&1 &
         sleep 1"
    ))
    .ok();
    let info = modest(vps, &["redis", "info", &name]);
    info.check(info.code == 6, "what it says not to be believed");
    let backup = modest(vps, &["backup", "create", &name]);
    backup.check(backup.code == 6, "no backup of it");
    modest(vps, &["doctor", &name]).check(true, "");
    if ["endless", "looking"].contains(&how) {
        modest(vps, &["repair", &name]).expect(0);
        assert_eq!(speak(vps, &name, "get a").trim(), "1", "{how}");
        vps.hostkit(["doctor", &name]).ok();
    }
    modest(vps, &["project", "delete", &name, "--confirm", &name, "--no-backup"]).expect(0);
    vps.sh(&format!("pkill -f '[h]ostkit-redis-{name}/' || true; sleep 0.2; ! pgrep -u {name}")).ok();
    vps.hostkit(["project", "purge", &name, "--confirm", &name]).ok();
}

#[test]
fn long_values_go_through_a_backup_in_little_memory_and_ones_too_long_are_named() {
    let Some(vps) = Vps::boot() else { return };
    vps.hostkit(["provision", "blog", "--no-db"]).ok();
    let long = "head -c 300000000 /dev/urandom | tee /dev/stderr 2>/root/long | \
                redis-cli --no-auth-warning -u \"$(. /home/blog/.env; printf %s \"$REDIS_URL\")\" -x set long >/dev/null";
    vps.sh(long).ok();
    speak(&vps, "blog", "mset a 1 b 2 c 3");
    vps.sh("redis-cli --no-auth-warning -u \"$(. /home/blog/.env; printf %s \"$REDIS_URL\")\" debug digest-value long || true").ok();
    let sum = || {
        let line = "redis-cli --no-auth-warning -u \"$(. /home/blog/.env; printf %s \"$REDIS_URL\")\" --raw get long | head -c 300000000 | sha256sum";
        vps.sh(line).ok().stdout
    };
    let before = sum();
    assert_eq!(vps.sh("sha256sum </root/long").ok().stdout, before, "the control");
    modest(&vps, &["backup", "create", "blog"]).expect(0);
    speak(&vps, "blog", "flushdb");
    modest(&vps, &["backup", "restore", "blog"]).expect(0);
    assert_eq!(sum(), before);
    assert_eq!(speak(&vps, "blog", "mget a b c").split_whitespace().collect::<String>(), "123");
    admin(&vps, "config set proto-max-bulk-len 1mb");
    vps.hostkit(["backup", "create", "blog"]).refused(5, "WRONG_STATE").says("`long`").says("286 MiB");
}

#[test]
fn a_redis_whose_disk_is_full_is_named_and_nothing_is_half_made() {
    let Some(vps) = Vps::boot() else { return };
    vps.hostkit(["provision", "blog", "--no-db"]).ok();
    speak(&vps, "blog", "set a 1");
    vps.hostkit(["backup", "create", "blog"]).ok();
    // Where it keeps its users.
    let fill = |place: &str, between: &str| {
        vps.sh(&format!(
            "cp -a {place} /root/kept; mount -t tmpfs -o size=2m,mode=$(stat -c %a {place}),uid=$(id -u redis),gid=$(id -g redis) none {place}
             cp -a /root/kept/. {place}; rm -rf /root/kept; {between}; head -c 4000000 /dev/zero >{place}/full || true"
        ))
        .ok();
    };
    fill("/etc/redis", ":");
    let users = admin(&vps, "acl list");
    vps.hostkit(["provision", "shop", "--no-db"]).refused(6, "DISK_FULL");
    vps.hostkit(["redis", "rotate", "blog"]).refused(6, "DISK_FULL");
    assert_eq!(admin(&vps, "acl list"), users);
    vps.sh("! getent passwd shop; rm /etc/redis/full").ok();
    vps.expect_healthy();
    vps.hostkit(["provision", "shop", "--no-db"]).ok();
    // Where it keeps its data: it takes nothing more once it could not write that down.
    admin(&vps, "save");
    fill("/var/lib/redis", "systemctl restart redis-server");
    admin(&vps, "config set save '3600 1'");
    admin(&vps, "bgsave");
    vps.wait_for("it to have failed", || {
        admin(&vps, "info persistence").contains("rdb_last_bgsave_status:err")
    });
    vps.hostkit(["backup", "restore", "blog"]).refused(6, "DISK_FULL");
    assert_eq!(speak(&vps, "blog", "get a").trim(), "1");
    vps.sh("rm /var/lib/redis/full").ok();
    admin(&vps, "bgsave");
    vps.wait_for("it to be well", || admin(&vps, "info persistence").contains("rdb_last_bgsave_status:ok"));
    vps.hostkit(["backup", "restore", "blog"]).ok();
    assert_eq!(speak(&vps, "blog", "get a").trim(), "1");
    vps.expect_healthy();
}
