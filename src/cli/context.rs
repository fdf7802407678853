//! Everything a command may use, resolved once: the caller, the listener, the host, the registry.

use std::{cell::RefCell, ffi::OsString, path::PathBuf, rc::Rc, time::Duration};

use anyhow::{Context as _, Result};

use super::{
    Cli, Verb,
    answer::Answer,
    policy::{Policy, Principal, authorize, identify},
    report::{Failure, understand},
    survive,
};
use crate::{
    domain::{
        fault::{Code, Fault},
        layout,
        name::ProjectName,
    },
    event::{Event, Ui},
    operation::{
        init::{HTTP2, spoken},
        session::{Mode, Session},
    },
    project::template::Templates,
    store::Store,
    system::{Attr, Host, Tripwire, editor::Taste, invoker::Caller, process},
    ui::{Human, Quiet, Recorder, Service},
};

/// What the process was given, read in one place.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    /// `SUDO_UID`.
    pub(crate) sudo_uid: Option<String>,
    /// Whether `NO_COLOR` is set.
    pub(crate) no_color: bool,
    /// `TERM`.
    pub(crate) terminal: Option<String>,
    /// Whether GitHub Actions reads what is said.
    pub(crate) github: bool,
    /// Whether GitLab CI does.
    pub(crate) gitlab: bool,
    /// The directory the caller stands in.
    pub(crate) directory: Option<PathBuf>,
    /// `VISUAL`, or `EDITOR`.
    pub(crate) editor: Option<String>,
    /// The command line.
    pub(crate) argv: Vec<OsString>,
}

impl Environment {
    /// Whose pipeline reads what is said, if one does: the one that was named, or the one that names itself.
    fn pipeline(&self, cli: &Cli) -> Option<Service> {
        let named = cli.ci.map(Into::into);
        named.or(self.github.then_some(Service::Github)).or(self.gitlab.then_some(Service::Gitlab))
    }
}

/// A listener that a session borrows and the context keeps.
#[derive(Clone)]
struct Shared(Rc<RefCell<Listener>>);

enum Listener {
    Human(Human),
    Quiet(Quiet),
    Recorder(Recorder),
}

impl Ui for Shared {
    fn emit(&mut self, event: Event<'_>) {
        match &mut *self.0.borrow_mut() {
            Listener::Human(human) => human.emit(event),
            Listener::Quiet(quiet) => quiet.emit(event),
            Listener::Recorder(recorder) => recorder.emit(event),
        }
    }
}

/// One call's surroundings.
#[expect(clippy::struct_excessive_bools, reason = "these are what a call may do, each for itself")]
pub(crate) struct Context {
    environment: Environment,
    listener: Shared,
    caller: Option<Caller>,
    #[cfg(feature = "fake")]
    root: Option<PathBuf>,
    /// Whether the answer is one object.
    pub(super) json: bool,
    /// Whether questions may be asked.
    pub(super) may_ask: bool,
    /// Whether a host that was never set up is fine.
    pub(super) may_be_new: bool,
    /// The project the answer is about.
    pub(super) subject: Option<String>,
    /// How long to wait for somebody else who works on the same project.
    pub(super) patience: Duration,
    /// Whether somebody has said yes to what the command asks.
    pub(super) agreed: bool,
    /// Whether the work ends with this process.
    pub(super) here: bool,
}

impl Context {
    pub(super) fn new(cli: &Cli, environment: Environment) -> Self {
        let silent = cli.json || cli.quiet;
        let listener = if silent {
            Listener::Quiet(Quiet::default())
        } else {
            Listener::Human(Human::new(cli.no_color || environment.no_color, environment.pipeline(cli)))
        };
        let terminal = std::io::IsTerminal::is_terminal(&std::io::stdin());
        Self {
            listener: Shared(Rc::new(RefCell::new(listener))),
            #[cfg(feature = "fake")]
            root: cli.root.clone(),
            json: cli.json,
            may_ask: terminal && !cli.no_input && !cli.json,
            here: cli.foreground,
            ..Self::unheard(environment)
        }
    }

