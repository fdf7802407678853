//! What an earlier build has installed, and whether it would be installed again just so.
//!
//! What an installer makes is what it has added to the tree, wherever that lies. Whether it would make the
//! same again is decided by a key over all that it goes by. Of package managers that are known this is what
//! they read; of a command of the project's own, or where a package's own scripts run, it is the whole
//! source: who knows what such a thing reads.

use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::{
    domain::{command::StartCommand, files::Files, layout::HostPath, name::ProjectName, release::ReleaseId},
    operation::session::Session,
    project::{ProjectSpec, Recipe},
    system::{
        Host,
        archive::{Entry, Installed, Kind, Manifest},
        seal::{Way, clone, grown, mentions},
        tree::Tree,
    },
};

/// The largest file that is looked at, in bytes.
const LARGEST: usize = 64 << 20;
/// Files at the root that steer an installer besides its lockfiles.
const ALSO: &[&str] =
    &[".npmrc", ".yarnrc", ".yarnrc.yml", "pip.conf", "pnpm-workspace.yaml", ".pnpmfile.cjs"];
/// What lies in these steers it too.
const BELOW: &[&str] = &["patches/", ".yarn/"];
/// Scripts of a package that its manager runs when it installs.
const SCRIPTS: &[&str] = &["preinstall", "install", "postinstall", "preprepare", "prepare", "postprepare"];

/// What decides what an install makes.
#[derive(Clone, Debug)]
pub(super) struct Key {
    /// What stands for all of it: lower-case letters and digits.
    text: String,
    /// Whether the whole source is in it.
    whole: bool,
    /// The files of the source that are in it, where not all are.
    files: Vec<String>,
}

impl Key {
    /// What `recipe` goes by in a tree that holds what was received. `None` where nothing is installed.
    pub(super) fn of(host: &Host, tree: &Tree, recipe: &Recipe, received: &Manifest) -> Result<Option<Self>> {
        if recipe.install.is_empty() {
            return Ok(None);
        }
        let mut sum = Sum(Sha256::new());
        let mut programs = vec!["node".to_owned(), "python3".to_owned()];
        for command in &recipe.install {
            sum.add("install", command.to_string().as_bytes());
            let words = command.words().iter().filter_map(|word| word.as_literal());
            programs.extend(words.filter(|word| !word.contains('/')).map(str::to_owned));
        }
        programs.sort_unstable();
        programs.dedup();
        for program in programs {
            if let Some(path) = host.locate(&program)?
                && let Some(meta) = host.root.meta(&path)?
            {
                // Another version of a program is another file.
                let print = format!("{:?} {} {}", meta.changed, meta.size, meta.inode);
                sum.add(&program, print.as_bytes());
            }
        }
        let packages = packages(tree, received)?;
        let known = !recipe.lockfiles.is_empty() && !recipe.installed.is_empty();
        let whole = !known || packages.iter().any(|(_, text)| runs_its_own(text)) || copies(tree, recipe)?;
        if whole {
            let unnoted = Manifest { notes: Vec::new(), installed: None, ..received.clone() };
            sum.add("source", unnoted.to_text().as_bytes());
            return Ok(Some(Self { text: sum.text(), whole, files: Vec::new() }));
        }
        for (path, text) in &packages {
            // Only what is installed by: a new script or version changes nothing.
            sum.add(path, &installs_by(text));
        }
        let mut files = Vec::new();
        for Entry { path, kind } in &received.entries {
            let Kind::File { sha256, .. } = kind else { continue };
            let listed = recipe.lockfiles.iter().any(|lockfile| lockfile == path)
                || ALSO.contains(&path.as_str())
                || BELOW.iter().any(|dir| path.starts_with(dir))
                // Prisma's client is made out of these when it is installed.
                || path.ends_with(".prisma");
            if listed && path != "package.json" {
                sum.add(path, sha256);
                files.push(path.clone());
            }
        }
        Ok(Some(Self { text: sum.text(), whole, files }))
    }

    /// What has been installed into the tree since, if the next tree can take it over. Nobody works on the
    /// tree any more.
    pub(super) fn installed(
        &self,
        session: &Session<'_>,
        name: &ProjectName,
        id: &ReleaseId,
        received: &Manifest,
        since: (i64, i64),
    ) -> Result<Option<Installed>> {
        let root = session.host.root.open_dir(&name.staging(id))?;
        let Some(grown) = grown(&root, received, since)? else { return Ok(None) };
        // What it changed it would change again, if the key has it.
        let foreseen = grown.changed.iter().all(|path| self.whole || self.files.contains(path));
        let tree = Tree::new(root.try_clone()?);
        let there = grown.changed.iter().all(|path| tree.is_file(path));
        if !foreseen || !there || grown.new.is_empty() {
            return Ok(None);
        }
        let paths: Vec<String> = grown.new.into_iter().chain(grown.changed).collect();
        if self.whole {
            // A known installer's tree may be moved; anything else that names its place must stay there.
            let scripts: Vec<String> = paths.iter().filter_map(|path| scripts(&tree, path)).collect();
            for path in &paths {
                if mentions(&root, path, id.as_str(), &scripts)? {
                    return Ok(None);
                }
            }
        }
        Ok(Some(Installed { key: self.text.clone(), paths }))
    }

