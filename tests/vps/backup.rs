//! Backups on a real PostgreSQL: what was destroyed comes back, whatever kills the coming back.

use crate::{source::Source, vps::Vps};

const KILLER: &str = include_str!("inside/killer.py");

/// What a dump must carry: odd names and values, what is made from other things, and who may do what.
const TABLES: &str = r#"
CREATE TABLE guests (id bigserial PRIMARY KEY, name text NOT NULL, note jsonb, at timestamptz DEFAULT now());
INSERT INTO guests (name, note) SELECT 'guest ' || n, jsonb_build_object('n', n) FROM generate_series(1, 2000) n;
INSERT INTO guests (name) VALUES ('O''Brien'), (E'\\! touch /tmp/owned'), (E'two\nlines'), ('Zoë $1 %s "q"'), ('');
CREATE INDEX ON guests (name);
CREATE VIEW "Odd View" AS SELECT name FROM guests WHERE note IS NOT NULL;
CREATE SCHEMA extra; CREATE TABLE extra."select" (x numeric, y float8);
INSERT INTO extra."select" VALUES (1.10, 0.1), ('NaN', 'Infinity');
CREATE EXTENSION pgcrypto;
CREATE FUNCTION twice(x int) RETURNS int LANGUAGE sql AS 'SELECT 2 * x';
CREATE TABLE visits (n int CHECK (twice(n) > 0)); INSERT INTO visits VALUES (1);
"#;

/// A server with a guest book that has something to lose.
fn guest_book() -> Option<Vps> {
    let vps = Vps::with().clients().boot()?;
    furnish(&vps);
    Some(vps)
}

/// Puts a guest book that has something to lose on a server.
pub(crate) fn furnish(vps: &Vps) {
    vps.hostkit(["provision", "blog", "--no-storage", "--start-cmd", "python3 guestbook.py"]).ok();
    fill(vps);
    vps.deploy("blog", &app());
}

pub(crate) fn app() -> Source {
    Source::empty().file("guestbook.py", include_str!("inside/guestbook.py"))
}

fn fill(vps: &Vps) {
    let url = url(vps);
    vps.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", url.as_str(), "-c", TABLES]).ok();
    vps.sh("install -o blog -g blog -m 640 /dev/stdin /home/blog/shared/photo").stdin("first\n").ok();
    keys(
        vps,
        "import struct; r.rpush('list', 'a', b'\\x00\\xff\\r\\n', 'c'); r.hset('hash', 'f', 1); r.set('going', 1, ex=86400); r.set(b'odd \\n \\xff', ''); r.pfadd('hll', 1, 2); r.xadd('stream', {'k': 'v'}); r.mset({f'k{n}': n for n in range(20)})",
    );
    vps.hostkit(["env", "set", "blog", "TOKEN=one"]).ok();
}

/// Has Python say something to the project's Redis, as the project.
fn keys(vps: &Vps, what: &str) {
    let script = "import re, redis, sys; env = open('/home/blog/.env').read(); \
                  r = redis.Redis.from_url(re.search(\"REDIS_URL='?([^'\\n]+)\", env)[1]); exec(sys.argv[1])";
    vps.run(["python3", "-c", script, what]).ok();
}

fn url(vps: &Vps) -> String {
    let envelope = vps.hostkit(["--json", "db", "url", "blog", "--reveal"]).ok().json();
    envelope["data"]["url"].as_str().expect("an address").to_owned()
}

pub(crate) fn page(vps: &Vps, project: &str) -> String {
    let answer = vps.visit(project, "/");
    assert_eq!(answer.status, 200, "{answer}\n{}", vps.diagnosis());
    answer.body.clone()
}

pub(crate) fn backup(vps: &Vps) -> String {
    let envelope = vps.hostkit(["--json", "backup", "create", "blog"]).ok().json();
    envelope["data"]["id"].as_str().expect("a backup has a name").to_owned()
}

fn superuser(vps: &Vps, database: &str, sql: &str) -> String {
    let words =
        ["runuser", "-u", "postgres", "--", "psql", "-X", "-At", "-v", "ON_ERROR_STOP=1", "-d", database];
    vps.run(words.iter().copied().chain(["-c", sql])).ok().stdout
}

/// Who owns what a project's database holds, besides what its extensions brought.
fn owners(vps: &Vps, database: &str) -> String {
    superuser(
        vps,
        database,
        "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
         WHERE nspname IN ('public', 'extra')
         UNION SELECT pg_get_userbyid(proowner) FROM pg_proc WHERE proname = 'twice'
         UNION SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname IN ('public', 'extra')",
    )
}

