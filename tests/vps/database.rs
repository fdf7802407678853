//! Projects' databases on a real PostgreSQL: who reaches what, what a rotation costs, what is refused.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use crate::{source::Source, vps::Vps};

/// The address of a project's database, with its password.
fn url(vps: &Vps, project: &str) -> String {
    let envelope = vps.hostkit(["--json", "db", "url", project, "--reveal"]).ok().json();
    envelope["data"]["url"].as_str().expect("an address").to_owned()
}

/// Statements as the superuser, in a database.
fn superuser(vps: &Vps, database: &str, sql: &str) -> String {
    let words =
        ["runuser", "-u", "postgres", "--", "psql", "-X", "-At", "-v", "ON_ERROR_STOP=1", "-d", database];
    vps.run(words.iter().copied().chain(["-c", sql])).ok().stdout
}

/// One statement over an address; what was said, and whether it was done.
fn psql(vps: &Vps, url: &str, sql: &str) -> (bool, String) {
    let output = vps.run(["psql", "-X", "-At", "-v", "ON_ERROR_STOP=1", url, "-c", sql]).run();
    (output.code == 0, output.stdout + &output.stderr)
}

/// All roles with what they may do, and all databases with who may reach them.
fn catalogue(vps: &Vps) -> String {
    superuser(
        vps,
        "postgres",
        "SELECT rolname, rolcanlogin, rolsuper FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY 1;
         SELECT datname, datacl FROM pg_database ORDER BY 1",
    )
}

#[test]
fn a_project_reaches_its_own_database_and_nothing_else() {
    let Some(vps) = Vps::boot() else { return };
    for name in ["blog", "shop"] {
        vps.hostkit(["provision", name]).ok();
        vps.hostkit(["db", "query", name, "--write", "CREATE TABLE secret AS SELECT 'mine' AS word"]).ok();
    }
    let first = url(&vps, "blog");
    vps.hostkit(["db", "rotate", "shop"]).ok();
    vps.hostkit(["db", "rotate", "blog"]).ok();
    let second = url(&vps, "blog");
    assert!(first.contains("blog_db:") && second.contains("blog_db_b:"), "{first} {second}");
    let (good, said) = psql(&vps, &first, "SELECT 1");
    assert!(!good && said.contains("authentication failed"), "the old password is no good: {said}");

    // Both logins of a project, in turn: the second now, the first after one more rotation.
    for turn in 0..2 {
        if turn == 1 {
            vps.hostkit(["db", "rotate", "blog"]).ok();
        }
        let own = url(&vps, "blog");
        let (good, said) =
            psql(&vps, &own, "SELECT word FROM secret; CREATE EXTENSION IF NOT EXISTS pgcrypto");
        assert!(good && said.contains("mine"), "{said}");
        let login = own.split("//").nth(1).unwrap().split(':').next().unwrap();
        for database in ["shop_db", "postgres", "template1", "template0"] {
            for place in ["@localhost:5432/", "@/"] {
                let (start, _) = own.split_once('@').unwrap();
                let socket = if place == "@/" { "?host=/run/postgresql" } else { "" };
                let (good, said) = psql(&vps, &format!("{start}{place}{database}{socket}"), "SELECT 1");
                assert!(
                    !good && said.contains("pg_hba.conf rejects"),
                    "{login} in {database} by {place}: {said}"
                );
            }
        }
        for sql in ATTEMPTS {
            let (good, said) = psql(&vps, &own, sql);
            if good && gives_itself(&vps, sql) {
                vps.hostkit(["doctor"]).expect_code(12).says("is a member of other roles");
                vps.hostkit(["repair"]).ok();
                vps.expect_healthy();
                continue;
            }
            assert!(!good && is_refusal(&said), "{login}: {sql}: {said}");
        }
        // This one is only a warning, and does nothing.
        let before = catalogue(&vps);
        psql(&vps, &own, "GRANT CONNECT ON DATABASE blog_db TO PUBLIC");
        psql(&vps, &own, "GRANT ALL ON DATABASE blog_db TO shop_db");
        assert_eq!(catalogue(&vps), before, "{login}");
    }
    // Without the second layer the first one holds, and without the first the second.
    let own = url(&vps, "blog").replace("5432/blog_db", "5432/shop_db");
    superuser(&vps, "postgres", "GRANT CONNECT ON DATABASE shop_db TO PUBLIC");
    assert!(psql(&vps, &own, "SELECT 1").1.contains("pg_hba.conf rejects"));
    superuser(&vps, "postgres", "REVOKE CONNECT ON DATABASE shop_db FROM PUBLIC");
    let hba = "/etc/postgresql/*/main/pg_hba.conf";
    vps.sh(&format!("cp -p {hba} /root/hba && sed -i '/HostKit: begin/,/HostKit: end/d' {hba}")).ok();
    superuser(&vps, "postgres", "SELECT pg_reload_conf()");
    vps.wait_for("the file to be read", || {
        psql(&vps, &own, "SELECT 1").1.contains("permission denied for database")
    });
    vps.hostkit(["doctor"]).expect_code(12).says("keep projects apart");
    vps.hostkit(["repair"]).ok();
    assert!(psql(&vps, &own, "SELECT 1").1.contains("pg_hba.conf rejects"));
    vps.expect_healthy();
}

