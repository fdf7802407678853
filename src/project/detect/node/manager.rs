//! Package managers: which one a source is kept with, and what it is told.

use super::lock;
use super::package::{FILE, Package};
use crate::domain::fault::{Code, Fault};
use crate::domain::files::Files;
use crate::project::detect::draft::Notes;
use crate::project::detect::versions::Wanted;
use crate::project::detect::{read_text, shown, text};

/// A package manager of Node's world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Npm,
    Pnpm,
    /// Yarn 1.
    Yarn,
    /// Yarn 2 and later, called Berry.
    Berry,
    Bun,
}

/// Lockfiles and whose they are, in the order in which they count.
const LOCKFILES: &[(&str, Kind)] = &[
    ("pnpm-lock.yaml", Kind::Pnpm),
    ("bun.lock", Kind::Bun),
    ("bun.lockb", Kind::Bun),
    ("yarn.lock", Kind::Yarn),
    ("npm-shrinkwrap.json", Kind::Npm),
    ("package-lock.json", Kind::Npm),
];

/// What else decides what is fetched.
const ALSO: &[&str] = &[FILE, ".npmrc", ".yarnrc", ".yarnrc.yml", "pnpm-workspace.yaml", ".pnpmfile.cjs"];

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Npm => "npm",
            Self::Pnpm => "pnpm",
            Self::Yarn | Self::Berry => "yarn",
            Self::Bun => "bun",
        }
    }
}

/// The package manager of one source.
#[derive(Debug)]
pub(super) struct Manager {
    kind: Kind,
    /// How it is called: a program, or a script of the source and what runs it.
    call: Vec<String>,
    lockfile: Option<&'static str>,
    wanted: Option<Wanted>,
}

impl Manager {
    /// The one that `packageManager` names, or whose lockfile is there; else npm.
    pub(super) fn choose(files: &dyn Files, package: &Package, notes: &mut Notes) -> anyhow::Result<Self> {
        let mut wanted = None;
        let named = match package.text(&["packageManager"]) {
            Some(text) => {
                let (name, version) = text.split_once('@').unwrap_or((text, ""));
                // A checksum may follow the version.
                let version = version.split('+').next().unwrap_or_default();
                let kind = match name {
                    "npm" => Kind::Npm,
                    "pnpm" => Kind::Pnpm,
                    "yarn" if version.starts_with("0.") || version.starts_with("1.") => Kind::Yarn,
                    "yarn" => Kind::Berry,
                    "bun" => Kind::Bun,
                    _ => return Err(unknown(name).into()),
                };
                notes.why(format!("{FILE} names the package manager {}", shown(text)));
                wanted = Wanted::new(kind.name(), version, "packageManager in package.json");
                Some(kind)
            }
            None => None,
        };
        let there: Vec<_> = LOCKFILES.iter().copied().filter(|(path, _)| files.is_file(path)).collect();
        let kind = match (named, there.as_slice()) {
            (Some(kind), _) => kind,
            (None, [(path, kind), rest @ ..]) => {
                if let Some((other, _)) = rest.iter().find(|(_, other)| other != kind) {
                    return Err(two(path, other).into());
                }
                notes.why(format!("{path} is there"));
                if *kind == Kind::Yarn && files.is_file(".yarnrc.yml") { Kind::Berry } else { *kind }
            }
            (None, []) => {
                let engine = |kind: &Kind| package.engine(kind.name()).is_some();
                [Kind::Pnpm, Kind::Bun, Kind::Yarn].into_iter().find(engine).unwrap_or(Kind::Npm)
            }
        };
        let own = |other: Kind| other.name() == kind.name();
        let lockfile = there.iter().find(|(_, other)| own(*other)).map(|(path, _)| *path);
        for (path, _) in there.iter().filter(|(_, other)| !own(*other)) {
            notes.warn(format!("{path} is not used: {FILE} names {}", kind.name()));
        }
        Ok(Self { kind, call: call(files, kind)?, lockfile, wanted })
    }

    pub(super) fn is_bun(&self) -> bool {
        self.kind == Kind::Bun
    }

    pub(super) fn wanted(&self) -> Option<Wanted> {
        self.wanted.clone()
    }

