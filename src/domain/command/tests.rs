#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn parsed(line: &str) -> Vec<String> {
    StartCommand::parse(line).unwrap_or_else(|fault| panic!("{line:?}: {fault}")).into()
}

/// What systemd makes of a quoted `ExecStart=`: unquote, C unescape, specifiers, then variables.
fn systemd_reads(text: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut rest = text.chars().peekable();
    while rest.peek().is_some() {
        assert_eq!(rest.next(), Some('"'));
        let mut unescaped = String::new();
        loop {
            match rest.next().expect("a word ends in a quote") {
                '"' => break,
                '\\' => match rest.next().unwrap() {
                    'n' => unescaped.push('\n'),
                    't' => unescaped.push('\t'),
                    'r' => unescaped.push('\r'),
                    'x' => {
                        let hex: String = [rest.next().unwrap(), rest.next().unwrap()].iter().collect();
                        unescaped.push(char::from(u8::from_str_radix(&hex, 16).unwrap()));
                    }
                    c @ ('\\' | '"') => unescaped.push(c),
                    c => panic!("systemd knows no escape \\{c}"),
                },
                c => {
                    assert!(!c.is_ascii_control(), "a raw control character");
                    unescaped.push(c);
                }
            }
        }
        words.push(expanded(&unescaped));
        assert!(rest.next().is_none_or(|c| c == ' '));
    }
    words
}

/// Specifiers (`%`), then variables (`$`), as systemd reads them in an unescaped word.
fn expanded(text: &str) -> Word {
    let specifiers = text.split("%%").inspect(|piece| assert!(!piece.contains('%')));
    let text = specifiers.collect::<Vec<_>>().join("%");
    let mut word = Word::default();
    let mut rest = text.as_str();
    while let Some(at) = rest.find('$') {
        word.push_text(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            word.push_text("$");
            rest = after;
        } else {
            let (name, after) = rest.strip_prefix('{').unwrap().split_once('}').unwrap();
            word.push_variable(name.parse().unwrap());
            rest = after;
        }
    }
    word.push_text(rest);
    word
}

#[test]
fn a_line_is_cut_as_a_shell_cuts_it() {
    for (line, words) in [
        ("node server.js", vec!["node", "server.js"]),
        ("  a\t b  ", vec!["a", "b"]),
        ("a 'b c' \"d e\" f\\ g", vec!["a", "b c", "d e", "f g"]),
        ("a '' b", vec!["a", "", "b"]),
        ("a b'c'\"d\"", vec!["a", "bcd"]),
        ("a $PORT ${PORT} \"x:$PORT/\"", vec!["a", "${PORT}", "${PORT}", "x:${PORT}/"]),
        ("a '$PORT' \\$PORT \"\\$PORT\"", vec!["a", "$$PORT", "$$PORT", "$$PORT"]),
        ("a $ \"b$\"", vec!["a", "$$", "b$$"]),
        ("a '|' \"&&\" \\;", vec!["a", "|", "&&", ";"]),
        ("a --flag=b x=y", vec!["a", "--flag=b", "x=y"]),
        ("a \"b\\c\" b#c b~", vec!["a", "b\\c", "b#c", "b~"]),
        ("gunicorn -b 127.0.0.1:$PORT app:app", vec!["gunicorn", "-b", "127.0.0.1:${PORT}", "app:app"]),
    ] {
        assert_eq!(parsed(line), words, "{line:?}");
    }
}

#[test]
fn what_needs_a_shell_is_refused_by_name_and_with_advice() {
    for (line, found) in [
        ("a | b", "`|`"),
        ("a && b", "`&&`"),
        ("a || b", "`||`"),
        ("a; b", "`;`"),
        ("a > b", "`>`"),
        ("a >> b", "`>>`"),
        ("a 2>&1", "`>`"),
        ("a < b", "`<`"),
        ("a &", "`&`"),
        ("(a)", "`(`"),
        ("a `b`", "```"),
        ("a \"`b`\"", "```"),
        ("a $(b)", "`$(`"),
        ("a \"$(b)\"", "`$(`"),
        ("a $$", "`$$`"),
        ("a $1", "`$1`"),
        ("a $'b'", "`$'`"),
        ("a *.js", "`*`"),
        ("a b?", "`?`"),
        ("a [b]", "`[`"),
        ("a ~/b", "`~`"),
        ("a # b", "`#`"),
        ("NODE_ENV=x node a.js", "NODE_ENV"),
        ("cd x", "`cd`"),
        ("exec node", "`exec`"),
        ("a ${PORT:-8000}", "`${PORT}`"),
        ("a\nb", "one line"),
        ("a\rb", "one line"),
    ] {
        let fault = StartCommand::parse(line).unwrap_err();
        assert_eq!(fault.code, Code::InvalidValue);
        assert!(fault.message.contains(found), "{line:?}: {fault}");
        assert!(!fault.next.is_empty(), "{line:?} leaves the reader alone");
    }
}

