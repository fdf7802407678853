//! Places in a text file, for faults that point at what is wrong.

use std::ops::Range;

use crate::domain::fault::{Code, Fault};

/// How much of a long line is shown.
const WIDTH: usize = 100;

/// A text that came from a file of the project.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    /// The name of the file.
    pub(super) name: &'a str,
    /// What is in it.
    pub(super) text: &'a str,
}

impl<'a> Source<'a> {
    /// Takes the content of a file that must be small and UTF-8.
    pub(super) fn new(name: &'a str, bytes: &'a [u8], limit: usize) -> Result<Self, Fault> {
        if bytes.len() > limit {
            let limit = limit / 1024;
            return Err(Fault::new(Code::InvalidConfig, format!("{name} is larger than {limit} KiB")));
        }
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let line = bytes[..error.valid_up_to()].split(|byte| *byte == b'\n').count();
                return Err(Fault::new(
                    Code::InvalidConfig,
                    format!("{name}:{line}: this is not UTF-8 text"),
                ));
            }
        };
        Ok(Self { name, text })
    }

    /// A fault about a part of the text: `NAME:LINE:COLUMN: …`, the line, and a caret under the part.
    pub(super) fn fault(&self, span: Range<usize>, message: &str) -> Fault {
        let start = self.text.floor_char_boundary(span.start.min(self.text.len()));
        let end = self.text.floor_char_boundary(span.end.clamp(start, self.text.len()));
        let begin = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let stop = self.text[start..].find('\n').map_or(self.text.len(), |at| start + at);
        let number = self.text[..begin].matches('\n').count() + 1;
        let column = self.text[begin..start].chars().count();
        // A part that goes on over several lines is marked up to the end of the first.
        let marked = self.text[start..end.min(stop)].chars().count().max(1);

        let skipped = column.saturating_sub(WIDTH / 2);
        let shown: String = self.text[begin..stop].chars().skip(skipped).take(WIDTH).map(printable).collect();
        let carets = "^".repeat(marked.min(WIDTH - (column - skipped).min(WIDTH - 1)));
        let (margin, indent) = (" ".repeat(number.to_string().len()), " ".repeat(column - skipped));
        let name = self.name;
        Fault::new(
            Code::InvalidConfig,
            format!(
                "{name}:{number}:{}: {message}\n {number} | {}\n {margin} | {indent}{carets}",
                column + 1,
                shown.trim_end()
            ),
        )
    }

    /// A fault of a value that stands here.
    pub(super) fn relabel(&self, span: Range<usize>, fault: Fault) -> Fault {
        let Fault { message, next, .. } = fault;
        Fault { next, ..self.fault(span, &message) }
    }
}

/// One column for one character, and nothing a terminal would obey.
fn printable(c: char) -> char {
    match c {
        '\t' => ' ',
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn message(text: &str, span: Range<usize>) -> String {
        Source { name: "f", text }.fault(span, "wrong").message
    }

    #[test]
    fn the_line_is_shown_with_a_caret_under_the_part() {
        assert_eq!(message("a = 1\nb = xyz\n", 10..13), "f:2:5: wrong\n 2 | b = xyz\n   |     ^^^");
        assert_eq!(message("é = x", 5..6), "f:1:5: wrong\n 1 | é = x\n   |     ^");
        assert_eq!(message("", 0..0), "f:1:1: wrong\n 1 | \n   | ^");
        assert_eq!(message("a\n", 2..2), "f:2:1: wrong\n 2 | \n   | ^");
        assert_eq!(message("ab\ncd", 1..5), "f:1:2: wrong\n 1 | ab\n   |  ^");
    }

    #[test]
    fn long_lines_are_cut_and_terminals_are_left_alone() {
        let long = "x".repeat(5000);
        let text = message(&long, 3000..4000);
        assert!(text.starts_with("f:1:3001: ") && text.lines().all(|line| line.len() < 120), "{text}");
        assert!(!message("a\x1b[2J\u{202e}", 0..1).contains(['\x1b', '\u{202e}']));
    }

    #[test]
    fn files_that_are_no_small_text_are_refused() {
        assert!(Source::new("f", &[b'x'; 2000], 1024).unwrap_err().message.contains("larger than 1 KiB"));
        assert!(Source::new("f", b"a\n\xff", 1024).unwrap_err().message.contains("f:2: "));
    }
}
