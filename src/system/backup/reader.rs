//! Reading a backup: its ends first, then its parts in their order.

use std::io::{self, Read, Seek, SeekFrom};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::{
    END, HEADER, Header, Key, Keys, MAGIC, MANIFEST, Manifest, Part, VERSION, damaged, hex,
    stream::{self, Opener},
};
use crate::domain::fault::{Code, Fault};

/// A backup whose ends have been read and found authentic.
pub struct Reader<R> {
    /// Whose it is.
    pub header: Header,
    /// What is inside.
    pub manifest: Manifest,
    from: R,
    keys: Keys,
    aad: Vec<u8>,
}

impl<R> std::fmt::Debug for Reader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("header", &self.header).finish_non_exhaustive()
    }
}

impl<R: Read + Seek> Reader<R> {
    /// Reads the two ends of a backup. Wants the key it was made with.
    pub fn open(mut from: R, key: &Key) -> Result<Self> {
        let (header, aad) = begin(&mut from)?;
        if header.key != key.fingerprint {
            bail!(
                Fault::new(
                    Code::WrongKey,
                    format!("the backup was made with another key than this host's ({})", header.key)
                )
                .next("give the key of the host that made it: `--key FILE`")
            );
        }
        let salt = unhex(&header.salt).ok_or_else(|| damaged("its header makes no sense"))?;
        let keys = Keys::of(key, &salt);
        let manifest = end(&mut from, &aad, &keys)?;
        Ok(Self { header, manifest, from, keys, aad })
    }

    /// Who made a backup for whom, without any key.
    pub fn header(mut from: R) -> Result<Header> {
        Ok(begin(&mut from)?.0)
    }

    /// Reads all parts, and fails unless each is as the manifest says. What `take` leaves of a part is
    /// read all the same.
    pub fn each(&mut self, mut take: impl FnMut(&Part, &mut dyn Read) -> Result<()>) -> Result<()> {
        self.from.seek(SeekFrom::Start(self.aad.len() as u64)).context("reading the backup")?;
        let stored = self.manifest.stored;
        let mut stream = Opener::new(&mut self.from, &self.keys.chunks, &self.aad, stored);
        for part in &self.manifest.parts {
            let packing = head(&mut stream, part)?;
            let frames = Frames { from: &mut stream, left: 0, ended: false };
            match packing {
                0 => follow(part, frames, &mut take)?.drain()?,
                1 => {
                    let decoder = zstd::stream::read::Decoder::new(frames).context("reading the backup")?;
                    follow(part, decoder, &mut take)?.finish().into_inner().drain()?;
                }
                _ => bail!(damaged("it was packed by a newer version of HostKit")),
            }
        }
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).map_err(understood)?;
        if rest != b"E" {
            bail!(damaged("it holds more than its manifest says"));
        }
        Ok(())
    }

    /// Reads everything, and fails unless all of it is as it was written.
    pub fn check(&mut self) -> Result<()> {
        self.each(|_, _| Ok(()))
    }
}

/// The header, and all the bytes it was read from.
fn begin(from: &mut (impl Read + Seek)) -> Result<(Header, Vec<u8>)> {
    from.seek(SeekFrom::Start(0)).context("reading the backup")?;
    let mut aad = vec![0; MAGIC.len() + 5];
    from.read_exact(&mut aad).map_err(|_| damaged("it is no backup of HostKit's"))?;
    let (magic, rest) = aad.split_at(MAGIC.len());
    if magic != MAGIC {
        bail!(damaged("it is no backup of HostKit's"));
    }
    if rest[0] != VERSION {
        bail!(damaged(&format!("its format {} is not known to this version of HostKit", rest[0])));
    }
    let length = u32::from_be_bytes([rest[1], rest[2], rest[3], rest[4]]) as usize;
    if length > HEADER {
        bail!(damaged("its header makes no sense"));
    }
    let mut text = vec![0; length];
    from.read_exact(&mut text).map_err(|_| damaged("it is cut short"))?;
    let header = serde_json::from_slice(&text).map_err(|_| damaged("its header makes no sense"))?;
    aad.extend(text);
    Ok((header, aad))
}

