//! The release phase: the database is kept as it is, and is then changed to what the release expects.
//!
//! The new release's tree lies where it will be, as the migrations see it, and they run with the
//! environment that the release will run with, shut in like its process. The old release goes on serving
//! meanwhile. Nothing that fails here is undone by itself: what a migration has done to the database, only
//! the checkpoint knows to undo, and what was written since would be lost with it.

use std::{collections::VecDeque, time::Duration, time::Instant};

use anyhow::{Context, Result, bail};
use zeroize::Zeroizing;

use super::stage::Staged;
use crate::{
    domain::{
        backup::{Reason, Scope},
        fault::{Code, Fault},
        layout::HostPath,
        release::ReleaseId,
        veil::Veil,
    },
    event::Event,
    operation::{
        HostState, backup,
        environment::Draft,
        launch::locate,
        session::{Mode, Session},
    },
    project::{Launch, Migration, Phase, ProjectSpec, Ran, sandbox},
    system::{Attr, End, Job, tree::Tree},
};

/// How many of a migration's last lines an error repeats.
const LAST_WORDS: usize = 20;
/// The work as events name it.
const WHAT: &str = "migrate";

/// Keeps the database and runs the migrations of a release. What was done is entered into `phase` as it is
/// done, so that it is known of a release that failed, too.
pub(super) fn run(
    session: &mut Session<'_>,
    draft: &Draft,
    staged: &Staged,
    skip: bool,
    phase: &mut Phase,
) -> Result<()> {
    let migrations = &staged.recipe.migrations;
    if migrations.is_empty() || session.mode == Mode::DryRun {
        return Ok(());
    }
    if skip {
        phase.skipped = true;
        session.ui.emit(Event::Finished { what: WHAT, detail: "left out: --skip-migrate", ms: 0 });
        return Ok(());
    }
    let spec = &draft.spec;
    let tree = Tree::new(session.host.root.open_dir(&spec.name.staging(&staged.id))?);
    // All of them, before the first one runs.
    let mut commands = Vec::new();
    for migration in migrations {
        let home = spec.name.release(&staged.id);
        let command = locate(&session.host, spec, &tree, &migration.command, &home)
            .with_context(|| format!("looking for the program of the migration `{}`", migration.tool))?;
        commands.push((migration, command));
    }
    if spec.database.is_some() {
        backup::lapse(session, spec)?;
        phase.checkpoint = Some(backup::write(session, spec, Scope::Checkpoint, Reason::Deploy)?.id);
    }
    let file = spec.name.staging_env(&staged.id);
    let whole = draft.whole(session)?;
    let veil = Veil::of(&whole);
    let text = Zeroizing::new(whole.to_string());
    session.host.root.replace(&file, text.as_bytes(), Attr { uid: 0, gid: spec.uid, mode: 0o640 })?;
    let done = commands.into_iter().try_for_each(|(migration, command)| {
        let settings = settings(session, spec, &staged.id, &staged.launch, &command)?;
        let job = Job {
            unit: spec.name.release_unit(),
            description: format!("HostKit project {}: {}", spec.name, migration.tool),
            settings,
            argv: command.into(),
            patience: Duration::from_secs(spec.rails.patience(staged.recipe.migration_timeout).into()),
        };
        migrate(session, spec, migration, &job, &veil, phase)
    });
    session.host.root.remove(&file)?;
    done
}

/// Runs one migration.
fn migrate(
    session: &mut Session<'_>,
    spec: &ProjectSpec,
    migration: &Migration,
    job: &Job,
    veil: &Veil,
    phase: &mut Phase,
) -> Result<()> {
    let command = Vec::<String>::from(migration.command.clone()).join(" ");
    let tool = &migration.tool;
    let began = Instant::now();
    session.ui.emit(Event::Began { what: WHAT, detail: &format!("{tool}: {command}") });
    let mut last = VecDeque::new();
    let (systemd, ui) = (&mut session.host.systemd, &mut *session.ui);
    let ran = systemd.run(job, &mut |line| {
        let line = veil.over(line);
        ui.emit(Event::Output { what: WHAT, line: &line });
        if last.len() == LAST_WORDS {
            last.pop_front();
        }
        last.push_back(line);
    });
    let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let failed = match &ran {
        Ok(End::Well) => None,
        Ok(end) => Some(end.words()),
        Err(error) => Some(format!("{error:#}")),
    };
    phase.ran.push(Ran { tool: tool.clone(), command: command.clone(), ms, failed });
    let end = match ran {
        Ok(End::Well) => {
            let kept = phase.checkpoint.as_ref().map(|id| format!(" · checkpoint {id}")).unwrap_or_default();
            let detail = format!("{tool}: {command}{kept}");
            session.ui.emit(Event::Finished { what: WHAT, detail: &detail, ms });
            return Ok(());
        }
        Ok(end) => end,
        Err(error) => return Err(error.context(state(spec))),
    };
    let mut message = format!("the migration `{tool}` ({command}) {}", end.words());
    for line in last {
        message.push('\n');
        message.push_str(&line);
    }
    let mut fault = Fault::new(Code::ReleasePhaseFailed, message);
    if end == End::Late {
        let twice = u32::try_from(job.patience.as_secs()).unwrap_or(u32::MAX).saturating_mul(2);
        fault = fault.next(format!("hostkit rails {} --release-timeout {twice}    # seconds", spec.name));
    }
    bail!(anyhow::Error::new(advise(fault, spec, phase)).context(state(spec)))
}

/// Says how to get the database back.
pub(super) fn advise(fault: Fault, spec: &ProjectSpec, phase: &Phase) -> Fault {
    match &phase.checkpoint {
        Some(id) => fault.next(format!(
            "hostkit checkpoint restore {} {id}    # the database as it was before; what was written since is lost",
            spec.name
        )),
        None => fault,
    }
}

/// In what state a migration that failed leaves the host.
pub(super) fn state(spec: &ProjectSpec) -> HostState {
    let live = match spec.lineage.iter().rev().nth(1) {
        Some(old) => format!("the release `{}` is live", old.release),
        None => "nothing is live, as before".to_owned(),
    };
    HostState(format!("{live}; the database may be changed: a migration has run"))
}

/// How a migration is shut in: as the process is, in a home that holds nothing but what the release needs.
fn settings(
    session: &Session<'_>,
    spec: &ProjectSpec,
    id: &ReleaseId,
    launch: &Launch,
    command: &crate::domain::command::StartCommand,
) -> Result<Vec<String>> {
    let name = &spec.name;
    let mut lines = sandbox(spec, launch, command, &session.templates)?;
    let bind = |what: &str, from: &HostPath, to: &HostPath| format!("{what}={from}:{to}");
    let (staging, release, file) = (name.staging(id), name.release(id), name.staging_env(id));
    lines.extend([
        format!("WorkingDirectory={release}"),
        format!("EnvironmentFile={file}"),
        // Not the home itself: in that, `app` is still the old release, and the new one has no name yet.
        bind("BindReadOnlyPaths", &staging, &release),
        bind("BindReadOnlyPaths", &staging, &name.app()),
        bind("BindReadOnlyPaths", &file, &name.env()),
        bind("BindPaths", &name.shared(), &name.shared()),
        "TimeoutStopSec=10".to_owned(),
        "StandardInput=null".to_owned(),
    ]);
    Ok(lines)
}
