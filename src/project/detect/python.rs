//! Python: a web framework by what the source depends on, else the module `app` or a usual file.

mod deps;
mod install;

use super::draft::{Draft, Start};
use super::{Framework, Runtime, Workdir, read_text, text};
use crate::domain::fault::{Code, Fault};
use crate::domain::files::Files;
use deps::Deps;

/// Files that only a Python project has at its root.
pub(super) const MARKERS: &[&str] = &[
    "__main__.py",
    "app.py",
    "app/__main__.py",
    "manage.py",
    "requirements.txt",
    "pyproject.toml",
    "Pipfile",
    "setup.py",
    "main.py",
    "uv.lock",
    "poetry.lock",
    "pdm.lock",
    "server.py",
    "start.py",
    "bot.py",
];

/// The interpreter of the virtual environment. Programs of packages are started as its modules: the
/// first line of their scripts holds the path at which they were installed.
const PYTHON: &str = "venv/bin/python";

/// Where the object that answers requests usually is.
const MODULES: &[&str] = &[
    "main.py",
    "app.py",
    "app/main.py",
    "app/app.py",
    "app/__init__.py",
    "src/main.py",
    "src/app.py",
    "api/main.py",
    "api/index.py",
    "server.py",
    "asgi.py",
    "wsgi.py",
    "application.py",
    "run.py",
    "index.py",
];

/// A draft with what is to be installed.
fn draft(files: &dyn Files, framework: Framework, deps: &Deps) -> anyhow::Result<Draft> {
    let mut draft = Draft::new(framework, Runtime::Python);
    draft.wants.extend(deps.wanted(files)?);
    install::plan(files, deps, draft)
}

/// Django: `manage.py`, and a package that depends on it.
pub(super) fn django(files: &dyn Files) -> anyhow::Result<Option<Draft>> {
    let Some(manage) = read_text(files, "manage.py")? else { return Ok(None) };
    let deps = Deps::read(files)?;
    if !deps.has("django") && !manage.contains("DJANGO_SETTINGS_MODULE") {
        return Ok(None);
    }
    let mut draft = draft(files, Framework::Django, &deps)?.why("manage.py is there, and it is Django's");
    let (module, settings) = settings(files, &manage)?;
    let package = module.split('.').next().unwrap_or_default().to_owned();
    let named = |key: &str| text::setting(&settings, key).and_then(|path| path.rsplit_once('.'));
    let is_there = |name: &str| files.is_file(&format!("{package}/{name}.py"));
    let wsgi = named("WSGI_APPLICATION").map(|(module, object)| format!("{module}:{object}"));
    let wsgi = wsgi.or_else(|| is_there("wsgi").then(|| format!("{package}.wsgi:application")));
    let asgi = named("ASGI_APPLICATION").map(|(module, object)| format!("{module}:{object}"));
    let asgi = asgi.or_else(|| is_there("asgi").then(|| format!("{package}.asgi:application")));
    let server = match (wsgi, asgi) {
        (_, Some(asgi)) if deps.has("daphne") => {
            vec!["daphne", "-b", "127.0.0.1", "-p", "${PORT}", &asgi].into_iter().map(str::to_owned).collect()
        }
        (None, Some(asgi)) => uvicorn(&asgi, None),
        (Some(_), Some(asgi)) if !deps.has("gunicorn") && deps.has("uvicorn") => uvicorn(&asgi, None),
        (Some(wsgi), _) => gunicorn(&wsgi),
        (None, None) => {
            draft.start = Start::Unknown(nothing(
                "Django's WSGI application; looked for WSGI_APPLICATION in the settings and for wsgi.py beside them",
            ));
            return Ok(Some(draft));
        }
    };
    draft = install::with_server(files, &deps, draft, &server[0])?;
    if settings.lines().any(|line| line.trim_start().starts_with("STATIC_ROOT")) {
        // Settings ask for these, and no secret is there while it is built.
        let words = [
            "env",
            "SECRET_KEY=only-for-the-build",
            "DJANGO_SECRET_KEY=only-for-the-build",
            "DATABASE_URL=sqlite://:memory:",
            install::PYTHON,
            "manage.py",
            "collectstatic",
            "--noinput",
        ];
        draft = draft.builds(&words)?.why("its settings name STATIC_ROOT");
    }
    draft = draft.migrates("Django", &[install::PYTHON, "manage.py", "migrate", "--noinput"])?;
    Ok(Some(started(draft, server)))
}

