//! Archives: an uploaded tree is written down as it is read, and a local tree is packed.
//!
//! Both ends trust nothing. [`pack()`] never follows a link; [`extract()`] refuses the whole upload, by the
//! name of the entry, as soon as anything in it is not a plain file, a directory or a link that stays
//! inside, or when it grows past a limit. The `tar` crate only parses blocks: outside of its raw mode
//! it gathers extended headers in memory without a limit.

mod batch;
mod crew;
mod extract;
mod ignore;
mod links;
mod manifest;
mod members;
mod nodes;
mod pack;
mod path;
mod staging;
mod stream;
mod zip;

use std::io;

use crate::domain::fault::{Code, Fault};

pub use extract::extract;
pub use manifest::{Entry, Installed, Kind, Manifest};
pub use pack::{Leaving, PackReport, pack};
pub use staging::Staging;

/// How much an archive may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes after decompression, headers included, whatever was sent.
    pub bytes: u64,
    /// How many bytes may come out of each byte that was sent…
    pub ratio: u64,
    /// …once more than this has come out.
    pub free_bytes: u64,
    /// Files, directories and links, those that are only implied by a path included.
    pub entries: usize,
    /// Bytes of one file.
    pub file: u64,
    /// Bytes of one path or of the target of a link.
    pub path: usize,
    /// Bytes of one name in a path.
    pub component: usize,
    /// Names in one path.
    pub depth: usize,
    /// Bytes of all paths together: they are kept in memory.
    pub names: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 1 << 30,
            ratio: 200,
            free_bytes: 16 << 20,
            entries: 100_000,
            file: 256 << 20,
            path: 1024,
            component: 255,
            depth: 64,
            names: 32 << 20,
        }
    }
}

/// Whether a file that begins like this is a zip archive.
pub fn is_zip(beginning: &[u8]) -> bool {
    zip::MAGIC.iter().any(|magic| beginning.starts_with(magic))
}

/// Writes what a zip archive holds as a tar archive, for [`extract()`] to look at.
pub fn zip_to_tar(file: impl io::Read + io::Seek, out: impl io::Write) -> anyhow::Result<()> {
    zip::to_tar(file, out, &Limits::default())
}

/// The refusal of a whole archive because of one entry.
fn refuse(path: &str, why: impl AsRef<str>) -> Fault {
    Fault::new(Code::InvalidSource, format!("the archive is refused: {} {}", quoted(path), why.as_ref()))
}

/// A name out of an archive, fit for a message: one line, short, and harmless to a terminal.
fn quoted(text: &str) -> String {
    const LONGEST: usize = 120;
    let mut out = String::from("`");
    for c in text.chars() {
        if out.len() > LONGEST {
            out.push('…');
            break;
        }
        // Besides control characters, those that change the direction of the text around them.
        match c {
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                out.extend(c.escape_unicode());
            }
            '\'' | '"' => out.push(c),
            _ => out.extend(c.escape_debug()),
        }
    }
    out.push('`');
    out
}

/// What a failing write means: a full disk has a code of its own.
fn write_failed(error: io::Error, path: &str) -> anyhow::Error {
    use rustix::io::Errno;
    let full = [Errno::NOSPC, Errno::DQUOT].map(Errno::raw_os_error);
    if error.raw_os_error().is_some_and(|code| full.contains(&code)) {
        let message = format!("no space is left while writing {}", quoted(path));
        return Fault::new(Code::DiskFull, message)
            .next("df -h; df -i")
            .next("remove what is not needed, and deploy again")
            .into();
    }
    anyhow::Error::new(error).context(format!("cannot write {}", quoted(path)))
}

#[cfg(test)]
mod tests;
