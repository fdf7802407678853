//! Builds that go wrong: each in its own way, told apart, with nothing left of them and what was live
//! still live.

use crate::{source::Source, vps::Vps};

/// A Node app that is built by this Python script.
fn built_by(script: &str) -> Source {
    Source::example("node")
        .file("make.py", script)
        .file("hostkit.toml", "build = [[\"python3\", \"make.py\"]]\n")
}

/// Nothing of a build is left, and the first release answers.
fn expect_as_before(vps: &Vps) {
    assert_eq!(vps.sh("pgrep -l -u hkb40000 || true").ok().stdout, "", "processes are left");
    let units = vps.sh("systemctl list-units --all --plain --no-legend '*_build*'").ok();
    assert_eq!(units.stdout, "", "a unit is left");
    let left =
        vps.sh("ls -A /home/blog/releases | grep staging || true; ls /run/hostkit/locks | grep _ || true");
    assert_eq!(left.ok().stdout, "", "something half-made is left");
    vps.expect_answer("blog", "Version 1");
}

#[test]
fn a_build_that_fails_says_how_and_what_was_live_stays_live() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("blog", &Source::example("node"));
    let refused = |script: &str, flags: &[&str], code: &str| {
        let words = ["deploy", "blog", "--source", "-", "--override-ratelimit"].iter().chain(flags).copied();
        let call = vps.hostkit(words).stdin(built_by(script).version(2).tar_gz());
        let output = call.refused(if code == "PROGRAM_MISSING" { 6 } else { 8 }, code);
        expect_as_before(&vps);
        output
    };
    refused("raise SystemExit(3)", &[], "BUILD_FAILED").says("exit status 3");
    refused("import time; time.sleep(600)", &["--build-timeout", "3"], "BUILD_TIMEOUT")
        .says("--build-timeout");
    let fill = "
import os
for n in range(40):
    with open(f'junk{n}', 'wb') as f: f.write(os.urandom(1 << 20) * 20)
    os.sync()
import time; time.sleep(60)
";
    refused(fill, &["--build-disk", "200M"], "BUILD_TOO_LARGE").says("--build-disk");
    let forks = "
import os, time
while True:
    if os.fork() == 0: time.sleep(300)
";
    refused(forks, &[], "BUILD_FAILED");
    refused("import os; os.kill(os.getpid(), 9)", &[], "BUILD_OUT_OF_MEMORY").says("--build-memory");
    // Ended politely, as some guards against full memory do, is ended all the same.
    refused("import os; os.kill(os.getpid(), 15)", &[], "BUILD_FAILED").says("signal 15");
    refused("import os; os.execvp('nowhere', ['x'])", &[], "BUILD_FAILED");
    for (what, script) in [
        ("named pipe", "import os; os.mkfifo('pipe')"),
        ("socket", "import os, stat; os.mknod('sock', stat.S_IFSOCK | 0o644)"),
        ("leads out", "import os; os.symlink('/etc/passwd', 'steal')"),
        ("leads out", "import os; os.symlink('../../.env', 'steal')"),
        ("deep", "import os\nfor _ in range(20000): os.mkdir('d'); os.chdir('d')"),
        ("not UTF-8", "open(b'\\xff\\xfe', 'w')"),
        ("control character", "open('a\\nb', 'w')"),
        ("control character", "import os; os.symlink('index.js', 'a\\x1bb')"),
    ] {
        refused(script, &[], "BUILD_FAILED").says(what);
    }
    // It is heard to its end, and no more of it is kept than fits.
    let babble = "while True: print('x' * 5000)";
    refused(babble, &["--build-timeout", "4"], "BUILD_TIMEOUT");
    let logs = vps.sh("du -sk /var/log/projects/blog/builds | cut -f1").ok().stdout.trim().parse::<u64>();
    assert!(logs.is_ok_and(|kib| kib < 40 << 10), "a build fills the disk with what it says");
    // The unit is gone from under it: its main process, all of it, and by whoever is in charge of units.
    for how in ["kill --kill-who=main --signal=KILL", "kill --signal=KILL", "stop"] {
        let script = format!("{}\ntime.sleep(60)", "import time; print('begun', flush=True)");
        // Once more a moment later, as the unit may not have been up the first time; but never the next build.
        let line = format!(
            "until systemctl {how} hostkit-blog_build.service 2>/dev/null; do sleep 0.2; done; sleep 1; \
             systemctl {how} hostkit-blog_build.service 2>/dev/null"
        );
        vps.run(["systemd-run", "--quiet", "--unit=ender", "--collect", "sh", "-c", &line]).ok();
        refused(&script, &[], "BUILD_OUT_OF_MEMORY");
        vps.sh("systemctl stop ender.service 2>/dev/null || true").ok();
    }
    // The kernel's limit on one file.
    let large = "f = open('x', 'wb'); f.truncate(3 << 30)";
    refused(large, &[], "BUILD_FAILED");
    let list = vps.hostkit(["builds", "list", "blog"]).ok();
    list.says("BUILD_TIMEOUT").says("BUILD_TOO_LARGE");
    let fine = built_by("open('made', 'w').write('x')").version(3).tar_gz();
    vps.hostkit(["deploy", "blog", "--source", "-", "--override-ratelimit"]).stdin(fine).ok();
    vps.expect_answer("blog", "Version 3");
    vps.expect_healthy();
}

