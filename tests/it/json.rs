//! `--json`: one object, also on failure, and nothing else on standard output.

use crate::scene::Scene;

#[test]
fn every_answer_is_one_object_of_the_schema() {
    let scene = Scene::new();
    let calls: &[(&[&str], i32)] = &[
        (&["init"], 0),
        (&["provision", "blog", "--static", "--dry-run"], 0),
        (&["provision", "blog", "--static"], 0),
        (&["provision", "blog"], 0),
        (&["deploy", "blog", "--source", "examples/static", "--dry-run"], 0),
        (&["deploy", "blog", "--source", "examples/static"], 0),
        (&["deploy", "blog", "--source", "examples/static"], 0),
        (&["rollback", "blog", "--dry-run"], 0),
        (&["rollback", "blog"], 0),
        (&["releases", "blog"], 0),
        (&["status"], 0),
        (&["status", "blog"], 0),
        (&["logs", "blog"], 0),
        (&["doctor"], 0),
        (&["repair"], 0),
        (&["history"], 0),
        (&["project", "list"], 0),
        (&["project", "info", "blog"], 0),
        (&["restart", "blog"], 5),
        (&["project", "delete", "blog"], 2),
        (&["project", "delete", "blog", "--confirm", "blog"], 0),
        (&["project", "list", "--deleted"], 0),
        (&["project", "restore", "blog"], 0),
        (&["project", "delete", "blog", "--confirm", "blog"], 0),
        (&["project", "purge", "blog", "--confirm", "blog"], 0),
        (&["gc"], 0),
        (&["status", "blog"], 4),
        (&["provision", "Bad"], 3),
        (&["provision"], 2),
        (&["help", "json"], 0),
        (&["completions", "bash"], 0),
    ];
    for (args, code) in calls {
        let args: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
        let left = scene.hostkit(&args);
        assert_eq!(left.code, *code, "{args:?} {left}");
        assert_eq!(left.stderr, "", "{args:?}");
        let answer = left.json();
        let keys: Vec<&str> = answer.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(
            keys,
            ["changed", "command", "data", "error", "next", "ok", "project", "schema", "warnings"]
        );
        assert_eq!(answer["schema"], "hostkit/1");
        assert_eq!(answer["ok"], *code == 0, "{args:?}");
        assert_eq!(answer["error"].is_null(), *code == 0, "{args:?}");
        if *code != 0 {
            assert_eq!(answer["error"]["exit"], *code);
            assert!(answer["error"]["code"].is_string());
        }
    }
}

#[test]
fn a_deploy_says_what_is_live() {
    let scene = Scene::new();
    let _ = scene.hostkit(&["provision", "blog"]).ok();
    let left = scene.hostkit(&["deploy", "blog", "--source", "examples/static", "--json"]).ok();
    let mut answer = left.json();
    answer["data"]["took_ms"] = 0.into();
    insta::assert_snapshot!("deploy-json", serde_json::to_string_pretty(&answer).unwrap());
}
