//! What is in a database, key by key, as Redis itself writes it: out of one, and into another.
//!
//! A key that expires has the moment with it, not how long it has left: what has expired since the backup
//! does not come back. A record is a key, its moment (0: never) and its value, each with its length. Values
//! go by piece by piece, however long they are.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
};

use anyhow::{Context, Result, anyhow, bail};
use redis::{Cmd, Value, cmd};

use super::link::{Link, Trouble};
use crate::{
    domain::fault::{Code, Fault},
    system::process,
};

/// How many keys are asked for at a time.
const BATCH: usize = 100;
/// How many bytes of values are asked for at a time, and how many keys are loaded at a time.
const TOGETHER: u64 = 4 << 20;
const LOAD: usize = 200;
/// The longest key or value that a backup may hold, in bytes; Redis' own limit unless it is raised.
const LONGEST: u32 = 512 << 20;
/// What each key, and each look for more, counts besides: whoever has nothing is not asked without an end.
const KEY: u64 = 64;
const LOOK: u64 = 4096;
/// Says of a database that it was loaded from a backup, until that is settled. Never written into one.
pub(super) const MARK: &str = "hostkit:restored";

/// A key that is about to be dumped.
struct Key {
    name: Vec<u8>,
    /// When it goes, in milliseconds; 0: never.
    moment: u64,
    /// About how many bytes it takes.
    bytes: u64,
}

/// Writes every key of the selected database; says how many. A server that has more than `most` bytes says
/// what it likes.
pub(super) fn dump(link: &mut Link, most: Option<u64>, out: &mut dyn Write) -> Result<u64, Trouble> {
    let (mut cursor, mut count, mut left) = (0_u64, 0, most.unwrap_or(u64::MAX));
    let mut spend = |bytes: u64| {
        left = left.checked_sub(bytes).ok_or(Trouble::Nonsense("more keys than it can hold"))?;
        Ok::<(), Trouble>(())
    };
    let longest = longest(link)?;
    loop {
        process::keep_going()?;
        let (next, names): (u64, Vec<Vec<u8>>) = link.ask(cmd("SCAN").arg(cursor).arg("COUNT").arg(BATCH))?;
        spend(LOOK)?;
        let mut keys = describe(link, names)?.into_iter().peekable();
        while keys.peek().is_some() {
            let (mut together, mut bytes) = (Vec::new(), 0);
            while let Some(key) = keys.next_if(|key| together.is_empty() || bytes + key.bytes <= TOGETHER) {
                bytes += key.bytes;
                together.push(key);
            }
            let mut asked = Vec::new();
            for key in &together {
                cmd("DUMP").arg(&key.name).write_packed_command(&mut asked);
            }
            link.send(&asked)?;
            for key in &together {
                // One that went between the questions is not there any more.
                let Some(length) = link.long()? else { continue };
                spend(KEY + length)?;
                if length > longest {
                    return Err(too_long(&key.name, length, longest).into());
                }
                write(out, &key.name)?;
                out.write_all(&key.moment.to_be_bytes()).map_err(anyhow::Error::from)?;
                write_length(out, length)?;
                link.pass(length, out)?;
                count += 1;
            }
        }
        cursor = next;
        if cursor == 0 {
            return Ok(count);
        }
    }
}

/// The longest value that the server takes back, in bytes.
fn longest(link: &mut Link) -> Result<u64, Trouble> {
    const SETTING: &str = "proto-max-bulk-len";
    let set: BTreeMap<String, u64> = link.ask(cmd("CONFIG").arg("GET").arg(SETTING))?;
    Ok(set.get(SETTING).copied().unwrap_or(u64::MAX).min(LONGEST.into()))
}

fn too_long(key: &[u8], length: u64, longest: u64) -> anyhow::Error {
    let shown: String = String::from_utf8_lossy(key).chars().take(60).flat_map(char::escape_debug).collect();
    Fault::new(
        Code::WrongState,
        format!(
            "the key `{shown}` in Redis takes {} MiB, and Redis would take no more than {} MiB back",
            length >> 20,
            longest >> 20
        ),
    )
    .next("split the value, or delete it")
    .into()
}

