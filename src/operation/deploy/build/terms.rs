//! On what terms a source is built: what is left out, and how much it may use.

use crate::{
    domain::{env::EnvKey, fault::Fault},
    project::{Limits, ProjectSpec, Recipe},
    system::build::{Bounds, Machine},
};

/// On what terms a source is built. The default is: all of it, with the usual bounds and no secrets.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// Nothing is installed.
    pub no_install: bool,
    /// Nothing is built.
    pub no_build: bool,
    /// How much it may use; comes before what the source says.
    pub limits: Limits,
    /// Secrets of the vault that its commands get.
    pub secrets: Vec<EnvKey>,
}

impl Terms {
    /// What is left of a recipe.
    pub fn trim(&self, recipe: &Recipe) -> Recipe {
        let mut recipe = recipe.clone();
        if self.no_install {
            recipe.install.clear();
        }
        if self.no_build {
            recipe.build.clear();
        }
        recipe
    }

    /// Whether there will probably be something to build, as far as one can know before it is received.
    pub fn builds(&self, spec: &ProjectSpec) -> bool {
        spec.build.is_some() && !(self.no_install && self.no_build)
    }

    /// What the build may use: what was said, here or in the source, as far as it may be had.
    pub(in super::super) fn bounds(&self, spec: &ProjectSpec, recipe: &Recipe) -> Result<Bounds, Fault> {
        self.limits.or(recipe.limits).bounds(spec.rails.build, Machine::here(), &spec.name)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_wanted_is_left_out() {
        let recipe = Recipe {
            install: vec!["npm ci".parse_command()],
            build: vec!["npm run build".parse_command()],
            ..Recipe::default()
        };
        let all = Terms::default().trim(&recipe);
        assert_eq!((all.install.len(), all.build.len()), (1, 1));
        let none = Terms { no_install: true, no_build: true, ..Terms::default() }.trim(&recipe);
        assert!(none.is_empty());
    }

    trait Line {
        fn parse_command(&self) -> crate::domain::command::StartCommand;
    }

    impl Line for str {
        fn parse_command(&self) -> crate::domain::command::StartCommand {
            crate::domain::command::StartCommand::parse(self).unwrap()
        }
    }
}
