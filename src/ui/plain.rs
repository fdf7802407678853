//! Lines with the time since the beginning, for files and pipes; and a sign of life where it is silent.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

use super::{SAID, harmless, say, tame};
use crate::event::{Event, Ui};

/// How long it may be silent. Shorter than what proxies and pipelines take for an end.
const SILENCE: Duration = Duration::from_secs(15);
/// How often to look how long it has been.
const PACE: Duration = Duration::from_millis(500);

/// When something was said last, and what is being done.
#[derive(Debug)]
struct Pulse {
    said: Instant,
    what: Option<String>,
    ended: bool,
}

/// A file, or a pipe.
#[derive(Debug)]
pub struct Plain {
    began: Instant,
    pulse: Arc<Mutex<Pulse>>,
    beating: bool,
}

fn look(pulse: &Mutex<Pulse>) -> MutexGuard<'_, Pulse> {
    pulse.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Plain {
    pub(super) fn new() -> Self {
        let pulse = Pulse { said: Instant::now(), what: None, ended: false };
        Self { began: Instant::now(), pulse: Arc::new(Mutex::new(pulse)), beating: false }
    }

    /// Says a line, with the time.
    pub(super) fn line(&self, line: &str) {
        look(&self.pulse).said = Instant::now();
        say(&format!("[{:6.1}s] {line}", self.began.elapsed().as_secs_f64()));
    }

    /// Work begins, and is what a sign of life is about.
    fn begin(&mut self, what: &str) {
        look(&self.pulse).what = Some(what.to_owned());
        if !self.beating {
            self.beating = true;
            let (pulse, began) = (Arc::clone(&self.pulse), self.began);
            thread::spawn(move || beat(&pulse, began));
        }
    }

    pub(super) fn end(&mut self) {
        look(&self.pulse).ended = true;
    }
}

/// Says what is being done whenever nothing else was said for long.
fn beat(pulse: &Mutex<Pulse>, began: Instant) {
    loop {
        thread::sleep(PACE);
        let mut pulse = look(pulse);
        if pulse.ended {
            return;
        }
        if let Some(what) = &pulse.what
            && pulse.said.elapsed() >= SILENCE
        {
            say(&format!("[{:6.1}s] {what}: still at it", began.elapsed().as_secs_f64()));
            pulse.said = Instant::now();
        }
    }
}

impl Ui for Plain {
    fn emit(&mut self, event: Event<'_>) {
        let seconds = |ms| Duration::from_millis(ms).as_secs_f64();
        match event {
            Event::Planned { .. } => {}
            Event::Began { what, detail } => {
                self.begin(what);
                if SAID.contains(&what) {
                    self.line(&format!("{what}: {} …", harmless(detail)));
                }
            }
            Event::Stepped { kind, name, ms, .. } => {
                self.line(&format!("{kind}: {} ({:.1}s)", harmless(name), seconds(ms)));
            }
            Event::Finished { what, detail, ms } => {
                self.line(&format!("{what}: {} ({:.1}s)", harmless(detail), seconds(ms)));
            }
            Event::Output { what, line } => self.line(&format!("{what}: {}", tame(line))),
            Event::Recovering { operation, verb } => {
                self.line(&format!(
                    "recover: operation {operation} (`{verb}`) was interrupted; undoing it (0.0s)"
                ));
            }
            Event::Undoing => self.line("undo: putting everything back as it was (0.0s)"),
            Event::Warned { message } => self.line(&format!("warning: {} (0.0s)", harmless(message))),
        }
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        self.end();
    }
}