    /// What the live release has installed, if it is what this stands for, is still there, and has its place
    /// in the new tree.
    pub(super) fn found(
        &self,
        session: &Session<'_>,
        spec: &ProjectSpec,
        live: Option<&Manifest>,
        received: &Manifest,
    ) -> Result<Option<(ReleaseId, Installed)>> {
        let (Some(live), Some(id)) = (live, spec.live_release()) else { return Ok(None) };
        let Some(installed) = live.installed.as_ref().filter(|installed| installed.key == self.text) else {
            return Ok(None);
        };
        let tree = Tree::new(session.host.root.open_dir(&spec.name.release(id))?);
        let brought = |path: &String| received.entries.iter().any(|entry| entry.path == *path);
        let fits = |path: &String| {
            tree.is_taken(path) && (!brought(path) || self.whole || self.files.contains(path))
        };
        let all = !installed.paths.is_empty() && installed.paths.iter().all(fits);
        Ok(all.then(|| (id.clone(), installed.clone())))
    }
}

/// A sum over named parts.
struct Sum(Sha256);

impl Sum {
    fn add(&mut self, name: &str, bytes: &[u8]) {
        for part in [name.as_bytes(), bytes] {
            self.0.update((part.len() as u64).to_le_bytes());
            self.0.update(part);
        }
    }

    fn text(self) -> String {
        self.0.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Every `package.json` of the source: that of the root, and those of a workspace's packages.
fn packages(tree: &Tree, received: &Manifest) -> Result<Vec<(String, Vec<u8>)>> {
    let paths = received.entries.iter().map(|entry| entry.path.as_str());
    let own = paths.filter(|path| *path == "package.json" || path.ends_with("/package.json"));
    own.map(|path| Ok((path.to_owned(), tree.read(path, LARGEST)?.unwrap_or_default()))).collect()
}

/// Whether a package's manager runs something of the source when it installs it, or copies some of it.
fn runs_its_own(package: &[u8]) -> bool {
    let Ok(whole) = serde_json::from_slice::<serde_json::Value>(package) else { return true };
    let scripts = SCRIPTS.iter().any(|script| whole["scripts"][*script].is_string());
    scripts || String::from_utf8_lossy(package).contains("\"file:")
}

/// Whether what is installed holds some of the source: a Python package that is installed itself, or a list
/// of the classes that there are.
fn copies(files: &dyn Files, recipe: &Recipe) -> Result<bool> {
    let text = |path: &str| -> Result<String> {
        Ok(String::from_utf8_lossy(&files.read(path, LARGEST)?.unwrap_or_default()).into_owned())
    };
    let says = |flags: &[&str]| {
        let words = recipe.install.iter().flat_map(StartCommand::words);
        words.filter_map(|word| word.as_literal()).any(|word| flags.contains(&word))
    };
    let is_package = files.is_file("setup.py") || text("pyproject.toml")?.contains("[build-system]");
    if is_package && !says(&["--no-root", "--no-install-project"]) {
        return Ok(true);
    }
    let is_list = |path: &str| {
        path.contains("requirements") || Path::new(path).extension().is_some_and(|kind| kind == "txt")
    };
    for list in recipe.lockfiles.iter().filter(|path| is_list(path)) {
        let local = |line: &str| {
            let line = line.trim_start();
            line.starts_with(['.', '/']) || line.starts_with("-e") || line.contains("file:")
        };
        if text(list)?.lines().any(local) || text(list)?.contains("--editable") {
            return Ok(true);
        }
    }
    // A build that lists them again has the right ones.
    let lists = |command: &StartCommand| {
        command.words().iter().any(|word| word.as_literal() == Some("dump-autoload"))
    };
    if recipe.build.iter().any(lists) {
        return Ok(false);
    }
    let composer = text("composer.json")?;
    Ok(composer.contains("\"scripts\"")
        || composer.contains("\"classmap\"")
        || !composer.is_empty() && says(&["-o", "-a", "--optimize-autoloader", "--classmap-authoritative"]))
}

/// The parts of `package.json` that an installer goes by.
fn installs_by(package: &[u8]) -> Vec<u8> {
    const PARTS: &[&str] = &[
        "name",
        "workspaces",
        "dependencies",
        "devDependencies",
        "optionalDependencies",
        "peerDependencies",
        "bundleDependencies",
        "overrides",
        "resolutions",
        "bin",
        "pnpm",
        "packageManager",
        "engines",
    ];
    let Ok(whole) = serde_json::from_slice::<serde_json::Value>(package) else { return package.to_vec() };
    let parts: Vec<_> = PARTS.iter().map(|part| &whole[*part]).collect();
    serde_json::to_vec(&parts).unwrap_or_default()
}

/// The directory of a virtual environment's scripts, which begin with the path of its interpreter.
fn scripts(tree: &Tree, path: &str) -> Option<String> {
    tree.is_file(&format!("{path}/pyvenv.cfg")).then(|| format!("{path}/bin"))
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
        // What the source has there too, the installer has changed.
        tree.unlink(path)?;
        clone(&old, &new, path, way).with_context(|| format!("taking over `{path}` of {from}"))?;
        if let Some(scripts) = scripts(&tree, path) {
            let text = |id| format!("{}/", spec.name.release(id));
            tree.reword(&scripts, &text(from), &text(to))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Recipe, copies, installs_by, runs_its_own};
    use crate::domain::{command::StartCommand, files::Files};

    /// Files of these names and texts.
    struct Flat<'a>(&'a [(&'a str, &'a str)]);

    impl Files for Flat<'_> {
        fn read(&self, path: &str, _limit: usize) -> anyhow::Result<Option<Vec<u8>>> {
            let found = self.0.iter().find(|(name, _)| *name == path);
            Ok(found.map(|(_, text)| text.as_bytes().to_vec()))
        }
        fn is_file(&self, path: &str) -> bool {
            self.0.iter().any(|(name, _)| *name == path)
        }
        fn is_dir(&self, _path: &str) -> bool {
            false
        }
        fn is_executable(&self, _path: &str) -> bool {
            false
        }
        fn list(&self, _path: &str) -> Vec<String> {
            Vec::new()
        }
    }

