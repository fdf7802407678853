//! Variables and secrets, as real processes get them through systemd: exactly, for their owner alone, and
//! with a way back.

use crate::{call::Output, source::Source, vps::Vps};

/// What is planted as a secret, and must be found nowhere.
const POISON: &str = "hunter2-plant-7f3a9c";

/// Answers `/NAME` with the value of the variable, byte for byte as hexadecimal digits.
fn app() -> Source {
    Source::node(
        "const value = env[request.url.slice(1)];\n\
         response.end(value === undefined ? 'unset' : 'hex:' + Buffer.from(value).toString('hex'));",
    )
}

/// The variable as the process of `blog` has it.
fn value(vps: &Vps, key: &str) -> Option<String> {
    let answer = vps.visit("blog", &format!("/{key}"));
    let hex = answer.body.trim().strip_prefix("hex:")?.to_owned();
    let bytes: Vec<u8> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    Some(String::from_utf8(bytes).unwrap())
}

/// Values that something on the way might take for its own: systemd, a shell, a dotenv library.
fn hostile() -> Vec<String> {
    let long = "x".repeat(60_000);
    [
        "",
        " ",
        "a b",
        " leading",
        "trailing ",
        "\t",
        "'",
        "\"",
        "'\"'\"'",
        "\\",
        "\\\\",
        "\\n",
        "a\nb",
        "a\nEVIL=1\nb",
        "\n",
        "$HOME",
        "${HOME}",
        "$(id)",
        "`id`",
        "%h",
        "%n%%",
        "#",
        "a #b",
        ";",
        "a=b",
        "=",
        "!",
        "*",
        "ä ß 漢 🐘",
        "-n",
        &long,
    ]
    .map(str::to_owned)
    .to_vec()
}

#[test]
fn hostile_values_arrive_in_the_process_exactly() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("blog", &app());
    let values = hostile();
    assert_eq!(values.len(), 31);
    // One way each: on standard input, in the words, in a file.
    for (number, value) in values.iter().enumerate().filter(|(n, _)| n % 10 == 0) {
        let set = ["env", "set", "blog", &format!("V{number}"), "--stdin", "--no-restart"].map(str::to_owned);
        vps.hostkit(set).stdin(format!("{value}\n")).ok();
    }
    let mut set = ["env", "set", "blog", "--no-restart"].map(str::to_owned).to_vec();
    set.extend(
        values.iter().enumerate().filter(|(n, _)| n % 10 != 0).map(|(n, value)| format!("V{n}={value}")),
    );
    vps.hostkit(&set).ok();
    vps.hostkit(["restart", "blog"]).ok();
    let check = |when: &str| {
        for (number, wanted) in values.iter().enumerate() {
            assert_eq!(value(&vps, &format!("V{number}")).as_ref(), Some(wanted), "{when}: V{number}");
        }
        assert_eq!(value(&vps, "EVIL"), None, "{when}");
    };
    check("set");
    // There and back through a file.
    let exported = vps.hostkit(["env", "export", "blog", "--reveal"]).ok().stdout;
    vps.hostkit(["env", "unset", "blog", "V1", "V2", "V30"]).ok();
    assert_eq!(value(&vps, "V30"), None);
    vps.hostkit(["env", "import", "blog", "-", "--replace"]).stdin(exported.clone()).ok();
    check("imported");
    assert_eq!(vps.hostkit(["env", "export", "blog", "--reveal"]).ok().stdout, exported);
    // And the vault.
    vps.hostkit(["secrets", "set", "blog", "FROM_VAULT", "--stdin"]).stdin("a\n'\"$(id)\n").ok();
    vps.hostkit(["secrets", "inject", "blog"]).ok();
    assert_eq!(value(&vps, "FROM_VAULT").as_deref(), Some("a\n'\"$(id)"));
    check("injected");
    vps.expect_healthy();
}

