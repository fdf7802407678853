//! A user of a Redis server: who may log in with which passwords, and do what.
//!
//! A change is live at once, and lasts only when the server has written its users down. Both are looked
//! at: what the server says, and what its file holds. The file of a project's own server is HostKit's to
//! write, and lies where the project cannot change it.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::{Resource, State};
use crate::{
    domain::acl::{self, Commands, Grant},
    system::{
        Attr, Host,
        redis::{Door, Entry, sum},
    },
};

/// Larger than any file of users, in bytes.
const LIMIT: u64 = 64 << 20;

/// A user of a Redis server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RedisUser {
    /// The user's name.
    pub user: String,
    /// The server.
    pub door: Door,
    /// What the user may do, in the words of `ACL SETUSER`.
    pub rule: Vec<String>,
    /// SHA-256 sums of the passwords that let the user in, in hexadecimal.
    pub passwords: Vec<String>,
}

/// A user as found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// What the server lets the user do, in words; passwords as their sums.
    words: Option<Vec<String>>,
    /// Whether that comes to what is wanted.
    fits: bool,
    /// Whether the server's file says something else.
    unsaved: bool,
}

impl RedisUser {
    /// The user as the server has it.
    fn awake(&self, host: &Host) -> Result<Found> {
        if !is_awake(&self.door, host)? {
            return self.asleep(host);
        }
        let commands = host.redis.commands(&self.door)?;
        let words = host.redis.user(&self.door, &self.user)?;
        let saved = acl::find(&file_of_users(&self.door, host)?, &self.user);
        let unsaved = !same(words.as_deref(), saved.as_deref(), &commands);
        let fits = words.is_some() && same(words.as_deref(), Some(&self.words()), &commands);
        Ok(Found { words, fits, unsaved })
    }

    /// The user of a server that does not run: as its file has it. Which commands the words come to,
    /// only a running server could say.
    fn asleep(&self, host: &Host) -> Result<Found> {
        let words = acl::find(&file_of_users(&self.door, host)?, &self.user).map(masked);
        let fits = words.as_deref().is_some_and(|w| Grant::outline(w) == Grant::outline(&self.words()));
        Ok(Found { words, fits, unsaved: false })
    }

    /// Has the server let the user do this and no more, or know none, now and after its next start.
    fn put(&self, words: Option<&[String]>, host: &mut Host) -> Result<()> {
        if !self.door.is_private() {
            self.tell(words, host)?;
            return host.redis.save_users(&self.door);
        }
        write_users(&self.door, &[(self.user.as_str(), words)], host)?;
        if is_awake(&self.door, host)? { self.tell(words, host) } else { Ok(()) }
    }

    fn tell(&self, words: Option<&[String]>, host: &mut Host) -> Result<()> {
        match words {
            None => host.redis.remove_user(&self.door, &self.user),
            Some(words) => host.redis.set_user(&self.door, &self.user, words),
        }
    }

    fn words(&self) -> Vec<String> {
        let passwords = self.passwords.iter().map(|sum| format!("#{sum}"));
        std::iter::once("on".to_owned()).chain(passwords).chain(self.rule.iter().cloned()).collect()
    }
}

/// No password in clear, wherever an administrator may have written one.
pub(super) fn masked(words: Vec<String>) -> Vec<String> {
    let mask = |word: String| match word.strip_prefix('>') {
        Some(password) => format!("#{}", sum(password)),
        None => word,
    };
    words.into_iter().map(mask).collect()
}

/// What a server's file of users says.
pub(super) fn file_of_users(door: &Door, host: &Host) -> Result<String> {
    let bytes = host.root.read(&door.users, LIMIT)?.unwrap_or_default();
    String::from_utf8(bytes).with_context(|| format!("`{}` is not UTF-8", door.users))
}

/// Whether a server runs and can be asked. One of a project's own that says nothing, or nonsense, is as good
/// as down: what it knows of users then is what stands in its file.
pub(super) fn is_awake(door: &Door, host: &Host) -> Result<bool> {
    match host.redis.enter(door) {
        Ok(entry) if door.is_private() => Ok(matches!(entry, Entry::Open(_))),
        Ok(entry) => Ok(entry != Entry::Down),
        Err(_) if door.is_private() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Writes these users, or that there are none of these names, into a file that HostKit keeps for a server.
pub(super) fn write_users(door: &Door, users: &[(&str, Option<&[String]>)], host: &mut Host) -> Result<()> {
    let attr = host.root.meta(&door.users)?.map_or(Attr::root(0o600), |meta| meta.attr);
    let before = file_of_users(door, host)?;
    let after = users.iter().fold(before, |text, (name, words)| acl::put(&text, name, *words));
    host.root.replace(&door.users, after.as_bytes(), attr)
}

/// Whether two users, or two absences, come to the same.
pub(super) fn same(a: Option<&[String]>, b: Option<&[String]>, commands: &Commands) -> bool {
    a.map(|words| Grant::of(words, commands)) == b.map(|words| Grant::of(words, commands))
}

impl Resource for RedisUser {
    const KIND: &'static str = "redis-user";
    type Found = Found;

    fn name(&self) -> String {
        format!("{}@{}", self.user, self.door.unit.as_str().trim_end_matches(".service"))
    }
    fn observe(&self, host: &Host) -> Result<Found> {
        match self.awake(host) {
            Err(_) if self.door.is_private() => self.asleep(host),
            found => found,
        }
    }
    fn compare(&self, found: &Found) -> State {
        match (&found.words, found.fits, found.unsaved) {
            (None, _, false) => State::Missing,
            (None, _, true) => State::Differs("is only in the server's file".into()),
            (Some(_), false, _) => State::Differs("has other rights or another password".into()),
            (Some(_), true, true) => State::Differs("is not in the server's file".into()),
            (Some(_), true, false) => State::Satisfied,
        }
    }
    fn apply(&self, host: &mut Host) -> Result<()> {
        let _held = host.hold(self.door.unit.as_str())?;
        self.put(Some(&self.words()), host)
    }
    fn restore(&self, found: &Found, host: &mut Host) -> Result<()> {
        let _held = host.hold(self.door.unit.as_str())?;
        if self.observe(host)? == *found {
            return Ok(());
        }
        match self.put(found.words.as_deref(), host) {
            // A disk that took nothing more has kept what was there before.
            Err(_) if self.observe(host)? == *found => Ok(()),
            // What it says is the project's; what its file says is what it starts from.
            Err(_) if self.door.is_private() && self.asleep(host)?.words == found.words => Ok(()),
            put => put,
        }
    }
    #[cfg(test)]
    fn sample() -> Option<Self> {
        None // needs a server that lets HostKit in
    }
}