    #[test]
    fn what_holds_some_of_the_source_depends_on_all_of_it() {
        let copied = |install: &str, files: &[(&str, &str)]| {
            let recipe = Recipe {
                install: vec![StartCommand::parse(install).expect("a command")],
                lockfiles: files.iter().map(|(path, _)| (*path).to_owned()).collect(),
                ..Recipe::default()
            };
            copies(&Flat(files), &recipe).expect("it can be read")
        };
        let package = ("pyproject.toml", "[project]\nname = 'x'\n[build-system]\nrequires = []\n");
        assert!(copied("uv sync --locked --no-editable", &[package]));
        assert!(copied("pip install .", &[package]));
        assert!(copied("pip install .", &[("setup.py", "")]));
        assert!(!copied("poetry install --no-root", &[package]));
        assert!(!copied("uv sync --locked", &[("pyproject.toml", "[project]\nname = 'x'\n")]));
        assert!(!copied("pip install -r requirements.txt", &[("requirements.txt", "flask==3.0\n")]));
        for line in ["-e .", "./lib", "flask\n  ./lib", "lib @ file:///x"] {
            assert!(copied("pip install -r requirements.txt", &[("requirements.txt", line)]), "{line}");
        }
        let composer = ("composer.json", r#"{"require":{"x/y":"1"},"autoload":{"psr-4":{"App":"src"}}}"#);
        assert!(!copied("composer install", &[composer]));
        assert!(copied("composer install --optimize-autoloader", &[composer]));
        assert!(copied("composer install", &[("composer.json", r#"{"scripts":{"post-install-cmd":"x"}}"#)]));
    }

    #[test]
    fn what_is_installed_does_not_depend_on_scripts_that_only_build() {
        let one = br#"{"version":"1.0.0","scripts":{"build":"a"},"dependencies":{"x":"1"}}"#;
        let other = br#"{"version":"1.0.1","scripts":{"build":"b"},"dependencies":{"x":"1"}}"#;
        let newer = br#"{"version":"1.0.1","scripts":{"build":"b"},"dependencies":{"x":"2"}}"#;
        assert_eq!(installs_by(one), installs_by(other));
        assert_ne!(installs_by(one), installs_by(newer));
    }

    #[test]
    fn a_package_that_runs_scripts_or_is_copied_depends_on_the_whole_source() {
        assert!(!runs_its_own(br#"{"scripts":{"build":"a"},"dependencies":{"x":"1"}}"#));
        assert!(runs_its_own(br#"{"scripts":{"postinstall":"prisma generate"}}"#));
        assert!(runs_its_own(br#"{"dependencies":{"x":"file:./x"}}"#));
        assert!(runs_its_own(b"{ not json"));
    }
}
