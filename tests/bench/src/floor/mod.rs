//! The floor: the same effects as HostKit's, in the fastest way there is to have them.
//!
//! No journal, no plan, no checks, no undoing: it knows that nothing is in its way. What can run side
//! by side does. It owes the same at the end: everything is on the disk, a durable record says so, and
//! a visitor meets the new state and never the old one.

mod deploy;
mod disk;
mod nginx;
mod provision;
mod relink;

use std::{io, path::Path};

pub(crate) use self::disk::Sync;
use crate::Error;

/// Where the texts lie that a project is made of, taken from projects that HostKit made.
pub(crate) const KIT: &str = "/root/bench/kit";
/// The floor's registry.
pub(crate) const RECORDS: &str = "/root/bench/records";
/// The name a release of the floor's gets.
pub(crate) const RELEASE: &str = "20260101-000000";
/// What stands in the texts for a project's values.
pub(crate) const NAME: &str = "@NAME@";
/// See [`NAME`].
pub(crate) const PORT: &str = "@PORT@";
/// See [`NAME`].
pub(crate) const FINGERPRINT: &str = "@FINGERPRINT@";

/// A project of the floor's.
#[derive(Clone, Copy)]
struct Project<'a> {
    name: &'a str,
    /// The number of its account and group.
    id: u32,
    port: u16,
}

impl Project<'_> {
    /// A text of the kit, with this project's values.
    fn text(&self, kind: &str) -> io::Result<String> {
        let text = std::fs::read_to_string(Path::new(KIT).join(kind))?;
        Ok(text
            .replace(NAME, self.name)
            .replace(PORT, &self.port.to_string())
            .replace(FINGERPRINT, &self.fingerprint()))
    }

    fn fingerprint(&self) -> String {
        format!("floor-{}-{}", self.name, self.id)
    }
}

/// Does one job.
pub(crate) fn main(words: &[&str]) -> Result<(), Error> {
    // Modes are meant as they are written.
    rustix::process::umask(rustix::fs::Mode::empty());
    match *words {
        ["provision", sync, name, id, port] => {
            let project = Project { name, id: id.parse()?, port: port.parse()? };
            Ok(provision::empty(&project, sync.parse()?)?)
        }
        ["live", sync, name, id, port, source] => {
            let project = Project { name, id: id.parse()?, port: port.parse()? };
            Ok(provision::live(&project, Path::new(source), sync.parse()?)?)
        }
        ["deploy", threads, home, release, gid, source] => {
            let copy = deploy::Copy { group: gid.parse()?, threads: threads.parse()? };
            Ok(deploy::switch(Path::new(home), release, Path::new(source), copy)?)
        }
        ["relink", home, release, gid, source] => {
            Ok(relink::switch(Path::new(home), release, Path::new(source), gid.parse()?)?)
        }
        _ => Err(format!("the floor does not know {words:?}").into()),
    }
}
