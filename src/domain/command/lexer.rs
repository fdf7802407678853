//! Cuts a command line into words the way a POSIX shell does, and refuses what needs a shell to run.

use std::iter::Peekable;
use std::str::Chars;

use super::{EnvKey, Fault, Word, refuse, refuse_nul, shown};

/// Words of the shell that are no programs, and what to do instead.
const BUILTINS: &[(&str, &str)] = &[
    ("cd", "the service starts in the release directory; put the rest in a script and start that"),
    ("exec", "leave `exec` out: no shell is involved"),
    ("export", "put variables in .env"),
    ("source", "put it in a script and start that"),
    (".", "put it in a script and start that"),
    ("set", "put it in a script and start that"),
    ("if", "put it in a script and start that"),
    ("for", "put it in a script and start that"),
    ("while", "put it in a script and start that"),
    ("ulimit", "put it in a script and start that"),
];

/// The words of a line.
pub(super) fn words(line: &str) -> Result<Vec<Word>, Fault> {
    refuse_nul(line)?;
    if line.trim().contains(['\n', '\r']) {
        return Err(
            refuse("the start command must be one line").next("put the lines in a script and start that")
        );
    }
    Lexer { rest: line.trim().chars().peekable(), words: Vec::new(), word: None, prefix: Some(String::new()) }
        .run()
}

/// One argument of an array: literal, but for `$NAME`, `${NAME}` and `$$`.
pub(super) fn argument(text: &str) -> Result<Word, Fault> {
    refuse_nul(text)?;
    let mut word = Word::default();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '$' {
            word.push_text(c.encode_utf8(&mut [0; 4]));
        } else if rest.next_if_eq(&'$').is_some() {
            word.push_text("$");
        } else {
            match variable(&mut rest)? {
                Some(key) => word.push_variable(key),
                None => word.push_text("$"),
            }
        }
    }
    Ok(word)
}

/// Reads what follows a `$`: a variable, or nothing when the `$` stands for itself.
fn variable(rest: &mut Peekable<Chars<'_>>) -> Result<Option<EnvKey>, Fault> {
    let starts_name = |c: &char| c.is_ascii_alphabetic() || *c == '_';
    if rest.peek().is_some_and(starts_name) {
        let mut name = String::new();
        while let Some(c) = rest.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
            name.push(c);
        }
        return name.parse().map(Some);
    }
    if rest.next_if_eq(&'{').is_none() {
        return Ok(None);
    }
    let mut inside = String::new();
    loop {
        match rest.next() {
            Some('}') => break,
            Some(c) => inside.push(c),
            None => return Err(refuse(format!("`${{{}` is never closed with a `}}`", shown(&inside)))),
        }
    }
    if let Ok(key) = inside.parse() {
        return Ok(Some(key));
    }
    let name: String = inside.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    let shown = shown(&inside);
    if name.is_empty() {
        return Err(refuse(format!("`${{{shown}}}` does not name a variable")));
    }
    // `${PORT:-8000}`, `${NAME%.js}` and the like: only a shell computes these.
    Err(refuse(format!(
        "`${{{shown}}}` needs a shell: only `${{{name}}}` is understood, without a default or a pattern"
    ))
    .next(format!("write `${{{name}}}`, and give {name} its value in .env")))
}

struct Lexer<'a> {
    rest: Peekable<Chars<'a>>,
    words: Vec<Word>,
    /// The word being read; `None` between words, where even `''` would begin one.
    word: Option<Word>,
    /// What the first word begins with while all of it is unquoted; finds `NAME=value`.
    prefix: Option<String>,
}

