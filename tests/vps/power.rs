//! Reboots and power cuts: what was live answers again; what was under way is before or after.

use std::time::Duration;

use crate::{source::Source, vps::Vps};

const KINDS: [&str; 3] = ["static", "node", "python"];

fn three_live_projects(vps: &Vps) {
    for example in KINDS {
        vps.live(&format!("{example}-app"), &Source::example(example));
    }
}

fn expect_all(vps: &Vps) {
    for example in KINDS {
        vps.wait_for_answer(&format!("{example}-app"), "Version 1");
    }
    vps.expect_healthy();
}

#[test]
fn after_a_reboot_every_live_project_answers_again() {
    let Some(vps) = Vps::boot() else { return };
    three_live_projects(&vps);
    vps.live("stopped", &Source::example("node"));
    vps.hostkit(["stop", "stopped"]).ok();
    vps.reboot();
    expect_all(&vps);
    assert_ne!(vps.visit("stopped", "/").status, 200, "what was stopped stays stopped");
    vps.deploy("node-app", &Source::example("node").version(2));
    vps.expect_answer("node-app", "Version 2");
}

#[test]
fn after_a_power_cut_every_live_project_answers_again() {
    let Some(vps) = Vps::boot() else { return };
    three_live_projects(&vps);
    vps.cut_power();
    vps.wait_for_unit("nginx.service", "active");
    expect_all(&vps);
}

#[test]
fn a_power_cut_in_the_middle_of_a_deploy_is_before_or_after() {
    let Some(vps) = Vps::boot() else { return };
    let mut version = 1;
    vps.live("blog", &Source::example("node"));
    // The interesting moments are the late ones: receiving takes a while, switching does not.
    for percent in [10, 40, 60, 75, 90] {
        let next = Source::example("node").version(version + 1);
        let took = time_a_deploy(&vps, version);
        vps.put(&format!("/root/next-{percent}"), &next);
        let moment = took * percent / 100;
        let start = format!("setsid -f hostkit deploy blog --source /root/next-{percent} >/dev/null 2>&1");
        vps.sh(&start).ok();
        std::thread::sleep(moment);
        vps.cut_power();
        vps.hostkit(["repair"]).ok();
        vps.wait_for_answer("blog", "Version");
        vps.expect_healthy();
        let body = vps.visit("blog", "/").body;
        let live = vps.releases("blog").iter().filter(|r| r["state"] == "live").count();
        let [old, new] = [version, version + 1].map(|v| format!("Version {v} "));
        println!("power cut at {percent}% of a deploy ({} ms): {}", moment.as_millis(), body.trim());
        assert_eq!(live, 1);
        assert!(body.contains(&old) || body.contains(&new), "at {percent}%: {body}\n{}", vps.diagnosis());
        let staged = vps.sh("ls -A /home/blog/releases | grep staging || true").ok().stdout;
        assert_eq!(staged, "", "at {percent}% a half-made release stays");
        if body.contains(&new) {
            version += 1;
        }
    }
}

/// How long one undisturbed deploy of what is live already takes.
fn time_a_deploy(vps: &Vps, version: u32) -> Duration {
    let source = Source::example("node").version(version);
    let began = std::time::Instant::now();
    vps.deploy("blog", &source);
    began.elapsed()
}
