//! Small, genuine applications of every kind that is known: each is built from its lockfile out of the
//! real registries, goes live, and answers; those with migrations have migrated.
//!
//! All of them take long. `HOSTKIT_APPS` chooses: names, or `all`; without it, one for each language.

use crate::{source::Source, vps::Vps};

/// An application: its directory in `apps`, what it answers, and whether it has a database.
struct App {
    name: &'static str,
    says: &'static str,
    database: bool,
    /// Whether it is among those that are always run.
    always: bool,
}

const fn app(name: &'static str, says: &'static str) -> App {
    App { name, says, database: false, always: false }
}

const fn always(name: &'static str, says: &'static str) -> App {
    App { name, says, database: false, always: true }
}

const fn data(name: &'static str, says: &'static str) -> App {
    App { name, says, database: true, always: false }
}

const APPS: &[App] = &[
    always("static", "A static page"),
    app("shell", "A script"),
    app("procfile", "A Procfile in procfile"),
    always("toml", "Made by hostkit.toml"),
    app("express-npm", "Express with npm in express-npm"),
    always("express-pnpm", "Express with pnpm in express-pnpm"),
    app("express-yarn", "Express with yarn in express-yarn"),
    app("hono-bun", "Hono with Bun in hono-bun"),
    always("vite", "Vite page"),
    app("next-plain", "Next.js plain in"),
    app("next-standalone", "Next.js standalone in"),
    app("next-export", "Next.js export"),
    app("astro-static", "Astro static"),
    app("astro-node", "Astro server in"),
    app("svelte-node", "SvelteKit server in svelte-node"),
    app("svelte-static", "SvelteKit pages"),
    app("nuxt", "Nuxt in"),
    app("react-router", "React Router in"),
    data("knex", "Knex migrated"),
    data("prisma", "Prisma migrated"),
    data("drizzle", "Drizzle migrated"),
    always("flask-pip", "Flask in flask-pip"),
    data("flask-migrate", "Flask-Migrate migrated"),
    app("fastapi-uv", "FastAPI in fastapi-uv"),
    data("django", "Django migrated"),
    data("django-poetry", "Django migrated"),
    data("alembic", "Alembic migrated"),
    app("module-pyproject", "python -m app in module-pyproject"),
    app("pipenv", "Bottle in pipenv"),
    always("go", "Go in go"),
    app("go-cmd", "Go from cmd in go-cmd"),
    always("rust", "Rust in rust"),
    app("rack", "Rack in rack"),
    data("rails", "Rails migrated"),
    app("deno", "Deno in deno"),
    app("php", "PHP in php, visit 1"),
    app("symfony", "Symfony in symfony"),
    data("laravel", "Laravel migrated, cached, visit 1"),
];

/// Whether an application is to be run this time.
fn is_chosen(app: &App) -> bool {
    match std::env::var("HOSTKIT_APPS") {
        Ok(names) => names == "all" || names.split([',', ' ']).any(|name| name == app.name),
        Err(_) => app.always,
    }
}

#[test]
fn applications_of_every_kind_are_built_and_answer() {
    let Some(vps) = Vps::with().tools().boot() else { return };
    let place = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vps/apps");
    let mut failures = Vec::new();
    for App { name, says, database, .. } in APPS.iter().filter(|app| is_chosen(app)) {
        let began = std::time::Instant::now();
        // Names of projects have at least three characters.
        let project = if name.len() < 3 { format!("{name}-app") } else { (*name).to_owned() };
        let mut words = vec!["project", "create", &project];
        words.extend(database.then_some("--with-db"));
        vps.hostkit(words).ok();
        let source = Source::directory(&place.join(name));
        let deployed = vps
            .hostkit(["--json", "deploy", &project, "--source", "-", "--override-ratelimit"])
            .stdin(source.tar_gz())
            .patiently()
            .run();
        let took = began.elapsed().as_secs();
        if deployed.code != 0 {
            println!("FAILED {name} after {took} s");
            failures.push(format!("{name}: {deployed}"));
            continue;
        }
        let answer = vps.visit(&project, "/");
        // A framework may take an application's name apart from its text.
        let text = answer.body.replace("<!-- -->", "").replace(&project, name);
        if answer.status != 200 || !text.contains(says) {
            println!("FAILED {name}");
            failures.push(format!("{name}: expected `{says}`, got {answer}\n{}", vps.diagnosis()));
            continue;
        }
        println!("live {name} after {took} s");
        vps.hostkit(["project", "delete", &project, "--confirm", &project, "--no-backup"]).ok();
    }
    assert!(failures.is_empty(), "{} of the applications failed:\n{}", failures.len(), failures.join("\n\n"));
}
