//! The grammar of an environment file: its text cut into lines, and a definition written as one.
//!
//! The states are those of systemd's `parse_env_file`. Its surprises are kept because systemd is what
//! reads the file: quotes may follow each other (`'a''b'`), and a `#` after a value belongs to it.

use super::EnvKey;
use crate::domain::fault::{Code, Fault};

/// What may stand around a name and around a bare value.
const BLANK: [char; 2] = [' ', '\t'];

/// One definition with all the lines it spans, or one line that defines nothing.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Line {
    /// A comment, a blank line, or something systemd ignores.
    Other(String),
    /// `KEY=value`.
    Definition { key: EnvKey, value: String, raw: String },
}

impl Line {
    /// Writes a definition that systemd, `sh` and dotenv libraries read back as exactly this value.
    pub(super) fn define(key: &EnvKey, value: &str) -> Result<Self, Fault> {
        // systemd drops a variable whose value holds a control character other than tab and newline.
        if let Some(c) = value.chars().find(|c| c.is_ascii_control() && !matches!(c, '\t' | '\n')) {
            return Err(Fault::new(
                Code::InvalidValue,
                format!(
                    "the value of {key} holds the control character {}, which cannot be passed on",
                    c.escape_default()
                ),
            ));
        }
        // Single quotes are taken alike by every reader, but cannot hold these; dotenv libraries
        // expand `${` or read `\n` even where a shell would not.
        let plain = !value.contains(['\'', '\\', '\n', '\r']) && !value.contains("${");
        let raw = if plain {
            format!("{key}='{value}'\n")
        } else {
            let mut raw = format!("{key}=\"");
            for c in value.chars() {
                if matches!(c, '\\' | '"' | '$' | '`') {
                    raw.push('\\');
                }
                raw.push(c);
            }
            raw.push_str("\"\n");
            raw
        };
        Ok(Self::Definition { key: key.clone(), value: value.to_owned(), raw })
    }

    pub(super) fn raw(&self) -> &str {
        match self {
            Self::Other(raw) | Self::Definition { raw, .. } => raw,
        }
    }

    pub(super) fn definition(&self) -> Option<(&EnvKey, &str)> {
        match self {
            Self::Definition { key, value, .. } => Some((key, value)),
            Self::Other(_) => None,
        }
    }

    pub(super) fn defines(&self, wanted: &EnvKey) -> bool {
        self.definition().is_some_and(|(key, _)| key == wanted)
    }

    /// Ends the line with a newline, so that another can follow.
    pub(super) fn finish(&mut self) {
        match self {
            Self::Other(raw) | Self::Definition { raw, .. } => {
                if !raw.ends_with('\n') {
                    raw.push('\n');
                }
            }
        }
    }

    /// What a line that defines nothing has where a name should be.
    pub(super) fn ignored_name(&self) -> Option<String> {
        let Self::Other(raw) = self else { return None };
        let text = raw.trim();
        if text.is_empty() || text.starts_with(['#', ';']) {
            return None;
        }
        let name = text.split_once('=').map_or("(no `=`)", |(name, _)| name.trim_end());
        Some(name.chars().take(40).flat_map(char::escape_debug).collect())
    }
}

/// Cuts a text into lines, or says which line cannot be taken.
pub(super) fn split(text: &str) -> Result<Vec<Line>, Fault> {
    if text.starts_with('\u{feff}') {
        return Err(refuse(1, "starts with a byte-order mark; save the file as plain UTF-8"));
    }
    for (number, line) in (1..).zip(text.split('\n')) {
        if line.contains('\0') {
            return Err(refuse(number, "holds a NUL character"));
        }
        if line.contains('\r') {
            return Err(refuse(number, "holds a carriage return; save the file with Unix line endings (LF)"));
        }
    }
    let mut lines = Vec::new();
    let mut rest = text;
    let mut number = 1;
    while !rest.is_empty() {
        let (line, after) = next(rest, number)?;
        number += line.raw().matches('\n').count();
        lines.push(line);
        rest = after;
    }
    Ok(lines)
}

/// Takes one line, with its newline, off the front of a text that is not empty.
fn next(text: &str, number: usize) -> Result<(Line, &str), Fault> {
    let end = text.find('\n').map_or(text.len(), |at| at + 1);
    let (first, after) = text.split_at(end);
    let content = first.trim_start_matches(BLANK);
    if content.starts_with(['#', ';']) {
        // Until version 253 systemd took the next line for a part of this comment; since then not.
        if content.trim_end_matches('\n').ends_with('\\') && !after.is_empty() {
            return Err(refuse(number, "is a comment that ends in a backslash; take the backslash away"));
        }
        return Ok((Line::Other(first.to_owned()), after));
    }
    // A name is at least one character, whichever: an `=` in first place does not end it.
    let Some((equals, _)) =
        first.char_indices().skip_while(|(_, c)| BLANK.contains(c)).skip(1).find(|(_, c)| *c == '=')
    else {
        return Ok((Line::Other(first.to_owned()), after));
    };
    let (value, length) = value(&text[equals + 1..]).ok_or_else(|| {
        refuse(number, "opens a quote that is never closed, or ends in the middle of an escape")
    })?;
    let (raw, after) = text.split_at(equals + 1 + length);
    // An odd name still owns its whole value: what its quotes span is not read as definitions.
    let line = match text[..equals].trim_matches(BLANK).parse() {
        Ok(key) => Line::Definition { key, value, raw: raw.to_owned() },
        Err(_) => Line::Other(raw.to_owned()),
    };
    Ok((line, after))
}

/// Where the reader of a value stands.
enum At {
    /// Before anything, or after a closing quote.
    Start,
    Bare,
    BareEscape,
    Single,
    Double,
    DoubleEscape,
}

/// Reads a value; gives it with the length of its text, the newline at its end included.
///
/// `None` when the text ends inside a quote or an escape.
fn value(text: &str) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut at = At::Start;
    // Where the blanks at the end of a bare value begin: they do not belong to it.
    let mut blanks: Option<usize> = None;
    let mut length = text.len();
    for (index, c) in text.char_indices() {
        match (&at, c) {
            (At::Start | At::Bare, '\n') => {
                length = index + 1;
                break;
            }
            (At::Start, '\'') => at = At::Single,
            (At::Start, '"') => at = At::Double,
            (At::Start, ' ' | '\t') => {}
            (At::Start | At::Bare, '\\') => {
                at = At::BareEscape;
                blanks = None;
            }
            (At::Start | At::Bare, _) => {
                if BLANK.contains(&c) {
                    blanks.get_or_insert(value.len());
                } else {
                    blanks = None;
                }
                value.push(c);
                at = At::Bare;
            }
            (At::BareEscape, _) => {
                if c != '\n' {
                    value.push(c);
                }
                at = At::Bare;
            }
            (At::Single, '\'') | (At::Double, '"') => at = At::Start,
            (At::Double, '\\') => at = At::DoubleEscape,
            (At::Single | At::Double, _) => value.push(c),
            (At::DoubleEscape, _) => {
                match c {
                    '\\' | '"' | '$' | '`' => value.push(c),
                    '\n' => {}
                    _ => value.extend(['\\', c]),
                }
                at = At::Double;
            }
        }
    }
    if !matches!(at, At::Start | At::Bare) {
        return None;
    }
    if let Some(blanks) = blanks {
        value.truncate(blanks);
    }
    Some((value, length))
}

fn refuse(number: usize, why: &str) -> Fault {
    Fault::new(Code::InvalidValue, format!("line {number} of the environment {why}"))
}
