//! What the caller's terminal, pipes and limits do to a command: nothing.

use crate::{snapshot::HOST, source::Source, vps::Vps};

#[test]
fn a_closed_stdout_does_not_stop_a_command() {
    let Some(vps) = Vps::boot() else { return };
    vps.put("/root/source", &Source::example("node"));
    vps.sh("hostkit provision blog --node >&-").ok();
    vps.sh("hostkit deploy blog --source /root/source >&- 2>&- <&-").ok();
    vps.expect_answer("blog", "Version 1");
    for words in ["status", "project list --json", "--help", "doctor"] {
        let output = vps.sh(&format!("hostkit {words} >&-")).run();
        output.check(!output.stderr.contains("panicked"), "no panic");
    }
    vps.expect_healthy();
}

#[test]
fn a_reader_that_goes_away_does_not_stop_a_command() {
    let Some(vps) = Vps::boot() else { return };
    vps.put("/root/source", &Source::example("node"));
    vps.hostkit(["provision", "blog", "--node"]).ok();
    let line = "set -o pipefail; hostkit deploy blog --source /root/source 2>&1 | head -c0";
    vps.run(["bash", "-c", line]).ok();
    vps.expect_answer("blog", "Version 1");
    for words in ["--help", "releases blog", "logs blog", "completions bash"] {
        let output = vps.run(["bash", "-c", &format!("hostkit {words} | head -c0")]).ok();
        output.check(!output.stderr.contains("panicked"), "no panic");
    }
    vps.expect_healthy();
}

#[test]
fn a_full_disk_behind_stdout_does_not_stop_a_command() {
    let Some(vps) = Vps::boot() else { return };
    let output = vps.sh("hostkit provision blog --static >/dev/full").run();
    output.check(!output.stderr.contains("panicked"), "no panic");
    vps.deploy("blog", &Source::page("fine"));
    vps.expect_answer("blog", "fine");
    vps.expect_healthy();
}

/// Runs a command on a terminal of its own, and hangs that terminal up after a moment.
const HANG_UP: &str = "
import os, pty, signal, sys, time
pid, terminal = pty.fork()
if pid == 0:
    os.execvp('hostkit', ['hostkit'] + sys.argv[2:])
end = time.monotonic() + float(sys.argv[1])
os.set_blocking(terminal, False)
while time.monotonic() < end:
    try:
        os.read(terminal, 4096)
    except (BlockingIOError, OSError):
        pass
    time.sleep(0.005)
os.close(terminal)          # the kernel sends SIGHUP, and every further write fails
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
";

#[test]
fn a_terminal_that_hangs_up_does_not_stop_a_deploy() {
    let Some(vps) = Vps::boot() else { return };
    let mut version = 1;
    vps.live("blog", &Source::example("node"));
    for moment in ["0.02", "0.1", "0.25"] {
        version += 1;
        let source = format!("/root/v{version}");
        vps.put(&source, &Source::example("node").version(version));
        let output = vps.python(HANG_UP, [moment, "deploy", "blog", "--source", &source]).ok();
        output
            .check(output.stdout.trim() == "0", &format!("the deploy to succeed, hung up after {moment} s"));
        vps.expect_answer("blog", &format!("Version {version}"));
    }
    vps.expect_healthy();
}

#[test]
fn a_polite_interruption_puts_everything_back() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("blog", &Source::example("node"));
    // It never listens, so the deploy is waiting when the signal comes.
    let silent = Source::node("").file("index.js", "setInterval(() => {}, 1000);\n");
    vps.put("/root/silent", &silent);
    for (signal, status) in [("INT", 130), ("TERM", 143)] {
        let before = vps.snapshot(&["etc", "accounts", "services", "nginx"]);
        let line = format!(
            "timeout -s {signal} --preserve-status 2 hostkit --json deploy blog --source /root/silent"
        );
        let output = vps.sh(&line).run();
        output.check([130, status].contains(&output.code), "it to end as interrupted");
        output.check(output.json()["error"]["code"] == "INTERRUPTED", "the error code INTERRUPTED");
        before.expect_same(
            &vps.snapshot(&["etc", "accounts", "services", "nginx"]),
            &format!("after SIG{signal}"),
        );
        vps.expect_answer("blog", "Version 1");
        vps.expect_healthy();
    }
}

