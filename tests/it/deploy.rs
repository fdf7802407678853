//! The main job, as it is seen.

use crate::scene::Scene;

#[test]
fn a_session() {
    let scene = Scene::new();
    let mut all = String::new();
    for line in [
        "provision blog --static",
        "provision blog --static",
        "deploy blog --source examples/static",
        "deploy blog --source examples/static",
        "rollback blog",
        "releases blog",
        "provision api --node --dry-run",
        "provision api --node --source examples/node",
        "status",
        "status api",
        "stop api",
        "stop api",
        "start api",
        "restart api",
        "project info api",
        "doctor",
        "repair",
        "project delete api --dry-run",
        "project delete api --confirm api",
        "project list --deleted",
        "project restore api",
        "history -n 3",
        "project delete blog --confirm blog",
        "project purge blog --confirm blog",
        "gc",
    ] {
        let args: Vec<&str> = line.split_whitespace().collect();
        all.push_str(&format!("$ hostkit {line}\n{}\n", scene.hostkit(&args)));
    }
    insta::assert_snapshot!("session", all);
}

#[test]
fn a_release_may_come_on_standard_input_or_in_a_file() {
    let scene = Scene::new();
    let _ = scene.hostkit(&["provision", "blog"]).ok();
    let tar = std::process::Command::new("tar")
        .args(["-cz", "-C", "examples/static", "."])
        .output()
        .unwrap()
        .stdout;
    let _ = scene.hostkit_fed(&["deploy", "blog", "--source", "-"], &tar).ok();
    let file = scene.real("/release.tar.gz");
    std::fs::write(&file, &tar).unwrap();
    let _ = scene.hostkit(&["deploy", "blog", "--source", file.to_str().unwrap()]).ok();
    assert!(scene.real("/home/blog/app/index.html").exists());
}

#[test]
fn a_static_release_is_readable_by_the_web_server_and_by_nobody_else() {
    use std::os::unix::fs::MetadataExt;
    let scene = Scene::new();
    let _ = scene.hostkit(&["provision", "blog", "--static", "--source", "examples/static"]).ok();
    let meta = std::fs::metadata(scene.real("/home/blog/app/index.html")).unwrap();
    assert_eq!((meta.uid(), meta.mode() & 0o777), (0, 0o640));
    let home = std::fs::metadata(scene.real("/home/blog")).unwrap();
    assert_eq!((home.uid(), home.gid(), home.mode() & 0o7777), (0, 2000, 0o750));
}

#[test]
fn shared_directories_outlive_releases() {
    let scene = Scene::new();
    let _ = scene.hostkit(&["provision", "blog", "--node"]).ok();
    let source = tempfile::tempdir().unwrap();
    std::fs::write(source.path().join("index.js"), "").unwrap();
    std::fs::write(source.path().join("hostkit.toml"), "shared = ['uploads', 'data/cache']\n").unwrap();
    let deploy = ["deploy", "blog", "--source", source.path().to_str().unwrap()];
    let _ = scene.hostkit(&deploy).ok();
    std::fs::write(scene.real("/home/blog/app/uploads/cat"), "meow").unwrap();
    let _ = scene.hostkit(&deploy).ok();
    assert_eq!(std::fs::read_to_string(scene.real("/home/blog/app/uploads/cat")).unwrap(), "meow");
    assert!(scene.real("/home/blog/app/data/cache").is_dir());
}

#[test]
fn a_python_release_gets_its_environment_and_the_old_path_to_it() {
    let scene = Scene::new();
    let _ = scene.hostkit(&["provision", "job", "--python", "--source", "examples/python"]).ok();
    assert_eq!(std::fs::read_link(scene.real("/home/job/venv")).unwrap().to_str(), Some("app/.venv"));
    assert_eq!(
        std::fs::read_link(scene.real("/home/job/app/.venv/bin/python")).unwrap().to_str(),
        Some("/usr/bin/python3")
    );
    let unit = std::fs::read_to_string(scene.real("/etc/systemd/system/hostkit-job.service")).unwrap();
    assert!(unit.contains("ExecStart=\"/home/job/venv/bin/python\" \"-m\" \"app\""), "{unit}");
    assert!(unit.contains("WorkingDirectory=/home/job\n"), "{unit}");
}
