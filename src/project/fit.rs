//! Whether the programs of a host are of the versions that a source asks for.

use super::detect::Wanted;
use crate::domain::{
    fault::{Code, Fault},
    version::Version,
};

/// A program of another version than a source asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// What is asked for.
    pub wanted: Wanted,
    /// What is there.
    pub installed: Version,
}

impl Misfit {
    /// Whether a program that is there is not of the version that is wanted.
    pub fn between(wanted: &Wanted, installed: Version) -> Option<Self> {
        let fits = installed.fits(&wanted.program, &wanted.version);
        (!fits).then(|| Self { wanted: wanted.clone(), installed })
    }

    /// Whether the source says what it needs. What a developer has pinned for a computer of theirs, or a
    /// version manager, may be more exact than need be.
    pub fn is_needed(&self) -> bool {
        !self.wanted.from.starts_with('.') && !self.wanted.from.starts_with("packageManager")
    }

    /// What is wanted and what is there.
    pub fn words(&self) -> String {
        let Wanted { program, version, from } = &self.wanted;
        format!(
            "the source asks for {program} {version} ({from}), and {program} {} is installed",
            self.installed
        )
    }

    /// What to type.
    pub fn advice(&self) -> String {
        let Wanted { program, version, from } = &self.wanted;
        let major = version.trim_start_matches(|c: char| !c.is_ascii_digit());
        let major: String = major.chars().take_while(char::is_ascii_digit).collect();
        match program.as_str() {
            "node" if !major.is_empty() => format!("npm install --global node@{major}"),
            "npm" | "pnpm" | "yarn" | "bun" => format!("npm install --global {program}@{version}"),
            _ => format!("install it for everybody, as /usr/local/bin/{program}; or change {from}"),
        }
    }

    /// The refusal.
    pub fn fault(&self) -> Fault {
        Fault::new(Code::ProgramMissing, self.words()).next(self.advice())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn misfit(program: &str, version: &str, from: &str, installed: &str) -> Option<Misfit> {
        let text = |text: &str| text.to_owned();
        let wanted = Wanted { program: text(program), version: text(version), from: text(from) };
        Misfit::between(&wanted, Version::find(installed).unwrap())
    }

    #[test]
    fn what_a_source_needs_is_told_from_what_somebody_pinned() {
        assert_eq!(misfit("node", ">=18", "engines in package.json", "v18.19.0"), None);
        let needed = misfit("node", "^22.1", "engines in package.json", "v18.19.0").unwrap();
        assert!(needed.is_needed());
        assert_eq!(needed.fault().code, Code::ProgramMissing);
        assert_eq!(needed.advice(), "npm install --global node@22");
        let pinned = misfit("python", "3.12", ".python-version", "Python 3.11.2").unwrap();
        assert!(!pinned.is_needed());
        assert_eq!(
            pinned.words(),
            "the source asks for python 3.12 (.python-version), and python 3.11.2 is installed"
        );
    }
}