/// Nothing lies beside the project's data.
pub(crate) fn expect_tidy(vps: &Vps) {
    let left = superuser(
        vps,
        "postgres",
        "SELECT datname FROM pg_database WHERE datname ~ '_gone_' UNION SELECT rolname FROM pg_roles WHERE rolname ~ '_gone_'",
    );
    assert_eq!(left, "");
    let left =
        vps.sh("ls -A /home/blog | grep incoming || true; find /var/lib/hostkit/backups -name '.*'").ok();
    left.check(left.stdout.split_whitespace().all(|l| l == "incoming"), "nothing to be left over");
}

/// Loses the table, the photo and the variable.
pub(crate) fn destroy(vps: &Vps) {
    let sql = "DELETE FROM guests WHERE id > 7; UPDATE guests SET name = 'somebody else'; DROP VIEW \"Odd View\"; DROP SCHEMA extra CASCADE; INSERT INTO visits VALUES (7)";
    vps.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", url(vps).as_str(), "-c", sql]).ok();
    vps.sh("echo second > /home/blog/shared/photo; touch /home/blog/shared/later").ok();
    keys(vps, "r.flushdb(); r.set('something', 'else')");
    vps.hostkit(["env", "set", "blog", "TOKEN=two"]).ok();
}

#[test]
fn what_was_destroyed_comes_back_row_by_row_and_belongs_to_the_project() {
    let Some(vps) = guest_book() else { return };
    let before = page(&vps, "blog");
    assert!(before.contains("guests 2005") && before.contains("photo first token one"), "{before}");
    let id = backup(&vps);
    vps.hostkit(["backup", "verify", "blog"]).ok().says("3 tables with 2008 rows");
    expect_tidy(&vps);
    destroy(&vps);
    // The other login of the two makes the safety backup and finds what the first one's backup held.
    vps.hostkit(["db", "rotate", "blog", "--now"]).ok();
    let destroyed = page(&vps, "blog");
    assert!(destroyed.contains("guests 7") && destroyed.contains("photo second token two"), "{destroyed}");

    vps.hostkit(["backup", "restore", "blog", &id]).ok();
    assert_eq!(page(&vps, "blog"), before);
    assert_eq!(owners(&vps, "blog_db"), "blog_db\n");
    vps.sh("test ! -e /home/blog/shared/later && test ! -e /tmp/owned").ok();
    vps.sh("stat -c '%U:%G %a' /home/blog/shared /home/blog/shared/photo | tr '\\n' ' '")
        .ok()
        .says("blog:blog 2770 blog:blog 640");
    vps.hostkit(["db", "query", "blog", "--write", "INSERT INTO guests (name) VALUES ('next') RETURNING id"])
        .ok()
        .says("2006");
    vps.hostkit(["db", "query", "blog", "SELECT count(*) FROM \"Odd View\""]).ok().says("2000");
    expect_tidy(&vps);
    vps.expect_healthy();

    // Forward again, to the safety backup.
    let safety = vps.hostkit(["--json", "backup", "list", "blog"]).ok().json();
    assert_eq!(safety["data"]["backups"][0]["reason"], "restore");
    vps.hostkit(["backup", "restore", "blog"]).ok();
    assert_eq!(page(&vps, "blog"), destroyed);

    // A checkpoint concerns the database alone.
    vps.hostkit(["checkpoint", "create", "blog"]).ok();
    vps.hostkit(["db", "query", "blog", "--write", "DELETE FROM guests"]).ok();
    vps.sh("echo third > /home/blog/shared/photo").ok();
    vps.hostkit(["checkpoint", "restore", "blog"]).ok();
    assert_eq!(page(&vps, "blog"), destroyed.replace("second", "third"));
    vps.expect_healthy();
}

