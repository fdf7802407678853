//! A Linux account with a group of its own.

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use super::{Resource, State};
use crate::system::{Account, Host};

/// The account a project's processes and logins run under.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UnixAccount {
    /// Its name, and its group's.
    pub name: String,
    /// Its number, and its group's; never given out twice.
    pub uid: u32,
    /// Its home.
    pub home: String,
    /// Whether somebody may log in as it; a build's account is nobody's.
    #[serde(default = "yes")]
    pub login: bool,
}

/// What an account from before there were others is.
const fn yes() -> bool {
    true
}

/// An account as it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Its number and its group's, when there is an account of the name.
    account: Option<(u32, u32)>,
    /// Whether there is a group of the name.
    group: bool,
}

impl UnixAccount {
    fn account(&self) -> Account {
        Account {
            name: self.name.clone(),
            uid: self.uid,
            gid: self.uid,
            home: self.home.clone(),
            shell: if self.login { "/bin/bash" } else { "/usr/sbin/nologin" }.to_owned(),
        }
    }
}

impl Resource for UnixAccount {
    const KIND: &'static str = "account";
    type Found = Found;

    fn name(&self) -> String {
        self.name.clone()
    }
    fn observe(&self, host: &Host) -> Result<Found> {
        Ok(Found {
            account: host.accounts.find(&self.name)?.map(|a| (a.uid, a.gid)),
            group: host.accounts.has_group(&self.name)?,
        })
    }
    fn compare(&self, found: &Found) -> State {
        match found.account {
            None => State::Missing,
            Some(ids) if ids == (self.uid, self.uid) => State::Satisfied,
            Some((uid, gid)) => State::Differs(format!("has the numbers {uid} and {gid}, not {}", self.uid)),
        }
    }
    fn apply(&self, host: &mut Host) -> Result<()> {
        match host.accounts.find(&self.name)? {
            None => host.accounts.create(&self.account()),
            Some(found) if (found.uid, found.gid) == (self.uid, self.uid) => Ok(()),
            // Its files carry the old number: renumbering is not something to do in passing.
            Some(found) => {
                bail!(
                    "the account `{}` has the number {}, not {}; HostKit does not renumber",
                    self.name,
                    found.uid,
                    self.uid
                )
            }
        }
    }
    fn restore(&self, found: &Found, host: &mut Host) -> Result<()> {
        host.accounts.settle()?;
        match found.account {
            None => host.accounts.delete(&self.name),
            Some((uid, _)) if host.accounts.find(&self.name)?.is_none() => {
                host.accounts.create(&Account { uid, gid: uid, ..self.account() })
            }
            Some(_) => Ok(()),
        }
    }
    #[cfg(test)]
    fn sample() -> Option<Self> {
        Some(Self { name: "blog".into(), uid: 2000, home: "/home/blog".into(), login: true })
    }
}
