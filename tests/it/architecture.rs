//! The house has floors, and imports only go down.

use std::{fs, path::Path};

/// Ground floor first.
const FLOORS: &[&[&str]] = &[
    &["domain"],
    &["system"],
    &["resource"],
    &["plan", "project"],
    &["store", "event"],
    &["operation"],
    &["ui"],
    &["cli"],
    &["lib", "main"],
];

#[test]
fn imports_only_go_down() {
    let floor = |module: &str| FLOORS.iter().position(|f| f.contains(&module));
    let mut files = vec![];
    walk(Path::new("src"), &mut files);
    assert!(files.len() > 40, "the sources are not where they were");
    for (module, text) in files {
        let here = floor(&module).unwrap_or_else(|| panic!("`{module}` has no floor"));
        for used in text.split("crate::").skip(1).flat_map(names) {
            if let Some(there) = floor(used) {
                assert!(there <= here, "`{module}` (floor {here}) uses `{used}` (floor {there})");
            }
        }
    }
}

#[test]
fn the_rule_sees_an_import_that_goes_up() {
    assert_eq!(names("plan::Step, more"), ["plan"]);
    assert_eq!(names("{kinds::{Any, B}, system::Host, c}"), ["kinds", "system", "c"]);
    assert_eq!(code_only("/// [`crate::cli`]\nuse crate::plan;\n"), "use crate::plan;");
}

/// What only one module may use, and why.
#[test]
fn each_required_crate_has_one_home() {
    let homes: &[(&str, &[&str])] = &[
        ("clap", &["cli"]),
        ("indicatif", &["ui"]),
        ("rusqlite", &["store"]),
        ("tera", &["project"]),
        ("users", &["system"]),
        ("which", &["system"]),
        ("nix", &["system"]),
        ("rustix", &["system"]),
        ("ureq", &["system"]),
        ("rusty_s3", &["system"]),
    ];
    let mut files = vec![];
    walk(Path::new("src"), &mut files);
    for (module, text) in files {
        for (name, allowed) in homes {
            let used = text.contains(&format!("{name}::")) && text.contains(&format!("use {name}"))
                || text.lines().any(|l| l.trim_start().starts_with(&format!("use {name}::")));
            assert!(!used || allowed.contains(&module.as_str()), "`{module}` uses `{name}`");
        }
    }
}

#[test]
fn nothing_runs_a_shell() {
    let mut files = vec![];
    walk(Path::new("src"), &mut files);
    for (module, text) in files {
        for bad in ["\"sh\"", "\"bash\"", "\"/bin/sh\"", "sh -c"] {
            assert!(!text.contains(bad), "`{module}` contains {bad}");
        }
    }
}

/// The modules that an import names: of `plan::Step` it is `plan`, of `{kinds::Any, system::Host}` both.
fn names(after: &str) -> Vec<&str> {
    let word = |s: &str| s.len() - s.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_').len();
    if !after.starts_with('{') {
        return vec![&after[..word(after)]];
    }
    let (mut depth, mut out) = (0, vec![]);
    for (i, c) in after.char_indices() {
        match c {
            '{' => {
                depth += 1;
                if depth == 1 {
                    let first = after[1..].trim_start();
                    out.push(&first[..word(first)]);
                }
            }
            '}' => {
                depth -= 1;
                if depth == 0 {
                    break;
                }
            }
            ',' if depth == 1 => {
                let next = after[i + 1..].trim_start();
                out.push(&next[..word(next)]);
            }
            _ => {}
        }
    }
    out.retain(|n| !n.is_empty());
    out
}

fn walk(dir: &Path, out: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        // Tests stand in worlds, which are above all floors.
        if path.is_dir() {
            if path.file_name().is_none_or(|n| n != "tests") {
                walk(&path, out);
            }
            continue;
        }
        if path.file_name().is_some_and(|n| n == "tests.rs" || n == "laws.rs") {
            continue;
        }
        let module = path.strip_prefix("src").unwrap().components().next().unwrap();
        let module = module.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned();
        let text = fs::read_to_string(&path).unwrap();
        let text = text.split("#[cfg(test)]\n#[allow").next().unwrap();
        out.push((module, code_only(text)));
    }
}

/// Without comments: a doc link is not a dependency.
fn code_only(text: &str) -> String {
    text.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}
