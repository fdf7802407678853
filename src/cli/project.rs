//! `project`: create, list, info, delete, restore, purge.

use std::io::{BufRead, Write};

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    Verb,
    answer::{Answer, table},
    context::Context,
    policy::Policy,
    provision::{ProvisionArgs, data},
};
use crate::{
    domain::{
        fault::{Code, Fault},
        name::ProjectName,
    },
    operation::{
        lifecycle::{delete, purge, restore, trashed},
        session::Mode,
    },
};

/// The commands below `project`.
#[derive(Debug, Subcommand)]
pub(crate) enum ProjectCommand {
    Create(CreateArgs),
    List(ListArgs),
    Info(InfoArgs),
    Delete(DeleteArgs),
    Restore(RestoreArgs),
    Purge(PurgeArgs),
}

impl ProjectCommand {
    pub(super) fn run(self, cx: &mut Context) -> Result<Answer> {
        match self {
            Self::Create(args) => cx.call(args),
            Self::List(args) => cx.call(args),
            Self::Info(args) => cx.call(args),
            Self::Delete(args) => cx.call(args),
            Self::Restore(args) => cx.call(args),
            Self::Purge(args) => cx.call(args),
        }
    }
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Create(_) => CreateArgs::NAME,
            Self::List(_) => ListArgs::NAME,
            Self::Info(_) => InfoArgs::NAME,
            Self::Delete(_) => DeleteArgs::NAME,
            Self::Restore(_) => RestoreArgs::NAME,
            Self::Purge(_) => PurgeArgs::NAME,
        }
    }
}

/// What the help of the whole group opens with.
pub(super) const OVERVIEW: &[&str] =
    &["hostkit project create blog", "hostkit project list", "hostkit project delete blog --confirm blog"];

/// These commands with who may call them and their examples.
pub(super) fn catalogue() -> Vec<(&'static str, Policy, &'static [&'static str])> {
    fn entry<V: Verb>() -> (&'static str, Policy, &'static [&'static str]) {
        (V::NAME, V::POLICY, V::EXAMPLES)
    }
    vec![
        entry::<CreateArgs>(),
        entry::<ListArgs>(),
        entry::<InfoArgs>(),
        entry::<DeleteArgs>(),
        entry::<RestoreArgs>(),
        entry::<PurgeArgs>(),
    ]
}

/// Make a project without services
#[derive(Args, Clone, Debug)]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    provision: ProvisionArgs,
}

impl Verb for CreateArgs {
    const NAME: &'static str = "project create";
    const POLICY: Policy = ProvisionArgs::POLICY;
    const EXAMPLES: &'static [&'static str] =
        &["hostkit project create blog", "hostkit project create api --node"];

    fn project(&self) -> Option<&ProjectName> {
        self.provision.project()
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        self.provision.run(cx)
    }
}

/// List the projects
#[derive(Args, Clone, Debug)]
pub(crate) struct ListArgs {
    /// List the deleted ones that can still be brought back
    #[arg(long)]
    deleted: bool,
}

