//! `db`: a project's database.

use std::io::Read;

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::{Value, json};

use super::{
    Verb,
    answer::{Answer, table},
    context::Context,
    db_look::{ExtensionsArgs, QueryArgs, SchemaArgs},
    group,
    policy::Policy,
    rotation::Rotation,
    trash::confirmed,
};
use crate::{
    domain::name::ProjectName,
    operation::{
        database::{self, login, of},
        session::{Mode, Outcome, Session},
    },
    project::ProjectSpec,
    system::postgres::session::masked,
};

group! {
    Create(CreateArgs) = "create";
    Delete(DeleteArgs) = "delete";
    Info(InfoArgs) = "info";
    Url(UrlArgs) = "url";
    Shell(ShellArgs) = "shell";
    Query(QueryArgs) = "query";
    Schema(SchemaArgs) = "schema";
    Extensions(ExtensionsArgs) = "extensions";
    Clone(CloneArgs) = "clone";
    Rotate(RotateArgs) = "rotate";
}

/// What the help of the whole group opens with.
pub(super) const OVERVIEW: &[&str] =
    &["hostkit db info api", "hostkit db query api 'SELECT 1'", "hostkit db rotate api"];

/// What a command that changes a database answers.
fn answered(
    cx: &mut Context,
    dry_run: bool,
    work: impl FnOnce(&mut Session<'_>) -> Result<(Outcome, ProjectSpec)>,
    text: impl FnOnce(&ProjectSpec) -> String,
) -> Result<Answer> {
    let mode = if dry_run { Mode::DryRun } else { Mode::Run };
    let (outcome, spec, planned) = cx.session(mode, |session| {
        let (outcome, spec) = work(session)?;
        Ok((outcome, spec, session.planned.take()))
    })?;
    Ok(match planned {
        Some(plan) => Answer::planned(&plan).outcome(outcome),
        None => Answer::new(text(&spec), facts(&spec)).outcome(outcome),
    })
}

/// What is known of a database without asking it.
fn facts(spec: &ProjectSpec) -> Value {
    match &spec.database {
        None => json!({ "database": null }),
        Some(database) => json!({
            "database": spec.name.database(), "login": database.login.role(&spec.name),
            "retiring": database.retiring.is_some(),
        }),
    }
}

/// Give a project a database
#[derive(Args, Clone, Debug)]
pub(crate) struct CreateArgs {
    /// The project
    name: ProjectName,
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Verb for CreateArgs {
    const NAME: &'static str = "db create";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] = &["hostkit db create blog", "hostkit db create blog --dry-run"];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let name = &self.name;
        let work = |session: &mut Session<'_>| database::create(session, name);
        let text = |_: &ProjectSpec| {
            format!("{name} has the database {}; `DATABASE_URL` leads to it", name.database())
        };
        answered(cx, self.dry_run, work, text)
    }
}

/// Delete a project's database; a checkpoint of it is kept for 14 days
#[derive(Args, Clone, Debug)]
pub(crate) struct DeleteArgs {
    /// The project
    name: ProjectName,
    /// The project's name once more; on a terminal it is asked for
    #[arg(long, value_name = "NAME")]
    confirm: Option<String>,
    /// Make no checkpoint first: all that is in it is lost
    #[arg(long)]
    no_backup: bool,
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Verb for DeleteArgs {
    const NAME: &'static str = "db delete";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] =
        &["hostkit db delete api", "hostkit db delete api --confirm api", "hostkit db delete api --dry-run"];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let name = &self.name;
        if !self.dry_run {
            cx.look(|session| of(&session.project(name)?.spec).map(drop))?;
            let warning = if self.no_backup {
                "All that is in its database goes. This cannot be undone."
            } else {
                "All that is in its database goes; a checkpoint of it is kept for 14 days."
            };
            confirmed(cx, name, self.confirm.as_deref(), "db delete", warning)?;
        }
        let work = |session: &mut Session<'_>| database::delete(session, name, !self.no_backup);
        let answer = answered(cx, self.dry_run, work, |_| format!("The database of {name} is gone"))?;
        if self.no_backup || self.dry_run {
            return Ok(answer);
        }
        let undo = format!("hostkit checkpoint restore {name}    # then: what was in it comes back");
        Ok(answer.next(format!("hostkit db create {name}")).next(undo))
    }
}

/// Show what a project's database is, how large it is, and who is connected
#[derive(Args, Clone, Debug)]
pub(crate) struct InfoArgs {
    /// The project
    name: ProjectName,
}

impl Verb for InfoArgs {
    const NAME: &'static str = "db info";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] = &["hostkit db info api", "hostkit db info api --json"];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let (spec, url, size, guests, version) = cx.look(|session| {
            let spec = session.project(&self.name)?.spec;
            let url = masked(&login(session, &spec)?.url)?;
            let (postgres, name) = (&session.host.postgres, self.name.database());
            Ok((spec, url, postgres.size(&name)?, postgres.guests(&name)?, postgres.version()?))
        })?;
        let role = of(&spec)?.login.role(&spec.name);
        let mut lines = vec![
            format!("database     {}", spec.name.database()),
            format!("login        {role}"),
            format!("url          {url}"),
            format!("size         {}", bytes(size)),
            format!("server       PostgreSQL {version}"),
            format!("connections  {}", guests.len()),
        ];
        if of(&spec)?.retiring.is_some() {
            lines.push("rotation     the password from before is good until the next restart".to_owned());
        }
        if !guests.is_empty() {
            let rows: Vec<Vec<String>> = guests
                .iter()
                .map(|g| vec![g.pid.to_string(), g.role.clone(), g.state.clone(), g.program.clone()])
                .collect();
            lines.push(String::new());
            lines.push(table(&["PID", "LOGIN", "STATE", "PROGRAM"], &rows));
        }
        let mut data = facts(&spec);
        data["url"] = json!(url);
        data["bytes"] = json!(size);
        data["version"] = json!(version);
        data["connections"] = json!(guests);
        Ok(Answer::new(lines.join("\n"), data))
    }
}

