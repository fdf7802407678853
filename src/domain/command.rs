//! Start commands: the words a service is started with, and how systemd is told them.
//!
//! No shell is ever involved. A command line is cut into words as a shell would cut it
//! ([`StartCommand::parse`]), and whatever only a shell could do is refused with advice.

mod lexer;

use std::fmt;

use serde::{Deserialize, Serialize};

use super::env::EnvKey;
use super::fault::{Code, Fault};

/// The longest command line that is read, in bytes.
const LONGEST: usize = 16 * 1024;

/// A piece of a word.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// These very characters.
    Text(String),
    /// The value a variable has when the service starts; empty when it has none.
    Variable(EnvKey),
}

/// One word of a start command. Whatever a variable holds, it never becomes two words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Word {
    // Never two texts in a row and never an empty text, so that equal words compare equal.
    parts: Vec<Part>,
}

impl Word {
    /// A word of these very characters.
    pub fn literal(text: impl Into<String>) -> Result<Self, Fault> {
        let text = text.into();
        refuse_nul(&text)?;
        let mut word = Self::default();
        word.push_text(&text);
        Ok(word)
    }

    /// The pieces, in order; none for the empty word.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The characters of a word without variables.
    pub fn as_literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    fn push_text(&mut self, text: &str) {
        match self.parts.last_mut() {
            _ if text.is_empty() => {}
            Some(Part::Text(last)) => last.push_str(text),
            _ => self.parts.push(Part::Text(text.to_owned())),
        }
    }

    fn push_variable(&mut self, key: EnvKey) {
        self.parts.push(Part::Variable(key));
    }

    /// The word in the notation of [`StartCommand::from_argv`].
    fn to_argument(&self) -> String {
        self.render(|text, out| out.push_str(&text.replace('$', "$$")))
    }

    fn render(&self, text: impl Fn(&str, &mut String)) -> String {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(piece) => text(piece, &mut out),
                Part::Variable(key) => out.extend(["${", key.as_str(), "}"]),
            }
        }
        out
    }
}

/// The words a service is started with: a program and its arguments.
///
/// Serialised as the array that [`StartCommand::from_argv`] reads.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct StartCommand {
    // Never empty; the first has been through `check_program`.
    words: Vec<Word>,
}

impl StartCommand {
    /// Cuts one line into words as a shell does: quotes, backslashes, `$NAME` and `${NAME}`.
    ///
    /// Unlike in a shell a variable is always one word, even when its value holds spaces.
    pub fn parse(line: &str) -> Result<Self, Fault> {
        if line.len() > LONGEST {
            return Err(refuse(format!("the start command is longer than {LONGEST} bytes")));
        }
        Self::from_words(lexer::words(line)?)
    }

    /// Takes words as they are, except that `$NAME` and `${NAME}` are variables and `$$` is a `$`.
    pub fn from_argv(argv: &[String]) -> Result<Self, Fault> {
        if argv.iter().map(String::len).sum::<usize>() > LONGEST {
            return Err(refuse(format!("the start command is longer than {LONGEST} bytes")));
        }
        Self::from_words(argv.iter().map(|word| lexer::argument(word)).collect::<Result<_, _>>()?)
    }

    fn from_words(words: Vec<Word>) -> Result<Self, Fault> {
        let Some(program) = words.first() else {
            return Err(refuse("the start command is empty"));
        };
        check_program(program)?;
        Ok(Self { words })
    }

    /// The program: a name to look for, or a path.
    pub fn program(&self) -> &Word {
        &self.words[0]
    }

    /// Every word, the program first.
    pub fn words(&self) -> &[Word] {
        &self.words
    }

    /// The same command with the program at this path.
    pub fn with_program(&self, path: &str) -> Result<Self, Fault> {
        let mut words = self.words.clone();
        words[0] = Word::literal(path)?;
        Self::from_words(words)
    }

    /// The variables the command refers to, in order, each once.
    pub fn variables(&self) -> Vec<&EnvKey> {
        let mut found = Vec::new();
        for part in self.words.iter().flat_map(|word| &word.parts) {
            if let Part::Variable(key) = part
                && !found.contains(&key)
            {
                found.push(key);
            }
        }
        found
    }

    /// The value of `ExecStart=`: every word quoted, so that nothing in it means anything to systemd.
    ///
    /// The program should be an absolute path by now; systemd puts no variables into it.
    pub fn to_systemd(&self) -> String {
        let quote = |word: &Word| format!("\"{}\"", word.render(escape_for_systemd));
        self.words.iter().map(quote).collect::<Vec<_>>().join(" ")
    }
}

/// The escapes of a quoted systemd word: C escapes, then specifiers (`%`), then variables (`$`).
fn escape_for_systemd(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '%' => out.push_str("%%"),
            '$' => out.push_str("$$"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_ascii_control() => out.extend(["\\x", &format!("{:02x}", u32::from(c))]),
            c => out.push(c),
        }
    }
}

/// Refuses a program that systemd would not run under that name.
fn check_program(program: &Word) -> Result<(), Fault> {
    let Some(name) = program.as_literal() else {
        return Err(refuse("the program to start cannot come from a variable; name it")
            .next("write the program's name or path, and use variables in its arguments"));
    };
    let shown = shown(name);
    if name.is_empty() || name.ends_with('/') {
        return Err(refuse(format!("the start command names no program: `{shown}`")));
    }
    // systemd reads these as prefixes even inside quotes, and takes no such characters in a path.
    if name.starts_with(['-', '@', ':', '+', '!', '|']) {
        return Err(refuse(format!("the program to start cannot begin with `{}`: `{shown}`", &name[..1])));
    }
    if name.contains(['"', '\'', '\\', '$']) || name.chars().any(char::is_control) {
        return Err(refuse(format!(
            "the path of the program holds a quote, a backslash, a `$` or a control character: `{shown}`"
        )));
    }
    Ok(())
}

fn refuse_nul(text: &str) -> Result<(), Fault> {
    if text.contains('\0') {
        return Err(refuse("the start command holds a NUL character"));
    }
    Ok(())
}

fn refuse(message: impl Into<String>) -> Fault {
    Fault::new(Code::InvalidValue, message)
}

/// Text for a message: short and without control characters.
fn shown(text: &str) -> String {
    text.chars().take(60).flat_map(char::escape_debug).collect()
}

impl TryFrom<Vec<String>> for StartCommand {
    type Error = Fault;

    fn try_from(argv: Vec<String>) -> Result<Self, Fault> {
        Self::from_argv(&argv)
    }
}

impl From<StartCommand> for Vec<String> {
    fn from(command: StartCommand) -> Self {
        command.words.iter().map(Word::to_argument).collect()
    }
}

impl fmt::Display for StartCommand {
    /// The command as a line that [`StartCommand::parse`] reads back, control characters apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, word) in self.words.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            let bare = |c: char| c.is_alphanumeric() || "-_./:=,@%+".contains(c);
            let text = word.render(|text, out| {
                for c in text.chars() {
                    match c {
                        '\\' | '"' | '$' | '`' => out.extend(['\\', c]),
                        // A terminal would obey it; an array in hostkit.toml may well hold one.
                        c if c.is_control() && c != '\t' => out.extend(c.escape_default()),
                        c => out.push(c),
                    }
                }
            });
            if !word.parts.is_empty() && word.as_literal().is_some() && text.chars().all(bare) {
                f.write_str(&text)?;
            } else {
                write!(f, "\"{text}\"")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
