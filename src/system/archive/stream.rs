//! The bytes of an archive: decompressed, and metered below the parser.

use std::cell::{Cell, RefCell};
use std::io::{self, BufReader, Cursor, Read};
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;

use super::{Limits, quoted};
use crate::domain::fault::{Code, Fault};

/// The largest window of zstd, as a power of two: 128 MiB, the most that its own tool takes unasked.
const WINDOW: u32 = 27;

/// What other formats begin with, and what to say about them.
const FOREIGN: &[(&[u8], &str)] = &[
    (b"\xfd7zXZ\0", "compressed with xz"),
    (b"BZh", "compressed with bzip2"),
    (b"PK\x03\x04", "a zip archive, which can only be read from a file"),
    (b"PK\x05\x06", "a zip archive, which can only be read from a file"),
];

/// What the meter has seen; shared with whoever interprets the parser's errors.
#[derive(Clone, Debug, Default)]
pub(super) struct Gauge {
    sent: Rc<Cell<u64>>,
    total: Rc<Cell<u64>>,
    ended: Rc<Cell<bool>>,
    refused: Rc<RefCell<Option<Fault>>>,
}

impl Gauge {
    /// Bytes that came out so far.
    pub(super) fn total(&self) -> u64 {
        self.total.get()
    }

    /// Whether the stream has come to its end.
    pub(super) fn ended(&self) -> bool {
        self.ended.get()
    }

    /// What an error while reading means.
    pub(super) fn fault(&self, error: &io::Error) -> Fault {
        if let Some(fault) = self.refused.borrow().clone() {
            return fault;
        }
        if self.ended() || error.kind() == io::ErrorKind::UnexpectedEof {
            return cut_short();
        }
        // The parser's texts may quote the archive.
        let reason = quoted(&error.to_string());
        Fault::new(Code::InvalidSource, format!("the archive is damaged, or is not a tar archive: {reason}"))
            .next("send a .tar or .tar.gz made with `tar -c` or `tar -cz`")
    }
}

/// The fault for an archive whose end is missing.
pub(super) fn cut_short() -> Fault {
    Fault::new(Code::InvalidSource, "the archive is cut short: its end is missing")
        .next("check that the upload was complete, and send it again")
}

/// An archive as a stream of tar blocks that cannot grow past its limits.
pub(super) struct Stream<'a> {
    blocks: Box<dyn Read + 'a>,
    gauge: Gauge,
    limits: Limits,
}

impl<'a> Stream<'a> {
    /// Looks at the first bytes to tell what is sent: gzip, zstd or plain tar.
    pub(super) fn open(reader: impl Read + 'a, limits: &Limits) -> Result<(Self, Gauge), Fault> {
        let gauge = Gauge::default();
        let mut sent = Sent { reader, count: Rc::clone(&gauge.sent) };
        let mut magic = Vec::new();
        (&mut sent).take(6).read_to_end(&mut magic).map_err(|error| gauge.fault(&error))?;
        if let Some((_, what)) = FOREIGN.iter().find(|(start, _)| magic.starts_with(start)) {
            return Err(Fault::new(
                Code::InvalidSource,
                format!("the source is {what}; this is not read here"),
            )
            .next("send a .tar, .tar.gz or .tar.zst"));
        }
        let gzip = magic.starts_with(&[0x1f, 0x8b]);
        let zstd = magic.starts_with(b"\x28\xb5\x2f\xfd");
        let whole = BufReader::with_capacity(64 * 1024, Cursor::new(magic).chain(sent));
        let blocks: Box<dyn Read + 'a> = if gzip {
            Box::new(MultiGzDecoder::new(whole))
        } else if zstd {
            let mut decoder =
                zstd::stream::read::Decoder::with_buffer(whole).map_err(|error| gauge.fault(&error))?;
            // What an archive may have us keep in memory.
            decoder.window_log_max(WINDOW).map_err(|error| gauge.fault(&error))?;
            Box::new(decoder)
        } else {
            Box::new(whole)
        };
        Ok((Self { blocks, gauge: gauge.clone(), limits: limits.clone() }, gauge))
    }

    /// Reads on to the very end, where nothing but padding may follow.
    ///
    /// This also checks the checksum of a compressed archive, and refuses a second archive behind
    /// the first, which other programs might have shown instead.
    pub(super) fn finish(mut self) -> Result<(), Fault> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match self.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) if buffer[..count].iter().all(|byte| *byte == 0) => {}
                Ok(_) => {
                    let message = "the archive is refused: more data follows after its end";
                    return Err(Fault::new(Code::InvalidSource, message));
                }
                Err(error) => return Err(self.gauge.fault(&error)),
            }
        }
    }

    fn allowed(&self) -> u64 {
        let by_ratio = self.gauge.sent.get().saturating_mul(self.limits.ratio);
        by_ratio.max(self.limits.free_bytes).min(self.limits.bytes)
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.blocks.read(buffer)?;
        if count == 0 && !buffer.is_empty() {
            self.gauge.ended.set(true);
        }
        let total = self.gauge.total.get() + count as u64;
        self.gauge.total.set(total);
        if total > self.allowed() {
            let limit = self.limits.bytes >> 20;
            let why = if total > self.limits.bytes {
                format!("it holds more than {limit} MiB")
            } else {
                format!("it grows more than {}-fold when it is unpacked", self.limits.ratio)
            };
            let fault = Fault::new(Code::InvalidSource, format!("the archive is refused: {why}"));
            *self.gauge.refused.borrow_mut() = Some(fault);
            return Err(io::Error::other("the archive is too large"));
        }
        Ok(count)
    }
}

/// Counts what was sent, before decompression.
struct Sent<R> {
    reader: R,
    count: Rc<Cell<u64>>,
}

impl<R: Read> Read for Sent<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // The parser does not expect to be interrupted.
        let count = loop {
            match self.reader.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.count.set(self.count.get() + count as u64);
        Ok(count)
    }
}
