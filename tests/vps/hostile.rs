//! Sources that are empty, unreadable or hostile: refused whole, named, and nothing of them stays.

use crate::{
    snapshot::HOST,
    source::{Archive, Source, bomb, gzip},
    vps::Vps,
};

/// Deploys these bytes to a live project: they must be refused and leave everything as it is.
fn refuses(vps: &Vps, what: &str, bytes: Vec<u8>) {
    let before = vps.snapshot(HOST);
    let output = vps.hostkit(["deploy", "blog", "--source", "-"]).stdin(bytes).refused(3, "INVALID_SOURCE");
    before.expect_same(&vps.snapshot(HOST), &format!("after {what}\n{output}"));
    vps.expect_answer("blog", "before");
}

#[test]
fn archives_with_anything_but_files_and_inner_links_are_refused() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("blog", &Source::page("before"));
    vps.write("/root/secret", "secret");
    for (what, archive) in [
        ("a path with ..", Archive::page().file("../../etc/cron.d/evil", 0o644, b"evil")),
        ("a path with .. inside", Archive::page().file("a/../../../evil", 0o644, b"evil")),
        ("an absolute path", Archive::page().file("/etc/cron.d/evil", 0o644, b"evil")),
        ("an absolute link", Archive::page().link("steal", "/root/secret")),
        ("a link that climbs out", Archive::page().link("steal", "../../../root/secret")),
        ("a link to itself", Archive::page().link("loop", "loop")),
        ("a dangling link", Archive::page().link("nowhere", "missing")),
        (
            "a file through a link",
            Archive::page().link("etc", "/etc").file("etc/cron.d/evil", 0o644, b"evil"),
        ),
        ("a hard link outside", Archive::page().hard_link("steal", "/root/secret")),
        ("a fifo", Archive::page().fifo("pipe")),
        ("a device", Archive::page().device("null")),
        ("the same file twice", Archive::page().file("index.html", 0o644, b"again")),
        ("a control character", Archive::page().file("a\x1b[31mb", 0o644, b"red")),
        ("a line break", Archive::page().file("a\nb", 0o644, b"two lines")),
    ] {
        refuses(&vps, what, archive.tar_gz());
    }
    assert_eq!(vps.run(["cat", "/root/secret"]).ok().stdout, "secret");
    assert_eq!(vps.sh("ls /etc/cron.d | grep evil || true").ok().stdout, "");
}

#[test]
fn setuid_bits_and_write_permissions_do_not_survive() {
    let Some(vps) = Vps::boot() else { return };
    let archive = Archive::page().file("tool", 0o6777, b"#!/bin/sh\nid\n").file("open", 0o666, b"x");
    vps.hostkit(["provision", "blog", "--static"]).ok();
    let output = vps.hostkit(["--json", "deploy", "blog", "--source", "-"]).stdin(archive.tar_gz()).run();
    // Either answer keeps the promise: refused whole, or taken without the bits.
    output.check([0, 3].contains(&output.code), "it to be refused or defused");
    let found = vps.sh("find /home/blog -xdev -type f -perm /6022").ok().stdout;
    output.check(found.is_empty(), &format!("no such file, but there is\n{found}"));
}

#[test]
fn what_is_no_archive_is_refused() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("blog", &Source::page("before"));
    let whole = Source::example("node").tar_gz();
    for (what, bytes) in [
        ("nothing at all", Vec::new()),
        ("an empty archive", Archive::default().tar_gz()),
        ("text", b"this is no archive\n".to_vec()),
        ("compressed text", gzip(b"this is no archive\n")),
        ("half an archive", whole[..whole.len() / 2].to_vec()),
        ("a bomb of zeros", bomb(1500)),
    ] {
        refuses(&vps, what, bytes);
    }
}

