//! PHP: Laravel, Symfony, and anything with an `index.php`.
//!
//! php-fpm serves them, unless something else that speaks HTTP is said to.

use serde_json::Value;

use super::draft::{Draft, Start, nothing_to_start};
use super::{Framework, Runtime, Wanted, read_text};
use crate::domain::files::Files;
use crate::project::fpm::Fpm;

/// Where Laravel writes while it runs. Each by itself: it wants them to be there.
const LARAVEL_WRITES: [&str; 5] = [
    "storage/app",
    "storage/framework/cache/data",
    "storage/framework/sessions",
    "storage/framework/views",
    "storage/logs",
];

/// Laravel: `artisan`, and the framework among what it requires.
pub(super) fn laravel(files: &dyn Files) -> anyhow::Result<Option<Draft>> {
    let composer = composer(files)?;
    if !files.is_file("artisan") || !requires(&composer, "laravel/framework") {
        return Ok(None);
    }
    let mut draft = composed(files, &composer, Framework::Laravel)?;
    draft = draft.why("artisan is there, and composer.json requires laravel/framework");
    let text = read_text(files, "bootstrap/app.php")?.unwrap_or_default();
    if super::text::setting(&text, "health").is_some() || text.contains("health: '/up'") {
        draft.health_path = Some("/up".to_owned());
    }
    draft = draft.migrates("Laravel", &["php", "artisan", "migrate", "--force"])?;
    draft.generated.push("APP_KEY".parse()?);
    for dir in LARAVEL_WRITES {
        draft.shared.push(dir.parse()?);
    }
    // What the build itself has written there is in the way of what outlives it.
    draft = draft.builds(&[&["rm", "-rf"], &LARAVEL_WRITES[1..]].concat())?;
    Ok(Some(served(draft, "public", Fpm::laravel()?)))
}

/// Symfony: `bin/console`, and its packages.
pub(super) fn symfony(files: &dyn Files) -> anyhow::Result<Option<Draft>> {
    let composer = composer(files)?;
    if !files.is_file("bin/console") || !requires(&composer, "symfony/framework-bundle") {
        return Ok(None);
    }
    let mut draft = composed(files, &composer, Framework::Symfony)?;
    draft = draft.why("bin/console is there, and composer.json requires symfony/framework-bundle");
    let console = ["env", "APP_ENV=prod", "APP_DEBUG=0", "php", "bin/console"];
    let mut steps: Vec<&[&str]> = vec![&["cache:warmup"], &["assets:install", "public"]];
    if requires(&composer, "symfony/asset-mapper") {
        steps.extend([&["importmap:install"][..], &["asset-map:compile"]]);
    }
    for step in steps {
        draft = draft.builds(&[&console[..], step].concat())?;
    }
    if requires(&composer, "doctrine/doctrine-migrations-bundle") {
        let words = [
            "env",
            "APP_ENV=prod",
            "php",
            "bin/console",
            "doctrine:migrations:migrate",
            "--no-interaction",
            "--allow-no-migration",
        ];
        draft = draft.migrates("Doctrine", &words)?;
    }
    draft.generated.push("APP_SECRET".parse()?);
    for dir in ["var/log", "var/share"] {
        draft.shared.push(dir.parse()?);
    }
    draft = draft.builds(&["rm", "-rf", "var/log", "var/share"])?;
    Ok(Some(served(draft, "public", Fpm::default())))
}

/// Anything else in PHP.
pub(super) fn plain(files: &dyn Files) -> anyhow::Result<Option<Draft>> {
    let root = ["public", "web", "htdocs", ""].into_iter().find(|root| files.is_file(&index(root)));
    let composer = composer(files)?;
    let Some(root) = root else {
        // A composer.json in another project is for its tools.
        return Ok(None);
    };
    let mut draft = composed(files, &composer, Framework::Php)?.why(format!("{} is there", index(root)));
    if root.is_empty() {
        draft
            .notes
            .warn("index.php lies beside everything else, and so all of it is served: put it into public");
    }
    Ok(Some(served(draft, root, Fpm::default())))
}

/// What is usual when PHP was asked for.
pub(super) fn any(files: &dyn Files) -> anyhow::Result<Draft> {
    let missing = nothing_to_start(
        "nothing says what PHP should run; looked for public/index.php, web/index.php and index.php",
    );
    Ok(composed(files, &composer(files)?, Framework::Php)?.starts_with(Err(missing)))
}

fn index(root: &str) -> String {
    if root.is_empty() { "index.php".to_owned() } else { format!("{root}/index.php") }
}

/// Served by php-fpm, from this directory.
fn served(mut draft: Draft, root: &str, fpm: Fpm) -> Draft {
    draft.start = Start::Fpm(fpm);
    draft.web_root = (!root.is_empty()).then(|| root.to_owned());
    draft
}

fn composer(files: &dyn Files) -> anyhow::Result<Value> {
    let text = read_text(files, "composer.json")?.unwrap_or_default();
    Ok(serde_json::from_str(&text).unwrap_or_default())
}

fn requires(composer: &Value, package: &str) -> bool {
    composer["require"][package].is_string()
}

/// A draft with what Composer fetches, and with what Node makes of styles and scripts.
fn composed(files: &dyn Files, composer: &Value, framework: Framework) -> anyhow::Result<Draft> {
    let mut draft = Draft::new(framework, Runtime::Php);
    draft.wants.extend(Wanted::new(
        "php",
        composer["require"]["php"].as_str().unwrap_or_default(),
        "composer.json",
    ));
    if files.is_dir("vendor") {
        draft.notes.why("vendor is in the source");
    } else if composer.is_object() {
        let known = ["composer.lock", "composer.json", "artisan"].iter().filter(|path| files.is_file(path));
        draft.recipe.lockfiles = known.map(|path| (*path).to_owned()).collect();
        if !files.is_file("composer.lock") {
            draft.notes.warn("there is no composer.lock: every build may fetch other versions");
        }
        draft.recipe.installed = vec!["vendor".to_owned()];
        let words = [
            "composer",
            "install",
            "--no-dev",
            "--prefer-dist",
            "--optimize-autoloader",
            "--no-interaction",
            "--no-progress",
        ];
        draft = draft.installs(&words)?;
        // What was installed for another release knows that one's classes. It also runs the scripts that
        // write outside `vendor`, such as Laravel's list of packages.
        let words = ["composer", "dump-autoload", "--no-dev", "--optimize", "--no-interaction"];
        draft = draft.builds(&words)?;
    }
    super::node::assets(files, draft)
}
