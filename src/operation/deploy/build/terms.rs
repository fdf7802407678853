//! On what terms a source is built: what is left out, and how much it may use.

use std::time::Duration;

use anyhow::Result;

use crate::{
    domain::{
        env::EnvKey,
        fault::{Code, Fault},
    },
    project::{ProjectSpec, Recipe},
    system::build::{Bounds, memory_at_hand},
};

const MIB: u64 = 1 << 20;
/// The least memory a build gets; with less hardly any of them ends well.
const LEAST_MEMORY: u64 = 512 * MIB;
/// The most it gets without being asked.
const MOST_MEMORY: u64 = 8192 * MIB;
const DISK: u64 = 10 << 30;
const TIME: Duration = Duration::from_mins(15);
const TASKS: u32 = 512;

/// On what terms a source is built. The default is: all of it, with the usual bounds and no secrets.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// Nothing is installed.
    pub no_install: bool,
    /// Nothing is built.
    pub no_build: bool,
    /// Memory in bytes.
    pub memory: Option<u64>,
    /// Space on the disk in bytes.
    pub disk: Option<u64>,
    /// How long it may take.
    pub time: Option<Duration>,
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

    /// What the build may use: what was said, or what leaves enough for what runs already.
    pub(super) fn bounds(&self) -> Result<Bounds, Fault> {
        let least = |what: &str, given: Option<u64>, least: u64| match given {
            Some(bytes) if bytes < least => Err(Fault::new(
                Code::InvalidValue,
                format!("a build cannot do with less than {} MiB of {what}", least / MIB),
            )),
            _ => Ok(()),
        };
        least("memory", self.memory, 64 * MIB)?;
        least("disk", self.disk, 64 * MIB)?;
        Ok(Bounds {
            memory: self.memory.unwrap_or_else(|| usual_memory(memory_at_hand())),
            disk: self.disk.unwrap_or(DISK),
            time: self.time.unwrap_or(TIME),
            tasks: TASKS,
        })
    }
}

/// Half of what could be had now: the applications that run may come to need the other half.
fn usual_memory(at_hand: Option<u64>) -> u64 {
    at_hand.map_or(LEAST_MEMORY, |bytes| (bytes / 2).clamp(LEAST_MEMORY, MOST_MEMORY))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_build_gets_half_of_the_memory_that_is_left_but_never_too_little() {
        assert_eq!(usual_memory(Some(4096 * MIB)), 2048 * MIB);
        assert_eq!(usual_memory(Some(300 * MIB)), LEAST_MEMORY);
        assert_eq!(usual_memory(Some(64 << 30)), MOST_MEMORY);
        assert_eq!(usual_memory(None), LEAST_MEMORY);
    }

    #[test]
    fn bounds_that_nothing_could_be_built_in_are_refused() {
        let terms = Terms { memory: Some(MIB), ..Terms::default() };
        assert_eq!(terms.bounds().unwrap_err().code, Code::InvalidValue);
        let terms = Terms { memory: Some(100 * MIB), ..Terms::default() };
        assert_eq!(terms.bounds().unwrap().memory, 100 * MIB);
    }

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
