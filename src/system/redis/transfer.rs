//! What is in a database, key by key, as Redis itself writes it: out of one, and into another.
//!
//! A key that expires has the moment with it, not how long it has left: what has expired since the backup
//! does not come back. A record is a key, its moment (0: never) and its value, each with its length.

use std::io::{self, Read, Write};

use anyhow::{Context, Result, bail};
use redis::{Connection, RedisResult, Value};

use crate::system::process;

/// How many keys are asked for at a time.
const BATCH: usize = 100;
/// How many bytes are loaded at a time.
const LOAD: usize = 4 << 20;
/// The longest key or value, which is Redis' own limit, in bytes.
const LONGEST: u32 = 512 << 20;
/// Says of a database that it was loaded from a backup, until that is settled. Never written into one.
pub(super) const MARK: &str = "hostkit:restored";

/// What went wrong: with the server, or with what is read or written.
pub(super) enum Trouble {
    Redis(redis::RedisError),
    Other(anyhow::Error),
}

impl From<redis::RedisError> for Trouble {
    fn from(error: redis::RedisError) -> Self {
        Self::Redis(error)
    }
}

impl From<anyhow::Error> for Trouble {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Other(error.into())
    }
}

/// Writes every key of the selected database; says how many.
pub(super) fn dump(link: &mut Connection, out: &mut dyn Write) -> Result<u64, Trouble> {
    let (mut cursor, mut count) = (0_u64, 0);
    loop {
        process::keep_going()?;
        let (next, keys): (u64, Vec<Vec<u8>>) =
            redis::cmd("SCAN").arg(cursor).arg("COUNT").arg(BATCH).query(link)?;
        let mut each = redis::pipe();
        for key in &keys {
            each.cmd("DUMP").arg(key).cmd("PEXPIRETIME").arg(key);
        }
        let answers: Vec<Value> = if keys.is_empty() { Vec::new() } else { each.query(link)? };
        for (key, answer) in keys.iter().zip(answers.chunks(2)) {
            // One that went between the two questions is not there any more.
            let [Value::BulkString(value), Value::Int(moment)] = answer else { continue };
            if key == MARK.as_bytes() || *moment == -2 {
                continue;
            }
            write(out, key)?;
            out.write_all(&u64::try_from(*moment).unwrap_or(0).to_be_bytes())?;
            write(out, value)?;
            count += 1;
        }
        cursor = next;
        if cursor == 0 {
            return Ok(count);
        }
    }
}

/// Loads what [`dump`] wrote into the selected database, and marks it.
pub(super) fn load(link: &mut Connection, from: &mut dyn Read) -> Result<(), Trouble> {
    let (mut each, mut bytes) = (redis::pipe(), 0);
    while let Some(key) = read(from, true)? {
        process::keep_going()?;
        let mut moment = [0; 8];
        from.read_exact(&mut moment)?;
        let value = read(from, false)?.context("a value")?;
        bytes += value.len();
        let restore = each.cmd("RESTORE").arg(key).arg(u64::from_be_bytes(moment)).arg(value);
        restore.arg("REPLACE").arg("ABSTTL").ignore();
        if bytes > LOAD {
            each.exec(link)?;
            (each, bytes) = (redis::pipe(), 0);
        }
    }
    each.cmd("SET").arg(MARK).arg("1").ignore();
    Ok(each.exec(link)?)
}

/// A connection's database from here on.
pub(super) fn select(link: &mut Connection, number: u32) -> RedisResult<()> {
    redis::cmd("SELECT").arg(number).exec(link)
}

fn write(out: &mut dyn Write, bytes: &[u8]) -> Result<()> {
    let length = u32::try_from(bytes.len()).context("a value is too long")?;
    out.write_all(&length.to_be_bytes())?;
    Ok(out.write_all(bytes)?)
}

/// A key or a value; nothing at the end of all records, where that may be.
fn read(from: &mut dyn Read, may_end: bool) -> Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    if may_end && from.read(&mut length[..1])? == 0 {
        return Ok(None);
    }
    from.read_exact(&mut length[usize::from(may_end)..])?;
    let length = u32::from_be_bytes(length);
    if length > LONGEST {
        bail!("a key or a value of {length} bytes");
    }
    let mut bytes = Vec::new();
    from.take(length.into()).read_to_end(&mut bytes)?;
    if bytes.len() != length as usize {
        bail!(io::Error::from(io::ErrorKind::UnexpectedEof));
    }
    Ok(Some(bytes))
}
