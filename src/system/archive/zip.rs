//! A zip archive as a tar stream.
//!
//! Read from its directory at the end, by a child with the caller's permissions; what comes out goes
//! through [`super::extract()`] like any other upload, with all its checks and limits. Nothing here trusts
//! the archive: every entry has to be what the directory says of it, or the whole is refused. Only what
//! real tools write is read: stored and deflated entries, without encryption and without zip64, which
//! only archives need that are past the limits anyway.

use std::io::{self, Read, Seek, SeekFrom, Write};

use flate2::{Crc, read::DeflateDecoder};
use tar::{Builder, EntryType};

use super::pack::{cannot_send, header};
use super::{Limits, quoted};
use crate::domain::fault::{Code, Fault};

/// What a zip archive begins with, one without entries included.
pub(super) const MAGIC: &[&[u8]] = &[b"PK\x03\x04", b"PK\x05\x06"];

const DIRECTORY: u32 = 0x0201_4b50;
const LOCAL: u32 = 0x0403_4b50;
const END: &[u8] = b"PK\x05\x06";
const END_SIZE: usize = 22;

/// What the directory says of an entry.
struct Entry {
    name: Vec<u8>,
    stored: bool,
    crc: u32,
    packed: u64,
    size: u64,
    at: u64,
    /// Of Unix; 0 when another system made it.
    mode: u32,
}

/// Writes what a zip archive holds as a tar archive.
pub(super) fn to_tar(mut zip: impl Read + Seek, out: impl Write, limits: &Limits) -> anyhow::Result<()> {
    let length = zip.seek(SeekFrom::End(0)).map_err(unreadable)?;
    let entries = directory(&mut zip, length, limits)?;
    let most = limits.bytes.min(limits.free_bytes.max(length.saturating_mul(limits.ratio)));
    if entries.iter().map(|entry| entry.size).sum::<u64>() > most {
        let (bytes, ratio) = (limits.bytes >> 20, limits.ratio);
        return Err(
            damaged(&format!("it holds more than {bytes} MiB, or grows more than {ratio}-fold")).into()
        );
    }
    let mut tar = Builder::new(out);
    for entry in entries {
        // What macOS adds for itself.
        if entry.name.starts_with(b"__MACOSX/") || entry.name.ends_with(b".DS_Store") {
            continue;
        }
        let packed = content(&mut zip, &entry)?.take(entry.packed);
        let path = as_path(&entry.name);
        let linked = match entry.mode & 0o170_000 {
            0 | 0o100_000 | 0o040_000 => false,
            0o120_000 => true,
            0o010_000 => return Err(refuse(&entry, "is a named pipe; a release holds none").into()),
            0o140_000 => return Err(refuse(&entry, "is a socket; a release holds none").into()),
            0o020_000 | 0o060_000 => return Err(refuse(&entry, "is a device; a release holds none").into()),
            _ => return Err(refuse(&entry, "is a thing of an unknown kind").into()),
        };
        let failed = |error| failed(&entry, error);
        if entry.name.ends_with(b"/") {
            tar.append_data(&mut header(EntryType::Directory, 0o755, 0), path, io::empty())
                .map_err(failed)?;
            continue;
        }
        let reader: Box<dyn Read> =
            if entry.stored { Box::new(packed) } else { Box::new(DeflateDecoder::new(packed)) };
        let mut checked = Checked { reader, crc: Crc::new(), left: entry.size, entry: &entry };
        if linked {
            if entry.size > limits.path as u64 {
                return Err(refuse(&entry, "is a link with a target that is too long").into());
            }
            let mut target = Vec::new();
            checked.read_to_end(&mut target).map_err(failed)?;
            let mut header = header(EntryType::Symlink, 0o777, 0);
            tar.append_link(&mut header, path, as_path(&target)).map_err(failed)?;
        } else {
            let mode = if entry.mode & 0o100 == 0 { 0o644 } else { 0o755 };
            tar.append_data(&mut header(EntryType::Regular, mode, entry.size), path, &mut checked)
                .map_err(failed)?;
            // The end of it is where its checksum is looked at.
            checked.read(&mut [0]).map_err(failed)?;
        }
    }
    tar.into_inner().and_then(|mut out| out.flush()).map_err(cannot_send)?;
    Ok(())
}

fn as_path(name: &[u8]) -> &std::ffi::OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(name)
}

