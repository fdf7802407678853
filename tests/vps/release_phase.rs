//! The release phase on real daemons: what a migration sees and may do, what a failed one leaves, and going
//! back with the database.

use crate::{source::Source, vps::Vps};

/// An application that shows what it knows of its database, and a release that runs this first.
fn app(migrate: &str) -> Source {
    Source::example("node")
        .program("migrate", format!("#!/bin/sh\n{migrate}\n").as_bytes())
        .file("hostkit.toml", "runtime = \"node\"\nstart = \"node server.js\"\nrelease = \"./migrate\"\n")
}

fn sql(statement: &str) -> String {
    format!("psql \"$DATABASE_URL\" -q -v ON_ERROR_STOP=1 -c \"{statement}\"")
}

fn rows(vps: &Vps, statement: &str) -> String {
    let found = vps.hostkit(["--json", "db", "query", "blog", statement]).ok().json();
    found["data"]["rows"][0][0].as_str().unwrap_or_default().to_owned()
}

fn deploy<'v>(vps: &'v Vps, migrate: &str) -> crate::call::Output<'v> {
    let call = vps.hostkit(["--json", "deploy", "blog", "--source", "-", "--override-ratelimit"]);
    call.stdin(app(migrate).tar_gz()).run()
}

/// What a migration tries; every line says what it got.
const LOOK: &str = r#"
echo "account $(id -un) $(id -gn) $(id -G | wc -w)"
echo "place $(pwd)"
echo "variables $PROJECT_NAME $NODE_ENV"
test "$(readlink -f /proc/self/cwd)" = "$(pwd)" && echo "files $(ls | tr '\n' ' ')"
touch ./x 2>/dev/null && echo "release written" || echo "release sealed"
touch ../../shared/x && echo "shared written"
ls ../../releases | wc -l | sed 's/^/releases /'
ls /home | tr '\n' ' ' | sed 's/^/homes /'; echo
cat /var/lib/hostkit/registry.db >/dev/null 2>&1 && echo "registry read" || echo "registry closed"
cat /etc/hostkit/master.key >/dev/null 2>&1 && echo "key read" || echo "key closed"
grep -q '^DATABASE_URL=' ../../.env && echo "file there"
"#;

#[test]
fn a_migration_runs_as_the_project_in_the_new_release_with_the_environment_to_come() {
    let Some(vps) = Vps::boot() else { return };
    vps.hostkit(["provision", "shop"]).ok();
    vps.live("blog", &Source::example("node"));
    let output = vps.hostkit(["deploy", "blog", "--source", "-"]).stdin(app(LOOK).tar_gz()).ok();
    for said in [
        "account blog blog 1",
        "place /home/blog/releases/2",
        "variables blog production",
        "migrate package.json server.js",
        "release sealed",
        "shared written",
        "releases 1",
        "homes blog \n",
        "registry closed",
        "key closed",
        "file there",
    ] {
        output.check(output.stderr.contains(said), &format!("the migration to say `{said}`"));
    }
    // Nothing of it is left: no unit, no environment beside the releases.
    let left = vps.sh("ls -A /home/blog/releases | grep -c staging || true").ok();
    left.check(left.stdout.trim() == "0", "nothing beside the releases");
    let units = "systemctl list-units --all --no-legend 'hostkit-*_release.service' | grep -q .";
    vps.wait_for("the unit to be forgotten", || vps.sh(units).run().code != 0);
    vps.expect_healthy();
}

