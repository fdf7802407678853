//! The kinds of data in a backup that can be gone back to one by one.

use super::write::{DATABASE, ENV, OBJECTS, REDIS, SHARED};

/// A kind of data that can be gone back to by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Piece {
    /// The database.
    Database,
    /// The keys in Redis.
    Redis,
    /// The directory that releases share.
    Shared,
    /// The project's own variables.
    Env,
    /// What lies in the bucket.
    Objects,
}

impl Piece {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Database, Self::Redis, Self::Shared, Self::Env, Self::Objects];

    /// The name of its part.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Database => DATABASE,
            Self::Redis => REDIS,
            Self::Shared => SHARED,
            Self::Env => ENV,
            Self::Objects => OBJECTS,
        }
    }
}
