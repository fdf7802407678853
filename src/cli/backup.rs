//! `backup`: everything a project stores, in one file; made, looked into, proven, gone back to.

use std::{collections::BTreeSet, path::PathBuf};

use anyhow::Result;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::{
    Verb,
    answer::{Answer, table},
    backup_keep::{DeleteArgs, PruneArgs, ScheduleArgs, TargetArgs},
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
            Place, Stored, create_with, prune,
            restore::{Origin, Piece, Restored, adopt, restore},
            survey,
            verify::verify,
        },
        session::{Mode, Outcome},
    },
};

group! {
    Create(CreateArgs) = "create";
    List(ListArgs) = "list";
    Verify(VerifyArgs) = "verify";
    Restore(RestoreArgs) = "restore";
    Schedule(ScheduleArgs) = "schedule";
    Prune(PruneArgs) = "prune";
    Delete(DeleteArgs) = "delete";
    Target(TargetArgs) = "target";
}

/// What the help of the whole group opens with.
pub(super) const OVERVIEW: &[&str] =
    &["hostkit backup create blog", "hostkit backup schedule blog --at 03:15", "hostkit backup restore blog"];

/// A size for people.
fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes >> 10),
        1_048_576..1_073_741_824 => format!("{} MiB", bytes >> 20),
        _ => format!("{}.{} GiB", bytes >> 30, (bytes >> 20) % 1024 * 10 / 1024),
    }
}

/// A backup for programs.
pub(super) fn data(backup: &Stored) -> Value {
    let mut data = json!({ "id": backup.id, "kind": backup.scope, "path": backup.path, "bytes": backup.bytes,
                "place": backup.place });
    match &backup.inside {
        Ok((reason, manifest)) => {
            data["reason"] = json!(reason);
            data["contents"] = json!(manifest.contents);
            data["parts"] = json!(manifest.parts);
        }
        Err(problem) => data["problem"] = json!(problem),
    }
    data
}

/// What was made, in a sentence.
pub(super) fn made(name: &ProjectName, backup: &Stored) -> Answer {
    let (word, id) = (backup.scope.word(), &backup.id);
    let mut inside = String::new();
    if let Ok((_, manifest)) = &backup.inside {
        let rows: u64 = manifest.contents.tables.iter().map(|t| t.rows).sum();
        let parts: Vec<&str> = manifest.parts.iter().map(|p| p.name.as_str()).collect();
        inside = format!(" ({}", parts.join(", "));
        if manifest.contents.postgres.is_some() {
            inside += &format!("; {} tables with {rows} rows", manifest.contents.tables.len());
        }
        if let Some(stock) = &manifest.contents.objects {
            inside += &format!("; {} objects", stock.objects);
        }
        inside += ")";
    }
    let copied = if backup.place == Place::Both { ", copied offsite" } else { "" };
    let text = format!("Made the {word} {id} of {name}: {}{inside}{copied}", size(backup.bytes));
    Answer::new(text, data(backup)).outcome(Outcome::Changed)
}

/// A table of backups or checkpoints.
pub(super) fn listed(name: &ProjectName, all: &[Stored], scope: Scope) -> Answer {
    let word = scope.word();
    let of_scope: Vec<&Stored> = all.iter().filter(|s| s.scope == scope).collect();
    let copies = of_scope.iter().any(|s| s.place != Place::Here);
    let rows: Vec<Vec<String>> = of_scope
        .iter()
        .map(|s| {
            let (reason, inside) = match &s.inside {
                Ok((reason, manifest)) => {
                    let parts: Vec<&str> = manifest.parts.iter().map(|p| p.name.as_str()).collect();
                    (reason.word().to_owned(), parts.join(", "))
                }
                Err(problem) => ("?".to_owned(), problem.clone()),
            };
            let mut row = vec![s.id.to_string(), reason, size(s.bytes), inside];
            if copies {
                let place = match s.place {
                    Place::Here => "here",
                    Place::Offsite => "offsite",
                    Place::Both => "here, offsite",
                };
                row.insert(3, place.to_owned());
            }
            row
        })
        .collect();
    let data = json!({ format!("{word}s"): of_scope.iter().map(|s| data(s)).collect::<Vec<_>>() });
    if rows.is_empty() {
        return Answer::new(format!("{name} has no {word}s"), data)
            .next(format!("hostkit {word} create {name}"));
    }
    let word = word.to_uppercase();
    let mut header = vec![word.as_str(), "WHY", "SIZE", "INSIDE"];
    if copies {
        header.insert(3, "WHERE");
    }
    Answer::new(table(&header, &rows), data)
}

/// What was gone back to, in a sentence.
pub(super) fn gone_back(name: &ProjectName, outcome: Outcome, restored: &Restored, word: &str) -> Answer {
    let id = &restored.id;
    let pieces: Vec<&str> = restored.pieces.iter().map(|p| p.word()).collect();
    let what = pieces.join(", ");
    let safety = restored.safety.as_ref().map(|s| s.id.clone());
    let data =
        json!({ "id": id, "pieces": pieces, "safety": safety, "dry_run": outcome == Outcome::WouldChange });
    if outcome == Outcome::WouldChange {
        let text = format!("Would go back to the {word} {id}, which is whole: {what}. Nothing was changed");
        return Answer::new(text, data);
    }
    let answer = Answer::new(format!("{name} is back at the {word} {id}: {what}"), data).outcome(outcome);
    match safety {
        Some(safety) => answer.next(format!("hostkit {word} restore {name} {safety}    # undo")),
        None => answer,
    }
}