/// The name of the settings module that `manage.py` names, and what is in it.
fn settings(files: &dyn Files, manage: &str) -> anyhow::Result<(String, String)> {
    let after = manage.split("DJANGO_SETTINGS_MODULE").nth(1).unwrap_or_default();
    let named =
        after.split(['\'', '"']).find(|word| word.contains('.') && !word.contains(char::is_whitespace));
    let Some(module) = named else { return Ok(Default::default()) };
    let path = module.replace('.', "/");
    let mut all = String::new();
    // Settings that are split into files begin with those that are common.
    let package = path.rsplit_once('/').map_or("", |(dir, _)| dir);
    for path in [
        format!("{path}.py"),
        format!("{path}/__init__.py"),
        format!("{path}/base.py"),
        format!("{package}/base.py"),
    ] {
        all.push_str(&read_text(files, &path)?.unwrap_or_default());
        all.push('\n');
    }
    Ok((module.to_owned(), all))
}

/// `FastAPI`, Starlette, Litestar, Flask and their like, by the object that answers.
pub(super) fn web(files: &dyn Files) -> anyhow::Result<Option<Draft>> {
    const ASGI: &[(&str, &str)] = &[
        ("fastapi", "FastAPI"),
        ("starlette", "Starlette"),
        ("litestar", "Litestar"),
        ("quart", "Quart"),
        ("sanic", "Sanic"),
        ("python-fasthtml", "FastHTML"),
    ];
    let deps = Deps::read(files)?;
    for (package, class) in ASGI {
        if !deps.has(package) {
            continue;
        }
        let Some((module, object)) = object(files, class)? else { continue };
        let draft = draft(files, Framework::FastApi, &deps)?;
        let (module, dir) = located(&module);
        let server = uvicorn(&format!("{module}:{object}"), dir);
        let mut draft = install::with_server(files, &deps, draft, "uvicorn")?;
        (*class).clone_into(&mut draft.recipe.framework);
        let draft =
            draft.why(format!("it depends on {package}")).why(format!("{module} has an object {object}"));
        return migrating(files, &deps, started(draft, server), &format!("{module}:{object}")).map(Some);
    }
    if !deps.has("flask") {
        return Ok(None);
    }
    let found = match object(files, "Flask")? {
        Some((module, object)) => Some((module, object)),
        None => factory(files)?.map(|module| (module, "create_app()".to_owned())),
    };
    let Some((module, object)) = found else { return Ok(None) };
    let (module, dir) = located(&module);
    let application = format!("{module}:{object}");
    let mut server = gunicorn(&application);
    if let Some(dir) = dir {
        server.splice(1..1, ["--chdir".to_owned(), dir.to_owned()]);
    }
    let draft = draft(files, Framework::Flask, &deps)?;
    let draft = install::with_server(files, &deps, draft, "gunicorn")?;
    let draft = draft.why("it depends on flask").why(format!("{module} has {object}"));
    migrating(files, &deps, started(draft, server), &application).map(Some)
}

/// Flask-Migrate keeps its own way to Alembic.
fn migrating(files: &dyn Files, deps: &Deps, draft: Draft, application: &str) -> anyhow::Result<Draft> {
    if deps.has("flask-migrate") && files.is_file("migrations/alembic.ini") {
        let app = application.trim_end_matches("()");
        return Ok(draft
            .migrates("Flask-Migrate", &[install::PYTHON, "-m", "flask", "--app", app, "db", "upgrade"])?);
    }
    Ok(draft)
}

