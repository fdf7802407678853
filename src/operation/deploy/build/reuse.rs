//! What an earlier build has installed, and whether it would be installed again just so.

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::{
    domain::{files::Files, layout::HostPath, release::ReleaseId},
    operation::session::Session,
    project::{ProjectSpec, Recipe},
    system::{
        Host,
        archive::{Installed, Manifest},
        seal::{Way, clone},
        tree::Tree,
    },
};

/// The largest lockfile that is looked at, in bytes.
const LARGEST: usize = 64 << 20;
/// Files that steer an installer besides its lockfiles.
const ALSO: &[&str] =
    &[".npmrc", ".yarnrc", ".yarnrc.yml", "pip.conf", "pnpm-workspace.yaml", ".pnpmfile.cjs"];

/// What decides what an install makes: its commands, the files they go by, and the programs themselves.
/// `None` where that cannot be known.
pub(super) fn key(host: &Host, tree: &Tree, recipe: &Recipe) -> Result<Option<String>> {
    if recipe.install.is_empty() || recipe.lockfiles.is_empty() || recipe.installed.is_empty() {
        return Ok(None);
    }
    // The packages of a workspace have installed directories of their own, wherever they lie.
    let package = tree.read("package.json", LARGEST)?.unwrap_or_default();
    if String::from_utf8_lossy(&package).contains("\"workspaces\"") || tree.is_file("pnpm-workspace.yaml") {
        return Ok(None);
    }
    let mut sum = Sha256::new();
    let mut add = |name: &str, bytes: &[u8]| {
        for part in [name.as_bytes(), bytes] {
            sum.update((part.len() as u64).to_le_bytes());
            sum.update(part);
        }
    };
    let listed = recipe.lockfiles.iter().map(String::as_str).chain(ALSO.iter().copied());
    for path in listed.filter(|path| *path != "package.json") {
        if let Some(bytes) = tree.read(path, LARGEST)? {
            add(path, &bytes);
        }
    }
    // Of package.json only what is installed by: a new script or version changes nothing.
    add("package.json", &installs_by(&package));
    for path in tree.list("patches") {
        let path = format!("patches/{path}");
        add(&path, &tree.read(&path, LARGEST)?.unwrap_or_default());
    }
    let mut programs = vec!["node", "python3"];
    for command in &recipe.install {
        add("install", command.to_string().as_bytes());
        programs
            .extend(command.words().iter().filter_map(|word| word.as_literal()).filter(|w| !w.contains('/')));
    }
    programs.sort_unstable();
    programs.dedup();
    for program in programs {
        if let Some(path) = host.locate(program)?
            && let Some(meta) = host.root.meta(&path)?
        {
            // Another version of a program is another file.
            add(program, format!("{:?} {} {}", meta.changed, meta.size, meta.inode).as_bytes());
        }
    }
    let digest = sum.finalize();
    Ok(Some(digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()))
}

/// The parts of `package.json` that an installer goes by.
fn installs_by(package: &[u8]) -> Vec<u8> {
    const PARTS: &[&str] = &[
        "dependencies",
        "devDependencies",
        "optionalDependencies",
        "peerDependencies",
        "overrides",
        "resolutions",
        "pnpm",
        "packageManager",
        "engines",
    ];
    const SCRIPTS: &[&str] = &["preinstall", "install", "postinstall", "prepare"];
    let Ok(whole) = serde_json::from_slice::<serde_json::Value>(package) else { return package.to_vec() };
    let parts: Vec<_> = PARTS.iter().map(|part| &whole[*part]).collect();
    let scripts: Vec<_> = SCRIPTS.iter().map(|script| &whole["scripts"][*script]).collect();
    serde_json::to_vec(&(parts, scripts)).unwrap_or_default()
}

/// What the live release has installed, if it is what `key` stands for and still there.
pub(super) fn found(
    session: &Session<'_>,
    spec: &ProjectSpec,
    key: Option<&String>,
    manifest: Option<&Manifest>,
) -> Result<Option<(ReleaseId, Installed)>> {
    let (Some(key), Some(manifest), Some(id)) = (key, manifest, spec.live_release()) else { return Ok(None) };
    let Some(installed) = manifest.installed.as_ref().filter(|installed| installed.key == *key) else {
        return Ok(None);
    };
    let tree = Tree::new(session.host.root.open_dir(&spec.name.release(id))?);
    let all = !installed.paths.is_empty() && installed.paths.iter().all(|path| tree.is_dir(path));
    Ok(all.then(|| (id.clone(), installed.clone())))
}

/// Has what a release has installed in the tree that is being made, too.
pub(super) fn take_over(
    session: &Session<'_>,
    spec: &ProjectSpec,
    from: &ReleaseId,
    to: &ReleaseId,
    installed: &Installed,
    way: Way,
) -> Result<()> {
    let open = |path: &HostPath| session.host.root.open_dir(path);
    let (old, new) = (open(&spec.name.release(from))?, open(&spec.name.staging(to))?);
    let tree = Tree::new(session.host.root.open_dir(&spec.name.staging(to))?);
    for path in &installed.paths {
        if let Some((parent, _)) = path.rsplit_once('/') {
            let owner = match way {
                Way::Link => 0,
                Way::Copy(uid) => uid,
            };
            tree.mkdir_for(parent, owner)?;
        }
        clone(&old, &new, path, way).with_context(|| format!("taking over `{path}` of {from}"))?;
        // The scripts of a virtual environment begin with the path of its interpreter.
        let bin = format!("{path}/bin");
        if tree.is_file(&format!("{path}/pyvenv.cfg")) {
            let text = |id| format!("{}/", spec.name.release(id));
            tree.reword(&bin, &text(from), &text(to))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::installs_by;

    #[test]
    fn what_is_installed_does_not_depend_on_scripts_that_only_build() {
        let one = br#"{"version":"1.0.0","scripts":{"build":"a"},"dependencies":{"x":"1"}}"#;
        let other = br#"{"version":"1.0.1","scripts":{"build":"b"},"dependencies":{"x":"1"}}"#;
        let newer = br#"{"version":"1.0.1","scripts":{"build":"b"},"dependencies":{"x":"2"}}"#;
        let hooked = br#"{"version":"1.0.0","scripts":{"postinstall":"c"},"dependencies":{"x":"1"}}"#;
        assert_eq!(installs_by(one), installs_by(other));
        assert_ne!(installs_by(one), installs_by(newer));
        assert_ne!(installs_by(one), installs_by(hooked));
    }
}
