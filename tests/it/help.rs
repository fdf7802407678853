//! Every help text, as it is shown.

use crate::scene::Scene;

/// Every command, as it is typed.
pub(crate) const COMMANDS: &[&str] = &[
    "",
    "init",
    "provision",
    "domain",
    "domain add",
    "domain remove",
    "domain list",
    "domain show",
    "ssl",
    "ssl provision",
    "ssl renew",
    "ssl status",
    "ssl revoke",
    "ssl import",
    "deploy",
    "detect",
    "attach",
    "rollback",
    "resume",
    "rails",
    "scale",
    "health",
    "releases",
    "status",
    "logs",
    "start",
    "stop",
    "restart",
    "doctor",
    "repair",
    "history",
    "gc",
    "completions",
    "man",
    "help",
    "project",
    "project create",
    "project list",
    "project info",
    "project delete",
    "project restore",
    "project purge",
    "db",
    "db create",
    "db delete",
    "db info",
    "db url",
    "db shell",
    "db query",
    "db schema",
    "db extensions",
    "db clone",
    "db rotate",
    "redis",
    "redis info",
    "redis flush",
    "redis rotate",
    "storage",
    "storage info",
    "storage ls",
    "storage presign",
    "storage rotate",
    "storage attach",
    "git",
    "git key",
    "env",
    "env list",
    "env get",
    "env set",
    "env unset",
    "env import",
    "env export",
    "env diff",
    "env history",
    "env edit",
    "secrets",
    "secrets set",
    "secrets get",
    "secrets list",
    "secrets unset",
    "secrets rotate",
    "secrets verify",
    "secrets inject",
    "builds",
    "builds list",
    "builds log",
    "builds cancel",
    "backup",
    "backup create",
    "backup list",
    "backup verify",
    "backup restore",
    "backup schedule",
    "backup prune",
    "backup delete",
    "backup target",
    "checkpoint",
    "checkpoint create",
    "checkpoint list",
    "checkpoint restore",
    "checkpoint delete",
];

#[test]
fn every_help_text() {
    let scene = Scene::bare();
    let mut all = String::new();
    for command in COMMANDS {
        let args: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let left = scene.hostkit(&args).ok();
        assert_eq!(left.stderr, "");
        all.push_str(&format!("$ hostkit {command} --help\n{}\n", left.stdout));
    }
    insta::assert_snapshot!("help", all);
}

#[test]
fn no_command_is_missing_from_the_list() {
    let overview = Scene::bare().hostkit(&["--help"]).ok().stdout;
    let listed = overview.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    for line in listed.lines().filter(|l| l.starts_with("  ") && !l.starts_with("   ")) {
        let name = line.split_whitespace().next().unwrap();
        assert!(COMMANDS.contains(&name), "{name}");
    }
}

#[test]
fn help_and_version_need_nothing() {
    let scene = Scene::bare();
    let _ = scene.hostkit(&["--version"]).ok();
    for topic in ["exit-codes", "json", "hostkit.toml", "deploy", "project delete"] {
        let args: Vec<&str> = ["help"].into_iter().chain(topic.split(' ')).collect();
        let _ = scene.hostkit(&args).ok();
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(scene.hostkit(&["completions", shell]).ok().stdout.contains("hostkit"));
    }
    assert!(!scene.real("/var/lib/hostkit").exists());
    insta::assert_snapshot!("no-such-topic", scene.hostkit(&["help", "nonsense"]));
}