/// The entries, out of the directory at the end.
fn directory(zip: &mut (impl Read + Seek), length: u64, limits: &Limits) -> anyhow::Result<Vec<Entry>> {
    // A comment may follow the end.
    let tail = length.min((END_SIZE + usize::from(u16::MAX)) as u64);
    let mut bytes = vec![0; usize::try_from(tail)?];
    zip.seek(SeekFrom::Start(length - tail)).map_err(unreadable)?;
    zip.read_exact(&mut bytes).map_err(unreadable)?;
    let ends = |at: usize| {
        bytes[at..].starts_with(END)
            && bytes
                .get(at + 20..at + END_SIZE)
                .is_some_and(|n| at + END_SIZE + usize::from(u16::from_le_bytes([n[0], n[1]])) == bytes.len())
    };
    let at = (0..bytes.len().saturating_sub(END_SIZE - 1)).rev().find(|at| ends(*at));
    let Some(at) = at else {
        return Err(damaged("its end is missing").next("check that the file is complete").into());
    };
    let end = Fields(&bytes[at..]);
    let (count, size, start) = (end.u16(10)?, u64::from(end.u32(12)?), u64::from(end.u32(16)?));
    if count == u16::MAX || start == u64::from(u32::MAX) {
        return Err(damaged("it is in the format zip64, which is not read").next("send a .tar.gz").into());
    }
    if usize::from(count) > limits.entries || start + size > length || size > limits.names as u64 * 2 {
        return Err(damaged("its directory does not fit it").into());
    }
    zip.seek(SeekFrom::Start(start)).map_err(unreadable)?;
    let mut bytes = vec![0; usize::try_from(size)?];
    zip.read_exact(&mut bytes).map_err(unreadable)?;
    let (mut entries, mut rest) = (Vec::new(), bytes.as_slice());
    for _ in 0..count {
        let fields = Fields(rest);
        if fields.u32(0)? != DIRECTORY {
            return Err(damaged("its directory cannot be read").into());
        }
        let lengths = [fields.u16(28)?, fields.u16(30)?, fields.u16(32)?].map(usize::from);
        let whole = 46 + lengths.iter().sum::<usize>();
        let name =
            rest.get(46..46 + lengths[0]).ok_or_else(|| damaged("its directory is cut short"))?.to_vec();
        let mode = if fields.u16(4)? >> 8 == 3 { fields.u32(38)? >> 16 } else { 0 };
        let entry = Entry {
            stored: fields.u16(10)? == 0,
            crc: fields.u32(16)?,
            packed: fields.u32(20)?.into(),
            size: fields.u32(24)?.into(),
            at: fields.u32(42)?.into(),
            mode,
            name,
        };
        if fields.u16(8)? & 1 != 0 {
            return Err(refuse(&entry, "is encrypted").into());
        }
        if !matches!(fields.u16(10)?, 0 | 8) {
            return Err(refuse(&entry, "is compressed in a way that is not read")
                .next("send a .tar.gz")
                .into());
        }
        if entry.stored && entry.packed != entry.size {
            return Err(refuse(&entry, "is given two sizes").into());
        }
        entries.push(entry);
        rest = rest.get(whole..).ok_or_else(|| damaged("its directory is cut short"))?;
    }
    Ok(entries)
}

/// Where the content of an entry begins; what stands before it must name the same entry.
fn content<'z, Z: Read + Seek>(zip: &'z mut Z, entry: &Entry) -> anyhow::Result<&'z mut Z> {
    zip.seek(SeekFrom::Start(entry.at)).map_err(unreadable)?;
    let mut bytes = [0; 30];
    zip.read_exact(&mut bytes).map_err(unreadable)?;
    let fields = Fields(&bytes);
    let (name, extra) = (usize::from(fields.u16(26)?), i64::from(fields.u16(28)?));
    let mut local = vec![0; name];
    zip.read_exact(&mut local).map_err(unreadable)?;
    if fields.u32(0)? != LOCAL || local != entry.name {
        return Err(refuse(entry, "is not what the directory says").into());
    }
    zip.seek(SeekFrom::Current(extra)).map_err(unreadable)?;
    Ok(zip)
}

/// Content that must be as long as was said, and have the checksum.
struct Checked<'a> {
    reader: Box<dyn Read + 'a>,
    crc: Crc,
    left: u64,
    entry: &'a Entry,
}

impl Read for Checked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wrong = |why: &str| io::Error::other(refuse(self.entry, why));
        if self.left == 0 {
            return match self.reader.read(&mut [0]).map_err(|_| wrong("is damaged"))? {
                0 if self.crc.sum() == self.entry.crc => Ok(0),
                0 => Err(wrong("is damaged: its checksum is another")),
                _ => Err(wrong("is longer than the directory says")),
            };
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        match self.reader.read(&mut buffer[..most]).map_err(|_| wrong("is damaged"))? {
            0 if most > 0 => Err(wrong("is shorter than the directory says")),
            count => {
                self.crc.update(&buffer[..count]);
                self.left -= count as u64;
                Ok(count)
            }
        }
    }
}

/// Little-endian numbers at their places.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn u16(&self, at: usize) -> Result<u16, Fault> {
        let bytes = self.0.get(at..at + 2).ok_or_else(|| damaged("it is cut short"))?;
        Ok(u16::from_le_bytes([bytes[0], bytes[1]]))
    }
    fn u32(&self, at: usize) -> Result<u32, Fault> {
        Ok(u32::from(self.u16(at)?) | u32::from(self.u16(at + 2)?) << 16)
    }
}

fn damaged(why: &str) -> Fault {
    Fault::new(Code::InvalidSource, format!("the zip archive is refused: {why}"))
}

fn refuse(entry: &Entry, why: &str) -> Fault {
    damaged(&format!("{} {why}", quoted(&String::from_utf8_lossy(&entry.name))))
}

/// What went wrong with an entry. Whoever cannot be written to is nobody's entry's fault.
fn failed(entry: &Entry, error: io::Error) -> anyhow::Error {
    let is_theirs =
        error.raw_os_error().is_none() && error.get_ref().is_none_or(|inner| !inner.is::<Fault>());
    if is_theirs { refuse(entry, &format!("cannot be taken: {error}")).into() } else { cannot_send(error) }
}

fn unreadable(error: io::Error) -> anyhow::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => damaged("it is cut short").into(),
        _ => anyhow::Error::new(error).context("reading the zip archive"),
    }
}