/// The keys among these that are there, with when they go and about how large they are.
fn describe(link: &mut Link, names: Vec<Vec<u8>>) -> Result<Vec<Key>, Trouble> {
    let ask = |name: &Vec<u8>| {
        let mut size = cmd("MEMORY");
        size.arg("USAGE").arg(name).arg("SAMPLES").arg(5);
        [cmd("PEXPIRETIME").arg(name).clone(), size]
    };
    let asked: Vec<Cmd> = names.iter().flat_map(ask).collect();
    let answers = link.ask_all(&asked)?;
    let mut keys = Vec::new();
    for (name, answer) in names.into_iter().zip(answers.chunks(2)) {
        let [Value::Int(moment), Value::Int(bytes)] = answer else { continue };
        if name != MARK.as_bytes() && *moment != -2 {
            let (moment, bytes) = (u64::try_from(*moment).unwrap_or(0), u64::try_from(*bytes).unwrap_or(0));
            keys.push(Key { name, moment, bytes });
        }
    }
    Ok(keys)
}

/// Loads what [`dump`] wrote into the selected database, and marks it.
pub(super) fn load(link: &mut Link, from: &mut dyn Read) -> Result<(), Trouble> {
    let mut waiting = 0;
    while let Some(length) = length(from, true)? {
        process::keep_going()?;
        let key = exactly(from, length)?;
        let mut moment = [0; 8];
        from.read_exact(&mut moment).map_err(anyhow::Error::from)?;
        let moment = u64::from_be_bytes(moment).to_string();
        let value = length_of_value(from)?;
        let mut head = format!("*6\r\n$7\r\nRESTORE\r\n${length}\r\n").into_bytes();
        head.extend_from_slice(&key);
        head.extend_from_slice(format!("\r\n${}\r\n{moment}\r\n${value}\r\n", moment.len()).as_bytes());
        link.send(&head)?;
        forward(link, from, value)?;
        link.send(b"\r\n$7\r\nREPLACE\r\n$6\r\nABSTTL\r\n")?;
        waiting += 1;
        if waiting == LOAD {
            settle(link, &mut waiting)?;
        }
    }
    settle(link, &mut waiting)?;
    link.tell(cmd("SET").arg(MARK).arg("1"))
}

/// Hears that all that was sent is loaded.
fn settle(link: &mut Link, waiting: &mut usize) -> Result<(), Trouble> {
    while *waiting > 0 {
        link.answer(&mut LINE.clone())?;
        *waiting -= 1;
    }
    Ok(())
}

/// The longest answer to a key that was loaded, in bytes.
const LINE: usize = 4096;

/// Sends a value on as it comes.
fn forward(link: &mut Link, from: &mut dyn Read, length: u32) -> Result<(), Trouble> {
    let mut piece = vec![0; 64 << 10];
    let mut left = length as usize;
    while left > 0 {
        process::keep_going()?;
        let some = left.min(piece.len());
        from.read_exact(&mut piece[..some]).map_err(anyhow::Error::from)?;
        link.send(&piece[..some])?;
        left -= some;
    }
    Ok(())
}

/// A connection's database from here on.
pub(super) fn select(link: &mut Link, number: u32) -> Result<(), Trouble> {
    link.tell(cmd("SELECT").arg(number))
}

fn write_length(out: &mut dyn Write, length: u64) -> Result<()> {
    let length = u32::try_from(length).context("a value is too long")?;
    Ok(out.write_all(&length.to_be_bytes())?)
}

fn write(out: &mut dyn Write, bytes: &[u8]) -> Result<()> {
    write_length(out, bytes.len() as u64)?;
    Ok(out.write_all(bytes)?)
}

fn length_of_value(from: &mut dyn Read) -> Result<u32> {
    length(from, false)?.ok_or_else(|| anyhow!(io::Error::from(io::ErrorKind::UnexpectedEof)))
}

/// How long the next key or value is; nothing at the end of all records, where that may be.
fn length(from: &mut dyn Read, may_end: bool) -> Result<Option<u32>> {
    let mut length = [0; 4];
    if may_end && from.read(&mut length[..1])? == 0 {
        return Ok(None);
    }
    from.read_exact(&mut length[usize::from(may_end)..])?;
    let length = u32::from_be_bytes(length);
    if length > LONGEST {
        bail!("a key or a value of {length} bytes");
    }
    Ok(Some(length))
}

fn exactly(from: &mut dyn Read, length: u32) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(length.into()).read_to_end(&mut bytes)?;
    if bytes.len() != length as usize {
        bail!(io::Error::from(io::ErrorKind::UnexpectedEof));
    }
    Ok(bytes)
}
