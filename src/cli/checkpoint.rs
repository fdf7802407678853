//! `checkpoint`: a project's database as it is now, to go back to.

use std::collections::BTreeSet;

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::{
    Verb,
    answer::Answer,
    backup::{gone_back, listed, made},
    context::Context,
    group,
    policy::Policy,
};
use crate::{
    domain::{
        backup::{BackupId, Reason, Scope},
        name::ProjectName,
    },
    operation::{
        backup::{
            create, delete, list,
            restore::{Origin, restore},
        },
        session::Mode,
    },
};

group! {
    Create(CreateArgs) = "create";
    List(ListArgs) = "list";
    Restore(RestoreArgs) = "restore";
    Delete(DeleteArgs) = "delete";
}

/// What the help of the whole group opens with.
pub(super) const OVERVIEW: &[&str] =
    &["hostkit checkpoint create blog", "hostkit checkpoint list blog", "hostkit checkpoint restore blog"];

/// Keep the database as it is now
#[derive(Args, Clone, Debug)]
pub(crate) struct CreateArgs {
    /// The project
    name: ProjectName,
}

impl Verb for CreateArgs {
    const NAME: &'static str = "checkpoint create";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] = &["hostkit checkpoint create blog"];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let made_now =
            cx.session(Mode::Run, |session| create(session, &self.name, Scope::Checkpoint, Reason::Manual))?;
        Ok(made(&self.name, &made_now))
    }
}

/// List a project's checkpoints, newest first
#[derive(Args, Clone, Debug)]
pub(crate) struct ListArgs {
    /// The project
    name: ProjectName,
}

impl Verb for ListArgs {
    const NAME: &'static str = "checkpoint list";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] = &["hostkit checkpoint list blog"];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let all = cx.look(|session| list(session, &self.name))?;
        Ok(listed(&self.name, &all, Scope::Checkpoint))
    }
}

/// Go back to a checkpoint, after making one of how the database is now
#[derive(Args, Clone, Debug)]
pub(crate) struct RestoreArgs {
    /// The project
    name: ProjectName,
    /// The checkpoint; the newest without this
    id: Option<BackupId>,
    /// Read the whole checkpoint, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Verb for RestoreArgs {
    const NAME: &'static str = "checkpoint restore";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] =
        &["hostkit checkpoint restore blog", "hostkit checkpoint restore blog 20261120-080231"];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let mode = if self.dry_run { Mode::DryRun } else { Mode::Run };
        let origin = Origin::Project { name: self.name.clone(), id: self.id.clone() };
        let (outcome, restored) = cx.session(mode, |session| {
            restore(session, &self.name, Scope::Checkpoint, &origin, &BTreeSet::new())
        })?;
        Ok(gone_back(&self.name, outcome, &restored, "checkpoint"))
    }
}

/// Delete one checkpoint
#[derive(Args, Clone, Debug)]
pub(crate) struct DeleteArgs {
    /// The project
    name: ProjectName,
    /// The checkpoint
    id: BackupId,
}

impl Verb for DeleteArgs {
    const NAME: &'static str = "checkpoint delete";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] = &["hostkit checkpoint delete blog 20261120-080231"];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let outcome =
            cx.session(Mode::Run, |session| delete(session, &self.name, Scope::Checkpoint, &self.id))?;
        let (name, id) = (&self.name, &self.id);
        Ok(Answer::new(format!("Deleted the checkpoint {id} of {name}"), json!({ "id": id }))
            .outcome(outcome))
    }
}
