//! Listeners: what a person, or a program, hears of an operation.
//!
//! Everything here goes to standard error and never fails: a terminal that has hung up must not stop
//! an operation that is under way.

mod pipeline;
mod plain;
mod plan;
mod recorder;
mod terminal;

use std::io::{IsTerminal, Write};

pub use self::{
    pipeline::{Pipeline, Service},
    plan::show as show_plan,
    recorder::Recorder,
};
use self::{plain::Plain, terminal::Terminal};
use crate::event::{Event, Ui};

/// Work whose beginning is said, off a terminal: it may take a while until anything else is.
const SAID: &[&str] = &["receive", "install", "build", "checkpoint", "migrate", "start", "stop", "drain"];

/// A person, who looks at a terminal, a file, or the log of a pipeline.
#[derive(Debug)]
pub enum Human {
    /// A terminal.
    Terminal(Terminal),
    /// Anything else.
    Plain(Plain),
    /// The log of a pipeline, which understands some lines itself.
    Pipeline(Pipeline),
}

/// What a command that failed says of itself to whoever listened.
#[derive(Clone, Copy, Debug)]
pub struct Failed<'a> {
    /// The name of the fault's code.
    pub code: &'a str,
    /// What is wrong.
    pub message: &'a str,
    /// Why, where that is known.
    pub why: Option<&'a str>,
    /// What to type.
    pub next: Option<&'a str>,
}

impl Human {
    /// A listener for whoever reads standard error.
    pub fn new(no_colour: bool, service: Option<Service>) -> Self {
        match service {
            Some(service) => Self::Pipeline(Pipeline::new(service)),
            None if std::io::stderr().is_terminal() => Self::Terminal(Terminal::new(no_colour)),
            None => Self::Plain(Plain::new()),
        }
    }

    /// Hears how the command ended; nothing comes after it.
    pub fn end(&mut self, failed: Option<Failed<'_>>) {
        match self {
            Self::Terminal(terminal) => terminal.end(failed.is_some()),
            Self::Plain(plain) => plain.end(),
            Self::Pipeline(pipeline) => pipeline.end(failed),
        }
    }
}

impl Ui for Human {
    fn emit(&mut self, event: Event<'_>) {
        match self {
            Self::Terminal(terminal) => terminal.emit(event),
            Self::Plain(plain) => plain.emit(event),
            Self::Pipeline(pipeline) => pipeline.emit(event),
        }
    }
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

/// A line of an application's: without what a terminal would obey, colours first of all.
fn tame(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            // A colour, or a move of the cursor: `ESC [`, parameters, and a letter.
            '\u{1b}' if chars.peek() == Some(&'[') => {
                chars.next();
                while chars.next_if(|c| matches!(c, ' '..='?')).is_some() {}
                chars.next_if(|c| matches!(c, '@'..='~'));
            }
            '\t' => out.push(c),
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

/// Writes a line to standard error, or nothing when nobody reads it.
pub fn say(line: &str) {
    let mut text = String::with_capacity(line.len() + 1);
    text.push_str(line);
    text.push('\n');
    // In one piece, so that lines of several processes do not mix.
    let _ = std::io::stderr().write_all(text.as_bytes());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_application_writes_commands_no_terminal() {
        assert_eq!(tame("\u{1b}[31mred\u{1b}[0m \u{1b}[2K\u{1b}[1;1Hmoved"), "red moved");
        assert_eq!(tame("\u{1b}]0;title\u{7}"), "\\u{1b}]0;title\\u{7}");
        assert_eq!(tame("50%\r100%\tdone\u{9b}31m"), "50%\\r100%\tdone\\u{9b}31m");
        assert_eq!(tame("\u{1b}["), "");
        assert_eq!(harmless("a\u{1b}[2Jb\nc"), "a\\u{1b}[2Jb\nc");
    }
}
