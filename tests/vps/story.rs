//! The main story: provision, deploy, see it answer, deploy again, go back. And the ways a source may
//! come in.

use serde_json::Value;

use crate::{source::Source, vps::Vps};

/// One project of an example from nothing to a named older release.
fn tell(example: &str) {
    let Some(vps) = Vps::boot() else { return };
    let source = Source::example(example);
    vps.put("/root/source", &source);
    vps.hostkit(["provision", "blog", &format!("--{example}")]).ok();
    assert_eq!(vps.visit("blog", "/").status, 503, "nothing has been deployed yet");
    vps.hostkit(["deploy", "blog", "--source", "/root/source"]).ok();
    vps.expect_answer("blog", "Version 1");

    let second = vps.deploy("blog", &source.clone().version(2));
    vps.expect_answer("blog", "Version 2");
    vps.hostkit(["rollback", "blog"]).ok();
    vps.expect_answer("blog", "Version 1");

    vps.deploy("blog", &source.version(3));
    vps.expect_answer("blog", "Version 3");
    vps.hostkit(["rollback", "blog", &second]).ok();
    vps.expect_answer("blog", "Version 2");
    let live: Vec<Value> = vps.releases("blog").into_iter().filter(|r| r["state"] == "live").collect();
    assert_eq!(live.len(), 1, "{live:?}");
    assert!(live[0].to_string().contains(&second), "{second} is live: {live:?}");
    vps.expect_healthy();
}

#[test]
fn a_static_site_is_provisioned_deployed_and_rolled_back() {
    tell("static");
}

#[test]
fn a_node_app_is_provisioned_deployed_and_rolled_back() {
    tell("node");
}

#[test]
fn a_python_app_is_provisioned_deployed_and_rolled_back() {
    tell("python");
}

#[test]
fn the_kind_of_app_is_detected_at_the_first_deploy() {
    let Some(vps) = Vps::boot() else { return };
    for example in ["static", "node", "python"] {
        let name = format!("{example}-app");
        vps.live(&name, &Source::example(example).without("hostkit.toml"));
        vps.expect_answer(&name, "Version 1");
    }
    vps.expect_healthy();
}

#[test]
fn a_tarball_is_a_source() {
    let Some(vps) = Vps::boot() else { return };
    vps.write("/root/blog.tar.gz", Source::page("from a file").tar_gz());
    vps.hostkit(["provision", "blog", "--static"]).ok();
    vps.hostkit(["deploy", "blog", "--source", "/root/blog.tar.gz"]).ok();
    vps.expect_answer("blog", "from a file");
}

#[test]
fn provision_with_a_source_deploys_too() {
    let Some(vps) = Vps::boot() else { return };
    vps.put("/root/source", &Source::example("node"));
    vps.hostkit(["provision", "blog", "--node", "--source", "/root/source"]).ok();
    vps.expect_answer("blog", "Version 1");
}

#[test]
fn provisioning_twice_changes_nothing() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("blog", &Source::example("node"));
    let before = vps.snapshot(crate::snapshot::HOST);
    let again = vps.hostkit(["--json", "provision", "blog"]).ok();
    again.check(again.json()["changed"] == false, "`changed` to be false");
    before.expect_same(&vps.snapshot(crate::snapshot::HOST), "after provisioning twice");
}

#[test]
fn a_dry_run_says_what_would_happen_and_does_none_of_it() {
    let Some(vps) = Vps::boot() else { return };
    let before = vps.snapshot(crate::snapshot::HOST);
    vps.hostkit(["provision", "blog", "--node", "--dry-run"]).ok().says("/home/blog");
    before.expect_same(&vps.snapshot(crate::snapshot::HOST), "after a dry run of provision");
    vps.live("blog", &Source::example("node"));
    vps.deploy("blog", &Source::example("node").version(2));
    let before = vps.snapshot(crate::snapshot::HOST);
    vps.put("/root/source", &Source::example("node").version(3));
    vps.hostkit(["deploy", "blog", "--source", "/root/source", "--dry-run"]).ok();
    vps.hostkit(["rollback", "blog", "--dry-run"]).ok();
    vps.hostkit(["project", "delete", "blog", "--dry-run"]).ok();
    before.expect_same(&vps.snapshot(crate::snapshot::HOST), "after dry runs of the others");
    vps.expect_answer("blog", "Version 2");
}

#[test]
fn five_releases_are_kept_and_the_live_one_is_always_among_them() {
    let Some(vps) = Vps::boot() else { return };
    let first = vps.live("blog", &Source::page("number 0"));
    let ids: Vec<String> =
        (1..=6).map(|n| vps.deploy("blog", &Source::page(&format!("number {n}")))).collect();
    let kept = vps.sh("ls /home/blog/releases").ok().lines();
    assert_eq!(kept, ids[1..], "the oldest were pruned");
    vps.hostkit(["rollback", "blog", &first]).refused(4, "RELEASE_NOT_FOUND");
    vps.hostkit(["rollback", "blog", &ids[1]]).ok();
    vps.deploy("blog", &Source::page("number 7"));
    let kept = vps.sh("ls /home/blog/releases").ok().lines();
    assert!(kept.contains(&ids[1]), "the previous release is never pruned: {kept:?}");
    vps.hostkit(["rollback", "blog"]).ok();
    vps.expect_answer("blog", "number 2");
}

#[test]
fn stop_start_and_restart_do_what_they_say() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("blog", &Source::example("node"));
    vps.hostkit(["stop", "blog"]).ok();
    assert_ne!(vps.visit("blog", "/").status, 200);
    vps.expect_healthy();
    vps.hostkit(["start", "blog"]).ok();
    vps.expect_answer("blog", "Version 1");
    let process = || vps.sh("systemctl show -p MainPID hostkit-blog").ok().stdout;
    let before = process();
    vps.hostkit(["restart", "blog"]).ok();
    assert_ne!(before, process(), "a restart makes a new process");
    vps.expect_answer("blog", "Version 1");
}

#[test]
fn logs_and_status_show_the_app() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("blog", &Source::example("node"));
    vps.hostkit(["logs", "blog", "-n", "5"]).ok().says("Version 1 listens");
    vps.hostkit(["status"]).ok().says("blog");
    vps.hostkit(["status", "blog"]).ok().says("blog.example.test");
    vps.hostkit(["project", "info", "blog"]).ok().says("blog");
    vps.hostkit(["history", "blog"]).ok().says("deploy");
    let listed = vps.hostkit(["--json", "project", "list"]).ok().json();
    assert_eq!(listed["data"]["projects"][0]["name"], "blog", "{listed}");
}
