//! What one row of the table says about a source.

use super::versions::Wanted;
use super::{Framework, Migration, Recipe, Workdir};
use crate::domain::command::StartCommand;
use crate::domain::env::EnvKey;
use crate::domain::fault::{Code, Fault};
use crate::domain::runtime::Runtime;
use crate::domain::shared_dir::SharedDir;
use crate::project::fpm::Fpm;

/// What was seen on the way.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) why: Vec<String>,
    pub(super) warnings: Vec<String>,
}

impl Notes {
    pub(super) fn why(&mut self, fact: impl Into<String>) {
        self.why.push(fact.into());
    }

    pub(super) fn warn(&mut self, warning: impl Into<String>) {
        self.warnings.push(warning.into());
    }
}

/// How it starts when nobody says it.
#[derive(Debug)]
pub(super) enum Start {
    /// nginx serves files.
    Nothing,
    /// These words, in this directory.
    Words(Vec<String>, Workdir),
    /// php-fpm, which is told this besides.
    Fpm(Fpm),
    /// It cannot be known; why, in case nobody says it.
    Unknown(Fault),
}

/// What a source is, as far as its files tell.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) framework: Framework,
    pub(super) runtime: Runtime,
    pub(super) start: Start,
    pub(super) web_root: Option<String>,
    pub(super) spa: bool,
    pub(super) health_path: Option<String>,
    pub(super) recipe: Recipe,
    /// What installs instead when nothing is built and no database is changed: nobody needs the
    /// dependencies for that.
    pub(super) lean: Vec<StartCommand>,
    /// Directories that are written to while it runs.
    pub(super) shared: Vec<SharedDir>,
    pub(super) wants: Vec<Wanted>,
    /// Secrets that it needs and that nobody has to know.
    pub(super) generated: Vec<EnvKey>,
    pub(super) notes: Notes,
}

impl Draft {
    /// An application of this framework that starts nothing yet.
    pub(super) fn new(framework: Framework, runtime: Runtime) -> Self {
        let recipe = Recipe { framework: framework.title().to_owned(), ..Recipe::default() };
        Self {
            framework,
            runtime,
            start: Start::Nothing,
            web_root: None,
            spa: false,
            health_path: None,
            recipe,
            lean: Vec::new(),
            shared: Vec::new(),
            wants: Vec::new(),
            generated: Vec::new(),
            notes: Notes::default(),
        }
    }

    /// Notes a fact that counted.
    pub(super) fn why(mut self, fact: impl Into<String>) -> Self {
        self.notes.why(fact);
        self
    }

    /// Notes what decided before all else.
    pub(super) fn because(mut self, fact: impl Into<String>) -> Self {
        self.notes.why.insert(0, fact.into());
        self
    }

    /// Says which kind of the framework it is: `Next.js (standalone)`.
    pub(super) fn kind(mut self, kind: &str) -> Self {
        self.recipe.framework = format!("{} ({kind})", self.framework.title());
        self
    }

    /// Starts these words in the release.
    pub(super) fn starts(mut self, line: &[&str]) -> Self {
        self.start = Start::Words(line.iter().map(|word| (*word).to_owned()).collect(), Workdir::App);
        self
    }

    /// Starts these words, if anything says what; in the release.
    pub(super) fn starts_with(mut self, words: Result<Vec<String>, Fault>) -> Self {
        self.start = match words {
            Ok(words) => Start::Words(words, Workdir::App),
            Err(fault) => Start::Unknown(fault),
        };
        self
    }

    /// Has nginx serve this directory.
    pub(super) fn serves(mut self, root: &str, spa: bool) -> Self {
        self.runtime = Runtime::Static;
        self.start = Start::Nothing;
        self.web_root = (!root.is_empty()).then(|| root.to_owned());
        self.spa = spa;
        self
    }

    /// Adds a command that installs.
    pub(super) fn installs(mut self, words: &[impl AsRef<str>]) -> Result<Self, Fault> {
        self.recipe.install.push(command(words)?);
        Ok(self)
    }

    /// Adds a command that builds.
    pub(super) fn builds(mut self, words: &[impl AsRef<str>]) -> Result<Self, Fault> {
        self.recipe.build.push(command(words)?);
        Ok(self)
    }

    /// Adds a command that migrates.
    pub(super) fn migrates(mut self, tool: &str, words: &[impl AsRef<str>]) -> Result<Self, Fault> {
        self.recipe.migrations.push(Migration { tool: tool.to_owned(), command: command(words)? });
        Ok(self)
    }
}

/// A command of these words; `${NAME}` in them is a variable.
pub(super) fn command(words: &[impl AsRef<str>]) -> Result<StartCommand, Fault> {
    let words: Vec<String> = words.iter().map(|word| word.as_ref().to_owned()).collect();
    StartCommand::from_argv(&words)
}

/// A word that came out of a file: a `$` in it is one.
pub(super) fn literal(word: &str) -> String {
    word.replace('$', "$$")
}

/// The fault for a source that has a framework and nothing to start.
pub(super) fn nothing_to_start(message: impl Into<String>) -> Fault {
    Fault::new(Code::NothingDetected, message)
        .next("say what to start: --start-cmd 'PROGRAM ARGUMENTS'")
        .next("or a line `start = \"PROGRAM ARGUMENTS\"` in hostkit.toml")
}
