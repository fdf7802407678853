#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use super::*;

mod table;

/// A source tree in memory. A path that ends in `/` is an empty directory.
struct Tree(BTreeMap<String, Vec<u8>>);

impl Files for Tree {
    fn read(&self, path: &str, limit: usize) -> anyhow::Result<Option<Vec<u8>>> {
        Ok(self.0.get(path).map(|bytes| bytes[..bytes.len().min(limit)].to_vec()))
    }
    fn is_file(&self, path: &str) -> bool {
        !path.ends_with('/') && self.0.contains_key(path)
    }
    fn is_dir(&self, path: &str) -> bool {
        self.0.keys().any(|known| known.starts_with(&format!("{path}/")))
    }
    fn is_executable(&self, path: &str) -> bool {
        self.is_file(path)
    }
    fn list(&self, path: &str) -> Vec<String> {
        let below = if path == "." { String::new() } else { format!("{path}/") };
        let names = self.0.keys().filter_map(|known| known.strip_prefix(&below)?.split('/').next());
        let names: BTreeSet<_> = names.filter(|name| !name.is_empty()).collect();
        names.into_iter().map(str::to_owned).collect()
    }
}

fn tree(files: &[(&str, &str)]) -> Tree {
    Tree(files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect())
}

fn found(files: &[(&str, &str)]) -> App {
    found_when(files, &Asked::default())
}

fn found_when(files: &[(&str, &str)], asked: &Asked) -> App {
    detect(&tree(files), asked).unwrap_or_else(|error| panic!("{error:#}"))
}

fn fault(files: &[(&str, &str)], asked: &Asked) -> Fault {
    detect(&tree(files), asked).unwrap_err().downcast().unwrap()
}

fn asked(runtime: Option<Runtime>, start: Option<&str>) -> Asked {
    Asked {
        runtime,
        framework: None,
        start: start.map(|line| StartCommand::parse(line).unwrap()),
        artifact: false,
    }
}

fn start(app: &App) -> String {
    app.start.as_ref().map(StartCommand::to_string).unwrap_or_default()
}

