//! What a backup says of itself.

use serde::{Deserialize, Serialize};

use crate::system::objects::bundle::Stock;

/// What stands in front, for everybody to read: nothing of it is secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The backup's name.
    pub id: String,
    /// The project's name.
    pub project: String,
    /// The number of the project's account: another project of the same name has another one.
    pub uid: u32,
    /// Why it was made.
    pub reason: String,
    /// The fingerprint of the key that opens it.
    pub key: String,
    /// What makes this backup's keys its own.
    pub salt: String,
}

/// One part, as it was before it was packed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// The SHA-256 of its bytes.
    pub sha256: String,
}

/// A table, as it was when the backup was made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Table {
    /// Schema and name, quoted where they need it.
    pub name: String,
    /// How many rows it has.
    pub rows: u64,
    /// A sum over all rows, whatever their order.
    pub sum: String,
}

/// What the backup is of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// When it was made.
    pub at: String,
    /// Who made it.
    pub by: String,
    /// The version of HostKit that made it.
    pub hostkit: String,
    /// The version of PostgreSQL, when there is a database in it.
    pub postgres: Option<String>,
    /// The live release.
    pub release: Option<String>,
    /// The tables of the database.
    pub tables: Vec<Table>,
    /// How many keys of Redis are in it.
    pub redis_keys: Option<u64>,
    /// What lay in the bucket, when that is in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<Stock>,
}

/// What is inside a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// What it is of.
    pub contents: Contents,
    /// The parts in their order.
    pub parts: Vec<Part>,
    /// The length of all chunks together, in bytes.
    pub stored: u64,
}
