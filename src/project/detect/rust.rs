//! Rust: one program out of a package or a workspace.

use toml::{Table, Value};

use super::draft::{Draft, Start, nothing_to_start};
use super::{Framework, Runtime, versions};
use crate::domain::fault::{Code, Fault};
use crate::domain::files::Files;
use crate::project::detect::{read_text, shown};

const FILE: &str = "Cargo.toml";

pub(super) fn package(files: &dyn Files) -> anyhow::Result<Option<Draft>> {
    let Some(root) = manifest(files, FILE)? else { return Ok(None) };
    let mut draft = Draft::new(Framework::Rust, Runtime::Command).why(format!("{FILE} is there"));
    draft.wants.extend(
        match root.get("package").and_then(|package| package.get("rust-version")).and_then(Value::as_str) {
            Some(version) => versions::Wanted::new("rustc", version, "rust-version in Cargo.toml"),
            None => versions::first(files, "rustc", &["rust-toolchain"])?,
        },
    );
    let mut found = programs(files, &root, ".");
    if found.is_empty() {
        for member in members(files, &root) {
            if let Some(manifest) = manifest(files, &format!("{member}/{FILE}"))? {
                found.extend(programs(files, &manifest, &member));
            }
        }
    }
    let (dir, name) = match found.as_slice() {
        [only] => only.clone(),
        [] => {
            return Ok(Some(stuck(
                draft,
                nothing_to_start(format!(
                    "no program is in this package; looked for src/main.rs, src/bin, [[bin]] and `default-run` in {FILE}"
                )),
            )));
        }
        many => {
            let names = many.iter().map(|(_, name)| shown(name)).collect::<Vec<_>>().join(", ");
            let fault =
                Fault::new(Code::NothingDetected, format!("the package has more than one program: {names}"))
                    .next(format!("name the one to start in {FILE}: default-run = \"NAME\""));
            return Ok(Some(stuck(draft, fault)));
        }
    };
    draft.notes.why(format!("its program is {}", shown(&name)));
    draft.recipe.lockfiles =
        ["Cargo.toml", "Cargo.lock"].iter().filter(|p| files.is_file(p)).map(|p| (*p).to_owned()).collect();
    // Into `bin`, out of a directory that the builds of a project share: what it depends on is compiled once.
    let shared = "CARGO_TARGET_DIR=${HOME}/.cache/cargo-target";
    let mut words = vec![
        "env",
        shared,
        "cargo",
        "install",
        "--path",
        &dir,
        "--bin",
        &name,
        "--root",
        ".",
        "--no-track",
        "--force",
    ];
    if files.is_file("Cargo.lock") {
        words.push("--locked");
    } else {
        draft.notes.warn("there is no Cargo.lock: every build may fetch other versions");
    }
    let start = format!("./bin/{name}");
    Ok(Some(draft.builds(&words)?.starts(&[&start])))
}

fn stuck(mut draft: Draft, fault: Fault) -> Draft {
    draft.start = Start::Unknown(fault);
    draft
}

fn manifest(files: &dyn Files, path: &str) -> anyhow::Result<Option<Table>> {
    let Some(text) = read_text(files, path)? else { return Ok(None) };
    let table = text.parse::<Table>().map_err(|error| {
        let why = error.message().replace('\n', "; ");
        Fault::new(Code::InvalidSource, format!("{path} is not valid TOML: {why}"))
    })?;
    Ok(Some(table))
}

/// Names that Cargo takes for a program; anything else is left out.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('-')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
}

/// The programs of a package with its directory: the one that `default-run` names, or all of them.
fn programs(files: &dyn Files, manifest: &Table, dir: &str) -> Vec<(String, String)> {
    let Some(package) = manifest.get("package") else { return Vec::new() };
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let at = |path: &str| if dir == "." { path.to_owned() } else { format!("{dir}/{path}") };
    let mut names: Vec<String> = Vec::new();
    if let Some(name) = text(package, "default-run") {
        names.push(name);
    } else {
        let bins = manifest.get("bin").and_then(Value::as_array).into_iter().flatten();
        names.extend(bins.filter_map(|bin| text(bin, "name")));
        let own = text(package, "name").filter(|_| files.is_file(&at("src/main.rs")));
        // `[[bin]]` may give the file another name.
        if names.is_empty()
            || !manifest.get("bin").is_some_and(|bins| bins.to_string().contains("src/main.rs"))
        {
            names.extend(own);
        }
        names.extend(
            files.list(&at("src/bin")).iter().filter_map(|name| name.strip_suffix(".rs").map(str::to_owned)),
        );
    }
    names.retain(|name| is_name(name));
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(|name| (dir.to_owned(), name)).collect()
}

/// The directories of a workspace's packages.
fn members(files: &dyn Files, root: &Table) -> Vec<String> {
    let members =
        root.get("workspace").and_then(|workspace| workspace.get("members")).and_then(Value::as_array);
    let members = members.into_iter().flatten().filter_map(Value::as_str);
    let all = members.flat_map(|member| match member.strip_suffix("/*") {
        Some(above) => files.list(above).iter().map(|name| format!("{above}/{name}")).collect(),
        None => vec![member.to_owned()],
    });
    all.filter(|dir| !dir.starts_with(['/', '-']) && !dir.contains("..")).collect()
}
