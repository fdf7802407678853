//! Linux accounts: looked up through the name service, changed by the distribution's own programs.

use std::{fmt, time::Duration};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::exec::Tool;

/// A user with a group of the same name and number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name, and its group's.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// Its group's number.
    pub gid: u32,
    /// Its home.
    pub home: String,
    /// Its login shell.
    pub shell: String,
}

/// Looking up and changing accounts.
pub trait Accounts: fmt::Debug {
    /// The account called `name`.
    fn find(&self, name: &str) -> Result<Option<Account>>;
    /// Whether a group is called `name`.
    fn has_group(&self, name: &str) -> Result<bool>;
    /// Whether an account or a group has this number.
    fn is_used(&self, id: u32) -> Result<bool>;
    /// Waits until no change of accounts is under way: a program that its caller's death has left.
    fn settle(&self) -> Result<()>;
    /// Supplementary groups of an account.
    fn groups(&self, name: &str) -> Result<Vec<String>>;
    /// Makes an account with a group of its own.
    fn create(&mut self, account: &Account) -> Result<()>;
    /// Ends an account's processes and removes it with its group.
    fn delete(&mut self, name: &str) -> Result<()>;
}

/// The shadow suite: `useradd` and `userdel`.
#[derive(Debug)]
pub struct Shadow;

impl Accounts for Shadow {
    fn find(&self, name: &str) -> Result<Option<Account>> {
        use users::os::unix::UserExt;
        Ok(users::get_user_by_name(name).map(|user| Account {
            name: user.name().to_string_lossy().into_owned(),
            uid: user.uid(),
            gid: user.primary_group_id(),
            home: user.home_dir().to_string_lossy().into_owned(),
            shell: user.shell().to_string_lossy().into_owned(),
        }))
    }
    fn has_group(&self, name: &str) -> Result<bool> {
        Ok(users::get_group_by_name(name).is_some())
    }
    fn is_used(&self, id: u32) -> Result<bool> {
        Ok(users::get_user_by_uid(id).is_some() || users::get_group_by_gid(id).is_some())
    }
    fn settle(&self) -> Result<()> {
        for _ in 0..SETTLE_TRIES {
            if !changing()? {
                return Ok(());
            }
            std::thread::sleep(SETTLE_PACE);
        }
        bail!("`useradd` or `userdel` has been running for {} s", SETTLE_TRIES / 10)
    }
    fn groups(&self, name: &str) -> Result<Vec<String>> {
        let Some(user) = users::get_user_by_name(name) else { return Ok(Vec::new()) };
        let own = user.primary_group_id();
        let all = user.groups().unwrap_or_default();
        Ok(all.iter().filter(|g| g.gid() != own).map(|g| g.name().to_string_lossy().into_owned()).collect())
    }
    fn create(&mut self, account: &Account) -> Result<()> {
        let uid = account.uid.to_string();
        // No subordinate ids: a project's processes may not make user namespaces.
        Tool::find("useradd", "passwd")?.run([
            "--uid",
            &uid,
            "--user-group",
            "--no-create-home",
            "--home-dir",
            &account.home,
            "--shell",
            &account.shell,
            "--no-log-init",
            "-K",
            "SUB_UID_COUNT=0",
            "-K",
            "SUB_GID_COUNT=0",
            "--",
            &account.name,
        ])?;
        let made = self.find(&account.name)?.context("the new account is not to be found")?;
        if made != *account {
            bail!("`useradd` made {made:?}, not {account:?}");
        }
        Ok(())
    }
    fn delete(&mut self, name: &str) -> Result<()> {
        let Some(account) = self.find(name)? else { return Ok(()) };
        end_processes(account.uid)?;
        Tool::find("userdel", "passwd")?.run(["--", name])?;
        Ok(())
    }
}

/// How often, and how long between, a change of accounts that others have begun is waited for.
const SETTLE_TRIES: u32 = 300;
const SETTLE_PACE: Duration = Duration::from_millis(100);

/// Whether a program that changes accounts runs.
fn changing() -> Result<bool> {
    for entry in std::fs::read_dir("/proc").context("listing processes")? {
        let name = std::fs::read_to_string(entry?.path().join("comm")).unwrap_or_default();
        if matches!(name.trim(), "useradd" | "userdel") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Kills whatever still runs under an account: a login, a job of cron.
pub(super) fn end_processes(uid: u32) -> Result<()> {
    for _ in 0..100 {
        let running = processes_of(uid)?;
        if running.is_empty() {
            return Ok(());
        }
        for pid in running {
            // It may have ended by itself meanwhile.
            let _ = kill(pid, Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    bail!("processes of the account {uid} do not end")
}

/// The processes that an account has to do with: one that runs as somebody else on its behalf (`su`)
/// carries its number too.
fn processes_of(uid: u32) -> Result<Vec<Pid>> {
    let number = uid.to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").context("listing processes")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else { continue };
        let status = std::fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        let ids = status.lines().find_map(|l| l.strip_prefix("Uid:")).unwrap_or_default();
        if ids.split_ascii_whitespace().any(|id| id == number) {
            found.push(Pid::from_raw(pid));
        }
    }
    Ok(found)
}