/// The manifest, found from the end of the file.
fn end(from: &mut (impl Read + Seek), aad: &[u8], keys: &Keys) -> Result<Manifest> {
    let cut = || damaged("it is cut short");
    let length = from.seek(SeekFrom::End(0)).context("reading the backup")?;
    let footer = (END.len() + 4) as u64;
    let body = length.checked_sub(footer + aad.len() as u64).ok_or_else(cut)?;
    from.seek(SeekFrom::End(-i64::try_from(footer)?)).context("reading the backup")?;
    let mut text = [0; END.len() + 4];
    from.read_exact(&mut text).context("reading the backup")?;
    if &text[4..] != END {
        bail!(cut());
    }
    let sealed = u32::from_be_bytes([text[0], text[1], text[2], text[3]]) as usize;
    let stored = body.checked_sub(sealed as u64).filter(|_| sealed <= MANIFEST).ok_or_else(cut)?;
    from.seek(SeekFrom::Start(aad.len() as u64 + stored)).context("reading the backup")?;
    let mut text = vec![0; sealed];
    from.read_exact(&mut text).context("reading the backup")?;
    let text = stream::open(&keys.manifest, aad, text).map_err(understood)?;
    let manifest: Manifest =
        serde_json::from_slice(&text).map_err(|_| damaged("its manifest makes no sense"))?;
    if manifest.stored != stored {
        bail!(cut());
    }
    Ok(manifest)
}

/// The beginning of a part, which must be the one that is expected; says how it is packed.
fn head(stream: &mut impl Read, part: &Part) -> Result<u8> {
    let mut head = [0; 3];
    stream.read_exact(&mut head).map_err(understood)?;
    let mut name = vec![0; head[2].into()];
    stream.read_exact(&mut name).map_err(understood)?;
    if head[0] != b'P' || name != part.name.as_bytes() {
        bail!(damaged("its parts are not those of its manifest"));
    }
    Ok(head[1])
}

/// Lets `take` read a part, reads the rest of it, and compares it with the manifest.
fn follow<R: Read>(
    part: &Part,
    from: R,
    take: &mut impl FnMut(&Part, &mut dyn Read) -> Result<()>,
) -> Result<R> {
    let mut summed = Summed { from, bytes: 0, sum: Sha256::new() };
    take(part, &mut summed).map_err(|e| e.downcast::<io::Error>().map_or_else(|e| e, understood))?;
    io::copy(&mut summed, &mut io::sink()).map_err(understood)?;
    if summed.bytes != part.bytes || hex(&summed.sum.finalize()) != part.sha256 {
        bail!(damaged(&format!("its part `{}` is not as it was written", part.name)));
    }
    Ok(summed.from)
}

/// An error of reading, as the fault it may carry.
fn understood(error: io::Error) -> anyhow::Error {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return damaged("it is cut short").into();
    }
    match error.downcast::<Fault>() {
        Ok(fault) => fault.into(),
        Err(error) => anyhow::Error::new(error).context("reading the backup"),
    }
}

/// The pieces of one part, put together again.
struct Frames<'a, R> {
    from: &'a mut Opener<R>,
    left: usize,
    ended: bool,
}

impl<R: Read> Frames<'_, R> {
    /// Reads up to the end of the part.
    fn drain(mut self) -> Result<()> {
        io::copy(&mut self, &mut io::sink()).map_err(understood)?;
        Ok(())
    }
}

impl<R: Read> Read for Frames<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && !self.ended {
            let mut length = [0; 4];
            self.from.read_exact(&mut length)?;
            self.left = u32::from_be_bytes(length) as usize;
            self.ended = self.left == 0;
        }
        let most = into.len().min(self.left);
        let count = self.from.read(&mut into[..most])?;
        if count == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= count;
        Ok(count)
    }
}

/// Sums up what passes.
struct Summed<R> {
    from: R,
    bytes: u64,
    sum: Sha256,
}

impl<R: Read> Read for Summed<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(into)?;
        self.sum.update(&into[..count]);
        self.bytes += count as u64;
        Ok(count)
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
