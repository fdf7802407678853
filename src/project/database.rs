//! A project's database: what it is called, who logs in to it, and how the project is told.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{DataService, ProjectSpec};
use crate::{
    domain::{
        env::EnvKey,
        name::ProjectName,
        secret::{Sealed, Secret},
        sql_name::SqlName,
    },
    resource::{self, Any},
    system::{
        Vault,
        postgres::{GROUP, PORT, verifier},
        vault,
    },
};

/// The variable that leads a project to its database.
pub const VARIABLE: &str = "DATABASE_URL";

/// What a login may use. The first is the superuser's to set, so a project cannot lift it; the others
/// are defaults that it can change.
const SETTINGS: [(&str, &str); 3] = [
    ("temp_file_limit", "1GB"),
    ("statement_timeout", "60s"),
    ("idle_in_transaction_session_timeout", "60s"),
];

/// Which of its two roles a project logs in as. Each new password is the other one's, so the old one
/// stays good until the process that uses it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Login {
    /// The role that owns all there is.
    First,
    /// A member of the first, who becomes it on logging in.
    Second,
}

impl Login {
    /// The other one of the two.
    pub const fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
    /// The role's name.
    pub fn role(self, project: &ProjectName) -> SqlName {
        match self {
            Self::First => project.database(),
            Self::Second => project.second_login(),
        }
    }
}

/// A project's database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Database {
    /// Who logs in.
    pub login: Login,
    /// What its password is compared with.
    pub verifier: String,
    /// The whole address, sealed.
    pub url: Sealed,
    /// What the other login's password is compared with, while a process may still use it.
    #[serde(default)]
    pub retiring: Option<String>,
}

impl Database {
    /// A database with a new password.
    pub fn new(project: &ProjectName, keys: &Vault) -> Result<Self> {
        Self::with(project, Login::First, None, keys)
    }

    /// The same database with another login and a new password. Both are good until the old one retires.
    /// Twice without a restart between, the process still uses the one before the first.
    pub fn rotated(&self, project: &ProjectName, keys: &Vault) -> Result<Self> {
        match &self.retiring {
            Some(used) => Self::with(project, self.login, Some(used.clone()), keys),
            None => Self::with(project, self.login.other(), Some(self.verifier.clone()), keys),
        }
    }

    fn with(project: &ProjectName, login: Login, retiring: Option<String>, keys: &Vault) -> Result<Self> {
        let password = vault::password()?;
        let address = format!(
            "postgresql://{}:{}@localhost:{PORT}/{}",
            login.role(project),
            password.reveal(),
            project.database()
        );
        let url = keys.seal(&vault::context(project.as_str(), VARIABLE), &Secret::new(address))?;
        Ok(Self { login, verifier: verifier(&password), url, retiring })
    }

    /// The address with its password.
    pub fn address(&self, project: &ProjectName, keys: &Vault) -> Result<Secret> {
        keys.open(&vault::context(project.as_str(), VARIABLE), &self.url)
    }

    /// What the password of a login is compared with; `None` when nobody may log in as it.
    fn verifier_of(&self, login: Login) -> Option<String> {
        if login == self.login { Some(self.verifier.clone()) } else { self.retiring.clone() }
    }

    fn role(&self, login: Login, spec: &ProjectSpec) -> resource::Role {
        let (name, owner) = (login.role(&spec.name), spec.name.database());
        let mut settings: BTreeMap<String, String> =
            SETTINGS.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let mut within = BTreeSet::from([SqlName::own(GROUP)]);
        if login == Login::Second {
            // So all that it makes is the first one's.
            settings.insert("role".to_owned(), owner.to_string());
            within.insert(owner);
        }
        resource::Role {
            gone: name.gone(spec.uid),
            name,
            verifier: self.verifier_of(login),
            within,
            settings,
        }
    }
}

impl DataService for Database {
    fn resources(&self, spec: &ProjectSpec) -> Vec<Any> {
        let name = spec.name.database();
        let mut all: Vec<Any> = vec![self.role(Login::First, spec).into()];
        if self.verifier_of(Login::Second).is_some() {
            all.push(self.role(Login::Second, spec).into());
        }
        let gone = name.gone(spec.uid);
        all.push(resource::Database { role: name.clone(), name, gone }.into());
        all
    }
    fn plain(&self, _spec: &ProjectSpec) -> Vec<(EnvKey, String)> {
        Vec::new()
    }
    fn sealed(&self, _spec: &ProjectSpec) -> Vec<(EnvKey, Sealed)> {
        VARIABLE.parse().map(|key| (key, self.url.clone())).into_iter().collect()
    }
    fn retire(&mut self) -> bool {
        self.retiring.take().is_some()
    }
}
