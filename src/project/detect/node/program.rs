//! Any other Node program: its `start` script, or the file that `package.json` names.

use super::manager::Manager;
use super::{FILE, Package, Project};
use crate::domain::command::StartCommand;
use crate::domain::env::EnvKey;
use crate::domain::fault::{Code, Fault};
use crate::domain::files::Files;
use crate::project::detect::draft::{Draft, Notes, literal};
use crate::project::detect::{Framework, Runtime, shown, web};

const USUAL: &[&str] = &["index.js", "server.js", "app.js", "index.mjs", "server.mjs", "main.js"];
const USUAL_BUN: &[&str] = &["index.ts", "server.ts", "src/index.ts"];

pub(in crate::project::detect) fn app(files: &dyn Files) -> anyhow::Result<Option<Draft>> {
    let Some(package) = Package::read(files)? else { return Ok(None) };
    let project = Project { files, package };
    // A package.json beside a page, without anything to run, belongs to a site's tools.
    let runs = project.package.script("start").is_some() || project.entry(false).is_some();
    if !runs && (web::find(files).is_some() || project.is_another_languages()) {
        return Ok(None);
    }
    project.program().map(Some)
}

/// What is usual when Node was asked for.
pub(in crate::project::detect) fn any(files: &dyn Files) -> anyhow::Result<Draft> {
    let package = Package::read(files)?.unwrap_or_default();
    Project { files, package }.program()
}

/// The words of the `start` script: without a shell where none is needed, else as the package manager
/// runs it.
pub(super) fn script(project: &Project<'_>) -> anyhow::Result<Option<Vec<String>>> {
    let Some(script) = project.package.script("start") else { return Ok(None) };
    let around = ["prestart", "poststart"].iter().any(|name| project.package.script(name).is_some());
    if !around && let Some(words) = plain(script) {
        return Ok(Some(words));
    }
    let manager = Manager::choose(project.files, &project.package, &mut Notes::default())?;
    Ok(Some(manager.run("start")))
}

/// A script that is one command, with variables before it perhaps.
fn plain(script: &str) -> Option<Vec<String>> {
    let mut rest = script.trim();
    let mut words = Vec::new();
    while let Some((word, after)) = rest.split_once(' ') {
        let Some((key, value)) = word.split_once('=') else { break };
        if !EnvKey::is_valid(key) || value.contains(['$', '"', '\'', '`', '\\']) {
            break;
        }
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    let command: Vec<String> = StartCommand::parse(rest).ok()?.into();
    if !words.is_empty() {
        words.insert(0, "env".to_owned());
    }
    words.extend(command);
    Some(words)
}

impl Project<'_> {
    fn program(&self) -> anyhow::Result<Draft> {
        let mut draft = self.draft(Framework::Node, Runtime::Node, &[])?.why(format!("{FILE} is there"));
        let bun = Manager::choose(self.files, &self.package, &mut Notes::default())?.is_bun();
        let entry = self.entry(bun);
        if let Some(main) = self.package.main()
            && self.main_file().is_none()
            && draft.recipe.build.is_empty()
        {
            draft.notes.warn(format!("{FILE} names main: {}, which is not in the source", shown(main)));
        }
        if let Some(words) = script(self)? {
            let fact = format!(
                "{FILE} has a script `start`: {}",
                shown(self.package.script("start").unwrap_or_default())
            );
            return Ok(draft.starts_with(Ok(words)).why(fact));
        }
        // What is built may not be there yet.
        let built = self.package.main().filter(|_| !draft.recipe.build.is_empty()).map(inside);
        let (file, fact) = match (entry, built) {
            (Some(entry), _) => entry,
            (None, Some(Some(main))) => (main.clone(), format!("{FILE} names main: {}", shown(&main))),
            _ => return Ok(draft.starts_with(Err(self.no_entry()))),
        };
        // A name that begins with a dash would be an option.
        let file = if file.starts_with('-') { format!("./{file}") } else { file };
        let program = if bun { "bun" } else { "node" };
        Ok(draft.starts(&[program, &literal(&file)]).why(fact))
    }

    /// The file to start, and the fact that names it.
    fn entry(&self, bun: bool) -> Option<(String, String)> {
        if let Some(main) = self.main_file() {
            let fact = format!("{FILE} names main: {}", shown(&main));
            return Some((main, fact));
        }
        let usual = USUAL.iter().chain(if bun { USUAL_BUN } else { &[] });
        let usual = usual.into_iter().find(|path| self.files.is_file(path))?;
        Some(((*usual).to_owned(), format!("{usual} is there")))
    }

    /// The file that `main` names, if it is there.
    fn main_file(&self) -> Option<String> {
        let main = inside(self.package.main()?)?;
        // Node itself tries these.
        [main.clone(), format!("{main}.js"), format!("{main}/index.js")]
            .into_iter()
            .find(|path| self.files.is_file(path))
    }

    /// Whether there is more of another language than of Node: a `package.json` for its tools.
    fn is_another_languages(&self) -> bool {
        self.package.script("build").is_none()
            && super::super::python::MARKERS.iter().any(|marker| self.files.is_file(marker))
    }

    fn no_entry(&self) -> Fault {
        let main = match self.package.main() {
            Some(main) => format!("the file `{}` that {FILE} names as main", shown(main)),
            None => format!("main in {FILE}"),
        };
        let message = format!(
            "nothing says which file Node should run; looked for a script `start` in {FILE}, {main}, {}",
            USUAL.join(", ")
        );
        Fault::new(Code::NothingDetected, message)
            .next("say it: --start-cmd 'node FILE'")
            .next(format!("or add \"scripts\": {{\"start\": \"node FILE\"}} to {FILE}"))
    }
}

/// A path inside the source, without a leading `./`.
fn inside(path: &str) -> Option<String> {
    let path = path.trim_start_matches("./").trim_end_matches('/');
    let leaves = path.starts_with('/') || path.split('/').any(|name| matches!(name, "" | "." | ".."));
    (!leaves).then(|| path.to_owned())
}
