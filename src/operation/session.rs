//! One command's use of the host: who calls, what is locked, what is said.

use std::{path::PathBuf, time::Duration};

use anyhow::{Result, bail};

use super::{
    backup::leftover::settle,
    certificates, execute, handover,
    recovery::{lock_name, recover},
    remains,
};
use crate::{
    domain::{
        fault::{Code, Fault},
        layout,
        name::ProjectName,
    },
    event::{Event, Ui},
    plan::Plan,
    project::{ProjectSpec, Stage, template::Templates},
    store::{ProjectRow, Registry, Store, Work},
    system::{Host, lock::Lock, process},
};

/// What must stay free for the host itself, whatever is deployed.
const RESERVE_BYTES: u64 = 200 << 20;
const RESERVE_INODES: u64 = 2000;

/// How often a lock that is waited for is tried.
const PACE: Duration = Duration::from_millis(100);

/// Whether a plan is carried out or only shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It is carried out.
    Run,
    /// It is shown; nothing is locked, recovered or changed.
    DryRun,
}

/// What came of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was so already.
    Unchanged,
    /// It would change something.
    WouldChange,
    /// It changed something.
    Changed,
}

/// Everything an operation may use.
pub struct Session<'a> {
    /// The host.
    pub host: Host,
    /// The registry and journal.
    pub store: Store,
    /// Who listens.
    pub ui: &'a mut dyn Ui,
    /// The texts.
    pub templates: Templates,
    /// Who calls, for the records.
    pub caller: String,
    /// Whether changes are made.
    pub mode: Mode,
    /// The plan that a dry run was for.
    pub planned: Option<Plan>,
    /// How many interrupted operations have been undone, and things that dead commands left taken away.
    pub recovered: usize,
    /// How long to wait for somebody else who works on the same project.
    pub patience: Duration,
}

impl std::fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("caller", &self.caller)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

/// The locks of one operation.
#[derive(Debug)]
#[must_use = "dropping it is unlocking"]
pub struct Held(Vec<Lock>);