impl Verb for ListArgs {
    const NAME: &'static str = "project list";
    const POLICY: Policy = Policy::Root;
    const EXAMPLES: &'static [&'static str] =
        &["hostkit project list", "hostkit project list --json", "hostkit project list --deleted"];

    fn run(self, cx: &mut Context) -> Result<Answer> {
        if self.deleted {
            let rows = cx.look(|session| session.store.trash())?;
            let data: Vec<_> = rows
                .iter()
                .map(|r| json!({ "name": r.spec.name, "uid": r.spec.uid, "deleted_at": r.deleted_at, "expires_at": r.expires_at }))
                .collect();
            let lines: Vec<_> = rows
                .iter()
                .map(|r| vec![r.spec.name.to_string(), r.deleted_at.clone(), r.expires_at.clone()])
                .collect();
            let text = if lines.is_empty() {
                "no deleted projects".to_owned()
            } else {
                table(&["PROJECT", "DELETED", "LOST"], &lines)
            };
            return Ok(Answer::new(text, json!({ "deleted": data })));
        }
        let rows = cx.look(|session| session.store.projects())?;
        let data_rows: Vec<_> = rows.iter().map(|r| data(&r.spec)).collect();
        let lines: Vec<Vec<String>> = rows
            .iter()
            .map(|r| {
                let s = &r.spec;
                let runtime = s.runtime().map_or_else(|| "–".to_owned(), |r| r.to_string());
                let release = s.live_release().map_or_else(|| "–".to_owned(), ToString::to_string);
                vec![s.name.to_string(), runtime, release, s.port.to_string(), format!("http://{}", s.domain)]
            })
            .collect();
        let data = json!({ "projects": data_rows });
        if lines.is_empty() {
            return Ok(Answer::new("no projects yet", data).next("hostkit provision NAME"));
        }
        Ok(Answer::new(table(&["PROJECT", "RUNTIME", "RELEASE", "PORT", "URL"], &lines), data))
    }
}

/// Show everything about a project
#[derive(Args, Clone, Debug)]
pub(crate) struct InfoArgs {
    /// The project
    name: ProjectName,
}

impl Verb for InfoArgs {
    const NAME: &'static str = "project info";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] =
        &["hostkit project info blog", "hostkit project info blog --json"];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let (row, owned) =
            cx.look(|session| Ok((session.project(&self.name)?, session.store.owned(self.name.as_str())?)))?;
        let s = &row.spec;
        let none = || "–".to_owned();
        let mut pairs = vec![
            ("project", s.name.to_string()),
            ("url", format!("http://{}", s.domain)),
            ("runtime", s.runtime().map_or_else(none, |r| r.to_string())),
            ("release", s.live_release().map_or_else(none, ToString::to_string)),
            ("account", format!("{} (uid {})", s.name, s.uid)),
            ("port", s.port.to_string()),
            ("home", s.name.home().to_string()),
            ("logs", s.name.logs().to_string()),
            ("site", s.name.site().to_string()),
        ];
        if let Some((_, launch)) = &s.live
            && let Some(exec) = &launch.exec
        {
            pairs.push(("unit", s.name.unit().file().to_string()));
            pairs.push(("start", exec.to_string()));
            let path = launch.health_path.clone().unwrap_or_else(|| "/ (anything below 500)".to_owned());
            pairs.push(("health", format!("GET {path} within {} s", launch.health_timeout)));
        }
        pairs.push(("created", format!("{} by {}", row.created_at, row.created_by)));
        let text: Vec<String> = pairs.iter().map(|(k, v)| format!("{k:<8} {v}")).collect();
        let mut all = data(s);
        all["owned"] = json!(owned.iter().map(crate::resource::Any::id).collect::<Vec<_>>());
        all["created_at"] = json!(row.created_at);
        all["created_by"] = json!(row.created_by);
        Ok(Answer::new(text.join("\n"), all))
    }
}

/// Delete a project; its home and logs can be brought back for 7 days
#[derive(Args, Clone, Debug)]
pub(crate) struct DeleteArgs {
    /// The project
    name: ProjectName,
    /// The project's name once more; on a terminal it is asked for
    #[arg(long, value_name = "NAME")]
    confirm: Option<String>,
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Verb for DeleteArgs {
    const NAME: &'static str = "project delete";
    const POLICY: Policy = Policy::Root;
    const EXAMPLES: &'static [&'static str] = &[
        "hostkit project delete blog",
        "hostkit project delete blog --confirm blog",
        "hostkit project delete blog --dry-run",
    ];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let name = &self.name;
        if self.dry_run {
            let plan = cx.session(Mode::DryRun, |session| {
                delete(session, name)?;
                Ok(session.planned.take())
            })?;
            return Ok(Answer::planned(&plan.unwrap_or_default()));
        }
        cx.look(|session| session.project(name).map(drop))?;
        confirm(
            cx,
            name,
            self.confirm.as_deref(),
            "delete",
            "Its home and logs go to the trash for 7 days.",
        )?;
        let (outcome, row) = cx.session(Mode::Run, |session| delete(session, name))?;
        let data = json!({ "deleted_at": row.deleted_at, "expires_at": row.expires_at });
        let text = format!("Deleted {name}. Its home and logs are in the trash until {}", row.expires_at);
        Ok(Answer::new(text, data).outcome(outcome).next(format!("hostkit project restore {name}    # undo")))
    }
}

