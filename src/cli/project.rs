//! `project`: create, list and info; the rest of the group is in `trash`.

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::{
    Verb,
    answer::{Answer, table},
    context::Context,
    group,
    policy::Policy,
    provision::{ProvisionArgs, data},
    trash::{DeleteArgs, PurgeArgs, RestoreArgs},
};
use crate::{domain::name::ProjectName, operation::provision::Ask};

group! {
    Create(CreateArgs) = "create";
    List(ListArgs) = "list";
    Info(InfoArgs) = "info";
    Delete(DeleteArgs) = "delete";
    Restore(RestoreArgs) = "restore";
    Purge(PurgeArgs) = "purge";
}

/// What the help of the whole group opens with.
pub(super) const OVERVIEW: &[&str] =
    &["hostkit project create blog", "hostkit project list", "hostkit project delete blog --confirm blog"];

/// Make a project without services
#[derive(Args, Clone, Debug)]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    provision: ProvisionArgs,
    /// Make a Redis as well
    #[arg(long, help_heading = "Services")]
    with_redis: bool,
    /// Make a database as well
    #[arg(long, conflicts_with = "no_db", help_heading = "Services")]
    with_db: bool,
    /// Give it a bucket in this host's object store
    #[arg(long, conflicts_with = "no_storage", help_heading = "Services")]
    with_storage: bool,
}

impl Verb for CreateArgs {
    const NAME: &'static str = "project create";
    const POLICY: Policy = ProvisionArgs::POLICY;
    const EXAMPLES: &'static [&'static str] =
        &["hostkit project create blog", "hostkit project create api --node --with-db --with-redis"];

    fn project(&self) -> Option<&ProjectName> {
        self.provision.project()
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let storage = if self.with_storage { Ask::Yes } else { Ask::No };
        self.provision.bare(self.with_db).make(cx, self.with_redis, storage)
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
                vec![s.name.to_string(), runtime, release, s.port.to_string(), s.url()]
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
            ("url", s.url()),
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
            let health = s.health_of(launch);
            let path = health.path.unwrap_or_else(|| "/ (anything below 500)".to_owned());
            let timeout = health.timeout.unwrap_or(launch.health_timeout);
            pairs.push(("health", format!("GET {path} within {timeout} s")));
            for process in &launch.processes {
                let when = match &process.at {
                    Some(cron) => format!("at {cron}"),
                    None => format!("{} of it", s.count(&process.name)),
                };
                pairs.push(("process", format!("{} ({when}): {}", process.name, process.command)));
            }
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