impl Session<'_> {
    fn locks(&self) -> PathBuf {
        self.host.root.real(&layout::host::locks())
    }

    /// Locks a project, or fails at once naming who holds it, and undoes what was left half-done.
    pub fn enter(&mut self, owner: &str, verb: &str) -> Result<Held> {
        if self.mode == Mode::DryRun {
            self.warn_of_open_operations()?;
            if let Ok(name) = owner.parse()
                && self.store.project(&name)?.is_some()
                && self.is_idle(owner)?
            {
                for remain in remains::find(self, &name)? {
                    let message = format!("{name}: {} would be taken away first", remain.words());
                    self.ui.emit(Event::Warned { message: &message });
                }
            }
            return Ok(Held(Vec::new()));
        }
        let what = format!("{verb} {owner}");
        let lock = self.lock(owner, what.trim_end())?;
        self.recovered += recover(owner, &self.locks(), &mut self.host, &mut self.store, self.ui)?;
        // Only in what is ours: a name may be a person's, whose home is no place of HostKit's.
        if let Ok(name) = owner.parse()
            && let Some(row) = self.store.project(&name)?
        {
            self.sweep(&name)?;
            if let Err(error) = certificates::tidy(self, &row.spec) {
                let message = format!("a certificate that nothing leads to could not be removed: {error:#}");
                self.ui.emit(Event::Warned { message: &message });
            }
            if let Err(error) = settle(self, &row.spec) {
                let message = format!("a restore that died has left something beside the data: {error:#}");
                self.ui.emit(Event::Warned { message: &message });
            }
            if !handover::replaces_all(verb) && row.spec.stage != Stage::Settled {
                match handover::settle(self, &name) {
                    Ok(()) => self.recovered += 1,
                    Err(error) => {
                        let message =
                            format!("a handover that was interrupted could not be finished: {error:#}");
                        self.ui.emit(Event::Warned { message: &message });
                    }
                }
            }
        }
        Ok(Held(vec![lock]))
    }

    /// Takes the lock of an owner, or waits for it as long as may be waited.
    fn lock(&self, owner: &str, what: &str) -> Result<Lock> {
        let (clock, name) = (&self.host.clock, lock_name(owner));
        let deadline = clock.elapsed() + self.patience;
        while clock.elapsed() < deadline {
            if let Ok(lock) = Lock::attempt(&self.locks(), name, what, clock.now())? {
                return Ok(lock);
            }
            process::keep_going()?;
            clock.sleep(PACE);
        }
        Lock::take(&self.locks(), name, what, clock.now())
    }

    /// Takes away what a command that died has left outside of an operation, and says so; the project's
    /// lock says that nobody is at work there.
    fn sweep(&mut self, name: &ProjectName) -> Result<()> {
        for remain in remains::find(self, name)? {
            remain.clear(self, name)?;
            self.recovered += 1;
            let message = format!("{name}: {} {}", remain.words(), remain.done());
            self.ui.emit(Event::Warned { message: &message });
        }
        Ok(())
    }

    /// Whether nobody is at work on an owner now.
    pub fn is_idle(&self, owner: &str) -> Result<bool> {
        Lock::is_free(&self.locks(), lock_name(owner))
    }

    /// Locks a project also for a dry run: for what makes files of its own on the way.
    pub fn enter_alone(&mut self, owner: &str, verb: &str) -> Result<Held> {
        let Held(mut locks) = self.enter(owner, verb)?;
        if self.mode == Mode::DryRun {
            let what = format!("{verb} {owner} --dry-run");
            locks.push(Lock::take(&self.locks(), lock_name(owner), &what, self.host.clock.now())?);
        }
        Ok(Held(locks))
    }

    /// The same, and waits for the host's own lock: for what gives out numbers or changes all.
    pub fn enter_host(&mut self, owner: &str, verb: &str) -> Result<Held> {
        let Held(mut locks) = self.enter(owner, verb)?;
        if self.mode == Mode::Run && !owner.is_empty() {
            let what = format!("{verb} {owner}");
            locks.push(Lock::wait(&self.locks(), lock_name(""), &what, &*self.host.clock)?);
        }
        Ok(Held(locks))
    }

    fn warn_of_open_operations(&mut self) -> Result<()> {
        for open in self.store.open_operations()? {
            let message = format!(
                "operation {} (`{} {}`) is running, or unfinished and would be undone first",
                open.id, open.verb, open.owner
            );
            self.ui.emit(Event::Warned { message: &message });
        }
        Ok(())
    }

    /// Shows a plan, and carries it out unless it is only to be shown.
    pub fn carry_out(
        &mut self,
        owner: &str,
        verb: &'static str,
        plan: &Plan,
        registry: impl FnOnce(&Registry<'_>) -> Result<()>,
    ) -> Result<Outcome> {
        self.ui.emit(Event::Planned { plan });
        if self.mode == Mode::DryRun {
            self.planned = Some(plan.clone());
            return Ok(if plan.is_noop() { Outcome::Unchanged } else { Outcome::WouldChange });
        }
        let work =
            Work { verb, owner: owner.to_owned(), caller: self.caller.clone(), now: self.host.clock.now() };
        execute(&work, plan, &mut self.host, &mut self.store, self.ui, registry)?;
        Ok(Outcome::Changed)
    }

    /// Records in the history something that changed nothing and is to be known later: that a secret was
    /// shown. Comes before it is shown: what cannot be recorded is not done.
    pub fn note(&mut self, owner: &str, verb: &'static str, what: &str) -> Result<()> {
        let now = self.host.clock.now();
        let work = Work { verb, owner: owner.to_owned(), caller: self.caller.clone(), now };
        self.store.note(&work, what)
    }

    /// A project that exists, or `PROJECT_NOT_FOUND` with a name that may have been meant.
    pub fn project(&self, name: &ProjectName) -> Result<ProjectRow> {
        if let Some(row) = self.store.project(name)? {
            return Ok(row);
        }
        let names: Vec<String> =
            self.store.projects()?.into_iter().map(|p| p.spec.name.to_string()).collect();
        let mut fault = Fault::new(Code::ProjectNotFound, format!("there is no project `{name}`"));
        let close = names.iter().min_by_key(|n| strsim::damerau_levenshtein(n, name.as_str()));
        match close {
            Some(near) if strsim::damerau_levenshtein(near, name.as_str()) <= 2 => {
                fault = fault.next(format!("did you mean `{near}`?"));
            }
            _ => fault = fault.next(format!("hostkit provision {name}")),
        }
        Err(fault.next("hostkit project list").into())
    }

    /// The resources of a project's specification.
    pub fn wanted(&self, spec: &ProjectSpec) -> Result<Vec<crate::resource::Any>> {
        crate::project::project_resources(spec, &self.templates)
    }

    /// Refuses work for which the disk is too full, before it begins.
    pub fn require_space(&self) -> Result<()> {
        for place in [layout::host::homes(), layout::host::state()] {
            let space = self.host.root.space(&place)?;
            // Small disks keep a share, large ones a fixed amount.
            let reserve = RESERVE_BYTES.min(space.total / 50);
            if space.bytes < reserve {
                let (free, need) = (space.bytes >> 20, (reserve >> 20).max(1));
                bail!(
                    Fault::new(
                        Code::DiskFull,
                        format!("`{place}` has {free} MiB left and {need} MiB are needed")
                    )
                    .next("hostkit gc    # empties the trash")
                    .next("df -h")
                );
            }
            if space.inodes.is_some_and(|free| free < RESERVE_INODES) {
                bail!(
                    Fault::new(Code::DiskFull, format!("`{place}` is out of inodes"))
                        .next("hostkit gc    # empties the trash")
                        .next("df -i")
                );
            }
        }
        Ok(())
    }
}
