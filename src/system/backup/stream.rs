//! The STREAM construction: a long text sealed in chunks, each numbered, the last one marked.
//!
//! A chunk's nonce is 19 bytes that are the same throughout, its number, and whether it is the last. The
//! header of the file is authenticated with every chunk. Memory is one chunk, whatever is written.

use std::io::{self, Read, Write};

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{AeadInOut, Buffer},
};

use super::damaged;

/// How much text is in a chunk, in bytes; only the last holds less.
pub(super) const CHUNK: usize = 256 << 10;
/// What sealing adds to a chunk, in bytes.
pub(super) const TAG: usize = 16;

/// What seals and opens: a key, and the number of the next chunk.
struct Cipher {
    cipher: XChaCha20Poly1305,
    aad: Vec<u8>,
    next: u32,
}

impl Cipher {
    fn new(key: &[u8; 32], aad: &[u8]) -> Self {
        Self { cipher: XChaCha20Poly1305::new(key.into()), aad: aad.to_vec(), next: 0 }
    }

    /// The nonce of the next chunk. The key is this file's alone, so the first bytes may be the same.
    fn nonce(&mut self, last: bool) -> io::Result<XNonce> {
        let mut nonce = [0; 24];
        nonce[19..23].copy_from_slice(&self.next.to_be_bytes());
        nonce[23] = u8::from(last);
        self.next = self.next.checked_add(1).ok_or_else(|| io::Error::other("the backup is too long"))?;
        Ok(nonce.into())
    }

    fn seal(&mut self, text: &mut Vec<u8>, last: bool) -> io::Result<()> {
        let nonce = self.nonce(last)?;
        let sealed = self.cipher.encrypt_in_place(&nonce, &self.aad, text as &mut dyn Buffer);
        sealed.map_err(|_| io::Error::other("sealing failed"))
    }

    fn open(&mut self, text: &mut Vec<u8>, last: bool) -> io::Result<()> {
        let nonce = self.nonce(last)?;
        let opened = self.cipher.decrypt_in_place(&nonce, &self.aad, text as &mut dyn Buffer);
        opened.map_err(|_| io::Error::other(damaged("it was altered, or is not whole")))
    }
}

/// Seals one short text, under a key that is used for nothing else.
pub(super) fn seal(key: &[u8; 32], aad: &[u8], mut text: Vec<u8>) -> io::Result<Vec<u8>> {
    Cipher::new(key, aad).seal(&mut text, true)?;
    Ok(text)
}

/// Opens what [`seal`] sealed.
pub(super) fn open(key: &[u8; 32], aad: &[u8], mut text: Vec<u8>) -> io::Result<Vec<u8>> {
    Cipher::new(key, aad).open(&mut text, true)?;
    Ok(text)
}

/// Seals what is written to it.
pub(super) struct Sealer<W> {
    out: W,
    cipher: Cipher,
    text: Vec<u8>,
    /// How much was passed on, in bytes.
    stored: u64,
}

impl<W: Write> Sealer<W> {
    pub(super) fn new(out: W, key: &[u8; 32], aad: &[u8]) -> Self {
        Self { out, cipher: Cipher::new(key, aad), text: Vec::with_capacity(CHUNK + TAG), stored: 0 }
    }

    /// Seals the last chunk, and says how much was passed on.
    pub(super) fn finish(mut self) -> io::Result<(W, u64)> {
        self.pass(true)?;
        Ok((self.out, self.stored))
    }

    fn pass(&mut self, last: bool) -> io::Result<()> {
        self.cipher.seal(&mut self.text, last)?;
        self.out.write_all(&self.text)?;
        self.stored += self.text.len() as u64;
        self.text.clear();
        Ok(())
    }
}

impl<W: Write> Write for Sealer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A full chunk waits until more comes: it may be the last.
        if self.text.len() == CHUNK && !bytes.is_empty() {
            self.pass(false)?;
        }
        let taken = bytes.len().min(CHUNK - self.text.len());
        self.text.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Opens what a [`Sealer`] sealed. Nothing is handed out that is not authentic, and the end only after a
/// chunk that is marked as the last.
pub(super) struct Opener<R> {
    from: R,
    cipher: Cipher,
    text: Vec<u8>,
    at: usize,
    /// How many bytes of chunks are still to be read.
    left: u64,
}

impl<R: Read> Opener<R> {
    /// Reads chunks of `stored` bytes together.
    pub(super) fn new(from: R, key: &[u8; 32], aad: &[u8], stored: u64) -> Self {
        Self { from, cipher: Cipher::new(key, aad), text: Vec::new(), at: 0, left: stored }
    }

    fn next(&mut self) -> io::Result<()> {
        let length = self.left.min((CHUNK + TAG) as u64);
        self.left -= length;
        self.text.clear();
        (&mut self.from).take(length).read_to_end(&mut self.text)?;
        if self.text.len() as u64 != length {
            return Err(io::Error::other(damaged("it is cut short")));
        }
        self.cipher.open(&mut self.text, self.left == 0)?;
        self.at = 0;
        Ok(())
    }
}

impl<R: Read> Read for Opener<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.at == self.text.len() {
            if self.left == 0 {
                return Ok(0);
            }
            self.next()?;
        }
        let count = into.len().min(self.text.len() - self.at);
        into[..count].copy_from_slice(&self.text[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}
