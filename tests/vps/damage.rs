//! Damage made by hand: `doctor` names it, `repair` mends it, and then `doctor` is content.

use crate::{snapshot::Snapshot, source::Source, vps::Vps};

const MENDED: &[&str] = &["etc", "accounts", "services", "nginx", "projects"];

/// What is broken: what `doctor` must name, and the line that breaks it.
const DAMAGES: &[(&str, &str)] = &[
    (
        "unit:hostkit-blog.service",
        "sed -i s/^Restart=.*/Restart=no/ /etc/systemd/system/hostkit-blog.service",
    ),
    ("link:/home/blog/app", "rm /home/blog/app"),
    ("directory:/home/blog", "chmod 0777 /home/blog"),
    ("service:hostkit-blog.service", "systemctl stop hostkit-blog.service"),
    ("site:hostkit-blog", "rm /etc/nginx/sites-available/hostkit-blog"),
    ("site:hostkit-blog", "rm /etc/nginx/sites-enabled/hostkit-blog; systemctl reload nginx"),
    ("env:/home/blog/.env", "sed -i s/^PORT=.*/PORT=9999/ /home/blog/.env"),
    ("directory:/home/blog/releases", "chown blog /home/blog/releases"),
    ("file:/etc/logrotate.d/hostkit-blog", "rm /etc/logrotate.d/hostkit-blog"),
    ("unit:hostkit-blog.service", "rm /etc/systemd/system/multi-user.target.wants/hostkit-blog.service"),
    ("directory:/var/log/projects/blog", "rm -r /var/log/projects/blog"),
    ("file:/etc/tmpfiles.d/hostkit.conf", "rm /etc/tmpfiles.d/hostkit.conf"),
    ("site:hostkit-host", "echo >>/etc/nginx/conf.d/hostkit.conf"),
    ("link:/home/blog/app", "ln -sfn releases/19990101-000000 /home/blog/app"),
    ("unit:hostkit-blog.service", "rm /etc/systemd/system/hostkit-blog.service; systemctl daemon-reload"),
];

fn damage_and_mend(vps: &Vps, before: &Snapshot, named: &str, line: &str) {
    vps.sh(line).ok();
    let found = vps.hostkit(["--json", "doctor"]).run();
    found.check(found.code == 12, &format!("doctor to end with 12 after `{line}`"));
    let envelope = found.json();
    found.check(envelope.to_string().contains(named), &format!("doctor to name {named} after `{line}`"));
    let shown = vps.hostkit(["doctor"]).expect_code(12);
    shown.check(shown.stdout.contains(named), &format!("doctor to show {named} after `{line}`"));
    let repaired = vps.hostkit(["repair"]).ok();
    let after = vps.hostkit(["doctor"]).run();
    after.check(after.code == 0, &format!("doctor to be content after `{line}` and\n{repaired}"));
    before.expect_same(&vps.snapshot(MENDED), &format!("after `{line}` and repair"));
    vps.wait_for_answer("blog", "Version 1");
}

#[test]
fn every_damage_is_found_by_doctor_and_mended_by_repair() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("blog", &Source::example("node"));
    vps.expect_healthy();
    let before = vps.snapshot(MENDED);
    let mut failed = Vec::new();
    for (named, line) in DAMAGES {
        let round = std::panic::AssertUnwindSafe(|| damage_and_mend(&vps, &before, named, line));
        if let Err(panic) = std::panic::catch_unwind(round) {
            failed.push((line, panic.downcast_ref::<String>().cloned().unwrap_or_default()));
            // The next damage starts from health again, if it can.
            let _ = vps.hostkit(["repair"]).run();
        }
    }
    let report = failed.iter().fold(String::new(), |all, (line, why)| format!("{all}\n=== {line}\n{why}"));
    assert!(failed.is_empty(), "{} of {} damages:{report}", failed.len(), DAMAGES.len());
}

#[test]
fn doctor_ends_with_a_code_that_programs_can_tell() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("blog", &Source::page("blog"));
    vps.sh("chmod 0777 /home/blog").ok();
    vps.hostkit(["doctor"]).refused(12, "DRIFT");
}

#[test]
fn repair_of_one_project_leaves_the_others_alone() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("blog", &Source::page("blog"));
    vps.live("shop", &Source::page("shop"));
    vps.sh("chmod 0700 /home/blog /home/shop").ok();
    vps.hostkit(["repair", "blog"]).ok();
    vps.hostkit(["doctor", "blog"]).ok();
    vps.hostkit(["doctor", "shop"]).expect_code(12).says("/home/shop");
}

#[test]
fn what_the_administrator_adds_to_env_is_no_damage() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("blog", &Source::node("response.end('key ' + env.API_KEY);"));
    vps.sh("echo 'API_KEY=abc' >>/home/blog/.env").ok();
    vps.hostkit(["restart", "blog"]).ok();
    vps.expect_answer("blog", "key abc");
    vps.expect_healthy();
    vps.hostkit(["repair"]).ok();
    vps.deploy("blog", &Source::node("response.end('still ' + env.API_KEY);"));
    vps.expect_answer("blog", "still abc");
}
