//! Running a plan: the only code that takes a plan to the host, forwards or back.

pub mod backup;
pub mod certificates;
pub mod database;
pub mod deploy;
pub mod domains;
pub mod environment;
pub mod git;
mod handover;
pub mod init;
pub mod inspect;
mod launch;
pub mod lifecycle;
pub mod probation;
pub mod provision;
pub mod recovery;
pub mod redis;
mod remains;
pub mod retreat;
pub mod rollback;
pub mod scale;
pub mod secrets;
pub mod session;
pub mod storage;
pub mod survey;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::{
    domain::{
        fault::{Code, Fault},
        layout::{HostPath, UnitName},
    },
    event::{Event, Ui},
    plan::{Action, Plan, Step},
    store::{Registry, Store, Work},
    system::{Host, Remark, process},
};

/// Says of an error in what state it left the host.
#[derive(Clone, Debug)]
pub struct HostState(pub String);

impl std::fmt::Display for HostState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Carries out `plan`. Afterwards the host and the registry are both as planned, or both as before.
///
/// The caller holds the owner's lock and has planned under it, so the before-images are true.
pub fn execute(
    work: &Work,
    plan: &Plan,
    host: &mut Host,
    store: &mut Store,
    ui: &mut dyn Ui,
    registry: impl FnOnce(&Registry<'_>) -> Result<()>,
) -> Result<i64> {
    let op = store.begin(work, plan)?;
    let steps: Vec<&Step> = plan.changes().collect();
    let ran = (0..steps.len()).try_for_each(|at| {
        process::keep_going()?;
        end_together(&steps, at, host)?;
        act(steps[at], host, ui)
    });
    let now = host.clock.now();
    match ran.and_then(|()| store.close(op, "done", "done", now, registry)) {
        Ok(()) => Ok(op),
        // The last write of a commit may fail after the commit has happened. What is closed is done.
        Err(error) if !store.is_open(op).unwrap_or(true) => {
            ui.emit(Event::Warned { message: &format!("it is done, and the disk complained: {error:#}") });
            Ok(op)
        }
        Err(error) => {
            ui.emit(Event::Undoing);
            roll_back(op, &format!("{error:#}"), host, store)
                .map_err(|undoing| unfinished(op, &undoing, &error))?;
            Err(error.context(HostState(format!("everything was put back as it was (operation {op})"))))
        }
    }
}

/// Before the first of several processes that end one after the other: asks all of them to, so that each
/// has its time to end while the others have theirs.
fn end_together(steps: &[&Step], at: usize, host: &mut Host) -> Result<()> {
    let is_first = at == 0 || ends(steps[at - 1]).is_none();
    let units: Vec<&UnitName> = steps[at..].iter().map_while(|step| ends(step)).collect();
    if is_first && units.len() > 1 { host.systemd.end_together(&units) } else { Ok(()) }
}

/// The process that a step ends.
fn ends(step: &Step) -> Option<&UnitName> {
    match step.action {
        Action::Keep | Action::Create => None,
        Action::Change => step.resource.ends(false),
        Action::Remove => step.resource.ends(true),
    }
}

fn act(step: &Step, host: &mut Host, ui: &mut dyn Ui) -> Result<()> {
    let (kind, name) = (step.resource.kind(), step.resource.name());
    let began = Instant::now();
    let title = step.resource.title(step.action == Action::Remove);
    if let Some(what) = title {
        ui.emit(Event::Began { what, detail: &name });
    }
    match step.action {
        Action::Keep => {}
        Action::Create | Action::Change => {
            step.resource.apply(host).with_context(|| format!("making {kind} `{name}`"))?;
        }
        Action::Remove => {
            step.resource
                .restore(&step.resource.nothing(), host)
                .with_context(|| format!("removing {kind} `{name}`"))?;
        }
    }
    let millis = |took: Duration| u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    if let Some(kind) = title {
        ui.emit(Event::Stepped { action: step.action, kind, name: &name, ms: millis(began.elapsed()) });
    }
    for Remark { what, detail, took } in std::mem::take(&mut host.remarks) {
        ui.emit(Event::Finished { what, detail: &detail, ms: millis(took) });
    }
    Ok(())
}

/// Undoes an operation from its before-images.
///
/// The rule of order again: what was nothing is taken away, last to first; then what was otherwise is
/// put back in the order in which it once went up. Plain reverse would restart a process before its
/// files are back, and the order of the steps would restart one that was taken away before its unit.
/// Before all that comes what lies in a tree that goes back whole to where it came from: it was seen there,
/// and can be reached only while the tree is here.
pub(crate) fn roll_back(op: i64, outcome: &str, host: &mut Host, store: &mut Store) -> Result<()> {
    let (away, back): (Vec<Step>, Vec<Step>) =
        store.steps(op)?.into_iter().partition(|s| s.found == s.resource.nothing());
    let trees: Vec<HostPath> = back.iter().filter_map(arrived).cloned().collect();
    let tree_of = |s: &Step| {
        let place = s.resource.place()?;
        trees.iter().find(|tree| place.is_within(tree) && place != *tree)
    };
    let (mut inside, mut back): (Vec<Step>, Vec<Step>) = back.into_iter().partition(|s| tree_of(s).is_some());
    // A tree that is not here has not come yet, or has gone back with all in it put back.
    inside.retain(|s| tree_of(s).is_some_and(|tree| !matches!(host.root.meta(tree), Ok(None))));
    back.sort_by_key(|s| s.rank);
    // One that cannot be put back must not keep the others, a service last of all, from it.
    let mut failed: Option<anyhow::Error> = None;
    for step in inside.into_iter().rev().chain(away.into_iter().rev()).chain(back) {
        let restored = step.resource.restore(&step.found, host);
        let restored = restored
            .with_context(|| format!("putting back {} `{}`", step.resource.kind(), step.resource.name()));
        if let Err(error) = restored {
            failed.get_or_insert(error);
        }
    }
    if let Some(error) = failed {
        return Err(error);
    }
    let now = host.clock.now();
    store.close(op, "undone", outcome, now, |_| Ok(()))
}

/// The place of a tree that was elsewhere, whole, before the step brought it here.
fn arrived(step: &Step) -> Option<&HostPath> {
    let whole = step.action == Action::Create && step.resource.carries_to().is_some();
    step.resource.place().filter(|_| whole)
}

fn unfinished(op: i64, undoing: &anyhow::Error, error: &anyhow::Error) -> anyhow::Error {
    Fault::new(Code::Unfinished, format!("{error:#}; and putting things back did not finish: {undoing:#}"))
        .next(format!("hostkit repair    # goes on with operation {op}"))
        .into()
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stderr,
    reason = "tests may fail, and build worlds by hand"
)]
mod tests;
