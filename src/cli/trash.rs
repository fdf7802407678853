//! `project delete`, `restore` and `purge`: into the trash, and out of it.

use std::io::Write;

use anyhow::Result;
use clap::{Args, ValueEnum, builder::PossibleValue};
use serde_json::json;

use super::{Verb, answer::Answer, context::Context, policy::Policy, provision::data};
use crate::{
    domain::{
        fault::{Code, Fault},
        name::ProjectName,
    },
    operation::{
        lifecycle::{Farewell, delete, purge, restore, trashed},
        session::{Mode, Outcome, Session},
        storage::Fate,
    },
    store::TrashRow,
    system::source,
};

/// A project whose name has to be said twice, because it goes.
#[derive(Args, Clone, Debug)]
struct Doomed {
    /// The project
    name: ProjectName,
    /// The project's name once more; on a terminal it is asked for
    #[arg(long, value_name = "NAME")]
    confirm: Option<String>,
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Doomed {
    /// Shows what would be done, or has the name said and does it.
    fn meet(
        &self,
        cx: &mut Context,
        (verb, warning): (&str, &str),
        exists: impl FnOnce(&mut Session<'_>) -> Result<()>,
        fate: impl Fn(&mut Session<'_>, &ProjectName) -> Result<(Outcome, TrashRow)>,
        answer: impl FnOnce(&TrashRow) -> Answer,
    ) -> Result<Answer> {
        if self.dry_run {
            let plan = cx.session(Mode::DryRun, |session| {
                fate(session, &self.name)?;
                Ok(session.planned.take())
            })?;
            return Ok(Answer::planned(&plan.unwrap_or_default()));
        }
        cx.look(exists)?;
        let again = format!("project {verb}");
        confirmed(cx, &self.name, self.confirm.as_deref(), &again, warning)?;
        let (outcome, row) = cx.session(Mode::Run, |session| fate(session, &self.name))?;
        Ok(answer(&row).outcome(outcome))
    }
}

/// Has a project's name typed, on a terminal or as `--confirm`, before `verb` is done to it.
pub(super) fn confirmed(
    cx: &Context,
    name: &ProjectName,
    said: Option<&str>,
    verb: &str,
    what: &str,
) -> Result<()> {
    let again = format!("hostkit {verb} {name} --confirm {name}");
    let act = verb.split(' ').next_back().unwrap_or(verb);
    let typed = match said {
        Some(said) => said.to_owned(),
        None if cx.may_ask => {
            // A terminal that is gone answers nothing, which confirms nothing.
            let _ = write!(std::io::stderr(), "{what}\nType the project's name to {act} it: ");
            source::ask()?
        }
        None => {
            return Err(Fault::new(Code::ConfirmationNeeded, format!("to {act} `{name}`, say its name"))
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

/// Delete a project; its home and logs can be brought back for 7 days
#[derive(Args, Clone, Debug)]
pub(crate) struct DeleteArgs {
    #[command(flatten)]
    doomed: Doomed,
    /// Make no last backup: its database and what else it stores are lost
    #[arg(long)]
    no_backup: bool,
    /// What becomes of the objects in its bucket: they go with the last backup (save), stay closed for 7 days
    /// (keep), or are lost (drop)
    #[arg(long, value_name = "WHAT")]
    objects: Option<Fate>,
}

impl ValueEnum for Fate {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Saved, Self::Kept, Self::Lost]
    }
    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(match self {
            Self::Saved => "save",
            Self::Kept => "keep",
            Self::Lost => "drop",
        }))
    }
}

impl DeleteArgs {
    /// What is done for its data.
    fn farewell(&self) -> Result<Farewell> {
        let name = &self.doomed.name;
        match (self.no_backup, self.objects) {
            (false, objects) => Ok(Farewell { objects: objects.unwrap_or(Fate::Saved), ..Farewell::WHOLE }),
            (true, Some(Fate::Saved)) => {
                let message = "without a last backup there is nothing to save the objects in";
                Err(Fault::new(Code::InvalidValue, message)
                    .next(format!("hostkit project delete {name} --no-backup --objects keep"))
                    .next(format!("hostkit project delete {name}"))
                    .into())
            }
            (true, objects) => Ok(Farewell { objects: objects.unwrap_or(Fate::Lost), ..Farewell::NONE }),
        }
    }
}

impl Verb for DeleteArgs {
    const NAME: &'static str = "project delete";
    const POLICY: Policy = Policy::Root;
    const EXAMPLES: &'static [&'static str] = &[
        "hostkit project delete blog",
        "hostkit project delete blog --confirm blog",
        "hostkit project delete blog --confirm blog --objects keep",
        "hostkit project delete blog --dry-run",
    ];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.doomed.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let name = &self.doomed.name;
        let farewell = self.farewell()?;
        let warning = if self.no_backup {
            "Its home and logs go to the trash for 7 days; what else it stores is lost."
        } else {
            "Its home, its logs and a last backup are kept for 7 days."
        };
        let exists = |session: &mut Session<'_>| session.project(name).map(drop);
        let fate = |session: &mut Session<'_>, name: &ProjectName| delete(session, name, farewell);
        self.doomed.meet(cx, ("delete", warning), exists, fate, |row| {
            let data = json!({ "deleted_at": row.deleted_at, "expires_at": row.expires_at });
            let text = format!("Deleted {name}. Its home and logs are in the trash until {}", row.expires_at);
            Answer::new(text, data).next(format!("hostkit project restore {name}    # undo"))
        })
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
        let text = format!("{} is back: {}, port {}", spec.name, spec.url(), spec.port);
        Ok(Answer::new(text, data(&spec)).outcome(outcome))
    }
}

/// Delete a deleted project for good
#[derive(Args, Clone, Debug)]
pub(crate) struct PurgeArgs {
    #[command(flatten)]
    doomed: Doomed,
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
        Some(&self.doomed.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let name = &self.doomed.name;
        let exists = |session: &mut Session<'_>| trashed(session, name).map(drop);
        self.doomed.meet(cx, ("purge", "This cannot be undone."), exists, purge, |row| {
            Answer::new(format!("{name} is gone for good"), json!({ "deleted_at": row.deleted_at }))
        })
    }
}
