#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn key(name: &str) -> EnvKey {
    name.parse().unwrap()
}

fn value_of(text: &str) -> String {
    EnvText::parse(text).unwrap().get(&key("A")).unwrap().to_owned()
}

#[test]
fn names_are_checked() {
    for good in ["A", "_", "a1_B", "PORT", &"A".repeat(128)] {
        assert!(good.parse::<EnvKey>().is_ok(), "{good}");
    }
    for bad in ["", "1A", "A-B", "A B", "A=B", "Ä", "A\n", &"A".repeat(129)] {
        assert!(bad.parse::<EnvKey>().is_err(), "{bad:?}");
    }
}

#[test]
fn values_are_read_as_systemd_reads_them() {
    for (text, value) in [
        ("A=", ""),
        ("A=b", "b"),
        ("  A =  b c  \n", "b c"),
        ("A=b\\\nc", "bc"),
        ("A=b\\ ", "b "),
        ("A='b \"c\" \\n'", "b \"c\" \\n"),
        ("A=\"b\\\"c\\$d\\`e\\\\f\\ng\"", "b\"c$d`e\\f\\ng"),
        ("A=\"b\nc\"\nB=x", "b\nc"),
        ("A=\"b\\\nc\"", "bc"),
        ("A='b'\"c\" d", "bcd"),
        ("A=b'c'", "b'c'"),
        ("A=b # c", "b # c"),
        ("A=b=c", "b=c"),
        ("A=b\nA=c\n", "c"),
    ] {
        assert_eq!(value_of(text), value, "{text:?}");
    }
}

#[test]
fn what_systemd_ignores_is_kept_and_told() {
    let text = "# c\n;d\n\nexport A=secret\nnonsense\nB=\"1\n2\"\n=A=x\nA=2\n9Z=1";
    let env = EnvText::parse(text).unwrap();
    assert_eq!(env.to_string(), text);
    assert_eq!(env.get(&key("A")), Some("2"));
    assert_eq!(env.get(&key("B")), Some("1\n2"));
    let ignored: Vec<_> = env.ignored().into_iter().map(|(line, name)| format!("{line} {name}")).collect();
    assert_eq!(ignored, ["4 export A", "5 (no `=`)", "8 ", "10 9Z"]);
}

#[test]
fn texts_that_readers_take_differently_are_refused_with_their_line() {
    for (text, line) in [
        ("A=1\nB='x\nC=2\n", "line 2 "),
        ("A=1\r\n", "line 1 "),
        ("\n\nA=\0", "line 3 "),
        ("# c \\\nA=1\n", "line 1 "),
        ("\u{feff}A=1", "line 1 "),
        ("A=b\\", "line 1 "),
    ] {
        let fault = EnvText::parse(text).unwrap_err();
        assert!(fault.message.contains(line), "{text:?}: {fault}");
    }
    assert!(EnvText::parse(&"#".repeat(EnvText::LIMIT + 1)).is_err());
}

#[test]
fn a_value_replaces_every_older_one_in_the_place_of_the_last() {
    let mut env = EnvText::parse("A=1\n# a\nB=2\nA=3\n# b").unwrap();
    env.set(&key("A"), "it's").unwrap();
    assert_eq!(env.to_string(), "# a\nB=2\nA=\"it's\"\n# b");
    env.set(&key("C"), "4").unwrap();
    assert_eq!(env.to_string(), "# a\nB=2\nA=\"it's\"\n# b\nC='4'\n");
    assert!(env.unset(&key("B")) && !env.unset(&key("B")));
    assert_eq!(env.to_string(), "# a\nA=\"it's\"\n# b\nC='4'\n");
}

#[test]
fn debug_output_shows_no_value() {
    let env = EnvText::parse("A=hunter2").unwrap();
    assert_eq!(format!("{env:?}"), "[\"A\"]");
}

#[test]
fn characters_that_cannot_be_passed_on_are_refused_without_showing_the_value() {
    for bad in ["hunter2\0", "hunter2\r\n", "hunter2\x1b", "hunter2\x7f"] {
        let fault = EnvText::default().set(&key("A"), bad).unwrap_err();
        assert!(!fault.message.contains("hunter2"), "{fault}");
    }
}

fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("'".to_owned()),
        Just("\"".to_owned()),
        Just("\\".to_owned()),
        Just("\n".to_owned()),
        Just("\nEVIL=1\n".to_owned()),
        Just("${HOME}".to_owned()),
        Just("$(id)".to_owned()),
        Just("`".to_owned()),
        Just(" #".to_owned()),
        Just("=".to_owned()),
        Just("\t ".to_owned()),
        "[^\\p{Cc}]{0,4}",
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn a_hostile_value_comes_back_and_defines_nothing_else(value in hostile(), other in hostile()) {
        let mut env = EnvText::default();
        env.set(&key("A"), &value).unwrap();
        env.set(&key("B"), &other).unwrap();
        let read = EnvText::parse(&env.to_string()).unwrap();
        let all: Vec<_> = read.iter().map(|(k, v)| (k.as_str(), v)).collect();
        prop_assert_eq!(all, [("A", value.as_str()), ("B", other.as_str())]);
    }

    #[test]
    fn any_text_that_is_taken_is_given_back_byte_for_byte(text in "[A#;=' \"\\\\\n\tb$]{0,40}") {
        if let Ok(env) = EnvText::parse(&text) {
            prop_assert_eq!(env.to_string(), text);
        }
    }

    #[test]
    fn setting_one_variable_leaves_every_other_line_alone(value in hostile(), text in "([#;B=' \"b$\t]{0,12}\n){0,6}") {
        if let Ok(mut env) = EnvText::parse(&text) {
            env.set(&key("A"), &value).unwrap();
            prop_assert!(env.to_string().starts_with(&text));
            env.unset(&key("A"));
            prop_assert_eq!(env.to_string(), text);
        }
    }
}