impl Lexer<'_> {
    fn run(mut self) -> Result<Vec<Word>, Fault> {
        while let Some(c) = self.rest.next() {
            match c {
                ' ' | '\t' => self.finish_word()?,
                '\'' => self.single_quotes()?,
                '"' => self.double_quotes()?,
                '\\' => match self.rest.next() {
                    Some(c) => self.quoted(c),
                    None => return Err(refuse("the start command ends in a backslash")),
                },
                '$' => self.dollar(true)?,
                _ => self.bare(c)?,
            }
        }
        self.finish_word()?;
        Ok(self.words)
    }

    fn word(&mut self) -> &mut Word {
        self.word.get_or_insert_default()
    }

    fn quoted(&mut self, c: char) {
        self.prefix = None;
        self.word().push_text(c.encode_utf8(&mut [0; 4]));
    }

    /// A character outside of quotes.
    fn bare(&mut self, c: char) -> Result<(), Fault> {
        let twice = self.rest.peek() == Some(&c);
        match c {
            '|' | '&' | ';' | '<' | '>' if twice => return Err(needs_shell(&format!("{c}{c}"))),
            '|' | '&' | ';' | '<' | '>' | '(' | ')' | '`' => return Err(needs_shell(&c.to_string())),
            '*' | '?' | '[' => {
                return Err(refuse(format!(
                    "the start command holds `{c}`, a pattern that only a shell fills in"
                ))
                .next(format!("put the word that holds `{c}` in single quotes if you mean it literally")));
            }
            '~' if self.word.is_none() => {
                return Err(refuse("the start command holds `~`, which only a shell fills in")
                    .next("write the path out"));
            }
            '#' if self.word.is_none() => {
                return Err(refuse("the start command holds a comment (`#`)")
                    .next("leave the comment out, or quote the word that begins with `#`"));
            }
            _ => {}
        }
        if let Some(prefix) = &mut self.prefix {
            if c == '=' && EnvKey::is_valid(prefix) {
                let name = prefix.clone();
                return Err(refuse(format!(
                    "the start command sets the variable {name}, which needs a shell"
                ))
                .next(format!("put {name}=… in .env, and begin the start command with the program")));
            }
            prefix.push(c);
        }
        self.word().push_text(c.encode_utf8(&mut [0; 4]));
        Ok(())
    }

    fn single_quotes(&mut self) -> Result<(), Fault> {
        self.prefix = None;
        self.word();
        loop {
            match self.rest.next() {
                Some('\'') => return Ok(()),
                Some(c) => self.quoted(c),
                None => return Err(refuse("the start command opens a `'` that is never closed")),
            }
        }
    }

    fn double_quotes(&mut self) -> Result<(), Fault> {
        self.prefix = None;
        self.word();
        loop {
            match self.rest.next() {
                Some('"') => return Ok(()),
                Some('`') => return Err(needs_shell("`")),
                Some('$') => self.dollar(false)?,
                Some('\\') => match self.rest.next_if(|c| matches!(c, '$' | '`' | '"' | '\\')) {
                    Some(c) => self.quoted(c),
                    None => self.quoted('\\'),
                },
                Some(c) => self.quoted(c),
                None => return Err(refuse("the start command opens a `\"` that is never closed")),
            }
        }
    }

    /// What follows a `$`, outside of quotes (`bare`) or inside double quotes.
    fn dollar(&mut self, bare: bool) -> Result<(), Fault> {
        self.prefix = None;
        match self.rest.peek() {
            Some('(') => return Err(needs_shell("$(")),
            Some(c @ ('$' | '?' | '!' | '@' | '*' | '#' | '-' | '0'..='9')) => {
                return Err(needs_shell(&format!("${c}")));
            }
            Some(c @ ('\'' | '"')) if bare => return Err(needs_shell(&format!("${c}"))),
            _ => {}
        }
        match variable(&mut self.rest)? {
            Some(key) => self.word().push_variable(key),
            None => self.quoted('$'),
        }
        Ok(())
    }

    fn finish_word(&mut self) -> Result<(), Fault> {
        let Some(word) = self.word.take() else { return Ok(()) };
        if self.words.is_empty()
            && let Some((name, advice)) = BUILTINS.iter().find(|(name, _)| word.as_literal() == Some(name))
        {
            return Err(
                refuse(format!("the start command begins with `{name}`, a word of the shell")).next(*advice)
            );
        }
        self.words.push(word);
        self.prefix = None;
        Ok(())
    }
}

fn needs_shell(what: &str) -> Fault {
    refuse(format!("the start command holds `{what}`, which needs a shell"))
        .next("put it in a script and start that")
        .next(format!("if `{what}` is meant literally, put the word in single quotes"))
}
