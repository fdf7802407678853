//! What kind of program a project runs: the one word that decides how it is started.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::fault::{Code, Fault};

/// The kinds of application HostKit knows how to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Runtime {
    /// Files that nginx serves; nothing runs.
    Static,
    /// A Node program.
    Node,
    /// A Python program, started from its virtual environment.
    Python,
    /// A Next.js application.
    Nextjs,
    /// A PHP application.
    Php,
    /// A Ruby application.
    Ruby,
    /// Any other program, started as the project says.
    Command,
}

impl Runtime {
    /// Every runtime, in the order in which help texts list them.
    pub const ALL: &'static [Self] =
        &[Self::Static, Self::Node, Self::Python, Self::Nextjs, Self::Php, Self::Ruby, Self::Command];

    /// The word for it in flags, `hostkit.toml` and the registry.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Node => "node",
            Self::Python => "python",
            Self::Nextjs => "nextjs",
            Self::Php => "php",
            Self::Ruby => "ruby",
            Self::Command => "command",
        }
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `pad`, so that tables can align the word.
        f.pad(self.as_str())
    }
}

impl FromStr for Runtime {
    type Err = Fault;

    fn from_str(word: &str) -> Result<Self, Fault> {
        Self::ALL.iter().copied().find(|runtime| runtime.as_str() == word).ok_or_else(|| {
            let known = Self::ALL.iter().map(|r| r.as_str()).collect::<Vec<_>>().join(", ");
            let word = word.escape_debug();
            Fault::new(Code::InvalidValue, format!("`{word}` is not a runtime; the runtimes are {known}"))
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_word_is_the_same_everywhere() {
        for runtime in Runtime::ALL {
            assert_eq!(runtime.to_string().parse::<Runtime>().unwrap(), *runtime);
            assert_eq!(serde_json::to_string(runtime).unwrap(), format!("\"{runtime}\""));
        }
        assert!("Node".parse::<Runtime>().is_err());
    }
}