#[test]
fn a_migration_that_fails_half_way_leaves_the_old_release_and_the_way_back() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("blog", &Source::example("node"));
    deploy(&vps, &format!("{}\n{}", sql("CREATE TABLE t (n int)"), sql("INSERT INTO t VALUES (1)")))
        .expect(0);
    assert_eq!(rows(&vps, "SELECT count(*)::text FROM t"), "1");
    let before = vps.snapshot(&["etc", "accounts", "services", "nginx"]);
    let half = format!("{}\n{}", sql("INSERT INTO t VALUES (2)"), sql("INSERT INTO nowhere VALUES (3)"));
    let output = deploy(&vps, &format!("set -e\n{half}")).expect(8);
    let envelope = output.json();
    assert_eq!(envelope["error"]["code"], "RELEASE_PHASE_FAILED");
    output.check(envelope["error"]["message"].to_string().contains("nowhere"), "the migration's own words");
    output
        .check(envelope["error"]["state"].to_string().contains("is live; the database may"), "what is live");
    vps.expect_answer("blog", "Version 1");
    // systemd forgets a unit when it comes to it.
    let units = "systemctl list-units --all --no-legend 'hostkit-*_release.service' | grep -q .";
    vps.wait_for("the unit to be forgotten", || vps.sh(units).run().code != 0);
    before.expect_same(&vps.snapshot(&["etc", "accounts", "services", "nginx"]), "after a failed migration");
    // Nothing was undone by itself, and what it says to type undoes it.
    assert_eq!(rows(&vps, "SELECT count(*)::text FROM t"), "2");
    let next = envelope["next"][0].as_str().expect("the way back").split("    #").next().unwrap().to_owned();
    vps.sh(&next).ok();
    assert_eq!(rows(&vps, "SELECT count(*)::text FROM t"), "1");
    vps.expect_healthy();
    assert_eq!(vps.releases("blog").iter().filter(|r| r["state"] == "failed").count(), 1);
}

#[test]
fn a_migration_that_takes_too_long_is_ended_with_all_that_it_started() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("blog", &Source::example("node"));
    vps.hostkit(["rails", "blog", "--release-timeout", "2"]).ok();
    let output = deploy(&vps, "setsid sleep 4711 &\nexec sleep 4711").expect(8);
    output.check(output.stdout.contains("took too long"), "it to say why");
    let left = vps.sh("pgrep -fc '[s]leep 4711' || true").ok();
    left.check(left.stdout.trim() == "0", "nothing that goes on");
    vps.expect_answer("blog", "Version 1");
    deploy(&vps, "true").expect(0);
}

#[test]
fn going_back_takes_the_database_along_when_somebody_wants_that() {
    let Some(vps) = Vps::boot() else { return };
    let first = vps.live("blog", &Source::example("node"));
    vps.hostkit(["db", "query", "blog", "--write", "CREATE TABLE notes (n int)"]).ok();
    vps.hostkit(["db", "query", "blog", "--write", "INSERT INTO notes VALUES (1)"]).ok();
    deploy(&vps, &sql("ALTER TABLE notes RENAME COLUMN n TO number")).expect(0);
    vps.hostkit(["db", "query", "blog", "--write", "INSERT INTO notes VALUES (2)"]).ok();
    // A script that does not know is told, and nothing happens.
    let refused = vps.hostkit(["rollback", "blog"]).refused(2, "CONFIRMATION_NEEDED");
    refused.check(refused.stdout.contains("--with-db"), "both ways to be named");
    let refused = vps.hostkit(["rollback", "blog", "--with-db"]).refused(2, "CONFIRMATION_NEEDED");
    refused.check(refused.stdout.contains("2 rows now, 1 then"), "what would be lost");
    assert_eq!(rows(&vps, "SELECT count(number)::text FROM notes"), "2");
    let back = vps.hostkit(["--json", "rollback", "blog", "--with-db", "--yes"]).ok().json();
    assert_eq!(back["data"]["live"], first.as_str());
    assert_eq!(rows(&vps, "SELECT count(n)::text FROM notes"), "1");
    vps.expect_answer("blog", "Version 1");
    vps.expect_healthy();
    // What was lost can be had back.
    let safety = back["data"]["safety"].as_str().expect("a checkpoint of what there was").to_owned();
    vps.hostkit(["checkpoint", "restore", "blog", &safety]).ok();
    assert_eq!(rows(&vps, "SELECT count(number)::text FROM notes"), "2");
}
