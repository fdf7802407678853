//! The environment of a project: taking in what was edited by hand, and changing it as a stand of its own.

use std::collections::BTreeMap;

use anyhow::Result;
use jiff::Timestamp;
use zeroize::Zeroizing;

use super::{
    deploy::verdict,
    lifecycle::retire,
    secrets,
    session::{Outcome, Session},
};
use crate::{
    domain::{
        env::{
            EnvKey, EnvText,
            diff::{Change, summary},
        },
        fault::{Code, Fault},
        name::ProjectName,
        release::ReleaseId,
        secret::{Sealed, Secret},
    },
    event::Event,
    plan::{Foreign, Plan},
    project::{Injected, ProjectSpec, env},
    resource::{Any, EnvFile},
    store::{EnvironmentRow, Registry, SecretRow},
    system::Host,
};

/// A change of a project on the way: what it is to be, and what the registry is to know afterwards of
/// its environment.
pub(super) struct Draft {
    /// What the project is to be.
    pub(super) spec: ProjectSpec,
    /// The project's part as it is to be.
    part: EnvText,
    /// Whether that part is written anew.
    writes: bool,
    /// What was live, with the environment it turned out to have.
    was: Option<(ReleaseId, Option<u32>)>,
    newest: u32,
    rows: Vec<EnvironmentRow>,
    secrets: Vec<SecretRow>,
}

impl Draft {
    /// Begins with the project as it is. What was edited by hand since becomes a version of its own, on
    /// the stand it was edited on.
    pub(super) fn begin(session: &mut Session<'_>, spec: &ProjectSpec) -> Result<Self> {
        let file = env(spec)?;
        let whole = file.part(&session.host)?;
        for key in whole.strays(&file.own()) {
            let name = &spec.name;
            let message = format!(
                "`{key}` in the project's part of the environment of `{name}` is HostKit's; the line is dropped"
            );
            session.ui.emit(Event::Warned { message: &message });
        }
        let part = whole.without(&file.own());
        let newest = session.store.newest_environment(spec.uid)?;
        let mut draft = Self {
            spec: spec.clone(),
            writes: part != whole,
            part,
            was: None,
            newest,
            rows: Vec::new(),
            secrets: Vec::new(),
        };
        let Some(meta) = session.host.root.meta(&file.path)? else {
            // A file that is gone was not edited: what is known comes back.
            draft.was = spec.live_release().cloned().map(|id| (id, spec.env));
            draft.bring(session)?;
            return Ok(draft);
        };
        if let Some(what) = draft.unknown(session, &file)? {
            let at = Timestamp::new(meta.changed.0, i32::try_from(meta.changed.1)?)?;
            // Only root can write the file.
            let version = draft.keep(&session.host, at, "root", what)?;
            draft.spec = spec.found_with(version);
        }
        draft.was = draft.spec.live_release().cloned().map(|id| (id, draft.spec.env));
        Ok(draft)
    }

    /// How the file differs from the version that is known, if it does.
    fn unknown(&self, session: &Session<'_>, file: &EnvFile) -> Result<Option<String>> {
        let known = match self.spec.env {
            Some(version) => session.store.environment(self.spec.uid, version)?,
            None => None,
        };
        let Some(known) = known else {
            let changes = EnvText::default().diff(&self.part);
            let what = if changes.is_empty() { "as it began".to_owned() } else { by_hand(&changes) };
            return Ok(Some(what));
        };
        if known.text == seal(&session.host, &self.spec.name, &self.part)? {
            return Ok(None);
        }
        // HostKit may have come to set a variable since that was once the project's.
        let known = open(&session.host, &self.spec.name, &known.text)?.without(&file.own());
        Ok((known != self.part).then(|| by_hand(&known.diff(&self.part))))
    }

    fn keep(&mut self, host: &Host, at: Timestamp, by: &str, what: String) -> Result<u32> {
        self.newest += 1;
        self.rows.push(EnvironmentRow {
            version: self.newest,
            text: seal(host, &self.spec.name, &self.part)?,
            changed_at: format!("{at:.0}"),
            changed_by: by.to_owned(),
            what,
        });
        Ok(self.newest)
    }

    /// Gives the project's part another text: a stand of its own.
    fn put(&mut self, session: &Session<'_>, text: EnvText, what: String) -> Result<u32> {
        self.part = text;
        self.writes = true;
        let version = self.keep(&session.host, session.host.clock.now(), &session.caller, what)?;
        self.spec = self.spec.with_env(version);
        Ok(version)
    }