#[test]
fn what_cannot_be_set_is_refused_with_the_reason_and_changes_nothing() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("blog", &app());
    vps.hostkit(["env", "set", "blog", "A=1"]).ok();
    let before = vps.snapshot(crate::snapshot::HOST);
    for words in [
        &["PORT=1"][..],
        &["A=2", "PROJECT_NAME=x"],
        &["1A=x"],
        &["A-B=x"],
        &["=x"],
        &["A=\u{1b}[2J"],
        &["LD_PRELOAD=/tmp/x.so"],
        &["PATH=/tmp"],
        &["A=1", "A=2"],
    ] {
        let words = ["env", "set", "blog"].iter().chain(words);
        let output = vps.hostkit(words).refused(3, "INVALID_VALUE");
        output.check(!output.stderr.contains('\u{1b}'), "no value to be echoed");
    }
    let large = "x".repeat(2 << 20);
    vps.hostkit(["env", "set", "blog", "BIG", "--stdin"]).stdin(large.clone()).refused(3, "INVALID_VALUE");
    vps.hostkit(["env", "import", "blog", "-"]).stdin(format!("BIG={large}\n")).refused(3, "INVALID_VALUE");
    vps.hostkit(["env", "import", "blog", "-"]).stdin("A='never closed\n").refused(3, "INVALID_VALUE");
    vps.hostkit(["env", "import", "blog", "-"]).stdin(b"A=\xff\n".to_vec()).refused(3, "INVALID_VALUE");
    vps.hostkit(["env", "import", "blog", "/root"]).refused(3, "INVALID_SOURCE");
    vps.hostkit(["env", "unset", "blog", "MISSING"]).refused(4, "VARIABLE_NOT_FOUND");
    vps.hostkit(["env", "set", "blog", "PASSWORD"]).refused(2, "CONFIRMATION_NEEDED");
    vps.hostkit(["env", "edit", "blog"]).refused(2, "CONFIRMATION_NEEDED");
    before.expect_same(&vps.snapshot(crate::snapshot::HOST), "after what was refused");
    assert_eq!(value(&vps, "A").as_deref(), Some("1"));
}

#[test]
fn a_rollback_brings_the_environment_back_and_a_hand_edit_is_not_lost() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("blog", &app());
    vps.hostkit(["env", "set", "blog", "A=1"]).ok();
    vps.hostkit(["env", "set", "blog", "A=2"]).ok();
    assert_eq!(value(&vps, "A").as_deref(), Some("2"));
    vps.hostkit(["rollback", "blog"]).ok();
    assert_eq!(value(&vps, "A").as_deref(), Some("1"));
    vps.sh("printf '# by hand\\nHAND=made\\n' >> /home/blog/.env").ok();
    vps.deploy("blog", &app());
    assert_eq!(value(&vps, "HAND").as_deref(), Some("made"));
    vps.hostkit(["env", "unset", "blog", "HAND"]).ok();
    assert_eq!(value(&vps, "HAND"), None);
    vps.hostkit(["rollback", "blog"]).ok();
    assert_eq!((value(&vps, "HAND").as_deref(), value(&vps, "A").as_deref()), (Some("made"), Some("1")));
    let history = vps.hostkit(["env", "history", "blog"]).ok().stdout;
    assert!(history.contains("by hand: +HAND"), "{history}");
    vps.sh("grep -q '^# by hand$' /home/blog/.env").ok();
    vps.expect_healthy();
}

#[test]
fn an_environment_that_makes_the_process_sick_is_put_back_with_exit_9() {
    let Some(vps) = Vps::boot() else { return };
    let sick = Source::node("response.end('fine');").file(
        "index.js",
        "if (process.env.SICK) process.exit(1);\n\
         require('http').createServer((q, r) => r.end('fine')).listen(process.env.PORT, process.env.HOST);\n",
    );
    vps.live("blog", &sick);
    let before = vps.sh("cat /home/blog/.env").ok().stdout;
    vps.hostkit(["env", "set", "blog", "SICK=1"]).refused(9, "UNHEALTHY");
    vps.expect_answer("blog", "fine");
    assert_eq!(vps.sh("cat /home/blog/.env").ok().stdout, before);
    vps.expect_healthy();
}

