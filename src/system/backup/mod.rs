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

mod manifest;
mod reader;
mod stream;
mod writer;

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

pub use self::{
    manifest::{Contents, Header, Manifest, Part, Table},
    reader::Reader,
    writer::{Packing, Writer},
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
pub struct Key(Zeroizing<[u8; 32]>);

impl Key {
    /// The key with these bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// A few bytes that tell keys apart and say nothing of them.
    pub fn fingerprint(&self) -> String {
        hex(&self.derive("hostkit backup fingerprint", &[])[..8])
    }

    /// A key for one purpose.
    fn derive(&self, purpose: &str, salt: &[u8]) -> Zeroizing<[u8; 32]> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0[..]).expect("any length will do");
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
    chunks: Zeroizing<[u8; 32]>,
    manifest: Zeroizing<[u8; 32]>,
}

impl Keys {
    fn of(key: &Key, salt: &[u8]) -> Self {
        Self {
            chunks: key.derive("hostkit backup chunks", salt),
            manifest: key.derive("hostkit backup manifest", salt),
        }
    }
}

/// The refusal of a file that is no backup, or no longer the one that was written.
fn damaged(why: &str) -> Fault {
    Fault::new(Code::InvalidBackup, format!("the backup cannot be used: {why}"))
        .next("hostkit backup list NAME    # shows the others")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may fail")]
mod tests;
