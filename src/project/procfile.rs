//! `Procfile`: one process per line, `name: command`. Only `web` is run so far.

use std::ops::Range;

use super::place::Source;
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
        let source = Source::new(Self::FILE, bytes, Self::LIMIT)?;
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
            let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
            if name.is_empty() || !name.bytes().all(valid) {
                let span = start..start + name.len();
                return Err(
                    source.fault(span, "the name of a process is made of letters, digits, `-` and `_`")
                );
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
        let Some(web) = self.processes.iter().find(|process| process.name == "web") else { return Ok(None) };
        let command = StartCommand::parse(&self.source.text[web.command.clone()]);
        command.map(Some).map_err(|fault| self.source.relabel(web.command.clone(), fault))
    }

    /// Whether there is a line for it.
    pub(super) fn names_web(&self) -> bool {
        self.processes.iter().any(|process| process.name == "web")
    }

    /// The names of all other processes.
    pub(super) fn others(&self) -> impl Iterator<Item = &'a str> {
        self.processes.iter().map(|process| process.name).filter(|name| *name != "web")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn lines_comments_and_blanks_are_understood() {
        let text = b"# how to run\n\nweb:   node server.js $PORT \r\nworker: sh -c 'a | b'\nrelease: x\n";
        let procfile = Procfile::parse(text).unwrap();
        assert_eq!(procfile.web().unwrap().unwrap().to_string(), "node server.js \"${PORT}\"");
        assert_eq!(procfile.others().collect::<Vec<_>>(), ["worker", "release"]);
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
        let message = Procfile::parse(b"# x\nweb: a && b").unwrap().web().unwrap_err().message;
        assert!(message.starts_with("Procfile:2:6: the start command holds `&&`"), "{message}");
    }
}
