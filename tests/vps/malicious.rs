//! A build that means harm: what it tries, one try after the other, and that none succeeds.

use std::collections::BTreeMap;

use crate::{source::Source, vps::Vps};

const POSTINSTALL: &str = include_str!("inside/postinstall.py");

/// The tries that must be among those that were made: the script must not have ended early, and none may
/// be forgotten.
const TRIES: &[&str] = &[
    "read its project's .env",
    "read its project's shared files",
    "write its live release",
    "see what lies around the tree",
    "see the homes",
    "read another's .env",
    "read another's release",
    "see another's cache",
    "find secrets in its environment",
    "see processes of others",
    "read environments of others",
    "trace init",
    "signal init",
    "reach PostgreSQL on loopback",
    "reach Redis on loopback",
    "reach Redis on loopback by IPv6",
    "reach an application on loopback",
    "reach an application by 127.0.0.2",
    "reach nginx by the host's own address",
    "reach a neighbour",
    "reach the cloud's metadata",
    "reach PostgreSQL by its socket",
    "reach Redis by its socket",
    "reach D-Bus",
    "reach systemd",
    "reach the journal",
    "hand an open file to a neighbour",
    "make a ring that opens sockets",
    "call sudo",
    "call su",
    "start a unit",
    "write a crontab",
    "call crontab",
    "write a system's crontab",
    "write /etc",
    "write /usr",
    "write /opt",
    "write /var/lib",
    "write the kernel's settings",
    "write a control group",
    "read /etc/shadow",
    "read /root",
    "read HostKit's configuration",
    "read the master key",
    "read the registry",
    "read logs",
    "read backups",
    "read the database's files",
    "make a setuid file",
    "make a setgid directory",
    "make a device",
    "link a setuid program",
    "give a file away",
    "become root",
    "become another",
    "make a user namespace",
    "make a network namespace",
    "mount",
    "change the root",
    "set the clock",
    "set the host's name",
    "load a kernel module",
    "have privileges",
    "hear packets",
    "send raw packets",
    "change the packet filter",
    "read the disk",
    "read the kernel's memory",
    "be more important than others",
    "be spared when memory runs out",
    "leave a core dump",
    "fork without end",
    "write a huge file",
];

/// A Node app whose installer is the script.
fn evil(port: &str, address: &str) -> Source {
    let install =
        format!("install = [[\"python3\", \"postinstall.py\", \"shop\", \"{port}\", \"{address}\"]]\n");
    Source::example("node").file("postinstall.py", POSTINSTALL).file("hostkit.toml", install)
}

#[test]
fn a_malicious_postinstall_is_refused_everything() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("shop", &Source::example("node"));
    vps.hostkit(["provision", "blog"]).ok();
    vps.deploy("blog", &Source::example("node"));
    vps.sh("systemd-run -q --unit=neighbour /usr/bin/python3 -c \"import socket, time
s = socket.socket(socket.AF_UNIX); s.bind(chr(0) + 'neighbour'); s.listen(); time.sleep(900)\"
         while ! grep -q @neighbour /proc/net/unix; do sleep 0.1; done")
        .ok();
    let port = vps.sh("grep ^PORT= /home/shop/.env | tr -cd 0-9").ok().stdout.trim().to_owned();
    let address = vps.server().address.clone();

    vps.deploy("blog", &evil(&port, &address));
    let log = vps.hostkit(["--json", "builds", "log", "blog"]).ok().json();
    let lines: Vec<&str> =
        log["data"]["lines"].as_array().unwrap().iter().filter_map(|l| l.as_str()).collect();
    assert!(lines.contains(&"tried everything"), "the script ended early:\n{}", lines.join("\n"));
    let verdicts: BTreeMap<&str, &str> = lines
        .iter()
        .filter_map(|line| line.split_once(": "))
        .filter_map(|(head, _)| head.split_once(' '))
        .map(|(verdict, name)| (name, verdict))
        .collect();
    for name in TRIES {
        let line =
            lines.iter().find(|line| line.contains(&format!(" {name}: "))).unwrap_or(&"it was not tried");
        assert_eq!(verdicts.get(name), Some(&"denied"), "{name}: {line}\n{}", lines.join("\n"));
    }
    assert_eq!(verdicts.values().filter(|verdict| **verdict == "denied").count(), TRIES.len());

    // What it left behind is gone, and nothing of it has come out.
    assert_eq!(vps.sh("pgrep -u hkb40000 || true").ok().stdout, "", "a daemon outlived its build");
    assert_eq!(vps.sh("ls -d /tmp/evil /var/tmp/evil /dev/shm/evil 2>/dev/null || true").ok().stdout, "");
    let strange = vps.sh("find /home/blog/app/ -perm /6000 -o ! -user root -o -type p -o -type s").ok();
    assert_eq!(strange.stdout, "", "the release is root's, and plain");
    vps.expect_answer("blog", "Version 1");
    vps.expect_answer("shop", "Version 1");
    vps.expect_healthy();
}

/// Listens where an application would, and where the kernel gives ports out, until it is told to end.
const LISTENER: &str = r#"
import os, socket, time
socks = []
for port in (8900, 41234):
    s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        s.bind(("0.0.0.0", port)); s.listen(); socks.append(s)
    except OSError as error:
        print("no", port, error, flush=True)
# Its own processes may talk to each other.
with socket.create_connection(("127.0.0.1", 41234), timeout=5): pass
print("it listens", flush=True)
time.sleep(12)
"#;

#[test]
fn nobody_is_answered_where_a_build_listens_but_its_own_processes() {
    let Some(vps) = Vps::boot() else { return };
    vps.hostkit(["provision", "blog"]).ok();
    let source = Source::example("node")
        .file("listen.py", LISTENER)
        .file("hostkit.toml", "install = [[\"python3\", \"listen.py\"]]\n");
    vps.put("/root/blog", &source);
    vps.sh("setsid hostkit deploy blog --source /root/blog >/root/deploy.log 2>&1 &").ok();
    vps.wait_for("the build to listen", || vps.sh("grep -q 'it listens' /root/deploy.log").run().code == 0);
    for port in ["8900", "41234"] {
        let line = format!("curl -sS -m 3 http://127.0.0.1:{port}/");
        let output = vps.sh(&line).run();
        output.check(output.code == 28 || output.code == 7, "nobody to be answered from inside");
        let address = format!("{}:{port}", vps.server().address);
        let from_outside = std::net::TcpStream::connect_timeout(
            &address.parse().unwrap(),
            std::time::Duration::from_secs(3),
        );
        assert!(from_outside.is_err(), "{address} answers from outside");
    }
    vps.wait_for("the deploy to end", || vps.sh("grep -q ^Live /root/deploy.log").run().code == 0);
}
