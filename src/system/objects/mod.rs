//! Object storage: who may do what in this host's own store, and what lies in any S3 bucket.
//!
//! The host's own store is Garage, spoken to through its administration interface on the loopback.
//! What lies in buckets is spoken of in S3, the same for Garage and for every provider.

mod access;
pub mod bundle;
#[cfg(test)]
mod contract;
mod garage;
mod http;
mod s3;

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, Read, Write},
};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::domain::{
    fault::{Code, Fault},
    secret::Secret,
};

pub use self::{
    access::{Access, Verb, check_endpoint, check_key},
    garage::{ADMIN_PORT, Garage, RPC_SECRET, TOKEN},
    s3::S3,
};

/// A bucket of the host's own store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// How many bytes may lie in it; `None`: as many as the disk holds.
    pub quota: Option<u64>,
    /// How many objects lie in it.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What a key may do in a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rights {
    /// Read and list objects.
    pub read: bool,
    /// Write and delete objects.
    pub write: bool,
    /// Change and delete the bucket itself.
    pub owner: bool,
}

/// A key in the list of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyName {
    /// Its identifier.
    pub id: String,
    /// What it is called, for people.
    pub label: String,
}

/// The host's own store: buckets, keys, and which key may do what where.
///
/// Every verb may be repeated after it was interrupted: what is so already is left so.
pub trait Buckets: fmt::Debug {
    /// Whether the store answers; the fault says what to do when it does not.
    fn ready(&self) -> Result<()>;
    /// A bucket by one of its names.
    fn bucket(&self, name: &str) -> Result<Option<Bucket>>;
    /// The names of all buckets.
    fn buckets(&self) -> Result<Vec<String>>;
    /// Makes a bucket.
    fn create(&mut self, name: &str) -> Result<()>;
    /// Says how many bytes may lie in a bucket.
    fn limit(&mut self, name: &str, quota: Option<u64>) -> Result<()>;
    /// Gives a bucket another name, and takes the old one away.
    fn rename(&mut self, from: &str, to: &str) -> Result<()>;
    /// Gives a bucket the name of another one, which is called `aside` from then on. Interrupted anywhere,
    /// it can be repeated, or taken back with the last two names exchanged.
    fn exchange(&mut self, name: &str, incoming: &str, aside: &str) -> Result<()>;
    /// Removes a bucket in which nothing lies, with uploads that were begun and never finished.
    fn remove(&mut self, name: &str) -> Result<()>;
    /// What a key may do in a bucket; nothing, when either is not there.
    fn rights(&self, id: &str, bucket: &str) -> Result<Rights>;
    /// All keys.
    fn keys(&self) -> Result<Vec<KeyName>>;
    /// Makes a key of this identifier and secret, unless it is there. An identifier is used once for ever:
    /// a key that has been removed cannot be made again.
    fn import(&mut self, id: &str, secret: &Secret, label: &str) -> Result<()>;
    /// Removes a key for good.
    fn forget(&mut self, id: &str) -> Result<()>;
    /// Says what a key may do in a bucket: this, and nothing else.
    fn permit(&mut self, id: &str, bucket: &str, rights: Rights) -> Result<()>;
}

/// An object in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its key.
    pub key: String,
    /// Its bytes.
    pub size: u64,
    /// When it was written, as the store says it.
    pub modified: String,
    /// What the store tells its contents by.
    #[serde(skip)]
    pub tag: String,
}

/// What is said of an object besides its bytes: its type, how it may be cached, and what its owner attached.
pub type Headers = BTreeMap<String, String>;

/// Whether a header is said of an object, and not of one answer.
fn is_kept(header: &str) -> bool {
    const KEPT: [&str; 7] = [
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-type",
        "expires",
        "x-amz-website-redirect-location",
    ];
    KEPT.contains(&header) || header.starts_with("x-amz-meta-")
}

/// Takes an object: how many bytes it has, its headers, and what its bytes are read from.
pub type Take<'a> = &'a mut dyn FnMut(u64, &Headers, &mut dyn Read) -> Result<u64>;

/// Some of the objects in a bucket, in the order of their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The objects.
    pub entries: Vec<Entry>,
    /// What leads on to the next page; `None` at the end.
    pub next: Option<String>,
}

/// What lies in S3 buckets, of this host's store and of any provider.
pub trait Objects: fmt::Debug {
    /// The objects whose keys begin with `prefix`, at most `limit` of them (1000 at the most), from where
    /// another page's `next` leads.
    fn list(&self, at: &Access, prefix: &str, from: Option<&str>, limit: usize) -> Result<Page>;
    /// The bytes of an object; `None` when it is not there.
    fn size(&self, at: &Access, key: &str) -> Result<Option<u64>>;
    /// Has `take` read an object to its end, piece by piece; whether it is there. A fault when `take` got
    /// less than all of it.
    fn read(&self, at: &Access, key: &str, take: Take<'_>) -> Result<bool>;
    /// Reads an object to its end, piece by piece; how many bytes it has. A fault when it is not there or
    /// is cut off.
    fn get(&self, at: &Access, key: &str, into: &mut dyn Write) -> Result<u64> {
        let mut bytes = 0;
        let found = self.read(at, key, &mut |_, _, from| {
            bytes = io::copy(from, into)?;
            Ok(bytes)
        })?;
        if found {
            return Ok(bytes);
        }
        let message = format!("`{}` holds no object `{}`", at.bucket, access::shown(key));
        Err(Fault::new(Code::StorageRefused, message).into())
    }
    /// Writes an object, of any length, in constant memory; how many bytes it has. It appears whole or not
    /// at all, also when `from` fails.
    fn put(&mut self, at: &Access, key: &str, headers: &Headers, from: &mut dyn Read) -> Result<u64>;
    /// Deletes objects; those that are not there are left so.
    fn delete(&mut self, at: &Access, keys: &[String]) -> Result<()>;
}

/// How many objects one request may name.
pub const BATCH: usize = 1000;

/// Deletes every object in a bucket; how many there were.
pub fn empty(objects: &mut dyn Objects, at: &Access) -> Result<usize> {
    let mut gone = 0;
    loop {
        // From the beginning each time: what was deleted is no longer listed.
        let page = objects.list(at, "", None, BATCH)?;
        if page.entries.is_empty() {
            return Ok(gone);
        }
        gone += page.entries.len();
        let keys: Vec<String> = page.entries.into_iter().map(|entry| entry.key).collect();
        objects.delete(at, &keys)?;
    }
}