#[test]
fn a_build_whose_hostkit_was_killed_is_ended_by_the_next_command() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("blog", &Source::example("node"));
    vps.put("/root/slow", &built_by("import time; print('at work', flush=True); time.sleep(300)"));
    for round in 0..3 {
        vps.sh("setsid hostkit deploy blog --source /root/slow >/root/log 2>&1 &").ok();
        vps.wait_for("the build to begin", || vps.sh("grep -q 'at work' /root/log").run().code == 0);
        vps.sh("pkill -9 -x hostkit").ok();
        vps.expect_answer("blog", "Version 1");
        if round == 0 {
            let left = vps.sh("pgrep -u hkb40000").run();
            left.check(left.code == 0, "the build to go on without HostKit");
        }
        vps.hostkit(["repair"]).ok();
        vps.hostkit(["restart", "blog"]).ok();
        expect_as_before(&vps);
        vps.sh("rm /root/log").ok();
    }
    vps.hostkit(["builds", "list", "blog"]).ok().says("interrupted");
    vps.expect_healthy();
}

#[test]
fn a_build_can_be_cancelled_by_its_project_and_by_nobody_elses() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("blog", &Source::example("node"));
    vps.hostkit(["provision", "shop"]).ok();
    vps.hostkit(["builds", "cancel", "blog"]).refused(5, "WRONG_STATE");
    vps.put("/root/slow", &built_by("import time; print('at work', flush=True); time.sleep(300)"));
    vps.sh("setsid sh -c 'hostkit deploy blog --source /root/slow; echo ended $?' >/root/log 2>&1 &").ok();
    vps.wait_for("the build to begin", || vps.sh("grep -q 'at work' /root/log").run().code == 0);
    let other = vps.sh("SUDO_UID=$(id -u shop) SUDO_USER=shop hostkit builds cancel blog").run();
    other.check(other.code == 7, "another project to be refused");
    vps.hostkit(["builds", "list", "blog"]).ok().says("running");
    vps.hostkit(["builds", "cancel", "blog"]).ok();
    vps.wait_for("the deploy to end", || vps.sh("grep -q 'ended 8' /root/log").run().code == 0);
    vps.sh("cat /root/log").ok().says("BUILD_CANCELLED");
    expect_as_before(&vps);
}

