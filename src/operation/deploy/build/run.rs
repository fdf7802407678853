//! Running the commands of a recipe, one after the other, each in a unit of its own.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{
    super::{size, stage::millis},
    Order, Terms,
    diary::Diary,
    reuse::Key,
};
use crate::{
    domain::{
        self,
        command::{Part, StartCommand, Word},
        env::EnvText,
        fault::{Code, Fault},
        name::ProjectName,
        release::ReleaseId,
    },
    event::Event,
    operation::{secrets, session::Session},
    project::{Launch, Limits, ProjectSpec, Recipe, builder::Builder, toolchain},
    resource::{Cache, Resource},
    system::{
        Attr, Host,
        archive::{Installed, Manifest},
        build::{self, Bounds, Ending, Job, Machine},
        tree::Tree,
    },
};

/// Where the commands of one build run: all that they have in common.
pub(super) struct Bench {
    name: ProjectName,
    id: ReleaseId,
    environment: EnvText,
    bounds: Bounds,
    builder: Builder,
    uid: u32,
    received: Manifest,
    /// When the tree was given away: what is younger, a command has made.
    since: (i64, i64),
    /// The most that may be asked for.
    allowed: Limits,
    ends: Instant,
}

impl Bench {
    /// Gives the tree to the build account, and writes down what its commands are told.
    pub(super) fn set_up(
        session: &mut Session<'_>,
        spec: &ProjectSpec,
        order: &Order<'_>,
        builder: Builder,
        terms: &Terms,
    ) -> Result<Self> {
        let bounds = order.bounds.clone();
        let name = &spec.name;
        let staging = name.staging(order.id);
        bound_cache(session, spec, order, builder)?;
        let tree = Tree::new(session.host.root.open_dir(&staging)?);
        tree.give(builder.uid)?;
        let environment = environment(session, spec, order, terms)?;
        let path = name.build_env();
        session.host.root.replace(&path, environment.to_string().as_bytes(), Attr::root(0o600))?;
        session.host.root.remove(&name.build_cancelled())?;
        let since = session.host.root.meta(&path)?.context("the file was written")?.changed;
        Ok(Self {
            received: order.received.clone(),
            since,
            name: name.clone(),
            id: order.id.clone(),
            environment,
            ends: Instant::now() + bounds.time,
            bounds,
            builder,
            uid: spec.uid,
            allowed: spec.rails.build.allowed(Machine::here()),
        })
    }

    /// Carries out a recipe; gives what was installed, if the next build can take it over.
    pub(super) fn work(
        self,
        session: &mut Session<'_>,
        recipe: &Recipe,
        key: Option<&Key>,
        diary: &mut Diary,
    ) -> Result<Option<Installed>> {
        let done = self.stretches(session, recipe, key, diary);
        session.host.root.remove(&self.name.build_env())?;
        done
    }

    fn stretches(
        &self,
        session: &mut Session<'_>,
        recipe: &Recipe,
        key: Option<&Key>,
        diary: &mut Diary,
    ) -> Result<Option<Installed>> {
        let mut installed = None;
        if !recipe.install.is_empty() {
            self.stretch(session, "install", &recipe.install, diary)?;
            if let Some(key) = key {
                installed = key.installed(session, &self.name, &self.id, &self.received, self.since)?;
            }
        }
        if !recipe.build.is_empty() {
            self.stretch(session, "build", &recipe.build, diary)?;
        }
        Ok(installed)
    }

    fn stretch(
        &self,
        session: &mut Session<'_>,
        what: &'static str,
        commands: &[StartCommand],
        diary: &mut Diary,
    ) -> Result<()> {
        let began = Instant::now();
        let shown: Vec<String> = commands.iter().map(ToString::to_string).collect();
        let shown = shown.join("; ");
        session.ui.emit(Event::Began { what, detail: &shown });
        for command in commands {
            diary.command(&command.to_string());
            self.run(session, what, command, diary)?;
        }
        session.ui.emit(Event::Finished { what, detail: &shown, ms: millis(began) });
        Ok(())
    }