    /// The surroundings of a call that was handed over: what it says is written down, and nobody is asked.
    pub(super) fn handed_over(cli: &Cli, environment: Environment, recorder: Recorder, agreed: bool) -> Self {
        let mut cx = Self::new(cli, environment);
        cx.listener = Shared(Rc::new(RefCell::new(Listener::Recorder(recorder))));
        (cx.may_ask, cx.agreed, cx.here) = (false, agreed, true);
        cx
    }

    /// The surroundings of work that nobody called for: nobody listens, and nobody is asked.
    pub(super) fn unheard(environment: Environment) -> Self {
        Self {
            environment,
            listener: Shared(Rc::new(RefCell::new(Listener::Quiet(Quiet::default())))),
            caller: None,
            #[cfg(feature = "fake")]
            root: None,
            json: false,
            may_ask: false,
            may_be_new: false,
            subject: None,
            patience: Duration::ZERO,
            agreed: false,
            here: true,
        }
    }

    /// Makes the process fit to act as root.
    #[expect(clippy::unused_self, reason = "what is prepared is the process around the context")]
    pub(super) fn prepare(&self) -> Result<()> {
        process::sanitize()
    }

    /// Tells whoever listens how the command ended.
    pub(super) fn end(&self, result: &Result<Answer>) {
        if let Listener::Human(human) = &mut *self.listener.0.borrow_mut() {
            let failure = result.as_ref().err().map(understand);
            human.end(failure.as_ref().map(Failure::told));
        }
    }

    /// What was warned of while nobody listened.
    pub(super) fn warnings(&self) -> Vec<String> {
        match &*self.listener.0.borrow() {
            // Whoever listens has been told.
            Listener::Human(_) | Listener::Recorder(_) => Vec::new(),
            Listener::Quiet(quiet) => quiet.warnings.clone(),
        }
    }

    /// Runs a command if the caller may.
    pub(super) fn call<V: Verb>(&mut self, verb: V) -> Result<Answer> {
        self.subject = verb.project().map(ToString::to_string);
        if V::POLICY != Policy::Anyone {
            let caller = self.caller()?;
            let principal = self.principal(&caller)?;
            let _permit = authorize(&principal, V::POLICY, verb.project(), &caller)?;
        }
        if !self.here {
            self.agreed = verb.ask(self)?;
        }
        if verb.survives() && self.can_hand_over()? {
            return survive::hand_over(self, &verb);
        }
        verb.run(self)
    }

    /// Whether there is somebody to hand work over to: a service manager, and no fakes.
    pub(super) fn can_hand_over(&self) -> Result<bool> {
        #[cfg(feature = "fake")]
        if self.root.is_some() {
            return Ok(false);
        }
        let here = self.here || self.environment.argv.is_empty();
        Ok(!here && self.host()?.root.meta(&layout::host::systemd_runs())?.is_some())
    }

    /// What the process was given.
    pub(super) fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Whoever listens.
    pub(super) fn ui(&self) -> impl Ui + use<> {
        self.listener.clone()
    }

    /// Who calls.
    pub(super) fn caller(&mut self) -> Result<Caller> {
        if self.caller.is_none() {
            self.caller = Some(Caller::resolve(self.environment.sudo_uid.as_deref())?);
        }
        self.caller.clone().context("the caller was just resolved")
    }

    fn principal(&self, caller: &Caller) -> Result<Principal> {
        #[cfg(feature = "fake")]
        if self.root.is_some() {
            return Ok(Principal::Root);
        }
        if caller.uid == 0 || !caller.privileged {
            return Ok(identify(caller, &[]));
        }
        let at = self.host()?.root.real(&layout::host::registry());
        let accounts: Vec<(ProjectName, u32)> = match Store::look(&at)? {
            Some(store) => store.projects()?.into_iter().map(|p| (p.spec.name, p.spec.uid)).collect(),
            None => Vec::new(),
        };
        Ok(identify(caller, &accounts))
    }

    /// Refuses whoever may not go past the guard rails.
    pub(super) fn may_override(&mut self) -> Result<()> {
        let caller = self.caller()?;
        let principal = self.principal(&caller)?;
        Ok(authorize(&principal, Policy::Root, None, &caller).map(drop)?)
    }