#[test]
fn node_runs_what_package_json_names() {
    for (package, file, command) in [
        (r#"{"main": "server.js"}"#, "server.js", "node server.js"),
        (r#"{"main": "./src/app.js"}"#, "src/app.js", "node src/app.js"),
        (r#"{"main": "src"}"#, "src/index.js", "node src/index.js"),
        (r#"{"main": "app"}"#, "app.js", "node app.js"),
        ("{}", "index.js", "node index.js"),
        ("{}", "server.js", "node server.js"),
        ("\u{feff}{}", "server.js", "node server.js"),
    ] {
        let app = found(&[("package.json", package), (file, "")]);
        assert_eq!((app.runtime, app.workdir), (Runtime::Node, Workdir::App));
        assert_eq!(start(&app), command, "{package}");
        assert!(app.warnings.is_empty(), "{:?}", app.warnings);
    }
    let app = found(&[("package.json", r#"{"main": "server.js"}"#), ("server.js", "")]);
    assert!(app.why.contains(&"package.json names main: server.js".to_owned()), "{:?}", app.why);
}

#[test]
fn what_ones_own_command_installs_by_is_known_only_of_package_managers() {
    let lockfiles = |install: &str| {
        let toml = format!("install = {install}\n");
        let lock = r#"{"lockfileVersion":3,"packages":{"":{"dependencies":{"x":"1"}},"node_modules/x":{"version":"1"}}}"#;
        let app = found(&[
            ("package.json", r#"{"main":"index.js","dependencies":{"x":"1"}}"#),
            ("package-lock.json", lock),
            ("index.js", ""),
            ("hostkit.toml", &toml),
        ]);
        !app.recipe.lockfiles.is_empty()
    };
    assert!(lockfiles("'npm ci --legacy-peer-deps'"));
    assert!(!lockfiles("'npm ci ./other'") && !lockfiles("'npm run setup'") && !lockfiles("'make deps'"));
    assert!(!lockfiles("['npm ci', 'make deps']"));
}

#[test]
fn node_warns_about_what_will_not_work() {
    let package = r#"{"main": "gone.js", "dependencies": {"express": "4"}}"#;
    let app = found(&[("package.json", package), ("index.js", "")]);
    assert_eq!(start(&app), "node index.js");
    assert_eq!(app.warnings.len(), 2, "{:?}", app.warnings);
    let with = found(&[("package.json", package), ("index.js", ""), ("node_modules/express/index.js", "")]);
    assert_eq!(with.warnings.len(), 1, "{:?}", with.warnings);
}

#[test]
fn a_start_script_runs_without_a_shell_unless_it_needs_one() {
    for (script, command) in [
        ("node dist/index.js", "node dist/index.js"),
        ("NODE_ENV=production TZ=UTC nest start", "env NODE_ENV=production TZ=UTC nest start"),
        ("prisma generate && node .", "npm run start"),
        ("A=$B node .", "npm run start"),
    ] {
        let package = format!(r#"{{"scripts": {{"start": "{script}"}}}}"#);
        assert_eq!(start(&found(&[("package.json", &package)])), command, "{script}");
    }
    let around = r#"{"scripts": {"start": "node .", "prestart": "x"}}"#;
    assert_eq!(start(&found(&[("package.json", around), ("yarn.lock", "")])), "yarn run start");
}

#[test]
fn node_without_anything_to_run_says_what_it_looked_for() {
    let fault = fault(&[("package.json", r#"{"main": "../x.js"}"#)], &Asked::default());
    assert_eq!(fault.code, Code::NothingDetected);
    for word in ["../x.js", "index.js", "server.js"] {
        assert!(fault.message.contains(word), "{fault}");
    }
}

#[test]
fn package_json_must_be_small_and_valid() {
    let nothing = Asked::default();
    let huge = " ".repeat(LIMIT + 1);
    assert!(fault(&[("package.json", &huge)], &nothing).message.contains("larger than 1 MiB"));
    assert!(fault(&[("package.json", "{")], &nothing).message.contains("not valid JSON"));
    assert!(fault(&[("package.json", "[]")], &nothing).message.contains("JSON object"));
    // Who asks for Python need not care.
    let app = found_when(&[("package.json", "{"), ("app.py", "")], &asked(Some(Runtime::Python), None));
    assert_eq!(app.runtime, Runtime::Python);
}

#[test]
fn python_runs_the_module_app() {
    for (file, workdir) in
        [("__main__.py", Workdir::Home), ("app.py", Workdir::App), ("app/__main__.py", Workdir::App)]
    {
        let app = found(&[(file, "")]);
        assert_eq!((app.runtime, app.workdir), (Runtime::Python, workdir));
        assert_eq!(start(&app), "venv/bin/python -m app");
    }
    let fault = fault(&[("requirements.txt", "")], &Asked::default());
    assert!(fault.message.contains("app/__main__.py"), "{fault}");
}

#[test]
fn python_installs_what_is_named_and_nothing_else() {
    let installs = |files: &[(&str, &str)]| found(files).recipe.install.len();
    assert_eq!(installs(&[("app.py", ""), ("requirements.txt", "# none\n\n")]), 0);
    assert_eq!(installs(&[("app.py", ""), ("requirements.txt", "celery\n")]), 2);
    assert_eq!(installs(&[("app.py", ""), ("requirements.txt", "celery\n"), (".venv/bin/python", "")]), 0);
    assert_eq!(installs(&[("app.py", ""), ("pyproject.toml", "[project]\ndependencies = ['a']")]), 2);
    assert_eq!(installs(&[("app.py", ""), ("pyproject.toml", "][")]), 0);
    assert_eq!(found(&[("app.py", ""), ("package.json", "{}")]).warnings.len(), 1);
}

#[test]
fn next_needs_its_build_output() {
    let package = ("package.json", r#"{"dependencies": {"next": "15"}}"#);
    let build = (".next/BUILD_ID", "x");
    let cli = ("node_modules/next/dist/bin/next", "");
    for (files, command) in [
        (vec![package, build, ("server.js", "")], "node server.js"),
        (vec![package, (".next/standalone/server.js", "")], "node .next/standalone/server.js"),
        (vec![package, build, cli], "node node_modules/next/dist/bin/next start -H 127.0.0.1 -p \"${PORT}\""),
        (vec![build, cli], "node node_modules/next/dist/bin/next start -H 127.0.0.1 -p \"${PORT}\""),
    ] {
        let app = found(&files);
        assert_eq!((app.runtime, app.workdir), (Runtime::Nextjs, Workdir::App));
        assert_eq!(start(&app), command);
    }
    let nextjs = asked(Some(Runtime::Nextjs), None);
    assert!(fault(&[("README", "")], &nextjs).message.contains("neither a build nor a package.json"));
    assert!(fault(&[build], &nextjs).message.contains("but not node_modules/next"));
}

#[test]
fn standalone_next_warns_about_what_was_not_copied() {
    let base =
        [("package.json", r#"{"dependencies": {"next": "15"}}"#), ("server.js", ""), (".next/BUILD_ID", "")];
    let says = |app: &App, word: &str| app.warnings.iter().any(|warning| warning.contains(word));
    assert!(says(&found(&base), ".next/static is not there"));
    let mut whole = base.to_vec();
    whole.push((".next/static/x.js", ""));
    assert!(!says(&found(&whole), "static"));
    let nested = found(&[(".next/standalone/apps/web/server.js", "")]);
    assert_eq!(start(&nested), "node .next/standalone/apps/web/server.js");
    assert!(says(&nested, "does not look like a build"));
}

#[test]
fn a_page_makes_a_static_site() {
    for (file, root) in [
        ("index.html", None),
        ("public/index.html", Some("public")),
        ("dist/index.html", Some("dist")),
        ("build/index.html", Some("build")),
    ] {
        let app = found(&[(file, "")]);
        assert_eq!((app.runtime, app.web_root.as_deref(), &app.start), (Runtime::Static, root, &None));
    }
    let app = found(&[("index.html", ""), ("dist/index.html", "")]);
    assert_eq!((app.web_root, app.warnings.len()), (None, 1));
    let tools = found(&[("package.json", "{}"), ("dist/index.html", "")]);
    assert_eq!(tools.runtime, Runtime::Static);
    assert_eq!(fault(&[], &asked(Some(Runtime::Static), None)).code, Code::NothingDetected);
}

#[test]
fn the_start_command_comes_from_whoever_speaks_first() {
    let package = ("package.json", r#"{"main": "index.js"}"#);
    let files = [package, ("index.js", ""), ("hostkit.toml", "start = 'toml'"), ("Procfile", "web: proc")];
    assert_eq!(start(&found_when(&files, &asked(None, Some("flag")))), "flag");
    assert_eq!(start(&found(&files)), "toml");
    assert_eq!(start(&found(&[package, ("index.js", ""), ("Procfile", "web: proc")])), "proc");
    assert_eq!(start(&found(&[package, ("index.js", "")])), "node index.js");
    // Nobody reads a line that is not used.
    let app = found_when(&[("Procfile", "web: a && b")], &asked(None, Some("flag")));
    assert_eq!((app.runtime, start(&app)), (Runtime::Command, "flag".to_owned()));
}

#[test]
fn the_runtime_comes_from_whoever_speaks_first() {
    let files = [("hostkit.toml", "runtime = 'python'"), ("app.py", ""), ("index.html", "")];
    assert_eq!(found_when(&files, &asked(Some(Runtime::Static), None)).runtime, Runtime::Static);
    assert_eq!(found(&files).runtime, Runtime::Python);
    assert_eq!(found(&files[2..]).runtime, Runtime::Static);
}

#[test]
fn a_start_command_alone_is_enough() {
    for files in [[("Procfile", "web: ./run $PORT")], [("hostkit.toml", "start = './run $PORT'")]] {
        let app = found(&files);
        assert_eq!((app.runtime, start(&app)), (Runtime::Command, "./run \"${PORT}\"".to_owned()));
    }
    let page = found(&[("Procfile", "web: ./run"), ("public/index.html", "")]);
    assert_eq!((page.runtime, page.web_root), (Runtime::Command, None));
    let node = found(&[("Procfile", "web: ./run"), ("package.json", "{}")]);
    assert_eq!(node.runtime, Runtime::Node);
    let python = found(&[("Procfile", "web: gunicorn x"), ("requirements.txt", "")]);
    assert_eq!((python.runtime, python.workdir), (Runtime::Python, Workdir::App));
    assert_eq!(fault(&[], &asked(Some(Runtime::Command), None)).code, Code::InvalidConfig);
}

#[test]
fn a_static_site_starts_nothing() {
    let page = ("index.html", "");
    let fixed = asked(Some(Runtime::Static), None);
    assert_eq!(fault(&[page], &asked(Some(Runtime::Static), Some("x"))).code, Code::InvalidValue);
    let app = found_when(&[page, ("hostkit.toml", "start = 'x'"), ("Procfile", "web: y")], &fixed);
    assert_eq!((app.start, app.warnings.len()), (None, 2));
}

#[test]
fn what_hostkit_toml_says_arrives() {
    let text =
        "spa = true\nshared = ['uploads']\nhealth = { path = '/up', timeout = 5 }\nenv.required = ['KEY']";
    let app = found(&[("hostkit.toml", text), ("index.html", "")]);
    assert!(app.spa && app.warnings[0].contains("does nothing for a static site"));
    assert_eq!((app.health.path.as_deref(), app.health.timeout), (Some("/up"), Some(5)));
    assert_eq!((app.shared[0].as_str(), app.env_required[0].as_str()), ("uploads", "KEY"));
    assert_eq!(found(&[("hostkit.toml", "spa = true"), ("app.py", "")]).warnings.len(), 1);
    assert_eq!(fault(&[("hostkit.toml", "x = 1")], &Asked::default()).code, Code::InvalidConfig);
}

#[test]
fn a_file_that_says_what_it_is_and_cannot_be_read_is_not_nothing() {
    /// A source in which that is a link out of it, or a fifo.
    struct Odd(&'static str);
    impl Files for Odd {
        fn read(&self, path: &str, _limit: usize) -> anyhow::Result<Option<Vec<u8>>> {
            Ok((path == "index.html").then(Vec::new))
        }
        fn is_file(&self, path: &str) -> bool {
            path == "index.html"
        }
        fn is_dir(&self, _path: &str) -> bool {
            false
        }
        fn is_executable(&self, _path: &str) -> bool {
            false
        }
        fn list(&self, _path: &str) -> Vec<String> {
            vec!["index.html".to_owned(), self.0.to_owned()]
        }
    }
    for name in ["hostkit.toml", "Procfile"] {
        let fault: Fault = detect(&Odd(name), &Asked::default()).unwrap_err().downcast().unwrap();
        assert_eq!(fault.code, Code::InvalidConfig);
        assert!(fault.message.contains(&format!("{name} is there and is no file")), "{fault}");
    }
    assert!(detect(&Odd("README.md"), &Asked::default()).is_ok());
}

#[test]
fn what_a_static_site_cannot_have_is_said() {
    let app = found(&[("index.html", ""), ("hostkit.toml", "shared = ['a']\n[processes]\ntidy = './tidy'")]);
    assert!(app.warnings[0].contains("`shared`") && app.warnings[1].ends_with("is not run: tidy"), "{app:?}");
}

#[test]
fn what_is_for_development_is_left_out_where_nothing_needs_it() {
    let install = |package: &str, more: &[(&str, &str)]| {
        let files = [&[("package.json", package), ("index.js", "")][..], more].concat();
        found(&files).recipe.install[0].to_string()
    };
    let with = |more: &str| {
        format!(r#"{{"dependencies":{{"express":"4"}},"devDependencies":{{"tsx":"4","knex":"3"}}{more}}}"#)
    };
    assert!(install(&with(""), &[]).ends_with("--omit=dev"));
    assert!(install(&with(r#","scripts":{"start":"node index.js"}"#), &[]).ends_with("--omit=dev"));
    for more in [
        r#","scripts":{"build":"tsc"}"#,
        r#","scripts":{"start":"tsx index.ts"}"#,
        r#","scripts":{"start":"node --import tsx index.js"}"#,
        r#","scripts":{"prepare":"husky"}"#,
    ] {
        assert!(install(&with(more), &[]).ends_with("--include=dev"), "{more}");
    }
    for file in [("knexfile.js", ""), ("Procfile", "worker: tsx work.ts"), ("hostkit.toml", "build = 'make'")]
    {
        assert!(install(&with(""), &[file]).ends_with("--include=dev"), "{file:?}");
    }
}

#[test]
fn a_mark_at_the_beginning_of_a_procfile_is_no_name() {
    assert_eq!(start(&found(&[("Procfile", "\u{feff}web: a")])), "a");
}

#[test]
fn how_long_a_migration_may_take_can_stand_beside_it() {
    let recipe = |toml: &str| found(&[("hostkit.toml", toml), ("app.py", "")]).recipe;
    let both = recipe("[release]\ncommand = ['a', 'b']\ntimeout = 1800");
    assert_eq!((both.migrations.len(), both.migration_timeout), (2, Some(1800)));
    assert_eq!(recipe("release = 'a'").migration_timeout, None);
    // The tool's own command stays.
    let tool = found(&[("hostkit.toml", "release.timeout = 60"), ("app.py", ""), ("alembic.ini", "")]).recipe;
    assert_eq!((tool.migrations[0].tool.as_str(), tool.migration_timeout), ("Alembic", Some(60)));
    let fault = fault(&[("hostkit.toml", "release.timeout = 0")], &Asked::default());
    assert!(fault.message.contains("from 1 to 86400"), "{fault}");
}

#[test]
fn every_line_of_a_procfile_is_kept() {
    let app = found(&[("Procfile", "web: a\nworker: b --x\nrelease: d\ncron: @daily ./tidy")]);
    let kept: Vec<_> = app.processes.iter().map(|p| (p.name.as_str(), p.command.to_string())).collect();
    assert_eq!(kept, [("worker", "b --x".to_owned()), ("cron", "./tidy".to_owned())]);
    assert_eq!(app.recipe.migrations[0].command.to_string(), "d");
    // What hostkit.toml says of the same name counts.
    let toml = "release = 'r'\n[processes]\nworker = 'w'\nweb = 'x'";
    let app = found(&[("Procfile", "web: a\nworker: b\nrelease: d"), ("hostkit.toml", toml)]);
    let kept: Vec<_> = app.processes.iter().map(|p| p.command.to_string()).collect();
    assert_eq!((kept, start(&app)), (vec!["w".to_owned()], "x".to_owned()));
    assert_eq!(app.recipe.migrations[0].command.to_string(), "r");
}

#[test]
fn a_source_that_is_nothing_known_says_what_was_looked_for() {
    let nothing = fault(&[("README.md", "")], &Asked::default());
    assert_eq!(nothing.code, Code::NothingDetected);
    for word in ["hostkit.toml", "Procfile", "package.json", "app.py", "dist/index.html"] {
        assert!(nothing.message.contains(word), "{nothing}");
    }
    let advice = nothing.next.join("\n");
    for word in ["--static", "--node", "--python", "--nextjs", "--start-cmd", "hostkit.toml"] {
        assert!(advice.contains(word), "{advice}");
    }
    let docker = fault(&[("Dockerfile", "")], &Asked::default());
    assert!(docker.message.contains("runs processes and no containers"), "{docker}");
}

#[test]
fn what_was_found_can_be_written_down() {
    let app = found(&[("Procfile", "web: ./run $PORT")]);
    let json = serde_json::to_string(&app).unwrap();
    assert_eq!(serde_json::from_str::<App>(&json).unwrap(), app);
}
