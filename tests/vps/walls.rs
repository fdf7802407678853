//! What a project can do to whoever works on its data with more rights than it has: nothing.

use crate::{call::Output, vps::Vps};

const TERMINAL: &str = include_str!("inside/terminal.py");

/// The address of a project's database, with its password.
fn url(vps: &Vps, project: &str) -> String {
    let envelope = vps.hostkit(["--json", "db", "url", project, "--reveal"]).ok().json();
    envelope["data"]["url"].as_str().expect("an address").to_owned()
}

fn superuser(vps: &Vps, database: &str, sql: &str) -> String {
    let words =
        ["runuser", "-u", "postgres", "--", "psql", "-X", "-At", "-v", "ON_ERROR_STOP=1", "-d", database];
    vps.run(words.iter().copied().chain(["-c", sql])).ok().stdout
}

fn psql<'v>(vps: &'v Vps, url: &str, sql: &str) -> Output<'v> {
    vps.run(["psql", "-X", "-At", "-v", "ON_ERROR_STOP=1", url, "-c", sql]).run()
}

/// Roles and databases that were taken away and are still there.
fn leftovers(vps: &Vps) -> String {
    superuser(
        vps,
        "postgres",
        "SELECT rolname FROM pg_roles WHERE rolname ~ '_gone_' UNION SELECT datname FROM pg_database WHERE datname ~ '_gone_'",
    )
}

#[test]
fn a_shell_for_the_database_has_a_terminal_of_its_own() {
    let Some(vps) = Vps::boot() else { return };
    vps.hostkit(["provision", "blog"]).ok();
    let look = |words: &[&str]| {
        let output = vps.python(TERMINAL, words).ok();
        let outer =
            output.stdout.lines().find_map(|l| l.strip_prefix("outer ")).expect("its name").to_owned();
        let seen = output.lines().iter().filter(|line| line.trim() == outer).count();
        let refused = output.stdout.lines().any(|line| line.trim() == "refused");
        (seen, refused, output)
    };
    let (seen, refused, output) = look(&["hostkit", "db", "shell", "blog"]);
    output.check(seen == 0 && refused, "a shell that cannot reach the terminal it was called on");
    output.check(output.stdout.contains("/dev/pts/"), "a terminal all the same");
    // The control: on the caller's own terminal it is seen.
    let (seen, _, output) = look(&["psql", "-X", &url(&vps, "blog")]);
    output.check(seen > 0, "a shell that has it to be found out");
}