/// A number of bytes for people.
fn bytes(count: u64) -> String {
    let mut left = count;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if left < 10 * 1024 {
            return format!("{left} {unit}");
        }
        left /= 1024;
    }
    format!("{left} TiB")
}

/// Show the address of a project's database
#[derive(Args, Clone, Debug)]
pub(crate) struct UrlArgs {
    /// The project
    name: ProjectName,
    /// Show the password as well; that it was shown is recorded
    #[arg(long)]
    reveal: bool,
}

impl Verb for UrlArgs {
    const NAME: &'static str = "db url";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] = &["hostkit db url api", "hostkit db url api --reveal"];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let url = if self.reveal {
            cx.session(Mode::Run, |session| database::reveal(session, &self.name))?.reveal().to_owned()
        } else {
            cx.look(|session| masked(&login(session, &session.project(&self.name)?.spec)?.url))?
        };
        Ok(Answer::new(url.clone(), json!({ "url": url, "revealed": self.reveal })))
    }
}

/// Open `psql` in a project's database, as the project
#[derive(Args, Clone, Debug)]
pub(crate) struct ShellArgs {
    /// The project
    name: ProjectName,
}

impl Verb for ShellArgs {
    const NAME: &'static str = "db shell";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] = &["hostkit db shell api"];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let home = self.name.home();
        let history = home.join(".cache").join("psql_history");
        let settings = [
            ("HOME", home.to_string()),
            ("PSQL_HISTORY", history.to_string()),
            ("TERM", cx.terminal().to_owned()),
        ];
        cx.look(|session| {
            let who = login(session, &session.project(&self.name)?.spec)?;
            session.host.postgres.shell(&who, &settings)
        })?;
        Ok(Answer::default())
    }
}

/// Copy a project's database into the empty database of another project
#[derive(Args, Clone, Debug)]
pub(crate) struct CloneArgs {
    /// The project whose data are copied
    name: ProjectName,
    /// The project that gets them
    target: ProjectName,
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Verb for CloneArgs {
    const NAME: &'static str = "db clone";
    // It concerns two projects, and one may not act on the other.
    const POLICY: Policy = Policy::Root;
    const EXAMPLES: &'static [&'static str] =
        &["hostkit db clone api blog", "hostkit db clone api blog --dry-run"];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.target)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let (from, to) = (&self.name, &self.target);
        let mode = if self.dry_run { Mode::DryRun } else { Mode::Run };
        let size = cx.session(mode, |session| database::copy(session, from, to))?;
        let data = json!({ "from": from, "to": to, "bytes": size, "dry_run": self.dry_run });
        if self.dry_run {
            let text = format!("Would copy {} from {from} to {to}, and changed nothing", bytes(size));
            return Ok(Answer::new(text, data).outcome(Outcome::WouldChange));
        }
        let text = format!("The database of {to} holds what that of {from} holds: {}", bytes(size));
        Ok(Answer::new(text, data).outcome(Outcome::Changed))
    }
}

/// Give a project's database another password
#[derive(Args, Clone, Debug)]
pub(crate) struct RotateArgs {
    #[command(flatten)]
    rotation: Rotation,
}

impl Verb for RotateArgs {
    const NAME: &'static str = "db rotate";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] =
        &["hostkit db rotate api", "hostkit db rotate api --now", "hostkit db rotate api --dry-run"];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.rotation.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        self.rotation.carry_out(cx, database::rotate, |spec| {
            let pending = spec.database.as_ref().is_some_and(|d| d.retiring.is_some());
            let old = if pending { "is good until the next restart or deploy" } else { "is good no longer" };
            let text = format!("{} has a new password; the old one {old}", spec.name);
            (Answer::new(text, facts(spec)), pending)
        })
    }
}

/// A statement from the command line, or from standard input.
pub(super) fn statement(given: Option<String>) -> Result<String> {
    /// More than anybody types.
    const LIMIT: u64 = 1 << 20;
    match given {
        Some(text) if text != "-" => Ok(text),
        _ => {
            let mut text = String::new();
            let mut stdin = crate::system::source::Stdin::default().take(LIMIT);
            stdin.read_to_string(&mut text).context("reading the statement")?;
            Ok(text)
        }
    }
}