/// A project's own account calls through `sudo`, as it may over SSH.
fn as_project<'v>(vps: &'v Vps, name: &str, words: &[&str]) -> Output<'v> {
    let call = ["runuser", "-u", name, "--", "sudo", "-n", "hostkit"];
    vps.run(call.iter().chain(words)).run()
}

#[test]
fn a_projects_account_changes_its_own_environment_and_no_other() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("blog", &app());
    vps.live("shop", &app());
    vps.write("/etc/sudoers.d/projects", "blog, shop ALL=(root) NOPASSWD: /usr/local/bin/hostkit\n");
    vps.hostkit(["env", "set", "shop", "NAME=hers"]).ok();
    as_project(&vps, "blog", &["env", "set", "blog", "A=mine"]).expect(0);
    assert_eq!(value(&vps, "A").as_deref(), Some("mine"));
    as_project(&vps, "blog", &["env", "list", "blog", "--reveal"]).expect(0).says("mine");
    for words in [
        &["env", "list", "shop"][..],
        &["env", "get", "shop", "NAME", "--reveal"],
        &["env", "export", "shop", "--reveal"],
        &["env", "diff", "shop"],
        &["env", "history", "shop"],
        &["env", "set", "shop", "A=mine"],
        &["secrets", "list", "shop"],
        &["secrets", "get", "shop", "A", "--reveal"],
        &["secrets", "inject", "shop"],
    ] {
        let output = as_project(&vps, "blog", words).expect(7);
        output.check(!output.stdout.contains("hers") && !output.stderr.contains("hers"), "nothing told");
    }
    // A file is read with the caller's own permissions.
    vps.sh("echo STOLEN=hers > /root/secret.env; chmod 600 /root/secret.env").ok();
    let output = as_project(&vps, "blog", &["env", "import", "blog", "/root/secret.env"]).expect(3);
    output.check(!output.stderr.contains("hers"), "nothing told");
    as_project(&vps, "blog", &["env", "import", "blog", "/home/shop/.env"]).expect(3);
    let by = vps.hostkit(["env", "history", "blog"]).ok().stdout;
    assert!(by.lines().any(|l| l.contains("blog") && l.contains("+A")), "{by}");
    vps.sh("hostkit history blog | grep 'env list' | grep blog | grep 'shown as it is'").ok();
}

#[test]
fn nobody_who_comes_through_sudo_reads_a_file_as_root() {
    let Some(vps) = Vps::with().user("eve").boot() else { return };
    vps.live("blog", &app());
    vps.write("/etc/sudoers.d/projects", "blog ALL=(root) NOPASSWD: /usr/local/bin/hostkit\n");
    vps.sh("echo hers > /root/secret; chmod 600 /root/secret").ok();
    for verb in ["__pack", "__read", "__edit"] {
        for user in ["blog", "eve"] {
            let call = ["runuser", "-u", user, "--", "sudo", "-n", "hostkit", verb, "--", "/root/secret"];
            let output = vps.run(call).run();
            output.check(
                output.code == 2 && !output.stdout.contains("hers"),
                "a usage error, and nothing read",
            );
        }
    }
}

/// Runs a command on a terminal of its own, as `user`.
const TERMINAL: &str = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)";

