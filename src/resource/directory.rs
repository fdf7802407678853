//! A directory with an owner and a mode. What people put into it is never deleted, only moved.

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use super::{Resource, State};
use crate::{
    domain::{
        fault::{Code, Fault},
        layout::HostPath,
    },
    system::{Attr, FileKind, Host, Meta},
};

/// A directory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Directory {
    /// Where it lies.
    pub path: HostPath,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its permission bits.
    pub mode: u32,
    /// An account that may pass through it besides owner and group.
    pub visitor: Option<u32>,
    /// Where it goes, with all it holds, when it is taken away; `None`: it goes only when empty.
    pub trash: Option<HostPath>,
    /// Whether it is moved whole, so that what lies in it needs no steps of its own.
    pub whole: bool,
}

/// A directory as it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    here: Option<Here>,
    /// A whole tree lies in the trash under the name that this one would get.
    trashed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Here {
    uid: u32,
    gid: u32,
    mode: u32,
    visitor: Option<u32>,
    /// Something else than a directory is in the way.
    blocked: bool,
}

impl Directory {
    /// What is in its place. What lies behind a link that somebody put on the way is not looked at:
    /// it is nobody's, and the directory on the way is put right first.
    fn meta(&self, host: &Host) -> Result<Option<Meta>> {
        match host.root.meta(&self.path) {
            Err(error) if error.downcast_ref::<Fault>().is_some_and(|f| f.code == Code::Foreign) => Ok(None),
            other => other,
        }
    }

    /// Moves aside what is in its place and is no directory.
    fn make_way(&self, host: &mut Host) -> Result<()> {
        match (self.meta(host)?, &self.trash) {
            (Some(meta), Some(trash)) if meta.kind != FileKind::Dir => self.discard(trash, host),
            (Some(meta), None) if meta.kind != FileKind::Dir => {
                bail!("`{}` is in the way: it is not a directory", self.path)
            }
            _ => Ok(()),
        }
    }

    fn trashed(&self, host: &Host) -> Result<Option<&HostPath>> {
        match &self.trash {
            Some(trash) if self.whole && host.root.meta(trash)?.is_some() => Ok(Some(trash)),
            _ => Ok(None),
        }
    }

    /// Moves it out of the way, to a name in the trash that is free.
    fn discard(&self, trash: &HostPath, host: &mut Host) -> Result<()> {
        let mut to = trash.clone();
        let mut n = 0;
        while !self.whole && host.root.meta(&to)?.is_some() {
            n += 1;
            to = trash.parent().join(&format!("{}.{n}", trash.file_name()));
        }
        host.root.rename(&self.path, &to)
    }
}

impl Resource for Directory {
    const KIND: &'static str = "directory";
    type Found = Found;

    fn name(&self) -> String {
        self.path.to_string()
    }
    fn observe(&self, host: &Host) -> Result<Found> {
        let trashed = self.trashed(host)?.is_some();
        let Some(meta) = self.meta(host)? else { return Ok(Found { here: None, trashed }) };
        let blocked = meta.kind != FileKind::Dir;
        let visitor = if blocked { None } else { host.root.visitor(&self.path)? };
        let Attr { uid, gid, mode } = meta.attr;
        Ok(Found { here: Some(Here { uid, gid, mode, visitor, blocked }), trashed })
    }
    fn compare(&self, found: &Found) -> State {
        let Some(here) = found.here else { return State::Missing };
        if here.blocked {
            State::Differs("is not a directory".into())
        } else if (here.uid, here.gid) != (self.uid, self.gid) {
            State::Differs(format!("owner {}:{} → {}:{}", here.uid, here.gid, self.uid, self.gid))
        } else if here.mode != self.mode {
            State::Differs(format!("mode {:04o} → {:04o}", here.mode, self.mode))
        } else if here.visitor != self.visitor {
            State::Differs("access list".into())
        } else {
            State::Satisfied
        }
    }
    fn apply(&self, host: &mut Host) -> Result<()> {
        self.make_way(host)?;
        if self.meta(host)?.is_none()
            && let Some(trash) = self.trashed(host)?
        {
            host.root.rename(trash, &self.path)?;
        }
        host.root.mkdir(&self.path, Attr { uid: self.uid, gid: self.gid, mode: self.mode }, self.visitor)
    }
    fn restore(&self, found: &Found, host: &mut Host) -> Result<()> {
        match found.here {
            Some(here) if here.blocked => Ok(()),
            Some(here) => {
                self.make_way(host)?;
                if self.meta(host)?.is_none()
                    && let Some(trash) = self.trashed(host)?
                {
                    host.root.rename(trash, &self.path)?;
                }
                host.root.mkdir(
                    &self.path,
                    Attr { uid: here.uid, gid: here.gid, mode: here.mode },
                    here.visitor,
                )
            }
            None => {
                let Some(meta) = self.meta(host)? else { return Ok(()) };
                let directory = meta.kind == FileKind::Dir;
                if directory && !found.trashed && host.root.rmdir(&self.path)? {
                    return Ok(());
                }
                match &self.trash {
                    Some(trash) => self.discard(trash, host),
                    None => Ok(()),
                }
            }
        }
    }
    fn place(&self) -> Option<&HostPath> {
        Some(&self.path)
    }
    fn carries_to(&self) -> Option<&HostPath> {
        self.trash.as_ref().filter(|_| self.whole)
    }
    #[cfg(test)]
    fn sample() -> Option<Self> {
        let path = HostPath::fixed("/var/lib/sample");
        Some(Self { path, uid: 0, gid: 2000, mode: 0o2750, visitor: Some(33), trash: None, whole: false })
    }
}
