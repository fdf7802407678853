//! A person at a terminal: a line for each thing that is done, and what an application writes folded to its
//! last lines, until something fails.

use std::{collections::VecDeque, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{harmless, say, tame};
use crate::{
    event::{Event, Ui},
    plan::Action,
};

/// How many lines are shown of what is being written.
const FOLDED: usize = 5;
/// How many are kept for showing them when it fails.
const KEPT: usize = 5000;
/// How much of a line is shown while it is folded, in characters.
const WIDTH: usize = 100;

/// A terminal.
#[derive(Debug)]
pub struct Terminal {
    spinner: ProgressBar,
    colour: bool,
    /// What is being done.
    work: String,
    /// What was written since that began.
    written: VecDeque<String>,
}

impl Terminal {
    pub(super) fn new(no_colour: bool) -> Self {
        let spinner = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
        let style = ProgressStyle::with_template("  {spinner} {msg}");
        spinner.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        Self { spinner, colour: !no_colour, work: String::new(), written: VecDeque::new() }
    }

    fn line(&mut self, mark: char, what: &str, detail: &str, ms: u64) {
        let detail = harmless(detail);
        let time = Duration::from_millis(ms).as_secs_f64();
        let (on, off) = match (self.colour, mark) {
            (false, _) => ("", ""),
            (true, '!' | '✗') => ("\u{1b}[33m", "\u{1b}[0m"),
            (true, _) => ("\u{1b}[32m", "\u{1b}[0m"),
        };
        self.spinner.suspend(|| say(&format!("  {on}{mark}{off} {what:<10} {detail}  {time:.1}s")));
    }

    fn show(&self) {
        let mut text = self.work.clone();
        for line in self.written.iter().skip(self.written.len().saturating_sub(FOLDED)) {
            text.push_str("\n      ");
            text.extend(line.chars().take(WIDTH));
        }
        self.spinner.set_message(text);
    }

    pub(super) fn end(&mut self, failed: bool) {
        self.spinner.finish_and_clear();
        // What was folded may say why.
        for line in self.written.drain(..).filter(|_| failed) {
            say(&format!("      {line}"));
        }
    }
}

impl Ui for Terminal {
    fn emit(&mut self, event: Event<'_>) {
        match event {
            Event::Planned { .. } => {}
            Event::Began { what, detail } => {
                self.work = format!("{what} {}", harmless(detail));
                self.spinner.enable_steady_tick(Duration::from_millis(100));
                self.show();
            }
            Event::Stepped { action, kind, name, ms } => {
                let mark = match action {
                    Action::Remove => '-',
                    _ => '✓',
                };
                self.line(mark, kind, name, ms);
            }
            Event::Finished { what, detail, ms } => {
                // It went well: nobody needs to read what it wrote.
                self.written.clear();
                self.line('✓', what, detail, ms);
                self.show();
            }
            Event::Output { line, .. } => {
                if self.written.len() == KEPT {
                    self.written.pop_front();
                }
                self.written.push_back(tame(line));
                self.show();
            }
            Event::Recovering { operation, verb } => {
                let detail = format!("operation {operation} (`{verb}`) was interrupted; undoing it");
                self.line('!', "recover", &detail, 0);
            }
            Event::Undoing => self.line('!', "undo", "putting everything back as it was", 0),
            Event::Warned { message } => self.line('!', "warning", message, 0),
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.spinner.finish_and_clear();
    }
}