#[test]
fn an_editor_runs_as_the_caller_and_leaves_nothing_behind() {
    let Some(vps) = Vps::with().administrator("ana").boot() else { return };
    vps.live("blog", &app());
    vps.hostkit(["env", "set", "blog", "A=1"]).ok();
    let editor = "#!/bin/sh\n\
        printf 'EDITOR_IS=\"%s %s\"\\n' \"$(id -un)\" \"$(stat -c '%U %a' \"$1\" \"$(dirname \"$1\")\" | tr '\\n' ' ')\" >> \"$1\"\n\
        cat /root/secret >> \"$1\" 2>/dev/null\n\
        exit 0\n";
    vps.write("/usr/local/bin/sensible-editor", editor);
    vps.sh("chmod 755 /usr/local/bin/sensible-editor; echo STOLEN=1 > /root/secret; chmod 600 /root/secret")
        .ok();
    let call = [
        "runuser", "-u", "ana", "--", "python3", "-c", TERMINAL, "sudo", "-n", "hostkit", "env", "edit",
        "blog",
    ];
    vps.run(call).ok().says("EDITOR_IS");
    assert_eq!(value(&vps, "EDITOR_IS").as_deref(), Some("ana ana 600 ana 700 "));
    assert_eq!((value(&vps, "A").as_deref(), value(&vps, "STOLEN")), (Some("1"), None));
    vps.sh("! ls -d /tmp/hostkit-*").ok();
    vps.sh("hostkit history blog | grep 'env edit' | grep ana | grep opened").ok();
    // One that fails changes nothing.
    vps.write("/usr/local/bin/sensible-editor", "#!/bin/sh\necho A=2 > \"$1\"; exit 3\n");
    let failed = vps.run(call).run();
    failed.check(failed.code != 0, "a failure");
    assert_eq!(value(&vps, "A").as_deref(), Some("1"));
    vps.sh("! ls -d /tmp/hostkit-*").ok();
}

#[test]
fn a_value_is_typed_without_being_shown() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("blog", &app());
    let script = "import os, pty, sys, time\n\
        pid, fd = pty.fork()\n\
        if pid == 0: os.execvp('hostkit', sys.argv[1:])\n\
        said = b''\n\
        while b'PASSWORD: ' not in said: said += os.read(fd, 1000)\n\
        time.sleep(0.3); os.write(fd, b'hunter2-typed\\n')\n\
        try:\n\
        \x20 while True:\n\
        \x20   piece = os.read(fd, 1000)\n\
        \x20   if not piece: break\n\
        \x20   said += piece\n\
        except OSError: pass\n\
        print(said.decode()); sys.exit(os.waitpid(pid, 0)[1] >> 8)\n";
    let output = vps.python(script, ["hostkit", "env", "set", "blog", "PASSWORD"]).ok();
    output.check(!output.stdout.contains("hunter2"), "the value not to be shown");
    assert_eq!(value(&vps, "PASSWORD").as_deref(), Some("hunter2-typed"));
}

/// Where the poison is, besides where it belongs: files that others may read, HostKit's own, logs.
const SEARCH: &str = r#"
    where=$(
        find / -xdev \( -path /proc -o -path /sys -o -path /root/argv -o -path /root/plant \) -prune -o \
            -type f \( -perm -o=r -o -path '/var/*' -o -path '/etc/*' -o -path '/run/*' \) -print0 |
            xargs -0 grep -l -a -e "$0" -- 2>/dev/null || true
        find /run /tmp /dev/shm -type f -print0 | xargs -0 -r grep -l -a -e "$0" -- 2>/dev/null || true
        journalctl --no-pager -q -a | grep -a -e "$0" >/dev/null && echo journal
        tr '\0' ' ' < /root/argv | grep -a -e "$0" >/dev/null && echo argv
        true
    )
    printf '%s\n' $where"#;

/// Begins to keep what the arguments of all processes are, or ends it.
fn sample(vps: &Vps, begin: bool) {
    if begin {
        let sampler =
            "while [ -e /root/sampling ]; do cat /proc/[0-9]*/cmdline; done >>/root/argv 2>/dev/null";
        vps.sh(&format!("touch /root/sampling; setsid sh -c '{sampler}' >/dev/null 2>&1 </dev/null &")).ok();
    } else {
        vps.sh("rm /root/sampling; sleep 0.5").ok();
    }
}

