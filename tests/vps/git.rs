//! Sources out of repositories, over a real SSH server.

use crate::vps::Vps;

/// A repository `shop` of an account `forge`, with a branch, a tag, a hook that must not run, and a
/// submodule that must not be fetched.
const FORGE: &str = r#"
    useradd --create-home forge
    install -d -m 0700 -o forge -g forge /home/forge/.ssh
    systemctl start ssh
    runuser -u forge -- sh -euc '
        cd; git init --quiet --initial-branch=main shop; cd shop
        git config user.email a@example.test; git config user.name a
        echo "<p>first</p>" >index.html; git add .; git commit --quiet -m one; git tag v1
        printf "[submodule \"x\"]\n\tpath = x\n\turl = ext::touch /tmp/ran\n" >.gitmodules
        echo "<p>second</p>" >index.html; git add .; git commit --quiet -m two
        git checkout --quiet -b next; echo "<p>third</p>" >index.html; git commit --quiet -am three
        git checkout --quiet main'
"#;
const ADDRESS: &str = "ssh://forge@localhost/home/forge/shop";

fn forge(vps: &Vps) {
    vps.sh(FORGE).ok();
    let key = vps.hostkit(["--json", "git", "key", "blog"]).ok().json();
    let line = key["data"]["public_key"].as_str().unwrap().to_owned();
    assert!(line.starts_with("ssh-ed25519 "), "{line}");
    vps.write("/home/forge/.ssh/authorized_keys", format!("{line}\n"));
    vps.sh("chown forge: /home/forge/.ssh/authorized_keys").ok();
}

#[test]
fn exactly_what_was_asked_for_is_fetched_with_the_projects_own_key() {
    let Some(vps) = Vps::boot() else { return };
    vps.hostkit(["project", "create", "blog"]).ok();
    forge(&vps);
    let deploy = |words: &[&str]| {
        let all = ["deploy", "blog", "--git", ADDRESS, "--override-ratelimit"];
        vps.hostkit(all.iter().chain(words).copied())
    };
    deploy(&[]).ok();
    vps.expect_answer("blog", "second");
    deploy(&["--branch", "next"]).ok();
    vps.expect_answer("blog", "third");
    deploy(&["--tag", "v1"]).ok();
    vps.expect_answer("blog", "first");
    let commit = vps.sh("git -C /home/forge/shop -c safe.directory='*' rev-parse main").ok().stdout;
    deploy(&["--commit", commit.trim()]).ok();
    vps.expect_answer("blog", "second");
    let sources = vps.releases("blog");
    assert!(sources[0]["source"].as_str().unwrap().ends_with(commit.trim()), "{}", sources[0]);
    vps.sh(&format!("grep -q \"GIT_SHA='{}'\" /home/blog/.env", commit.trim())).ok();
    // Nothing of it stays, and nobody but root has the key.
    let left = "! ls /var/lib/hostkit/blog.fetched && ! ls /tmp/ran && \
                test -z \"$(find /etc/hostkit/secrets -name '*.deploy-key' ! -perm 600)\"";
    vps.sh(left).ok();
    deploy(&["--branch", "nowhere"]).refused(8, "FETCH_FAILED").says("has no branch nowhere");
    vps.expect_answer("blog", "second");
    vps.expect_healthy();
}

#[test]
fn a_repository_that_does_not_let_the_project_in_says_how_it_would() {
    let Some(vps) = Vps::boot() else { return };
    vps.hostkit(["project", "create", "blog"]).ok();
    vps.sh(FORGE).ok();
    vps.hostkit(["deploy", "blog", "--git", ADDRESS]).refused(8, "FETCH_FAILED").says("hostkit git key blog");
    // With a key that the repository does not know: the key does not stay where the account could read it.
    vps.hostkit(["git", "key", "blog"]).ok();
    vps.hostkit(["deploy", "blog", "--git", ADDRESS]).refused(8, "FETCH_FAILED");
    vps.sh("! ls /var/lib/hostkit/blog.fetched").ok();
    // Nor when whoever fetched has died; the next command that changes the project sees to it.
    vps.sh(
        "install -d -o blog -m 0700 /var/lib/hostkit/blog.fetched; echo x >/var/lib/hostkit/blog.fetched/key",
    )
    .ok();
    vps.hostkit(["env", "set", "blog", "A=b"]).ok();
    vps.sh("! ls /var/lib/hostkit/blog.fetched").ok();
    for address in ["ext::touch /tmp/ran", "file:///home/forge/shop", "/home/forge/shop", "--upload-pack=x"] {
        let call = vps.hostkit(["deploy", "blog", &format!("--git={address}")]).run();
        assert_ne!(call.code, 0, "{address}");
    }
    vps.sh("! ls /tmp/ran").ok();
}

#[test]
fn a_git_host_that_hangs_is_given_up() {
    let Some(vps) = Vps::boot() else { return };
    vps.hostkit(["project", "create", "blog"]).ok();
    let hang = "import socket, time\ns = socket.socket(); s.bind(('127.0.0.1', 2222)); s.listen()\n\
                while True: c = s.accept(); globals().setdefault('kept', []).append(c)\n";
    vps.write("/root/hang.py", hang);
    vps.sh("systemd-run --quiet --unit=hang python3 /root/hang.py").ok();
    let began = std::time::Instant::now();
    vps.hostkit(["deploy", "blog", "--git", "ssh://a@127.0.0.1:2222/x"]).refused(8, "FETCH_FAILED");
    assert!(began.elapsed().as_secs() < 90, "{} s", began.elapsed().as_secs());
}