/// What a project's role must not do.
const ATTEMPTS: &[&str] = &[
    "SET ROLE postgres",
    "SET ROLE shop_db",
    "SET SESSION AUTHORIZATION postgres",
    "CREATE ROLE mole",
    "CREATE DATABASE mole",
    "DROP DATABASE shop_db",
    "ALTER DATABASE blog_db CONNECTION LIMIT -1",
    "ALTER DATABASE blog_db RENAME TO mole",
    "ALTER DATABASE shop_db SET search_path = evil",
    "COMMENT ON DATABASE shop_db IS 'mole'",
    "ALTER ROLE shop_db PASSWORD 'x'",
    "ALTER ROLE shop_db NOLOGIN",
    "ALTER ROLE postgres SET search_path = evil",
    "ALTER ROLE CURRENT_USER CONNECTION LIMIT -1",
    "ALTER ROLE CURRENT_USER SUPERUSER",
    "ALTER ROLE CURRENT_USER SET temp_file_limit = -1",
    "SET temp_file_limit = -1",
    "GRANT shop_db TO CURRENT_USER",
    "GRANT blog_db TO shop_db",
    "GRANT pg_read_server_files TO CURRENT_USER",
    "REASSIGN OWNED BY shop_db TO blog_db",
    "ALTER SYSTEM SET log_statement = 'all'",
    "SELECT pg_reload_conf()",
    "COPY (SELECT 1) TO PROGRAM 'id'",
    "COPY (SELECT 1) TO '/tmp/mole'",
    "CREATE TEMP TABLE t (line text); COPY t FROM '/etc/passwd'",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_ls_dir('/')",
    "SELECT lo_import('/etc/passwd')",
    "SELECT rolpassword FROM pg_authid",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'postgres'",
    "CREATE EXTENSION dblink",
    "CREATE EXTENSION file_fdw",
    "CREATE LANGUAGE c_again HANDLER fmgr_c_validator",
    "CREATE FUNCTION run(text) RETURNS int AS '/lib/x86_64-linux-gnu/libc.so.6', 'system' LANGUAGE c",
    "CREATE PUBLICATION mole FOR ALL TABLES",
    "CREATE SUBSCRIPTION mole CONNECTION 'dbname=shop_db' PUBLICATION mole",
    "CREATE TABLESPACE mole LOCATION '/tmp'",
    "CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; \
     CREATE EVENT TRIGGER mole ON ddl_command_start EXECUTE FUNCTION f()",
];