    #[cfg_attr(
        not(feature = "fake"),
        expect(clippy::unused_self, reason = "fakes need to know where they live")
    )]
    pub(super) fn host(&self) -> Result<Host> {
        #[cfg(feature = "fake")]
        if let Some(root) = &self.root {
            return Ok(crate::system::fake::World::kept(root)?.host(Tripwire::default()));
        }
        Host::real()
    }

    /// What kind of terminal the caller has, for programs that take it over.
    pub(super) fn terminal(&self) -> &str {
        self.environment.terminal.as_deref().unwrap_or("dumb")
    }

    /// Which editor the caller likes.
    pub(super) fn taste(&self) -> Taste {
        Taste { editor: self.environment.editor.clone(), term: self.environment.terminal.clone() }
    }

    /// Where a path that the caller typed leads.
    pub(super) fn absolute(&self, path: &OsString) -> PathBuf {
        match &self.environment.directory {
            Some(directory) => directory.join(path),
            None => PathBuf::from(path),
        }
    }

    /// Opens the host and the registry, and hands them to `work`.
    pub(super) fn session<T>(
        &mut self,
        mode: Mode,
        work: impl FnOnce(&mut Session<'_>) -> Result<T>,
    ) -> Result<T> {
        let caller = self.caller()?;
        let mut host = self.host()?;
        let store = match mode {
            Mode::Run => {
                if self.may_be_new {
                    let state = layout::host::state();
                    if host.root.meta(&state)?.is_none() {
                        host.root.mkdir(&state, Attr::root(0o711), None)?;
                    }
                } else {
                    // Nothing but `init` begins a registry: one that is gone is not one that is empty.
                    set_up(&look(&host)?)?;
                }
                Store::open(&host.root.real(&layout::host::registry()), Tripwire::default())?
            }
            Mode::DryRun if self.may_be_new => {
                Store::look(&host.root.real(&layout::host::registry()))?.map_or_else(Store::empty, Ok)?
            }
            Mode::DryRun => look(&host)?,
        };
        let spoken = spoken(store.setting(HTTP2)?.as_deref());
        let templates = Templates::new(&overrides(&host)?)?.speaking(spoken);
        let mut ui = self.listener.clone();
        let mut session = Session {
            host,
            store,
            ui: &mut ui,
            templates,
            caller: caller.name,
            mode,
            planned: None,
            recovered: 0,
            patience: self.patience,
        };
        work(&mut session)
    }

    /// The same for looking only.
    pub(super) fn look<T>(&mut self, work: impl FnOnce(&mut Session<'_>) -> Result<T>) -> Result<T> {
        self.session(Mode::DryRun, work)
    }
}

/// The registry as it is, or a fault that says what is missing.
fn look(host: &Host) -> Result<Store> {
    Store::look(&host.root.real(&layout::host::registry()))?.ok_or_else(|| not_set_up().into())
}

fn not_set_up() -> Fault {
    Fault::new(Code::NotInitialised, "this host has not been set up for HostKit")
        .next("hostkit init --base-domain example.com")
}

fn set_up(store: &Store) -> Result<()> {
    store.setting("base_domain")?.map(drop).ok_or_else(|| not_set_up().into())
}

/// The administrator's templates. Only root's own files count: they end up in root's configuration.
fn overrides(host: &Host) -> Result<Vec<(String, String)>> {
    const LIMIT: u64 = 1 << 20;
    let mut found = Vec::new();
    for name in Templates::names() {
        let path = layout::host::templates().join(name);
        let Some(meta) = host.root.meta(&path)? else { continue };
        if meta.attr.uid != 0 || meta.attr.mode & 0o022 != 0 {
            return Err(Fault::new(
                Code::InvalidTemplate,
                format!("`{path}` can be written by others than root"),
            )
            .next(format!("chown root:root {path} && chmod 644 {path}"))
            .into());
        }
        let bytes = host.root.read(&path, LIMIT)?.unwrap_or_default();
        let text = String::from_utf8(bytes)
            .map_err(|_| Fault::new(Code::InvalidTemplate, format!("`{path}` is not UTF-8")))?;
        found.push((name.to_owned(), text));
    }
    Ok(found)
}