#[test]
fn a_build_gets_the_secrets_that_were_asked_for_and_shows_none() {
    let Some(vps) = Vps::boot() else { return };
    vps.hostkit(["provision", "blog"]).ok();
    vps.hostkit(["secrets", "set", "blog", "NPM_TOKEN", "--stdin"]).stdin("tok-6f1e9c2b77").ok();
    vps.hostkit(["secrets", "set", "blog", "OTHER", "--stdin"]).stdin("other-aa11bb22").ok();
    let script = "
import os
print('token', os.environ.get('NPM_TOKEN'), 'other', os.environ.get('OTHER'), flush=True)
import time; time.sleep(3)
";
    vps.put("/root/app", &built_by(script));
    vps.sh("setsid hostkit deploy blog --source /root/app --build-secret NPM_TOKEN >/root/log 2>&1 &").ok();
    vps.wait_for("the build to begin", || vps.sh("grep -q token /root/log").run().code == 0);
    let shown = vps.sh("systemctl show hostkit-blog_build.service; ps auxww; cat /proc/*/cmdline").ok();
    assert!(!shown.stdout.contains("tok-6f1e9c2b77"), "systemd or the process list shows the secret");
    vps.wait_for("the deploy to end", || vps.sh("grep -q ^Live /root/log").run().code == 0);
    let log = vps.hostkit(["builds", "log", "blog"]).ok();
    assert!(log.stdout.contains("token •••••• other None"), "{log}");
    let everywhere =
        vps.sh("grep -rl -e tok-6f1e9c2b77 /root/log /var/log /run /home/blog/app/ 2>/dev/null || true");
    assert_eq!(everywhere.ok().stdout, "");
    vps.hostkit(["deploy", "blog", "--source", "/root/app", "--build-secret", "NOWHERE"])
        .refused(4, "VARIABLE_NOT_FOUND");
}

#[test]
fn what_has_not_changed_is_neither_installed_nor_stored_again() {
    let Some(vps) = Vps::boot() else { return };
    vps.hostkit(["provision", "blog"]).ok();
    // Stands for the package manager: it counts in its cache how often it is called.
    let npm = "#!/usr/bin/python3
import os
count = os.environ['HOME'] + '/count'
calls = int(open(count).read()) + 1 if os.path.exists(count) else 1
open(count, 'w').write(str(calls))
os.makedirs('node_modules/dep/.bin')
open('node_modules/dep/index.js', 'w').write('module.exports = 1')
open('node_modules/dep/large', 'w').write('x' * 100000)
";
    vps.write("/usr/local/bin/npm", npm);
    vps.sh("chmod 755 /usr/local/bin/npm").ok();
    let package = r#"{"name":"x","version":"1.0.0","scripts":{"start":"node server.js"},"dependencies":{"dep":"1.0.0"}}"#;
    let source = |lock: &str, page: &str| {
        Source::example("node")
            .file("package.json", package)
            .file("package-lock.json", lock)
            .file("page.txt", page)
            .file("hostkit.toml", "build = [[\"touch\", \"node_modules/.cache\"]]\n")
    };
    let lock = r#"{"name":"x","lockfileVersion":3,"packages":{"":{"name":"x","dependencies":{"dep":"1.0.0"}},"node_modules/dep":{"version":"1.0.0"}}}"#;
    let first = vps.deploy("blog", &source(lock, "one"));
    let count = || vps.sh("cat /var/cache/hostkit/blog.*/count").ok().stdout;
    assert_eq!(count(), "1");
    let second = vps.deploy("blog", &source(lock, "two"));
    assert_eq!(count(), "1", "the lockfile is the same");
    let inode = |id: &str, path: &str| {
        vps.run(["stat", "-c", "%i %U:%G %a", &format!("/home/blog/releases/{id}/{path}")]).ok().stdout
    };
    for same in ["node_modules/dep/large", "node_modules/dep/index.js", "server.js"] {
        assert_eq!(inode(&first, same), inode(&second, same), "{same} is stored twice");
    }
    assert_ne!(inode(&first, "page.txt"), inode(&second, "page.txt"));
    let third =
        vps.deploy("blog", &source(&lock.replace("\"lockfileVersion\":3", "\"lockfileVersion\": 3"), "two"));
    assert_eq!(count(), "2", "the lockfile has changed");
    assert_eq!(inode(&second, "node_modules/dep/large"), inode(&third, "node_modules/dep/large"));
    // Going back, and pruning, do not care.
    vps.hostkit(["rollback", "blog", &first]).ok();
    vps.expect_answer("blog", "Version 1");
    vps.hostkit(["gc"]).ok();
    vps.expect_healthy();
}

