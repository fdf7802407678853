//! The whole text of what HostKit writes for four projects, and what its real judges say of it.

use std::{fs, path::Path, process::Command};

use crate::scene::Scene;

/// Named projects: the smallest, a static one, a Python one, and one with the longest name and a
/// start command full of what would be live in a unit.
fn trees() -> Scene {
    let scene = Scene::new();
    let longest = "a".repeat(32);
    let _ = scene.hostkit(&["provision", "minimal"]).ok();
    let _ = scene.hostkit(&["provision", "site", "--static", "--source", "examples/static"]).ok();
    let _ = scene.hostkit(&["provision", "job", "--python", "--source", "examples/python"]).ok();
    let start = "node index.js --port $PORT 'a%h \"b\" ; \\ $HOME'";
    let source = tempfile::tempdir().unwrap();
    fs::write(source.path().join("index.js"), "").unwrap();
    let path = source.path().to_str().unwrap();
    let _ = scene.hostkit(&["provision", &longest, "--start-cmd", start, "--source", path]).ok();
    scene
}

fn dump(root: &Path, at: &Path, out: &mut String) {
    use std::os::unix::fs::MetadataExt;
    let mut paths: Vec<_> = fs::read_dir(at).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let name = format!("/{}", path.strip_prefix(root).unwrap().display());
        let meta = path.symlink_metadata().unwrap();
        let line = format!("{name} {:o} {}:{}", meta.mode() & 0o7777, meta.uid(), meta.gid());
        if meta.is_symlink() {
            out.push_str(&format!("=== {name} -> {}\n", fs::read_link(&path).unwrap().display()));
        } else if meta.is_dir() {
            dump(root, &path, out);
        } else {
            out.push_str(&format!("=== {line}\n{}\n", masked(&fs::read_to_string(&path).unwrap())));
        }
    }
}

/// Without keys and sums of passwords, which are other ones each time.
fn masked(text: &str) -> String {
    fn word(word: &str) -> &str {
        let bare = word.trim_start_matches('#');
        let random =
            bare.len() > 40 && bare.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if random { "…" } else { word }
    }
    let line = |line: &str| line.split(' ').map(word).collect::<Vec<_>>().join(" ");
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_texts_in_etc() {
    let scene = trees();
    let mut text = String::new();
    dump(scene.path(), &scene.real("/etc"), &mut text);
    insta::assert_snapshot!("etc", text);
}

/// Runs one of the real judges; in CI it must be there.
fn judge(program: &str, args: &[&str]) -> Option<(bool, String)> {
    let Ok(ran) = Command::new(program).args(args).output() else {
        assert!(std::env::var_os("CI").is_none(), "`{program}` must be installed in CI");
        eprintln!("SKIPPED: `{program}` is not installed; `tests/run` installs it");
        return None;
    };
    Some((ran.status.success(), String::from_utf8_lossy(&ran.stderr).into_owned()))
}

#[test]
fn systemd_finds_nothing_to_say_about_the_units() {
    let scene = trees();
    // Programs and places of the units do not exist here; that is all that may be said.
    let expected = ["is not executable", "No such file or directory", "Failed to create", "binfmt"];
    for entry in fs::read_dir(scene.real("/etc/systemd/system")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() || !name.ends_with(".service") {
            continue;
        }
        let Some((_, said)) = judge("systemd-analyze", &["verify", path.to_str().unwrap()]) else { return };
        let odd: Vec<&str> =
            said.lines().filter(|l| l.contains(&name) && !expected.iter().any(|e| l.contains(e))).collect();
        assert!(odd.is_empty(), "{name}: {odd:?}");
    }
}

#[test]
fn nginx_accepts_the_sites() {
    let scene = trees();
    let at = scene.path().display();
    let mut sites = String::new();
    let mut here = |path: std::path::PathBuf| {
        // The status socket is opened while testing, and a real one must not be in the way.
        let text = fs::read_to_string(&path).unwrap().replace("/run/hostkit/", &format!("{at}/"));
        let text = text.replace("include /etc/", &format!("include {at}/etc/"));
        let text = text.replace("access_log /var/", &format!("access_log {at}/var/"));
        fs::write(&path, text).unwrap();
        sites.push_str(&format!("include {};\n", path.display()));
    };
    here(scene.real("/etc/nginx/conf.d/hostkit.conf"));
    for entry in fs::read_dir(scene.real("/etc/nginx/sites-available")).unwrap() {
        here(entry.unwrap().path());
    }
    let conf = format!(
        "pid {at}/nginx.pid;\nerror_log {at}/error.log;\nevents {{}}\nhttp {{\naccess_log off;\n{sites}}}\n"
    );
    let file = scene.real("/nginx.conf");
    fs::write(&file, conf).unwrap();
    let Some((good, said)) = judge("nginx", &["-t", "-c", file.to_str().unwrap()]) else { return };
    assert!(good && !said.contains("[warn]"), "{said}");
}

#[test]
fn logrotate_accepts_the_rotations() {
    let scene = trees();
    for entry in fs::read_dir(scene.real("/etc/logrotate.d")).unwrap() {
        let path = entry.unwrap().path();
        let state = scene.real("/state");
        let args = ["-d", "-s", state.to_str().unwrap(), path.to_str().unwrap()];
        let Some((good, said)) = judge("logrotate", &args) else { return };
        assert!(good && !said.contains("error:"), "{said}");
    }
}