#[test]
fn killed_at_any_moment_a_restore_is_before_or_after() {
    let Some(vps) = guest_book() else { return };
    let kills: u64 = std::env::var("HOSTKIT_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(50);
    let after = page(&vps, "blog");
    let id = backup(&vps);
    destroy(&vps);
    let mut before = page(&vps, "blog");
    let words = ["hostkit", "backup", "restore", "blog", &id];
    let run = |microseconds: u64| {
        let number = microseconds.to_string();
        let output = vps.python(KILLER, [number.as_str()].iter().chain(&words).copied()).ok();
        let last = output.lines().pop().unwrap_or_default();
        let took: u64 = last.rsplit(' ').next().and_then(|n| n.parse().ok()).expect("how long it took");
        (last.starts_with("killed"), took, output)
    };
    let (_, took, _) = run(0);
    assert_eq!(page(&vps, "blog"), after);
    let mut seed = 0x5eed_u64;
    let (mut hits, mut befores, mut afters) = (0, 0, 0);
    while hits < kills {
        if page(&vps, "blog") == after {
            destroy(&vps);
            before = page(&vps, "blog");
        }
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let moment = 1 + (seed >> 33) % took;
        let (killed, _, shown) = run(moment);
        hits += u64::from(killed);
        vps.hostkit(["repair"]).ok();
        vps.wait_for(&format!("an answer after a kill at {moment} µs"), || {
            vps.visit("blog", "/").status == 200
        });
        let now = page(&vps, "blog");
        shown.check(
            now == before || now == after,
            &format!("`{before}` or `{after}` after {moment} µs, not `{now}`"),
        );
        if killed {
            befores += u64::from(now == before);
            afters += u64::from(now == after);
        }
        assert_eq!(owners(&vps, "blog_db"), "blog_db\n");
        vps.expect_healthy();
        // Each makes a backup first; a hundred of them would only slow the listing down.
        vps.sh(&format!("cd /var/lib/hostkit/backups/blog.* && ls | grep -v {id} | xargs -r rm")).ok();
    }
    println!("of {hits} kills within {took} µs {befores} were before and {afters} after");
    assert!(befores > 0, "no kill was early enough");
    vps.hostkit(["gc"]).ok();
    expect_tidy(&vps);
}

#[test]
fn a_full_disk_a_cut_a_foreign_and_a_misplaced_backup_change_nothing() {
    let Some(vps) = guest_book() else { return };
    let before = page(&vps, "blog");
    let dir = "/var/lib/hostkit/backups/blog.2000";
    vps.sh("head -c 6000000 /dev/urandom > /home/blog/shared/noise; chown blog: /home/blog/shared/noise")
        .ok();
    vps.sh(&format!("mkdir -p {dir} && mount -t tmpfs -o size=2m none {dir}")).ok();
    vps.hostkit(["backup", "create", "blog"]).refused(6, "DISK_FULL");
    let left = vps.run(["ls", "-A", dir]).ok();
    left.check(left.stdout.is_empty(), "nothing to be left");
    vps.hostkit(["project", "delete", "blog", "--confirm", "blog"])
        .refused(6, "DISK_FULL")
        .says("--no-backup");
    vps.run(["umount", dir]).ok();
    vps.run(["rm", "/home/blog/shared/noise"]).ok();
    assert_eq!(page(&vps, "blog"), before);

    let id = backup(&vps);
    let file = format!("{dir}/{id}.backup");
    vps.sh(&format!("cp {file} /root/whole && truncate -s -100 {file}")).ok();
    vps.hostkit(["backup", "restore", "blog", &id]).refused(3, "INVALID_BACKUP");
    vps.hostkit(["backup", "verify", "blog", &id]).refused(3, "INVALID_BACKUP");
    vps.sh(&format!(
        "cp /root/whole {file} && printf x | dd of={file} bs=1 seek=4000 conv=notrunc status=none"
    ))
    .ok();
    vps.hostkit(["backup", "restore", "blog", &id]).refused(3, "INVALID_BACKUP");
    vps.sh(&format!("runuser -u postgres -- pg_dump -Fc blog_db > {file}")).ok();
    vps.hostkit(["backup", "restore", "blog", &id]).refused(3, "INVALID_BACKUP");
    vps.hostkit(["backup", "restore", "blog", "20200101-000000"]).refused(4, "BACKUP_NOT_FOUND");
    vps.hostkit(["provision", "shop"]).ok();
    vps.sh(&format!("mkdir -p {dir}/../shop.2001 && cp /root/whole {dir}/../shop.2001/{id}.backup")).ok();
    vps.hostkit(["backup", "restore", "shop", &id]).refused(3, "INVALID_BACKUP");
    vps.sh("systemctl stop 'postgresql@*' postgresql").ok();
    vps.hostkit(["backup", "create", "blog"]).refused(6, "SERVICE_DOWN");
    vps.sh(&format!("cp /root/whole {file}")).ok();
    vps.hostkit(["backup", "restore", "blog", &id]).refused(6, "SERVICE_DOWN");
    vps.sh("systemctl start postgresql; for n in $(seq 100); do runuser -u postgres -- psql -qc '' 2>/dev/null && break; sleep 0.1; done").ok();
    vps.wait_for("the server", || vps.visit("blog", "/").status == 200);
    assert_eq!(page(&vps, "blog"), before);
    vps.hostkit(["gc"]).ok();
    expect_tidy(&vps);
    // A table that a session holds is waited for, and the service answers meanwhile and afterwards.
    vps.hostkit(["backup", "verify", "blog", &id]).ok();
}

#[test]
fn a_timer_makes_them_and_doctor_sees_when_it_does_not() {
    let Some(vps) = guest_book() else { return };
    vps.hostkit(["backup", "schedule", "blog", "--at", "03:15"]).ok();
    vps.wait_for_unit("hostkit-blog_backup.timer", "active");
    vps.run(["systemctl", "list-timers", "hostkit-blog_backup.timer"]).ok().says("03:");
    vps.run(["systemctl", "start", "hostkit-blog_backup.service"]).ok();
    let list = vps.hostkit(["--json", "backup", "list", "blog"]).ok().json();
    assert_eq!(list["data"]["backups"][0]["reason"], "schedule");
    vps.expect_healthy();
    let id = list["data"]["backups"][0]["id"].as_str().expect("a name");
    vps.sh(&format!("cd /var/lib/hostkit/backups/blog.* && mv {id}.backup 20200101-000000.backup")).ok();
    vps.hostkit(["doctor"]).expect_code(12).says("the last one that succeeded");
    vps.hostkit(["backup", "create", "blog"]).ok();
    vps.expect_healthy();
    vps.reboot();
    vps.wait_for_unit("hostkit-blog_backup.timer", "active");
    vps.hostkit(["backup", "schedule", "blog", "--off"]).ok();
    vps.run(["systemctl", "is-active", "hostkit-blog_backup.timer"]).run().says("inactive");
    vps.sh("test ! -e /etc/systemd/system/hostkit-blog_backup.timer").ok();
}

#[test]
fn a_deleted_project_leaves_nothing_but_its_last_backup_which_comes_back_under_any_name() {
    let Some(vps) = guest_book() else { return };
    let before = page(&vps, "blog");
    let delete = || {
        vps.hostkit(["project", "delete", "blog", "--confirm", "blog"]).ok();
        let left = "SELECT datname FROM pg_database WHERE datname ~ 'blog' UNION SELECT rolname FROM pg_roles WHERE rolname ~ 'blog'";
        assert_eq!(superuser(&vps, "postgres", left), "");
    };
    delete();
    vps.hostkit(["project", "restore", "blog"]).ok();
    vps.wait_for_answer("blog", &before);
    assert_eq!(owners(&vps, "blog_db"), "blog_db\n");
    vps.expect_healthy();
    delete();
    vps.hostkit(["backup", "list", "blog"]).ok().says("final");
    vps.hostkit(["backup", "restore", "blog", "--as", "again"]).ok();
    vps.deploy("again", &app());
    assert_eq!(page(&vps, "again"), before);
    assert_eq!(owners(&vps, "again_db"), "again_db\n");
    // On a host with another key, and nothing but the file and the old key.
    vps.sh("cp \"$(ls /var/lib/hostkit/backups/blog.*/*.backup | tail -n 1)\" /root/last.backup && cp /etc/hostkit/master.key /root/old.key").ok();
    vps.hostkit(["project", "purge", "blog", "--confirm", "blog"]).ok();
    vps.sh("test ! -e /var/lib/hostkit/backups/blog.*").ok();
    let Some(other) = Vps::with().clients().boot() else { return };
    for file in ["/root/last.backup", "/root/old.key"] {
        let text = vps.run(["base64", file]).ok().stdout;
        other.sh(&format!("umask 077; base64 -d > {file}")).stdin(text).ok();
    }
    // Layers are made once, so both hosts were given one key when theirs was.
    other.sh("head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=' > /etc/hostkit/master.key").ok();
    other
        .hostkit(["backup", "restore", "--file", "/root/last.backup", "--as", "blog"])
        .refused(3, "WRONG_KEY");
    other
        .hostkit([
            "backup",
            "restore",
            "--file",
            "/root/last.backup",
            "--key",
            "/root/old.key",
            "--as",
            "blog",
        ])
        .ok();
    other.deploy("blog", &app());
    assert_eq!(page(&other, "blog"), before);
}
