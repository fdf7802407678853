//! What lies in a bucket as one stream, read and written object by object in constant memory.
//!
//! ```text
//! length, head, bytes      for each object: JSON says its key, its size and its headers
//! zero                     the end, so that a stream that was cut can be told
//! ```

use std::io::{self, Read, Write};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Access, BATCH, Entry, Headers, Objects, check_key};

/// The longest head of an object, in bytes: a key has at most 1024, its headers some thousands.
const HEAD: u32 = 64 << 10;
/// What is carried at once, in bytes.
const PIECE: usize = 128 << 10;

/// What lay in a bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stock {
    /// How many objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// A sum over the list of them: another one as soon as anything is written, replaced or deleted.
    pub sum: String,
}

/// What comes before an object's bytes.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    key: String,
    size: u64,
    headers: Headers,
}

/// What the objects in a list add up to.
#[derive(Default)]
struct Tally {
    stock: Stock,
    sum: Sha256,
}

impl Tally {
    fn add(&mut self, entry: &Entry) {
        self.stock.objects += 1;
        self.stock.bytes += entry.size;
        for part in [&entry.key, &entry.size.to_string(), &entry.modified, &entry.tag] {
            self.sum.update(part);
            self.sum.update([0]);
        }
    }
    fn total(self) -> Stock {
        let sum = self.sum.finalize().iter().fold(String::new(), |all, byte| all + &format!("{byte:02x}"));
        Stock { sum, ..self.stock }
    }
}

/// Calls `visit` with every object in the list of a bucket, in the order of their keys.
fn each(objects: &dyn Objects, at: &Access, mut visit: impl FnMut(&Entry) -> Result<()>) -> Result<()> {
    let mut from = None;
    loop {
        let page = objects.list(at, "", from.as_deref(), BATCH)?;
        page.entries.iter().try_for_each(&mut visit)?;
        from = page.next;
        if from.is_none() {
            return Ok(());
        }
    }
}

/// What lies in a bucket now.
pub fn stock(objects: &dyn Objects, at: &Access) -> Result<Stock> {
    let mut tally = Tally::default();
    each(objects, at, |entry| {
        tally.add(entry);
        Ok(())
    })?;
    Ok(tally.total())
}

/// Writes all that lies in a bucket; says what was in its list. What is deleted meanwhile is left out.
pub fn pack(objects: &dyn Objects, at: &Access, out: &mut dyn Write) -> Result<Stock> {
    let mut tally = Tally::default();
    each(objects, at, |entry| {
        check_key(&entry.key)?;
        tally.add(entry);
        objects.read(at, &entry.key, &mut |size, headers, from| {
            let head = Head { key: entry.key.clone(), size, headers: headers.clone() };
            let head = serde_json::to_vec(&head)?;
            let length = u32::try_from(head.len()).ok().filter(|length| *length <= HEAD);
            let length = length.with_context(|| format!("too much is said of `{}`", entry.key))?;
            out.write_all(&length.to_be_bytes())?;
            out.write_all(&head)?;
            carry(&mut from.take(size), out)
        })?;
        Ok(())
    })?;
    out.write_all(&0_u32.to_be_bytes())?;
    Ok(tally.total())
}

fn carry(from: &mut dyn Read, out: &mut dyn Write) -> Result<u64> {
    let (mut piece, mut carried) = (vec![0; PIECE], 0);
    loop {
        let count = match from.read(&mut piece) {
            Ok(0) => return Ok(carried),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        out.write_all(&piece[..count])?;
        carried += count as u64;
    }
}

/// Puts into a bucket what [`pack`] wrote; how many objects.
pub fn unpack(objects: &mut dyn Objects, at: &Access, from: &mut dyn Read) -> Result<u64> {
    for number in 0.. {
        let mut length = [0; 4];
        from.read_exact(&mut length).context("the objects end too soon")?;
        let length = u32::from_be_bytes(length);
        if length == 0 {
            return Ok(number);
        }
        ensure!(length <= HEAD, "what is said of an object is too long");
        let mut head = vec![0; length as usize];
        from.read_exact(&mut head).context("the objects end too soon")?;
        let Head { key, size, headers } =
            serde_json::from_slice(&head).context("reading an object's head")?;
        let written = objects.put(at, &key, &headers, &mut from.take(size))?;
        ensure!(written == size, "the objects end too soon");
    }
    unreachable!("an endless range")
}