/// Make a backup: database, Redis, shared files, environment and registry entry
#[derive(Args, Clone, Debug)]
pub(crate) struct CreateArgs {
    /// The project
    name: ProjectName,
    /// Take in what lies in its bucket as well
    #[arg(long)]
    with_objects: bool,
    /// For the timer: kept for 7 days and 4 weeks, and older ones go
    #[arg(long)]
    scheduled: bool,
}

impl Verb for CreateArgs {
    const NAME: &'static str = "backup create";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] = &[
        "hostkit backup create blog",
        "hostkit backup create blog --with-objects",
        "hostkit backup create blog --json",
    ];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let reason = if self.scheduled { Reason::Schedule } else { Reason::Manual };
        let backup = cx.session(Mode::Run, |session| {
            let backup = create_with(session, &self.name, Scope::Backup, reason, self.with_objects)?;
            if self.scheduled {
                prune(session, &self.name)?;
            }
            Ok(backup)
        })?;
        Ok(made(&self.name, &backup))
    }
}

/// List a project's backups, newest first
#[derive(Args, Clone, Debug)]
pub(crate) struct ListArgs {
    /// The project; it may have been deleted
    name: ProjectName,
}

impl Verb for ListArgs {
    const NAME: &'static str = "backup list";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] =
        &["hostkit backup list blog", "hostkit backup list blog --json"];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let (all, problem) = cx.look(|session| survey(session, &self.name))?;
        Ok(listed(&self.name, &all, Scope::Backup).warn(problem))
    }
}

/// Prove a backup: read all of it, load its database beside the project's, compare, and drop it
#[derive(Args, Clone, Debug)]
pub(crate) struct VerifyArgs {
    /// The project
    name: ProjectName,
    /// The backup; the newest without this
    id: Option<BackupId>,
}

impl Verb for VerifyArgs {
    const NAME: &'static str = "backup verify";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] =
        &["hostkit backup verify blog", "hostkit backup verify blog 20261120-080231"];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let proven = cx.session(Mode::Run, |session| verify(session, &self.name, self.id.as_ref()))?;
        let (id, bytes) = (&proven.id, proven.bytes);
        let mut text = format!("The backup {id} of {} is whole: {} read", self.name, size(bytes));
        if let Some(tables) = &proven.tables {
            let rows: u64 = tables.iter().map(|t| t.rows).sum();
            text += &format!("; {} tables with {rows} rows were loaded and are as they were", tables.len());
        }
        Ok(Answer::new(text, json!({ "id": id, "bytes": bytes, "tables": proven.tables })))
    }
}

/// Go back to a backup, after making one of how things are now
///
/// With `--as` a new project is made of it, with passwords of its own; the backup may then be one of a
/// deleted project, or a file from another host.
#[derive(Args, Clone, Debug)]
pub(crate) struct RestoreArgs {
    /// The project whose backup it is
    #[arg(required_unless_present = "file")]
    name: Option<ProjectName>,
    /// The backup; the newest without this
    #[arg(conflicts_with = "file")]
    id: Option<BackupId>,
    /// Only these: database, redis, shared, env, objects
    #[arg(long, value_delimiter = ',')]
    only: Vec<Piece>,
    /// A backup that lies elsewhere
    #[arg(long, value_name = "FILE")]
    file: Option<std::ffi::OsString>,
    /// The master key of the host that made the file
    #[arg(long, value_name = "FILE", requires = "file")]
    key: Option<std::ffi::OsString>,
    /// Make a new project of this name
    #[arg(long = "as", value_name = "NAME")]
    into: Option<ProjectName>,
    /// Read the whole backup, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl ValueEnum for Piece {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }
    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.word()))
    }
}

impl Verb for RestoreArgs {
    const NAME: &'static str = "backup restore";
    const POLICY: Policy = Policy::Root;
    const EXAMPLES: &'static [&'static str] = &[
        "hostkit backup restore blog",
        "hostkit backup restore blog 20261120-080231 --only database",
        "hostkit backup restore blog --as blog-again",
        "hostkit backup restore --file blog.backup --key old-master.key --as shop",
    ];

    fn project(&self) -> Option<&ProjectName> {
        self.into.as_ref().or(self.name.as_ref())
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let mode = if self.dry_run { Mode::DryRun } else { Mode::Run };
        let only: BTreeSet<Piece> = self.only.iter().copied().collect();
        let path = |given: &Option<std::ffi::OsString>, cx: &Context| -> Option<PathBuf> {
            given.as_ref().map(|file| cx.absolute(file))
        };
        let (file, key) = (path(&self.file, cx), path(&self.key, cx));
        let origin = match (file, &self.name) {
            (Some(file), _) => Origin::File { file, key },
            (None, Some(name)) => Origin::Project { name: name.clone(), id: self.id.clone() },
            (None, None) => return Err(anyhow::anyhow!("neither a project nor a file was named")),
        };
        let (name, (outcome, restored)) = match (&self.into, &self.name) {
            (Some(new), _) => (new, cx.session(mode, |session| adopt(session, &origin, new, &only))?),
            (None, Some(name)) => {
                (name, cx.session(mode, |s| restore(s, name, Scope::Backup, &origin, &only))?)
            }
            (None, None) => {
                let fault = crate::domain::fault::Fault::new(
                    crate::domain::fault::Code::Usage,
                    "say which project the file is to be put into, or `--as` a new one",
                );
                return Err(fault.next("hostkit backup restore --file FILE --as NAME").into());
            }
        };
        let answer = gone_back(name, outcome, &restored, "backup");
        Ok(match &self.into {
            Some(new) if mode == Mode::Run => answer.next(format!("hostkit deploy {new} --source DIR")),
            _ => answer,
        })
    }
}