#[test]
fn a_planted_secret_is_found_nowhere_but_where_it_belongs() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("blog", &app());
    sample(&vps, true);
    let line = format!("{POISON}\n");
    vps.hostkit(["env", "set", "blog", "PASSWORD", "--stdin"]).stdin(line.clone()).ok();
    vps.hostkit(["env", "import", "blog", "-"]).stdin(format!("DSN='postgres://u:{POISON}@h/d'\n")).ok();
    vps.write("/root/plant", format!("API_KEY={POISON}\n"));
    vps.hostkit(["env", "import", "blog", "/root/plant", "--dry-run"]).ok();
    vps.hostkit(["env", "import", "blog", "/root/plant"]).ok();
    vps.write("/root/plant", format!("# {POISON}\nSECRET={POISON}\n"));
    vps.sh("cat /root/plant >> /home/blog/.env; rm /root/plant").ok();
    vps.hostkit(["secrets", "set", "blog", "TOKEN", "--stdin"]).stdin(line.clone()).ok();
    vps.hostkit(["secrets", "inject", "blog"]).ok();
    vps.hostkit(["secrets", "rotate", "blog", "TOKEN", "--stdin"]).stdin(format!("{POISON}2\n")).ok();
    vps.deploy("blog", &app());
    vps.hostkit(["rollback", "blog"]).ok();
    assert_eq!(value(&vps, "TOKEN"), Some(format!("{POISON}2")));
    for words in [
        "env list blog",
        "env get blog PASSWORD DSN API_KEY SECRET TOKEN",
        "env export blog",
        "env diff blog 1",
        "env history blog",
        "secrets list blog",
        "secrets get blog TOKEN",
        "secrets verify blog",
        "history blog",
        "project info blog",
        "status blog",
        "releases blog",
        "doctor",
        "env unset blog PASSWORD --dry-run",
        "rollback blog --dry-run",
    ] {
        for json in [&[][..], &["--json"]] {
            let output = vps.hostkit(words.split(' ').chain(json.iter().copied())).ok();
            // A comment of the project's is no value; an export keeps it.
            let said =
                output.stdout.replace(&format!("# {POISON}"), "").replace(&format!("# {POISON}\\n"), "");
            output.check(!said.contains(POISON) && !output.stderr.contains(POISON), "no secret");
        }
    }
    sample(&vps, false);
    let found = vps.run(["sh", "-c", SEARCH, POISON]).ok().stdout;
    assert_eq!(found.trim(), "", "the secret is in these");
    // The search finds what is put there on purpose.
    sample(&vps, true);
    let plant =
        format!("logger {POISON}; echo {POISON} > /var/lib/hostkit/planted; journalctl --sync; sleep 1");
    vps.sh(&plant).ok();
    sample(&vps, false);
    let found = vps.run(["sh", "-c", SEARCH, POISON]).ok().stdout;
    for place in ["/var/lib/hostkit/planted", "journal", "argv"] {
        assert!(found.lines().any(|l| l == place), "{place} is not among {found}");
    }
}

#[test]
fn without_the_master_key_the_project_goes_on_and_what_needs_it_says_so() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("blog", &app());
    vps.hostkit(["secrets", "set", "blog", "TOKEN", "--stdin"]).stdin("x\n").ok();
    vps.hostkit(["secrets", "inject", "blog"]).ok();
    vps.sh("mv /etc/hostkit/master.key /root/kept").ok();
    for words in ["env list blog", "env set blog A=1", "secrets get blog TOKEN", "rollback blog"] {
        vps.hostkit(words.split(' ')).refused(6, "VAULT_KEY");
    }
    for words in [
        "status blog",
        "logs blog",
        "stop blog",
        "start blog",
        "restart blog",
        "secrets list blog",
        "env history blog",
    ] {
        vps.hostkit(words.split(' ')).ok();
    }
    assert_eq!(value(&vps, "TOKEN").as_deref(), Some("x"));
    vps.hostkit(["doctor"]).expect_code(12).says("master key");
    vps.sh("mv /root/kept /etc/hostkit/master.key").ok();
    vps.hostkit(["env", "set", "blog", "A=1"]).ok();
    vps.expect_healthy();
}