    fn run(
        &self,
        session: &mut Session<'_>,
        what: &str,
        command: &StartCommand,
        diary: &mut Diary,
    ) -> Result<()> {
        let mut argv: Vec<String> = command.words().iter().map(|word| self.render(word)).collect();
        // As the application's own start command may name it: the link leads there once it is live.
        if let Some(program) = argv.first_mut().filter(|program| program.starts_with("venv/bin/")) {
            *program = format!("{}/.{program}", self.name.release(&self.id));
        }
        let known = Self::locate(&session.host, &argv[0])?;
        if let Some(name) = &known {
            argv[0].clone_from(name);
        }
        if argv.first().is_none_or(|program| program.is_empty() || program.contains('=')) {
            bail!(Fault::new(Code::InvalidConfig, format!("`{command}` names no program")));
        }
        let left = self.ends.saturating_duration_since(Instant::now()).max(Duration::from_secs(1));
        let job = Job {
            unit: self.name.build_unit(),
            account: self.builder.account(),
            uid: self.builder.uid,
            tree: self.name.staging(&self.id),
            place: self.name.release(&self.id),
            home: self.name.cache(self.uid),
            environment: self.name.build_env(),
            argv,
            bounds: Bounds { time: left, ..self.bounds.clone() },
        };
        let Session { host, ui, .. } = session;
        let ending = host
            .systemd
            .work(&job, &mut |line| diary.hear(*ui, what, line))
            .with_context(|| format!("running `{command}`"))?;
        let cancelled = session.host.root.meta(&self.name.build_cancelled())?.is_some();
        session.host.root.remove(&self.name.build_cancelled())?;
        match ending {
            // It may have come to its end just then.
            Ending::Done if !cancelled => Ok(()),
            _ if cancelled => bail!(self.cancelled()),
            Ending::Failed(127) if known.is_none() => bail!(missing(&job.argv[0])),
            ending => bail!(self.fault(command, &ending)),
        }
    }

