//! Node programs: `package.json` and the file it starts.

use serde_json::Value;

use super::{DefaultStart, Notes, read_small, shown};
use crate::domain::fault::{Code, Fault};
use crate::domain::files::Files;

const FILE: &str = "package.json";

/// What counts in a `package.json`.
#[derive(Debug, Default)]
pub(super) struct Package {
    main: Option<String>,
    start_script: Option<String>,
    dependencies: bool,
    /// Whether it depends on Next.js.
    pub(super) next: bool,
}

impl Package {
    pub(super) fn read(files: &dyn Files) -> anyhow::Result<Option<Self>> {
        let Some(bytes) = read_small(files, FILE)? else { return Ok(None) };
        // npm takes a byte-order mark, so some files have one.
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        let value: Value = serde_json::from_slice(bytes)
            .map_err(|error| Fault::new(Code::InvalidSource, format!("{FILE} is not valid JSON: {error}")))?;
        if !value.is_object() {
            return Err(Fault::new(Code::InvalidSource, format!("{FILE} does not hold a JSON object")).into());
        }
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let depends = |table: &str| !value[table]["next"].is_null();
        Ok(Some(Self {
            main: text(&value["main"]),
            start_script: text(&value["scripts"]["start"]),
            dependencies: value["dependencies"].as_object().is_some_and(|table| !table.is_empty()),
            next: depends("dependencies") || depends("devDependencies"),
        }))
    }

    /// The file that `main` names, if it is there.
    fn main_file(&self, files: &dyn Files) -> Option<String> {
        let main = self.main.as_deref()?;
        let main = main.trim_start_matches("./").trim_end_matches('/');
        if main.starts_with('/') || main.split('/').any(|name| matches!(name, "" | "." | "..")) {
            return None;
        }
        // Node itself tries these.
        [main.to_owned(), format!("{main}.js"), format!("{main}/index.js")]
            .into_iter()
            .find(|path| files.is_file(path))
    }
}

/// The file to start, and the fact that names it.
pub(super) fn entry(files: &dyn Files, package: &Package) -> Option<(String, String)> {
    if let Some(main) = package.main_file(files) {
        let fact = format!("{FILE} names main: {}", shown(&main));
        return Some((main, fact));
    }
    let usual = ["index.js", "server.js"].into_iter().find(|path| files.is_file(path))?;
    Some((usual.to_owned(), format!("{usual} is there")))
}

pub(super) fn default_start(files: &dyn Files, notes: &mut Notes) -> anyhow::Result<DefaultStart> {
    let package = Package::read(files)?.unwrap_or_default();
    let Some((file, fact)) = entry(files, &package) else {
        return Err(no_entry(&package).into());
    };
    notes.why(fact);
    if let Some(main) = &package.main
        && package.main_file(files).is_none()
    {
        notes.warn(format!("{FILE} names main: {}, which is not in the source", shown(main)));
    }
    if let Some(script) = &package.start_script
        && script.split_whitespace().ne(["node", &file])
    {
        notes.warn(format!(
            "the start script of {FILE} (`{}`) is not used; to run something else, say it with --start-cmd",
            shown(script)
        ));
    }
    // A name that begins with a dash would be an option.
    let file = if file.starts_with('-') { format!("./{file}") } else { file };
    Ok(DefaultStart::in_app(&["node", &file.replace('$', "$$")]))
}

fn no_entry(package: &Package) -> Fault {
    let main = match &package.main {
        Some(main) => format!("the file `{}` that {FILE} names as main", shown(main)),
        None => format!("main in {FILE}"),
    };
    let message =
        format!("nothing says which file Node should run; looked for {main}, index.js and server.js");
    let example = package.start_script.as_deref().map_or("node FILE".to_owned(), shown);
    Fault::new(Code::NothingDetected, message).next(format!("--start-cmd '{example}'"))
}

/// Warns when modules are needed and not there: nothing is installed yet.
pub(super) fn check_dependencies(files: &dyn Files, notes: &mut Notes) -> anyhow::Result<()> {
    let needed = Package::read(files)?.is_some_and(|package| package.dependencies);
    if needed && !files.is_dir("node_modules") {
        notes.warn(format!(
            "{FILE} has dependencies, but there is no node_modules; nothing is installed yet, so send it along"
        ));
    }
    Ok(())
}