#[test]
fn a_bomb_does_not_eat_the_servers_memory_or_disk() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("blog", &Source::page("before"));
    // A long-name record of a gibibyte: parsers collect it in memory before anybody can object.
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::GNULongName);
    header.set_path("././@LongLink").unwrap();
    header.set_size(1 << 30);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.resize(bytes.len() + (1 << 30), b'a');
    vps.write("/root/bomb.tar.gz", gzip(&bytes));
    let line = "import resource, subprocess, sys\n\
                done = subprocess.run(['hostkit', 'deploy', 'blog', '--source', '/root/bomb.tar.gz'])\n\
                print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)\n";
    let output = vps.python(line, [""; 0]).ok();
    let words: Vec<i64> =
        output.stdout.split_whitespace().rev().take(2).map(|w| w.parse().unwrap()).collect();
    output.check(words[1] == 3, "the bomb to be refused");
    output.check(words[0] <= 300, &format!("at most 300 MiB of memory, not {}", words[0]));
    vps.expect_answer("blog", "before");
}

#[test]
fn directories_with_foreign_things_are_refused_like_archives() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("blog", &Source::page("before"));
    for (what, line) in [
        ("nothing in it", "true"),
        ("a fifo", "echo x >index.html; mkfifo pipe"),
        ("a device", "echo x >index.html; mknod null c 1 3"),
        (
            "a socket",
            "echo x >index.html; python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"s\")'",
        ),
        ("an absolute link", "echo x >index.html; ln -s /etc/shadow steal"),
        ("a link that climbs out", "echo x >index.html; ln -s ../../etc/shadow steal"),
    ] {
        vps.sh(&format!("rm -rf /root/source; mkdir /root/source; cd /root/source; {line}")).ok();
        let before = vps.snapshot(HOST);
        let output = vps.hostkit(["deploy", "blog", "--source", "/root/source"]).refused(3, "INVALID_SOURCE");
        before.expect_same(&vps.snapshot(HOST), &format!("after a directory with {what}\n{output}"));
        vps.expect_answer("blog", "before");
    }
}

#[test]
fn sources_that_are_not_there_or_no_source_are_refused() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("blog", &Source::page("before"));
    vps.write("/root/notes.txt", "no archive");
    for path in ["/root/missing", "/root/notes.txt", "/dev/zero", "/proc/self/mem", ""] {
        let before = vps.snapshot(HOST);
        let output = vps.hostkit(["deploy", "blog", "--source", path]).refused(3, "INVALID_SOURCE");
        before.expect_same(&vps.snapshot(HOST), &format!("after the source `{path}`\n{output}"));
    }
    let empty = Source::empty().file("README.txt", "nothing that runs");
    vps.hostkit(["provision", "shop"]).ok();
    let before = vps.snapshot(HOST);
    let call = vps.hostkit(["deploy", "shop", "--source", "-"]).stdin(empty.tar_gz());
    let output = call.refused(3, "NOTHING_DETECTED").says("hostkit.toml");
    before.expect_same(&vps.snapshot(HOST), &format!("after\n{output}"));
}

#[test]
fn a_source_is_read_with_the_permissions_of_the_caller() {
    let Some(vps) = Vps::with().administrator("ann").boot() else { return };
    vps.live("blog", &Source::page("before"));
    vps.put("/root/private", &Source::page("of root alone"));
    vps.write("/root/private.tar.gz", Source::page("of root alone").tar_gz());
    vps.sh("chmod 0700 /root /root/private; chmod 0600 /root/private.tar.gz").ok();
    for path in ["/root/private", "/root/private.tar.gz"] {
        vps.hostkit(["deploy", "blog", "--source", path]).as_user("ann").refused(3, "INVALID_SOURCE");
        vps.expect_answer("blog", "before");
    }
    vps.put("/home/ann/site", &Source::page("by ann"));
    vps.run(["chown", "-R", "ann:ann", "/home/ann/site"]).ok();
    vps.sh("chmod 0700 /home/ann/site").ok();
    vps.hostkit(["deploy", "blog", "--source", "/home/ann/site"]).as_user("ann").ok();
    vps.expect_answer("blog", "by ann");
    // A file she may not read, in the middle of a directory that is hers.
    vps.sh("echo secret >/home/ann/site/secret; chmod 0600 /home/ann/site/secret").ok();
    vps.hostkit(["deploy", "blog", "--source", "/home/ann/site"]).as_user("ann").refused(3, "INVALID_SOURCE");
    vps.hostkit(["history", "blog"]).ok().says("ann");
}
