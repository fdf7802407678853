//! The members of a tar archive: each header together with the extended headers before it.
//!
//! The `tar` crate parses the blocks (its raw mode). Long names and PAX records are read here, capped,
//! and wherever two headers could be read as saying different things the archive is refused.

use std::io::Read;

use tar::{Entries, EntryType};

use super::stream::{Gauge, Stream};
use super::{quoted, refuse};
use crate::domain::fault::{Code, Fault};

/// The largest GNU long name or long link target.
const LONG_NAME: u64 = 4 * 1024;
/// The largest set of PAX records.
const PAX: u64 = 64 * 1024;

/// What the headers say about one member.
#[derive(Debug)]
pub(super) struct Member {
    /// The bytes given as its path, not checked yet.
    pub(super) path: Vec<u8>,
    /// The bytes given as the target of a link.
    pub(super) target: Vec<u8>,
    pub(super) kind: EntryType,
    pub(super) mode: u32,
    pub(super) size: u64,
}

/// What extended headers say about the member that follows them.
#[derive(Debug, Default)]
struct Extended {
    path: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    size: Option<u64>,
}

impl Extended {
    fn is_empty(&self) -> bool {
        self.path.is_none() && self.target.is_none() && self.size.is_none()
    }
}

/// Reads the members one after another.
pub(super) struct Members<'a, 's> {
    entries: Entries<'a, Stream<'s>>,
    gauge: Gauge,
}

impl<'a, 's> Members<'a, 's> {
    pub(super) fn of(archive: &'a mut tar::Archive<Stream<'s>>, gauge: Gauge) -> Result<Self, Fault> {
        let entries = archive.entries().map_err(|error| gauge.fault(&error))?.raw(true);
        Ok(Self { entries, gauge })
    }

    /// The next member and its content; `None` after the last.
    pub(super) fn next(&mut self) -> Result<Option<(Member, impl Read + use<'a, 's>)>, Fault> {
        let mut extended = Extended::default();
        let mut seen_local = false;
        loop {
            let Some(entry) = self.entries.next() else {
                if !extended.is_empty() || seen_local {
                    return Err(damaged("a header describes an entry that does not follow"));
                }
                return Ok(None);
            };
            let mut entry = entry.map_err(|error| self.gauge.fault(&error))?;
            let header = entry.header();
            let path = header.path_bytes().into_owned();
            let shown = String::from_utf8_lossy(&path).into_owned();
            let number = |value: std::io::Result<u64>| {
                value.map_err(|_| refuse(&shown, "has a header with an unreadable number"))
            };
            let size = number(header.entry_size())?;
            match header.entry_type() {
                EntryType::GNULongName => {
                    let name = self.long_name(&mut entry, size, &shown)?;
                    give(&mut extended.path, name, "path")?;
                }
                EntryType::GNULongLink => {
                    let name = self.long_name(&mut entry, size, &shown)?;
                    give(&mut extended.target, name, "link target")?;
                }
                EntryType::XHeader => {
                    if std::mem::replace(&mut seen_local, true) {
                        return Err(damaged("an entry has two PAX headers"));
                    }
                    let records = self.content(&mut entry, size, PAX, &shown)?;
                    read_records(&records, &mut extended)?;
                }
                EntryType::XGlobalHeader => {
                    let records = self.content(&mut entry, size, PAX, &shown)?;
                    let mut global = Extended::default();
                    read_records(&records, &mut global)?;
                    // One name, target or size for many entries makes sense to nobody but an attacker.
                    if !global.is_empty() {
                        return Err(damaged("a global header sets a path, a link target or a size"));
                    }
                }
                kind => {
                    let mode =
                        header.mode().map_err(|_| refuse(&shown, "has a header with an unreadable mode"))?;
                    let target = header.link_name_bytes().map(std::borrow::Cow::into_owned);
                    let path = extended.path.take().unwrap_or(path);
                    if extended.size.is_some_and(|claimed| claimed != size) {
                        let shown = String::from_utf8_lossy(&path);
                        return Err(refuse(&shown, "has two headers that give different sizes"));
                    }
                    let target = extended.target.take().or(target).unwrap_or_default();
                    return Ok(Some((Member { path, target, kind, mode, size }, entry)));
                }
            }
        }
    }

    fn content(&self, entry: &mut impl Read, size: u64, limit: u64, shown: &str) -> Result<Vec<u8>, Fault> {
        // Before anything is read: the size is only a claim.
        if size > limit {
            return Err(refuse(shown, format!("is an extended header of more than {} KiB", limit / 1024)));
        }
        let mut content = Vec::new();
        entry.take(limit).read_to_end(&mut content).map_err(|error| self.gauge.fault(&error))?;
        if content.len() as u64 != size {
            return Err(super::stream::cut_short());
        }
        Ok(content)
    }

    fn long_name(&self, entry: &mut impl Read, size: u64, shown: &str) -> Result<Vec<u8>, Fault> {
        let mut name = self.content(entry, size, LONG_NAME, shown)?;
        // One NUL ends it; any other is left in, and refused as a control character.
        if name.last() == Some(&0) {
            name.pop();
        }
        Ok(name)
    }
}

/// Takes over a field that must not have been given before.
fn give<T>(field: &mut Option<T>, value: T, what: &str) -> Result<(), Fault> {
    if field.replace(value).is_some() {
        return Err(damaged(&format!("an entry is given more than one {what}")));
    }
    Ok(())
}

/// Reads PAX records: `LENGTH KEY=VALUE\n`, the length counting the whole record.
fn read_records(mut rest: &[u8], into: &mut Extended) -> Result<(), Fault> {
    let broken = || damaged("a PAX header cannot be read");
    while !rest.is_empty() {
        let blank = rest.iter().position(|byte| *byte == b' ').ok_or_else(broken)?;
        let length = decimal(&rest[..blank]).and_then(|n| usize::try_from(n).ok()).ok_or_else(broken)?;
        if length <= blank + 1 || length > rest.len() {
            return Err(broken());
        }
        let (record, after) = rest.split_at(length);
        rest = after;
        let record = record[blank + 1..].strip_suffix(b"\n").ok_or_else(broken)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(broken)?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        match key {
            b"path" => give(&mut into.path, value.to_vec(), "path")?,
            b"linkpath" => give(&mut into.target, value.to_vec(), "link target")?,
            b"size" => give(&mut into.size, decimal(value).ok_or_else(broken)?, "size")?,
            _ if key.starts_with(b"GNU.sparse.") || key == b"SCHILY.realsize" => {
                return Err(damaged("it holds a sparse file").next("pack it without --sparse"));
            }
            // Times, owners, attributes and comments do not matter here.
            _ => {}
        }
    }
    Ok(())
}

fn decimal(digits: &[u8]) -> Option<u64> {
    // `parse` alone would take a leading `+`.
    digits.iter().all(u8::is_ascii_digit).then(|| std::str::from_utf8(digits).ok()?.parse().ok())?
}

fn damaged(why: &str) -> Fault {
    Fault::new(Code::InvalidSource, format!("the archive is refused: {why}"))
}

/// What a member is, for the message that refuses it.
pub(super) fn describe(kind: EntryType) -> String {
    match kind {
        EntryType::Char | EntryType::Block => "is a device".to_owned(),
        EntryType::Fifo => "is a named pipe".to_owned(),
        EntryType::GNUSparse => "is a sparse file".to_owned(),
        kind => format!("is of the unknown kind {}", quoted(&char::from(kind.as_byte()).to_string())),
    }
}
