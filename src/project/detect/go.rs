//! Go: one program, built from the root or from `cmd/`.

use super::draft::{Draft, Start, nothing_to_start};
use super::{Framework, Runtime, Wanted, read_text};
use crate::domain::fault::Fault;
use crate::domain::files::Files;

/// Names that a server's directory in `cmd/` usually has.
const USUAL: &[&str] = &["server", "app", "web", "api", "main"];

pub(super) fn module(files: &dyn Files) -> anyhow::Result<Option<Draft>> {
    let text = read_text(files, "go.mod")?;
    let workspace = files.is_file("go.work");
    if text.is_none() && !workspace && !files.is_file("main.go") {
        return Ok(None);
    }
    let seen = if text.is_some() {
        "go.mod"
    } else if workspace {
        "go.work"
    } else {
        "main.go"
    };
    let mut draft = Draft::new(Framework::Go, Runtime::Command).why(format!("{seen} is there"));
    let text = text.unwrap_or_default();
    let word = |key: &str| {
        text.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix(' ')).map(str::trim)
    };
    let version = word("toolchain").map(|version| version.trim_start_matches("go")).or_else(|| word("go"));
    draft.wants.extend(Wanted::new("go", version.unwrap_or_default(), "go.mod"));
    let package = match package(files, word("module").unwrap_or_default()) {
        Ok(package) => package,
        Err(fault) => {
            draft.start = Start::Unknown(fault);
            return Ok(Some(draft));
        }
    };
    draft.notes.why(format!("its program is in {}", if package == "." { "the root" } else { &package }));
    let known = ["go.mod", "go.sum", "go.work", "go.work.sum"].iter().filter(|path| files.is_file(path));
    draft.recipe.lockfiles = known.map(|path| (*path).to_owned()).collect();
    if files.is_file("go.sum") && !files.is_dir("vendor") {
        draft = draft.installs(&["go", "mod", "download"])?;
    }
    // A driver that is written in C needs a compiler for it.
    let sums = read_text(files, "go.sum")?.unwrap_or_default();
    let c = ["github.com/mattn/go-sqlite3 ", "github.com/confluentinc/confluent-kafka-go"]
        .iter()
        .any(|m| sums.contains(m));
    let mut words = vec!["env", if c { "CGO_ENABLED=1" } else { "CGO_ENABLED=0" }];
    words.extend(["go", "build", "-trimpath", "-ldflags=-s -w", "-o", "bin/app"]);
    // Without a module only files can be built.
    words.push(if seen == "main.go" { "main.go" } else { &package });
    Ok(Some(draft.builds(&words)?.starts(&["./bin/app"])))
}

/// The package that is the program: the root, or one below `cmd`.
fn package(files: &dyn Files, module: &str) -> Result<String, Fault> {
    let sources = |dir: &str| -> Vec<String> {
        let names = files.list(dir).into_iter();
        names.filter(|name| name.strip_suffix(".go").is_some_and(|stem| !stem.ends_with("_test"))).collect()
    };
    let is_main = |dir: &str| {
        sources(dir).iter().any(|path| {
            let text = files.read(path, 1 << 16).ok().flatten().unwrap_or_default();
            String::from_utf8_lossy(&text).lines().any(|line| line.split_whitespace().eq(["package", "main"]))
        })
    };
    if is_main(".") {
        return Ok(".".to_owned());
    }
    let commands: Vec<String> =
        files.list("cmd").into_iter().filter(|name| !sources(&format!("cmd/{name}")).is_empty()).collect();
    let name = module.rsplit('/').next().unwrap_or_default();
    let chosen = match commands.as_slice() {
        [only] => Some(only),
        all => all.iter().find(|c| *c == name).or_else(|| all.iter().find(|c| USUAL.contains(&c.as_str()))),
    };
    match chosen {
        Some(chosen) => Ok(format!("./cmd/{chosen}")),
        None if commands.is_empty() => Err(nothing_to_start(
            "the source is Go, and no program is in it; looked for `package main` in the root and for directories in cmd",
        )),
        None => Err(nothing_to_start(format!("cmd holds more than one program: {}", commands.join(", ")))
            .next("and what builds it: build = \"go build -o bin/app ./cmd/NAME\", start = \"./bin/app\"")),
    }
}