/// Whether this is what a role may do before PostgreSQL 15 and nobody can forbid: it lets others in where it is
/// itself, and nowhere else.
fn gives_itself(vps: &Vps, sql: &str) -> bool {
    let old = superuser(vps, "postgres", "SELECT current_setting('server_version_num')::int < 150000");
    sql.starts_with("GRANT blog_db TO") && old.trim() == "t"
}

/// How PostgreSQL says that somebody may not; the words differ between its versions.
fn is_refusal(said: &str) -> bool {
    ["permission denied", "must be", "must have", "cannot set parameter"]
        .iter()
        .any(|words| said.contains(words))
}

#[test]
fn a_rotation_under_load_fails_no_request() {
    let Some(vps) = Vps::with().clients().boot() else { return };
    vps.hostkit(["provision", "blog", "--start-cmd", "python3 load.py"]).ok();
    let app = Source::empty().file("load.py", include_str!("inside/load.py"));
    vps.deploy("blog", &app);
    vps.expect_answer("blog", "blog_db");
    let failed = under_load(&vps, &["/", "/kept", "/", "/kept"], || {
        vps.hostkit(["db", "rotate", "blog"]).ok();
    });
    assert_eq!(failed, [""; 0]);
    // It knows only the first password. The restart brings the second, and ends the first.
    let first = vps
        .sh("tr '\\0' '\\n' < /proc/$(systemctl show -p MainPID --value hostkit-blog)/environ | \
                        sed -n 's/^DATABASE_URL=//p'")
        .ok()
        .stdout;
    assert!(psql(&vps, first.trim(), "SELECT 1").0, "the process's own password is good");
    vps.hostkit(["db", "rotate", "blog"]).ok();
    assert!(psql(&vps, first.trim(), "SELECT 1").0, "also after another one");
    vps.expect_answer("blog", "blog_db");
    vps.hostkit(["restart", "blog"]).ok();
    vps.expect_answer("blog", "blog_db");
    assert!(!psql(&vps, first.trim(), "SELECT 1").0, "the old password is good no longer");
    let owners =
        superuser(&vps, "blog_db", "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'");
    assert_eq!(owners.trim(), "blog_db", "all that either login made is the project's");
    // And at once: the process is started anew, and whoever asks is answered by the surge instance.
    let failed = under_load(&vps, &["/", "/kept", "/", "/kept"], || {
        vps.hostkit(["db", "rotate", "blog", "--now"]).ok();
    });
    assert_eq!(failed, [""; 0]);
    let logins =
        superuser(&vps, "postgres", "SELECT rolname FROM pg_roles WHERE rolcanlogin AND rolname ~ '^blog'");
    assert_eq!(logins.trim(), "blog_db");
    vps.expect_healthy();
    // A database changes places with another one only while nobody is connected: an app that asks it in that
    // moment hears so, and no other request notices anything.
    vps.hostkit(["backup", "create", "blog"]).ok();
    let failed = under_load(&vps, &["/alive", "/", "/alive", "/"], || {
        vps.hostkit(["backup", "restore", "blog"]).ok();
    });
    let asked = failed.iter().filter(|failure| failure.starts_with("/: ")).count();
    println!("{asked} requests to the database failed while it changed places");
    assert_eq!(asked, failed.len(), "{failed:#?}");
    assert!(
        failed.iter().all(|failure| failure.contains("OperationalError")),
        "by the app's own word: {failed:#?}"
    );
    assert!(asked < 60, "{asked} are more than those of a moment");
    vps.expect_healthy();
}