    /// The same for a text from elsewhere, without what HostKit sets itself, where it is another one.
    pub(super) fn replace(&mut self, session: &Session<'_>, text: EnvText, what: String) -> Result<()> {
        let text = text.without(&env(&self.spec)?.own());
        if text != self.part {
            self.put(session, text, what)?;
        }
        Ok(())
    }

    /// Puts these into the vault of a project that has none of them, and into its environment.
    pub(super) fn keep_secrets(&mut self, session: &mut Session<'_>, all: &[(EnvKey, Secret)]) -> Result<()> {
        for (key, value) in all {
            self.secrets.push(secrets::row(session, &self.spec, key, value, 1)?);
        }
        if all.is_empty() { Ok(()) } else { self.inject(session) }
    }

    /// Brings the environment back that the specification names.
    pub(super) fn bring(&mut self, session: &Session<'_>) -> Result<()> {
        let Some(version) = self.spec.env else { return Ok(()) };
        // One that was only just taken in is what is there.
        if self.rows.iter().any(|row| row.version == version) {
            return Ok(());
        }
        let Some(row) = session.store.environment(self.spec.uid, version)? else {
            return Err(no_version(&self.spec.name, version).into());
        };
        let text = open(&session.host, &self.spec.name, &row.text)?;
        self.writes |= text != self.part;
        self.part = text;
        Ok(())
    }

    /// Puts the vault's secrets into the environment as they are now.
    pub(super) fn inject(&mut self, session: &mut Session<'_>) -> Result<()> {
        let mut rows = session.store.secrets(self.spec.uid)?;
        rows.splice(0..0, self.secrets.iter().cloned());
        let mut injected: BTreeMap<EnvKey, Injected> = BTreeMap::new();
        for row in rows {
            // The newest comes first.
            if injected.contains_key(&row.name) {
                continue;
            }
            let secret = match self.spec.injected.get(&row.name) {
                Some(there) if there.version == row.version => there.clone(),
                _ => secrets::prepare(&session.host, &self.spec.name, &row)?,
            };
            injected.insert(row.name, secret);
        }
        if injected == self.spec.injected {
            return Ok(());
        }
        self.spec.injected = injected;
        self.writes = true;
        for key in self.part.strays(&env(&self.spec)?.own()) {
            let message = format!("the vault's `{key}` takes the place of the line in the project's part");
            session.ui.emit(Event::Warned { message: &message });
        }
        Ok(())
    }

    /// Makes up a value for each of these, and puts it into the vault.
    pub(super) fn generate(&mut self, session: &Session<'_>, keys: &[EnvKey]) -> Result<()> {
        for key in keys {
            let value = crate::system::vault::password()?;
            self.secrets.push(secrets::row(session, &self.spec, key, &value, 1)?);
        }
        Ok(())
    }

    /// The resources it leads to.
    pub(super) fn wanted(&self, session: &Session<'_>) -> Result<Vec<Any>> {
        let file = env(&self.spec)?;
        let users = self.part.without(&file.own());
        let whole = Zeroizing::new(file.compose(&users, &session.host)?.to_string());
        if whole.len() > EnvText::LIMIT {
            let limit = EnvText::LIMIT / 1024;
            return Err(Fault::new(
                Code::InvalidValue,
                format!("the environment would be larger than {limit} KiB"),
            )
            .next(format!("put large values into files in {}", self.spec.name.shared()))
            .into());
        }
        let mut all = session.wanted(&self.spec)?;
        if self.writes {
            let users = seal(&session.host, &self.spec.name, &users)?;
            for resource in &mut all {
                if let Any::EnvFile(file) = resource {
                    file.users = Some(users.clone());
                }
            }
        }
        Ok(all)
    }

    /// Writes into the registry what the project is now. `all` is what it owns: without the project's
    /// part, which may be edited by hand.
    pub(super) fn record(&self, registry: &Registry<'_>, all: &[Any]) -> Result<()> {
        if let Some((release, version)) = &self.was {
            registry.ran_with(self.spec.uid, release, *version)?;
        }
        registry.put_project(&self.spec)?;
        for row in &self.rows {
            registry.add_environment(&self.spec, row)?;
        }
        for row in &self.secrets {
            registry.put_secret(self.spec.uid, row)?;
        }
        // What the process runs with takes the place of what came before.
        for (key, secret) in &self.spec.injected {
            registry.drop_secret(self.spec.uid, key, secret.version)?;
        }
        registry.own(self.spec.name.as_str(), all.iter())
    }

    /// Whether the registry would learn something.
    fn is_news(&self) -> bool {
        !self.rows.is_empty()
    }
}

fn by_hand(changes: &[Change]) -> String {
    format!("by hand: {}", summary(changes))
}

