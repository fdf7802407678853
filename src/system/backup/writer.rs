//! Writing a backup: header, parts, manifest, in one pass.

use std::io::{self, Write};

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use super::{
    Contents, END, HEADER, Header, Key, Keys, MAGIC, MANIFEST, Manifest, Part, VERSION, hex,
    stream::{self, Sealer},
};
use crate::system::vault;

/// The longest piece of a part, in bytes.
const FRAME: usize = 64 << 10;
/// More buys little: most of the time goes into reading the database.
const LEVEL: i32 = 1;

/// Whether a part is made smaller on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// It is kept as it is.
    Plain,
    /// It is compressed with zstd.
    Zstd,
}

impl Packing {
    pub(super) const fn tag(self) -> u8 {
        match self {
            Self::Plain => 0,
            Self::Zstd => 1,
        }
    }
}

/// A backup that is being written.
pub struct Writer<W> {
    stream: Sealer<W>,
    keys: Keys,
    aad: Vec<u8>,
    pub(super) parts: Vec<Part>,
}

impl<W> std::fmt::Debug for Writer<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("parts", &self.parts).finish_non_exhaustive()
    }
}

impl<W: Write> Writer<W> {
    /// Begins a backup. Key and salt of the header are filled in.
    pub fn begin(mut out: W, key: &Key, mut header: Header) -> Result<Self> {
        let salt = vault::random::<32>()?;
        header.salt = hex(&*salt);
        header.key.clone_from(&key.fingerprint);
        let text = serde_json::to_vec(&header)?;
        ensure!(text.len() <= HEADER, "a backup's header of {} bytes is too long", text.len());
        let mut aad = MAGIC.to_vec();
        aad.push(VERSION);
        aad.extend(u32::try_from(text.len())?.to_be_bytes());
        aad.extend(text);
        out.write_all(&aad).context("writing the backup")?;
        let keys = Keys::of(key, &*salt);
        Ok(Self { stream: Sealer::new(out, &keys.chunks, &aad), keys, aad, parts: Vec::new() })
    }

    /// Adds a part: what `write` writes.
    pub fn part<T>(
        &mut self,
        name: &str,
        packing: Packing,
        write: impl FnOnce(&mut dyn Write) -> Result<T>,
    ) -> Result<T> {
        let mut head =
            vec![b'P', packing.tag(), u8::try_from(name.len()).context("a part's name is too long")?];
        head.extend(name.as_bytes());
        self.stream.write_all(&head)?;
        let frames = Frames { out: &mut self.stream, text: Vec::with_capacity(FRAME) };
        let (value, bytes, sha256) = match packing {
            Packing::Plain => {
                let mut counted = Counted::new(frames);
                let value = write(&mut counted)?;
                let (frames, bytes, sha256) = counted.finish();
                frames.finish()?;
                (value, bytes, sha256)
            }
            Packing::Zstd => {
                let mut counted = Counted::new(zstd::stream::write::Encoder::new(frames, LEVEL)?);
                let value = write(&mut counted)?;
                let (encoder, bytes, sha256) = counted.finish();
                encoder.finish()?.finish()?;
                (value, bytes, sha256)
            }
        };
        self.parts.push(Part { name: name.to_owned(), bytes, sha256 });
        Ok(value)
    }

    /// Ends the backup with what it is of.
    pub fn finish(mut self, contents: Contents) -> Result<(W, Manifest)> {
        self.stream.write_all(b"E")?;
        let (mut out, stored) = self.stream.finish()?;
        let manifest = Manifest { contents, parts: self.parts, stored };
        let sealed = stream::seal(&self.keys.manifest, &self.aad, serde_json::to_vec(&manifest)?)?;
        ensure!(sealed.len() <= MANIFEST, "a manifest of {} bytes is too long", sealed.len());
        out.write_all(&sealed)?;
        out.write_all(&u32::try_from(sealed.len())?.to_be_bytes())?;
        out.write_all(END)?;
        out.flush()?;
        Ok((out, manifest))
    }
}

/// Gives each piece its length, so that the end of a part can be seen.
struct Frames<'a, W> {
    out: &'a mut Sealer<W>,
    text: Vec<u8>,
}

impl<W: Write> Frames<'_, W> {
    fn pass(&mut self) -> io::Result<()> {
        let length = u32::try_from(self.text.len()).map_err(io::Error::other)?;
        self.out.write_all(&length.to_be_bytes())?;
        self.out.write_all(&self.text)?;
        self.text.clear();
        Ok(())
    }
    fn finish(mut self) -> io::Result<()> {
        if !self.text.is_empty() {
            self.pass()?;
        }
        self.pass()
    }
}

impl<W: Write> Write for Frames<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(FRAME - self.text.len());
        self.text.extend_from_slice(&bytes[..taken]);
        if self.text.len() == FRAME {
            self.pass()?;
        }
        Ok(taken)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Counts what passes, and sums it up.
struct Counted<W> {
    out: W,
    bytes: u64,
    sum: Sha256,
}

impl<W: Write> Counted<W> {
    fn new(out: W) -> Self {
        Self { out, bytes: 0, sum: Sha256::new() }
    }
    fn finish(self) -> (W, u64, String) {
        (self.out, self.bytes, hex(&self.sum.finalize()))
    }
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.sum.update(&bytes[..count]);
        self.bytes += count as u64;
        Ok(count)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