fn own(keys: &[&str]) -> std::collections::BTreeSet<EnvKey> {
    keys.iter().map(|k| key(k)).collect()
}

#[test]
fn the_projects_part_keeps_comments_and_order_and_hostkit_keeps_its_own() {
    let mine = "# mail\nB=2\n\nA='1'   \n; odd\nexport C=3\n";
    let users = EnvText::parse(mine).unwrap();
    let (port, node) = (key("PORT"), key("NODE_ENV"));
    let whole = EnvText::compose([(&port, "8001"), (&node, "production")], &users).unwrap();
    let text = EnvText::parse(&whole.to_string()).unwrap();
    assert_eq!(text.users(&own(&["PORT", "NODE_ENV"])).to_string(), mine);
    assert_eq!(text.own(&port), Some("8001"));
    assert_eq!(text.own(&key("B")), None);
}

#[test]
fn what_hostkit_no_longer_sets_does_not_become_the_projects() {
    let (port, url) = (key("PORT"), key("DATABASE_URL"));
    let whole = EnvText::compose([(&port, "1"), (&url, "x")], &EnvText::default()).unwrap();
    assert_eq!(whole.users(&own(&["PORT"])).to_string(), "");
}

#[test]
fn a_project_may_say_otherwise_only_where_hostkit_made_a_beginning() {
    let by_hand = "NODE_ENV=staging\nPORT=1\nDATABASE_URL=postgresql://elsewhere\n";
    let users = EnvText::parse(by_hand).unwrap();
    let (port, node) = (key("PORT"), key("NODE_ENV"));
    let whole = EnvText::compose([(&port, "8001"), (&node, "production")], &users).unwrap();
    assert_eq!(whole.get(&node), Some("staging"));
    let kept = whole.users(&own(&["PORT", "NODE_ENV"])).to_string();
    assert_eq!(kept, "NODE_ENV=staging\nDATABASE_URL=postgresql://elsewhere\n");
}

#[test]
fn a_file_from_before_there_were_two_parts_is_understood() {
    let old = EnvText::parse("PORT='8001'\n# mine\nA=1\n").unwrap();
    assert_eq!(old.users(&own(&["PORT"])).to_string(), "# mine\nA=1\n");
    assert_eq!(old.own(&key("PORT")), Some("8001"));
}

#[test]
fn what_is_set_past_hostkit_is_named_and_left_out() {
    let (port, node) = (key("PORT"), key("NODE_ENV"));
    let whole = EnvText::compose([(&port, "8001"), (&node, "production")], &EnvText::default()).unwrap();
    let hand = EnvText::parse(&format!("{whole}PORT=9\nNODE_ENV=staging\nA=1\n")).unwrap();
    let own = own(&["PORT", "NODE_ENV"]);
    let part = hand.part(&own);
    assert_eq!(part.to_string(), "PORT=9\nNODE_ENV=staging\nA=1\n");
    assert_eq!(part.strays(&own).into_iter().collect::<Vec<_>>(), [key("PORT")]);
    assert_eq!(hand.users(&own).to_string(), "NODE_ENV=staging\nA=1\n");
}

#[test]
fn of_a_whole_file_that_comes_from_elsewhere_only_the_projects_part_is_taken() {
    let port = key("PORT");
    let users = EnvText::parse("# mine\nA=1\n").unwrap();
    let whole = EnvText::compose([(&port, "8001")], &users).unwrap();
    assert_eq!(whole.brought(&own(&["PORT"])).to_string(), users.to_string());
    let other = EnvText::parse("PORT=3000\nNODE_ENV=test\n").unwrap();
    assert_eq!(other.brought(&own(&["PORT", "NODE_ENV"])).to_string(), other.to_string());
}

#[test]
fn keys_that_change_the_loader_are_told() {
    for name in ["LD_PRELOAD", "NODE_OPTIONS", "PYTHONSTARTUP", "BASH_ENV", "ENV", "PATH"] {
        assert!(key(name).is_loader(), "{name}");
    }
    for name in ["NODE_ENV", "PYTHONPATH", "ENVIRONMENT", "OLD_NAME", "MY_PATH"] {
        assert!(!key(name).is_loader(), "{name}");
    }
}

proptest! {
    #[test]
    fn what_is_exported_is_imported_as_it_was(
        values in proptest::collection::vec(("[A-Z]{1,3}", hostile()), 0..6), own_value in hostile()
    ) {
        let mut users = EnvText::parse("# mine\n").unwrap();
        for (name, value) in &values {
            users.set(&key(&format!("X_{name}")), value).unwrap();
        }
        let (own_key, set) = (key("TOKEN"), own(&["TOKEN"]));
        let whole = EnvText::compose([(&own_key, own_value.as_str())], &users).unwrap();
        let file = EnvText::parse(&whole.to_string()).unwrap();
        let exported = file.users(&set).to_string();
        let again = EnvText::parse(&exported).unwrap().brought(&set);
        prop_assert_eq!(again.to_string(), users.to_string());
        prop_assert!(users.diff(&again).is_empty());
    }
}
