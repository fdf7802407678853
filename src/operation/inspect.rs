//! What a directory would be taken for, and what this host lacks to make and run it.

use std::{collections::BTreeSet, path::Path};

use anyhow::{Context, Result};

use crate::{
    domain::{
        command::StartCommand,
        fault::{Code, Fault},
    },
    project::{
        detect::{App, Asked, Wanted, detect},
        fit::Misfit,
        toolchain,
    },
    system::{exec, programs, tree::Tree},
};

/// A program that an application needs and the host does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lacking {
    /// The program.
    pub program: String,
    /// What brings it, where that is known.
    pub advice: Option<&'static str>,
}

/// What a directory of this process's own reading is taken for.
pub fn inspect(path: &Path) -> Result<App> {
    let shown = path.display();
    let tree = Tree::at(path).map_err(|error| {
        Fault::new(Code::InvalidSource, format!("the source `{shown}` cannot be read: {error:#}"))
            .next("give a directory that you can read")
    })?;
    detect(&tree, &Asked::default()).with_context(|| format!("looking at `{shown}`"))
}

/// The programs that are called by their names and are not installed.
pub fn lacking(app: &App) -> Vec<Lacking> {
    let recipe = &app.recipe;
    let commands = recipe.install.iter().chain(&recipe.build);
    let commands = commands.chain(recipe.migrations.iter().map(|migration| &migration.command));
    let commands = commands.chain(&app.start).chain(app.processes.iter().map(|process| &process.command));
    let programs: BTreeSet<String> = commands.filter_map(program).collect();
    let missing =
        programs.into_iter().filter(|name| !toolchain::names(name).iter().any(|n| exec::locate(n).is_some()));
    missing.map(|program| Lacking { advice: toolchain::advice(&program), program }).collect()
}

/// The programs that are of another version than it asks for.
pub fn misfits(app: &App) -> Vec<Misfit> {
    let misfit = |wanted: &Wanted| {
        let path = toolchain::names(&wanted.program).iter().find_map(|name| exec::locate(name))?;
        Misfit::between(wanted, programs::version(&path)?)
    };
    app.wants.iter().filter_map(misfit).collect()
}

/// The name that a command calls; nothing where it is a path of the release's.
fn program(command: &StartCommand) -> Option<String> {
    let words: Vec<String> = command.clone().into();
    let mut words = words.into_iter();
    let first = words.next()?;
    let name = if first == "env" { words.find(|word| !word.contains('='))? } else { first };
    // What packages bring lies in the release once they are installed; only known tools are the host's.
    (!name.contains('/') && toolchain::advice(&name).is_some()).then_some(name)
}
