//! A fake list of accounts.

use anyhow::{Result, bail};

use super::Fake;
use crate::system::{Account, Accounts};

impl Accounts for Fake {
    fn find(&self, name: &str) -> Result<Option<Account>> {
        Ok(self.world.state().accounts.get(name).map(|(uid, home)| Account {
            name: name.into(),
            uid: *uid,
            gid: *uid,
            home: home.clone(),
            shell: "/bin/bash".into(),
        }))
    }
    fn has_group(&self, name: &str) -> Result<bool> {
        Ok(self.world.state().accounts.contains_key(name))
    }
    fn is_used(&self, id: u32) -> Result<bool> {
        Ok(self.world.state().accounts.values().any(|(uid, _)| *uid == id))
    }
    fn settle(&self) -> Result<()> {
        Ok(())
    }
    fn groups(&self, name: &str) -> Result<Vec<String>> {
        Ok(self.world.state().groups.get(name).cloned().unwrap_or_default())
    }
    fn create(&mut self, account: &Account) -> Result<()> {
        self.effect("useradd", |state| {
            if state.accounts.contains_key(&account.name) {
                bail!("useradd: user '{}' already exists", account.name);
            }
            state.accounts.insert(account.name.clone(), (account.uid, account.home.clone()));
            Ok(())
        })
    }
    fn delete(&mut self, name: &str) -> Result<()> {
        if !self.world.state().accounts.contains_key(name) {
            return Ok(());
        }
        self.effect("userdel", |state| {
            if state.units.values().any(|u| u.user == name) {
                bail!("userdel: user {name} is currently used by process 4711");
            }
            state.accounts.remove(name);
            Ok(())
        })
    }
}
