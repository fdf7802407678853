//! The frameworks that are known by name: one word for `hostkit.toml`, one for people.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::config::closest;
use crate::domain::fault::{Code, Fault};

/// Declares the frameworks: variant, word, name for people.
macro_rules! frameworks {
    ($($Name:ident = $key:literal, $title:literal;)+) => {
        /// What an application is written with.
        #[allow(clippy::doc_markdown, reason = "names of frameworks as people write them")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub enum Framework {
            $(#[doc = $title] $Name),+
        }

        impl Framework {
            /// Every framework, in the order in which sources are looked at.
            pub const ALL: &'static [Self] = &[$(Self::$Name),+];

            /// The word for it in `hostkit.toml`.
            pub const fn key(self) -> &'static str {
                match self { $(Self::$Name => $key),+ }
            }
            /// Its name for people.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$Name => $title),+ }
            }
        }
    };
}

frameworks! {
    Laravel = "laravel", "Laravel";
    Symfony = "symfony", "Symfony";
    Php = "php", "PHP";
    Go = "go", "Go";
    Rust = "rust", "Rust";
    Rails = "rails", "Rails";
    Rack = "rack", "Rack";
    Django = "django", "Django";
    FastApi = "fastapi", "FastAPI";
    Flask = "flask", "Flask";
    Python = "python", "Python";
    Deno = "deno", "Deno";
    NextJs = "nextjs", "Next.js";
    Nuxt = "nuxt", "Nuxt";
    SvelteKit = "sveltekit", "SvelteKit";
    Astro = "astro", "Astro";
    ReactRouter = "react-router", "React Router";
    Remix = "remix", "Remix";
    Angular = "angular", "Angular";
    CreateReactApp = "create-react-app", "Create React App";
    VueCli = "vue-cli", "Vue CLI";
    Gatsby = "gatsby", "Gatsby";
    Docusaurus = "docusaurus", "Docusaurus";
    Eleventy = "eleventy", "Eleventy";
    Vite = "vite", "Vite";
    Node = "node", "Node.js";
    Static = "static", "a static site";
    Shell = "shell", "start.sh";
}

impl fmt::Display for Framework {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

impl FromStr for Framework {
    type Err = Fault;
    fn from_str(word: &str) -> Result<Self, Fault> {
        Self::ALL.iter().copied().find(|framework| framework.key() == word).ok_or_else(|| {
            let known = Self::ALL.iter().map(|f| f.key()).collect::<Vec<_>>().join(", ");
            let keys: Vec<_> = Self::ALL.iter().map(|f| f.key()).collect();
            let guess =
                closest(word, &keys).map(|best| format!("; did you mean `{best}`?")).unwrap_or_default();
            let word: String = word.chars().take(40).flat_map(char::escape_debug).collect();
            let message = format!("`{word}` is not a framework; the frameworks are {known}{guess}");
            Fault::new(Code::InvalidValue, message)
        })
    }
}

impl From<Framework> for String {
    fn from(framework: Framework) -> Self {
        framework.key().to_owned()
    }
}

impl TryFrom<String> for Framework {
    type Error = Fault;
    fn try_from(word: String) -> Result<Self, Fault> {
        word.parse()
    }
}
