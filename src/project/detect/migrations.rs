//! What changes the database before a release runs, found by the files of the tool that does it.

use super::draft::{Notes, command};
use super::node::Package;
use super::{Migration, read_text};
use crate::domain::files::Files;

/// The first tool whose files are there.
pub(super) fn find(files: &dyn Files, notes: &mut Notes) -> anyhow::Result<Vec<Migration>> {
    let one = |tool: &str, fact: &str, words: &[&str], notes: &mut Notes| -> anyhow::Result<Vec<Migration>> {
        notes.why(fact.to_owned());
        Ok(vec![Migration { tool: tool.to_owned(), command: command(words)? }])
    };
    // Whose package is broken is told elsewhere.
    if let Ok(Some(package)) = Package::read(files) {
        let first =
            |paths: &[&str]| paths.iter().find(|path| files.is_file(path)).map(|path| (*path).to_owned());
        if files.is_dir("prisma/migrations")
            && (package.depends_on("prisma") || package.depends_on("@prisma/client"))
        {
            return one(
                "Prisma",
                "prisma/migrations is there",
                &["node_modules/.bin/prisma", "migrate", "deploy"],
                notes,
            );
        }
        // It keeps something of its own, and would keep it in the home.
        if package.depends_on("drizzle-kit")
            && let Some(config) = first(&[
                "drizzle.config.ts",
                "drizzle.config.js",
                "drizzle.config.mjs",
                "drizzle.config.json",
            ])
        {
            return one(
                "Drizzle",
                &format!("{config} is there"),
                &["env", "XDG_DATA_HOME=/tmp", "node_modules/.bin/drizzle-kit", "migrate"],
                notes,
            );
        }
        if package.depends_on("knex")
            && let Some(config) = first(&["knexfile.js", "knexfile.ts", "knexfile.cjs", "knexfile.mjs"])
        {
            let words = [
                "env",
                "NODE_ENV=production",
                "node_modules/.bin/knex",
                "migrate:latest",
                "--knexfile",
                &config,
            ];
            return one("Knex", &format!("{config} is there"), &words, notes);
        }
        if package.depends_on("sequelize-cli") && files.is_file(".sequelizerc") {
            let words = ["env", "NODE_ENV=production", "node_modules/.bin/sequelize-cli", "db:migrate"];
            return one("Sequelize", ".sequelizerc is there", &words, notes);
        }
        for name in ["typeorm", "@mikro-orm/core", "kysely"] {
            if package.depends_on(name) {
                notes.warn(format!("it depends on {name}, whose migrations are not run by themselves: say release = \"…\" in hostkit.toml"));
            }
        }
    }
    if files.is_file("alembic.ini") {
        return one(
            "Alembic",
            "alembic.ini is there",
            &[".venv/bin/python", "-m", "alembic", "upgrade", "head"],
            notes,
        );
    }
    if files.is_file("diesel.toml") {
        return one("Diesel", "diesel.toml is there", &["diesel", "migration", "run"], notes);
    }
    if read_text(files, "Rakefile")?.is_some_and(|text| text.contains("sinatra/activerecord/rake")) {
        return one(
            "Rake",
            "Rakefile has the tasks of ActiveRecord",
            &["env", "RACK_ENV=production", "bundle", "exec", "rake", "db:migrate"],
            notes,
        );
    }
    Ok(Vec::new())
}
