//! The examples that open every help text, run as they stand.

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::{help::COMMANDS, scene::Scene};

/// What must not end with 0, and why: these ask a question, and nobody can be asked here.
const ASK: &[&str] = &[
    "hostkit project delete blog",
    "hostkit project purge blog",
    "hostkit db delete api",
    "hostkit redis flush blog",
    "hostkit env edit blog",
    "hostkit env edit blog --no-restart",
    "hostkit secrets set blog API_KEY",
];
/// What names a process that the project of the examples lacks.
const LACKS: &[&str] = &[
    "hostkit scale api web=2 worker=4",
    "hostkit domain add blog old.example.com --redirect-to example.com",
    "hostkit ssl import blog example.com --chain fullchain.pem --key privkey.pem",
];
/// What ends otherwise because of what the project has or does: a bucket of its own, no build.
const HAS: &[&str] = &["hostkit storage attach", "hostkit rollback blog --with-db", "hostkit builds cancel"];
/// What looks for work in a unit of its own, or for what it has written, and there are no units here.
const NOWHERE: &[&str] = &[
    "hostkit attach blog",
    "hostkit builds log blog",
    "hostkit domain remove blog example.com",
    "hostkit domain show blog example.com",
    "hostkit ssl provision blog example.com",
    "hostkit ssl revoke blog example.com",
];
/// What asks a provider whom nobody plays here, or needs a program that is not there.
const REFUSED: &[&str] =
    &["hostkit backup target --endpoint", "hostkit deploy blog --git", "hostkit domain add blog example.com"];
/// What does not end by itself.
const ENDLESS: &[&str] = &["hostkit logs api -f"];
/// How `Scene` shows a release that an example names.
const NAMED: &str = "RELEASE";

/// The examples of a command, from its help.
fn examples(command: &str) -> Vec<String> {
    let args: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
    let help = Scene::bare().hostkit(&args).ok().stdout;
    let listed = help.split("Examples:\n").nth(1).unwrap_or_else(|| panic!("`{command}` shows no examples"));
    listed.lines().take_while(|l| l.starts_with("  ")).map(|l| l.trim().to_owned()).collect()
}

/// A host with what the examples speak of: `blog` with two releases, `api` running.
fn scene(command: &str, deleted: bool) -> Scene {
    let scene = Scene::new();
    if command.starts_with("storage") || command == "backup create" {
        let _ = scene.hostkit(&["init", "--with-storage"]).ok();
    }
    for line in [
        "provision blog --static --source examples/static",
        "deploy blog --source examples/static",
        "provision api --node --source examples/node",
    ] {
        let _ = scene.hostkit(&line.split_whitespace().collect::<Vec<_>>()).ok();
    }
    if command.starts_with("env") || command.starts_with("secrets") {
        for line in
            ["env set blog PAGE_SIZE=10", "env set api COLOUR=red", "secrets set api TOKEN --generate"]
        {
            let _ = scene.hostkit(&line.split_whitespace().collect::<Vec<_>>()).ok();
        }
    }
    if command.starts_with("backup") || command.starts_with("checkpoint") {
        for kind in ["backup", "checkpoint"] {
            let _ = scene.hostkit(&[kind, "create", "blog"]).ok();
            let mut made = std::fs::read_dir(scene.real("/var/lib/hostkit/backups/blog.2000")).unwrap();
            let made =
                made.find_map(|e| Some(e.ok()?.path()).filter(|p| p.extension().unwrap() == kind)).unwrap();
            // As the examples call it.
            std::fs::rename(&made, made.with_file_name(format!("20261120-080231.{kind}"))).unwrap();
        }
    }
    if deleted {
        let _ = scene.hostkit(&["project", "delete", "blog", "--confirm", "blog"]).ok();
    }
    scene
}

/// A directory like the repository, with an archive beside the examples.
fn workplace() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("examples"),
        dir.path().join("examples"),
    )
    .unwrap();
    std::fs::write(dir.path().join("release.tar.gz"), archive()).unwrap();
    std::fs::write(dir.path().join("production.env"), "# mail\nMAIL_HOST=localhost\n").unwrap();
    dir
}

fn archive() -> Vec<u8> {
    Command::new("tar").args(["-cz", "-C", "examples/static", "."]).output().unwrap().stdout
}

/// Runs a call in a scene; `None` when it had to be stopped.
fn run(scene: &Scene, workplace: &Path, call: &str, input: &[u8]) -> (Option<i32>, String) {
    let words = shell_words::split(call).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_hostkit"))
        .arg("--root")
        .arg(scene.path())
        .args(&words[1..])
        .current_dir(workplace)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _ = child.stdin.take().unwrap().write_all(input);
    let deadline = Instant::now() + Duration::from_secs(if ENDLESS.contains(&call) { 1 } else { 60 });
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            return (None, String::new());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let left = child.wait_with_output().unwrap();
    (left.status.code(), String::from_utf8_lossy(&left.stderr).into_owned())
}

#[test]
fn every_example_does_what_it_says() {
    let workplace = workplace();
    for command in COMMANDS {
        let about_deleted = matches!(*command, "project restore" | "project purge");
        for example in examples(command) {
            let scene = scene(command, about_deleted);
            if *command == "start" || example.contains("provision blog") {
                // These are about something that is not there yet.
                let _ = scene.hostkit(&["stop", "api"]).ok();
            }
            let releases = std::fs::read_dir(scene.real("/home/blog/releases"));
            let oldest =
                releases.into_iter().flatten().filter_map(|e| e.ok()?.file_name().into_string().ok());
            let oldest = oldest.filter(|n| !n.starts_with('.')).min().unwrap_or_default();
            let of_backups = command.starts_with("backup") || command.starts_with("checkpoint");
            let named = if of_backups { "20261120-080231" } else { oldest.as_str() };
            let call = example.replace(NAMED, named);
            let (call, input) = match call.split_once(" | ") {
                Some((_, call)) if call.contains(" deploy ") => (call.to_owned(), archive()),
                Some((_, call)) => (call.to_owned(), b"COLOUR=blue\n".to_vec()),
                None => (call, Vec::new()),
            };
            let backup = scene.real("/var/lib/hostkit/backups/blog.2000/20261120-080231.backup");
            if backup.exists() {
                std::fs::copy(backup, workplace.path().join("blog.backup")).unwrap();
                let key = scene.real("/etc/hostkit/master.key");
                std::fs::copy(key, workplace.path().join("old-master.key")).unwrap();
            }
            let (code, said) = run(&scene, workplace.path(), &call, &input);
            let expected = match call.as_str() {
                c if ASK.contains(&c) => Some(2),
                c if LACKS.contains(&c) => Some(3),
                c if HAS.iter().any(|has| c.starts_with(has)) => Some(5),
                c if REFUSED.iter().any(|refused| c.starts_with(refused)) => Some(6),
                c if NOWHERE.iter().any(|nowhere| c.starts_with(nowhere)) => Some(4),
                c if ENDLESS.contains(&c) => None,
                _ => Some(0),
            };
            assert_eq!(code, expected, "{example}\n{said}");
        }
    }
}
