//! A project's environment file: HostKit's own variables in front, the project's after them.
//!
//! Secrets are in plans and in the journal only as the vault has sealed them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Resource, State, file::LIMIT};
use crate::{
    domain::{
        env::{EnvKey, EnvText},
        layout::HostPath,
        secret::{Sealed, Secret},
    },
    system::{Attr, Host, vault},
};

/// An environment file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EnvFile {
    /// Where it lies: in the home of the project whose it is.
    pub path: HostPath,
    /// The group that may read it; the owner is root.
    pub gid: u32,
    /// HostKit's variables that are no secret.
    pub keys: BTreeMap<EnvKey, String>,
    /// HostKit's variables that are.
    #[serde(default)]
    pub sealed: BTreeMap<EnvKey, Sealed>,
    /// The project's part, when it is to change; without this it stays as it is.
    #[serde(default)]
    pub users: Option<Sealed>,
}

/// An environment file as it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// HostKit's variables, as far as they are there.
    keys: BTreeMap<EnvKey, String>,
    #[serde(default)]
    sealed: BTreeMap<EnvKey, Sealed>,
    /// The project's part as it stands.
    #[serde(default)]
    users: Option<Sealed>,
    /// What that part sets although it is HostKit's.
    #[serde(default)]
    strays: BTreeSet<EnvKey>,
    /// What HostKit set there and sets no longer.
    #[serde(default)]
    spare: BTreeSet<EnvKey>,
    /// The whole text, to put it back as it was.
    #[serde(default)]
    whole: Option<Sealed>,
    uid: u32,
    gid: u32,
    mode: u32,
}

/// Readable by the project, written by root.
const MODE: u32 = 0o640;

impl EnvFile {
    /// What the project's part of the environment of `project` is sealed for.
    pub fn context(project: &str) -> String {
        vault::context(project, ".env")
    }

    /// What a whole text of the environment of `project` is sealed for.
    fn whole_context(project: &str) -> String {
        vault::context(project, ".env whole")
    }

    fn project(&self) -> String {
        self.path.parent().file_name().to_owned()
    }

    fn text(&self, host: &Host) -> Result<EnvText> {
        let bytes = host.root.read(&self.path, LIMIT)?.unwrap_or_default();
        let text = String::from_utf8(bytes).with_context(|| format!("`{}` is not UTF-8", self.path))?;
        EnvText::parse(&text).with_context(|| format!("reading `{}`", self.path))
    }

    /// The variables that are HostKit's.
    pub fn own(&self) -> BTreeSet<EnvKey> {
        self.keys.keys().chain(self.sealed.keys()).cloned().collect()
    }

    /// The project's part of the file as it is now, even where it sets what is HostKit's.
    pub fn part(&self, host: &Host) -> Result<EnvText> {
        Ok(self.text(host)?.part(&self.own()))
    }

    /// The text that the file is to have, with this part of the project's.
    pub fn compose(&self, users: &EnvText, host: &Host) -> Result<EnvText> {
        let project = self.project();
        let mut opened = BTreeMap::new();
        for (key, secret) in &self.sealed {
            opened.insert(key, host.vault.open(&vault::context(&project, key.as_str()), secret)?);
        }
        let plain = self.keys.iter().map(|(key, value)| (key, value.as_str()));
        let own = plain.chain(opened.iter().map(|(k, v)| (*k, v.reveal())));
        Ok(EnvText::compose(own, &users.without(&self.own()))?)
    }

    /// What the whole file says now.
    pub fn read(&self, host: &Host) -> Result<EnvText> {
        self.text(host)
    }

    /// What HostKit gives a variable, when it is a secret of this file's.
    fn found_sealed(&self, text: &EnvText, host: &Host) -> Result<BTreeMap<EnvKey, Sealed>> {
        let project = self.project();
        let mut sealed = BTreeMap::new();
        for key in self.sealed.keys() {
            if let Some(value) = text.own(key) {
                let context = vault::context(&project, key.as_str());
                sealed.insert(key.clone(), host.vault.seal(&context, &Secret::new(value))?);
            }
        }
        Ok(sealed)
    }
}

impl Resource for EnvFile {
    const KIND: &'static str = "env";
    type Found = Option<Found>;

