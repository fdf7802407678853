//! The table, row by row: a little tree, and the recipe that comes of it.

use super::*;

type Case = (&'static str, &'static [(&'static str, &'static str)]);

const NODE: &[Case] = &[
    (
        "Next.js that is started with next start",
        &[
            (
                "package.json",
                r#"{"scripts":{"build":"next build","start":"next start"},"dependencies":{"next":"15"},"engines":{"node":">=18.18"}}"#,
            ),
            ("package-lock.json", r#"{"packages":{"node_modules/next":{}}}"#),
        ],
    ),
    (
        "Next.js with a server of its own",
        &[
            (
                "package.json",
                r#"{"packageManager":"pnpm@9.15.0+sha512.abc","scripts":{"build":"next build"},"dependencies":{"next":"15"}}"#,
            ),
            ("pnpm-lock.yaml", "importers:\n  .:\n    dependencies:\n      next:\n        specifier: 15\n"),
            ("next.config.mjs", "export default {\n  output: 'standalone',\n}"),
            ("public/robots.txt", ""),
        ],
    ),
    (
        "Next.js as static files",
        &[
            ("package.json", r#"{"scripts":{"build":"next build"},"dependencies":{"next":"15"}}"#),
            ("yarn.lock", "next@15:\n  version \"15.0.0\"\n"),
            ("next.config.js", "module.exports = { output: \"export\" }"),
        ],
    ),
    (
        "Next.js behind a program of the project's",
        &[
            (
                "package.json",
                r#"{"scripts":{"build":"next build","start":"NODE_ENV=production node server.js"},"dependencies":{"next":"15"}}"#,
            ),
            ("package-lock.json", r#"{"packages":{"node_modules/next":{}}}"#),
            ("server.js", ""),
        ],
    ),
    (
        "a single-page application of Vite",
        &[
            (
                "package.json",
                r#"{"scripts":{"build":"tsc -b && vite build","start":"vite preview"},"devDependencies":{"vite":"5"}}"#,
            ),
            ("bun.lock", r#"{"workspaces":{"":{"devDependencies":{"vite":"5"}}}}"#),
            ("vite.config.ts", "export default defineConfig({ build: { outDir: 'out/web' } })"),
            ("index.html", ""),
        ],
    ),
    (
        "Vite for a program that serves what it makes",
        &[
            (
                "package.json",
                r#"{"scripts":{"build":"vite build","start":"node server.js"},"dependencies":{"express":"4"},"devDependencies":{"vite":"5"}}"#,
            ),
            ("package-lock.json", r#"{"packages":{"node_modules/vite":{},"node_modules/express":{}}}"#),
            ("index.html", ""),
            ("server.js", ""),
        ],
    ),
    (
        "Create React App",
        &[
            (
                "package.json",
                r#"{"scripts":{"build":"react-scripts build","start":"react-scripts start"},"dependencies":{"react-scripts":"5"}}"#,
            ),
            ("public/index.html", ""),
        ],
    ),
    (
        "Angular",
        &[
            ("package.json", r#"{"scripts":{"build":"ng build"},"devDependencies":{"@angular/cli":"18"}}"#),
            (
                "angular.json",
                r#"{"projects":{"shop":{"architect":{"build":{"builder":"@angular-devkit/build-angular:application","options":{"outputPath":"dist/shop"}}}}}}"#,
            ),
        ],
    ),
    (
        "Astro that makes pages",
        &[
            ("package.json", r#"{"scripts":{"build":"astro build"},"dependencies":{"astro":"4"}}"#),
            ("astro.config.mjs", "export default defineConfig({})"),
        ],
    ),
    (
        "Astro that answers requests",
        &[
            (
                "package.json",
                r#"{"scripts":{"build":"astro build"},"dependencies":{"astro":"4","@astrojs/node":"8"}}"#,
            ),
            (
                "astro.config.mjs",
                "import node from '@astrojs/node';\nexport default defineConfig({ output: 'server', adapter: node({ mode: 'standalone' }) })",
            ),
        ],
    ),
    (
        "SvelteKit with adapter-node",
        &[
            (
                "package.json",
                r#"{"scripts":{"build":"vite build"},"devDependencies":{"@sveltejs/kit":"2","@sveltejs/adapter-node":"5","vite":"5"}}"#,
            ),
            ("svelte.config.js", "import adapter from '@sveltejs/adapter-node';"),
        ],
    ),
    (
        "SvelteKit with adapter-static",
        &[
            (
                "package.json",
                r#"{"scripts":{"build":"vite build"},"devDependencies":{"@sveltejs/kit":"2","@sveltejs/adapter-static":"3","vite":"5"}}"#,
            ),
            (
                "svelte.config.js",
                "import adapter from '@sveltejs/adapter-static';\nexport default { kit: { adapter: adapter({ fallback: '200.html' }) } }",
            ),
        ],
    ),
    (
        "SvelteKit with adapter-auto and adapter-node",
        &[
            (
                "package.json",
                r#"{"scripts":{"build":"vite build"},"devDependencies":{"@sveltejs/kit":"2","@sveltejs/adapter-auto":"3","@sveltejs/adapter-node":"5"}}"#,
            ),
            ("svelte.config.js", "import adapter from '@sveltejs/adapter-auto';"),
        ],
    ),
    (
        "Nuxt",
        &[
            ("package.json", r#"{"scripts":{"build":"nuxt build"},"dependencies":{"nuxt":"3"}}"#),
            ("nuxt.config.ts", ""),
        ],
    ),
    (
        "Nuxt that generates pages",
        &[("package.json", r#"{"scripts":{"build":"nuxt generate"},"dependencies":{"nuxt":"3"}}"#)],
    ),
    (
        "React Router",
        &[(
            "package.json",
            r#"{"scripts":{"build":"react-router build","start":"react-router-serve ./build/server/index.js"},"devDependencies":{"@react-router/dev":"7"}}"#,
        )],
    ),
    (
        "React Router without a server",
        &[
            (
                "package.json",
                r#"{"scripts":{"build":"react-router build"},"devDependencies":{"@react-router/dev":"7"}}"#,
            ),
            ("react-router.config.ts", "export default { ssr: false } satisfies Config;"),
        ],
    ),
    (
        "Remix",
        &[(
            "package.json",
            r#"{"scripts":{"build":"remix vite:build"},"dependencies":{"@remix-run/node":"2"},"devDependencies":{"vite":"5"}}"#,
        )],
    ),
    (
        "Express with npm and Prisma",
        &[
            (
                "package.json",
                r#"{"main":"index.js","dependencies":{"express":"4","@prisma/client":"5"},"devDependencies":{"prisma":"5"}}"#,
            ),
            (
                "package-lock.json",
                r#"{"packages":{"node_modules/express":{},"node_modules/@prisma/client":{},"node_modules/prisma":{}}}"#,
            ),
            ("prisma/schema.prisma", ""),
            ("prisma/migrations/0_init/migration.sql", ""),
            ("index.js", ""),
            (".nvmrc", "v20.11.0\n"),
        ],
    ),
    (
        "a program with Knex and pnpm",
        &[
            ("package.json", r#"{"scripts":{"start":"node app.js"},"dependencies":{"knex":"3"}}"#),
            ("pnpm-lock.yaml", "      knex:\n"),
            ("knexfile.js", ""),
        ],
    ),
    (
        "a program with Drizzle, built with Yarn 4 that is in the source",
        &[
            (
                "package.json",
                r#"{"packageManager":"yarn@4.5.0","main":"dist/main.js","scripts":{"build":"tsc"},"devDependencies":{"drizzle-kit":"0.30","typescript":"5"}}"#,
            ),
            ("yarn.lock", "\"drizzle-kit@npm:0.30\":\n\"typescript@npm:5\":\n"),
            (".yarnrc.yml", "yarnPath: .yarn/releases/yarn-4.5.0.cjs\n"),
            (".yarn/releases/yarn-4.5.0.cjs", ""),
            ("drizzle.config.ts", ""),
        ],
    ),
    (
        "a program for Bun",
        &[("package.json", r#"{"dependencies":{"hono":"4"}}"#), ("bun.lock", r#""hono""#), ("index.ts", "")],
    ),
    ("Deno", &[("deno.json", r#"{"tasks":{"start":"deno run -A main.ts"}}"#), ("main.ts", "")]),
];

const PYTHON: &[Case] = &[
    (
        "Flask with pip",
        &[
            ("requirements.txt", "Flask==3.0\ngunicorn==22.0\n-r more.txt\n"),
            ("more.txt", "redis\n"),
            ("app.py", "from flask import Flask\napp = Flask(__name__)\n"),
        ],
    ),
    (
        "Flask with a factory, Flask-Migrate and no server",
        &[
            ("requirements.txt", "flask\nFlask-Migrate\n"),
            ("blog/__init__.py", "def create_app():\n    pass\n"),
            ("migrations/alembic.ini", ""),
        ],
    ),
    (
        "FastAPI with uv and Alembic",
        &[
            (
                "pyproject.toml",
                "[project]\nname = 'api'\nrequires-python = '>=3.11'\ndependencies = ['fastapi', 'uvicorn', 'alembic']\n",
            ),
            (
                "uv.lock",
                "[[package]]\nname = \"fastapi\"\n[[package]]\nname = \"uvicorn\"\n[[package]]\nname = \"alembic\"\n",
            ),
            ("src/api/main.py", "api = FastAPI(title='x')\n"),
            ("alembic.ini", ""),
        ],
    ),
    (
        "Starlette",
        &[("requirements.txt", "starlette\nuvicorn\n"), ("main.py", "app = Starlette(routes=[])\n")],
    ),
    (
        "Django with poetry",
        &[
            ("manage.py", "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\n"),
            (
                "shop/settings.py",
                "WSGI_APPLICATION = 'shop.wsgi.application'\nSTATIC_ROOT = BASE_DIR / 'static'\n",
            ),
            (
                "pyproject.toml",
                "[tool.poetry.dependencies]\npython = '^3.11'\ndjango = '^5'\ngunicorn = '^22'\n",
            ),
            ("poetry.lock", "name = \"django\"\nname = \"gunicorn\"\n"),
            (".python-version", "3.11\n"),
            ("package.json", "{}"),
        ],
    ),
    (
        "Django over ASGI with daphne",
        &[
            (
                "manage.py",
                "os.environ.setdefault(\"DJANGO_SETTINGS_MODULE\", \"chat.settings.production\")\n",
            ),
            ("chat/settings/base.py", "ASGI_APPLICATION = 'chat.asgi.application'\n"),
            ("chat/settings/production.py", "from .base import *\n"),
            ("requirements.txt", "django\ndaphne\n"),
        ],
    ),
    (
        "python -m app with Pipenv",
        &[
            ("app/__main__.py", ""),
            ("Pipfile", "[packages]\nrequests = '*'\n"),
            ("Pipfile.lock", r#"{"default":{"requests":{}}}"#),
        ],
    ),
    (
        "a package that is not locked",
        &[("main.py", ""), ("pyproject.toml", "[project]\ndependencies = ['httpx>=0.27', 'rich']\n")],
    ),
    (
        "a project with pdm",
        &[
            ("server.py", ""),
            ("pyproject.toml", "[project]\ndependencies = ['aiohttp']\n"),
            ("pdm.lock", "name = \"aiohttp\"\n"),
        ],
    ),
];

const OTHERS: &[Case] = &[
    (
        "Go in the root",
        &[
            ("go.mod", "module example.com/shop\n\ngo 1.22\n"),
            ("go.sum", "x v1 h1:\n"),
            ("main.go", "package main\n"),
            ("index.html", ""),
        ],
    ),
    (
        "Go in cmd, with a driver in C",
        &[
            ("go.mod", "module example.com/shop\ngo 1.21\n"),
            ("go.sum", "github.com/mattn/go-sqlite3 v1\n"),
            ("cmd/shop/main.go", "package main\n"),
            ("cmd/seed/main.go", "package main\n"),
        ],
    ),
    ("Go without a module", &[("main.go", "package main\n")]),
    (
        "Rust",
        &[
            ("Cargo.toml", "[package]\nname = \"shop\"\nrust-version = \"1.63\"\n"),
            ("Cargo.lock", ""),
            ("src/main.rs", ""),
        ],
    ),
    (
        "Rust in a workspace",
        &[
            ("Cargo.toml", "[workspace]\nmembers = [\"crates/*\"]\n"),
            ("Cargo.lock", ""),
            ("crates/core/Cargo.toml", "[package]\nname = \"core\"\n"),
            ("crates/core/src/lib.rs", ""),
            ("crates/web/Cargo.toml", "[package]\nname = \"web\"\n"),
            ("crates/web/src/main.rs", ""),
        ],
    ),
    (
        "Laravel",
        &[
            ("artisan", ""),
            ("composer.json", r#"{"require":{"php":"^8.2","laravel/framework":"^11"}}"#),
            ("composer.lock", "{}"),
            ("bootstrap/app.php", "->withRouting(web: __DIR__.'/../routes/web.php', health: '/up')"),
            ("public/index.php", ""),
            ("package.json", r#"{"scripts":{"build":"vite build"},"devDependencies":{"vite":"5"}}"#),
            ("package-lock.json", r#"{"packages":{"node_modules/vite":{}}}"#),
        ],
    ),
    (
        "Symfony",
        &[
            ("bin/console", ""),
            (
                "composer.json",
                r#"{"require":{"symfony/framework-bundle":"7","doctrine/doctrine-migrations-bundle":"3"}}"#,
            ),
            ("composer.lock", "{}"),
            ("public/index.php", ""),
        ],
    ),
    ("PHP without anything", &[("index.php", "")]),
    ("PHP with a server of its own", &[("web/index.php", ""), ("Procfile", "web: frankenphp php-server")]),
    (
        "Rails that answers programs alone",
        &[
            ("Gemfile", "gem \"rails\"\n"),
            ("Gemfile.lock", "GEM\n  specs:\n    pg (1.5)\n    rails (6.1)\n    sprockets-rails (3.4)\n"),
            (
                "config/application.rb",
                "require \"active_record/railtie\"\nclass Application < Rails::Application",
            ),
        ],
    ),
    (
        "Rails of an older version, with all of it",
        &[
            ("Gemfile", "gem \"rails\"\n"),
            ("Gemfile.lock", "GEM\n  specs:\n    rails (6.1)\n    sprockets-rails (3.4)\n"),
            ("config/application.rb", "require \"rails/all\"\nclass Application < Rails::Application"),
            ("config/credentials.yml.enc", ""),
        ],
    ),
    (
        "Rails",
        &[
            ("Gemfile", "ruby \"3.1.2\"\ngem \"rails\"\n"),
            ("Gemfile.lock", "GEM\n  specs:\n    pg (1.5)\n    propshaft (1.0)\n"),
            ("config/application.rb", "class Application < Rails::Application"),
            ("config/routes.rb", "get \"up\" => \"rails/health#show\""),
            ("package.json", "{}"),
        ],
    ),
    (
        "Rack with puma",
        &[
            ("Gemfile", "gem 'sinatra'\n"),
            ("Gemfile.lock", "GEM\n  specs:\n    puma (6.4)\n"),
            ("config.ru", ""),
            (".ruby-version", "ruby-3.1.2\n"),
        ],
    ),
    ("Rack with rackup", &[("Gemfile", "gem 'rackup'\n"), ("config.ru", "")]),
    ("a script", &[("start.sh", "")]),
    (
        "a Procfile",
        &[("Procfile", "web: ./serve $PORT\nworker: ./work\nrelease: ./migrate\ncron: 0 3 * * * ./tidy\n")],
    ),
    (
        "hostkit.toml alone",
        &[(
            "hostkit.toml",
            "build = ['make', 'make assets']\nstart = './serve'\nrelease = './migrate'\nstrategy = 'restart'\n[health]\npath = '/up'\nstatus = 204\n[processes]\nwork = './work'\ntidy = { cron = '@daily', command = './tidy' }\n",
        )],
    ),
    (
        "hostkit.toml that builds pages",
        &[("hostkit.toml", "build = 'make'\noutput = './site/'\nspa = true\n")],
    ),
    (
        "hostkit.toml over what is found",
        &[
            ("hostkit.toml", "install = []\nbuild = 'npm run pages'\noutput = 'pages'\n"),
            ("package.json", r#"{"scripts":{"build":"vite build"},"devDependencies":{"vite":"5"}}"#),
        ],
    ),
];

fn described(app: &App) -> String {
    let mut text = String::new();
    let mut line = |key: &str, value: String| text.push_str(&format!("  {key:<9} {value}\n"));
    line("is", format!("{} / {}", app.recipe.framework, app.runtime));
    for command in &app.recipe.install {
        line("install", command.to_string());
    }
    if !app.recipe.installed.is_empty() {
        line(
            "makes",
            format!("{} out of {}", app.recipe.installed.join(", "), app.recipe.lockfiles.join(", ")),
        );
    }
    for command in &app.recipe.build {
        line("build", command.to_string());
    }
    for migration in &app.recipe.migrations {
        line("migrate", format!("{} ({})", migration.command, migration.tool));
    }
    if let Some(start) = &app.start {
        let home = if app.workdir == Workdir::Home { " (at home)" } else { "" };
        line("start", format!("{start}{home}"));
    }
    for process in &app.processes {
        line(
            "process",
            format!(
                "{}: {}{}",
                process.name,
                process.command,
                process.at.as_ref().map(|at| format!(" at {at}")).unwrap_or_default()
            ),
        );
    }
    if app.runtime == Runtime::Static || app.web_root.is_some() {
        line(
            "serves",
            format!("{}{}", app.web_root.as_deref().unwrap_or("."), if app.spa { " (one page)" } else { "" }),
        );
    }
    if app.health != HealthConfig::default() {
        line("health", format!("{:?}", app.health));
    }
    if app.strategy == Strategy::Restart {
        line("strategy", "restart".to_owned());
    }
    for wanted in &app.wants {
        line("wants", format!("{} {} ({})", wanted.program, wanted.version, wanted.from));
    }
    line("why", app.why.join("; "));
    for warning in &app.warnings {
        line("warns", warning.clone());
    }
    text
}

fn table(cases: &[Case]) -> String {
    let rows = cases.iter().map(|(name, files)| format!("{name}\n{}\n", described(&found(files))));
    rows.collect()
}

#[test]
fn sources_with_a_package_json_have_their_recipe() {
    insta::assert_snapshot!(table(NODE));
}

#[test]
fn sources_in_python_have_their_recipe() {
    insta::assert_snapshot!(table(PYTHON));
}

#[test]
fn sources_in_other_languages_have_their_recipe() {
    insta::assert_snapshot!(table(OTHERS));
}

#[test]
fn what_was_made_before_is_not_made_again() {
    let vite = [
        ("package.json", r#"{"scripts":{"build":"vite build"},"devDependencies":{"vite":"5"}}"#),
        ("dist/index.html", ""),
    ];
    let artifact = Asked { artifact: true, ..Asked::default() };
    let app = found_when(&vite, &artifact);
    assert_eq!((app.recipe.is_empty(), app.web_root.as_deref()), (true, Some("dist")));
    // Pages alone may be older than what they are made of.
    assert_eq!(found(&vite).recipe.build.len(), 1);
    let mut brought = vite.to_vec();
    brought.push(("node_modules/vite/index.js", ""));
    assert!(found(&brought).recipe.is_empty());
}

#[test]
fn a_lockfile_that_contradicts_its_manifest_is_refused_before_anything_is_built() {
    let package = ("package.json", r#"{"dependencies":{"express":"4","left-pad":"1"}}"#);
    for (lock, text) in [
        ("package-lock.json", r#"{"packages":{"node_modules/express":{}}}"#),
        ("package-lock.json", r#"{"lockfileVersion":1,"dependencies":{"express":{}}}"#),
        ("pnpm-lock.yaml", "    dependencies:\n      express:\n        specifier: 4\n"),
        ("yarn.lock", "express@4:\n  version 4\n"),
        ("bun.lock", r#"{"packages":{"express":["express@4"]}}"#),
    ] {
        let fault = fault(&[package, (lock, text), ("index.js", "")], &Asked::default());
        assert_eq!(fault.code, Code::InvalidSource);
        assert!(fault.message.contains(lock) && fault.message.contains("left-pad"), "{fault}");
        assert!(fault.next[0].contains(" install    # "), "{fault:?}");
    }
    let poetry = "[tool.poetry.dependencies]\npython = '3'\ndjango = '5'\nredis = '5'\n";
    let files = [("app.py", ""), ("pyproject.toml", poetry), ("poetry.lock", "name = \"django\"\n")];
    let uv = "[project]\ndependencies = ['django', 'redis>4']\n";
    let also = [("app.py", ""), ("pyproject.toml", uv), ("uv.lock", "name = \"django\"\n")];
    for files in [files, also] {
        let fault = fault(&files, &Asked::default());
        assert!(fault.message.ends_with("does not know what pyproject.toml depends on: redis"), "{fault}");
    }
}

#[test]
fn two_lockfiles_of_two_tools_are_refused_unless_one_is_named() {
    let files = [
        ("package.json", r#"{"dependencies":{}}"#),
        ("yarn.lock", ""),
        ("package-lock.json", "{}"),
        ("index.js", ""),
    ];
    let refused = fault(&files, &Asked::default());
    assert!(refused.message.contains("yarn.lock and package-lock.json"), "{refused}");
    let mut named = files;
    named[0].1 = r#"{"packageManager":"npm@10.2.0"}"#;
    let app = found(&named);
    assert!(app.warnings[0].contains("yarn.lock is not used"), "{:?}", app.warnings);
    let python = [("app.py", ""), ("uv.lock", ""), ("poetry.lock", ""), ("pyproject.toml", "")];
    assert!(fault(&python, &Asked::default()).message.contains("uv.lock and poetry.lock"));
    let unknown = [("package.json", r#"{"packageManager":"cnpm@1"}"#), ("index.js", "")];
    assert!(fault(&unknown, &Asked::default()).message.contains("`cnpm`"));
}

#[test]
fn a_framework_that_is_named_must_be_there() {
    let files = [
        ("hostkit.toml", "framework = 'flask'"),
        ("manage.py", "DJANGO_SETTINGS_MODULE 'a.b'"),
        ("requirements.txt", "django\nflask\n"),
        ("app.py", "app = Flask(__name__)"),
    ];
    assert_eq!(found(&files).recipe.framework, "Flask");
    let fault = fault(&[("hostkit.toml", "framework = 'rails'"), ("app.py", "")], &Asked::default());
    assert_eq!(fault.code, Code::InvalidConfig);
}

#[test]
fn a_source_one_directory_too_high_is_pointed_at() {
    let fault = fault(&[("README.md", ""), ("web/package.json", "{}")], &Asked::default());
    assert!(fault.next.last().unwrap().contains("`web`"), "{fault:?}");
}

#[test]
fn php_is_served_by_php_fpm_unless_something_else_is_said() {
    let plain = found(&[("public/index.php", "")]);
    assert_eq!((plain.fpm.is_some(), plain.workdir, plain.warnings.len()), (true, Workdir::Home, 0));
    let other = found(&[("public/index.php", ""), ("hostkit.toml", "start = 'frankenphp php-server'")]);
    assert_eq!((other.fpm, other.workdir), (None, Workdir::App));
    let open = found(&[("index.php", "")]);
    assert!(open.warnings[0].contains("put it into public"), "{:?}", open.warnings);
}

#[test]
fn what_laravel_writes_outlives_releases_and_its_own_word_on_that_comes_first() {
    let laravel = [("artisan", ""), ("composer.json", r#"{"require":{"laravel/framework":"^11"}}"#)];
    let shared = |toml: &'static str| {
        let app = found(&[&laravel[..], &[("hostkit.toml", toml)]].concat());
        app.shared.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert!(shared("").contains(&"storage/framework/views".to_owned()));
    assert_eq!(shared("shared = ['storage', 'uploads']"), ["storage", "uploads"]);
    assert_eq!(found(&laravel).env_generated, ["APP_KEY".parse().unwrap()]);
}

#[test]
fn a_framework_that_was_asked_for_comes_before_the_file() {
    let files = [
        ("hostkit.toml", "framework = 'flask'"),
        ("requirements.txt", "fastapi\nflask\n"),
        ("app.py", "app = Flask(__name__)"),
    ];
    let asked = |framework| Asked { framework: Some(framework), ..Asked::default() };
    assert_eq!(found_when(&files, &asked(Framework::Flask)).why[0], "the framework flask was asked for");
    let fault = fault(&files, &asked(Framework::Rails));
    assert!(
        fault.message.contains("rails was asked for, and the source does not look like Rails"),
        "{fault:?}"
    );
}
