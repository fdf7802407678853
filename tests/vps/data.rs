//! Applications that store things, each with nothing but its environment, on the real daemons.

use std::{path::PathBuf, process::Command};

use crate::{source::Source, vps::Vps};

/// One of the directories in `tests/vps/apps`.
fn app(name: &str) -> Source {
    Source::directory(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vps/apps").join(name))
}

/// The Node app with what npm installs for it.
fn node() -> Source {
    let tools = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/tools");
    assert!(Command::new(tools).arg("npm:npm").status().expect("a script").success(), "npm can be had");
    let place = tempfile::tempdir().expect("a directory");
    let from = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vps/apps/node");
    for file in ["package.json", "index.js"] {
        std::fs::copy(from.join(file), place.path().join(file)).expect("a file of the app");
    }
    let npm = ["install", "--no-audit", "--no-fund", "--no-package-lock", "--silent"];
    let ran = Command::new("npm").args(npm).current_dir(place.path()).output().expect("npm runs");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    Source::directory(place.path())
}

#[test]
fn a_python_app_with_sqlalchemy_celery_and_boto3_works_with_its_environment_alone() {
    let Some(vps) = Vps::with().garage().clients().boot() else { return };
    vps.hostkit(["init", "--with-storage"]).ok();
    vps.live("blog", &app("python"));
    vps.expect_answer("blog", "Version 1");
    for (path, says) in [("/database", "1"), ("/database", "2"), ("/celery", "5"), ("/bucket", "\"hello\"")] {
        let answer = vps.visit("blog", path);
        assert!(answer.says(says), "{path}: {answer}\n{}", vps.diagnosis());
    }
    vps.expect_healthy();
}

#[test]
fn a_node_app_with_pg_and_ioredis_works_with_its_environment_alone() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("blog", &node());
    vps.expect_answer("blog", "Version 1");
    for (path, says) in [("/database", "1"), ("/redis", "1"), ("/database", "2"), ("/redis", "2")] {
        let answer = vps.visit("blog", path);
        assert!(answer.says(says), "{path}: {answer}\n{}", vps.diagnosis());
    }
    vps.expect_healthy();
}