/// `python -m app`, or a file with a usual name.
pub(super) fn module(files: &dyn Files) -> anyhow::Result<Option<Draft>> {
    const USUAL: &[&str] = &["main.py", "server.py", "start.py", "bot.py"];
    // From the project's home the release is the directory `app`, so it can be the package itself.
    let found = [("__main__.py", Workdir::Home), ("app.py", Workdir::App), ("app/__main__.py", Workdir::App)];
    let module = found.into_iter().find(|(file, _)| files.is_file(file));
    let usual = USUAL.iter().find(|file| files.is_file(file));
    let deps = Deps::read(files)?;
    let (words, workdir, fact) = match (module, usual) {
        (Some((file, workdir)), _) => {
            (vec![PYTHON, "-m", "app"], workdir, format!("{file} makes `python -m app` run"))
        }
        (None, Some(file)) => (vec![PYTHON, *file], Workdir::App, format!("{file} is there")),
        (None, None) => return Ok(None),
    };
    let mut draft = draft(files, Framework::Python, &deps)?.why(fact);
    if files.is_file(super::node::FILE) {
        draft.notes.warn("package.json is there as well; if this is a Node program, say --node");
    }
    draft.start = Start::Words(words.into_iter().map(str::to_owned).collect(), workdir);
    Ok(Some(draft))
}

/// A Python project in which nothing says what to start.
pub(super) fn unknown(files: &dyn Files) -> anyhow::Result<Option<Draft>> {
    let Some(marker) = MARKERS.iter().find(|marker| files.is_file(marker)) else { return Ok(None) };
    any(files).map(|draft| Some(draft.why(format!("{marker} is there"))))
}

/// What is usual when Python was asked for.
pub(super) fn any(files: &dyn Files) -> anyhow::Result<Draft> {
    let mut draft = draft(files, Framework::Python, &Deps::read(files)?)?;
    draft.start = Start::Unknown(nothing(
        "what Python should run; looked for Django, FastAPI, Flask, __main__.py, app.py, app/__main__.py, main.py, server.py, start.py and bot.py",
    ));
    Ok(draft)
}

fn nothing(what: &str) -> Fault {
    Fault::new(Code::NothingDetected, format!("nothing says {what}"))
        .next("add app.py or app/__main__.py: it is run as `python -m app`")
        .next("or say what to start: --start-cmd 'python FILE'")
}

fn started(mut draft: Draft, server: Vec<String>) -> Draft {
    let words = [PYTHON, "-m"].into_iter().map(str::to_owned).chain(server);
    draft.start = Start::Words(words.collect(), Workdir::App);
    draft
}

fn gunicorn(application: &str) -> Vec<String> {
    ["gunicorn", "--bind", "127.0.0.1:${PORT}", application].map(str::to_owned).to_vec()
}

fn uvicorn(application: &str, dir: Option<&str>) -> Vec<String> {
    let mut words =
        ["uvicorn", application, "--host", "127.0.0.1", "--port", "${PORT}"].map(str::to_owned).to_vec();
    if let Some(dir) = dir {
        words.extend(["--app-dir".to_owned(), dir.to_owned()]);
    }
    words
}

/// A file as a module, and the directory it is imported from.
fn located(path: &str) -> (String, Option<&'static str>) {
    let (path, dir) = path.strip_prefix("src/").map_or((path, None), |rest| (rest, Some("src")));
    let module = path.trim_end_matches(".py").trim_end_matches("/__init__").replace('/', ".");
    (module, dir)
}

/// The files in which an application may be made: the usual ones, and those one directory down.
fn candidates(files: &dyn Files) -> Vec<String> {
    let mut all: Vec<String> = MODULES.iter().map(|path| (*path).to_owned()).collect();
    for dir in [".", "src"] {
        for name in files.list(dir).into_iter().filter(|name| !name.starts_with('.')) {
            let path = if dir == "." { name } else { format!("{dir}/{name}") };
            all.extend(
                ["main.py", "app.py", "__init__.py", "asgi.py", "wsgi.py"]
                    .map(|file| format!("{path}/{file}")),
            );
        }
    }
    all
}

/// The file that makes an object of this class, and its name.
fn object(files: &dyn Files, class: &str) -> anyhow::Result<Option<(String, String)>> {
    for path in candidates(files) {
        if let Some(text) = read_text(files, &path)?
            && let Some(name) = text::object(&text, class)
        {
            return Ok(Some((path, name.to_owned())));
        }
    }
    Ok(None)
}

/// The file with `def create_app()`.
fn factory(files: &dyn Files) -> anyhow::Result<Option<String>> {
    for path in candidates(files) {
        if read_text(files, &path)?
            .is_some_and(|text| text.lines().any(|line| line.starts_with("def create_app(")))
        {
            return Ok(Some(path));
        }
    }
    Ok(None)
}
