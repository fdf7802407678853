//! Programs that applications are made and run with: their names on Debian, and what brings them.

/// A program, other names it has, and what to type to have it.
const KNOWN: &[(&str, &[&str], &str)] = &[
    ("node", &["nodejs"], "apt-get install nodejs"),
    ("npm", &[], "apt-get install npm"),
    ("npx", &[], "apt-get install npm"),
    ("pnpm", &[], "npm install --global pnpm"),
    ("yarn", &["yarnpkg"], "npm install --global yarn"),
    ("bun", &[], "npm install --global bun"),
    ("deno", &[], "npm install --global deno"),
    ("python", &["python3"], "apt-get install python3 python3-venv"),
    ("python3", &[], "apt-get install python3 python3-venv"),
    (
        "uv",
        &[],
        "apt-get install pipx && PIPX_HOME=/usr/local/lib/pipx PIPX_BIN_DIR=/usr/local/bin pipx install uv",
    ),
    (
        "poetry",
        &[],
        "apt-get install pipx && PIPX_HOME=/usr/local/lib/pipx PIPX_BIN_DIR=/usr/local/bin pipx install poetry",
    ),
    (
        "pdm",
        &[],
        "apt-get install pipx && PIPX_HOME=/usr/local/lib/pipx PIPX_BIN_DIR=/usr/local/bin pipx install pdm",
    ),
    ("pipenv", &[], "apt-get install pipenv"),
    ("go", &[], "apt-get install golang-go"),
    ("cargo", &[], "apt-get install cargo"),
    ("php", &["php8.4", "php8.3", "php8.2", "php8.1"], "apt-get install php-cli"),
    ("php-fpm", &["php-fpm8.4", "php-fpm8.3", "php-fpm8.2", "php-fpm8.1"], "apt-get install php-fpm"),
    ("composer", &[], "apt-get install composer"),
    ("bundle", &["bundle3.3", "bundle3.1"], "apt-get install ruby-bundler ruby-dev build-essential"),
    ("ruby", &[], "apt-get install ruby"),
    ("git", &[], "apt-get install git"),
    ("make", &[], "apt-get install make"),
];

/// The names a program may have, its own first.
pub fn names(program: &str) -> Vec<String> {
    let others = KNOWN.iter().find(|(name, ..)| *name == program).map_or(&[][..], |(_, others, _)| others);
    std::iter::once(program).chain(others.iter().copied()).map(str::to_owned).collect()
}

/// What brings a program.
pub fn advice(program: &str) -> Option<&'static str> {
    KNOWN.iter().find(|(name, ..)| *name == program).map(|(.., advice)| *advice)
}