fn no_version(name: &ProjectName, version: u32) -> Fault {
    Fault::new(Code::VariableNotFound, format!("the environment of `{name}` has no version {version}"))
        .next(format!("hostkit env history {name}"))
}

/// Seals a project's part.
fn seal(host: &Host, name: &ProjectName, part: &EnvText) -> Result<Sealed> {
    let text = Zeroizing::new(part.to_string());
    host.vault.seal(&EnvFile::context(name.as_str()), &Secret::new(text.as_str()))
}

/// Opens a project's part.
fn open(host: &Host, name: &ProjectName, part: &Sealed) -> Result<EnvText> {
    Ok(EnvText::parse(host.vault.open(&EnvFile::context(name.as_str()), part)?.reveal())?)
}

/// Has a file that is gone made with the project's part as it was last known.
pub(super) fn bring_back(session: &Session<'_>, owner: &str, wanted: &mut [Any]) -> Result<()> {
    let Ok(name) = owner.parse::<ProjectName>() else { return Ok(()) };
    let Some(ProjectSpec { uid, env: Some(version), .. }) = session.store.project(&name)?.map(|row| row.spec)
    else {
        return Ok(());
    };
    for resource in wanted {
        if let Any::EnvFile(file) = resource
            && session.host.root.meta(&file.path)?.is_none()
        {
            file.users = session.store.environment(uid, version)?.map(|row| row.text);
        }
    }
    Ok(())
}

/// Where a variable comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// HostKit sets it.
    HostKit,
    /// It is in the vault.
    Vault,
    /// It is the project's.
    Project,
}

/// A project's environment as it is.
#[derive(Debug)]
pub struct View {
    /// The project.
    pub spec: ProjectSpec,
    /// HostKit's part, and the project's.
    pub whole: EnvText,
    /// The project's part alone.
    pub part: EnvText,
    /// The project's part, sealed: to tell later whether it is still the same.
    pub seen: Sealed,
}

impl View {
    /// Where a variable that is there comes from.
    pub fn from(&self, key: &EnvKey) -> From {
        let project = self.part.get(key).is_some();
        match (project, self.spec.injected.contains_key(key)) {
            (true, _) => From::Project,
            (_, true) => From::Vault,
            _ => From::HostKit,
        }
    }
}

/// Looks at a project's environment.
pub fn view(session: &Session<'_>, name: &ProjectName) -> Result<View> {
    let spec = session.project(name)?.spec;
    let file = env(&spec)?;
    let (whole, part) = (file.read(&session.host)?, file.part(&session.host)?.without(&file.own()));
    let seen = seal(&session.host, name, &part)?;
    Ok(View { spec, whole, part, seen })
}

/// The project's part as a version had it.
pub fn version(session: &Session<'_>, spec: &ProjectSpec, version: u32) -> Result<EnvText> {
    match session.store.environment(spec.uid, version)? {
        Some(row) => open(&session.host, &spec.name, &row.text),
        None => Err(no_version(&spec.name, version).into()),
    }
}

/// What a change of an environment may do, and what it was made from.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The command.
    pub verb: &'static str,
    /// Whether the process is started anew.
    pub restart: bool,
    /// Whether variables may be set that change how programs are loaded.
    pub loader: bool,
    /// The project's part that the change was made from, when it must be that.
    pub seen: Option<Sealed>,
}

/// What a change of an environment did.
#[derive(Debug)]
pub struct Changed {
    /// The project now.
    pub spec: ProjectSpec,
    /// What is otherwise.
    pub changes: Vec<Change>,
    /// Whether its process was started anew.
    pub restarted: bool,
}

/// Changes the project's part of an environment with `edit`, which gets it and HostKit's variables.
pub fn change(
    session: &mut Session<'_>,
    name: &ProjectName,
    terms: &Terms,
    edit: impl FnOnce(&EnvText, &Rules) -> Result<EnvText>,
) -> Result<(Outcome, Changed)> {
    let _held = session.enter(name.as_str(), terms.verb)?;
    let spec = session.project(name)?.spec;
    let mut draft = Draft::begin(session, &spec)?;
    if let Some(seen) = &terms.seen
        && *seen != seal(&session.host, name, &draft.part)?
    {
        return Err(Fault::new(
            Code::WrongState,
            format!("the environment of `{name}` was changed by somebody else in the meantime"),
        )
        .next(format!("hostkit env diff {name}"))
        .into());
    }
    let rules = Rules::of(session, &spec)?;
    let text = edit(&draft.part, &rules)?;
    rules.check(&draft.part, &text, terms.loader)?;
    let changes = draft.part.diff(&text);
    if text != draft.part {
        draft.put(session, text, summary(&changes))?;
    }
    let done = carry_out(session, &spec, draft, terms.verb, terms.restart)?;
    let (outcome, spec, restarted) = done;
    Ok((outcome, Changed { spec, changes, restarted }))
}

