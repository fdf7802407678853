//! Writing down what an operation says, for whoever looks at it from elsewhere.

use std::{fmt, io::Write, time::Instant};

use serde::Serialize;

use crate::event::{Event, Ui};

/// How much of what applications say is kept, in bytes.
const MOST: usize = 16 << 20;

/// One line of the record.
#[derive(Serialize)]
struct Line<'a> {
    /// Since the work began, in milliseconds.
    at: u64,
    #[serde(flatten)]
    event: &'a Event<'a>,
}

/// Writes every event as a line of JSON. A disk that is full loses lines and stops nothing.
pub struct Recorder {
    to: Box<dyn Write>,
    began: Instant,
    output: usize,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("began", &self.began).finish_non_exhaustive()
    }
}

impl Recorder {
    /// Adds to this file.
    pub fn new(to: impl Write + 'static) -> Self {
        Self { to: Box::new(to), began: Instant::now(), output: 0 }
    }

    /// Writes one line of something else.
    pub fn write(&mut self, line: &impl Serialize) {
        if let Ok(mut text) = serde_json::to_vec(line) {
            text.push(b'\n');
            // In one piece: whoever reads along sees whole lines.
            let _ = self.to.write_all(&text);
        }
    }
}

impl Ui for Recorder {
    fn emit(&mut self, event: Event<'_>) {
        let at = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        match event {
            Event::Planned { .. } => {}
            Event::Output { what, line } => {
                let before = self.output;
                self.output = before.saturating_add(line.len() + 1);
                if self.output <= MOST {
                    self.write(&Line { at, event: &event });
                } else if before <= MOST {
                    self.write(&Line {
                        at, event: &Event::Output { what, line: "… the rest is not kept" }
                    });
                }
            }
            event => self.write(&Line { at, event: &event }),
        }
    }
}
