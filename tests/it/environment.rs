//! Variables and secrets, as they are seen.

use crate::scene::Scene;

fn scene() -> Scene {
    let scene = Scene::new();
    let _ = scene.hostkit(&["provision", "api", "--node", "--source", "examples/node"]).ok();
    scene
}

#[test]
fn a_session_with_variables() {
    let scene = scene();
    std::fs::write(scene.real("/production.env"), "# mail\nMAIL_HOST=localhost\nMAIL_PASSWORD=hunter2\n")
        .unwrap();
    let file = scene.real("/production.env").display().to_string();
    let mut all = String::new();
    for line in [
        "env history api",
        "env set api TITLE='My api' PAGE_SIZE=20",
        "env set api TITLE='My api'",
        "env set api STRIPE_KEY=sk_live_0123456789abcdef9f2c PAGE_SIZE=30",
        "env import api FILE",
        "env import api FILE --replace --dry-run",
        "env unset api TITLE --no-restart",
        "restart api",
        "env list api",
        "env get api PAGE_SIZE",
        "env get api PAGE_SIZE STRIPE_KEY --json",
        "env get api STRIPE_KEY --reveal",
        "env export api",
        "env diff api",
        "env diff api 2 3",
        "env history api",
        "releases api",
        "rollback api",
        "rollback api --env 2",
        "history api -n 5",
        "doctor",
    ] {
        let call = line.replace("FILE", &file);
        let words = shell_words::split(&call).unwrap();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        all.push_str(&format!("$ hostkit {line}\n{}\n", scene.hostkit(&words)));
    }
    let shown = all.matches("hunter2").count() + all.matches("sk_live_0123456789abcdef9f2c").count();
    assert_eq!(shown, 2, "what was typed, and what was revealed");
    insta::assert_snapshot!("variables", all);
}

#[test]
fn a_session_with_secrets() {
    let scene = scene();
    let mut all = String::new();
    for (line, stdin) in [
        ("secrets list api", ""),
        ("secrets set api TOKEN --stdin", "hunter2\n"),
        ("secrets set api TOKEN --stdin", "hunter2\n"),
        ("secrets list api", ""),
        ("secrets inject api --dry-run", ""),
        ("secrets inject api", ""),
        ("secrets inject api", ""),
        ("secrets rotate api TOKEN --stdin", "hunter3\n"),
        ("secrets list api", ""),
        ("secrets get api TOKEN", ""),
        ("secrets get api TOKEN --reveal --previous", ""),
        ("env list api", ""),
        ("restart api", ""),
        ("secrets get api TOKEN --previous", ""),
        ("secrets verify api", ""),
        ("secrets unset api TOKEN", ""),
        ("secrets list api", ""),
        ("secrets set api PORT --generate", ""),
        ("secrets set api OTHER", ""),
        ("secrets rotate api OTHER --generate", ""),
        ("env set api TOKEN=1", ""),
        ("history api -n 4", ""),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        all.push_str(&format!("$ hostkit {line}\n{}\n", scene.hostkit_fed(&words, stdin.as_bytes())));
    }
    assert_eq!(all.matches("hunter").count(), 1, "what was revealed");
    insta::assert_snapshot!("secrets", all);
}

#[test]
fn what_is_wrong_with_a_variable_is_said_without_its_value() {
    let scene = scene();
    let _ = scene.hostkit(&["secrets", "set", "api", "TOKEN", "--generate"]).ok();
    let mut all = String::new();
    let large = "x".repeat(2 << 20);
    let calls: &[(&[&str], &str)] = &[
        (&["env", "set", "api", "A-B=hunter2"], ""),
        (&["env", "set", "api", "PASSWORD=hunter2\u{1b}[2J"], ""),
        (&["env", "set", "api", "PORT=hunter2"], ""),
        (&["env", "set", "api", "TOKEN=hunter2"], ""),
        (&["env", "set", "api", "LD_PRELOAD=hunter2"], ""),
        (&["env", "set", "api", "A=hunter2", "A=1"], ""),
        (&["env", "set", "api", "A", "B=1", "--stdin"], "hunter2"),
        (&["env", "set", "api", "A"], "hunter2"),
        (&["env", "set", "api", "A", "--stdin"], &large),
        (&["env", "import", "api", "-"], "A='hunter2\n"),
        (&["env", "import", "api", "-"], "PORT=hunter2\n"),
        (&["env", "import", "api", "-"], &large),
        (&["env", "import", "api", "/nowhere"], ""),
        (&["env", "unset", "api", "A"], ""),
        (&["env", "unset", "api", "PORT"], ""),
        (&["env", "get", "api", "A"], ""),
        (&["env", "diff", "api", "9"], ""),
        (&["env", "diff", "api", "x"], ""),
        (&["env", "edit", "api"], ""),
        (&["rollback", "api", "--env", "9"], ""),
        (&["secrets", "get", "api", "A"], ""),
        (&["env", "list", "apo"], ""),
    ];
    for (words, stdin) in calls {
        let left = scene.hostkit_fed(words, stdin.as_bytes());
        assert!(!left.to_string().contains("hunter2"), "{words:?}\n{left}");
        let typed = words.join(" ").replace('\u{1b}', "ESC");
        all.push_str(&format!("$ hostkit {typed}\n{left}\n"));
    }
    insta::assert_snapshot!("variables-refused", all);
}

#[test]
fn what_an_env_example_requires_is_asked_for_before_a_deploy() {
    let scene = scene();
    let source = tempfile::tempdir().unwrap();
    std::fs::write(source.path().join("index.js"), "").unwrap();
    std::fs::write(source.path().join("package.json"), "{}").unwrap();
    let example = "# Required\nAPI_KEY=\nMAIL=x # required\n# Auto-generated\nSESSION=\n";
    std::fs::write(source.path().join(".env.example"), example).unwrap();
    let deploy = ["-q", "deploy", "api", "--source", source.path().to_str().unwrap()];
    insta::assert_snapshot!("env-example", scene.hostkit(&deploy));
    let _ = scene.hostkit(&["env", "set", "api", "MAIL=y", "API_KEY=z"]).ok();
    let _ = scene.hostkit(&deploy).ok();
    let list = scene.hostkit(&["secrets", "list", "api"]).ok().stdout;
    assert!(list.contains("SESSION") && list.contains("in use"), "{list}");
    let _ = scene.hostkit(&["env", "unset", "api", "MAIL"]).ok();
    let left = scene.hostkit(&["secrets", "verify", "api"]);
    assert_eq!((left.code, left.stdout.contains("MAIL has no value")), (3, true), "{left}");
}
