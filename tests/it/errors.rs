//! What a user sees when something is wrong: what, in what state the host is, and what to type.

use crate::scene::Scene;

fn all(scene: &Scene, calls: &[&[&str]]) -> String {
    let mut text = String::new();
    for args in calls {
        text.push_str(&format!("$ hostkit {}\n{}\n", args.join(" "), scene.hostkit(args)));
    }
    text
}

#[test]
fn names_words_and_things_that_are_not_there() {
    let scene = Scene::new();
    let _ = scene.hostkit(&["provision", "blog"]).ok();
    let calls: &[&[&str]] = &[
        &["provision", "My_App"],
        &["provision", "my--app"],
        &["provision", "www-data"],
        &["provision", "blog2", "--port", "80"],
        &["provision", "blog2", "--port", "8001"],
        &["provision", "blog2", "--start-cmd", "a && b"],
        &["provision", "blog2", "--static", "--node"],
        &["deploy", "blgo", "--source", "."],
        &["deploy", "blog"],
        &["deploy", "blog", "--source", "/nowhere"],
        &["-q", "provision", "newer", "--source", "/nowhere"],
        &["logs", "blog", "-f", "--json"],
        &["history", "shop"],
        &["project", "purge", "shop"],
        &["rollback", "blog"],
        &["rollback", "blog", "20200101-000000"],
        &["rollback", "blog", "latest"],
        &["start", "blog"],
        &["project", "delete", "blog"],
        &["project", "delete", "blog", "--confirm", "shop"],
        &["project", "restore", "shop"],
        &["init", "--base-domain", "a; } server {"],
        &["frobnicate"],
    ];
    insta::assert_snapshot!("errors", all(&scene, calls));
}

#[test]
fn a_host_that_was_never_set_up() {
    let scene = Scene::bare();
    insta::assert_snapshot!(
        "bare",
        all(&scene, &[&["status"], &["provision", "blog"], &["init", "--dry-run"]])
    );
}

#[test]
fn a_broken_hostkit_toml_is_pointed_at() {
    let scene = Scene::new();
    let _ = scene.hostkit(&["provision", "blog", "--node"]).ok();
    let source = tempfile::tempdir().unwrap();
    std::fs::write(source.path().join("index.js"), "").unwrap();
    std::fs::write(source.path().join("hostkit.toml"), "runtime = \"node\"\nstrat = \"node x.js\"\n")
        .unwrap();
    let left = scene.hostkit(&["-q", "deploy", "blog", "--source", source.path().to_str().unwrap()]);
    insta::assert_snapshot!(left);
}

#[test]
fn a_template_that_others_could_write_is_not_used() {
    use std::os::unix::fs::PermissionsExt;
    let scene = Scene::new();
    let path = scene.real("/etc/hostkit/templates/logrotate");
    std::fs::write(&path, "x\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(scene.hostkit(&["provision", "blog"]).code, 3);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let _ = scene.hostkit(&["provision", "blog"]).ok();
    assert_eq!(std::fs::read_to_string(scene.real("/etc/logrotate.d/hostkit-blog")).unwrap(), "x\n");
}

#[test]
fn an_application_that_does_not_answer_is_exit_9_and_the_old_release_is_live() {
    let scene = Scene::new();
    let _ = scene.hostkit(&["provision", "api", "--node", "--source", "examples/node"]).ok();
    let source = tempfile::tempdir().unwrap();
    std::fs::write(source.path().join("index.js"), "").unwrap();
    std::fs::write(source.path().join("crash"), "").unwrap();
    let left = scene.hostkit(&["-q", "deploy", "api", "--source", source.path().to_str().unwrap()]);
    insta::assert_snapshot!(left);
}