    /// The name under which the host has a program, if it does; Debian calls some of them otherwise.
    fn locate(host: &Host, program: &str) -> Result<Option<String>> {
        for name in toolchain::names(program).into_iter().filter(|name| !name.contains('/')) {
            if host.locate(&name)?.is_some() {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    /// A word with the values of its variables: they are those of the build.
    fn render(&self, word: &Word) -> String {
        let mut text = String::new();
        for part in word.parts() {
            match part {
                Part::Text(piece) => text.push_str(piece),
                Part::Variable(key) => text.push_str(self.environment.get(key).unwrap_or_default()),
            }
        }
        text
    }

    fn cancelled(&self) -> Fault {
        let name = &self.name;
        Fault::new(Code::BuildCancelled, "the build was ended with `hostkit builds cancel`")
            .next(format!("hostkit builds log {name} {}", self.id))
    }

    /// What an ending that is not good means, and what can be done.
    fn fault(&self, command: &StartCommand, ending: &Ending) -> Fault {
        let Self { name, id, bounds, allowed, .. } = self;
        let fault = |code, message| Fault::new(code, message);
        let raise = |fault: Fault, what: &str, to: u64, most: Option<u64>, text: &dyn Fn(u64) -> String| {
            let flag = format!("--build-{what} {}", text(to));
            let fault = if most.is_some_and(|most| to > most) {
                fault.next(format!("hostkit rails {name} {flag}    # as an administrator"))
            } else {
                fault
            };
            fault.next(format!(
                "hostkit deploy {name} {flag} …    # or `{what}` under [build] in hostkit.toml"
            ))
        };
        let memory = size(bounds.memory);
        let twice = |n: u64| n.saturating_mul(2) & !((1 << 20) - 1);
        let starved = |message| {
            let fault = fault(Code::BuildOutOfMemory, message);
            raise(fault, "memory", twice(bounds.memory), allowed.memory, &domain::size::text)
        };
        match ending {
            Ending::Failed(127) => {
                fault(Code::BuildFailed, format!("`{command}` calls a program that is not installed"))
            }
            Ending::Failed(status) => {
                fault(Code::BuildFailed, format!("`{command}` failed with exit status {status}"))
            }
            Ending::Killed(signal) if signal == "9" => starved(format!(
                "`{command}` was killed, most likely because it ran out of memory: it had {memory}"
            )),
            Ending::Killed(signal) => {
                fault(Code::BuildFailed, format!("`{command}` was ended by signal {signal}"))
            }
            Ending::OutOfMemory => starved(format!("`{command}` ran out of memory: the build had {memory}")),
            Ending::TimedOut => {
                let (seconds, most) = (bounds.time.as_secs(), allowed.timeout.map(u64::from));
                let fault = fault(
                    Code::BuildTimeout,
                    format!("the build was not done after {seconds} s, in `{command}`"),
                );
                raise(fault, "timeout", seconds * 2, most, &|n| n.to_string())
            }
            Ending::TooLarge => {
                let message =
                    format!("`{command}` filled more than the {} that the build may use", size(bounds.disk));
                let fault = fault(Code::BuildTooLarge, message);
                raise(fault, "disk", twice(bounds.disk), allowed.disk, &domain::size::text)
            }
            Ending::DiskFull => fault(Code::DiskFull, format!("the disk was nearly full in `{command}`"))
                .next("hostkit gc    # empties the trash")
                .next("df -h"),
            Ending::Done => fault(Code::Internal, "a build that was done did not fail".to_owned()),
        }
        .next(format!("hostkit builds log {name} {id}"))
    }
}

/// Empties the cache of a project's builds once it takes half of what they may fill: what grows with every
/// build would make them fail some day, and all of it can be had again.
fn bound_cache(
    session: &mut Session<'_>,
    spec: &ProjectSpec,
    order: &Order<'_>,
    builder: Builder,
) -> Result<()> {
    let path = spec.name.cache(spec.uid);
    let held = build::held(&session.host.root.open_dir(&path)?);
    if held <= order.bounds.disk / 2 {
        return Ok(());
    }
    let message = format!("the cache of builds had {} and was emptied", size(held));
    session.ui.emit(Event::Warned { message: &message });
    session.host.root.shred(&path)?;
    Cache { path, uid: builder.uid }.apply(&mut session.host)
}

fn missing(program: &str) -> Fault {
    let advice = toolchain::advice(program).map(str::to_owned);
    let advice = advice.unwrap_or_else(|| format!("install `{program}` for everybody, in /usr/local/bin"));
    Fault::new(
        Code::ProgramMissing,
        format!("the build needs the program `{program}`, which is not installed"),
    )
    .next(advice)
}

/// What the commands of a build are told: where they are and where their caches lie, and nothing of the
/// project's but the secrets that were asked for.
fn environment(
    session: &Session<'_>,
    spec: &ProjectSpec,
    order: &Order<'_>,
    terms: &Terms,
) -> Result<EnvText> {
    let id = order.id;
    let place = spec.name.release(id);
    let home = spec.name.cache(spec.uid);
    let path = format!("{place}/.venv/bin:{place}/node_modules/.bin:/usr/local/bin:/usr/bin:/bin");
    let certificates = "/etc/ssl/certs/ca-certificates.crt";
    let mut text = EnvText::default();
    let pairs: &[(&str, &str)] = &[
        ("PATH", &path),
        ("HOME", &home.to_string()),
        ("LANG", "C.UTF-8"),
        ("CI", "true"),
        ("HOSTKIT_PROJECT", spec.name.as_str()),
        ("HOSTKIT_RELEASE", id.as_str()),
        ("XDG_CACHE_HOME", &format!("{home}/.cache")),
        // What this host trusts, its builds trust.
        ("SSL_CERT_FILE", certificates),
        ("NODE_EXTRA_CA_CERTS", certificates),
        ("PIP_CERT", certificates),
        ("REQUESTS_CA_BUNDLE", certificates),
        ("UV_NATIVE_TLS", "true"),
        ("npm_config_cache", &format!("{home}/.npm")),
        ("npm_config_update_notifier", "false"),
        ("npm_config_fund", "false"),
        ("npm_config_audit", "false"),
        // A link into a store could not leave it: the tree is another mount.
        ("npm_config_package_import_method", "copy"),
        ("npm_config_store_dir", &format!("{home}/.pnpm-store")),
        ("COREPACK_ENABLE_DOWNLOAD_PROMPT", "0"),
        ("NEXT_TELEMETRY_DISABLED", "1"),
        ("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
        ("PIP_NO_INPUT", "1"),
        ("UV_LINK_MODE", "copy"),
        ("UV_PYTHON_PREFERENCE", "only-system"),
        ("POETRY_VIRTUALENVS_IN_PROJECT", "true"),
        ("POETRY_NO_INTERACTION", "1"),
        ("COMPOSER_HOME", &format!("{home}/.composer")),
        ("BUNDLE_PATH", "vendor/bundle"),
    ];
    for (key, value) in pairs {
        text.set(&key.parse()?, value)?;
    }
    for key in order.commit.iter().flat_map(|_| Launch::COMMIT) {
        text.set(&key.parse()?, order.commit.unwrap_or_default())?;
    }
    for key in &terms.secrets {
        if pairs.iter().any(|(own, _)| key.as_str() == *own) {
            bail!(Fault::new(Code::InvalidValue, format!("`{key}` is set by HostKit for every build")));
        }
        let value = secrets::get(session, &spec.name, key, false)?;
        text.set(key, value.reveal())?;
    }
    Ok(text)
}