#[test]
fn the_callers_file_size_limit_does_not_reach_the_host() {
    let Some(vps) = Vps::boot() else { return };
    vps.put("/root/source", &Source::example("node").file("big.bin", vec![b'x'; 300_000]));
    let before = vps.snapshot(HOST);
    let provision = vps.sh("ulimit -f 1; hostkit provision blog --node").run();
    if vps.sh("ulimit -f 1; ulimit -f unlimited").run().code != 0 {
        // Even root cannot lift a limit on this machine: then nothing may begin.
        provision
            .check(provision.code != 0 && provision.stderr.contains("RLIMIT_FSIZE"), "the limit to be named");
        before.expect_same(&vps.snapshot(HOST), "after it was refused");
        return;
    }
    provision.expect(0);
    vps.sh("ulimit -f 1; hostkit deploy blog --source /root/source").ok();
    vps.expect_answer("blog", "Version 1");
    assert_eq!(vps.sh("stat -c %s /home/blog/app/big.bin").ok().stdout.trim(), "300000");
    vps.expect_healthy();
}

#[test]
fn limits_that_cannot_be_lifted_are_refused_or_survived() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("blog", &Source::example("node"));
    vps.put("/root/source", &Source::example("node").version(2));
    for limit in ["-n 16", "-v 200000", "-t 1", "-u 1", "-s 64"] {
        let before = vps.snapshot(HOST);
        let output = vps.sh(&format!("ulimit {limit}; exec hostkit deploy blog --source /root/source")).run();
        output.check(!output.stderr.contains("panicked"), &format!("no panic under `ulimit {limit}`"));
        let answer = vps.visit("blog", "/").body;
        if output.code == 0 {
            assert!(answer.contains("Version 2"), "`ulimit {limit}`: success, but {answer}");
            vps.hostkit(["rollback", "blog"]).ok();
        } else {
            vps.hostkit(["repair"]).ok();
            before.expect_same(&vps.snapshot(HOST), &format!("after `ulimit {limit}` and repair\n{output}"));
        }
        vps.expect_answer("blog", "Version 1");
        vps.expect_healthy();
    }
}

#[test]
fn a_strange_umask_and_environment_change_nothing() {
    let Some(vps) = Vps::boot() else { return };
    vps.sh("umask 0777; hostkit provision blog --node").ok();
    vps.put("/root/source", &Source::example("node"));
    vps.sh("umask 0; PATH=/tmp LD_PRELOAD=/nonexistent.so IFS=x TZ=Asia/Tokyo LC_ALL=de_DE \
                    /usr/local/bin/hostkit deploy blog --source /root/source")
        .ok();
    vps.expect_answer("blog", "Version 1");
    vps.expect_healthy();
    let open = vps
        .sh("find /home/blog /etc/nginx /etc/systemd/system /var/lib/hostkit -xdev -perm /002 ! -type l")
        .ok();
    open.check(open.stdout.is_empty(), "nothing that all may write");
}

#[test]
fn a_source_is_read_with_the_callers_own_permissions() {
    let Some(vps) = Vps::with().administrator("ana").boot() else { return };
    vps.live("blog", &Source::page("before"));
    vps.put("/root/secret", &Source::page("a secret"));
    vps.put("/srv/hers", &Source::page("hers"));
    vps.sh("chmod 700 /root /root/secret; chown -R ana /srv/hers; chmod 700 /srv/hers").ok();
    let refusal = vps.hostkit(["deploy", "blog", "--source", "/root/secret"]).as_user("ana");
    refusal.refused(3, "INVALID_SOURCE");
    vps.expect_answer("blog", "before");
    // What only she can read, root reads for her as her.
    vps.hostkit(["deploy", "blog", "--source", "/srv/hers"]).as_user("ana").ok();
    vps.expect_answer("blog", "hers");
    let by = vps.releases("blog")[0]["created_by"].clone();
    assert_eq!(by, "ana", "the records name who called");
}
