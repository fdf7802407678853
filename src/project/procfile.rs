//! `Procfile`: one process per line, `name: command`.
//!
//! `web` answers requests and `release` changes the database before a release runs. A name that begins
//! with `cron` has the times of a crontab before its command. Every other line is a worker.

use std::ops::Range;

use super::place::Source;
use super::process::{Cron, is_name};
use crate::domain::command::StartCommand;
use crate::domain::fault::Fault;

/// One line of the file.
#[derive(Debug)]
struct Process<'a> {
    name: &'a str,
    line: usize,
    /// Where the command stands in the text.
    command: Range<usize>,
}

/// The processes a project names.
#[derive(Debug)]
pub(super) struct Procfile<'a> {
    source: Source<'a>,
    processes: Vec<Process<'a>>,
}

impl<'a> Procfile<'a> {
    pub(super) const FILE: &'static str = "Procfile";
    /// The largest file that is read, in bytes.
    pub(super) const LIMIT: usize = 64 * 1024;

    /// Understands the content of the file. Commands are only looked at when they are asked for.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Fault> {
        // Many an editor begins a file with one.
        let source =
            Source::new(Self::FILE, bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes), Self::LIMIT)?;
        let mut processes: Vec<Process<'a>> = Vec::new();
        let mut offset = 0;
        for (number, line) in (1..).zip(source.text.split_inclusive('\n')) {
            let start = offset;
            offset += line.len();
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let whole = start..start + line.len();
            let Some((name, command)) = line.split_once(':') else {
                return Err(source.fault(whole, "a line must be `name: command`"));
            };
            if !is_name(name) {
                let span = start..start + name.len();
                let message = "the name of a process is made of at most 32 letters, digits, `-` and `_`";
                return Err(source.fault(span, message));
            }
            if let Some(first) = processes.iter().find(|process| process.name == name) {
                let message = format!("`{name}` is already on line {}", first.line);
                return Err(source.fault(start..start + name.len(), &message));
            }
            let blanks = command.len() - command.trim_start().len();
            if blanks == command.len() {
                return Err(source.fault(whole, &format!("`{name}` has no command")));
            }
            let command = start + name.len() + 1 + blanks..whole.end;
            processes.push(Process { name, line: number, command });
        }
        Ok(Self { source, processes })
    }

    /// What answers requests.
    pub(super) fn web(&self) -> Result<Option<StartCommand>, Fault> {
        self.named("web")
    }

    /// What changes the database before a release runs.
    pub(super) fn release(&self) -> Result<Option<StartCommand>, Fault> {
        self.named("release")
    }

    /// Whether there is a line for what answers requests.
    pub(super) fn names_web(&self) -> bool {
        self.processes.iter().any(|process| process.name == "web")
    }

    /// Everything else that runs.
    pub(super) fn others(&self) -> Result<Vec<super::process::Process>, Fault> {
        let others = self.processes.iter().filter(|process| !matches!(process.name, "web" | "release"));
        others.map(|process| self.other(process)).collect()
    }

    fn other(&self, process: &Process<'_>) -> Result<super::process::Process, Fault> {
        let line = &self.source.text[process.command.clone()];
        let relabel = |fault| self.source.relabel(process.command.clone(), fault);
        let (at, line) = if process.name.starts_with("cron") {
            let (cron, line) = Cron::split(line).map_err(relabel)?;
            (Some(cron), line)
        } else {
            (None, line)
        };
        let command = StartCommand::parse(line).map_err(relabel)?;
        Ok(super::process::Process { name: process.name.to_owned(), command, at })
    }

    fn named(&self, name: &str) -> Result<Option<StartCommand>, Fault> {
        let Some(found) = self.processes.iter().find(|process| process.name == name) else {
            return Ok(None);
        };
        let command = StartCommand::parse(&self.source.text[found.command.clone()]);
        command.map(Some).map_err(|fault| self.source.relabel(found.command.clone(), fault))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn lines_comments_and_blanks_are_understood() {
        let text = b"# how to run\n\nweb:   node server.js $PORT \r\nworker: sh -c 'a | b'\nrelease: x -y\n\
                     cron-tidy: 0 3 * * * ./tidy --all\n";
        let procfile = Procfile::parse(text).unwrap();
        assert_eq!(procfile.web().unwrap().unwrap().to_string(), "node server.js \"${PORT}\"");
        assert_eq!(procfile.release().unwrap().unwrap().to_string(), "x -y");
        let others = procfile.others().unwrap();
        let shown: Vec<_> =
            others.iter().map(|o| (o.name.as_str(), o.at.as_ref().map(ToString::to_string))).collect();
        assert_eq!(shown, [("worker", None), ("cron-tidy", Some("0 3 * * *".to_owned()))]);
        assert_eq!(others[1].command.to_string(), "./tidy --all");
    }

    #[test]
    fn mistakes_are_shown_at_their_line() {
        for (text, words) in [
            ("web: a\nweb: b", "Procfile:2:1: `web` is already on line 1"),
            ("web node", "Procfile:1:1: a line must be `name: command`"),
            ("a\n", "Procfile:1:1"),
            ("w b: x", "letters, digits"),
            (": x", "letters, digits"),
            ("web:  ", "has no command"),
        ] {
            let message = Procfile::parse(text.as_bytes()).unwrap_err().message;
            assert!(message.contains(words), "{text:?}: {message}");
        }
        let message = Procfile::parse(b"cron: tidy up").unwrap().others().unwrap_err().message;
        assert!(message.starts_with("Procfile:1:7: "), "{message}");
        let message = Procfile::parse(b"# x\nweb: a && b").unwrap().web().unwrap_err().message;
        assert!(message.starts_with("Procfile:2:6: the start command holds `&&`"), "{message}");
    }
}
