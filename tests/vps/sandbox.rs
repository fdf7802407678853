//! What an app may do: its own port and its own shared directory. And who may do what to a project's files.

use crate::{source::Source, vps::Vps};

/// Tries everything it should not be able to do, and says how each went.
const PROBE: &str = r"
    const tries = {
        'read the home of another': () => fs.readdirSync('/home/shop'),
        'read the .env of another': () => fs.readFileSync('/home/shop/.env'),
        'read the code of another': () => fs.readFileSync('/home/shop/app/index.html'),
        'see the homes': () => { if (fs.readdirSync('/home').length > 1) return; throw new Error('alone'); },
        'write its code': () => fs.writeFileSync('/home/blog/app/index.js', 'x'),
        'write beside its code': () => fs.writeFileSync('/home/blog/app/new', 'x'),
        'replace its release': () => fs.unlinkSync('/home/blog/app'),
        'write its .env': () => fs.appendFileSync('/home/blog/.env', 'X=1'),
        'write its home': () => fs.writeFileSync('/home/blog/.bashrc', 'x'),
        'write its log directory': () => fs.writeFileSync('/var/log/projects/blog/x', 'x'),
        'read the registry': () => fs.readFileSync('/var/lib/hostkit/registry.db'),
        'read /etc/hostkit': () => fs.readdirSync('/etc/hostkit'),
        'read /etc/shadow': () => fs.readFileSync('/etc/shadow'),
        'write /etc': () => fs.writeFileSync('/etc/x', 'x'),
        'write /var/tmp of all': () => { fs.writeFileSync('/var/tmp/leak', 'x'); if (!fs.existsSync('/proc/1/root')) throw 1; },
        'see processes of others': () => fs.readFileSync('/proc/1/cmdline'),
        'call sudo': () => require('child_process').execFileSync('sudo', ['-n', 'hostkit', 'status'], {stdio: 'pipe'}),
        'talk to D-Bus': () => fs.readdirSync('/run/dbus'),
        'talk to hostkit': () => fs.readdirSync('/run/hostkit/locks'),
        'leave a setuid file': () => { fs.writeFileSync('/home/blog/shared/s', 'x'); fs.chmodSync('/home/blog/shared/s', 0o4755); },
    };
    const may = [];
    for (const [what, how] of Object.entries(tries)) { try { how(); may.push(what); } catch (e) { } }
    fs.writeFileSync('/home/blog/shared/mine', 'mine');
    fs.writeFileSync('/tmp/mine', 'mine');
    response.end(JSON.stringify({
        may, shared: fs.readFileSync('/home/blog/shared/mine', 'utf8'), uid: process.getuid(),
        env: Object.keys(env).sort(),
    }));
";

#[test]
fn an_app_can_do_nothing_outside_its_own_shared_directory() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("shop", &Source::page("a shop"));
    vps.live("blog", &Source::node(PROBE));
    let answer = vps.visit("blog", "/");
    let said: serde_json::Value =
        serde_json::from_str(&answer.body).unwrap_or_else(|e| panic!("{e}: {answer}"));
    let may: Vec<&str> = said["may"].as_array().unwrap().iter().filter_map(|w| w.as_str()).collect();
    // Its private /var/tmp is its own; nothing of it is to be seen outside.
    let may: Vec<&str> = may.into_iter().filter(|w| *w != "write /var/tmp of all").collect();
    assert!(may.is_empty(), "the app of `blog` may {may:?}");
    assert_eq!(said["shared"], "mine");
    assert_eq!(
        vps.sh("ls /tmp/mine /var/tmp/leak 2>/dev/null || true").ok().stdout,
        "",
        "its /tmp is private"
    );
    assert_eq!(vps.sh("stat -c %a /home/blog/shared/mine").ok().stdout.trim(), "660");
    assert_ne!(said["uid"], 0);
    let env: Vec<&str> = said["env"].as_array().unwrap().iter().filter_map(|w| w.as_str()).collect();
    for needed in ["PROJECT_NAME", "PORT", "HOST", "NODE_ENV"] {
        assert!(env.contains(&needed), "{needed} is missing in {env:?}");
    }
    vps.expect_healthy();
}

