//! Ruby: Rails, and anything that speaks Rack.

use super::draft::{Draft, nothing_to_start};
use super::{Framework, Runtime, Wanted, read_text, versions};
use crate::domain::files::Files;

/// Rails: an application of that class.
pub(super) fn rails(files: &dyn Files) -> anyhow::Result<Option<Draft>> {
    if !files.is_file("Gemfile") {
        return Ok(None);
    }
    let application = read_text(files, "config/application.rb")?.unwrap_or_default();
    if !application.contains("Rails::Application") {
        return Ok(None);
    }
    let mut draft = bundled(files, Framework::Rails)?.why("config/application.rb is Rails'");
    let gems = gems(files)?;
    let rails = ["bundle", "exec", "rails"];
    if has_assets(files, &application, &gems)? {
        // No secret is there while it is built, and Rails before 7.1 does not start without one.
        let env =
            ["env", "RAILS_ENV=production", "SECRET_KEY_BASE_DUMMY=1", "SECRET_KEY_BASE=none-in-a-build"];
        draft = draft.builds(&[&env[..], &rails, &["assets:precompile"]].concat())?;
    }
    // Its server makes directories in `tmp` before it answers; and what the build has written there is in the
    // way of what outlives it.
    for dir in ["log", "storage", "tmp"] {
        draft.shared.push(dir.parse()?);
    }
    draft = draft.builds(&["rm", "-rf", "log", "tmp"])?;
    if ["pg", "sqlite3", "mysql2", "trilogy"].iter().any(|gem| gems.contains(gem)) {
        let words = [&["env", "RAILS_ENV=production"][..], &rails, &["db:prepare"]].concat();
        draft = draft.migrates("Rails", &words)?;
    }
    if !files.is_file("config/credentials.yml.enc") && !files.is_file("config/credentials/production.yml.enc")
    {
        draft.generated.push("SECRET_KEY_BASE".parse()?);
    }
    if read_text(files, "config/routes.rb")?.is_some_and(|routes| routes.contains("rails/health#show")) {
        draft.health_path = Some("/up".to_owned());
    }
    let words = [
        &["env", "RAILS_ENV=production", "RAILS_LOG_TO_STDOUT=1"][..],
        &rails,
        &["server", "-b", "127.0.0.1", "-p", "${PORT}", "-P", "/tmp/rails.pid"],
    ]
    .concat();
    Ok(Some(draft.starts(&words)))
}

/// Whether there is a task that makes assets. Older versions of Rails bring Sprockets to those too that leave
/// it out of what they load.
fn has_assets(files: &dyn Files, application: &str, gems: &Gems) -> anyhow::Result<bool> {
    let named = Gems(read_text(files, "Gemfile")?.unwrap_or_default());
    let sprockets = ["sprockets-rails", "sprockets"];
    let loaded = ["rails/all", "sprockets/railtie"].iter().any(|part| application.contains(part));
    Ok(gems.contains("propshaft")
        || sprockets.iter().any(|gem| named.contains(gem) || loaded && gems.contains(gem)))
}

/// Any other application with a `config.ru`.
pub(super) fn rack(files: &dyn Files) -> anyhow::Result<Option<Draft>> {
    if !files.is_file("Gemfile") {
        return Ok(None);
    }
    let draft = bundled(files, Framework::Rack)?;
    if !files.is_file("config.ru") {
        let missing = nothing_to_start(
            "the source is Ruby, and nothing says what answers requests; looked for config/application.rb and config.ru",
        );
        return Ok(Some(draft.why("Gemfile is there").starts_with(Err(missing))));
    }
    let gems = gems(files)?;
    let draft = draft.why("Gemfile and config.ru are there");
    let words: &[&str] = if gems.contains("puma") {
        &["env", "RACK_ENV=production", "bundle", "exec", "puma", "-b", "tcp://127.0.0.1:${PORT}"]
    } else if gems.contains("falcon") {
        &[
            "env",
            "RACK_ENV=production",
            "bundle",
            "exec",
            "falcon",
            "serve",
            "--bind",
            "http://127.0.0.1:${PORT}",
        ]
    } else {
        &[
            "env",
            "RACK_ENV=production",
            "bundle",
            "exec",
            "rackup",
            "--host",
            "127.0.0.1",
            "--port",
            "${PORT}",
        ]
    };
    Ok(Some(draft.starts(words)))
}

/// What is usual when Ruby was asked for.
pub(super) fn any(files: &dyn Files) -> anyhow::Result<Draft> {
    let missing = nothing_to_start(
        "nothing says what Ruby should run; looked for Gemfile, config/application.rb and config.ru",
    );
    Ok(bundled(files, Framework::Rack)?.starts_with(Err(missing)))
}

/// A draft with the gems that are to be fetched, into the release.
fn bundled(files: &dyn Files, framework: Framework) -> anyhow::Result<Draft> {
    let mut draft = Draft::new(framework, Runtime::Ruby);
    let gemfile = read_text(files, "Gemfile")?.unwrap_or_default();
    let named = gemfile.lines().find_map(|line| line.trim().strip_prefix("ruby ")?.split(['"', '\'']).nth(1));
    draft.wants.extend(match versions::first(files, "ruby", &[".ruby-version"])? {
        Some(wanted) => Some(wanted),
        None => Wanted::new("ruby", named.unwrap_or_default(), "Gemfile"),
    });
    if files.is_dir("vendor/bundle") {
        return Ok(draft.why("vendor/bundle is in the source"));
    }
    if !files.is_file("Gemfile") {
        return Ok(draft);
    }
    let locked = files.is_file("Gemfile.lock");
    if !locked {
        draft.notes.warn("there is no Gemfile.lock: every build may fetch other versions");
    }
    let known = ["Gemfile.lock", "Gemfile", ".ruby-version"].iter().filter(|path| files.is_file(path));
    draft.recipe.lockfiles = known.map(|path| (*path).to_owned()).collect();
    draft.recipe.installed = vec!["vendor/bundle".to_owned(), ".bundle".to_owned()];
    // Written into `.bundle`, where the application finds it as well.
    let mode: &[&str] = if locked { &["deployment", "true"] } else { &["path", "vendor/bundle"] };
    let config = ["bundle", "config", "set", "--local"];
    Ok(draft
        .installs(&[&config[..], mode].concat())?
        .installs(&[&config[..], &["without", "development:test"]].concat())?
        .installs(&["bundle", "install"])?)
}

/// The names of the gems, of the lockfile or else of the `Gemfile`.
#[derive(Debug)]
struct Gems(String);

impl Gems {
    fn contains(&self, gem: &str) -> bool {
        let named = |line: &str| {
            let line = line.trim();
            let line = line.strip_prefix("gem ").map_or(line, |rest| rest.trim_start_matches(['"', '\'']));
            line.strip_prefix(gem).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '"', '\'']))
        };
        self.0.lines().any(named)
    }
}

fn gems(files: &dyn Files) -> anyhow::Result<Gems> {
    let text = match read_text(files, "Gemfile.lock")? {
        Some(text) => text,
        None => read_text(files, "Gemfile")?.unwrap_or_default(),
    };
    Ok(Gems(text))
}