    fn name(&self) -> String {
        self.path.to_string()
    }
    fn observe(&self, host: &Host) -> Result<Option<Found>> {
        let Some(meta) = host.root.meta(&self.path)? else { return Ok(None) };
        let (text, project, own) = (self.text(host)?, self.project(), self.own());
        let plain = |key: &EnvKey| text.own(key).map(|v| (key.clone(), v.to_owned()));
        let keys = self.keys.keys().filter_map(plain).collect();
        let sealed = self.found_sealed(&text, host)?;
        let part = text.part(&own);
        let seal = |context: &str, text: &EnvText| {
            let text = Zeroizing::new(text.to_string());
            host.vault.seal(context, &Secret::new(text.as_str()))
        };
        let users = Some(seal(&Self::context(&project), &part)?);
        let whole = Some(seal(&Self::whole_context(&project), &text)?);
        let Attr { uid, gid, mode } = meta.attr;
        Ok(Some(Found {
            keys,
            sealed,
            users,
            strays: part.strays(&own),
            spare: text.spare(&own),
            whole,
            uid,
            gid,
            mode,
        }))
    }
    fn compare(&self, found: &Option<Found>) -> State {
        let Some(found) = found else { return State::Missing };
        let plain = self.keys.iter().find(|(k, v)| found.keys.get(*k) != Some(v)).map(|(k, _)| k);
        let sealed = self.sealed.iter().find(|(k, v)| found.sealed.get(*k) != Some(v)).map(|(k, _)| k);
        if let Some(key) = plain.or(sealed) {
            State::Differs(format!("`{key}` is not as HostKit set it"))
        } else if let Some(key) = found.strays.first() {
            State::Differs(format!("`{key}` is HostKit's and is set again in the project's part"))
        } else if let Some(key) = found.spare.first() {
            State::Differs(format!("`{key}` is not set any more"))
        } else if self.users.is_some() && self.users != found.users {
            State::Differs("the project's variables change".into())
        } else if (found.uid, found.gid, found.mode) != (0, self.gid, MODE) {
            State::Differs(format!(
                "mode {:04o} {}:{} → {MODE:04o} 0:{}",
                found.mode, found.uid, found.gid, self.gid
            ))
        } else {
            State::Satisfied
        }
    }
    fn apply(&self, host: &mut Host) -> Result<()> {
        let attr = Attr { uid: 0, gid: self.gid, mode: MODE };
        let users = match &self.users {
            Some(users) => EnvText::parse(host.vault.open(&Self::context(&self.project()), users)?.reveal())?,
            None => self.part(host)?,
        };
        let text = Zeroizing::new(self.compose(&users, host)?.to_string());
        host.root.replace(&self.path, text.as_bytes(), attr)
    }
    fn restore(&self, found: &Option<Found>, host: &mut Host) -> Result<()> {
        host.root.tidy(&self.path)?;
        match found {
            None => host.root.remove(&self.path),
            Some(_) if self.observe(host)? == *found => Ok(()),
            Some(f) => {
                let attr = Attr { uid: f.uid, gid: f.gid, mode: f.mode };
                let whole = f.whole.as_ref().context("a before-image from an older hostkit")?;
                let text = host.vault.open(&Self::whole_context(&self.project()), whole)?;
                host.root.replace(&self.path, text.reveal().as_bytes(), attr)
            }
        }
    }
    fn place(&self) -> Option<&HostPath> {
        Some(&self.path)
    }
    #[cfg(test)]
    fn sample() -> Option<Self> {
        let keys = [("PORT".parse().expect("a key"), "8001".to_owned())].into();
        Some(Self { path: HostPath::fixed("/home/.env"), gid: 0, keys, sealed: BTreeMap::new(), users: None })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::disallowed_methods)]
mod tests {
    use super::*;
    use crate::system::{Tripwire, fake::World};

    fn sealed(host: &Host, secret: &str, users: &str) -> EnvFile {
        let seal = |key: &str, text: &str| host.vault.seal(&vault::context("home", key), &Secret::new(text));
        EnvFile {
            sealed: [("TOKEN".parse().unwrap(), seal("TOKEN", secret).unwrap())].into(),
            users: Some(seal(".env", users).unwrap()),
            ..EnvFile::sample().unwrap()
        }
    }

    #[test]
    fn the_laws_hold_with_secrets_and_with_the_projects_part() {
        let dir = tempfile::tempdir().unwrap();
        let host = World::new(dir.path()).host(Tripwire::default());
        super::super::laws::check(&sealed(&host, "poison", "# mine\nA='1'\n").into());
    }

    #[test]
    fn neither_plan_nor_before_image_holds_a_secret_and_both_parts_are_put_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut host = World::new(dir.path()).host(Tripwire::default());
        let (old, new) = (sealed(&host, "poison", "A='1'\n"), sealed(&host, "venom", "B='2'\n"));
        old.apply(&mut host).unwrap();
        let before = old.observe(&host).unwrap();
        let file = std::fs::read_to_string(dir.path().join("home/.env")).unwrap();
        assert!(file.contains("TOKEN='poison'") && file.ends_with("A='1'\n"), "{file}");
        let records = format!(
            "{}{}{before:?}{old:?}",
            serde_json::to_string(&before).unwrap(),
            serde_json::to_string(&old).unwrap()
        );
        assert!(!records.contains("poison"));
        assert_ne!(new.compare(&before), State::Satisfied);
        new.apply(&mut host).unwrap();
        old.restore(&before, &mut host).unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join("home/.env")).unwrap(), file);
    }
}
