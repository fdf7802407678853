//! PHP: Laravel, Symfony, and anything with an `index.php`.
//!
//! They are recognised, built and migrated. What serves them has to be said: HostKit runs no php-fpm yet.

use serde_json::Value;

use super::draft::{Draft, Start, nothing_to_start};
use super::{Framework, Runtime, Wanted, read_text};
use crate::domain::fault::{Code, Fault};
use crate::domain::files::Files;

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
    Ok(Some(served(draft, "public")))
}

/// Symfony: `bin/console`, and its packages.
pub(super) fn symfony(files: &dyn Files) -> anyhow::Result<Option<Draft>> {
    let composer = composer(files)?;
    if !files.is_file("bin/console") || !requires(&composer, "symfony/framework-bundle") {
        return Ok(None);
    }
    let mut draft = composed(files, &composer, Framework::Symfony)?;
    draft = draft.why("bin/console is there, and composer.json requires symfony/framework-bundle");
    draft = draft.builds(&["env", "APP_ENV=prod", "APP_DEBUG=0", "php", "bin/console", "cache:warmup"])?;
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
    Ok(Some(served(draft, "public")))
}

/// Anything else in PHP.
pub(super) fn plain(files: &dyn Files) -> anyhow::Result<Option<Draft>> {
    let root = ["public", "web", "htdocs", ""].into_iter().find(|root| files.is_file(&index(root)));
    let composer = composer(files)?;
    let Some(root) = root else {
        // A composer.json in another project is for its tools.
        return Ok(None);
    };
    let draft = composed(files, &composer, Framework::Php)?.why(format!("{} is there", index(root)));
    Ok(Some(served(draft, root)))
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

/// What cannot be served by itself yet.
fn served(mut draft: Draft, root: &str) -> Draft {
    let dir = if root.is_empty() { "." } else { root };
    draft.start = Start::Unknown(
        Fault::new(
            Code::NothingDetected,
            format!("this is an application in PHP ({}), and HostKit runs no php-fpm yet", draft.framework.title()),
        )
        .next("install a server for PHP that speaks HTTP, such as frankenphp, in /usr/local/bin")
        .next(format!(
            "and say so in hostkit.toml: start = \"frankenphp php-server --listen 127.0.0.1:$PORT --root {dir}\""
        )),
    );
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
    }
    super::node::assets(files, draft)
}