/// Owner, group and mode of what a project is made of, as `design/security.md` §2.4 has them.
const MODES: &[(&str, &str)] = &[
    ("/home/blog", "root:blog 750"),
    ("/home/blog/releases", "root:root 755"),
    ("/home/blog/shared", "blog:blog 2770"),
    ("/home/blog/incoming", "blog:blog 700"),
    ("/home/blog/.cache", "blog:blog 700"),
    ("/home/blog/.env", "root:blog 640"),
    ("/home/blog/app/", "root:blog 750"),
    ("/home/blog/app/server.js", "root:blog 640"),
    ("/home/blog/app/bin/tool", "root:blog 750"),
    ("/var/log/projects", "root:root 755"),
    ("/var/log/projects/blog", "root:blog 2750"),
    ("/etc/hostkit", "root:root 711"),
    ("/var/lib/hostkit", "root:root 711"),
    ("/var/lib/hostkit/registry.db", "root:root 600"),
    ("/home/.hostkit-trash", "root:root 700"),
    ("/run/hostkit/locks", "root:root 700"),
    ("/etc/systemd/system/hostkit-blog.service", "root:root 644"),
    ("/etc/nginx/sites-available/hostkit-blog", "root:root 644"),
    ("/etc/logrotate.d/hostkit-blog", "root:root 644"),
];

#[test]
fn owners_and_modes_are_those_of_the_table() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("blog", &Source::example("node").program("bin/tool", "#!/bin/sh\n"));
    for (path, wanted) in MODES {
        let found = vps.run(["stat", "-L", "-c", "%U:%G %a", path]).ok().stdout;
        assert_eq!(found.trim(), *wanted, "{path}");
    }
    for link in ["/home/blog/app", "/etc/nginx/sites-enabled/hostkit-blog"] {
        assert_eq!(vps.run(["stat", "-c", "%U:%G %F", link]).ok().stdout.trim(), "root:root symbolic link");
    }
    let target = vps.run(["readlink", "/home/blog/app"]).ok().stdout;
    assert!(target.starts_with("releases/"), "{target}");
    let logs = vps.sh("stat -c '%U:%G %a' /var/log/projects/blog/*.log").ok();
    assert!(logs.lines().iter().all(|l| l == "root:blog 640"), "{logs}");
}

#[test]
fn the_projects_own_user_cannot_change_what_runs() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("blog", &Source::example("node"));
    vps.live("shop", &Source::page("a shop"));
    for line in [
        "echo x >/home/blog/app/server.js",
        "rm /home/blog/app",
        "mv /home/blog/releases /home/blog/shared/",
        "touch /home/blog/new",
        "echo X=1 >>/home/blog/.env",
        "rm /var/log/projects/blog/app.log",
        "ls /home/shop",
        "cat /home/shop/.env",
        "cat /home/shop/app/index.html",
        "ls /home/.hostkit-trash",
        "cat /var/lib/hostkit/registry.db",
    ] {
        let output = vps.run(["runuser", "-u", "blog", "--", "sh", "-c", line]).run();
        output.check(output.code != 0, "it to be denied");
    }
    for line in ["cat /home/blog/.env", "touch /home/blog/shared/x", "cat /home/blog/app/server.js"] {
        vps.run(["runuser", "-u", "blog", "--", "sh", "-c", line]).ok();
    }
}

#[test]
fn nginx_reads_a_static_site_and_nothing_else_of_the_home() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("blog", &Source::page("the page"));
    for line in ["cat /home/blog/.env", "ls /home/blog", "ls /home/blog/shared"] {
        let output = vps.run(["runuser", "-u", "www-data", "--", "sh", "-c", line]).run();
        output.check(output.code != 0, "it to be denied to the web server");
    }
    vps.run(["runuser", "-u", "www-data", "--", "cat", "/home/blog/app/index.html"]).ok();
    let acl = vps.live("shop", &Source::example("node"));
    let output =
        vps.run(["runuser", "-u", "www-data", "--", "ls", &format!("/home/shop/releases/{acl}")]).run();
    output.check(output.code != 0, "the web server to have no way into a project that it only passes on to");
}
