//! Small files that are written together, and what the threads that write them share.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Mutex, PoisonError};

use super::staging::{Digest, Staging, Writer};

/// The bytes of one batch. A larger file is written as it is read, by the one who reads.
pub(super) const BYTES: usize = 1 << 20;
/// The files of one batch. Those who make files in one directory wait for each other, and batches that
/// are this far apart mostly belong into different ones.
const FILES: usize = 64;

/// A small file, whose content is a part of its batch's.
#[derive(Debug)]
struct Small {
    path: String,
    mode: u32,
    end: usize,
    sha256: Digest,
}

/// Small files that one thread writes one after another.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Batches are numbered as they are read.
    number: usize,
    content: Vec<u8>,
    files: Vec<Small>,
    failure: Option<anyhow::Error>,
}

impl Batch {
    pub(super) fn new() -> Self {
        // Zeros that are not written to take up no memory.
        Self { content: vec![0; BYTES], ..Self::default() }
    }

    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// Empties a batch, to be the one with this number.
    pub(super) fn begin(&mut self, number: usize) {
        self.number = number;
        self.files.clear();
        self.failure = None;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The room for a file of this size, if there is any.
    pub(super) fn room(&mut self, size: usize) -> Option<&mut [u8]> {
        if self.files.len() == FILES {
            return None;
        }
        let start = self.used();
        self.content[start..].get_mut(..size)
    }

    /// Adds a file whose content has been put into its [`Batch::room`].
    pub(super) fn add(&mut self, path: &str, mode: u32, size: usize) {
        let end = self.used() + size;
        self.files.push(Small { path: path.to_owned(), mode, end, sha256: [0; 32] });
    }

    fn used(&self) -> usize {
        self.files.last().map_or(0, |file| file.end)
    }

    /// What has become of it: why not all of it could be written, and the digests of what was.
    pub(super) fn outcome(&mut self) -> (Option<anyhow::Error>, impl Iterator<Item = (String, Digest)>) {
        (self.failure.take(), self.files.drain(..).map(|file| (file.path, file.sha256)))
    }
}

/// What all who write know.
#[derive(Debug)]
pub(super) struct Shared<'a> {
    pub(super) staging: &'a Staging,
    queue: Mutex<Receiver<Batch>>,
    /// The number of the first batch that failed, or `usize::MAX`.
    failed: AtomicUsize,
}

impl<'a> Shared<'a> {
    pub(super) fn new(staging: &'a Staging, queue: Receiver<Batch>) -> Self {
        Self { staging, queue: Mutex::new(queue), failed: AtomicUsize::new(usize::MAX) }
    }

    /// Whether anything could not be written.
    pub(super) fn failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed) != usize::MAX
    }

    /// The next batch that nobody has taken; `None` once no more can come.
    pub(super) fn next(&self) -> Option<Batch> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>, batch: &mut Batch) {
        let mut start = 0;
        for file in &mut batch.files {
            // What comes after a failure is not written. What comes before it is, for it may fail too:
            // which error is told must not depend on who was faster.
            if self.failed.load(Ordering::Relaxed) < batch.number {
                return;
            }
            match writer.small(&file.path, file.mode, &batch.content[start..file.end]) {
                Ok(sha256) => file.sha256 = sha256,
                Err(error) => {
                    batch.failure = Some(error);
                    self.failed.fetch_min(batch.number, Ordering::Relaxed);
                    return;
                }
            }
            start = file.end;
        }
    }

    /// Writes what is in the queue, until no more can come.
    pub(super) fn help(&self, done: &Sender<Batch>) {
        let mut writer = Writer::new(self.staging);
        while let Some(mut batch) = self.next() {
            self.write(&mut writer, &mut batch);
            if done.send(batch).is_err() {
                return;
            }
        }
    }
}
