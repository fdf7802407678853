//! A project by hand: empty, or with its first release running.

use std::{
    io,
    path::{Path, PathBuf},
    process::Command,
    thread::{self, ScopedJoinHandle},
};

use super::{
    Project, RELEASE, deploy,
    disk::{Made, Sync, record},
    nginx,
};
use crate::web;

const ROOT: u32 = 0;

/// Account, directories, environment, log rotation and site.
pub(super) fn empty(project: &Project<'_>, sync: Sync) -> io::Result<()> {
    let mut made = Made::default();
    thread::scope(|threads| {
        let account = threads.spawn(|| add_account(project));
        // What takes longest begins first; the rest is done while nginx waits for its old workers.
        site(project, "site-empty", &mut made)?;
        let web = threads.spawn(|| load(project));
        directories(project, &mut made)?;
        texts(project, "env-empty", &mut made)?;
        joined(account)?;
        made.sync(sync)?;
        joined(web)
    })?;
    record(project.name, "provisioned")
}

/// The same, and the first release of a Node app, until it answers.
pub(super) fn live(project: &Project<'_>, source: &Path, sync: Sync) -> io::Result<()> {
    let mut made = Made::default();
    thread::scope(|threads| {
        let account = threads.spawn(|| add_account(project));
        site(project, "site-proxy", &mut made)?;
        let web = threads.spawn(|| load(project));
        directories(project, &mut made)?;
        texts(project, "env-node", &mut made)?;
        release(project, source, &mut made)?;
        joined(account)?;
        // A unit that systemd has never seen is read when it is started.
        let unit = threads.spawn(|| start(project));
        made.sync(sync)?;
        joined(unit)?;
        joined(web)
    })?;
    record(project.name, "live")
}

fn joined(thread: ScopedJoinHandle<'_, io::Result<()>>) -> io::Result<()> {
    thread.join().map_err(|_| io::Error::other("a thread of the floor's panicked"))?
}

fn add_account(project: &Project<'_>) -> io::Result<()> {
    let (id, home) = (project.id.to_string(), home(project));
    let mut command = Command::new("/usr/sbin/useradd");
    command.args(["--uid", &id, "--user-group", "--no-create-home", "--home-dir"]).arg(home);
    command.args(["--shell", "/bin/bash", "--no-log-init"]);
    command.args(["-K", "SUB_UID_COUNT=0", "-K", "SUB_GID_COUNT=0", "--", project.name]);
    succeed(&mut command)
}

fn succeed(command: &mut Command) -> io::Result<()> {
    let left = command.output()?;
    if left.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{command:?}: {}", String::from_utf8_lossy(&left.stderr))))
}

fn home(project: &Project<'_>) -> PathBuf {
    Path::new("/home").join(project.name)
}

fn unit(project: &Project<'_>) -> String {
    format!("hostkit-{}.service", project.name)
}

fn site(project: &Project<'_>, kind: &str, made: &mut Made) -> io::Result<()> {
    let file = format!("/etc/nginx/sites-available/hostkit-{}", project.name);
    made.file(Path::new(&file), project.text(kind)?.as_bytes(), (ROOT, ROOT, 0o644))?;
    made.link(Path::new(&format!("/etc/nginx/sites-enabled/hostkit-{}", project.name)), &file)
}

fn load(project: &Project<'_>) -> io::Result<()> {
    nginx::load(&format!("hostkit-{}", project.name), &project.fingerprint())
}

fn directories(project: &Project<'_>, made: &mut Made) -> io::Result<()> {
    let (home, p) = (home(project), project.id);
    made.directory(&home, (ROOT, p, 0o750))?;
    made.directory(&Path::new("/var/log/projects").join(project.name), (ROOT, p, 0o2750))?;
    made.directory(&home.join("releases"), (ROOT, ROOT, 0o755))?;
    made.directory(&home.join("shared"), (p, p, 0o2770))?;
    made.directory(&home.join("incoming"), (p, p, 0o700))?;
    made.directory(&home.join(".cache"), (p, p, 0o700))
}

fn texts(project: &Project<'_>, env: &str, made: &mut Made) -> io::Result<()> {
    let env = project.text(env)?;
    made.file(&home(project).join(".env"), env.as_bytes(), (ROOT, project.id, 0o640))?;
    let rotation = project.text("logrotate")?;
    let file = format!("/etc/logrotate.d/hostkit-{}", project.name);
    made.file(Path::new(&file), rotation.as_bytes(), (ROOT, ROOT, 0o644))
}

fn release(project: &Project<'_>, source: &Path, made: &mut Made) -> io::Result<()> {
    let to = home(project).join("releases").join(RELEASE);
    deploy::Copy { group: project.id, threads: 1 }.tree(source, &to, |file| made.saw(file))?;
    made.saw(&to);
    made.link(&home(project).join("app"), &format!("releases/{RELEASE}"))?;
    let unit = unit(project);
    let file = format!("/etc/systemd/system/{unit}");
    made.file(Path::new(&file), project.text("unit")?.as_bytes(), (ROOT, ROOT, 0o644))?;
    made.link(&Path::new("/etc/systemd/system/multi-user.target.wants").join(unit), &file)
}

fn start(project: &Project<'_>) -> io::Result<()> {
    succeed(Command::new("/usr/bin/systemctl").args(["start", "--quiet", &unit(project)]))?;
    web::until("the app to be healthy", || {
        web::get(project.port, project.name, "/healthz").is_ok_and(|a| a.status == 200)
    })
}