/// Visits these paths as fast as they are answered, one visitor each, while `act` goes on and a while longer;
/// what failed.
fn under_load(vps: &Vps, paths: &[&str], act: impl FnOnce()) -> Vec<String> {
    let (stop, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let failed = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for path in paths {
            let (stop, answered, failed) = (&stop, &answered, &failed);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let answer = vps.visit("blog", path);
                    if !answer.says("blog_db") {
                        failed.lock().unwrap().push(format!("{path}: {answer}"));
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let more = |when: &str| {
            let before = answered.load(Ordering::Relaxed);
            vps.wait_for(when, || answered.load(Ordering::Relaxed) > before + 100);
        };
        more("requests before");
        act();
        more("requests afterwards");
        stop.store(true, Ordering::Relaxed);
    });
    failed.into_inner().unwrap()
}

#[test]
fn a_copy_and_a_dump_by_the_second_login_are_whole_and_belong_to_the_project() {
    let Some(vps) = Vps::boot() else { return };
    for name in ["blog", "shop"] {
        vps.hostkit(["provision", name]).ok();
    }
    let make = "CREATE TABLE word (id serial PRIMARY KEY, text text NOT NULL UNIQUE)";
    vps.hostkit(["db", "query", "blog", "--write", make]).ok();
    let words = "INSERT INTO word (text) SELECT 'w''ö\\!' || g || E'\\n' FROM generate_series(1, 5000) g";
    vps.hostkit(["db", "query", "blog", "--write", "-"]).stdin(words).ok();
    vps.hostkit(["db", "extensions", "blog", "--enable", "citext"]).ok();
    for name in ["blog", "shop"] {
        vps.hostkit(["db", "rotate", name]).ok();
    }
    let sum = "SELECT md5(string_agg(id || text, '' ORDER BY id)) FROM word";
    let cell = |name: &str| {
        vps.hostkit(["--json", "db", "query", name, sum]).ok().json()["data"]["rows"][0][0].clone()
    };
    vps.hostkit(["db", "clone", "blog", "shop"]).ok();
    assert_eq!(cell("blog"), cell("shop"));
    assert!(cell("blog").is_string());
    let owners =
        superuser(&vps, "shop_db", "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'");
    assert_eq!(owners.trim(), "shop_db");
    vps.hostkit(["db", "clone", "blog", "shop"]).refused(5, "WRONG_STATE");

    // One that fails half-way leaves nothing.
    superuser(&vps, "blog_db", "CREATE TABLE foreign_to_it (i int)");
    vps.hostkit(["db", "delete", "shop", "--confirm", "shop"]).ok();
    vps.hostkit(["db", "create", "shop"]).ok();
    vps.hostkit(["db", "clone", "blog", "shop"]).refused(5, "WRONG_STATE").says("permission denied");
    let left = superuser(&vps, "shop_db", "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'");
    assert_eq!(left.trim(), "0");

    // The shell is the project's, also when it is told to leave.
    let said = vps.hostkit(["db", "shell", "blog"]).stdin("SELECT current_user;\n\\! id -un; id -Gn\n").ok();
    let said = said.says("blog_db");
    said.check(
        said.lines().ends_with(&["blog".to_owned(), "blog".to_owned()]),
        "the shell to be the project's",
    );
    vps.expect_healthy();
}

#[test]
fn what_is_in_the_way_is_named_and_nothing_is_half_made() {
    let Some(vps) = Vps::boot() else { return };
    superuser(&vps, "postgres", "CREATE ROLE wiki LOGIN PASSWORD 'w'");
    superuser(&vps, "postgres", "CREATE DATABASE taken_db OWNER wiki");
    superuser(&vps, "postgres", "CREATE ROLE lent_db_b");
    let before = catalogue(&vps);
    vps.hostkit(["provision", "taken"]).refused(5, "NAME_TAKEN").says("taken_db");
    vps.hostkit(["provision", "taken", "--adopt"]).refused(5, "NAME_TAKEN");
    vps.hostkit(["provision", "lent"]).refused(5, "NAME_TAKEN").says("lent_db_b");
    assert_eq!(catalogue(&vps), before);
    vps.hostkit(["provision", "taken", "--no-db"]).ok();
    vps.hostkit(["project", "delete", "taken", "--confirm", "taken"]).ok();
    assert_eq!(catalogue(&vps), before);
    // The administrator's own application still logs in where it did, and where it did not it does not.
    let there = "postgresql://wiki:w@localhost/";
    assert!(psql(&vps, &format!("{there}taken_db"), "CREATE TABLE t (i int)").0);

    // The longest name.
    let longest = "l".repeat(32);
    vps.hostkit(["provision", &longest]).ok();
    vps.hostkit(["db", "rotate", &longest]).ok();
    vps.hostkit(["db", "query", &longest, "--write", "CREATE TABLE t (i int)"]).ok();
    vps.hostkit(["project", "delete", &longest, "--confirm", &longest]).ok();
    assert_eq!(catalogue(&vps), before);

    // Somebody is connected, in a transaction that holds a lock: shown out.
    vps.hostkit(["provision", "blog"]).ok();
    vps.hostkit(["db", "query", "blog", "--write", "CREATE TABLE t (i int)"]).ok();
    let guest = format!(
        "psql -X '{}' -c 'BEGIN; LOCK t; SELECT pg_sleep(60)' >/root/guest 2>&1 &",
        url(&vps, "blog")
    );
    vps.sh(&guest).ok();
    vps.wait_for("a guest", || vps.hostkit(["db", "info", "blog"]).ok().stdout.contains("connections  1"));
    // No checkpoint can be made of what somebody holds; who wants none is not kept waiting.
    let held = vps.hostkit(["db", "delete", "blog", "--confirm", "blog"]).run();
    held.check(held.code != 0, "a refusal");
    held.says("--no-backup");
    vps.hostkit(["db", "delete", "blog", "--confirm", "blog", "--no-backup"]).ok();
    vps.wait_for("the guest to be told", || {
        vps.run(["cat", "/root/guest"]).ok().stdout.contains("terminating")
    });
    vps.hostkit(["project", "delete", "blog", "--confirm", "blog"]).ok();
    assert_eq!(catalogue(&vps), before);

    // The server is down.
    vps.sh("systemctl stop 'postgresql@*' postgresql").ok();
    let host = vps.snapshot(crate::snapshot::HOST);
    vps.hostkit(["provision", "blog"]).refused(6, "SERVICE_DOWN");
    vps.snapshot(crate::snapshot::HOST).expect_same(&host, "after a refused provision");
    vps.hostkit(["init"]).ok().says("PostgreSQL");
    vps.hostkit(["doctor"]).expect_code(12);
    vps.sh("systemctl start postgresql; for n in $(seq 100); do runuser -u postgres -- psql -qc '' 2>/dev/null && break; sleep 0.1; done").ok();
    vps.expect_healthy();
    vps.hostkit(["provision", "blog"]).ok();
    // A server that hangs is not waited for for ever.
    vps.sh("pkill -STOP -o -u postgres postgres").ok();
    vps.hostkit(["provision", "shop"]).refused(6, "SERVICE_DOWN").says("within");
    vps.sh("pkill -CONT -o -u postgres postgres").ok();
    vps.expect_healthy();
}

#[test]
fn questions_read_unless_told_otherwise_and_one_at_a_time() {
    let Some(vps) = Vps::boot() else { return };
    vps.hostkit(["provision", "blog"]).ok();
    let ask = |sql: &str| vps.hostkit(["db", "query", "blog", sql]);
    vps.hostkit(["db", "query", "blog", "--write", "CREATE TABLE t AS SELECT generate_series(1, 1000) AS i"])
        .ok();
    ask("DELETE FROM t").refused(7, "NOT_PERMITTED");
    ask("WITH gone AS (DELETE FROM t RETURNING i) SELECT * FROM gone").refused(7, "NOT_PERMITTED");
    ask("SELECT 1; DELETE FROM t").refused(3, "INVALID_VALUE");
    ask("COMMIT; DELETE FROM t").refused(3, "INVALID_VALUE");
    ask("SELECT set_config('transaction_read_only', 'off', false)").expect_code(3);
    ask("SELECT * FROM nothing").refused(3, "INVALID_VALUE").says("nothing");
    ask("").refused(3, "INVALID_VALUE");
    let found = vps.hostkit(["--json", "db", "query", "blog", "SELECT i FROM t ORDER BY i"]).ok().json();
    assert_eq!(found["data"]["rows"].as_array().unwrap().len(), 100);
    assert_eq!(found["data"]["more"], true);
    assert_eq!(found["data"]["rows"][99][0], "100");
    ask("SHOW server_version_num").ok().says("0");
    ask("EXPLAIN SELECT * FROM t").ok().says("Scan");
    ask("SELECT NULL AS nothing, E'a\\x1b[31m' AS colour").ok().says("\\u{1b}");
    assert_eq!(superuser(&vps, "blog_db", "SELECT count(*) FROM t").trim(), "1000");
    vps.hostkit(["db", "extensions", "blog", "--enable", "dblink"]).refused(7, "NOT_PERMITTED");
    vps.hostkit(["db", "extensions", "blog", "--enable", "x\"; DROP TABLE t"]).refused(3, "INVALID_VALUE");
    vps.hostkit(["db", "schema", "blog"]).ok().says("integer");
    vps.hostkit(["db", "schema", "blog", "--sql"]).ok().says("CREATE TABLE public.t");
}

#[test]
fn no_password_is_in_a_record_a_log_or_an_argument() {
    let Some(vps) = Vps::boot() else { return };
    superuser(&vps, "postgres", "ALTER SYSTEM SET log_statement = 'all'");
    superuser(&vps, "postgres", "SELECT pg_reload_conf()");
    vps.hostkit(["provision", "blog"]).ok();
    vps.hostkit(["provision", "shop"]).ok();
    vps.hostkit(["db", "rotate", "blog"]).ok();
    vps.hostkit(["db", "query", "blog", "--write", "CREATE TABLE t (i int)"]).ok();
    vps.hostkit(["db", "clone", "blog", "shop"]).ok();
    let mut passwords = BTreeMap::new();
    for name in ["blog", "shop"] {
        let url = url(&vps, name);
        let password = url.split('@').next().unwrap().rsplit(':').next().unwrap().to_owned();
        assert!(password.len() > 30, "{url}");
        passwords.insert(name, password);
    }
    for (name, password) in passwords {
        let found = vps
            .run([
                "grep",
                "-rlaF",
                &password,
                "/etc",
                "/home",
                "/root",
                "/run",
                "/tmp",
                "/var",
                "--exclude-dir=.cache",
            ])
            .run();
        assert_eq!(found.lines(), [format!("/home/{name}/.env")], "where it belongs, and nowhere else");
        let said = vps.sh("for c in 'history' 'db info blog' 'db url blog' 'project info blog' 'status'; do hostkit $c; hostkit $c --json; done").ok();
        said.check(!said.stdout.contains(&password), "no password");
    }
}

#[test]
fn what_the_server_goes_on_with_after_a_kill_is_waited_for_and_undone() {
    let Some(vps) = Vps::boot() else { return };
    vps.hostkit(["provision", "shop"]).ok();
    let before = catalogue(&vps);
    // Making the database waits for a lock, and goes on when the lock is free, whoever is still there.
    let lock = "runuser -u postgres -- psql -X -c 'BEGIN; LOCK pg_database IN SHARE MODE; SELECT pg_sleep(5)' \
                >/dev/null 2>&1 & sleep 1; hostkit provision blog >/dev/null 2>&1 & victim=$!; sleep 1.5; \
                kill -9 $victim; sleep 0.2; hostkit repair && wait && sleep 1";
    vps.run(["bash", "-c", lock]).ok();
    assert_eq!(catalogue(&vps), before);
    vps.expect_healthy();
    vps.hostkit(["provision", "blog"]).ok();
    vps.hostkit(["db", "query", "blog", "--write", "CREATE TABLE t (i int)"]).ok();
}
