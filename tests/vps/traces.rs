//! Deleting leaves no trace; what was deleted comes back whole.

use crate::{snapshot::Snapshot, source::Source, vps::Vps};

/// What the issue names: `/etc`, the accounts, the unit list and the nginx configuration.
const NAMED: &[&str] = &["etc", "accounts", "units", "nginx"];

fn delete(vps: &Vps, name: &str) {
    vps.hostkit(["project", "delete", name, "--confirm", name]).ok();
}

/// Compares until systemd has had time to forget a unit whose file is gone: it does that when idle.
fn expect_no_trace(vps: &Vps, before: &Snapshot, when: &str) {
    for _ in 0..10 {
        if before.difference(&vps.snapshot(NAMED)).is_empty() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
    before.expect_same(&vps.snapshot(NAMED), when);
}

#[test]
fn delete_and_purge_leave_the_host_as_it_was() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("other", &Source::example("node"));
    let before = vps.snapshot(NAMED);
    for example in ["static", "node", "python"] {
        vps.live("blog", &Source::example(example));
        vps.deploy("blog", &Source::example(example).version(2));
        vps.expect_answer("blog", "Version 2");
        delete(&vps, "blog");
        vps.hostkit(["project", "purge", "blog", "--confirm", "blog"]).ok();
        expect_no_trace(&vps, &before, &format!("after a {example} project was deleted and purged"));
        for place in ["/home", "/home/.hostkit-trash", "/var/log/projects", "/var/log/projects/.trash"] {
            let left = vps.run(["ls", "-A", place]).ok().stdout;
            assert!(!left.contains("blog"), "{place} still has something: {left}");
        }
    }
    vps.expect_answer("other", "Version 1");
    vps.expect_healthy();
}

#[test]
fn no_trace_is_left_in_systemd_when_somebody_reloaded_it_meanwhile() {
    let Some(vps) = Vps::boot() else { return };
    let before = vps.snapshot(NAMED);
    vps.live("blog", &Source::example("node"));
    // As every package installation does. From now on multi-user.target knows that it wants the unit.
    vps.run(["systemctl", "daemon-reload"]).ok();
    delete(&vps, "blog");
    vps.hostkit(["project", "purge", "blog", "--confirm", "blog"]).ok();
    expect_no_trace(&vps, &before, "after a project was deleted and purged");
}

#[test]
fn a_project_that_was_never_deployed_leaves_no_trace_either() {
    let Some(vps) = Vps::boot() else { return };
    let before = vps.snapshot(NAMED);
    vps.hostkit(["provision", "blog"]).ok();
    delete(&vps, "blog");
    vps.hostkit(["project", "purge", "blog", "--confirm", "blog"]).ok();
    expect_no_trace(&vps, &before, "after an empty project was deleted and purged");
}

#[test]
fn restore_brings_back_the_same_project() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("blog", &Source::example("node"));
    vps.deploy("blog", &Source::example("node").version(2));
    vps.write("/home/blog/shared/upload.txt", "precious");
    vps.sh("chown blog:blog /home/blog/shared/upload.txt; echo 'API_KEY=abc' >>/home/blog/.env").ok();
    let before = vps.snapshot(crate::snapshot::HOST);
    delete(&vps, "blog");
    assert!(!vps.visit("blog", "/").says("Version"), "the deleted project still answers");
    let gone = vps.sh("getent passwd blog || true; ls /home").ok().stdout;
    assert!(!gone.contains("blog"), "{gone}");
    vps.hostkit(["project", "restore", "blog"]).ok();
    without_order(&before)
        .expect_same(&without_order(&vps.snapshot(crate::snapshot::HOST)), "after delete and restore");
    vps.expect_answer("blog", "Version 2");
    vps.hostkit(["rollback", "blog"]).ok();
    vps.expect_answer("blog", "Version 1");
    vps.expect_healthy();
}

/// The order of lines in the account files is no part of an account.
fn without_order(state: &Snapshot) -> Snapshot {
    const ORDERED: [&str; 6] = ["passwd", "group", "shadow", "gshadow", "subuid", "subgid"];
    state.map(|line| {
        let ordered = ORDERED.iter().any(|name| line.starts_with(&format!("file /etc/{name} ")));
        (!ordered).then(|| line.to_owned())
    })
}

#[test]
fn nothing_is_restored_over_a_new_project_of_the_same_name() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("blog", &Source::page("the old one"));
    delete(&vps, "blog");
    vps.live("blog", &Source::page("the new one"));
    let before = vps.snapshot(crate::snapshot::HOST);
    vps.hostkit(["project", "restore", "blog"]).refused(5, "NAME_TAKEN");
    before.expect_same(&vps.snapshot(crate::snapshot::HOST), "after a refused restore");
    vps.expect_answer("blog", "the new one");
}

#[test]
fn deleting_needs_the_name_off_a_terminal() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("blog", &Source::page("here"));
    let before = vps.snapshot(crate::snapshot::HOST);
    vps.hostkit(["project", "delete", "blog"]).refused(2, "CONFIRMATION_NEEDED").says("--confirm");
    vps.hostkit(["project", "delete", "blog", "--confirm", "blob"]).refused(2, "CONFIRMATION_NEEDED");
    before.expect_same(&vps.snapshot(crate::snapshot::HOST), "after two refused deletes");
    vps.expect_answer("blog", "here");
}