#[test]
fn broken_lines_are_refused() {
    for line in ["", "   ", "''", "a 'b", "a \"b", "a \\", "a ${", "a ${}", "a ${1}", "a ${B", "a\0", "$A b"]
    {
        assert!(StartCommand::parse(line).is_err(), "{line:?}");
    }
    assert!(StartCommand::parse(&"a ".repeat(LONGEST)).is_err());
    assert!(StartCommand::from_argv(&[]).is_err());
}

#[test]
fn a_program_systemd_would_take_for_something_else_is_refused() {
    for program in ["-a", "@a", ":a", "+a", "!a", "|a", "a/", "a\"b", "a'b", "a\\b", "a$$b", "a\nb", "$A"] {
        assert!(StartCommand::from_argv(&[program.to_owned()]).is_err(), "{program:?}");
    }
    assert!(StartCommand::parse("a b").unwrap().with_program("-x").is_err());
}

#[test]
fn systemd_is_told_every_word_in_quotes() {
    let command = StartCommand::parse("node s.js --host=%h '$HOME;' \"$PORT\" a\\\"b").unwrap();
    let text = command.with_program("/usr/bin/node").unwrap().to_systemd();
    assert_eq!(text, r#""/usr/bin/node" "s.js" "--host=%%h" "$$HOME;" "${PORT}" "a\"b""#);
    assert_eq!(command.variables(), [&"PORT".parse::<EnvKey>().unwrap()]);
}

#[test]
fn an_array_is_literal_but_for_variables() {
    let argv = ["a", "b | c; *", "$PORT", "x${PORT}y", "$$PORT", "5$", "line\nUser=root"];
    let command = StartCommand::from_argv(&argv.map(str::to_owned)).unwrap();
    assert_eq!(
        command.to_systemd(),
        r#""a" "b | c; *" "${PORT}" "x${PORT}y" "$$PORT" "5$$" "line\nUser=root""#
    );
}

fn word() -> impl Strategy<Value = Word> {
    let part = prop_oneof![
        3 => "[^\0]{0,6}".prop_map(Ok),
        2 => "[ \"'\\\\$%{};\t\n\r\x01\x7f]{1,6}".prop_map(Ok),
        1 => "[A-Z_]{1,8}".prop_map(Err),
    ];
    proptest::collection::vec(part, 0..5).prop_map(|parts| {
        let mut word = Word::default();
        for part in parts {
            match part {
                Ok(text) => word.push_text(&text),
                Err(name) => word.push_variable(name.parse().unwrap()),
            }
        }
        word
    })
}

fn command() -> impl Strategy<Value = StartCommand> {
    ("/[a-z% ;]{1,8}", proptest::collection::vec(word(), 0..5)).prop_map(|(program, arguments)| {
        let mut words = vec![Word::literal(program).unwrap()];
        words.extend(arguments);
        StartCommand::from_words(words).unwrap()
    })
}

proptest! {
    #[test]
    fn systemd_reads_back_exactly_the_words(command in command()) {
        prop_assert_eq!(systemd_reads(&command.to_systemd()), command.words);
    }

    #[test]
    fn the_registry_reads_back_exactly_the_words(command in command()) {
        let json = serde_json::to_string(&command).unwrap();
        prop_assert_eq!(serde_json::from_str::<StartCommand>(&json).unwrap(), command);
    }

    #[test]
    fn what_is_shown_can_be_typed_again(command in command()) {
        let line = command.to_string();
        prop_assert!(!line.contains(|c: char| c.is_control() && c != '\t'));
        let control = |word: &Word| word.to_argument().contains(|c: char| c.is_control() && c != '\t');
        if !command.words.iter().any(control) {
            prop_assert_eq!(StartCommand::parse(&line).unwrap(), command);
        }
    }

    #[test]
    fn no_line_panics(line in "[a-z $'\"\\\\{}()|&;=*#~\u{e9}]{0,24}") {
        let _ = StartCommand::parse(&line);
    }
}
