//! Who is calling: the effective user, and the one that `sudo` says it came from.

use anyhow::{Result, anyhow};

use crate::domain::fault::{Code, Fault};

/// The person or program behind a call, as the operating system knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Whose permissions sources are read with.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its name, for the records.
    pub name: String,
    /// Whether this process may change the host.
    pub privileged: bool,
    /// Whether it could do everything without HostKit: root, or a member of the `sudo` group.
    pub administrator: bool,
}

impl Caller {
    /// The caller of this process, given the value of `SUDO_UID`.
    ///
    /// `sudo` and `sudo-rs` set the variable themselves and a caller cannot change it; without
    /// privilege it is not looked at.
    pub fn resolve(sudo_uid: Option<&str>) -> Result<Self> {
        let euid = users::get_effective_uid();
        if euid != 0 {
            return Self::account(euid, false);
        }
        match sudo_uid {
            None => Self::account(0, true),
            Some(text) => {
                let uid = text.parse().map_err(|_| {
                    anyhow!(Fault::new(Code::NotPermitted, "SUDO_UID is not a number; refused"))
                })?;
                Self::account(uid, true)
            }
        }
    }

    fn account(uid: u32, privileged: bool) -> Result<Self> {
        let user = users::get_user_by_uid(uid);
        if user.is_none() && uid != 0 {
            return Err(
                Fault::new(Code::NotPermitted, format!("no account has the number {uid}; refused")).into()
            );
        }
        let gid = user.as_ref().map_or(0, users::User::primary_group_id);
        let name =
            user.as_ref().map_or_else(|| "root".to_owned(), |u| u.name().to_string_lossy().into_owned());
        let administrator = uid == 0
            || user.as_ref().and_then(users::User::groups).is_some_and(|groups| {
                groups.iter().any(|g| matches!(g.name().to_str(), Some("sudo" | "admin" | "wheel")))
            });
        Ok(Self { uid, gid, name, privileged, administrator })
    }
}
