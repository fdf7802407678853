//! Several commands at once: on different projects they must not meet.

use crate::{source::Source, vps::Vps};

/// An application of one file, which does everything itself.
fn program(text: &str) -> Source {
    Source::empty().file("index.js", text).file("package.json", "{}")
}

#[test]
fn projects_are_provisioned_deployed_and_deleted_side_by_side() {
    let Some(vps) = Vps::boot() else { return };
    vps.put("/root/source", &Source::example("node"));
    let each = |what: &str| {
        let line = format!(
            "for p in pa1 pa2 pa3 pa4; do hostkit {what} > /tmp/$p.log 2>&1 & eval \"$p=$!\"; done; \
             for p in pa1 pa2 pa3 pa4; do eval \"wait \\$$p\" || {{ echo \"$p: $?\"; cat /tmp/$p.log; }}; done"
        );
        let output = vps.sh(&line).ok();
        output.check(output.stdout.is_empty(), "all four to succeed");
    };
    each("provision $p --node");
    for _ in 0..3 {
        each("deploy $p -q --source /root/source");
    }
    for p in ["pa1", "pa2", "pa3", "pa4"] {
        vps.expect_answer(p, "Version 1");
    }
    vps.expect_healthy();
    each("project delete $p --confirm $p");
    vps.expect_healthy();
}

#[test]
fn units_that_change_side_by_side_are_all_run_as_they_are_now() {
    let Some(vps) = Vps::boot() else { return };
    for p in ["ra1", "ra2", "ra3"] {
        vps.live(p, &Source::example("node"));
    }
    for round in 1..=3 {
        let toml =
            format!("runtime = \"node\"\nstart = \"node server.js round-{round}\"\nhealth = \"/healthz\"\n");
        vps.put("/root/source", &Source::example("node").file("hostkit.toml", toml));
        vps.sh("for p in ra1 ra2 ra3; do hostkit deploy $p -q --source /root/source >/dev/null & done; wait")
            .ok();
        let running = vps.sh("ps -eo args | grep -c '[s]erver.js round-'").ok();
        let now = vps.sh(&format!("ps -eo args | grep -c '[s]erver.js round-{round}'")).ok();
        running.check(
            running.stdout == now.stdout && now.stdout.trim() == "3",
            "three processes, all of this round",
        );
        let stale = vps.sh("systemctl show -p NeedDaemonReload hostkit-ra1 hostkit-ra2 hostkit-ra3").ok();
        stale.check(!stale.stdout.contains("yes"), "systemd to know every unit as it is");
    }
    vps.expect_healthy();
}

#[test]
fn an_empty_registry_is_damage_and_nothing_is_thrown_away_for_it() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("blog", &Source::page("here"));
    vps.hostkit(["project", "delete", "blog", "--confirm", "blog"]).ok();
    vps.sh("cp /var/lib/hostkit/registry.db /root/copy.db; : > /var/lib/hostkit/registry.db").ok();
    vps.hostkit(["gc"]).refused(6, "REGISTRY_DAMAGED");
    vps.sh("rm /var/lib/hostkit/registry.db").ok();
    vps.hostkit(["gc"]).refused(6, "NOT_INITIALISED");
    vps.sh("cp /root/copy.db /var/lib/hostkit/registry.db").ok();
    vps.hostkit(["project", "restore", "blog"]).ok();
    vps.expect_answer("blog", "here");
}

#[test]
fn a_neighbour_on_another_loopback_address_is_not_taken_for_the_app() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("vic", &Source::example("node"));
    vps.live("att", &program(
        "const http = require('http');\n\
         const port = Number(process.env.PORT);\n\
         http.createServer((q, r) => r.end('att')).listen(port, '127.0.0.1');\n\
         for (let i = 2; i < 30; i++) http.createServer((q, r) => r.end('att')).listen(8001, '127.0.0.' + i);\n",
    ));
    vps.deploy("vic", &Source::example("node").version(2));
    vps.expect_answer("vic", "Version 2");
    vps.expect_healthy();
}

#[test]
fn an_app_that_ends_again_and_again_comes_back_when_its_reason_is_gone() {
    let Some(vps) = Vps::boot() else { return };
    vps.live(
        "api",
        &program(
            "const fs = require('fs');\n\
         setInterval(() => { if (fs.existsSync('/home/api/shared/die')) process.exit(1); }, 50);\n\
         if (fs.existsSync('/home/api/shared/die')) process.exit(1);\n\
         require('http').createServer((q, r) => r.end('alive')).listen(process.env.PORT, '127.0.0.1');\n",
        ),
    );
    vps.sh("touch /home/api/shared/die").ok();
    vps.wait_for("the app to be down", || vps.visit("api", "/").status == 502);
    let _ = vps.hostkit(["repair"]).run();
    vps.sh("rm /home/api/shared/die").ok();
    vps.wait_for_answer("api", "alive");
    vps.hostkit(["repair"]).ok();
    vps.expect_healthy();
}