/// Bring back a deleted project as it was
#[derive(Args, Clone, Debug)]
pub(crate) struct RestoreArgs {
    /// The project
    name: ProjectName,
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Verb for RestoreArgs {
    const NAME: &'static str = "project restore";
    const POLICY: Policy = Policy::Root;
    const EXAMPLES: &'static [&'static str] =
        &["hostkit project restore blog", "hostkit project restore blog --dry-run"];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let mode = if self.dry_run { Mode::DryRun } else { Mode::Run };
        let (outcome, spec, planned) = cx.session(mode, |session| {
            let (outcome, spec) = restore(session, &self.name)?;
            Ok((outcome, spec, session.planned.take()))
        })?;
        if let Some(plan) = planned {
            return Ok(Answer::planned(&plan).outcome(outcome));
        }
        let text = format!("{} is back: http://{}, port {}", spec.name, spec.domain, spec.port);
        Ok(Answer::new(text, data(&spec)).outcome(outcome))
    }
}

/// Delete a deleted project for good
#[derive(Args, Clone, Debug)]
pub(crate) struct PurgeArgs {
    /// The project
    name: ProjectName,
    /// The project's name once more; on a terminal it is asked for
    #[arg(long, value_name = "NAME")]
    confirm: Option<String>,
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Verb for PurgeArgs {
    const NAME: &'static str = "project purge";
    const POLICY: Policy = Policy::Root;
    const EXAMPLES: &'static [&'static str] = &[
        "hostkit project purge blog",
        "hostkit project purge blog --confirm blog",
        "hostkit project purge blog --dry-run",
    ];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let name = &self.name;
        if self.dry_run {
            let plan = cx.session(Mode::DryRun, |session| {
                purge(session, name)?;
                Ok(session.planned.take())
            })?;
            return Ok(Answer::planned(&plan.unwrap_or_default()));
        }
        cx.look(|session| trashed(session, name).map(drop))?;
        confirm(cx, name, self.confirm.as_deref(), "purge", "This cannot be undone.")?;
        let (outcome, row) = cx.session(Mode::Run, |session| purge(session, name))?;
        Ok(Answer::new(format!("{name} is gone for good"), json!({ "deleted_at": row.deleted_at }))
            .outcome(outcome))
    }
}

/// Has the name typed, on a terminal or as `--confirm`.
fn confirm(cx: &Context, name: &ProjectName, said: Option<&str>, verb: &str, what: &str) -> Result<()> {
    let again = format!("hostkit project {verb} {name} --confirm {name}");
    let typed = match said {
        Some(said) => said.to_owned(),
        None if cx.may_ask => {
            let mut line = String::new();
            // A terminal that is gone answers nothing, which confirms nothing.
            let _ = write!(std::io::stderr(), "{what}\nType the project's name to {verb} it: ");
            std::io::stdin().lock().read_line(&mut line)?;
            line.trim().to_owned()
        }
        None => {
            return Err(Fault::new(Code::ConfirmationNeeded, format!("to {verb} `{name}`, say its name"))
                .next(again)
                .into());
        }
    };
    if typed == name.as_str() {
        return Ok(());
    }
    let typed: String = typed.chars().take(40).flat_map(char::escape_debug).collect();
    Err(Fault::new(Code::ConfirmationNeeded, format!("`{typed}` is not `{name}`")).next(again).into())
}
