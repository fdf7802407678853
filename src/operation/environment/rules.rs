//! What a project may set in its environment, and what is HostKit's or the vault's.

use std::collections::BTreeSet;

use anyhow::Result;

use crate::{
    domain::{
        env::{EnvKey, EnvText},
        fault::{Code, Fault},
        name::ProjectName,
    },
    operation::session::Session,
    project::{ProjectSpec, env},
};

/// What a project may set in its environment.
#[derive(Debug)]
pub struct Rules {
    name: ProjectName,
    own: BTreeSet<EnvKey>,
    vault: BTreeSet<EnvKey>,
}

impl Rules {
    pub(super) fn of(session: &Session<'_>, spec: &ProjectSpec) -> Result<Self> {
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

    pub(super) fn check(&self, old: &EnvText, new: &EnvText, loader: bool) -> Result<()> {
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
