//! A change of a project on the way, with its environment: what was edited by hand is taken in first.

use std::collections::BTreeMap;

use anyhow::Result;
use jiff::Timestamp;
use zeroize::Zeroizing;

use super::{no_version, open, seal};
use crate::{
    domain::{
        env::{
            EnvKey, EnvText,
            diff::{Change, summary},
        },
        fault::{Code, Fault},
        name::ProjectName,
        release::ReleaseId,
        secret::Secret,
    },
    event::Event,
    operation::{secrets, session::Session},
    project::{Injected, ProjectSpec, env},
    resource::{Any, EnvFile},
    store::{EnvironmentRow, Registry, SecretRow},
    system::Host,
};

/// A change of a project on the way: what it is to be, and what the registry is to know afterwards of
/// its environment.
pub(in crate::operation) struct Draft {
    /// What the project is to be.
    pub(in crate::operation) spec: ProjectSpec,
    /// The project's part as it is to be.
    pub(super) part: EnvText,
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
    pub(in crate::operation) fn begin(session: &mut Session<'_>, spec: &ProjectSpec) -> Result<Self> {
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

    /// The project's part as it is to be.
    pub(in crate::operation) fn part(&self) -> &EnvText {
        &self.part
    }

    /// Gives the project's part another text: a stand of its own.
    pub(super) fn put(&mut self, session: &Session<'_>, text: EnvText, what: String) -> Result<u32> {
        self.part = text;
        self.writes = true;
        let version = self.keep(&session.host, session.host.clock.now(), &session.caller, what)?;
        self.spec = self.spec.with_env(version);
        Ok(version)
    }

    /// The same for a text from elsewhere, without what HostKit sets itself, where it is another one.
    pub(in crate::operation) fn replace(
        &mut self,
        session: &Session<'_>,
        text: EnvText,
        what: String,
    ) -> Result<()> {
        let text = text.without(&env(&self.spec)?.own());
        if text != self.part {
            self.put(session, text, what)?;
        }
        Ok(())
    }

    /// Puts these into the vault of a project that has none of them, and into its environment.
    pub(in crate::operation) fn keep_secrets(
        &mut self,
        session: &mut Session<'_>,
        all: &[(EnvKey, Secret)],
    ) -> Result<()> {
        for (key, value) in all {
            self.secrets.push(secrets::row(session, &self.spec, key, value, 1)?);
        }
        if all.is_empty() { Ok(()) } else { self.inject(session) }
    }

    /// Brings the environment back that the specification names.
    pub(in crate::operation) fn bring(&mut self, session: &Session<'_>) -> Result<()> {
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
    pub(in crate::operation) fn inject(&mut self, session: &mut Session<'_>) -> Result<()> {
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
    pub(in crate::operation) fn generate(&mut self, session: &Session<'_>, keys: &[EnvKey]) -> Result<()> {
        for key in keys {
            let value = crate::system::vault::password()?;
            self.secrets.push(secrets::row(session, &self.spec, key, &value, 1)?);
        }
        Ok(())
    }

    /// The whole environment as a process would get it.
    pub(in crate::operation) fn whole(&self, session: &Session<'_>) -> Result<EnvText> {
        let file = env(&self.spec)?;
        file.compose(&self.part.without(&file.own()), &session.host)
    }

    /// The resources it leads to.
    pub(in crate::operation) fn wanted(&self, session: &Session<'_>) -> Result<Vec<Any>> {
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
    pub(in crate::operation) fn record(&self, registry: &Registry<'_>, all: &[Any]) -> Result<()> {
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
    pub(in crate::operation) fn is_news(&self) -> bool {
        !self.rows.is_empty()
    }
}

fn by_hand(changes: &[Change]) -> String {
    format!("by hand: {}", summary(changes))
}

/// Has a file that is gone made with the project's part as it was last known.
pub(in crate::operation) fn bring_back(session: &Session<'_>, owner: &str, wanted: &mut [Any]) -> Result<()> {
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
