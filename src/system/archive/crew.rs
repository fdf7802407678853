//! Writing files on more than one thread, while the archive is still being read.
//!
//! A small file costs a handful of system calls and hardly any bytes: a single thread would wait for
//! the kernel most of the time. Whoever reads gathers small files in batches and hands them to helpers;
//! a batch that finds no taker it writes itself. All that depends on order is settled before: paths are
//! checked and claimed, and their directories made, by the one who reads.

use std::io::{self, Read};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::thread;

use super::batch::{Batch, Shared};
use super::staging::{Digest, Staging, Writer};

/// How many batches may wait for each helper: enough for it while the one who reads writes one too.
const WAITING: usize = 2;

/// Runs `work` with a crew of this many threads, the one that calls among them.
pub(super) fn with<T>(threads: usize, staging: &Staging, work: impl FnOnce(Crew<'_>) -> T) -> T {
    let helpers = threads.saturating_sub(1);
    let (queue, taken) = mpsc::sync_channel(helpers * WAITING);
    let (done, written) = mpsc::channel();
    let shared = Shared::new(staging, taken);
    thread::scope(|scope| {
        for _ in 0..helpers {
            let (shared, done) = (&shared, done.clone());
            // A helper that cannot be had is no loss: what nobody takes, the one who reads writes.
            let _ = thread::Builder::new().spawn_scoped(scope, move || shared.help(&done));
        }
        // Only the helpers' ends stay open: the last one to leave closes the channel.
        drop(done);
        work(Crew::new(&shared, queue, written))
    })
}

/// The end of the one who reads.
#[derive(Debug)]
pub(super) struct Crew<'a> {
    shared: &'a Shared<'a>,
    writer: Writer<'a>,
    /// Closed when no more can come.
    queue: Option<SyncSender<Batch>>,
    written: Receiver<Batch>,
    filling: Batch,
    spare: Vec<Batch>,
    sealed: Vec<(String, Digest)>,
    failure: Option<(usize, anyhow::Error)>,
    /// How many batches there are, wherever they are: no more than are being written, wait, or are
    /// being filled.
    #[cfg(test)]
    batches: usize,
}

impl<'a> Crew<'a> {
    fn new(shared: &'a Shared<'a>, queue: SyncSender<Batch>, written: Receiver<Batch>) -> Self {
        Self {
            shared,
            writer: Writer::new(shared.staging),
            queue: Some(queue),
            written,
            filling: Batch::new(),
            spare: Vec::new(),
            sealed: Vec::new(),
            failure: None,
            #[cfg(test)]
            batches: 1,
        }
    }

    /// Whether anything could not be written; [`Crew::finish`] tells what.
    pub(super) fn failed(&self) -> bool {
        self.shared.failed()
    }

    /// Makes a directory whose parent exists, at once.
    pub(super) fn directory(&mut self, path: &str, mode: u32) -> anyhow::Result<()> {
        self.writer.directory(path, mode)
    }

    /// Reads a file of at most [`batch::BYTES`](super::batch::BYTES), whose directory exists; gives how
    /// much there was of it. It is written some time later.
    pub(super) fn small(
        &mut self,
        path: &str,
        mode: u32,
        size: usize,
        content: &mut impl Read,
    ) -> io::Result<usize> {
        if self.filling.room(size).is_none() {
            self.hand_out();
        }
        let room = self.filling.room(size).ok_or(io::ErrorKind::FileTooLarge)?;
        let mut count = 0;
        while count < size {
            match content.read(&mut room[count..])? {
                0 => break,
                more => count += more,
            }
        }
        self.filling.add(path, mode, count);
        Ok(count)
    }

    /// Writes a file of any size, whose directory exists, at once; see [`Writer::large`].
    pub(super) fn large(
        &mut self,
        path: &str,
        mode: u32,
        content: &mut impl Read,
        unreadable: impl Fn(&io::Error) -> anyhow::Error,
    ) -> anyhow::Result<(u64, Digest)> {
        // So that the helpers have something to do meanwhile.
        self.hand_out();
        self.writer.large(path, mode, &mut Watched { content, shared: self.shared }, unreadable)
    }

    /// The files that have been written since this was last asked.
    pub(super) fn sealed(&mut self) -> impl Iterator<Item = (String, Digest)> {
        self.sealed.drain(..)
    }

    /// Passes the batch being filled on and begins another.
    fn hand_out(&mut self) {
        if self.filling.is_empty() {
            return;
        }
        let next = self.filling.number() + 1;
        let batch = std::mem::take(&mut self.filling);
        let refused = match &self.queue {
            Some(queue) => queue.try_send(batch).err(),
            None => Some(TrySendError::Disconnected(batch)),
        };
        if let Some(TrySendError::Full(mut batch) | TrySendError::Disconnected(mut batch)) = refused {
            self.shared.write(&mut self.writer, &mut batch);
            self.put_away(batch);
        }
        while let Ok(batch) = self.written.try_recv() {
            self.put_away(batch);
        }
        self.filling = self.spare.pop().unwrap_or_else(|| {
            #[cfg(test)]
            {
                self.batches += 1;
            }
            Batch::new()
        });
        self.filling.begin(next);
    }

    fn put_away(&mut self, mut batch: Batch) {
        let number = batch.number();
        let (failure, files) = batch.outcome();
        self.sealed.extend(files);
        if let Some(error) = failure
            && self.failure.as_ref().is_none_or(|(first, _)| number < *first)
        {
            self.failure = Some((number, error));
        }
        self.spare.push(batch);
    }

    /// Waits until all that was read is written. Gives the files that are sealed since, or fails with
    /// the first error there was.
    ///
    /// `read` is how reading ended. An error of it comes after those of the files before it, whoever
    /// was faster.
    pub(super) fn finish(
        mut self,
        read: anyhow::Result<()>,
    ) -> anyhow::Result<(Writer<'a>, Vec<(String, Digest)>)> {
        self.queue = None;
        self.hand_out();
        while let Some(mut batch) = self.shared.next() {
            self.shared.write(&mut self.writer, &mut batch);
            self.put_away(batch);
        }
        while let Ok(batch) = self.written.recv() {
            self.put_away(batch);
        }
        match self.failure {
            Some((_, error)) => Err(error),
            None => read.map(|()| (self.writer, self.sealed)),
        }
    }

    #[cfg(test)]
    pub(super) fn batches(&self) -> usize {
        self.batches
    }
}

/// The content of a file, which ends with an error when another file could not be written.
struct Watched<'a, R> {
    content: &'a mut R,
    shared: &'a Shared<'a>,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.shared.failed() {
            // Nobody sees this: the failure comes first.
            return Err(io::Error::other("another file could not be written"));
        }
        self.content.read(buffer)
    }
}
