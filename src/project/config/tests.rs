#![allow(clippy::unwrap_used)]

use super::*;

fn parsed(text: &str) -> AppConfig {
    AppConfig::parse(text.as_bytes()).unwrap_or_else(|fault| panic!("{fault}"))
}

fn message(text: &str) -> String {
    let fault = AppConfig::parse(text.as_bytes()).expect_err(text);
    assert_eq!(fault.code, Code::InvalidConfig);
    fault.message
}

#[test]
fn an_empty_file_says_nothing() {
    assert_eq!(parsed(""), AppConfig::default());
    assert_eq!(parsed("# only a comment\n"), AppConfig::default());
}

#[test]
fn everything_can_be_said() {
    let config = parsed(
        r#"
runtime = "node"
start = "node server.js --port $PORT"
spa = true
shared = ["uploads", "data/cache"]

[health]
path = "/healthz?full=1"
timeout = 90

[env]
required = ["SECRET_KEY", "API_TOKEN"]
"#,
    );
    assert_eq!(config.runtime, Some(Runtime::Node));
    assert_eq!(config.start.unwrap().to_systemd(), r#""node" "server.js" "--port" "${PORT}""#);
    assert!(config.spa);
    assert_eq!(config.shared.iter().map(SharedDir::as_str).collect::<Vec<_>>(), ["uploads", "data/cache"]);
    assert_eq!(
        config.health,
        HealthConfig { path: Some("/healthz?full=1".into()), timeout: Some(90), ..Default::default() }
    );
    assert_eq!(
        config.env_required.iter().map(EnvKey::as_str).collect::<Vec<_>>(),
        ["SECRET_KEY", "API_TOKEN"]
    );
}

#[test]
fn there_are_short_forms() {
    assert_eq!(parsed("health = '/x'").health.path.unwrap(), "/x");
    let start = parsed("start = ['node', 'a | b', '${PORT}']").start.unwrap();
    assert_eq!(start.to_systemd(), r#""node" "a | b" "${PORT}""#);
}

#[test]
fn a_build_says_what_it_does_and_how_much_it_needs() {
    assert_eq!(parsed("build = 'a'").build.unwrap().len(), 1);
    let config = parsed(
        "[build]\ncommands = ['a', 'b']\nmemory = '2G'\ndisk = '20G'\ntimeout = 60\ntasks = 99\ncpu = 150",
    );
    assert_eq!(config.build.unwrap().len(), 2);
    let all = Limits {
        memory: Some(2 << 30),
        disk: Some(20 << 30),
        timeout: Some(60),
        tasks: Some(99),
        cpu: Some(150),
    };
    assert_eq!(config.limits, all);
    let only = parsed("[build]\nmemory = '1G'");
    assert_eq!((only.build, only.limits.memory), (None, Some(1 << 30)));
}

#[test]
fn an_error_points_at_its_place() {
    assert_eq!(
        message("spa = true\nstrat = \"node\"\n"),
        "hostkit.toml:2:1: unknown key `strat`; did you mean `start`?\n 2 | strat = \"node\"\n   | ^^^^^"
    );
    assert_eq!(
        message("[health]\ntimeout = 0"),
        "hostkit.toml:2:11: `timeout` is a number of seconds from 1 to 600\n 2 | timeout = 0\n   |           ^"
    );
}

#[test]
fn what_is_not_understood_is_refused() {
    for (text, words) in [
        ("runtime = 'nodejs'", "did you mean `node`?"),
        ("runtime = 'cobol'", "the runtimes are static, node, python, nextjs, php, ruby, command"),
        ("framework = 'djang'", "did you mean `django`?"),
        ("install = 3", "a command or a list of commands"),
        ("build = ['a', 'b && c']", "hostkit.toml:1:15: the start command holds `&&`"),
        ("build = 3", "a command, a list of commands or a table, not a number"),
        ("[build]\ncommand = 'x'", "unknown key `command` in [build]; did you mean `commands`?"),
        ("[build]\nmemory = '2T'", "hostkit.toml:2:10: `2T` is not a size"),
        ("[build]\nmemory = 512", "a string, not a number"),
        ("[build]\nmemory = '1M'", "`memory` is a size of at least 64M"),
        ("[build]\ntimeout = 0", "`timeout` is a number from 1 to 86400"),
        ("[build]\ntasks = 3", "`tasks` is a number from 16"),
        ("[build]\ncpu = '50%'", "a whole number, not a string"),
        ("output = '../x'", "hostkit.toml:1:10"),
        ("strategy = 'blue'", "\"rolling\" or \"restart\""),
        ("start = 'a'\n[processes]\nweb = 'b'", "hostkit.toml:1:9: `start` and `web`"),
        ("[processes]\n'a b' = 'x'", "letters, digits"),
        ("[processes]\ntidy = { cron = '@sometimes', command = 'x' }", "the times of a crontab"),
        ("[processes]\ntidy = { cron = '@daily' }", "`tidy` has no `command`"),
        ("[health]\nstatus = 99", "from 100 to 599"),
        ("[health]\ninterval = 0", "`interval` is a number of seconds from 1 to 60"),
        ("[health]\ngrace = 601", "`grace` is a number of seconds from 0 to 600"),
        ("runtime = 1", "`runtime` must be a string, not a number"),
        ("start = 'a && b'", "hostkit.toml:1:9: the start command holds `&&`"),
        ("start = 3", "a string or a list of strings"),
        ("start = [1]", "must be a string"),
        ("start = []", "empty"),
        ("runtime = 'static'\nstart = 'a'", "hostkit.toml:2:9: a static site runs nothing"),
        ("spa = 'yes'", "true or false"),
        ("shared = 'uploads'", "a list, not a string"),
        ("shared = ['/etc']", "relative"),
        ("shared = ['a', '../b']", "hostkit.toml:1:16"),
        ("shared = ['a', 'a/b']", "lie in each other"),
        ("shared = ['a', 'a']", "lie in each other"),
        ("health = 'x'", "begin with `/`"),
        ("health = '/a b'", "visible ASCII"),
        ("health = \"/a\\r\\nX: y\"", "visible ASCII"),
        ("health = '/é'", "visible ASCII"),
        ("health = 3", "a path or a table"),
        ("[health]\npth = '/x'", "unknown key `pth` in [health]; did you mean `path`?"),
        ("[health]\ntimeout = 601", "1 to 600"),
        ("[health]\ntimeout = 99999999999999999999", "1 to 600"),
        ("[health]\ntimeout = '5s'", "a whole number, not a string"),
        ("[env]\nrequired = ['1A']", "not a name"),
        ("[env]\nrequired = ['A', 'A']", "twice"),
        ("[env]\nA = 'b'", "unknown key `A` in [env]"),
        ("completely = 1", "the keys are runtime, framework, install"),
        ("\"a\\u001b\" = 1", "unknown key `a\\u{1b}`"),
        ("a = ", "hostkit.toml:1:"),
        ("a = 1\na = 2", "hostkit.toml:2:1"),
    ] {
        let found = message(text);
        assert!(found.contains(words), "{text:?}: {found:?} does not say {words:?}");
    }
    let long = format!("health = '/{}'", "x".repeat(1024));
    assert!(message(&long).contains("longer than 1024"));
    assert!(message(&"#".repeat(AppConfig::LIMIT + 1)).contains("64 KiB"));
    assert!(AppConfig::parse(b"a = '\xff'").is_err());
}

#[test]
fn advice_survives_on_its_way_out() {
    let fault = AppConfig::parse(b"start = 'a | b'").unwrap_err();
    assert_eq!(fault.next[0], "put it in a script and start that");
}
