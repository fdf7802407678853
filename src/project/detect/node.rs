//! Node: `package.json`, the package manager, and the frameworks built upon them.

pub(super) mod astro;
mod lock;
mod manager;
pub(super) mod next;
pub(super) mod nuxt;
mod package;
pub(super) mod program;
pub(super) mod router;
pub(super) mod site;
pub(super) mod svelte;

use super::draft::Draft;
use super::{Framework, Runtime, versions};
use crate::domain::files::Files;
use manager::Manager;

pub(super) use package::{FILE, Package};

/// A project of a Node framework: what it depends on, and who fetches that.
struct Project<'a> {
    files: &'a dyn Files,
    package: Package,
}

impl<'a> Project<'a> {
    /// The project, when it depends on any of these packages.
    fn with(files: &'a dyn Files, packages: &[&str]) -> anyhow::Result<Option<Self>> {
        let Some(package) = Package::read(files)? else { return Ok(None) };
        let depends = packages.iter().any(|name| package.depends_on(name));
        Ok(depends.then_some(Self { files, package }))
    }

    /// A draft with what is to be fetched and made: dependencies, then the `build` script, unless the
    /// source brings both already. `made` are files of which any shows that it has been built.
    fn draft(&self, framework: Framework, runtime: Runtime, made: &[&str]) -> anyhow::Result<Draft> {
        let mut draft = Draft::new(framework, runtime);
        let manager = Manager::choose(self.files, &self.package, &mut draft.notes)?;
        draft.wants.extend(manager.wanted());
        draft.wants.extend(versions::node(self.files, &self.package)?);
        let brought = self.files.is_dir("node_modules");
        if brought {
            draft.notes.why("node_modules is in the source");
        } else if self.package.has_dependencies() {
            manager.check(self.files, &self.package, &mut draft.notes)?;
            draft.recipe.lockfiles = manager.lockfiles(self.files);
            draft.recipe.installed = vec!["node_modules".to_owned()];
            draft = draft.installs(&manager.install(true))?;
            if self.is_lean() {
                draft.lean = vec![super::draft::command(&manager.install(false))?];
            }
        }
        if let Some(found) = made.iter().find(|path| brought && self.files.is_file(path)) {
            draft.notes.why(format!("{found} is in the source"));
            return Ok(draft);
        }
        if self.package.depends_on("@prisma/client") && self.package.depends_on("prisma") {
            // Its client is made from the schema, which may change while no dependency does.
            draft = draft.builds(&["node_modules/.bin/prisma", "generate"])?;
        }
        if self.package.script("build").is_some() {
            draft.notes.why(format!("{FILE} has a script `build`"));
            draft = draft.builds(&manager.run("build"))?;
        }
        Ok(draft)
    }
}

impl Project<'_> {
    /// Whether it runs without what it depends on for development, as far as one can see: nothing that is
    /// done while it is installed or started is among that.
    fn is_lean(&self) -> bool {
        const STEPS: [&str; 7] =
            ["preinstall", "install", "postinstall", "prepare", "prestart", "start", "poststart"];
        let steps: Vec<&str> = STEPS.iter().filter_map(|name| self.package.script(name)).collect();
        let mut programs = self.package.for_development().peekable();
        programs.peek().is_some()
            && !["preinstall", "install", "postinstall", "prepare"]
                .iter()
                .any(|name| self.package.script(name).is_some())
            && !programs.any(|name| {
                // `ts-node` of `@scope/ts-node`; the program of `typescript` has another name.
                let program = name.rsplit('/').next().unwrap_or(name);
                steps
                    .iter()
                    .any(|step| step.contains(program) || name == "typescript" && step.contains("tsc"))
            })
    }
}

/// Adds what Node makes for an application in another language: styles and scripts.
pub(super) fn assets(files: &dyn Files, mut draft: Draft) -> anyhow::Result<Draft> {
    let Some(package) = Package::read(files)? else { return Ok(draft) };
    if package.script("build").is_none() {
        return Ok(draft);
    }
    let project = Project { files, package };
    let assets = project.draft(Framework::Node, Runtime::Node, &[])?;
    draft.recipe.lockfiles.extend(assets.recipe.lockfiles);
    draft.recipe.installed.extend(assets.recipe.installed);
    draft.recipe.install.extend(assets.recipe.install);
    draft.recipe.build.extend(assets.recipe.build);
    draft.wants.extend(assets.wants);
    draft.notes.why.extend(assets.notes.why);
    draft.notes.warnings.extend(assets.notes.warnings);
    Ok(draft)
}