    /// Refuses a lockfile that does not fit `package.json`, and warns when there is none.
    pub(super) fn check(
        &self,
        files: &dyn Files,
        package: &Package,
        notes: &mut Notes,
    ) -> anyhow::Result<()> {
        let Some(lockfile) = self.lockfile else {
            let name = self.kind.name();
            notes.warn(format!("there is no lockfile of {name}: every build may fetch other versions"));
            return Ok(());
        };
        lock::check(files, lockfile, package)
    }

    /// The files that decide what is fetched.
    pub(super) fn lockfiles(&self, files: &dyn Files) -> Vec<String> {
        let also = ALSO.iter().copied().filter(|path| files.is_file(path));
        // Many a package makes something out of these when it is installed.
        let schema = ["prisma/schema.prisma"].into_iter().filter(|path| files.is_file(path));
        self.lockfile.into_iter().chain(also).chain(schema).map(str::to_owned).collect()
    }

    /// What fetches the dependencies, those for building among them or not.
    pub(super) fn install(&self, dev: bool) -> Vec<String> {
        let words: &[&str] = match (self.kind, self.lockfile.is_some()) {
            (Kind::Npm, true) => &["ci", "--no-audit", "--no-fund"],
            (Kind::Npm, false) => &["install", "--no-audit", "--no-fund"],
            (Kind::Pnpm, true) => &["install", "--frozen-lockfile", "--prefer-offline"],
            (Kind::Pnpm, false) => &["install", "--no-frozen-lockfile"],
            (Kind::Yarn, true) => &["install", "--frozen-lockfile", "--non-interactive"],
            (Kind::Yarn, false) => &["install", "--non-interactive"],
            (Kind::Berry, true) => &["install", "--immutable"],
            (Kind::Berry, false) => &["install", "--no-immutable"],
            (Kind::Bun, true) => &["install", "--frozen-lockfile"],
            (Kind::Bun, false) => &["install"],
        };
        // Said always: an environment that claims to be for production would decide it otherwise.
        let extent: &[&str] = match (self.kind, dev) {
            (Kind::Npm, true) => &["--include=dev"],
            (Kind::Npm, false) => &["--omit=dev"],
            (Kind::Pnpm, true) => &["--prod=false"],
            (Kind::Pnpm, false) => &["--prod"],
            (Kind::Yarn, true) => &["--production=false"],
            (Kind::Yarn, false) => &["--production=true"],
            (Kind::Bun, false) => &["--production"],
            // Yarn 2 leaves them out only by a plugin.
            (Kind::Berry | Kind::Bun, _) => &[],
        };
        let mut all = Vec::new();
        if self.kind == Kind::Berry {
            // Programs are looked for in node_modules, also those that other tools start.
            all.extend(
                ["env", "YARN_NODE_LINKER=node-modules", "YARN_ENABLE_GLOBAL_CACHE=true"].map(str::to_owned),
            );
        }
        all.extend(self.call.iter().cloned());
        all.extend(words.iter().chain(extent).map(|word| (*word).to_owned()));
        all
    }

    /// What runs a script of `package.json`.
    pub(super) fn run(&self, script: &str) -> Vec<String> {
        self.call.iter().cloned().chain(["run".to_owned(), script.to_owned()]).collect()
    }
}

/// A Yarn that the source brings is started with Node.
fn call(files: &dyn Files, kind: Kind) -> anyhow::Result<Vec<String>> {
    if kind == Kind::Berry
        && let Some(settings) = read_text(files, ".yarnrc.yml")?
        && let Some(path) = text::yaml(&settings, "yarnPath")
        && files.is_file(path)
    {
        return Ok(vec!["node".to_owned(), path.to_owned()]);
    }
    Ok(vec![kind.name().to_owned()])
}

fn unknown(name: &str) -> Fault {
    let name = shown(name);
    Fault::new(Code::InvalidSource, format!("{FILE} names the package manager `{name}`, which is not known"))
        .next("the package managers are npm, pnpm, yarn and bun")
}

fn two(first: &str, second: &str) -> Fault {
    Fault::new(
        Code::InvalidSource,
        format!("the source has lockfiles of two package managers, {first} and {second}"),
    )
    .next(format!("remove the one that is not kept up to date: git rm {second}"))
    .next(format!("or name the package manager in {FILE}: \"packageManager\": \"pnpm@10.0.0\""))
}