/// Everything that a build writes to lies on one small filesystem; that is full, each time a little later.
#[test]
fn a_disk_that_is_full_at_any_moment_of_a_build_leaves_what_was_live() {
    let Some(vps) = Vps::boot() else { return };
    let small = "mkdir /small; mount -t tmpfs -o size=96M tmpfs /small
        for place in home var/cache/hostkit var/log/projects var/lib/hostkit; do
            mkdir -p /$place /small/$place; cp -a /$place/. /small/$place/; mount --bind /small/$place /$place
        done";
    vps.sh(small).ok();
    let script = "
import os
os.makedirs('out')
for n in range(300): open(f'out/{n}', 'w').write(f'{n} ' * 4000)
open(os.environ['HOME'] + '/cache', 'wb').write(os.urandom(1 << 20))
";
    let source = |version| built_by(script).file("large.txt", "0123456789".repeat(150_000)).version(version);
    vps.live("blog", &source(1));
    let mut codes = std::collections::BTreeMap::<String, usize>::new();
    let (mut version, mut done) = (1, 0);
    // From no room at all to more than enough; the build needs some 8 MiB in all.
    for free in (0..=14).map(|step| 64 + step * 900) {
        let fill = format!(
            "free=$(df -k --output=avail /small | tail -n 1); \
             head -c $(( (free - {free}) * 1024 )) /dev/zero >/small/full"
        );
        vps.sh(&fill).ok();
        let words = ["--json", "deploy", "blog", "--source", "-", "--override-ratelimit"];
        let output = vps.hostkit(words).stdin(source(version + 1).tar_gz()).run();
        vps.sh("rm /small/full").ok();
        let code = if output.code == 0 {
            version += 1;
            done += 1;
            "live".to_owned()
        } else {
            output.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
        };
        output.check(
            ["live", "DISK_FULL", "BUILD_FAILED", "INVALID_SOURCE"].contains(&code.as_str()),
            &format!("it to say that the disk is full, not {code}, with {free} KiB"),
        );
        *codes.entry(code).or_default() += 1;
        vps.hostkit(["repair"]).ok();
        vps.expect_answer("blog", &format!("Version {version}"));
        let left = vps.sh("ls -A /home/blog/releases | grep -e staging -e hostkit-new || true").ok();
        output.check(left.stdout.is_empty(), &format!("nothing half-made, not {}", left.stdout));
        vps.expect_healthy();
    }
    println!("{codes:?}");
    assert!(done > 0 && codes.len() > 1, "the disk was full at some time and not at another: {codes:?}");
}

#[test]
fn a_build_that_runs_out_of_memory_says_how_much_it_had_and_how_to_raise_it() {
    let Some(vps) = Vps::with().limits().boot() else { return };
    vps.live("blog", &Source::example("node"));
    let eat = |child: bool| {
        let eat = "x = []\nwhile True: x.append(bytearray(1 << 20))\n";
        if child {
            // What the kernel kills is not what the unit was started with. The servers of this suite have
            // control groups of the old kind, for which systemd does not say so; HostKit has to look.
            format!(
                "import subprocess, sys, time\n\
                 dead = subprocess.call([sys.executable, '-c', {eat:?}])\ntime.sleep(3)\nsys.exit(dead and 1)"
            )
        } else {
            eat.to_owned()
        }
    };
    for child in [false, true] {
        let bytes = built_by(&eat(child)).version(2).tar_gz();
        let words = ["deploy", "blog", "--source", "-", "--build-memory", "200M", "--override-ratelimit"];
        let output = vps.hostkit(words).stdin(bytes).refused(8, "BUILD_OUT_OF_MEMORY");
        output.says("ran out of memory").says("200.0 MiB").says("hostkit deploy blog --build-memory 400M");
        expect_as_before(&vps);
    }
    // What is allowed is said where it is too little.
    let source = built_by(&eat(false)).version(2).tar_gz();
    vps.hostkit(["rails", "blog", "--build-memory", "300M"]).ok();
    let words = ["deploy", "blog", "--source", "-", "--override-ratelimit"];
    let output = vps.hostkit(words).stdin(source).refused(8, "BUILD_OUT_OF_MEMORY");
    output.says("had 300.0 MiB").says("hostkit rails blog --build-memory 600M");
    let more =
        vps.hostkit(["deploy", "blog", "--source", "-", "--build-memory", "301M", "--override-ratelimit"]);
    more.stdin(built_by("pass").tar_gz()).refused(3, "INVALID_VALUE").says("may have 300M at most");
    // The half that could be had is enough for one that needs less.
    let fits = built_by("x = bytearray(100 << 20)").version(3).tar_gz();
    vps.hostkit(["deploy", "blog", "--source", "-", "--override-ratelimit"]).stdin(fits).ok();
    vps.expect_answer("blog", "Version 3");
}
