//! A backup: one file, encrypted and authenticated as a stream, that says what is inside.
//!
//! ```text
//! magic, header       plain: whose it is and which key opens it; part of every tag
//! chunk, chunk, …     the parts, one after the other, each whole and checked by a SHA-256
//! manifest            sealed: what the parts are
//! footer              how long the manifest is
//! ```
//!
//! Writing is one pass in constant memory, so a backup may also go down a wire. What is inside can be
//! listed from the two ends of the file. Every backup has a key of its own, made from the master key and
//! a salt in the header: nothing of one file fits into another. Chunks are numbered and the last one is
//! marked, so a file that was cut, reordered or altered anywhere is refused.

mod copies;
mod database;
mod manifest;
mod reader;
mod stream;
mod tree;
mod writer;

use std::{fmt, fs::File, io, path::Path};

use anyhow::{Result, bail};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use self::copies::{feed, flow};
pub use self::{
    copies::{Copies, Programs},
    manifest::{Contents, Header, Manifest, Part, Table},
    reader::Reader,
    writer::{Packing, Writer},
};
use super::{
    fs::full,
    vault::{self, Vault},
};
use crate::domain::fault::{Code, Fault};

/// What every backup begins with.
const MAGIC: &[u8; 8] = b"HOSTKITB";
/// What every backup ends with.
const END: &[u8; 8] = b"HOSTKITE";
/// The format's version.
const VERSION: u8 = 1;
/// The longest header and the longest manifest, in bytes.
const HEADER: usize = 64 << 10;
const MANIFEST: usize = 64 << 20;

/// What the keys of backups are made from. Never shown.
#[derive(Clone)]
pub struct Key {
    key: vault::Key,
    /// Tells the master keys apart that they are made from.
    pub fingerprint: String,
}

impl Key {
    /// The key for backups of the host whose master key this vault has.
    pub fn of(vault: &Vault) -> Result<Self> {
        Ok(Self { key: vault.derive("backup")?, fingerprint: vault.fingerprint()? })
    }

    /// A key for one purpose.
    fn derive(&self, purpose: &str, salt: &[u8]) -> vault::Key {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key[..]).expect("any length will do");
        mac.update(purpose.as_bytes());
        mac.update(&[0]);
        mac.update(salt);
        Zeroizing::new(mac.finalize().into_bytes().into())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// The two keys of one backup.
struct Keys {
    chunks: vault::Key,
    manifest: vault::Key,
}

impl Keys {
    fn of(key: &Key, salt: &[u8]) -> Self {
        Self {
            chunks: key.derive("hostkit backup chunks", salt),
            manifest: key.derive("hostkit backup manifest", salt),
        }
    }
}

/// A backup that lies where somebody says.
pub fn open_path(path: &Path) -> Result<File> {
    let shown = path.display();
    let refuse = |why: String| {
        Fault::new(Code::InvalidSource, format!("the backup `{shown}` {why}")).next(format!("ls -l {shown}"))
    };
    let file = File::open(path).map_err(|e| refuse(format!("cannot be read: {e}")))?;
    if !file.metadata().is_ok_and(|meta| meta.is_file()) {
        bail!(refuse("is not a regular file".to_owned()));
    }
    Ok(file)
}

/// The refusal of a file that is no backup, or no longer the one that was written.
fn damaged(why: &str) -> Fault {
    Fault::new(Code::InvalidBackup, format!("the backup cannot be used: {why}"))
        .next("hostkit backup list NAME    # shows the others")
}

/// An error that came through a stream, as the fault it is: a full disk, or what the stream was told.
pub fn cause(error: anyhow::Error) -> anyhow::Error {
    match error.downcast::<io::Error>() {
        Ok(error) => match error.downcast::<Fault>() {
            Ok(fault) => fault.into(),
            Err(error) => full(error.into()),
        },
        Err(error) => error,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may fail")]
mod tests;
