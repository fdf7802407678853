//! Listeners: what a person, or a program, hears of an operation.
//!
//! Everything here goes to standard error and never fails: a terminal that has hung up must not stop
//! an operation that is under way.

mod plan;
mod recorder;

use std::{
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

pub use self::{plan::show as show_plan, recorder::Recorder};
use crate::{
    event::{Event, Ui},
    plan::Action,
};

/// Work that takes longer than this is said when it begins, off a terminal.
const SAID: &[&str] = &["receive", "service"];

/// A person: lines as steps are done, a spinner on a terminal.
#[derive(Debug)]
pub struct Human {
    began: Instant,
    spinner: Option<ProgressBar>,
    colour: bool,
    /// Plans are shown when they are the answer, not on the way to one.
    warnings: Vec<String>,
}

/// The text without what a terminal would obey; lines and tabs stay.
pub fn harmless(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let plain = !c.is_control() || matches!(c, '\n' | '\t');
            let shown: Vec<char> = if plain { vec![c] } else { c.escape_default().collect() };
            shown
        })
        .collect()
}

/// Writes a line to standard error, or nothing when nobody reads it.
pub fn say(line: &str) {
    let mut text = String::with_capacity(line.len() + 1);
    text.push_str(line);
    text.push('\n');
    // In one piece, so that lines of several processes do not mix.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

impl Human {
    /// A listener for whoever reads standard error.
    pub fn new(no_colour: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let spinner = terminal.then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
            let style = ProgressStyle::with_template("  {spinner} {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner());
            bar.set_style(style);
            bar
        });
        Self { began: Instant::now(), spinner, colour: terminal && !no_colour, warnings: Vec::new() }
    }

    fn line(&self, mark: char, what: &str, detail: &str, ms: u64) {
        let detail = harmless(detail);
        let time = Duration::from_millis(ms).as_secs_f64();
        if let Some(spinner) = &self.spinner {
            let (on, off) = match (self.colour, mark) {
                (false, _) => ("", ""),
                (true, '!' | '✗') => ("\u{1b}[33m", "\u{1b}[0m"),
                (true, _) => ("\u{1b}[32m", "\u{1b}[0m"),
            };
            spinner.suspend(|| say(&format!("  {on}{mark}{off} {what:<10} {detail}  {time:.1}s")));
        } else {
            let since = self.began.elapsed().as_secs_f64();
            say(&format!("[{since:6.1}s] {what}: {detail} ({time:.1}s)"));
        }
    }
}

impl Ui for Human {
    fn emit(&mut self, event: Event<'_>) {
        match event {
            Event::Planned { .. } => {}
            Event::Began { what, detail } => match &self.spinner {
                Some(spinner) => {
                    spinner.enable_steady_tick(Duration::from_millis(100));
                    spinner.set_message(format!("{what} {}", harmless(detail)));
                }
                None if SAID.contains(&what) => {
                    let since = self.began.elapsed().as_secs_f64();
                    say(&format!("[{since:6.1}s] {what}: {} …", harmless(detail)));
                }
                None => {}
            },
            Event::Stepped { action, kind, name, ms } => {
                let mark = match action {
                    Action::Remove => '-',
                    _ => '✓',
                };
                self.line(mark, kind, name, ms);
            }
            Event::Finished { what, detail, ms } => self.line('✓', what, detail, ms),
            Event::Output { what, line } => {
                let line = harmless(line);
                if let Some(spinner) = &self.spinner {
                    spinner.suspend(|| say(&format!("    {line}")));
                } else {
                    let since = self.began.elapsed().as_secs_f64();
                    say(&format!("[{since:6.1}s] {what}: {line}"));
                }
            }
            Event::Recovering { operation, verb } => {
                self.line(
                    '!',
                    "recover",
                    &format!("operation {operation} (`{verb}`) was interrupted; undoing it"),
                    0,
                );
            }
            Event::Undoing => self.line('!', "undo", "putting everything back as it was", 0),
            Event::Warned { message } => {
                self.line('!', "warning", message, 0);
                self.warnings.push(message.to_owned());
            }
        }
    }
}

impl Drop for Human {
    fn drop(&mut self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }
}

/// Nobody at the moment: warnings are kept for the answer.
#[derive(Debug, Default)]
pub struct Quiet {
    /// What was warned of.
    pub warnings: Vec<String>,
}

impl Ui for Quiet {
    fn emit(&mut self, event: Event<'_>) {
        if let Event::Warned { message } = event {
            self.warnings.push(message.to_owned());
        }
    }
}