/// Writes down whatever anybody says to PostgreSQL's port.
const LISTENER: &str = "
import socketserver
class Ear(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.settimeout(2)
        try:
            said = self.request.recv(4096)
        except OSError:
            said = b''
        with open('/tmp/heard', 'ab') as heard:
            heard.write(b'somebody: ' + said + b'\\n')
socketserver.ThreadingTCPServer.allow_reuse_address = True
with socketserver.ThreadingTCPServer(('127.0.0.1', 5432), Ear) as server:
    server.serve_forever()
";

#[test]
fn whoever_listens_in_the_place_of_a_server_that_is_down_hears_nothing() {
    let Some(vps) = Vps::boot() else { return };
    for name in ["blog", "shop"] {
        vps.hostkit(["provision", name]).ok();
    }
    let address = url(&vps, "blog");
    vps.sh("systemctl stop 'postgresql@*' postgresql").ok();
    vps.write("/srv/listener.py", LISTENER);
    vps.sh("chmod 644 /srv/listener.py; setsid runuser -u shop -- python3 /srv/listener.py >/root/ear 2>&1 & sleep 1").ok();
    vps.sh("ss -Hltn 'sport = :5432' | grep 127.0.0.1").ok();
    for words in [
        &["db", "info", "blog"][..],
        &["db", "query", "blog", "SELECT 1"],
        &["db", "schema", "blog"],
        &["db", "schema", "blog", "--sql"],
        &["db", "extensions", "blog"],
        &["db", "rotate", "blog"],
        &["db", "clone", "blog", "shop"],
        &["db", "shell", "blog"],
        &["backup", "create", "blog"],
        &["checkpoint", "create", "blog"],
        &["provision", "wiki"],
        &["doctor"],
    ] {
        let output = vps.hostkit(words).run();
        output.check(output.code != 0, "a server that is down to be seen");
    }
    vps.sh("! test -e /tmp/heard").ok();
    // The control: whoever asks on the port is heard.
    psql(&vps, &address, "SELECT 1");
    vps.sh("grep -c somebody /tmp/heard").ok();
}

#[test]
fn a_backup_runs_nothing_that_a_project_has_laid_in_its_way() {
    let Some(vps) = Vps::boot() else { return };
    vps.hostkit(["provision", "blog"]).ok();
    let address = url(&vps, "blog");
    let trap = "CREATE TABLE trap (i int); INSERT INTO trap VALUES (1);
        CREATE FUNCTION spring(trap) RETURNS text LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''sprung''; END';
        CREATE CAST (trap AS text) WITH FUNCTION spring(trap);
        CREATE FUNCTION hash(text, bigint) RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''sprung''; END';
        CREATE FUNCTION public.hashtextextended(text, bigint) RETURNS bigint LANGUAGE sql AS 'SELECT hash($1, $2)';
        CREATE FUNCTION public.format(text, trap) RETURNS text LANGUAGE sql AS 'SELECT spring($2)'";
    let laid = psql(&vps, &address, trap);
    laid.check(laid.code == 0, "a trap that is laid");
    let sprung = psql(&vps, &address, "SELECT trap::text FROM trap");
    sprung.check(sprung.stderr.contains("sprung"), "a trap that works");
    vps.hostkit(["backup", "create", "blog"]).ok();
    vps.hostkit(["backup", "verify", "blog"]).ok().says("1 rows");
}

#[test]
fn what_a_login_made_as_itself_keeps_it_from_going_no_more() {
    let Some(vps) = Vps::boot() else { return };
    for name in ["blog", "shop"] {
        vps.hostkit(["provision", name]).ok();
    }
    vps.hostkit(["db", "rotate", "blog"]).ok();
    let second = url(&vps, "blog");
    assert!(second.contains("blog_db_b:"), "{second}");
    let mine = "SET ROLE NONE; CREATE TABLE mine AS SELECT 7 AS i; CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'; GRANT SELECT ON mine TO blog_db";
    let made = psql(&vps, &second, mine);
    made.check(made.code == 0, "something of its own");
    vps.hostkit(["db", "rotate", "blog"]).ok();
    assert_eq!(leftovers(&vps), "");
    let owners = "SELECT tableowner FROM pg_tables WHERE tablename = 'mine' UNION SELECT pg_get_userbyid(proowner) FROM pg_proc WHERE proname = 'one'";
    assert_eq!(superuser(&vps, "blog_db", owners).trim(), "blog_db");
    vps.hostkit(["db", "query", "blog", "SELECT i FROM mine"]).ok().says("7");
    vps.expect_healthy();

    // What nobody but the administrator can take from it stays, and keeps nobody else's from going.
    vps.hostkit(["db", "rotate", "blog"]).ok();
    superuser(&vps, "postgres", "CREATE TABLE lent (i int); GRANT SELECT ON lent TO blog_db_b");
    superuser(&vps, "postgres", "CREATE DATABASE shop_db_new_gone_2001");
    vps.hostkit(["db", "rotate", "blog"]).ok().says("gc");
    assert_eq!(leftovers(&vps), "blog_db_b_gone_2000\nshop_db_new_gone_2001\n");
    vps.hostkit(["doctor"]).expect_code(12);
    vps.hostkit(["gc"]).ok().says("blog_db_b_gone_2000");
    assert_eq!(leftovers(&vps), "blog_db_b_gone_2000\n");
    superuser(&vps, "postgres", "DROP TABLE lent");
    vps.hostkit(["gc"]).ok();
    assert_eq!(leftovers(&vps), "");
    vps.expect_healthy();
}

#[test]
fn what_keeps_a_backup_from_being_made_or_put_back_is_named() {
    let Some(vps) = Vps::boot() else { return };
    vps.hostkit(["provision", "blog"]).ok();
    let address = url(&vps, "blog");
    vps.hostkit(["db", "query", "blog", "--write", "CREATE TABLE held AS SELECT 1 AS i"]).ok();
    vps.sh("install -m 600 /dev/null /home/blog/shared/secret").ok();
    vps.hostkit(["backup", "create", "blog"]).refused(5, "WRONG_STATE").says("/home/blog/shared/secret");
    vps.sh("rm /home/blog/shared/secret").ok();
    // Holes are holes before and after; the backup has room enough on a disk that the file has not.
    vps.sh("runuser -u blog -- truncate -s 500G /home/blog/shared/disk").ok();
    vps.sh("head -c 60000000 /dev/zero >/home/blog/shared/zeros; chown blog: /home/blog/shared/zeros").ok();
    let envelope = vps.hostkit(["--json", "backup", "create", "blog"]).ok().json();
    let id = envelope["data"]["id"].as_str().expect("a name").to_owned();
    vps.hostkit(["backup", "restore", "blog", &id]).ok();
    vps.sh("test $(stat -c %s /home/blog/shared/disk) = 536870912000; test $(du -m /home/blog/shared/disk | cut -f1) -lt 2").ok();
    // What comes out of it is larger than it is itself, and than the room there is.
    vps.sh("cp -a /var/lib/hostkit /root/state; mount -t tmpfs -o size=50m none /var/lib/hostkit; cp -a /root/state/. /var/lib/hostkit").ok();
    vps.hostkit(["backup", "restore", "blog", &id]).refused(6, "DISK_FULL").says("57 MiB");
    vps.sh("umount /var/lib/hostkit").ok();
    let lock = format!(
        "setsid psql -X '{address}' -c 'BEGIN; LOCK held; SELECT pg_sleep(90)' >/dev/null 2>&1 & sleep 1"
    );
    vps.sh(&lock).ok();
    vps.hostkit(["backup", "create", "blog"]).refused(75, "BUSY").says("public.held").says("blog_db");
    vps.sh("ls -A /var/lib/hostkit/backups/blog.2000 | grep -vx '[0-9-]*[.]backup' | wc -l | grep -x 0").ok();
}
