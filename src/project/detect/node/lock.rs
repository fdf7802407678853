//! Whether a lockfile knows what `package.json` depends on.
//!
//! The package managers check this too, but after the upload has been unpacked and a build has begun;
//! and what they say about it is long.

use serde_json::Value;

use super::package::{FILE, Package};
use crate::domain::fault::{Code, Fault};
use crate::domain::files::Files;
use crate::project::detect::shown;

/// The largest lockfile that is looked into, in bytes.
const LIMIT: usize = 16 << 20;

/// Refuses a lockfile in which a dependency is missing.
pub(super) fn check(files: &dyn Files, lockfile: &str, package: &Package) -> anyhow::Result<()> {
    // One that is larger, or binary, is left to the package manager.
    let Some(bytes) = files.read(lockfile, LIMIT + 1)?.filter(|bytes| bytes.len() <= LIMIT) else {
        return Ok(());
    };
    let missing: Vec<&str> = match lockfile {
        "bun.lockb" => return Ok(()),
        "package-lock.json" | "npm-shrinkwrap.json" => {
            let lock: Value = serde_json::from_slice(&bytes).map_err(|error| {
                Fault::new(Code::InvalidSource, format!("{lockfile} is not valid JSON: {error}"))
                    .next("make it anew: npm install")
            })?;
            let known = |name: &str| {
                !lock["packages"][format!("node_modules/{name}")].is_null()
                    || !lock["dependencies"][name].is_null()
            };
            package.dependencies().filter(|name| !known(name)).collect()
        }
        _ => {
            let text = String::from_utf8_lossy(&bytes);
            package.dependencies().filter(|name| !mentions(&text, lockfile, name)).collect()
        }
    };
    if missing.is_empty() {
        return Ok(());
    }
    let (count, names) = (missing.len(), missing.iter().take(5).map(|name| shown(name)).collect::<Vec<_>>());
    let more = if count > 5 { format!(" and {} more", count - 5) } else { String::new() };
    let install = match lockfile {
        "pnpm-lock.yaml" => "pnpm install",
        "yarn.lock" => "yarn install",
        "bun.lock" => "bun install",
        _ => "npm install",
    };
    Err(Fault::new(
        Code::InvalidSource,
        format!("{lockfile} does not know what {FILE} depends on: {}{more}", names.join(", ")),
    )
    .next(format!("{install}    # brings {lockfile} up to date; then commit it"))
    .into())
}

/// Whether a lockfile that is no JSON names a package at the place of a key.
fn mentions(text: &str, lockfile: &str, name: &str) -> bool {
    let (befores, afters): (&[&str], &[&str]) = match lockfile {
        "pnpm-lock.yaml" => (&[" ", " '", " \""], &[":", "':", "\":"]),
        "yarn.lock" => (&["\n", "\"", " "], &["@"]),
        _ => (&["\""], &["\""]),
    };
    text.match_indices(name).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + name.len()..]);
        (before.is_empty() || befores.iter().any(|b| before.ends_with(b)))
            && afters.iter().any(|a| after.starts_with(a))
    })
}