/// Puts the vault's secrets into the environment.
pub fn inject(
    session: &mut Session<'_>,
    name: &ProjectName,
    restart: bool,
) -> Result<(Outcome, ProjectSpec, bool)> {
    let _held = session.enter(name.as_str(), "secrets inject")?;
    let spec = session.project(name)?.spec;
    let mut draft = Draft::begin(session, &spec)?;
    draft.inject(session)?;
    carry_out(session, &spec, draft, "secrets inject", restart)
}

/// Writes the file and starts the process anew, or puts everything back.
fn carry_out(
    session: &mut Session<'_>,
    old: &ProjectSpec,
    mut draft: Draft,
    verb: &'static str,
    restart: bool,
) -> Result<(Outcome, ProjectSpec, bool)> {
    if restart {
        draft.inject(session)?;
    }
    // Nothing else: what else is otherwise is none of this command's business.
    let concerned = |r: &Any| matches!(r, Any::EnvFile(_)) || restart && matches!(r, Any::Service(_));
    let all = session.wanted(&draft.spec)?;
    let owned = session.store.owned(old.name.as_str())?.into_iter().filter(concerned).collect();
    let wanted = draft.wanted(session)?.into_iter().filter(concerned).collect();
    let plan = Plan::between(owned, wanted, Foreign::Refuse, &session.host)?;
    let restarted = old.running && plan.changes().any(|step| step.resource.kind() == "service");
    if plan.is_noop() && draft.spec == *old && !draft.is_news() {
        return Ok((Outcome::Unchanged, draft.spec, false));
    }
    let name = &old.name;
    match session.carry_out(name.as_str(), verb, &plan, |registry| draft.record(registry, &all)) {
        Ok(outcome) => {
            if restart {
                retire(session, name);
            }
            Ok((outcome, draft.spec, restarted))
        }
        Err(error) => Err(verdict(session, old, error)),
    }
}

/// What a project may set in its environment.
#[derive(Debug)]
pub struct Rules {
    name: ProjectName,
    own: std::collections::BTreeSet<EnvKey>,
    vault: std::collections::BTreeSet<EnvKey>,
}

impl Rules {
    fn of(session: &Session<'_>, spec: &ProjectSpec) -> Result<Self> {
        // One that was taken out is the vault's as long as a process may have it.
        let vault = session.store.secrets(spec.uid)?.into_iter().map(|row| row.name);
        let vault = vault.chain(spec.injected.keys().cloned()).collect();
        Ok(Self { name: spec.name.clone(), own: env(spec)?.own(), vault })
    }

    /// A text from elsewhere as the project's part.
    pub fn brought(&self, text: &EnvText) -> EnvText {
        text.brought(&self.own)
    }

    /// Whether HostKit or the vault sets it.
    pub fn is_taken(&self, key: &EnvKey) -> bool {
        self.own.contains(key) && !key.is_default() || self.vault.contains(key)
    }

    /// Why the project cannot have a variable in its part.
    pub fn refusal(&self, key: &EnvKey) -> Fault {
        let name = &self.name;
        if self.vault.contains(key) {
            return Fault::new(Code::InvalidValue, format!("`{key}` comes out of the vault of `{name}`"))
                .next(format!("hostkit secrets set {name} {key}"))
                .next(format!("hostkit secrets unset {name} {key}"));
        }
        Fault::new(Code::InvalidValue, format!("`{key}` is HostKit's: it sets it for `{name}` itself")).next(
            match key.as_str() {
                "PORT" => format!("hostkit provision {name} --port PORT"),
                _ => format!("hostkit env list {name}    # shows what HostKit sets"),
            },
        )
    }

    fn check(&self, old: &EnvText, new: &EnvText, loader: bool) -> Result<()> {
        let taken = |(key, value): &(&EnvKey, &str)| self.is_taken(key) && old.get(key) != Some(*value);
        if let Some((key, _)) = new.iter().find(taken) {
            return Err(self.refusal(key).into());
        }
        let changed = old.diff(new).into_iter().filter(|change| change.new.is_some());
        if let Some(change) = changed.into_iter().find(|change| change.key.is_loader())
            && !loader
        {
            let key = change.key;
            return Err(Fault::new(
                Code::InvalidValue,
                format!("`{key}` changes how programs are loaded, not only what they do"),
            )
            .next("repeat with `--allow-loader` if that is what you want")
            .into());
        }
        Ok(())
    }
}
