//! What somebody else put where a project would go is refused, and taken only with `--adopt`. And a disk
//! that is too full is noticed before anything starts.

use crate::{snapshot::HOST, source::Source, vps::Vps};

#[test]
fn a_foreign_file_in_the_way_is_refused_and_taken_with_adopt() {
    for (place, line) in [
        ("/etc/nginx/sites-available/hostkit-blog", "echo '# mine' >/etc/nginx/sites-available/hostkit-blog"),
        ("/etc/logrotate.d/hostkit-blog", "echo '# mine' >/etc/logrotate.d/hostkit-blog"),
        ("/home/blog", "mkdir /home/blog; echo mine >/home/blog/notes"),
        ("/var/log/projects/blog", "mkdir /var/log/projects/blog"),
    ] {
        let Some(vps) = Vps::boot() else { return };
        vps.sh(line).ok();
        let before = vps.snapshot(HOST);
        let refused = vps.hostkit(["provision", "blog"]).refused(5, "FOREIGN").says(place);
        before.expect_same(&vps.snapshot(HOST), &format!("after `{line}` and\n{refused}"));
        refused.says("--adopt");
        vps.hostkit(["provision", "blog", "--adopt"]).ok();
        vps.deploy("blog", &Source::page("adopted"));
        vps.expect_answer("blog", "adopted");
        vps.expect_healthy();
    }
}

#[test]
fn a_foreign_user_in_the_way_is_refused_and_taken_with_adopt() {
    let Some(vps) = Vps::boot() else { return };
    vps.sh("useradd --create-home blog; echo mine >/home/blog/notes").ok();
    let before = vps.snapshot(HOST);
    let output = vps.hostkit(["--json", "provision", "blog"]).expect_code(5);
    before.expect_same(&vps.snapshot(HOST), &format!("after\n{output}"));
    vps.hostkit(["provision", "blog", "--adopt"]).ok();
    assert_eq!(vps.run(["cat", "/home/blog/notes"]).ok().stdout, "mine\n", "what was adopted is kept");
    vps.deploy("blog", &Source::example("node"));
    vps.expect_answer("blog", "Version 1");
    vps.expect_healthy();
}

#[test]
fn a_foreign_unit_in_the_way_of_the_first_deploy_is_refused() {
    let Some(vps) = Vps::boot() else { return };
    vps.hostkit(["provision", "blog", "--node"]).ok();
    vps.write("/etc/systemd/system/hostkit-blog.service", "[Service]\nExecStart=/bin/sleep 1d\n");
    let before = vps.snapshot(HOST);
    let call = vps.hostkit(["deploy", "blog", "--source", "-"]).stdin(Source::example("node").tar_gz());
    let output = call.refused(5, "FOREIGN").says("hostkit-blog.service");
    before.expect_same(&vps.snapshot(HOST), &format!("after\n{output}"));
}

#[test]
fn another_site_that_claims_the_domain_is_noticed() {
    let site = "server { listen 80; server_name blog.example.test; return 200 mine; }\n";
    let Some(vps) = Vps::with().file("/etc/nginx/sites-enabled/mine", site).boot() else { return };
    vps.run(["systemctl", "reload", "nginx"]).ok();
    let before = vps.snapshot(HOST);
    let output = vps.hostkit(["provision", "blog"]).refused(5, "FOREIGN");
    before.expect_same(&vps.snapshot(HOST), &format!("after\n{output}"));
    vps.expect_answer("blog", "mine");
}

#[test]
fn an_nginx_that_is_broken_or_down_is_named() {
    let Some(vps) = Vps::boot() else { return };
    vps.write("/etc/nginx/conf.d/broken.conf", "frobnicate on;\n");
    let before = vps.snapshot(HOST);
    let output = vps.hostkit(["provision", "blog"]).refused(6, "NGINX_REFUSED").says("frobnicate");
    before.expect_same(&vps.snapshot(HOST), &format!("after\n{output}"));
    vps.run(["rm", "/etc/nginx/conf.d/broken.conf"]).ok();
    vps.run(["systemctl", "stop", "nginx"]).ok();
    let before = vps.snapshot(HOST);
    let output = vps.hostkit(["provision", "blog"]).refused(6, "SERVICE_DOWN");
    before.expect_same(&vps.snapshot(HOST), &format!("after\n{output}"));
}

/// Lays a small disk over `/home` with nothing in it, and has `init` make it HostKit's.
fn small_home(vps: &Vps, options: &str) {
    let line = format!("mount -t tmpfs -o {options} small /home && hostkit init");
    vps.sh(&line).ok();
    // systemd takes note of a mount in its own time, and the list of units is part of a state.
    vps.wait_for_unit("home.mount", "active");
}

#[test]
fn a_disk_without_space_is_noticed_before_anything_starts() {
    let Some(vps) = Vps::boot() else { return };
    small_home(&vps, "size=48m");
    vps.live("blog", &Source::page("here"));
    let fill = "dd if=/dev/zero of=/home/filler bs=64k 2>/dev/null || true";
    vps.sh(fill).ok();
    let before = vps.snapshot(HOST);
    let provision = vps.hostkit(["provision", "shop"]).refused(6, "DISK_FULL");
    before.expect_same(&vps.snapshot(HOST), &format!("after\n{provision}"));
    let call = vps.hostkit(["deploy", "blog", "--source", "-"]).stdin(Source::page("next").tar_gz());
    let deploy = call.refused(6, "DISK_FULL");
    before.expect_same(&vps.snapshot(HOST), &format!("after\n{deploy}"));
    vps.expect_answer("blog", "here");
    vps.run(["rm", "/home/filler"]).ok();
    vps.deploy("blog", &Source::page("next"));
    vps.expect_answer("blog", "next");
}

#[test]
fn a_disk_without_inodes_is_noticed_before_anything_starts() {
    let Some(vps) = Vps::boot() else { return };
    small_home(&vps, "size=512m,nr_inodes=4000");
    vps.live("blog", &Source::page("here"));
    vps.sh("mkdir /home/filler; cd /home/filler; seq 3000 | xargs touch 2>/dev/null || true").ok();
    let before = vps.snapshot(HOST);
    let call = vps.hostkit(["deploy", "blog", "--source", "-"]).stdin(Source::page("next").tar_gz());
    let deploy = call.refused(6, "DISK_FULL");
    before.expect_same(&vps.snapshot(HOST), &format!("after\n{deploy}"));
    vps.expect_answer("blog", "here");
}

#[test]
fn a_source_that_does_not_fit_is_refused_and_leaves_nothing() {
    let Some(vps) = Vps::boot() else { return };
    small_home(&vps, "size=400m");
    vps.live("blog", &Source::page("here"));
    let before = vps.snapshot(HOST);
    vps.write("/root/big/index.html", "big");
    vps.sh("for n in 1 2 3; do head -c 200M /dev/urandom >/root/big/$n; done").ok();
    let output = vps.hostkit(["--json", "deploy", "blog", "--source", "/root/big"]).run();
    output.check([3, 6, 8].contains(&output.code), "the deploy to be refused");
    output.check(output.json()["error"]["code"] == "DISK_FULL", "the error code DISK_FULL");
    before.expect_same(&vps.snapshot(HOST), &format!("after\n{output}"));
    vps.expect_answer("blog", "here");
}
